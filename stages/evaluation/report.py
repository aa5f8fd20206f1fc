"""What evaluation.json says of a model."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from stages.evaluation.refits import refits
from stages.evaluation.scores import baseline_scores, score
from stages.evaluation.segments import SEGMENT_METRICS, error_by_segment, fairness, first_values
from stages.evaluation.settings import Evaluate
from stages.modeling.metrics import FOLD_METRICS, bootstrap, interval, paired_p_value
from stages.projects._base import Project


def build_evaluation(
    project: Project,
    manifest: dict[str, Any],
    model: Pipeline,
    train: pd.DataFrame,
    test: pd.DataFrame,
    values: np.ndarray,
    settings: Evaluate,
    seed: int,
) -> dict[str, Any]:
    """The metrics of the test rows, whose scores are `values` of shape (rows,), with intervals and against a baseline; the
    error by segment, the rates by sensitive group, and the scores of the same model trained on fewer rows.
    """
    primary = project.primary_metric
    target = test[project.target].to_numpy()
    dummy = baseline_scores(project, train[project.target].to_numpy(), len(test))
    (point, draws), (dummy_point, dummy_draws) = (
        bootstrap(partial(score, project, manifest, target, scores), len(test), settings.resamples, seed)
        for scores in (values, dummy)
    )

    def score_segment(rows: np.ndarray) -> dict[str, float | None]:
        scores = score(project, manifest, target[rows], values[rows], np.ones((1, rows.sum())))
        return first_values(scores, SEGMENT_METRICS[project.task])

    features = model["features"].transform(test)
    described = test.assign(**{str(column): features[column] for column in features if column not in test})
    curve, backtest = refits(project, model, train, test, settings, seed)
    everything = {"rows": len(train), **{metric: point[metric] for metric in FOLD_METRICS[project.task]}}
    return {
        "rows": len(test),
        "primary_metric": primary,
        "metrics": {
            metric: dict(zip(("value", "low", "high"), (value, *interval(draws[metric])), strict=True))
            for metric, value in point.items()
        },
        "baseline": {
            "value": dummy_point[primary],
            "p_value": paired_p_value(primary, draws[primary], dummy_draws[primary]),
        },
        "by_segment": error_by_segment(described, project.segments, score_segment),
        "fairness": {
            column: fairness(target, values >= manifest["threshold"], test[column]) for column in project.sensitive
        },
        "backtest": backtest,
        "learning_curve": [*curve, everything],
    }

"""Where a model is worse: its error by segment, and its rates by sensitive group."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from fairlearn.metrics import MetricFrame, false_positive_rate, selection_rate, true_positive_rate

from stages.modeling.metrics import Scores
from stages.runtime.wording import significant

SEGMENT_METRICS = {
    "classification": ("roc_auc", "brier", "ece", "recall", "precision"),
    "regression": ("mae", "median_ape", "interval_coverage"),
}
MIN_ROWS = 30  # below this a segment's metric is mostly noise
BANDED = 12  # a number with more values than this is cut into quarters
FOUR_FIFTHS = 0.8  # the rule of the US Uniform Guidelines on Employee Selection Procedures, 1978


def bands(values: pd.Series) -> pd.Series:
    """The segment of each row: the value itself, or for a number of many values the quarter that it is in; missing values
    are a segment.
    """
    named = values.astype("str").str.removesuffix(".0")
    if pd.api.types.is_numeric_dtype(values) and values.nunique() > BANDED:
        edges = sorted(set(values.quantile([0, 0.25, 0.5, 0.75, 1])))
        labels = [f"{significant(low, 4)} to {significant(high, 4)}" for low, high in pairwise(edges)]
        named = pd.cut(values, edges, labels=labels, include_lowest=True).astype("str")
    return named.where(values.notna(), "(missing)")


def error_by_segment(frame: pd.DataFrame, columns: tuple[str, ...], scores: Any) -> dict[str, Any]:
    """`scores(mask)` for every segment of every column that has at least `MIN_ROWS` rows, and how many were left out."""
    segments, left_out = [], 0
    for column in columns:
        named = bands(frame[column])
        for segment in sorted(named.unique()):
            mask = (named == segment).to_numpy()
            if mask.sum() < MIN_ROWS:
                left_out += 1
                continue
            segments.append({"column": column, "segment": segment, "rows": int(mask.sum()), **scores(mask)})
    return {"segments": segments, "left_out": left_out, "min_rows": MIN_ROWS}


def fairness(target: np.ndarray, flagged: np.ndarray, groups: pd.Series) -> dict[str, Any]:
    """Rates of each group, the smallest flagged share over the largest (disparate impact), and the difference in recall."""
    metrics = {"flagged": selection_rate, "recall": true_positive_rate, "false_positive_rate": false_positive_rate}
    frame = MetricFrame(metrics=metrics, y_true=target, y_pred=flagged, sensitive_features=bands(groups))
    counts = bands(groups).value_counts()
    impact = float(frame.ratio()["flagged"])
    return {
        "groups": {
            str(group): {"rows": int(counts[group]), **{name: float(value) for name, value in rates.items()}}
            for group, rates in frame.by_group.iterrows()
        },
        "disparate_impact": None if np.isnan(impact) else impact,  # nobody is flagged
        "disparate_impact_flag": impact < FOUR_FIFTHS,
        "recall_gap": float(frame.difference()["recall"]),
    }


def first_values(scores: Scores, names: tuple[str, ...]) -> dict[str, float | None]:
    """The named metrics of all rows, None where one has no value, as ROC-AUC on rows of one class."""
    return {name: None if np.isnan(scores[name][0]) else float(scores[name][0]) for name in names}

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from stages.evaluate import backtest_rows, baseline_scores, refit_score
from stages.modeling.metrics import fold_scores
from stages.modeling.pipeline import predict_scores
from stages.projects._base import Project, load_project
from stages.runtime.metric_names import HIGHER_IS_BETTER
from stages.summary import main as summarise
from tests.samples import records
from tests.serve.checkout import MODELS


def report(folder: Path, project: Project, name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "reports" / project.name / f"{name}.json").read_text())
    return found


def test_the_metrics_are_those_of_the_saved_model_on_the_test_rows(project: Project, finished: Path) -> None:
    model = joblib.load(finished / "models" / project.name / "model.joblib")
    test = pd.read_parquet(finished / "data" / project.name / "test.parquet")
    metrics = report(finished, project, "metrics")
    assert list(metrics) == [project.name]
    found = metrics[project.name]
    assert isinstance(found, dict)
    expected = fold_scores(test[project.target].to_numpy(), predict_scores(model, test, project), project.task)
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_p_tells_whether_the_model_beats_the_baseline_and_the_curve_ends_on_all_rows(
    project: Project, finished: Path
) -> None:
    evaluation: dict[str, object] = report(finished, project, "evaluation")
    metrics, baseline, curve = (evaluation[name] for name in ("metrics", "baseline", "learning_curve"))
    assert isinstance(metrics, dict)
    assert isinstance(baseline, dict)
    assert isinstance(curve, list)
    primary = metrics[project.primary_metric]
    higher = primary["value"] > baseline["value"]
    assert (0 < baseline["p_value"] < 0.5) == (higher == (project.primary_metric in HIGHER_IS_BETTER))
    assert [step["rows"] for step in curve] == sorted(step["rows"] for step in curve)
    assert curve[-1][project.primary_metric] == primary["value"]
    assert (evaluation["backtest"] is not None) == bool(project.time_column)


def test_the_baseline_looks_at_no_row() -> None:
    parcels, villages = load_project("toy"), load_project("toy_plain")
    assert baseline_scores(parcels, np.array([0, 0, 0, 1]), 2).tolist() == [0.25, 0.25]
    assert baseline_scores(villages, np.array([1.0, 2.0, 9.0]), 2).tolist() == [2, 2]


def test_a_backtest_looks_ahead_only_and_at_no_object_seen_before() -> None:
    cars = load_project("toy_price")
    frame = records(cars, 1_000)
    before, after, day = backtest_rows(frame, cars, 0.2)
    assert frame["posted"][before].max() < pd.Timestamp(day) <= frame["posted"][after].min()
    assert cars.groups is not None
    keys = cars.groups(frame)
    assert not set(keys[before]) & set(keys[after])
    dated = frame["posted"].notna().to_numpy()
    assert (before | after)[dated].mean() > 0.9
    ungrouped = backtest_rows(frame, replace(cars, groups=None), 0.2)
    assert (ungrouped[0] | ungrouped[1])[dated].all()
    assert ungrouped[1].mean() == pytest.approx(0.2, abs=0.01)


def test_a_refit_checked_on_rows_of_one_class_has_no_ranking_metric_but_the_others() -> None:
    churn, values = load_project("toy"), np.array([[0.0], [1.0], [2.0], [3.0]])
    both, one = np.array([0, 1, 0, 1]), np.zeros(4)
    scores = refit_score(LogisticRegression(), (values, both), (values, one), churn)
    assert scores["roc_auc"] is None
    assert scores["brier"] == pytest.approx(0.25, abs=0.1)


def test_the_summary_shows_each_finished_project_with_its_intervals(
    project: Project, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summarise()
    printed = capsys.readouterr().out
    assert f"{project.name}: {MODELS[project.name]['model']}, " in printed
    assert "rows of simulated data" in printed
    assert len(printed.splitlines()) == 3 * (1 + 5) + 2

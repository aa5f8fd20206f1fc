from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import pytest

from stages.modeling.metrics import fold_scores
from stages.modeling.pipeline import predict_scores
from stages.projects._base import Project
from stages.runtime.metric_names import HIGHER_IS_BETTER, main_metrics


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
    shared = found.keys() & expected.keys()
    assert len(shared) >= 3
    assert {name: found[name] for name in shared} == pytest.approx({name: expected[name] for name in shared})
    everything: Any = report(finished, project, "evaluation")["metrics"]
    assert found == {name: everything[name]["value"] for name in main_metrics(project.task, project.primary_metric)}
    assert {name: everything[name]["value"] for name in expected} == pytest.approx(expected)


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

from __future__ import annotations

import json
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest

from stages.explain import beeswarm, main, ranked
from stages.modeling.pipeline import inner_pipeline
from stages.projects._base import Project, load_project
from tests.samples import STAGES, write_params


def test_importance_is_the_mean_size_of_the_contributions(project: Project, finished: Path) -> None:
    importance = json.loads((finished / "reports" / project.name / "importance.json").read_text())
    dots = pd.read_parquet(finished / "reports" / project.name / "beeswarm.parquet")
    assert importance["method"] == ("shap" if project.name == "toy" else "permutation")
    if importance["method"] == "permutation":
        return
    mean = dots["contribution"].abs().groupby(dots["feature"]).mean()
    for entry in importance["ranking"]:
        assert entry["importance"] == pytest.approx(mean[entry["feature"]])
    sizes = [entry["importance"] for entry in importance["ranking"]]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 0
    assert len(importance["permutation"]) == len(project.feature_names)
    model = joblib.load(finished / "models" / project.name / "model.joblib")
    assert len(importance["ranking"]) == len(inner_pipeline(model)["columns"].get_feature_names_out())


def test_a_model_without_an_explainer_is_ranked_by_shuffling(workspace: Path) -> None:
    voting = {"model": "voting", "candidates": ["voting"], "voting": {"members": {"ridge": 1, "random_forest": 1}}}
    write_params(workspace, "toy_plain", train=voting)
    for stage in STAGES[:-1]:
        __import__(f"stages.{stage}", fromlist=["main"]).main("toy_plain")
    main("toy_plain")
    importance = json.loads(Path("reports/toy_plain/importance.json").read_text())
    assert importance["method"] == "permutation"
    assert importance["ranking"] == importance["permutation"]
    assert pd.read_parquet("reports/toy_plain/beeswarm.parquet").empty
    assert "when a feature is shuffled" in Path("reports/toy_plain/card.md").read_text()
    assert load_project("toy_plain").title in Path("reports/toy_plain/card.md").read_text()


def test_features_are_ranked_by_their_importance() -> None:
    assert ranked(["a", "b", "c"], [0.1, 3, -1]) == [
        {"feature": "b", "importance": 3.0},
        {"feature": "a", "importance": 0.1},
        {"feature": "c", "importance": -1.0},
    ]


def test_a_beeswarm_has_a_dot_per_row_and_feature() -> None:
    columns = ["a", "b"]
    dots = beeswarm(pd.DataFrame([[1, 2], [3, 4]], columns=columns), pd.DataFrame([[5, 6], [7, 8]], columns=columns))
    expected = pd.DataFrame({"feature": ["a", "a", "b", "b"], "value": [5, 7, 6, 8], "contribution": [1, 3, 2, 4]})
    assert np.array_equal(dots.to_numpy(), expected.to_numpy())

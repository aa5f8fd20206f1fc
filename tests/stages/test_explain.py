from __future__ import annotations

import json
from pathlib import Path

import joblib
import pandas as pd
import pytest

from stages.explain import main
from stages.modeling.pipeline import unwrap
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
    assert len(importance["ranking"]) == len(unwrap(model["model"]).encoder.get_feature_names_out())


@pytest.mark.slow
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
    assert "values of the feature are shuffled" in Path("reports/toy_plain/card.md").read_text()
    assert load_project("toy_plain").title in Path("reports/toy_plain/card.md").read_text()

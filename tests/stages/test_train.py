from __future__ import annotations

import json
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import Pipeline

from stages.modeling.pipeline import predict_scores
from stages.projects._base import Project
from stages.runtime.metric_names import HIGHER_IS_BETTER
from stages.train import main
from tests.samples import QUICK, raw_rows, records, write_params
from tests.serve.checkout import MODELS


def test_the_model_is_one_pipeline_from_raw_rows_to_predictions(project: Project, finished: Path) -> None:
    model = joblib.load(finished / "models" / project.name / "model.joblib")
    assert isinstance(model, Pipeline)
    assert list(model.named_steps) == ["features", "model"]
    rows = raw_rows(project, 30, seed=4).drop(columns=project.target)
    assert model.predict(rows).shape == (30,)
    assert len(np.unique(predict_scores(model, rows, project))) > 1


def test_the_manifest_says_what_was_trained_on_what(project: Project, finished: Path) -> None:
    manifest = json.loads((finished / "models" / project.name / "manifest.json").read_text())
    train = pd.read_parquet(finished / "data" / project.name / "train.parquet")
    reference = pd.read_parquet(finished / "models" / project.name / "reference.parquet")
    assert manifest["estimator"] == MODELS[project.name]["model"]
    assert manifest["rows"] == len(train)
    assert manifest["data"]["simulated"] is True
    assert [column["name"] for column in manifest["columns"]] == list(project.row.model_fields)
    assert manifest["features"] == list(project.feature_names)
    assert ("threshold" in manifest) == (project.task == "classification")
    assert ("interval" in manifest) == (project.task == "regression")
    assert len(reference.merge(train.drop_duplicates(), how="left", indicator=True)["_merge"].unique()) == 1


def test_every_training_row_has_a_score_of_a_model_that_did_not_see_it(project: Project, finished: Path) -> None:
    folder = finished / "models" / project.name
    train = pd.read_parquet(finished / "data" / project.name / "train.parquet")
    scored = pd.read_parquet(folder / "out_of_fold.parquet")
    seen = predict_scores(joblib.load(folder / "model.joblib"), train, project)
    np.testing.assert_array_equal(scored["target"], train[project.target])
    assert np.isfinite(scored["score"]).all()
    assert not np.isclose(scored["score"], seen).all()
    assert np.corrcoef(scored["score"], seen)[0, 1] > 0.5


def test_the_leaderboard_has_every_candidate_best_first(project: Project, finished: Path) -> None:
    board = json.loads((finished / "reports" / project.name / "leaderboard.json").read_text())["candidates"]
    means = [row["metrics"][project.primary_metric]["mean"] for row in board]
    assert {row["candidate"] for row in board} == {*QUICK["train"]["candidates"], MODELS[project.name]["model"]}
    assert means == sorted(means, reverse=project.primary_metric in HIGHER_IS_BETTER)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["toy", "toy_plain"])
def test_best_takes_the_first_of_the_leaderboard_and_a_second_run_gives_the_same_bytes(workspace: Path, name: str) -> None:
    write_params(workspace, name, train={"model": "best", "candidates": ["random_forest", "voting"],
                 "voting": {"members": {"random_forest": 1, "hist_gradient_boosting": 1}}})  # fmt: skip
    (workspace / "data" / name).mkdir(parents=True)
    (workspace / "reports" / name).mkdir(parents=True)
    records(name, 120).to_parquet(f"data/{name}/train.parquet")
    Path(f"reports/{name}/data.json").write_text('{"simulated": true}')
    runs = []
    for _ in range(2):
        main(name)
        outputs = [*Path("models").rglob("*.*"), *Path("reports").rglob("*.*")]
        runs.append({path: path.read_bytes() for path in outputs if path.is_file()})
    assert runs[0] == runs[1]
    manifest = json.loads(Path(f"models/{name}/manifest.json").read_text())
    assert (
        manifest["estimator"]
        == json.loads(Path(f"reports/{name}/leaderboard.json").read_text())["candidates"][0]["candidate"]
    )

from __future__ import annotations

import shutil
from pathlib import Path

import joblib
import numpy as np
import onnx
import pytest
from sklearn.linear_model import PoissonRegressor

from stages.core.cli import UserError
from stages.core.files import Paths, read_json
from stages.export import main
from stages.projects._base import Project
from stages.runtime.identity import md5


def test_every_file_made_from_a_model_names_it(project: Project, finished: Path) -> None:
    model, reports = (finished / folder / project.name for folder in ("models", "reports"))
    digest = md5(model / "model.joblib")
    named = [model / "manifest.json", model / "plan.json", model / "population.json"]
    named += [reports / f"{name}.json" for name in ("evaluation", "importance", "leaderboard", "profile")]
    assert {read_json(path)["model"] for path in named} == {digest}
    for file in ("explainer.npz", "adverts.npz"):
        with np.load(model / file) as table:
            assert str(table["model"]) == digest
    assert {entry.key: entry.value for entry in onnx.load(model / "scorer.onnx").metadata_props} == {"model": digest}
    assert digest in (reports / "card.md").read_text()
    assert read_json(model / "manifest.json")["data"]["report"] == md5(reports / "data.json")


def test_an_estimator_without_a_translation_is_refused_by_its_name_and_nothing_is_written(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in ("models", "data"):
        shutil.copytree(finished / part / "toy_plain", tmp_path / part / "toy_plain")
    shutil.copy(finished / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    folder = Paths("toy_plain").model
    pipeline = joblib.load(folder / "model.joblib")
    fitted = getattr(pipeline["model"], "regressor_", pipeline["model"])
    matrix = fitted[-1].X_train_
    fitted.steps[-1] = "estimator", PoissonRegressor().fit(matrix, np.arange(1.0, 1 + len(matrix)))
    joblib.dump(pipeline, folder / "model.joblib")
    before = {path.name: md5(path) for path in folder.iterdir()}
    refused = r"cannot be exported \(no ONNX translation of PoissonRegressor\).*toy_plain\.train\.model"
    with pytest.raises(UserError, match=refused):
        main("toy_plain")
    assert {path.name: md5(path) for path in folder.iterdir()} == before

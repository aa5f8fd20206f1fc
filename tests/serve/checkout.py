"""A small checkout for the server to load: models of every toy, trained on a few simulated rows, with a dvc.lock."""

from __future__ import annotations

import hashlib
import json
import shutil
from contextlib import chdir
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import yaml
from ruamel.yaml import YAML

from serve.settings import Settings
from stages.modeling.pipeline import predict_scores
from stages.projects._base import Project, load_project
from tests.samples import QUICK, STAGES, records
from tests.toys import TOYS, known

TREES = {"hist_gradient_boosting": {"max_iter": 15, "max_leaf_nodes": 4}, "random_forest": {"n_estimators": 5}}
MODELS: dict[str, dict[str, Any]] = {  # boosting, voting, and one that is explained by sampling; `other` is a linear one
    "toy": {"model": "hist_gradient_boosting", "calibration": "sigmoid"},
    "toy_price": {"model": "voting", "voting": {"members": {"hist_gradient_boosting": 1, "random_forest": 1}}},
    "toy_plain": {"model": "gaussian_process"},
}
CLASSIFIERS = ["toy"]
REGRESSORS = ["toy_plain", "toy_price"]


def train(folder: Path) -> None:
    """Run every stage of every toy in `folder`, and train a second model of the classifier to swap in."""
    folder.mkdir()
    blocks = {name: params(MODELS[name]) for name in TOYS}
    with chdir(folder), known():
        write_params(folder, blocks | {"toy": params({"model": "logistic_regression", "calibration": "sigmoid"})})
        run("toy", "ingest", "prepare", "train", "export")
        shutil.move("models/toy", "other")
        write_params(folder, blocks)
        for name in TOYS:
            run(name, *STAGES)
    write_lock(folder)


def params(train: dict[str, Any]) -> dict[str, Any]:
    """Quick settings of a project with these for its training; a Gaussian process takes seconds with more rows."""
    rows = 150 if train["model"] == "gaussian_process" else 400
    only = {"candidates": [*{"hist_gradient_boosting": 1, "random_forest": 1, train["model"]: 1}], "folds": 3}
    changed = {"train": {**TREES, **only, **train}, "explain": {"rows": 20, "repeats": 1}}
    return QUICK | changed | {"ingest": {**QUICK["ingest"], "sources": [f"simulate?rows={rows}"]}}


def write_params(folder: Path, blocks: dict[str, Any]) -> None:
    """The params.yaml of these projects."""
    with (folder / "params.yaml").open("w") as file:
        writer = YAML(typ="safe")
        writer.representer.ignore_aliases = lambda data: True
        writer.dump({"base": {"seed": 0}, **blocks}, file)


def run(name: str, *stages: str) -> None:
    """Run these stages of a project in the current folder."""
    for stage in stages:
        import_module(f"stages.{stage}").main(name)


def write_lock(root: Path) -> None:
    """A dvc.lock as DVC writes it, with the hashes that the models have now."""
    stages = {}
    for folder in sorted((root / "models").iterdir()):
        files = [(path, path.read_bytes()) for path in sorted(folder.iterdir())]
        outs = [
            {"path": str(path.relative_to(root)), "hash": "md5", "md5": hashlib.md5(data).hexdigest(), "size": len(data)}
            for path, data in files
        ]
        stages[f"export@{folder.name}"] = {"cmd": f"python -m stages.export {folder.name}", "outs": outs}
    temporary = root / "dvc.lock.new"
    temporary.write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    temporary.replace(root / "dvc.lock")


def swap_in_other(root: Path, checkout: Path) -> None:
    """Check out the second model of the classifier."""
    replace_model(root, checkout / "other")


def replace_model(root: Path, source: Path, name: str = "toy") -> None:
    """Put the artifacts in `source` in the place of a project's, with a dvc.lock that agrees."""
    for path in source.iterdir():
        shutil.copy(path, root / "models" / name / path.name)
    write_lock(root)


def deploy(root: Path, source: Path, version: str, name: str = "toy") -> None:
    """Put the artifacts in `source` in the place of a project's as `stages.deploy` does, with a deployment.json."""
    fetched, folder = root / f"fetched-{version}", root / "models" / name
    shutil.copytree(source, fetched, ignore=shutil.ignore_patterns("deployment.json"))
    files = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in fetched.iterdir()}
    record = {"version": version, "stage": "prod", "revision": "c0ffee", "files": files}
    (fetched / "deployment.json").write_text(json.dumps(record))
    if folder.exists():
        folder.rename(root / f"before-{version}")
    fetched.rename(folder)


def settings(root: Path, folder: Path, **changes: Any) -> Settings:
    """Settings of a server on `root` whose log lies in `folder`."""
    values = {
        "root": root,
        "database_url": f"sqlite+aiosqlite:///{folder}/serve.db",
        "spill_path": folder / "spill",
        "revision": "c0ffee",
        **changes,
    }
    return Settings(**values)


def example(name: str) -> dict[str, Any]:
    """The example row of a project."""
    return load_project(name).example_row


@cache
def json_rows(name: str, rows: int, seed: int = 7) -> list[dict[str, Any]]:
    """Simulated rows as a client sends them, gaps as null."""
    project = load_project(name)
    frame = records(project, 2 * rows, seed).head(rows)
    assert len(frame) == rows
    return [
        {column.name: _plain(value, column.integer) for column, value in zip(project.columns, values, strict=True)}
        for values in zip(*(frame[column.name] for column in project.columns), strict=True)
    ]


def _plain(value: Any, integer: bool) -> Any:
    if pd.isna(value):
        return None
    if isinstance(value, pd.Timestamp):
        return value.date().isoformat()
    if isinstance(value, str):
        return value
    return int(value) if integer or float(value).is_integer() else float(value)


def pipeline_scores(folder: Path, project: Project, rows: list[dict[str, Any]]) -> np.ndarray:
    """What the scikit-learn pipeline in `folder` says of rows."""
    frame = pd.DataFrame(rows, columns=list(project.row.model_fields))
    return predict_scores(joblib.load(folder / "model.joblib"), frame, project)


def score_of(answer: dict[str, Any]) -> float:
    """The number that the model gave: a probability or a value."""
    return float(answer.get("probability", answer["prediction"]))

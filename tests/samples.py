"""Small inputs that many tests share."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pandas as pd
from ruamel.yaml import YAML

from stages.intake.sift import sift
from stages.intake.sources import read_source
from stages.modeling.settings import Train
from stages.projects._base import Project, columns_of, load_project

ROOT = Path(__file__).resolve().parents[1]
DAG = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())
STAGES = tuple(DAG["stages"])
QUICK: dict[str, dict[str, Any]] = {
    "ingest": {"sources": ["simulate?rows=400"], "max_rejected": 0.02},
    "prepare": {"test_size": 0.25},
    "train": {
        "model": "hist_gradient_boosting",
        "candidates": ["hist_gradient_boosting", "random_forest"],
        "folds": 2,
        "hist_gradient_boosting": {"max_iter": 15, "max_leaf_nodes": 4},
        "random_forest": {"n_estimators": 5},
    },
    "evaluate": {"resamples": 100, "learning_curve": [0.5]},
    "explain": {"rows": 40, "repeats": 1},
}


def write_params(folder: Path, *names: str, **changes: dict[str, Any]) -> None:
    """A params.yaml in `folder` with quick settings for these projects; `changes` go into the block of their stage."""
    block = {stage: {**QUICK.get(stage, {}), **changes.get(stage, {})} for stage in {**QUICK, **changes}}
    with (folder / "params.yaml").open("w") as file:
        YAML(typ="safe").dump({"base": {"seed": 0}, **{name: deepcopy(block) for name in names}}, file)


def settings(**changes: Any) -> Train:
    """Quick settings of a training."""
    return Train.model_validate({**QUICK["train"], **changes})


def raw_rows(project: Project | str, rows: int = 300, seed: int = 0, shift: str | None = None) -> pd.DataFrame:
    """Simulated rows as a source holds them."""
    project = load_project(project) if isinstance(project, str) else project
    address = f"simulate?rows={rows}" + (f"&shift={shift}" if shift else "")
    return read_source(address, project, seed).frame


def records(project: Project | str, rows: int = 300, seed: int = 0) -> pd.DataFrame:
    """Simulated rows as ingest writes them."""
    project = load_project(project) if isinstance(project, str) else project
    accepted, _, _ = sift(raw_rows(project, rows, seed), columns_of(project.record))
    return accepted.assign(source=0).reset_index(drop=True)

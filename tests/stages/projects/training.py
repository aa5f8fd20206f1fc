"""Trains the projects of this repository as their params say, but quickly: few rows, few trees."""

from __future__ import annotations

import shutil
from contextlib import chdir
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.samples import QUICK, ROOT, STAGES
from tests.serve.checkout import run, write_lock, write_params

SMALL = {"n_estimators": 5, "max_iter": 15}


def quick(block: dict[str, Any]) -> dict[str, Any]:
    """The params of a project with the same estimators, each with few trees."""
    train = {
        key: {name: SMALL.get(name, value) for name, value in given.items()} if isinstance(given, dict) else given
        for key, given in block["train"].items()
    }
    few = {"ingest": {**block["ingest"], "sources": ["simulate?rows=250"]}, "explain": {"rows": 20, "repeats": 1}}
    return {**block, **QUICK, **few, "train": {**train, "folds": 2}}


def train_project(folder: Path, name: str) -> None:
    """Run every stage of a project in `folder`."""
    folder.mkdir()
    params = YAML(typ="safe").load(ROOT / "params.yaml")
    write_params(folder, {name: quick(params[name])})
    with chdir(folder):
        run(name, *STAGES)


def join(folder: Path, parts: list[Path]) -> None:
    """One checkout of what was trained in several folders."""
    for part in parts:
        for kind in ("models", "reports"):
            shutil.copytree(part / kind, folder / kind, dirs_exist_ok=True)
    write_lock(folder)

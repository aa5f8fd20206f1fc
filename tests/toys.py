"""The projects of the tests' own. Tests of what every project gets use them, so that any real project can go or come."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import stages.projects
from stages.projects._base import Project

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "tests" / "projects"
TOYS = tuple(sorted(path.stem for path in FOLDER.glob("toy*.py")))
PYTHONPATH = f"{ROOT / 'tests' / 'site'}:{ROOT}"  # with this a process knows the toys and no other project


@contextmanager
def known(folder: Path = FOLDER) -> Iterator[None]:
    """Let this process, and those it begins with its environment, know only the projects in `folder`.

    Another folder than the tests' own, in a clone's stages, may hold a toy that was changed.
    """
    before, modules = stages.projects.__path__, {}
    environment = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = PYTHONPATH if folder == FOLDER else str(folder.parents[1])
    if folder != FOLDER:
        modules = {name: sys.modules.pop(f"stages.projects.{name}", None) for name in TOYS}
    stages.projects.__path__ = [str(folder)]
    try:
        yield
    finally:
        stages.projects.__path__ = before
        os.environ.pop("PYTHONPATH")
        os.environ.update({"PYTHONPATH": environment} if environment is not None else {})
        for name, module in modules.items():
            sys.modules.pop(f"stages.projects.{name}", None)
            if module is not None:
                sys.modules[f"stages.projects.{name}"] = module


def module(name: str) -> Any:
    """The module of a toy, with the truth of its simulator."""
    with known():
        return import_module(f"stages.projects.{name}")


def toy(name: str = "toy") -> Project:
    """A toy; `toy_price` is a regressor with a market, `toy_plain` one with nothing but numbers."""
    found: Project = module(name).project
    return found

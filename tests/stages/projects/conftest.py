"""Fixtures of the tests of the real projects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from stages.projects._base import Project, load_project, project_names
from tests.shared import shared, shared_base
from tests.stages.projects.training import join, train


@pytest.fixture(scope="module", params=project_names())
def project(request: pytest.FixtureRequest) -> Project:
    """Every project of this repository in turn; its module of tests says `REAL_PROJECTS = True`."""
    return load_project(request.param)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Callable[[str], Path]:
    """Gives the folder in which all stages of a project ran, once for all test processes; only to be read."""
    return lambda name: shared(shared_base(tmp_path_factory, worker_id), name, lambda folder: train(folder, name))


@pytest.fixture(scope="session")
def joined(tmp_path_factory: pytest.TempPathFactory, worker_id: str, trained: Callable[[str], Path]) -> Path:
    """A checkout of all projects for the server."""
    make = lambda folder: join(folder, [trained(name) for name in project_names()])  # noqa: E731
    return shared(shared_base(tmp_path_factory, worker_id), "joined", make)

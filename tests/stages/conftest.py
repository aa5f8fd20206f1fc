"""Fixtures of the tests that need a registry or a server to ask."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.promotion.git import git
from tests.clones import copy_pipeline, make_clone
from tests.shared import shared, shared_base
from tests.stages import answers as prepared
from tests.stages import registered

ELSEWHERE = ("GITHUB_ACTOR", "VERITABLE_SERVER", "VERITABLE_ADMIN_TOKEN", "VERITABLE_API_KEY", "VERITABLE_WEBHOOK")
COVERAGE = ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")  # the code of a copy is not what is measured


def copy_dag(folder: Path) -> None:
    """Write the dvc.yaml of the toys, which commands check before they run."""
    copy_pipeline(folder / "pipeline")
    shutil.move(folder / "pipeline" / "dvc.yaml", folder / "dvc.yaml")
    shutil.rmtree(folder / "pipeline")


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The clone, made by the first worker that needs it; only to be copied."""
    return shared(shared_base(tmp_path_factory, worker_id), "clone", make_clone)


@pytest.fixture
def clone(reproduced: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the clone, to be changed."""
    shutil.copytree(reproduced, tmp_path / "clone", symlinks=True)
    yield tmp_path / "clone"
    shutil.rmtree(tmp_path / "clone")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, worker_id: str, reproduced: Path) -> Path:
    """The repository of `registered.make`, made by the first worker that needs it; only to be copied."""
    base = shared_base(tmp_path_factory, worker_id)
    return shared(base, "registered", lambda folder: registered.make(folder, reproduced))


@pytest.fixture
def repository(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the repository as the current folder, with nothing in the environment that leads elsewhere."""
    folder = tmp_path / "repository"
    shutil.copytree(made, folder, symlinks=True)
    monkeypatch.chdir(folder)
    for name in (*ELSEWHERE, *COVERAGE):
        monkeypatch.delenv(name, raising=False)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def revisions(repository: Path) -> tuple[str, str]:
    """The first and the second commit that has a model."""
    second, first = git("rev-list", "--max-count=2", "HEAD").split()
    return first, second


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[prepared.Answers]:
    """A server that runs, and no key in the environment."""
    monkeypatch.delenv("VERITABLE_API_KEY", raising=False)
    with prepared.serve() as running:
        yield running

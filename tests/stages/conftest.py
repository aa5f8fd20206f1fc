"""Fixtures of the tests that need a registry or a server to ask."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.promotion.git import git
from tests.clones import make_clone
from tests.stages import answers as prepared
from tests.stages import registered

ELSEWHERE = ("GITHUB_ACTOR", "VERITABLE_SERVER", "VERITABLE_ADMIN_TOKEN", "VERITABLE_API_KEY")
COVERAGE = ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")  # the code of a copy is not what is measured


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The repository of `registered.make`, made by the first worker that needs it; only to be copied."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    with (shared / "clone.lock").open("w") as lock:  # test_dag.py makes the same clone
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "clone").exists():
            make_clone(shared / "unfinished")
            (shared / "unfinished").rename(shared / "clone")
        if not (shared / "registered").exists():
            registered.make(shared / "registering", shared / "clone")
            (shared / "registering").rename(shared / "registered")
    return shared / "registered"


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

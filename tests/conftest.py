"""Fixtures that many tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import chdir
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import hypothesis
import pytest
from moto.server import ThreadedMotoServer

from stages.projects._base import Project, load_project, project_names
from tests.samples import STAGES, write_params

hypothesis.settings.register_profile("tests", deadline=None, max_examples=50, derandomize=True)
hypothesis.settings.load_profile("tests")


LONGEST = ("test_story.py", "test_retrain.py", "test_tune.py", "test_verify.py")


def pytest_configure(config: pytest.Config) -> None:
    """In pyproject.toml it would make pytest import scikit-learn, and so NumPy, before `stages` fixes the kernels."""
    config.addinivalue_line("filterwarnings", "ignore::sklearn.exceptions.ConvergenceWarning")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first: one that is begun last keeps the other processes waiting for it."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(scope="session", params=project_names())
def project(request: pytest.FixtureRequest) -> Project:
    """Every project in turn."""
    return load_project(request.param)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that stages run in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def run_stages(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Runs all stages of a project with quick settings, once, and gives the folder they ran in."""

    @cache
    def run(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        write_params(folder, name)
        with chdir(folder):
            for stage in STAGES:
                import_module(f"stages.{stage}").main(name)
        return folder

    return run


@pytest.fixture
def finished(project: Project, run_stages: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which all stages of every project in turn ran, as the current one; only to be read."""
    folder = run_stages(project.name)
    monkeypatch.chdir(folder)
    return folder


class S3Server(NamedTuple):
    """Where an S3 server of our own listens, and the environment that it lets in."""

    url: str
    credentials: dict[str, str]


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """An S3 server without a bucket."""
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    secrets = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "test")
    yield S3Server(f"http://{host}:{port}", {**secrets, "AWS_DEFAULT_REGION": "us-east-1"})
    server.stop()

"""Fixtures that many tests share. What takes seconds to import is imported late: each process of the tests reads this."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import hypothesis
import pytest

from stages.projects._base import Project, load_project, project_names
from tests.shared import shared, shared_base
from tests.toys import TOYS, known

hypothesis.settings.register_profile("tests", deadline=None, max_examples=50, derandomize=True)
hypothesis.settings.register_profile("quick", hypothesis.settings.get_profile("tests"), max_examples=10)
hypothesis.settings.load_profile("tests")


EXPENSIVE = {"browser", "joined", "postgres", "reproduced", "s3", "scheduler", "trained"}
LONGEST = (
    "test_readmes.py", "test_retrain.py", "test_story.py", "test_coming_and_going.py", "test_tune.py", "test_past.py",
    "test_commands.py",
)  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """In pyproject.toml it would make pytest import scikit-learn, and so NumPy, before `stages` fixes the kernels."""
    config.addinivalue_line("filterwarnings", "ignore::sklearn.exceptions.ConvergenceWarning")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first: one that is begun last keeps the other processes waiting for it. What needs a clone, a cluster, a
    browser, a PostgreSQL or the trained real projects is slow; what else computes for half a second is mostly marked there.
    """
    items.sort(key=lambda item: item.path.name not in LONGEST)
    for item in items:
        chosen = getattr(item, "callspec", None)
        if EXPENSIVE & {*getattr(item, "fixturenames", ()), *map(str, chosen.params.values() if chosen else ())}:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True, scope="module")
def _known_projects(request: pytest.FixtureRequest) -> Iterator[None]:
    """Only the toys are known as projects, in this process and in those that it begins, unless a module of tests says
    `REAL_PROJECTS = True`: then only those of this repository are.
    """
    with nullcontext() if getattr(request.module, "REAL_PROJECTS", False) else known():
        yield


@pytest.fixture(scope="module", params=TOYS)  # a wider scope would order the tests by project, not by module
def project(request: pytest.FixtureRequest) -> Project:
    """Every toy in turn."""
    return load_project(request.param)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that stages run in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """What the stages make of every toy, with a dvc.lock, made once for all test processes; only to be read."""
    from tests.serve.checkout import train

    return shared(shared_base(tmp_path_factory, worker_id), "checkout", train)


@pytest.fixture
def finished(project: Project, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which all stages of every toy in turn ran, as the current one; only to be read."""
    monkeypatch.chdir(checkout)
    return checkout


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Callable[[str], Path]:
    """Gives the folder in which all stages of a real project ran, once for all test processes; only to be read."""
    from tests.stages.projects.training import train_project

    return lambda name: shared(shared_base(tmp_path_factory, worker_id), name, lambda folder: train_project(folder, name))


@pytest.fixture(scope="session")
def joined(tmp_path_factory: pytest.TempPathFactory, worker_id: str, trained: Callable[[str], Path]) -> Path:
    """A checkout of all projects of this repository for the server; only to be read."""
    from tests.stages.projects.training import join

    make = lambda folder: join(folder, [trained(name) for name in project_names()])  # noqa: E731
    return shared(shared_base(tmp_path_factory, worker_id), "joined", make)


class S3Server(NamedTuple):
    """Where an S3 server of our own listens, and the environment that it lets in."""

    url: str
    credentials: dict[str, str]


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """An S3 server without a bucket."""
    from moto.server import ThreadedMotoServer  # here, as it takes a second

    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    secrets = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "test")
    yield S3Server(f"http://{host}:{port}", {**secrets, "AWS_DEFAULT_REGION": "us-east-1"})
    server.stop()

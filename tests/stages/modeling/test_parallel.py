from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from stages.core.cli import UserError
from stages.modeling import parallel
from stages.modeling.crossval import cross_validate
from stages.modeling.parallel import compute_backend
from stages.modeling.pipeline import RowFeatures, build_model, make_folds
from tests.samples import STAGES, records, settings, write_params
from tests.toys import toy

PARCELS = toy()


@contextmanager
def cluster(workers: int, **options: Any) -> Iterator[str]:
    """The address of a Dask scheduler on this machine."""
    from distributed import LocalCluster  # here, as it takes half a second

    local: Any = LocalCluster  # it has no types
    with local(n_workers=workers, threads_per_worker=2, dashboard_address=":0", protocol="tcp", **options) as running:
        yield running.scheduler_address


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """A Dask scheduler with a worker in another process."""
    with cluster(1) as address:
        yield address


def test_on_a_dask_cluster_every_stage_writes_the_same_bytes(
    workspace: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    members = {"random_forest": 1, "logistic_regression": 1}
    for address in (None, scheduler):
        folder = workspace / str(address is None)
        folder.mkdir()
        candidates = ["hist_gradient_boosting", "random_forest", "voting"]
        train = {"model": "voting", "candidates": candidates, "calibration": "sigmoid", "voting": {"members": members}}
        write_params(folder, "toy", train=train)
        if address:
            monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", address)
        with chdir(folder):
            for stage in STAGES:
                import_module(f"stages.{stage}").main("toy")
        paths = [path for part in ("models", "reports") for path in (folder / part).rglob("*.*") if path.is_file()]
        made.append({path.relative_to(folder): path.read_bytes() for path in paths})
    assert made[0] == made[1]
    assert {Path("models/toy/model.joblib"), Path("reports/toy/leaderboard.json")} <= made[0].keys()


def test_folds_are_fitted_by_the_workers(scheduler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", scheduler)
    frame = records(PARCELS, 200)
    features, target = RowFeatures("toy").transform(frame), frame["late"].to_numpy()
    monkeypatch.setattr("stages.modeling.crossval.predict_scores", None)  # here, so a fold that is fitted here fails
    models = {"random_forest": build_model(PARCELS, "random_forest", settings(), 0)}
    results = list(cross_validate(models, features, target, make_folds(PARCELS, frame, 2, seed=0), PARCELS))
    assert len(results) == 2


def refusal(address: str, patch: pytest.MonkeyPatch, patience: float = 0.5) -> str:
    patch.setenv("DASK_SCHEDULER_ADDRESS", address)
    patch.setattr(parallel, "PATIENCE", patience)
    with pytest.raises(UserError) as error, compute_backend():
        pass
    return str(error.value)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense", "http://127.0.0.1:9"])
def test_an_address_where_no_scheduler_answers_is_named(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(address, monkeypatch).startswith(f"DASK_SCHEDULER_ADDRESS={address}: no Dask scheduler answers there: ")


def test_a_cluster_of_no_workers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with cluster(0, processes=False) as address:
        assert refusal(address, monkeypatch) == f"the Dask scheduler at {address} has no workers: dask worker {address}"


def test_workers_of_other_code_are_refused(scheduler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "CODE", "edited since")
    assert "Dask runs other code or libraries than here: tcp://127.0.0.1:" in refusal(scheduler, monkeypatch)


@contextmanager
def dask(*arguments: str, folder: Path) -> Iterator[None]:
    """A Dask command running in `folder`, with what it says in a file there."""
    command = [sys.executable, "-m", "dask", *arguments, "--dashboard-address", ":0"]
    with (folder / arguments[0]).open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            process.wait()


def address_in(file: Path) -> str:
    until = time.monotonic() + 120
    while not (file.exists() and file.read_text().endswith("}")) and time.monotonic() < until:
        time.sleep(0.1)
    return str(json.loads(file.read_text())["address"])


@pytest.mark.slow
def test_a_scheduler_and_workers_started_outside_a_checkout_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    with dask("scheduler", "--port", "0", "--host", "127.0.0.1", "--scheduler-file", "scheduler.json", folder=tmp_path):
        address = address_in(tmp_path / "scheduler.json")
        with dask("worker", address, "--host", "127.0.0.1", "--no-nanny", folder=tmp_path):
            said = refusal(address, monkeypatch, patience=120)
    expected = f", scheduler {address}. Restart scheduler and workers in this checkout"
    assert expected in said, [said, *((tmp_path / name).read_text() for name in ("scheduler", "worker"))]


def test_without_dask_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert "uv pip install -r pyproject.toml --extra dask" in refusal("tcp://127.0.0.1:9", monkeypatch)

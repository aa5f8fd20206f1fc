"""Tests of serve/metrics.py: what alarms are made of."""

from __future__ import annotations

from pathlib import Path

from tests.serve.checkout import example, swap_in_other
from tests.serve.conftest import Client, Serve
from tests.serve.test_service import ADMIN, predict, until


def value(client: Client, name: str) -> float:
    """The value of a metric with its labels."""
    (line,) = [line for line in client.get("/metrics").text.splitlines() if line.startswith(f"{name} ")]
    return float(line.rpartition(" ")[2])


def test_the_log_and_the_disk_of_its_spill_files_can_be_watched(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "file").touch()  # where the folder of the database should be
    client = serve(database_url=f"sqlite+aiosqlite:///{tmp_path}/file/serve.db")
    assert predict(client).status_code == 200
    assert (value(client, "serve_log_healthy"), value(client, "serve_log_writable")) == (0, 1)
    assert value(client, "serve_log_spill_bytes") > 0
    assert value(client, "serve_log_spill_free_bytes") > 0
    (spilled,) = (tmp_path / "spill").glob("spill-*.jsonl")
    with spilled.open("ab") as file:
        file.write(b"no prediction\n")
    assert client.post("/v1/toy/predict", json=example("toy")).status_code == 200
    assert value(client, "serve_log_rejected_rows") == 0
    (tmp_path / "file").unlink()
    until(lambda: value(client, "serve_log_healthy") == 1)
    assert (value(client, "serve_log_rejected_rows"), value(client, "serve_log_spill_bytes")) == (1, 0)
    (tmp_path / "spill" / "rejected.jsonl").unlink()
    assert value(client, "serve_log_rejected_rows") == 0


def test_a_background_task_that_ended_is_named(serve: Serve) -> None:
    client = serve(retention_days=30)
    names = ("deployments", "drift", "keys", "retention", "log_writer", "log_recovery")
    assert {value(client, f'serve_background_task_up{{task="{name}"}}') for name in names} == {1}
    (drift,) = [task for task in client.app.state.service._running() if task.get_name() == "drift"]
    client.blocking_portal.call(drift.cancel)
    until(lambda: value(client, 'serve_background_task_up{task="drift"}') == 0)
    assert client.get("/health").json()["reasons"] == ["background task drift: has ended, restart the server"]


def test_only_the_model_that_serves_is_named(serve: Serve, root: Path, checkout: Path) -> None:
    client = serve(root)
    swap_in_other(root, checkout)
    loaded = client.post("/v1/toy/reload", headers=ADMIN).json()
    (line,) = [line for line in client.get("/metrics").text.splitlines() if line.startswith("serve_model_info{")]
    assert f'hash="{loaded["hash"]}"' in line
    assert 'revision="c0ffee"' in line
    assert "version=" in line


def test_the_process_can_be_watched(serve: Serve) -> None:
    client = serve()
    assert value(client, "process_resident_memory_bytes") > 1e6
    assert value(client, "process_open_fds") > 1
    assert value(client, "process_cpu_seconds_total") > 0


def test_without_a_log_there_are_no_metrics_of_one_that_would_raise_an_alarm(serve: Serve) -> None:
    assert "serve_log_" not in serve(log=False).get("/metrics").text

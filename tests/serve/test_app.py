"""Tests of the application as a process of its own: what it imports, how it stops, what survives, what a swap does."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from serve.log.prediction_log import PredictionLog
from stages.projects._base import load_project, project_names
from tests.serve.checkout import example, json_rows, pipeline_scores, replace_model, score_of
from tests.serve.conftest import Database
from tests.serve.process import Load, Server

pytestmark = pytest.mark.slow

ADMIN = {"Authorization": "Bearer letmein-for-tests"}
PREDICT = "/v1/toy/predict"
SOAK = bool(os.environ.get("SOAK"))  # `make bench` reloads every 2 s for a minute
TURNS, PAUSE = (30, 2.0) if SOAK else (10, 0.3)

IMPORTS = """
import json, sys
from litestar.testing import TestClient
from serve.app import create_app
from serve.settings import Settings
from stages.projects._base import load_project, project_names

root, folder = sys.argv[1:]
settings = Settings(root=root, database_url=f"sqlite+aiosqlite:///{folder}/serve.db", spill_path=f"{folder}/spill")
with TestClient(create_app(settings)) as client:
    for name in project_names():
        fields = load_project(name).row.model_fields
        row = {key: field.examples[0] for key, field in fields.items() if field.examples}
        for path, body in (("predict", row), ("predict/batch", {"rows": [row]}), ("explain", row), ("predict", {})):
            response = client.post(f"/v1/{name}/{path}", json=body)
            assert response.status_code == (200 if body else 422), response.text
        for path in ("", "/predict", "/model", "/history", "/monitoring", "/predictions"):
            client.get(f"/{name}{path}").raise_for_status()
        assert client.get(f"/{name}/market").status_code == (200 if load_project(name).market else 404)
    for path in ("/openapi.json", "/docs", "/metrics", "/v1/projects", "/", "/static/0/vega.js"):
        client.get(path).raise_for_status()
print(json.dumps(sorted({module.partition(".")[0] for module in sys.modules})))
"""


UNWANTED = {
    "sklearn", "pandas", "shap", "dvc", "dvclive", "evidently", "plotly", "matplotlib", "scipy", "joblib", "onnx",
    "vl_convert",
}  # fmt: skip


def test_predicting_and_explaining_imports_no_training_library(checkout: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", IMPORTS, str(checkout), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert loaded & UNWANTED == set()
    assert {"onnxruntime", "numpy"} <= loaded


def test_a_stopped_server_first_answers_and_logs_what_is_in_work(checkout: Path, tmp_path: Path) -> None:
    rows = json_rows("toy_plain", 1_000)
    with Server(checkout, tmp_path) as server:
        httpx.post(f"{server.url}/v1/toy_plain/predict", json=rows[0]).raise_for_status()
        answers: list[httpx.Response] = []
        clients = [
            threading.Thread(
                target=lambda: answers.append(
                    httpx.post(f"{server.url}/v1/toy_plain/predict/batch", json={"rows": rows}, timeout=20)
                )
            )
            for _ in range(8)
        ]
        for client in clients:
            client.start()
        deadline = time.monotonic() + 10
        while not answers and time.monotonic() < deadline:  # one has come, the others are on their way
            time.sleep(0.001)
        server.signal(signal.SIGTERM)
        for client in clients:
            client.join()
        assert server.wait() in (0, -signal.SIGTERM)
        assert [answer.status_code for answer in answers] == [200] * 8
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{server.url}/health")
    made = {found["prediction_id"] for answer in answers for found in answer.json()["predictions"]}
    assert made <= set(logged_ids(f"sqlite+aiosqlite:///{tmp_path}/serve.db", tmp_path / "spill", "toy_plain"))


def test_a_stop_is_announced_while_requests_are_still_answered(checkout: Path, tmp_path: Path) -> None:
    with Server(checkout, tmp_path, SERVE_PROJECTS='["toy"]', SERVE_UNREADY_SECONDS="5") as server:
        ready = httpx.get(f"{server.url}/ready")
        assert (ready.status_code, ready.json()["stopping"]) == (200, False)
        server.signal(signal.SIGTERM)
        while ready.status_code == 200:
            ready = httpx.get(f"{server.url}/ready")  # over a new connection
        assert (ready.status_code, ready.json()["stopping"]) == (503, True)
        answer = httpx.post(f"{server.url}{PREDICT}", json=example("toy"))
        assert answer.status_code == 200
        assert server.wait() in (0, -signal.SIGTERM)
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{server.url}/ready")
    made = answer.json()["prediction_id"]
    assert logged_ids(f"sqlite+aiosqlite:///{tmp_path}/serve.db", tmp_path / "spill", "toy") == [made]


def test_a_second_signal_stops_at_once(checkout: Path, tmp_path: Path) -> None:
    with Server(checkout, tmp_path, SERVE_PROJECTS='["toy"]', SERVE_UNREADY_SECONDS="3600") as server:
        server.signal(signal.SIGTERM)
        while httpx.get(f"{server.url}/ready").status_code == 200:
            pass
        server.signal(signal.SIGTERM)
        assert server.wait() in (0, -signal.SIGTERM)


def test_the_server_writes_nothing_but_json_lines(checkout: Path, tmp_path: Path) -> None:
    with Server(checkout, tmp_path) as server:
        httpx.post(f"{server.url}{PREDICT}", json=example("toy")).raise_for_status()
    lines = [line for line in server.output.read_text().splitlines() if line.startswith("{")]
    for line in lines:
        assert {"time", "level", "logger", "message"} <= set(json.loads(line))
    assert any("toy: serving" in line for line in lines)
    assert "sender" not in server.output.read_text()


def logged_ids(url: str, spill: Path, project: str = "toy") -> list[str]:
    """All predictions of a project in the log, once what was spilled is replayed."""

    async def read() -> list[str]:
        log = PredictionLog(url, spill_path=spill)
        await log.start()
        async with asyncio.timeout(20):
            while log.stats().state != "healthy":
                await asyncio.sleep(0.02)
        ids: list[str] = []
        while page := await log.page(project, 1_000, ids[-1] if ids else None):
            ids += [entry.id for entry in page]
        await log.stop()
        return ids

    return asyncio.run(read())


@asynccontextmanager
async def loaded(server: Server, rows: list[dict[str, Any]], **options: Any) -> AsyncIterator[Load]:
    """Load on the server for the time of the block."""
    load, going = Load(server.url, PREDICT, rows), True
    task = asyncio.create_task(load.run(lambda: going, **options))
    try:
        yield load
    finally:
        going = False
        await task


async def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("kind", "kills"), [("sqlite", 3), ("postgres", 2), pytest.param("sqlite", 12, marks=pytest.mark.long)]
)
def test_kill_loses_no_prediction_that_was_answered(
    request: pytest.FixtureRequest, checkout: Path, tmp_path: Path, kind: str, kills: int
) -> None:
    url = request.getfixturevalue(f"{kind}_url")
    rows, draw, acknowledged = json_rows("toy", 50), random.Random(11), set[str]()

    async def kill_once() -> None:
        with Server(checkout, tmp_path, SERVE_DATABASE_URL=url, SERVE_PROJECTS='["toy"]') as server:
            async with loaded(server, rows) as load:
                await until(lambda: len(load.answers) > 20)
                await asyncio.sleep(draw.uniform(0, 0.3))
                await asyncio.to_thread(server.kill)
            acknowledged.update(answer["prediction_id"] for answer in load.answers)

    for _ in range(kills):
        asyncio.run(kill_once())
    assert len(acknowledged) > 20 * kills
    ids = logged_ids(url, tmp_path / "spill")
    assert len(ids) == len(set(ids))
    assert acknowledged <= set(ids)


def test_kill_while_the_database_is_away_loses_no_prediction_either(
    database: Database, checkout: Path, tmp_path: Path
) -> None:
    rows, acknowledged = json_rows("toy", 50), set[str]()

    async def outage(*, crash: bool) -> None:
        with Server(checkout, tmp_path, SERVE_DATABASE_URL=database.url, SERVE_PROJECTS='["toy"]') as server:

            def status() -> str:
                return str(httpx.get(f"{server.url}/health").json()["status"])

            async with loaded(server, rows, pause=0.005) as load:
                await until(lambda: len(load.answers) > 20)
                await asyncio.to_thread(database.stop)
                await until(lambda: status() == "degraded")
                before = len(load.answers)
                await until(lambda: len(load.answers) > before + 20)
                if crash:
                    await asyncio.to_thread(server.kill)
                await asyncio.to_thread(database.start)
                if not crash:
                    await until(lambda: status() == "healthy")
            assert crash or load.failures == []
            acknowledged.update(answer["prediction_id"] for answer in load.answers)

    asyncio.run(outage(crash=True))
    asyncio.run(outage(crash=False))
    ids = logged_ids(database.url, tmp_path / "spill")
    assert len(ids) == len(set(ids))
    assert acknowledged <= set(ids)


def test_reloads_and_a_swap_under_load_fail_no_request_and_mix_no_models(root: Path, checkout: Path, tmp_path: Path) -> None:
    rows = json_rows("toy", 60)
    project = load_project("toy")
    folders = [checkout / "models" / "toy", checkout / "other"]
    expected = [pipeline_scores(folder, project, rows) for folder in folders]
    hashes: list[str] = []

    async def scenario(server: Server) -> Load:
        async with loaded(server, rows) as load, httpx.AsyncClient(base_url=server.url, headers=ADMIN) as admin:
            for turn in range(TURNS):
                if turn == TURNS // 2:
                    replace_model(root, checkout / "other")
                reloaded = await admin.post("/v1/toy/reload")
                reloaded.raise_for_status()
                hashes.append(reloaded.json()["hash"])
                await asyncio.sleep(PAUSE)
        return load

    with Server(root, tmp_path, SERVE_ADMIN_TOKEN="letmein-for-tests", SERVE_PROJECTS='["toy"]') as server:
        load = asyncio.run(scenario(server))
    assert load.failures == []
    assert len(set(hashes)) == 2
    models = [hashes[0], hashes[-1]]
    made_by = np.array([models.index(answer["model"]["hash"]) for answer in load.answers])
    found = np.array([score_of(answer) for answer in load.answers])
    np.testing.assert_allclose(found, np.array(expected)[made_by, load.requested], rtol=1e-9)
    assert min(np.bincount(made_by)) > 50
    assert not np.isclose(expected[0], expected[1]).all()


def test_all_projects_are_ready_when_the_process_is(checkout: Path, tmp_path: Path) -> None:
    with Server(checkout, tmp_path) as server:
        assert httpx.get(f"{server.url}/ready").json() == {
            "ready": True,
            "log": True,
            "stopping": False,
            "projects": dict.fromkeys(project_names(), True),
        }
        for name in project_names():
            assert httpx.post(f"{server.url}/v1/{name}/predict", json=example(name)).status_code == 200

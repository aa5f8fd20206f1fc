"""Tests of serve/service.py: what has no route of its own."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from litestar.testing import TestClient

from serve.app import create_app
from serve.log.prediction_log import PredictionLog
from serve.models.answers import Answerer
from serve.models.loader import Model, load_model
from serve.models.rows import RowCodec
from serve.models.stability import Drift
from serve.service import BATCHES, SLICE, Service
from tests.serve.checkout import deploy, example, json_rows, settings, swap_in_other
from tests.serve.conftest import Client, Database, Serve

ADMIN = {"Authorization": "Bearer letmein-for-tests"}


def predict(client: Client) -> Any:
    return client.post("/v1/toy/predict", json=example("toy"))


def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)


@pytest.mark.slow
def test_predictions_go_on_while_the_database_is_away_and_are_there_when_it_is_back(
    serve: Serve, database: Database
) -> None:
    client = serve(database_url=database.url)
    made = [predict(client).json()["prediction_id"]]
    database.stop()
    made += [predict(client).json()["prediction_id"] for _ in range(3)]
    health = client.get("/health")
    assert health.status_code == 200
    assert health.json()["status"] == "degraded"
    assert health.json()["reasons"][0].startswith("prediction log: ")
    assert client.get("/ready").status_code == 200
    for response in (
        client.get("/v1/toy/predictions"),
        client.get(f"/v1/predictions/{made[0]}"),
        client.post("/v1/toy/feedback", json={"prediction_id": made[0], "outcome": 1}),
        client.delete(f"/v1/predictions/{made[0]}", headers=ADMIN),
    ):
        assert response.status_code == 503
        assert response.headers["retry-after"]
    assert "serve_log_spill_bytes 0.0" not in client.get("/metrics").text
    database.start()
    until(lambda: client.get("/health").json()["status"] == "healthy")
    found = client.get("/v1/toy/predictions").json()["predictions"]
    assert [entry["prediction_id"] for entry in found] == made[::-1]


def test_the_routes_of_the_log_work_on_either_database(serve: Serve, database: Database) -> None:
    client = serve(database_url=database.url)
    made = predict(client).json()["prediction_id"]
    told = client.post("/v1/toy/feedback", json={"prediction_id": made, "outcome": 1})
    assert told.json() == {"prediction_id": made, "outcome": 1, "corrections": 0}
    assert client.get(f"/v1/predictions/{made}").json()["outcomes"][0]["outcome"] == 1
    assert client.delete(f"/v1/predictions/{made}", headers=ADMIN).status_code == 204
    assert client.get("/v1/toy/predictions").json() == {"predictions": [], "after": None}


@pytest.fixture
def without_database(serve: Serve, tmp_path: Path) -> Client:
    """A client of a server whose database cannot be opened, as a file is where its folder should be."""
    (tmp_path / "file").touch()
    return serve(database_url=f"sqlite+aiosqlite:///{tmp_path}/file/serve.db")


def no_space(descriptor: int) -> None:
    raise OSError(28, "No space left on device")


def test_a_prediction_that_cannot_be_logged_anywhere_is_not_answered(
    without_database: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = without_database
    with monkeypatch.context() as patch:
        patch.setattr("serve.log.spill.os.fsync", no_space)
        response = predict(client)
        assert response.status_code == 503
        assert "No space left" in response.json()["detail"]
        assert response.headers["retry-after"] == "1"
        ready = client.get("/ready")
        assert (ready.status_code, ready.json()["log"]) == (503, False)
        (tmp_path / "file").unlink()
        (tmp_path / "file").mkdir()  # the database answers again, and its disk is still full
        until(lambda: "neither be logged nor spilled" in str(client.get("/health").json()["reasons"]))
        assert client.get("/ready").status_code == 503
    until(lambda: client.get("/ready").status_code == 200)
    until(lambda: client.get("/health").json()["status"] == "healthy")
    assert predict(client).status_code == 200


def test_a_server_is_ready_again_when_rows_can_be_spilled_while_the_database_is_still_down(
    without_database: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = without_database
    with monkeypatch.context() as patch:
        patch.setattr("serve.log.spill.os.fsync", no_space)
        assert predict(client).status_code == 503
        assert client.get("/ready").status_code == 503
    until(lambda: client.get("/ready").status_code == 200)
    assert client.get("/health").json()["status"] == "degraded"
    assert predict(client).status_code == 200


def test_predictions_are_refused_when_the_spill_files_are_full_until_the_database_has_taken_them(
    serve: Serve, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    full: dict[str, Any] = {"database_url": f"sqlite+aiosqlite:///{tmp_path}/file/serve.db", "max_spill": 2_000}
    client, answered = serve(**full), 0
    while (response := predict(client)).status_code == 200:
        answered += 1
        assert answered < 10
    assert answered > 1
    assert response.status_code == 503
    assert "that SERVE_MAX_SPILL allows" in response.json()["detail"]
    for _ in range(3):
        assert client.get("/ready").status_code == 503
        time.sleep(0.3)  # in which the log finds out whether it can take rows again
    assert "SERVE_MAX_SPILL" in client.get("/health").json()["reasons"][0]
    assert "serve_log_writable 0.0" in client.get("/metrics").text
    (tmp_path / "file").unlink()
    until(lambda: client.get("/ready").status_code == 200)
    until(lambda: client.get("/health").json()["status"] == "healthy")
    assert predict(client).status_code == 200
    assert len(client.get("/v1/toy/predictions").json()["predictions"]) == answered + 1


def test_a_server_starts_with_full_spill_files_and_takes_them_to_the_database(
    serve: Serve, checkout: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    full: dict[str, Any] = {"database_url": f"sqlite+aiosqlite:///{tmp_path}/file/serve.db", "max_spill": 1_000}
    with TestClient(create_app(settings(checkout, tmp_path, projects=["toy"], **full))) as client:
        while predict(client).status_code == 200:
            pass
    (tmp_path / "file").unlink()
    again = serve(**full)
    until(lambda: again.get("/health").json()["status"] == "healthy")
    assert again.get("/v1/toy/predictions").json()["predictions"]


def test_old_predictions_are_deleted_when_retention_is_set(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve()
    made = predict(client).json()["prediction_id"]
    befores: list[datetime] = []
    purge = PredictionLog.purge

    async def later(log: PredictionLog, before: datetime) -> int:
        befores.append(before)
        return await purge(log, before + timedelta(days=31))

    monkeypatch.setattr(PredictionLog, "purge", later)
    keeper = serve(retention_days=30)
    until(lambda: keeper.get(f"/v1/predictions/{made}").status_code == 404)
    assert abs(datetime.now(UTC) - timedelta(days=30) - befores[0]) < timedelta(minutes=1)


def test_a_project_that_does_not_exist_is_refused_at_the_start_with_those_that_do(checkout: Path) -> None:
    with pytest.raises(ValueError, match="no project 'nowhere': stages/projects holds toy"):
        create_app(settings(checkout, checkout, projects=["nowhere"]))


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes servers look often at what is deployed, and waits until one has looked twice."""
    seen = list[str]()
    look = Service._look

    async def counted(service: Service, name: str) -> Any:
        found = await look(service, name)
        seen.append(name)
        return found

    monkeypatch.setattr("serve.service.WATCH_EVERY", 0.02)
    monkeypatch.setattr(Service, "_look", counted)

    def wait() -> None:
        before = len(seen)
        until(lambda: len(seen) > before + 2)

    return wait


def version_of(client: Client) -> str | None:
    found: str | None = client.get("/v1/toy").json()["version"]
    return found


def test_a_model_is_loaded_when_it_is_deployed_also_where_there_was_none(
    serve: Serve, root: Path, checkout: Path, looks: Callable[[], None]
) -> None:
    (root / "models" / "toy").rename(root / "toy")
    client = serve(root)
    assert predict(client).status_code == 503
    text = client.get("/metrics").text
    assert 'serve_model_loaded{project="toy"} 0.0' in text
    assert 'serve_model_load_failed{project="toy"} 1.0' in text
    deploy(root, root / "toy", "v1.0.0")
    until(lambda: version_of(client) == "v1.0.0")
    assert client.get("/ready").status_code == predict(client).status_code == 200
    deploy(root, checkout / "other", "v1.1.0")
    until(lambda: version_of(client) == "v1.1.0")
    deploy(root, root / "toy", "v1.0.0-again")
    until(lambda: version_of(client) == "v1.0.0-again")
    assert client.get("/health").json() == {"status": "healthy", "reasons": []}
    text = client.get("/metrics").text
    assert 'serve_model_loaded{project="toy"} 1.0' in text
    assert 'serve_model_load_failed{project="toy"} 0.0' in text


def test_a_model_that_cannot_be_loaded_is_named_tried_once_and_the_one_before_serves(
    serve: Serve, root: Path, checkout: Path, looks: Callable[[], None], capfd: pytest.CaptureFixture[str]
) -> None:
    deploy(root, checkout / "models" / "toy", "v1.0.0")
    client = serve(root)
    broken = root / "broken"
    shutil.copytree(checkout / "other", broken)
    (broken / "scorer.onnx").write_bytes(b"no model")
    deploy(root, broken, "v1.1.0")
    until(lambda: client.get("/health").json()["status"] == "degraded")
    looks()
    assert "cannot be loaded" in client.get("/health").json()["reasons"][0]
    assert 'serve_model_load_failed{project="toy"} 1.0' in client.get("/metrics").text
    assert capfd.readouterr().err.count("not loaded") == 1
    assert (version_of(client), predict(client).status_code) == ("v1.0.0", 200)
    assert client.post("/v1/toy/reload", headers=ADMIN).status_code == 409
    deploy(root, checkout / "other", "v1.1.0-repaired")
    until(lambda: version_of(client) == "v1.1.0-repaired")
    assert client.get("/health").json()["status"] == "healthy"


def test_the_same_version_is_tried_again_when_it_is_deployed_again(
    serve: Serve, root: Path, checkout: Path, looks: Callable[[], None]
) -> None:
    deploy(root, checkout / "models" / "toy", "v1.0.0")
    client = serve(root)
    record = root / "models" / "toy" / "deployment.json"
    (root / "models" / "toy" / "scorer.onnx").write_bytes(b"no model")
    os.utime(record, ns=(0, 1))
    until(lambda: client.get("/health").json()["status"] == "degraded")
    shutil.copy(checkout / "models" / "toy" / "scorer.onnx", root / "models" / "toy")
    os.utime(record, ns=(0, 2))
    until(lambda: client.get("/health").json()["status"] == "healthy")


def test_a_folder_in_which_training_writes_or_that_is_being_swapped_is_not_loaded(
    serve: Serve, root: Path, checkout: Path, looks: Callable[[], None]
) -> None:
    client = serve(root)
    before = client.get("/v1/toy").json()
    swap_in_other(root, checkout)
    looks()
    (root / "models" / "toy").rename(root / "away")
    looks()
    assert client.get("/v1/toy").json() == before
    assert client.get("/health").json()["status"] == "healthy"
    (root / "away").rename(root / "models" / "toy")
    assert client.post("/v1/toy/reload", headers=ADMIN).json()["hash"] != before["hash"]


def test_the_watch_over_deployments_survives_an_error_and_the_health_says_so(
    serve: Serve, root: Path, checkout: Path, looks: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve(root)

    def stale(folder: Path) -> None:
        raise OSError(116, "Stale file handle")

    with monkeypatch.context() as patch:
        patch.setattr("serve.service.deployed", stale)
        until(lambda: client.get("/health").json()["status"] == "degraded")
        assert client.get("/health").json()["reasons"] == ["deployment of toy: OSError: [Errno 116] Stale file handle"]
    until(lambda: client.get("/health").json()["status"] == "healthy")
    deploy(root, checkout / "other", "v1.1.0")
    until(lambda: version_of(client) == "v1.1.0")


def test_a_request_that_began_with_a_model_ends_with_it(serve: Serve, root: Path, checkout: Path) -> None:
    client = serve(root)
    service = client.app.state.service
    old = service.active["toy"]
    swap_in_other(root, checkout)
    new = Answerer(load_model("toy", settings(root, root)))
    score, calls = old.model.scorer.score, []

    def swap_after_the_first_call(columns: Any) -> Any:
        calls.append(1)
        service.active["toy"] = new
        return score(columns)

    old.model.scorer.score = swap_after_the_first_call
    rows = json_rows("toy", 3 * SLICE)
    answers = client.post("/v1/toy/predict/batch", json={"rows": rows}).json()["predictions"]
    assert len(calls) == 3
    assert {answer["model"]["hash"] for answer in answers} == {old.model.hash}
    assert predict(client).json()["model"]["hash"] == new.model.hash


def test_the_watch_over_drift_survives_an_error_and_the_health_says_so(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, watched = {"toy"}, []

    def drift_of(model: Model, recent: Any) -> Drift:
        watched.append(model.project.name)
        if model.project.name in broken:
            raise KeyError("distance")
        return Drift("unknown", 0, None, [], None)

    monkeypatch.setattr("serve.service.drift_of", drift_of)
    monkeypatch.setattr("serve.service.DRIFT_EVERY", 0.05)
    monkeypatch.setattr("serve.service.DRIFT_FRESH", 0.0)
    client = serve(projects=["toy", "toy_plain"])
    until(lambda: {"toy", "toy_plain"} <= set(watched))
    health = client.get("/health").json()
    assert (health["status"], health["reasons"]) == ("degraded", ["drift of toy: KeyError: 'distance'"])
    broken.clear()
    until(lambda: client.get("/health").json()["status"] == "healthy")


def test_rows_and_batches_are_answered_while_a_long_explanation_is_at_work(serve: Serve) -> None:
    client = serve()
    service = client.app.state.service
    begun, answered, in_time = threading.Event(), threading.Event(), list[bool]()
    answerer = Answerer(service.active["toy"].model)
    answerer.explains_slowly = True
    explain = answerer.explain

    def explain_until_the_others_are_answered(row: Any) -> bytes:
        begun.set()
        in_time.append(answered.wait(10))
        return explain(row)

    answerer.explain = explain_until_the_others_are_answered  # type: ignore[method-assign]
    service.active["toy"] = answerer
    with ThreadPoolExecutor(1) as pool:
        explained = pool.submit(client.post, "/v1/toy/explain", json=example("toy"))
        assert begun.wait(10)
        assert predict(client).status_code == 200
        assert client.post("/v1/toy/predict/batch", json={"rows": json_rows("toy", 2 * SLICE)}).status_code == 200
        assert client.get("/v1/toy/drift").status_code == 200
        answered.set()
        assert explained.result().status_code == 200
    assert in_time == [True]


def test_batches_wait_for_each_other_rather_than_that_the_log_refuses_them(checkout: Path, tmp_path: Path) -> None:
    body = json.dumps({"rows": json_rows("toy", 200)}).encode()

    async def scenario() -> None:
        service = Service(settings(checkout, tmp_path, projects=["toy"], max_queue=BATCHES * 200))
        await service.start()
        async with service.log._writing:
            batches = [asyncio.create_task(service.predict_batch("toy", body, None, "request")) for _ in range(3 * BATCHES)]
            async with asyncio.timeout(15):
                while service.log.stats().queued < BATCHES * 200:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.2)  # in which others would be refused
        for answer in await asyncio.gather(*batches):
            assert len(json.loads(answer)["predictions"]) == 200
        assert service.log.stats().rows == 3 * BATCHES * 200
        await service.stop()

    asyncio.run(scenario())


def test_a_batch_is_read_beside_the_event_loop(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    readers, read = list[str](), RowCodec.read_batch

    def read_batch(codec: RowCodec, body: bytes) -> list[Any]:
        readers.append(threading.current_thread().name)
        return read(codec, body)

    monkeypatch.setattr(RowCodec, "read_batch", read_batch)
    assert client.post("/v1/toy/predict/batch", json={"rows": [example("toy")]}).status_code == 200
    assert [name.rpartition("_")[0] for name in readers] == ["batch"]

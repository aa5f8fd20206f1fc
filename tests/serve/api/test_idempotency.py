"""Tests of serve/api/idempotency.py and of what the service and the log make of a key."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from serve.log.prediction_log import PredictionLog
from serve.log.tables import first_id
from serve.service import UnavailableError
from tests.serve.checkout import example, json_rows
from tests.serve.conftest import Client, Database, Serve
from tests.serve.test_service import until

KEY = {"Idempotency-Key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}


def predict(client: Client, row: dict[str, Any] | None = None, headers: dict[str, str] = KEY) -> Any:
    return client.post("/v1/toy/predict", json=row or example("toy"), headers=headers)


def logged(client: Client) -> list[str]:
    found = client.get("/v1/toy/predictions").json()["predictions"]
    return [entry["prediction_id"] for entry in found]


def test_a_retry_gets_the_same_answer_from_any_replica_and_is_logged_once(serve: Serve, database: Database) -> None:
    client, other = serve(database_url=database.url), serve(database_url=database.url)
    first = predict(client)
    assert first.status_code == 200
    assert predict(client).content == predict(other).content == first.content
    assert logged(client) == [first.json()["prediction_id"]]


def test_a_batch_is_repeated_as_a_whole(serve: Serve) -> None:
    client, rows = serve(), json_rows("toy", 700)
    first, again = (client.post("/v1/toy/predict/batch", json={"rows": rows}, headers=KEY) for _ in range(2))
    assert first.status_code == 200
    assert first.content == again.content
    ids = [answer["prediction_id"] for answer in first.json()["predictions"]]
    assert ids == sorted(set(ids))
    assert "serve_log_commit_rows_sum 700.0" in client.get("/metrics").text


def test_another_request_must_not_have_the_same_key(serve: Serve) -> None:
    client = serve()
    predict(client)
    for response in (
        predict(client, json_rows("toy", 1)[0]),
        client.post("/v1/toy/predict?threshold=0.9", json=example("toy"), headers=KEY),
        client.post("/v1/toy/predict/batch", json={"rows": [example("toy")]}, headers=KEY),
    ):
        assert response.status_code == 422
        assert response.json()["detail"].startswith("This Idempotency-Key was given with another request before")
        assert "errors" not in response.json()


def test_each_caller_and_project_has_keys_of_its_own(serve: Serve) -> None:
    keys = [hashlib.sha256(name.encode()).hexdigest() for name in ("one", "two")]
    client = serve(api_keys=keys, projects=["toy", "toy_plain"])
    made = {predict(client, headers=KEY | {"X-API-Key": name}).json()["prediction_id"] for name in ("one", "two")}
    headers = KEY | {"X-API-Key": "one"}
    made.add(client.post("/v1/toy_plain/predict", json=example("toy_plain"), headers=headers).json()["prediction_id"])
    assert len(made) == 3


@pytest.mark.parametrize("key", ["", "two words", "x" * 256])
def test_what_is_no_key_is_refused(client: Client, key: str) -> None:
    response = client.post("/v1/toy/predict", json=example("toy"), headers={"Idempotency-Key": key})
    assert response.status_code == 400
    assert "1 to 255 visible ASCII characters" in response.json()["detail"]


def test_a_retry_while_the_first_is_at_work_is_refused(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    client = serve()
    begun, go_on, append = threading.Event(), threading.Event(), PredictionLog.append

    async def slow(log: PredictionLog, entries: Any) -> None:
        begun.set()
        await asyncio.to_thread(go_on.wait, 10)
        await append(log, entries)

    monkeypatch.setattr(PredictionLog, "append", slow)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(predict, client)
        assert begun.wait(10)
        early = predict(client)
        go_on.set()
        assert (early.status_code, early.headers["retry-after"]) == (409, "1")
        assert first.result().status_code == 200
    assert predict(client).content == first.result().content


def test_a_request_whose_server_crashed_is_answered_with_the_same_id_a_minute_later(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve()
    service = client.app.state.service
    with monkeypatch.context() as patch:
        patch.setattr(service, "_record", crash)
        patch.setattr(PredictionLog, "give_up", nothing)
        assert predict(client).status_code == 500
    assert predict(client).status_code == 409
    then = later(monkeypatch, timedelta(seconds=61))
    after = predict(client)
    assert after.status_code == 200
    assert predict(client).content == after.content
    assert logged(client) == [after.json()["prediction_id"]]
    assert after.json()["prediction_id"] < then, "the id is of the first try"


async def crash(*_: Any) -> None:
    raise RuntimeError("the server was killed")


async def nothing(*_: Any) -> None:
    """As a server does that was killed."""


def later(monkeypatch: pytest.MonkeyPatch, span: timedelta) -> str:
    """Set the clock of the service; what ids of then begin with."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + span

    monkeypatch.setattr("serve.service.datetime", Clock)
    return first_id(datetime.now(UTC) + span)


def test_a_key_is_forgotten_after_a_day(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    client = serve()
    first = predict(client)
    later(monkeypatch, timedelta(hours=25))
    second = predict(client)
    assert second.json()["prediction_id"] != first.json()["prediction_id"]
    log = client.app.state.service.log

    async def kept() -> int:
        return int((await log._read(text("SELECT count(*) FROM idempotency_keys")))[0][0])

    later(monkeypatch, timedelta(hours=50))
    serve()  # a server deletes old keys when it starts
    until(lambda: client.blocking_portal.call(kept) == 0)


def test_a_request_that_could_not_be_logged_can_be_retried_at_once(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    client = serve()

    async def unavailable(*_: Any) -> None:
        raise UnavailableError("The prediction cannot be logged.", busy=True)

    with monkeypatch.context() as patch:
        patch.setattr(client.app.state.service, "_record", unavailable)
        assert predict(client).status_code == 503
    assert predict(client).status_code == 200
    assert len(logged(client)) == 1


def test_without_a_log_or_its_database_a_request_with_a_key_is_refused(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    down = serve(database_url=f"sqlite+aiosqlite:///{tmp_path}/file/serve.db")
    for client, reason in ((serve(log=False), "SERVE_LOG"), (down, "The prediction log cannot be used now")):
        response = predict(client)
        assert response.status_code == 503
        assert reason in response.json()["detail"]
        assert client.post("/v1/toy/predict", json=example("toy")).status_code == 200


def test_a_retry_of_what_was_spilled_waits_until_it_is_in_the_database(serve: Serve, database: Database) -> None:
    client = serve(database_url=database.url)
    predict(client, headers={"Idempotency-Key": "another"})
    claim = PredictionLog.claim

    async def claim_and_stop(log: PredictionLog, *given: Any) -> Any:
        found = await claim(log, *given)
        database.stop()
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PredictionLog, "claim", claim_and_stop)
        first = predict(client)
    assert first.status_code == 200
    assert predict(client).status_code == 503
    database.start()
    until(lambda: client.get("/health").json()["status"] == "healthy")
    assert predict(client).content == first.content

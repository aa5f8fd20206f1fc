"""Tests of serve/api/protection.py, serve/api/telemetry.py and the gate in serve/app.py."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from litestar.connection import ASGIConnection
from litestar.datastructures import Address
from litestar.testing import TestClient

from serve.api.middleware import CACHEABLE, HEADERS, RequestMiddleware
from serve.api.problems import ProblemError
from serve.api.protection import TRACKED, Guesses, RateLimiter, digest
from serve.app import create_app
from tests.serve.checkout import example, settings
from tests.serve.conftest import Client, Serve

KEY, OTHER = "a-long-random-key", "another-long-random-key"
PROTECTED = [
    ("GET", "/v1/projects"),
    ("GET", "/v1/toy"),
    ("GET", "/v1/toy/card"),
    ("GET", "/v1/toy/predictions"),
    ("GET", "/v1/predictions/7"),
    ("POST", "/v1/toy/predict"),
    ("POST", "/v1/toy/predict/batch"),
    ("POST", "/v1/toy/explain"),
    ("POST", "/v1/toy/feedback"),
    ("POST", "/v1/toy/reload"),
    ("POST", "/v1/reload"),
    ("DELETE", "/v1/predictions/7"),
]
OPEN = ["/health", "/ready", "/metrics", "/openapi.json", "/docs", "/docs/0/start.js"]


@pytest.fixture(scope="module")
def guarded(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a server that asks for a key."""
    chosen = settings(checkout, tmp_path_factory.mktemp("log"), api_keys=[digest(KEY)], admin_token="letmein-for-tests")
    with TestClient(create_app(chosen), raise_server_exceptions=False) as opened:
        yield opened


@pytest.mark.parametrize("key", [None, "", "wrong", KEY.upper(), digest(KEY), "é"])
def test_without_a_valid_key_everything_under_v1_is_closed(guarded: Client, key: str | None) -> None:
    headers = {} if key is None else {"X-API-Key": key.encode()}
    for method, path in PROTECTED:
        response = guarded.request(method, path, headers=headers)  # type: ignore[arg-type]
        assert response.status_code == 401, (method, path)
        assert response.headers["content-type"] == "application/problem+json"
        assert response.headers["www-authenticate"].startswith("ApiKey")


def test_each_of_the_configured_keys_opens(serve: Serve) -> None:
    client = serve(api_keys=[digest(KEY), digest(OTHER).upper()])
    for key in (KEY, OTHER):
        response = client.post("/v1/toy/predict", json=example("toy"), headers={"X-API-Key": key})
        assert response.status_code == 200


@pytest.mark.parametrize("path", OPEN)
def test_what_watches_the_server_needs_no_key(guarded: Client, path: str) -> None:
    assert guarded.get(path).status_code == 200


def test_a_key_does_not_stand_for_the_admin_token(guarded: Client) -> None:
    client = guarded
    assert client.post("/v1/reload", headers={"X-API-Key": KEY}).status_code == 401
    assert client.post("/v1/reload", headers={"Authorization": "Bearer letmein-for-tests"}).status_code == 401
    both = {"X-API-Key": KEY, "Authorization": "Bearer letmein-for-tests"}
    assert client.post("/v1/reload", headers=both).status_code == 200


def test_a_named_key_opens(serve: Serve) -> None:
    client = serve(api_keys=[f"till:{digest(KEY)}"])
    assert client.get("/v1/toy", headers={"X-API-Key": KEY}).status_code == 200


@pytest.mark.parametrize("given", ["letmein-for-tests", "Basic letmein-for-tests", "Bearerletmein-for-tests", "Bearer", ""])
def test_the_admin_token_comes_after_the_word_bearer(serve: Serve, given: str) -> None:
    client = serve()
    assert client.post("/v1/reload", headers={"Authorization": given}).status_code == 401
    assert client.post("/v1/reload", headers={"Authorization": "bearer letmein-for-tests"}).status_code == 200


@pytest.mark.slow
def test_the_command_makes_a_key_and_the_hash_that_accepts_it() -> None:
    done = subprocess.run([sys.executable, "-m", "serve.key"], capture_output=True, text=True, check=True)
    made = dict(line.split() for line in done.stdout.splitlines())
    assert digest(made["key"]) == made["hash"]
    assert len(made["key"]) > 40


def test_a_budget_refills_with_time() -> None:
    now = 0.0
    limiter = RateLimiter(60, clock=lambda: now)
    for _ in range(60):
        limiter.check("a")
    with pytest.raises(ProblemError) as caught:
        limiter.check("a")
    assert caught.value.headers == {"Retry-After": "1"}
    limiter.check("b")
    now = 1.0
    limiter.check("a")
    with pytest.raises(ProblemError):
        limiter.check("a")


def test_retry_after_is_long_enough() -> None:
    now = 0.0
    limiter = RateLimiter(2, clock=lambda: now)
    limiter.check("a")
    limiter.check("a")
    with pytest.raises(ProblemError) as caught:
        limiter.check("a")
    now = float(caught.value.headers["Retry-After"])
    limiter.check("a")


def test_the_limiter_remembers_a_bounded_number_of_callers() -> None:
    limiter = RateLimiter(1)
    for number in range(TRACKED + 100):
        limiter.check(str(number))
    assert len(limiter._buckets) == TRACKED
    with pytest.raises(ProblemError):
        limiter.check(str(TRACKED + 99))


def test_only_what_is_charged_is_taken_from_a_budget() -> None:
    limiter = RateLimiter(1, of="guesses")
    limiter.require("a")
    limiter.require("a")
    limiter.charge("a")
    with pytest.raises(ProblemError, match="More than 1 guesses a minute; try again in 60 s"):
        limiter.require("a")


def test_guesses_at_the_admin_token_are_limited_and_logged(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    client = serve(max_guesses=3)
    logging.getLogger("serve").propagate = True
    right = {"Authorization": "Bearer letmein-for-tests"}
    found = [client.post("/v1/reload", headers={"Authorization": f"Bearer {n}"}).status_code for n in range(5)]
    assert found == [401, 401, 401, 429, 429]
    assert [record.message for record in caplog.records if "wrong" in record.message] == [
        "wrong admin token at /v1/reload, from testclient"
    ] * 3
    assert client.post("/v1/reload", headers=right).status_code == 429
    assert client.post("/v1/toy/predict", json=example("toy")).status_code == 200


def test_wrong_keys_are_limited_and_logged_and_a_right_one_from_another_address_is_taken(
    serve: Serve, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve(api_keys=[digest(KEY)], max_guesses=3, trusted_proxies=["192.0.2.7"])
    monkeypatch.setattr(ASGIConnection, "client", Address("192.0.2.7", 1))
    logging.getLogger("serve").propagate = True
    guesser, other = ({"X-Forwarded-For": address} for address in ("10.0.0.1", "10.0.0.2"))
    paths = ["/v1/toy", "/v1/toy/card", "/toy/predict", "/v1/toy", "/toy"]
    found = [client.get(path, headers=guesser | {"X-API-Key": f"guess {n}"}).status_code for n, path in enumerate(paths)]
    assert found == [401, 401, 401, 429, 429]
    assert [record.message for record in caplog.records if "wrong" in record.message] == [
        f"wrong key at {path}, from 10.0.0.1" for path in paths[:3]
    ]
    refused = client.post("/v1/toy/predict", json=example("toy"), headers=guesser | {"X-API-Key": KEY})
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) <= 20
    assert "wrong keys or tokens a minute" in refused.json()["detail"]
    assert client.post("/v1/toy/predict", json=example("toy"), headers=other | {"X-API-Key": KEY}).status_code == 200
    assert client.get("/v1/toy", headers=guesser).status_code == 401  # without a key nothing is guessed
    assert client.get("/health", headers=guesser).status_code == 200


def test_a_client_with_an_old_key_does_not_use_up_the_budget_of_its_address(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    client = serve(api_keys=[digest(KEY)], max_guesses=2)
    logging.getLogger("serve").propagate = True
    assert statuses(client, 5, **{"X-API-Key": "an old key"}) == [401] * 5
    assert statuses(client, 1, **{"X-API-Key": KEY}) == [200]
    assert len([record for record in caplog.records if "wrong key" in record.message]) == 1


def test_the_same_wrong_secret_counts_once_a_minute_and_what_is_remembered_is_bounded() -> None:
    now = 0.0
    guesses = Guesses(2, clock=lambda: now)
    assert [guesses.count("a", "x"), guesses.count("a", "x"), guesses.count("b", "x")] == [True, False, True]
    now = 60.0
    assert guesses.count("a", "x")
    assert guesses.count("a", "y")
    with pytest.raises(ProblemError, match="More than 2 wrong keys or tokens a minute; try again in 30 s"):
        guesses.require("a")
    guesses.require("b")
    for number in range(TRACKED + 10):
        guesses.count("c", str(number))
    assert len(guesses._seen) == TRACKED


def test_reloads_and_erasures_leave_a_line_with_the_name_of_the_key(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    client = serve(api_keys=[f"till:{digest(KEY)}", digest(OTHER)])
    logging.getLogger("serve").propagate = True
    admin = {"Authorization": "Bearer letmein-for-tests", "X-API-Key": KEY}
    made = client.post("/v1/toy/predict", json=example("toy"), headers=admin).json()["prediction_id"]
    client.post("/v1/reload", headers=admin)
    client.post("/v1/toy/reload", headers=admin | {"X-API-Key": OTHER})
    for _ in range(2):
        client.delete(f"/v1/predictions/{made}", headers=admin)
    who = "with the admin token and key {} from testclient"
    assert [record.message for record in caplog.records if record.message.startswith("audit: ")] == [
        f"audit: reload of all projects done, {who.format('till')}",
        f"audit: reload of toy done, {who.format(digest(OTHER)[:8])}",
        f"audit: erasure of prediction '{made}' done, {who.format('till')}",
        f"audit: erasure of prediction '{made}' failed, {who.format('till')}: The log holds no prediction '{made}'.",
    ]


def statuses(client: Client, count: int, **headers: str) -> list[int]:
    return [client.get("/v1/toy", headers=headers).status_code for _ in range(count)]


def test_more_requests_than_allowed_get_429_and_when_to_come_back(serve: Serve) -> None:
    client = serve(rate_limit=3)
    assert statuses(client, 4) == [200, 200, 200, 429]
    response = client.get("/v1/toy")
    assert response.headers["content-type"] == "application/problem+json"
    assert 1 <= int(response.headers["retry-after"]) <= 20
    assert client.get("/health").status_code == 200
    assert 'status="429"' in client.get("/metrics").text


def test_each_key_has_a_budget_of_its_own_and_wrong_keys_share_that_of_their_address(serve: Serve) -> None:
    client = serve(rate_limit=2, api_keys=[digest(KEY), digest(OTHER)])
    assert statuses(client, 3, **{"X-API-Key": KEY}) == [200, 200, 429]
    assert statuses(client, 3, **{"X-API-Key": OTHER}) == [200, 200, 429]
    assert [statuses(client, 1, **{"X-API-Key": f"guess {n}"})[0] for n in range(3)] == [401, 401, 429]


def test_a_forwarded_address_is_not_believed_from_strangers(serve: Serve) -> None:
    client = serve(rate_limit=2)
    assert [statuses(client, 1, **{"X-Forwarded-For": f"10.0.0.{n}"})[0] for n in range(3)] == [200, 200, 429]


def test_a_forwarded_address_is_believed_from_a_trusted_proxy(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    client = serve(rate_limit=1, trusted_proxies=["192.0.2.0/24"])
    monkeypatch.setattr(ASGIConnection, "client", Address("192.0.2.7", 1))
    assert statuses(client, 2, **{"X-Forwarded-For": "10.0.0.1"}) == [200, 429]
    assert statuses(client, 1, **{"X-Forwarded-For": "10.0.0.2"}) == [200]
    assert statuses(client, 1, **{"X-Forwarded-For": "10.0.0.3, 192.0.2.9"}) == [200]
    assert statuses(client, 1, **{"X-Forwarded-For": "10.0.0.3"}) == [429]
    # Whatever is left of the last untrusted address was written by the client, also in a line of its own.
    assert [statuses(client, 1, **{"X-Forwarded-For": f"1.2.3.{n}, 10.0.0.4"})[0] for n in range(2)] == [200, 429]
    lines = [("X-Forwarded-For", "1.2.3.9"), ("X-Forwarded-For", "10.0.0.4")]
    assert client.get("/v1/toy", headers=lines).status_code == 429


def test_one_key_cannot_take_the_places_of_all(serve: Serve) -> None:
    middleware = RequestMiddleware(serve(max_requests=3, max_key_requests=2).app.state.service)
    middleware.take_up("key a")
    middleware.take_up("key a")
    with pytest.raises(ProblemError):
        middleware.take_up("key a")
    middleware.put_down("key a")
    middleware.take_up("key b")
    with pytest.raises(ProblemError):
        middleware.take_up("key c")


def test_pages_of_other_origins_may_call_only_when_listed(serve: Serve) -> None:
    origin = {"Origin": "https://listed.example"}
    assert "access-control-allow-origin" not in serve().get("/v1/toy", headers=origin).headers
    client = serve(cors_origins=["https://listed.example"])
    allowed = client.get("/v1/toy", headers=origin)
    assert allowed.headers["access-control-allow-origin"] == "https://listed.example"
    stranger = {"Origin": "https://other.example"}
    assert "access-control-allow-origin" not in client.get("/v1/toy", headers=stranger).headers
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    preflight = client.options("/v1/toy/predict", headers=origin | asked)
    assert preflight.status_code in (200, 204)
    assert preflight.headers["access-control-allow-origin"] == "https://listed.example"
    assert "access-control-allow-origin" not in client.options("/v1/toy/predict", headers=stranger | asked).headers


def check_headers(response: Any, status: int, headers: Any = HEADERS) -> None:
    assert response.status_code == status
    for name, value in headers:
        assert response.headers.get_list(name.decode()) == [value.decode()]
    assert len(response.headers.get_list("x-request-id")) == 1
    assert len(response.headers["x-request-id"]) >= 8


def test_every_answer_has_the_security_headers_and_a_request_id(serve: Serve) -> None:
    client = serve(cors_origins=["https://listed.example"], max_body=2_000)
    check_headers(client.get("/health"), 200)
    check_headers(client.get("/docs"), 200)
    check_headers(client.get("/docs/0/swagger-ui.css", headers={"Accept-Encoding": "gzip"}), 200, CACHEABLE)
    check_headers(client.get("/nowhere"), 404)
    check_headers(client.get("/docs/0/nothing.js"), 404, CACHEABLE)
    check_headers(client.put("/health"), 405)
    check_headers(client.post("/v1/toy/predict", json={}), 422)
    check_headers(client.post("/v1/toy/predict", json={"x": "x" * 3_000}), 413)
    check_headers(client.post("/v1/toy/predict", content=b"", headers={"Content-Type": "x"}), 415)
    check_headers(client.get("/v1/toy/predictions?limit=x"), 422)
    del client.app.state.service.active["toy"]
    check_headers(client.post("/v1/toy/predict", json=example("toy")), 503)
    client.app.state.service.active["toy"] = None
    client.app.state.service.answerer = None
    check_headers(client.post("/v1/toy/predict", json=example("toy")), 500)


@pytest.mark.parametrize("path", ["/health", "/nowhere"])
def test_a_request_id_is_taken_over_when_it_is_harmless(client: Client, path: str) -> None:
    assert client.get(path, headers={"X-Request-ID": "a.b:c-1_2"}).headers["x-request-id"] == "a.b:c-1_2"
    seen = set()
    for bad in ("", "x" * 65, "a b", "a\tb", "{}", "<script>", "a\u00e9"):
        given = client.get(path, headers={"X-Request-ID": bad.encode("latin-1")}).headers["x-request-id"]  # type: ignore[arg-type]
        assert given != bad
        assert given.isascii()
        seen.add(given)
    assert len(seen) == 7


def test_more_requests_than_can_be_worked_on_are_refused_and_later_ones_served(serve: Serve) -> None:
    client = serve(max_requests=2)
    service = client.app.state.service
    original, hold = service.active["toy"], threading.Event()

    class Slow:
        model = original.model

        def score_all(self, *arguments: Any) -> Any:
            hold.wait(10)
            return original.score_all(*arguments)

    service.active["toy"] = Slow()
    body = {"rows": [example("toy")]}
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(client.post, "/v1/toy/predict/batch", json=body) for _ in range(2)]
        time.sleep(0.3)
        refused = client.post("/v1/toy/predict", json=example("toy"))
        watched = client.get("/health")
        hold.set()
        assert [future.result().status_code for future in waiting] == [200, 200]
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["content-type"] == "application/problem+json"
    assert watched.status_code == 200
    assert client.post("/v1/toy/predict/batch", json=body).status_code == 200


def test_more_rows_than_the_log_can_take_are_refused(serve: Serve) -> None:
    client = serve(max_queue=10)
    refused = client.post("/v1/toy/predict/batch", json={"rows": [example("toy")] * 11})
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "1"
    assert client.get("/v1/toy/predictions").json()["predictions"] == []
    assert client.post("/v1/toy/predict", json=example("toy")).status_code == 200

"""Tests of serve/api/internal.py: health, readiness and metrics at an address of their own."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import httpx
import pytest

from serve.settings import Settings
from tests.serve.checkout import example
from tests.serve.conftest import Serve
from tests.serve.process import Server, free_port


def test_metrics_are_at_the_internal_address_alone_and_health_at_both(serve: Serve) -> None:
    port = free_port()
    client = serve(internal_address=f"127.0.0.1:{port}", root_path="/veritable")
    client.post("/v1/toy/predict", json=example("toy")).raise_for_status()
    assert client.get("/metrics").status_code == client.head("/metrics").status_code == 404
    assert "/metrics" not in client.get("/openapi.json").json()["paths"]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as inside:
        metrics = inside.get("/metrics")
        assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert metrics.headers["content-encoding"] == "gzip"
        assert "serve_predictions_total{" in metrics.text
        assert 'route="/v1/toy/predict"' in metrics.text
        assert inside.head("/metrics").status_code == 200
        for path in ("/health", "/ready"):
            assert inside.get(path).json() == client.get(path).json()
        lost = inside.get("/v1/toy")
        assert (lost.status_code, lost.headers["content-type"]) == (404, "application/problem+json")
        assert lost.json()["instance"] == "/v1/toy"
    client.__exit__(None, None, None)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/health")


def test_without_an_internal_address_the_public_port_answers_all(serve: Serve) -> None:
    assert serve().get("/metrics").status_code == 200


@pytest.mark.parametrize(
    ("given", "found"),
    [("", None), ("127.0.0.1:9100", ("127.0.0.1", 9100)), ("[::1]:9100", ("::1", 9100)), ("localhost:1", ("localhost", 1))],
)
def test_an_address_is_a_host_and_a_port(given: str, found: tuple[str, int] | None) -> None:
    assert Settings(internal_address=given).internal == found


@pytest.mark.slow
def test_a_process_answers_inside_and_stops_while_somebody_is_connected_there(checkout: Path, tmp_path: Path) -> None:
    port = free_port()
    chosen = {
        "SERVE_INTERNAL_ADDRESS": f"127.0.0.1:{port}",
        "SERVE_PROJECTS": '["toy"]',
        "SERVE_API_KEYS": f'["{"0" * 64}"]',
    }
    with Server(checkout, tmp_path, **chosen) as server, httpx.Client(base_url=f"http://127.0.0.1:{port}") as inside:
        assert inside.get("/ready").json()["ready"]
        assert "serve_model_loaded" in inside.get("/metrics").text
        assert httpx.get(f"{server.url}/metrics").status_code == 404
        server.signal(signal.SIGTERM)
        assert server.wait() in (0, -signal.SIGTERM)
    assert "Traceback" not in server.output.read_text()


@pytest.mark.slow
def test_the_server_does_not_start_where_the_internal_address_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        server = Server(tmp_path, tmp_path, SERVE_INTERNAL_ADDRESS=address)
        with pytest.raises(RuntimeError, match=f"SERVE_INTERNAL_ADDRESS: nothing can listen at {address}") as caught, server:
            pass
    assert "Traceback" not in str(caught.value)

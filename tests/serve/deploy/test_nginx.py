"""serve/deploy/nginx.conf in a real nginx, before a real server."""

from __future__ import annotations

import json
import os
import re
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from serve.api.protection import COOKIE, digest
from tests.samples import ROOT
from tests.serve.checkout import example, json_rows
from tests.serve.process import Server, free_port

NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not NGINX, reason="no nginx for the test of its settings: run `apt-get install nginx-light`"),
]
KEY = "a-long-random-key"
AROUND = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    {paths}
    include {folder}/site.conf;
}}
"""


@pytest.fixture(scope="module")
def server(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that asks for a key and knows its proxy."""
    chosen = {"SERVE_API_KEYS": json.dumps([digest(KEY)]), "SERVE_TRUSTED_PROXIES": '["127.0.0.1"]'}
    with Server(checkout, tmp_path_factory.mktemp("server"), **chosen) as started:
        yield started


@pytest.fixture(scope="module")
def proxy(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of nginx before it, at another address than nginx, with a key."""
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key.pem", "-out", folder / "certificate.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    text = (ROOT / "serve" / "deploy" / "nginx.conf").read_text()
    for given, own in (
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("server 127.0.0.1:8000;", f"server 127.0.0.1:{server.port};"),
        ("/etc/nginx/veritable.crt", f"{folder}/certificate.pem"),
        ("/etc/nginx/veritable.key", f"{folder}/key.pem"),
    ):
        assert text.count(given) == 1
        text = text.replace(given, own)
    (folder / "site.conf").write_text(text)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    (folder / "nginx.conf").write_text(AROUND.format(folder=folder, paths=paths))
    process = subprocess.Popen([str(NGINX), "-p", folder, "-c", folder / "nginx.conf"], stderr=subprocess.PIPE)
    transport = httpx.HTTPTransport(
        verify=ssl.create_default_context(cafile=folder / "certificate.pem"), local_address="127.0.0.2"
    )
    try:
        with httpx.Client(base_url=f"https://127.0.0.1:{port}", transport=transport, headers={"X-API-Key": KEY}) as client:
            deadline = time.monotonic() + 10
            while True:
                try:
                    client.get("/health").raise_for_status()
                    break
                except httpx.ConnectError:
                    assert process.poll() is None, process.communicate()[1]
                    assert time.monotonic() < deadline
                    time.sleep(0.02)
            yield client
    finally:
        process.terminate()
        process.communicate(timeout=10)


def test_predictions_and_pages_come_through(proxy: httpx.Client) -> None:
    assert proxy.post("/v1/toy/predict", json=example("toy")).status_code == 200
    page = proxy.get("/toy/predict", headers={"Accept": "text/html"})
    assert page.status_code == 200
    assert page.headers["content-encoding"] == "gzip"
    (script,) = re.findall(r'src="(/static/\w+/predict.js)"', page.text)
    assert "immutable" in proxy.get(script).headers["cache-control"]
    assert proxy.head("/toy/predict").headers["content-type"] == page.headers["content-type"]


def test_the_server_learns_the_address_of_the_client_and_believes_no_other(proxy: httpx.Client, server: Server) -> None:
    for wrong, forged in (("wrong 1", {}), ("wrong 2", {"X-Forwarded-For": "198.51.100.1"})):
        assert proxy.get("/v1/toy", headers={"X-API-Key": wrong, **forged}).status_code == 401
    lines = [json.loads(line)["message"] for line in server.output.read_text().splitlines() if "wrong key" in line]
    assert lines == ["wrong key at /v1/toy, from 127.0.0.2"] * 2


def test_a_browser_signs_in_with_a_secure_cookie(proxy: httpx.Client) -> None:
    origin = {"Origin": str(proxy.base_url).rstrip("/")}
    signed = proxy.post("/sign-in", data={"key": KEY}, headers=origin)
    assert (signed.status_code, signed.headers["location"]) == (303, "/")
    assert signed.headers["set-cookie"].startswith(f"{COOKIE}=")
    assert "secure" in signed.headers["set-cookie"].lower()


def test_the_parts_of_a_predicted_file_come_one_by_one(proxy: httpx.Client) -> None:
    row, count = json_rows("toy_plain", 1)[0], 5_000
    file = "\r\n".join([",".join(row), *[",".join(map(str, row.values()))] * count])
    times, lines = [], []
    headers = {"Content-Type": "text/csv"}
    with proxy.stream("POST", "/toy_plain/predict/file", content=file.encode(), headers=headers, timeout=60) as response:
        assert response.status_code == 200
        for line in response.iter_lines():
            times.append(time.perf_counter())
            lines.append(json.loads(line))
    assert lines[-1]["done"] == count
    assert len(lines) == count / 100 + 1
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert sum(gap > 0.001 for gap in gaps) > len(gaps) / 2  # lines of one read come at once


@pytest.mark.parametrize("path", ["/metrics", "/metrics/", "//metrics", "/%6detrics", "/metrics?x=1"])
def test_nobody_outside_reads_the_metrics(proxy: httpx.Client, path: str) -> None:
    assert proxy.get(f"{str(proxy.base_url).rstrip('/')}{path}").status_code == 403


def test_sign_ins_are_limited(proxy: httpx.Client) -> None:
    found = [proxy.get(path).status_code for path in ["/sign-in", "/sign-in/"] * 8]
    assert found[0] in (200, 303)
    assert found[-1] == 503

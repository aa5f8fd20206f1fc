"""Measures the server on one core, with the load on another, against a bare Litestar echo of the same body.

python -m tests.benchmarks.bench_serve        (needs wrk: apt-get install wrk; models as `dvc repro` makes them)
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from stages.projects._base import load_project

PORT = 8765
SECONDS = 3
ECHO = """
from typing import Any
from litestar import Litestar, post
from litestar.params import JSONBody

@post("/echo", status_code=200)
async def echo(data: JSONBody[dict[str, Any]]) -> dict[str, Any]:
    return data

app = Litestar([echo], openapi_config=None)
"""


TURNS = 3


class Measured(NamedTuple):
    """What wrk reports: requests a second, and milliseconds."""

    per_second: float
    p50: float
    p99: float
    failed: int


@contextmanager
def running(app: str, folder: Path, **settings: str) -> Iterator[float]:
    """A server on core 0, `serve` or an application for uvicorn; gives the seconds it took until it was ready."""
    module = ["serve"] if app == "serve" else ["uvicorn", app, "--no-access-log"]
    arguments = [sys.executable, "-m", *module, "--port", str(PORT), "--log-level", "warning"]
    environment = {**os.environ, "PYTHONPATH": f"{Path.cwd()}{os.pathsep}{folder}", **settings}
    start = time.perf_counter()
    server = subprocess.Popen(["taskset", "-c", "0", *arguments], env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_until_ready("/ready" if app == "serve" else "/", server)
        yield time.perf_counter() - start
    finally:
        server.terminate()
        server.wait(20)


def wait_until_ready(path: str, server: subprocess.Popen[bytes]) -> None:
    """Return once the server answers, RuntimeError if it ends instead."""
    for _ in range(2000):
        if server.poll() is not None:
            raise RuntimeError("the server ended before it was ready")
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{PORT}{path}", timeout=1)
        except urllib.error.HTTPError as error:
            if error.code != 503:
                return
        except OSError:
            pass
        else:
            return
        time.sleep(0.01)
    raise RuntimeError("the server was not ready in time")


def load(path: str, body: dict[str, Any], connections: int, folder: Path) -> Measured:
    """Post the body for some seconds from core 1."""
    script = folder / "post.lua"
    script.write_text(
        'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n'
        f"wrk.body = [==[{json.dumps(body)}]==]\n"
        'done = function(summary, latency) io.write(string.format("P %f %f %d\\n", latency:percentile(50) / 1000, '
        "latency:percentile(99) / 1000, summary.errors.status + summary.errors.read + summary.errors.timeout)) end\n"
    )
    command = ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "-s", str(script)]
    output = subprocess.run([*command, f"http://127.0.0.1:{PORT}{path}"], capture_output=True, text=True, check=True).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    numbers = re.search(r"P ([\d.]+) ([\d.]+) (\d+)", output)
    if rate is None or numbers is None:
        raise RuntimeError(output)
    return Measured(float(rate[1]), float(numbers[1]), float(numbers[2]), int(numbers[3]))


def memory_mb() -> float:
    """Resident memory of the server on the port."""
    pids = subprocess.run(
        ["pgrep", "-f", f"python.* -m serve --port {PORT}"], capture_output=True, text=True, check=True
    ).stdout
    status = Path("/proc", pids.split()[0], "status").read_text()
    found = re.search(r"VmRSS:\s+(\d+)", status)
    return int(found[1]) / 1024 if found else 0.0


def show(what: str, measured: Measured, rows: int = 1, note: str = "") -> None:
    """One line of the table."""
    failed = f"  {measured.failed} FAILED" if measured.failed else ""
    rate = f"{measured.per_second * rows:>9,.0f} {'rows' if rows > 1 else 'req'}/s"
    print(f"{what:44}{rate}  p50 {measured.p50:7.2f} ms  p99 {measured.p99:7.2f} ms  {note}{failed}", flush=True)


def main() -> None:
    if shutil.which("wrk") is None:
        sys.exit("wrk is needed: apt-get install wrk")
    row = load_project("bankchurn").example_row
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "bare_echo.py").write_text(ECHO)
        with running("serve", folder, SERVE_LOG="false") as seconds:
            print(f"ready in {seconds:.2f} s with {memory_mb():.0f} MB")
            for connections in (1, 32):
                show(f"predict, log off, {connections} connections", load("/v1/bankchurn/predict", row, connections, folder))
        for turn in range(TURNS):  # in turns, as the machine is faster in one minute than in the next
            with running("bare_echo:app", folder):
                echo = load("/echo", row, 32, folder)
                show("echo, 32 connections", echo)
            with running("serve", folder, **logging_to(folder / f"turn{turn}")):
                found = load("/v1/bankchurn/predict", row, 32, folder)
                show("predict, log on, 32 connections", found, note=f"{found.per_second / echo.per_second:.0%} of echo")
                show(
                    "batch of 1,000, log on",
                    load("/v1/bankchurn/predict/batch", {"rows": [row] * 1000}, 1, folder),
                    rows=1000,
                )
        with running("serve", folder, **logging_to(folder / "last")):
            for connections in (1, 8):
                found = load("/v1/bankchurn/predict", row, connections, folder)
                show(f"predict, log on, {connections} connections", found)
            for project in ("bankchurn", "carvision", "telecom", "boston", "realestate"):
                example = load_project(project).example_row
                show(f"explain {project}", load(f"/v1/{project}/explain", example, 8, folder))
                show(f"predict {project}, log on, 32 connections", load(f"/v1/{project}/predict", example, 32, folder))


def logging_to(folder: Path) -> dict[str, str]:
    """Settings of a server with a fresh log."""
    folder.mkdir()
    return {"SERVE_DATABASE_URL": f"sqlite+aiosqlite:///{folder}/serve.db", "SERVE_SPILL_PATH": f"{folder}/spill"}


if __name__ == "__main__":
    main()

"""A server in a process of its own, and a load to put on it."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from tests.samples import ROOT


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Server:
    """The server as `make serve` starts it; further settings as environment variables, and options of the command."""

    def __init__(self, root: Path, folder: Path, *options: str, **environment: str) -> None:
        self.options = options
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.output = folder / "server.log"
        self._environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("COV")},
            "PYTHONPATH": os.environ.get("PYTHONPATH", str(ROOT)),  # see tests/toys.py
            "SERVE_ROOT": str(root),
            "SERVE_DATABASE_URL": f"sqlite+aiosqlite:///{folder}/serve.db",
            "SERVE_SPILL_PATH": str(folder / "spill"),
            "SERVE_REVISION": "c0ffee",
            "SERVE_UNREADY_SECONDS": "0",
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it is ready."""
        command = [
            sys.executable,
            "-m",
            "serve",
            "--timeout-graceful-shutdown",
            "10",
            "--port",
            str(self.port),
            *self.options,
        ]
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(command, env=self._environment, stdout=output, stderr=output)
        deadline = time.monotonic() + 30
        while True:
            try:
                httpx.get(f"{self.url}/health").raise_for_status()
            except httpx.TransportError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(self.output.read_text()) from None
                time.sleep(0.02)
            else:
                return

    def signal(self, number: int) -> None:
        """Send a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it at once, without a chance to write anything."""
        self.signal(signal.SIGKILL)
        self.wait()

    def wait(self) -> int:
        """Wait for its end; the exit status."""
        assert self.process is not None
        return self.process.wait(20)

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.process is not None and self.process.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                self.wait()
            except subprocess.TimeoutExpired:
                self.kill()


class Load:
    """Clients that predict one row after another, each over a connection that it keeps. `answers` are what came back."""

    def __init__(self, url: str, path: str, rows: list[dict[str, Any]], clients: int = 8) -> None:
        self.address = url.removeprefix("http://")
        self.path = path
        self.bodies = [json.dumps(row).encode() for row in rows]
        self.clients = clients
        self.answers: list[dict[str, Any]] = []
        self.requested: list[int] = []
        self.failures: list[str] = []

    async def run(self, going: Callable[[], bool], pause: float = 0.0) -> None:
        """Send requests while `going()`; a connection that breaks ends its client."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(self.clients) as pool:  # asyncio's own pool may be smaller
            await asyncio.gather(
                *[loop.run_in_executor(pool, self._client, number, going, pause) for number in range(self.clients)]
            )

    def _client(self, number: int, going: Callable[[], bool], pause: float) -> None:
        connection = http.client.HTTPConnection(self.address, timeout=20)
        while going():
            try:
                connection.request("POST", self.path, self.bodies[number], {"Content-Type": "application/json"})
                response = connection.getresponse()
                content = response.read()
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                break
            if response.status == 200:
                self.answers.append(json.loads(content))
                self.requested.append(number)
            else:
                self.failures.append(f"{response.status} {content!r}")
            number = (number + self.clients) % len(self.bodies)
            time.sleep(pause)
        connection.close()

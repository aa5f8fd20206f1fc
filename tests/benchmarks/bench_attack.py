"""What strangers can make a server of this machine do: each trial is bounded, and connects to the loopback alone.

python -m tests.benchmarks.bench_attack        (Linux, for its addresses 127.0.0.0/8; models as `dvc repro` makes them)
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import re
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from stages.projects._base import load_project
from tests.samples import ROOT
from tests.serve.process import Server

KEY, TOKEN = "bench-key-0123456789", "bench-token-0123456789"
KEYS = json.dumps([hashlib.sha256(KEY.encode()).hexdigest()])
ROW = load_project("bankchurn").example_row
HALF_SENT = 1_001
HEADER, FIELDS = 60_000_000, 1_200_000
PATIENCE = 75  # seconds after which a connection counts as never closed
GUESSING = 3


@contextmanager
def serving(**environment: str) -> Iterator[Server]:
    """A server of one project with a log of its own."""
    with (
        tempfile.TemporaryDirectory() as name,
        Server(ROOT, Path(name), SERVE_PROJECTS='["bankchurn"]', **environment) as server,
    ):
        yield server


def request(server: Server, method: str, path: str, body: str | None = None, **headers: str) -> int:
    """The status of one request; 0 where the connection was closed instead."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    with contextlib.closing(connection):
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0


def predict(server: Server, **headers: str) -> int:
    """The status of one prediction."""
    return request(server, "POST", "/v1/bankchurn/predict", json.dumps(ROW), Content_Type="application/json", **headers)


def memory_mb(server: Server) -> float:
    """Resident memory of the server."""
    assert server.process is not None
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{server.process.pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def form(server: Server, length: int) -> bytes:
    """The head of a sign-in form of that length."""
    return (
        f"POST /sign-in HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\nContent-Length: {length}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n\r\n"
    ).encode()


def empty_token() -> str:
    """Whether a reload without a token is done while `SERVE_ADMIN_TOKEN` is empty."""
    try:
        with serving(SERVE_ADMIN_TOKEN="") as server:
            return f"reload without a token: {request(server, 'POST', '/v1/reload')}"
    except RuntimeError as error:
        return f"the server does not start: {str(error).strip().splitlines()[-1]}"


def half_sent(addresses: list[str]) -> str:
    """What predictions get while forms are half sent from these addresses."""
    with serving(SERVE_API_KEYS=KEYS) as server, ExitStack() as stack:
        for number in range(HALF_SENT):
            source = addresses[number % len(addresses)]
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=20, source_address=(source, 0))
            stack.enter_context(connection)
            with contextlib.suppress(OSError):
                connection.sendall(form(server, 100) + b"key=")
        time.sleep(1)
        return str(dict(Counter(predict(server, X_API_Key=KEY) for _ in range(20))))


def large_header() -> str:
    """Memory before and after a header block that is never ended, and how much of it was taken."""
    with serving() as server, socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        before, sent, part = memory_mb(server), 0, b"a" * 50_000
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n")
        with contextlib.suppress(OSError):
            for number in range(HEADER // len(part)):
                connection.sendall(f"x-{number}: ".encode() + part + b"\r\n")
                sent += len(part)
        time.sleep(0.5)
        return f"{sent / 1e6:.1f} MB sent, memory {before:.0f} MB before and {memory_mb(server):.0f} MB after"


def slow_connections() -> str:
    """After how many seconds connections are closed that send nothing, or a byte a second."""
    heads = {"idle": b"", "slow headers": b"GET /health HTTP/1.1\r\nX: ", "slow body": b""}
    found: dict[str, str] = {}
    with serving() as server:
        heads["slow body"] = form(server, 10_000)

        def wait(name: str, head: bytes) -> None:
            start = time.monotonic()
            with socket.create_connection(("127.0.0.1", server.port), timeout=1) as connection:
                connection.sendall(head)
                while (seconds := time.monotonic() - start) < PATIENCE:
                    try:
                        if head:
                            connection.sendall(b"a")
                        if not connection.recv(1_000):
                            break
                    except TimeoutError:
                        continue
                    except OSError:
                        break
            found[name] = f"{seconds:.0f} s" if seconds < PATIENCE else f"not within {PATIENCE} s"

        threads = [threading.Thread(target=wait, args=item) for item in heads.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return ", ".join(f"{name}: {found[name]}" for name in heads)


def large_form() -> str:
    """How long the slowest answer of /health takes while a form with very many fields is read."""
    with serving(SERVE_API_KEYS=KEYS) as server:
        body = "&".join(["a=1"] * FIELDS)
        headers = {"Content_Type": "application/x-www-form-urlencoded", "Origin": f"http://127.0.0.1:{server.port}"}
        statuses: list[int] = []
        thread = threading.Thread(target=lambda: statuses.append(request(server, "POST", "/sign-in", body, **headers)))
        thread.start()
        slowest = 0.0
        while thread.is_alive():
            start = time.perf_counter()
            request(server, "GET", "/health")
            slowest = max(slowest, time.perf_counter() - start)
        return f"status {statuses[0]}, slowest /health {slowest * 1000:.0f} ms"


def forged_addresses() -> str:
    """How many of 200 requests pass a limit of 10 a minute, each with another forged address."""
    with serving(SERVE_RATE_LIMIT="10") as server:
        return str(dict(Counter(predict(server, X_Forwarded_For=f"10.0.0.{number}") for number in range(200))))


def guesses(path: str, send: Callable[[Server, int], int]) -> str:
    """What guesses are answered within some seconds, and how many lines of the log name them."""
    with serving(SERVE_API_KEYS=KEYS, SERVE_ADMIN_TOKEN=TOKEN) as server:
        end, answers = time.monotonic() + GUESSING, Counter[int]()
        while time.monotonic() < end:
            answers[send(server, answers.total())] += 1
        lines = [line for line in server.output.read_text().splitlines() if path in line or "sign-in" in line]
        return f"{dict(answers)}, {len(lines)} lines in the log"


def guess_token(server: Server, number: int) -> int:
    """One wrong admin token."""
    return request(server, "POST", "/v1/reload", X_API_Key=KEY, Authorization=f"Bearer guess-{number:020}")


def guess_key(server: Server, number: int) -> int:
    """One sign-in with a wrong key."""
    origin = f"http://127.0.0.1:{server.port}"
    kind = "application/x-www-form-urlencoded"
    return request(server, "POST", "/sign-in", f"key=guess-{number:020}", Content_Type=kind, Origin=origin)


TRIALS: dict[str, Callable[[], str]] = {
    "empty admin token": empty_token,
    "1,001 half-sent forms, 1 address": lambda: half_sent(["127.0.0.2"]),
    "1,001 half-sent forms, 11 addresses": lambda: half_sent([f"127.0.1.{number}" for number in range(1, 12)]),
    "60 MB of headers": large_header,
    "slow connections": slow_connections,
    "form of 1.2 million fields": large_form,
    "forged X-Forwarded-For": forged_addresses,
    "admin tokens guessed": lambda: guesses("/v1/reload", guess_token),
    "keys guessed at the sign-in": lambda: guesses("/sign-in", guess_key),
}


if __name__ == "__main__":
    for name, trial in TRIALS.items():
        print(f"{name:36}{trial()}", flush=True)

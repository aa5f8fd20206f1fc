"""The image, built from the Dockerfile as it is and run as Kubernetes or compose would: read-only, without privileges."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from stages.projects._base import project_names
from tests.samples import ROOT
from tests.serve.checkout import example

REAL_PROJECTS = True
TOOLS = ("mmdebstrap", "buildah", "podman", "runc")
MISSING = [tool for tool in TOOLS if not shutil.which(tool)]
pytestmark = [
    pytest.mark.image,
    pytest.mark.skipif(bool(MISSING), reason=f"no {', '.join(MISSING)}: run `apt-get install {' '.join(TOOLS)}` as root"),
    pytest.mark.skipif(os.geteuid() != 0, reason="building an image without a daemon: run the tests as root"),
]
# No network, so that the server is shown to need none; limits, as a container may not raise those of this machine.
RUN = (
    "run --detach --name=server --network=none --read-only --tmpfs=/tmp --cap-drop=all --security-opt=no-new-privileges "
    "--ulimit=nofile=4096:4096 --ulimit=nproc=4096:4096 --health-interval=disable --volume=data:/data localhost/veritable"
)
REQUEST = """
import sys, urllib.request as u
body, headers = sys.stdin.buffer.read() or None, {"Content-Type": "application/json"}
sys.stdout.buffer.write(u.urlopen(u.Request("http://127.0.0.1:8000" + sys.argv[1], body, headers)).read())
"""


class Container:
    """The server in a container, with images, volumes and state in a folder of its own."""

    def __init__(self, store: Path) -> None:
        folders = {"root": "images", "runroot": "run", "tmpdir": "state"}
        options = [f"--{option}={store / folder}" for option, folder in folders.items()]
        self.command = ["podman", *options, "--cgroup-manager=cgroupfs", "--runtime=runc", "--events-backend=file"]

    def podman(self, *arguments: str, given: str = "") -> str:
        """Output of a command, which must succeed."""
        done = subprocess.run([*self.command, *arguments], input=given, capture_output=True, text=True)
        assert done.returncode == 0, f"podman {' '.join(arguments)}: {done.stderr}"
        return done.stdout.strip()

    def inspect(self, kind: str, name: str, field: str) -> str:
        """A field of a container, an image or a volume."""
        return self.podman(kind, "inspect", "--format", f"{{{{.{field}}}}}", name)

    def ask(self, path: str, body: Any = None) -> Any:
        """The server's answer to a request from inside the container, which is all that can reach it."""
        return json.loads(self.text(path, json.dumps(body) if body is not None else ""))

    def text(self, path: str, body: str = "") -> str:
        """The body of an answer, to a POST where one is given."""
        return self.podman("exec", "--interactive", "server", "python", "-c", REQUEST, path, given=body)

    def shell(self, command: str) -> str:
        """Output of a shell command in the container, with its errors."""
        return self.podman("exec", "server", "sh", "-c", f"({command}) 2>&1 || true")

    def wait(self, seconds: float = 30) -> None:
        """Wait until the image's own health check says that the server is ready."""
        end = time.monotonic() + seconds
        while subprocess.run([*self.command, "healthcheck", "run", "server"], capture_output=True).returncode:
            assert time.monotonic() < end, self.podman("logs", "server")
            time.sleep(0.2)


@pytest.fixture
def container(joined: Path) -> Iterator[Container]:
    """A running server, built from the working tree and the small models."""
    store = Path(tempfile.mkdtemp(prefix="image-"))  # podman refuses a path as long as those of pytest
    started = Container(store)
    try:
        built = subprocess.run([ROOT / "tests/serve/image.sh", joined, store], capture_output=True, text=True)
        assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
        print(built.stdout.splitlines()[-1])
        started.podman(*RUN.split())
        yield started
    finally:
        subprocess.run([*started.command, "rm", "--force", "--time=0", "server"], capture_output=True)
        remove(store)


def remove(store: Path, seconds: float = 30) -> None:
    """Remove a store, which podman's own cleaning up after a container, in the background, may yet mount again."""
    end = time.monotonic() + seconds
    while store.exists() and time.monotonic() < end:
        subprocess.run(["umount", "--lazy", store / "images/overlay"], capture_output=True)
        shutil.rmtree(store, ignore_errors=True)
    assert not store.exists(), subprocess.run(["findmnt"], capture_output=True, text=True).stdout


def test_the_image_serves_what_was_trained_and_a_stop_loses_nothing(container: Container) -> None:
    start = time.monotonic()
    container.wait()
    print(
        f"ready after {time.monotonic() - start:.1f} s, {int(container.inspect('image', 'veritable', 'Size')) / 1e6:.0f} MB"
    )
    runs_without_privileges(container)
    holds_only_what_it_needs(container)

    answers = [container.ask(f"/v1/{name}/predict", example(name)) for name in project_names()]
    revision = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {answer["model"]["revision"] for answer in answers} == {revision.strip()}
    first = project_names()[0]
    assert container.ask(f"/v1/{first}/explain", example(first))["reasons"]
    (version,) = {*re.findall(r"/static/(\w+)/", container.text("/"))}
    assert len(container.text(f"/static/{version}/vega.js")) > 500_000
    documentation = re.findall(r"/docs/\w+/", container.text("/docs"))[0]
    assert len(container.text(f"{documentation}swagger-ui-bundle.js")) > 500_000
    labels = json.loads(container.podman("image", "inspect", "--format", "{{json .Labels}}", "veritable"))
    assert labels["org.opencontainers.image.revision"] == revision.strip()
    assert labels["org.opencontainers.image.source"] == "https://example.org/veritable"

    start = time.monotonic()
    container.podman("stop", "--time=30", "server")
    assert time.monotonic() - start < 5
    print(f"stopped in {time.monotonic() - start:.1f} s")
    assert container.inspect("container", "server", "State.ExitCode") == "0"
    assert logged(container) >= {answer["prediction_id"] for answer in answers}

    container.podman("start", "server")
    container.wait()
    found = container.ask(f"/v1/predictions/{answers[0]['prediction_id']}")
    assert found["prediction_id"] == answers[0]["prediction_id"]


def runs_without_privileges(container: Container) -> None:
    """The process is not root, and can write to nothing but /data and /tmp."""
    process = Path("/proc", container.inspect("container", "server", "State.Pid"), "status").read_text()
    status = dict(line.split(":", 1) for line in process.splitlines())
    print(f"{int(status['VmRSS'].split()[0]) / 1000:.0f} MB of memory")
    assert status["Uid"].split() == ["10001"] * 4
    assert int(status["CapEff"], 16) == 0
    for folder in ("/app", "/venv", "/home"):
        assert "Read-only file system" in container.shell(f"touch {folder}/file")
    assert container.shell("touch /tmp/file /data/file && rm /data/file") == ""


def holds_only_what_it_needs(container: Container) -> None:
    """No pipeline, no pickle, no data and nothing of the build in the image."""
    modules = container.shell("ls /venv/lib/python3*/site-packages").split()
    assert "litestar" in modules
    assert {"sklearn", "pandas", "dvc", "evidently", "shap", "plotly", "pip", "setuptools"}.isdisjoint(modules)
    assert {"vl_convert", "faker", "polyfactory", "rich", "pygments"}.isdisjoint(modules)
    files = container.shell("find /app -type f -printf '%P\\n'").split()
    assert {"dvc.lock", "serve/app.py", "stages/projects/_base.py"} <= set(files)
    assert {Path(file).parts[1] for file in files if file.startswith("stages/")} == {"__init__.py", "projects", "runtime"}
    assert {Path(file).parts[0] for file in files} == {"dvc.lock", "models", "reports", "serve", "stages"}
    assert not [file for file in files if file.endswith((".joblib", ".parquet", ".pyc", ".sh"))]
    assert container.shell("ls -A /etc/xdg/pip") == ""


def logged(container: Container) -> set[str]:
    """The ids in the prediction log on the volume."""
    database = Path(container.inspect("volume", "data", "Mountpoint"), "serve.db")
    with closing(sqlite3.connect(database)) as connection:
        return {str(row[0]) for row in connection.execute("SELECT id FROM predictions")}

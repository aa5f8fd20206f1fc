"""The files of a deployment, checked without building or starting anything: tests/serve/test_image.py does that."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from serve.__main__ import STOP_SECONDS
from serve.models.loader import FILES
from serve.settings import Settings
from stages.projects._base import project_names
from tests.samples import ROOT

DEPLOY = ROOT / "serve" / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def run(*command: str | Path) -> None:
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout


def matches(pattern: str, path: str) -> bool:
    """Whether a line of .dockerignore speaks of a path, or of a folder above it. The lines in use have no `?` or `[`."""
    wanted, parts = pattern.rstrip("/").split("/"), path.split("/")
    if wanted[0] == "**":
        return any(fnmatch(part, wanted[1]) for part in parts)
    return len(wanted) <= len(parts) and all(map(fnmatch, parts, wanted))


def sent(path: str) -> bool:
    """Whether a build is given the file: the last line of .dockerignore that speaks of it decides."""
    kept = True
    for line in (ROOT / ".dockerignore").read_text().split():
        if matches(line.removeprefix("!"), path):
            kept = line.startswith("!")
    return kept


def test_the_dockerfile_is_clean() -> None:
    run(Path(sys.executable).with_name("hadolint"), "Dockerfile")


def test_the_compose_file_is_valid() -> None:
    run(sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")


@pytest.mark.skipif(not shutil.which("promtool"), reason="no promtool: run `apt-get install prometheus`")
def test_the_settings_of_prometheus_are_valid() -> None:
    run("promtool", "check", "config", DEPLOY / "prometheus.yaml")


def test_the_build_is_given_every_file_that_the_server_loads() -> None:
    models = [f"models/{name}/{file}" for name in project_names() for file in FILES]
    reports = [f"reports/{name}/{file}" for name in project_names() for file in ("card.md", "evaluation.json")]
    kinds = {".py", ".html", ".js", ".css", ".svg"}
    folders = ("serve", "stages/projects", "stages/runtime")
    code = [str(path.relative_to(ROOT)) for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in kinds]
    assert [
        path
        for path in ("dvc.lock", "requirements-serve.lock", "stages/__init__.py", *models, *reports, *code)
        if not sent(path)
    ] == []


@pytest.mark.parametrize(
    "path",
    [
        "data/toy/raw.parquet", "models/toy/model.joblib", "models/toy/reference.parquet", ".git/config", ".env",
        ".dvc/config.local", "reports/toy/beeswarm.parquet", "reports/toy/live/metrics.json", "tests/conftest.py",
        "stages/__pycache__/train.cpython-311.pyc", "stages/train.py", "stages/core/files.py",
        "stages/runtime/__pycache__/x.pyc",
        "serve/deploy/.env", "serve.db", ".venv/bin/python",
    ],
)  # fmt: skip
def test_the_build_is_not_given_data_pickles_or_secrets(path: str) -> None:
    assert not sent(path)


@pytest.mark.slow
def test_the_server_starts_with_no_more_of_the_repository_than_the_image_holds(tmp_path: Path) -> None:
    """The Dockerfile takes `stages` and `serve` whole, and .dockerignore leaves these of them."""
    for source in ("stages/__init__.py", "stages/projects", "stages/runtime", "serve"):
        (tmp_path / source).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (ROOT / source).is_dir() else shutil.copy)(ROOT / source, tmp_path / source)
    code = "import serve.app, serve.log.__main__, stages; print(stages.__file__); serve.app.create_app()"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH" and not key.startswith("COV")}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "stages" / "__init__.py")


def test_what_the_dockerfile_and_compose_set_are_settings_of_the_server() -> None:
    known = {f"SERVE_{name.upper()}" for name in Settings.model_fields}
    named = set(re.findall(r"\bSERVE_\w+(?==)", (ROOT / "Dockerfile").read_text()))
    assert named
    assert named | set(COMPOSE["services"]["server"]["environment"]) <= known


def test_a_stop_leaves_the_server_the_time_it_takes_to_drain() -> None:
    allowed = int(COMPOSE["services"]["server"]["stop_grace_period"].removesuffix("s"))
    settings = Settings()
    assert allowed >= settings.unready_seconds + STOP_SECONDS + settings.drain_seconds


def test_prometheus_scrapes_the_server_at_the_port_it_listens_on() -> None:
    (job,) = yaml.safe_load((DEPLOY / "prometheus.yaml").read_text())["scrape_configs"]
    port = re.search(r'"--port", "(\d+)"', (ROOT / "Dockerfile").read_text())
    assert port
    assert job["static_configs"] == [{"targets": [f"server:{port[1]}"]}]
    assert COMPOSE["services"]["server"]["ports"] == [f"127.0.0.1:{port[1]}:{port[1]}"]

"""DVC with a remote that speaks the S3 protocol, as AWS, MinIO, Ceph and SeaweedFS do."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest

from tests.conftest import S3Server
from tests.samples import ROOT

FILES = {"data/raw.bin": bytes(range(256)) * 400, "models/plan.json": b'{"exported": true}'}


def dvc(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "dvc", *arguments], capture_output=True, text=True)


def checked(*arguments: str) -> None:
    done = dvc(*arguments)
    assert done.returncode == 0, done.stderr


def add_remote(endpoint: str, address: str) -> None:
    """As the README says."""
    checked("remote", "add", "--default", "storage", address)
    checked("remote", "modify", "--local", "storage", "endpointurl", endpoint)


@pytest.fixture
def repository(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Git and DVC repository with this one's configuration and two tracked files."""
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    subprocess.run(["git", "init", "--quiet"], check=True)
    (workspace / ".dvc").mkdir()
    for path in (".dvc/config", ".dvc/.gitignore", ".dvcignore"):
        shutil.copy(ROOT / path, workspace / path)
    for name, content in FILES.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(content)
    checked("add", *FILES)
    return workspace


def test_what_was_pushed_to_an_s3_server_is_pulled_again_as_it_was(
    repository: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.credentials.items():
        monkeypatch.setenv(name, value)
    store = fsspec.filesystem("s3", endpoint_url=s3.url)
    store.mkdir("veritable")
    add_remote(s3.url, "s3://veritable/cache")
    checked("push")
    digests = [hashlib.md5(content).hexdigest() for content in FILES.values()]
    stored = {f"veritable/cache/files/md5/{digest[:2]}/{digest[2:]}" for digest in digests}
    assert set(store.find("veritable")) == stored
    shutil.rmtree(repository / ".dvc" / "cache")
    for name in FILES:
        Path(name).unlink()
    checked("pull")
    assert {name: Path(name).read_bytes() for name in FILES} == FILES
    assert s3.url not in (repository / ".dvc" / "config").read_text(), "where a server stands is no matter of the repository"


def test_a_server_that_cannot_be_reached_fails_the_push_and_is_named(
    repository: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**s3.credentials, "AWS_MAX_ATTEMPTS": "1"}.items():
        monkeypatch.setenv(name, value)
    add_remote("http://127.0.0.1:9", "s3://veritable/cache")
    done = dvc("push")
    assert done.returncode != 0
    assert "http://127.0.0.1:9" in done.stderr

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest

from stages.core.cli import UserError
from stages.promotion.cache import fetch_files
from stages.runtime.identity import md5
from tests.conftest import S3Server

CONTENT = {"models/toy_plain/model.joblib": b"model", "reports/toy_plain/card.md": b"card"}
FILES = {path: hashlib.md5(content).hexdigest() for path, content in CONTENT.items()}
CACHE = Path(".dvc/cache/files/md5")


def store(folder: Path) -> None:
    """Put the files where DVC keeps them, in its cache as on a remote."""
    for path, digest in FILES.items():
        (folder / digest[:2]).mkdir(parents=True)
        (folder / digest[:2] / digest[2:]).write_bytes(CONTENT[path])
        (folder / digest[:2] / digest[2:]).chmod(0o444)


def set_remote(url: str, **options: str) -> None:
    lines = ["[core]", "remote = away", "['remote \"away\"']", f"url = {url}"]
    Path(".dvc/config.local").write_text("\n".join([*lines, *(f"{key} = {value}" for key, value in options.items())]))


@pytest.fixture
def repository(workspace: Path) -> Path:
    """A DVC repository with both files in its cache, as the current folder."""
    Path(".dvc").mkdir()
    Path(".dvc/config").write_text("[core]\nno_scm = true\nanalytics = false\n")
    store(CACHE)
    return workspace


def test_files_come_out_of_the_cache_byte_for_byte_and_writable(repository: Path) -> None:
    fetch_files(FILES, Path("out"))
    assert {str(path.relative_to("out")): path.read_bytes() for path in Path("out").rglob("*.*")} == CONTENT
    assert {md5(Path("out", path)) for path in FILES} == set(FILES.values())
    assert all(os.access(Path("out", path), os.W_OK) and Path("out", path).stat().st_mode & 0o200 for path in FILES)


def test_what_the_cache_lost_comes_from_the_uncommitted_remote_and_into_the_cache(repository: Path, tmp_path: Path) -> None:
    store(tmp_path / "remote" / "files" / "md5")
    set_remote(str(tmp_path / "remote"))
    shutil.rmtree(CACHE)
    fetch_files(FILES, Path("out"))
    assert Path("out/models/toy_plain/model.joblib").read_bytes() == b"model"
    shutil.rmtree(tmp_path / "remote")
    fetch_files(FILES, Path("again"))
    assert Path("again/reports/toy_plain/card.md").read_bytes() == b"card"


def test_a_remote_may_be_an_s3_bucket(repository: Path, s3: S3Server) -> None:
    key, secret = s3.credentials["AWS_ACCESS_KEY_ID"], s3.credentials["AWS_SECRET_ACCESS_KEY"]
    store = fsspec.filesystem("s3", endpoint_url=s3.url, key=key, secret=secret)
    store.mkdir("cache-of-models")
    store.put(str(CACHE), "cache-of-models/veritable/files/md5", recursive=True)
    set_remote("s3://cache-of-models/veritable", endpointurl=s3.url, access_key_id=key, secret_access_key=secret)
    shutil.rmtree(CACHE)
    fetch_files(FILES, Path("out"))
    assert Path("out/models/toy_plain/model.joblib").read_bytes() == b"model"


def test_a_configured_cache_folder_is_used(repository: Path, tmp_path: Path) -> None:
    Path(".dvc/config.local").write_text(f"[cache]\ndir = {tmp_path / 'elsewhere'}\n")
    shutil.move(".dvc/cache", tmp_path / "elsewhere")
    fetch_files(FILES, Path("out"))
    assert Path("out/models/toy_plain/model.joblib").read_bytes() == b"model"


def test_a_file_that_is_nowhere_is_named_with_where_it_was_looked_for(repository: Path, tmp_path: Path) -> None:
    lost = CACHE / FILES["reports/toy_plain/card.md"][:2]
    shutil.rmtree(lost)
    with pytest.raises(UserError, match="default remote") as refusal:
        fetch_files(FILES, Path("out"))
    assert all(
        part in str(refusal.value) for part in ("reports/toy_plain/card.md", FILES["reports/toy_plain/card.md"], str(lost))
    )
    set_remote(str(tmp_path / "empty"))
    with pytest.raises(UserError, match=r"not on the remote 'away'\. Run `dvc push` where it was made"):
        fetch_files(FILES, Path("out"))


def test_a_remote_that_fails_is_told_in_its_own_words(repository: Path) -> None:
    set_remote("gs://nobody")  # its extension of DVC is not among those installed
    shutil.rmtree(CACHE)
    with pytest.raises(UserError, match=r"not on the remote 'away', which cannot be read \(\w+: .*dvc-gs"):
        fetch_files(FILES, Path("out"))


def test_a_damaged_file_in_the_cache_is_refused(repository: Path) -> None:
    digest = FILES["models/toy_plain/model.joblib"]
    damaged = CACHE / digest[:2] / digest[2:]
    damaged.chmod(0o644)
    damaged.write_bytes(b"m0del")
    damaged.chmod(0o444)
    with pytest.raises(UserError, match=f"{damaged} in the cache is damaged"):
        fetch_files(FILES, Path("out"))


def test_outside_a_repository_dvc_says_so(workspace: Path) -> None:
    with pytest.raises(UserError, match="DVC cannot work here: you are not inside of a DVC repository"):
        fetch_files(FILES, Path("out"))


@pytest.mark.slow
def test_dvc_is_imported_only_where_files_are_fetched() -> None:
    imports = "import sys, stages.promotion.tags, stages.promotion.installation, stages.promotion.replay"
    code = f"{imports}; print('dvc' in sys.modules, 'gto' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split() == ["False", "False"]

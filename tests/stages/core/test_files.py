from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages.core.cli import UserError
from stages.core.files import new_folder, read_json, read_parquet, read_pickle, sha256, write, write_json


def test_a_file_is_written_into_folders_that_are_made_for_it_and_can_be_read_by_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "note.txt"
    write(path, lambda temporary: temporary.write_text("hello"))
    assert path.read_text() == "hello"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(path.parent.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_text("old")

    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        assert temporary.suffix == ".txt"
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        write(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "live"
    for content in ("old", "new"):
        with new_folder(path) as folder:
            (folder / f"{content}.txt").write_text(content)
    assert [file.name for file in path.iterdir()] == ["new.txt"]
    with pytest.raises(IsADirectoryError), new_folder(path) as folder:
        folder.write_text("half")
    assert [file.name for file in path.iterdir()] == ["new.txt"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_key_that_an_object_lacks_is_named_with_its_file(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": {"y": 1}})
    found = read_json(tmp_path / "a.json")
    assert found["x"].get("z") is None
    with pytest.raises(UserError, match=r"a\.json lacks 'z'"):
        found["x"]["z"]


def test_equal_values_are_equal_bytes_of_json(tmp_path: Path) -> None:
    for name, value in (("a", {"x": 1, "ä": [None, 0.1]}), ("b", {"ä": [None, 0.1], "x": 1})):
        write_json(tmp_path / name, value)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert read_json(tmp_path / "a") == json.loads('{"x": 1, "ä": [null, 0.1]}')


def test_what_is_no_json_is_refused_and_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert not list(tmp_path.iterdir())


def test_the_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"rows")
    assert sha256(tmp_path / "a") == hashlib.sha256(b"rows").hexdigest()


@pytest.mark.parametrize("reader", [read_json, read_parquet, read_pickle])
@pytest.mark.parametrize("content", [None, b"", b"\x80\xff\x00", b"[1]"])
def test_a_file_that_is_missing_or_damaged_is_named_in_one_sentence(
    tmp_path: Path, reader: Callable[[Path], Any], content: bytes | None
) -> None:
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match="is missing in" if content is None else "cannot be read") as error:
        reader(path)
    assert str(error.value).startswith(f"{path} ")
    assert "\n" not in str(error.value)

"""Spill files, without a log around them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from serve.log.spill import Spill
from tests.serve.logs import entry


def test_a_spill_file_that_another_process_writes_is_left_alone(tmp_path: Path) -> None:
    first, second = Spill(tmp_path), Spill(tmp_path)
    first.open()
    first.write([entry()])
    second.open()
    assert second.read(10) == []
    assert len(first.read(10)) == 1


def test_a_spill_file_is_read_in_parts_and_gone_at_the_end(tmp_path: Path) -> None:
    spill, rows = Spill(tmp_path), [entry() for _ in range(5)]
    spill.open()
    spill.write(rows[:4])
    assert spill.read(3) == rows[:3]
    assert spill.read(3) == rows[:3]
    spill.done()
    spill.write(rows[4:])
    assert spill.read(3) == rows[3:4]
    spill.done()
    assert spill.read(3) == rows[4:]
    spill.done()
    assert (spill.read(3), spill.bytes, list(tmp_path.iterdir())) == ([], 0, [])


def test_leftovers_of_an_erasure_that_was_cut_off_are_removed(tmp_path: Path) -> None:
    (tmp_path / "spill-1.tmp").write_bytes(b"half")
    Spill(tmp_path).open()
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_neither_a_file_nor_a_descriptor_for_each_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spill = Spill(tmp_path)
    spill.open()
    spill.write([entry()])
    descriptors = len(os.listdir("/proc/self/fd"))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        for _ in range(20):
            with pytest.raises(OSError, match="No space left"):
                spill.write([entry()])
    assert len(list(tmp_path.iterdir())) == 1
    assert len(os.listdir("/proc/self/fd")) == descriptors
    spill.write([entry()])
    assert len(spill.read(10)) == 1
    spill.done()
    assert len(spill.read(10)) == 1

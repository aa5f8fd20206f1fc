"""Spill files, without a log around them."""

from __future__ import annotations

from pathlib import Path

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

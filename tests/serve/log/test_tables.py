"""The ids of predictions."""

from __future__ import annotations

import os
import re
import time

import pytest

from serve.log.prediction_log import new_id


def test_ids_are_version_7_and_strictly_increase(monkeypatch: pytest.MonkeyPatch) -> None:
    before = time.time_ns() // 1_000_000
    ids = [new_id() for _ in range(50_000)]
    after = time.time_ns() // 1_000_000
    assert ids == sorted(set(ids))
    form = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
    assert all(form.fullmatch(made) for made in ids)
    times = [int(made.replace("-", "")[:12], 16) for made in ids]
    assert before <= times[0] <= times[-1] <= after
    monkeypatch.setattr("serve.ids.time.time_ns", lambda: (after - 5_000) * 1_000_000)
    assert new_id() > ids[-1]  # the clock was set back


def test_the_counter_of_an_id_overflows_into_the_next_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    last = new_id()
    monkeypatch.setattr(new_id, "_counter", 2**42 - 2)
    ids = [last, new_id(), new_id(), new_id()]
    assert ids == sorted(set(ids))


@pytest.mark.parametrize("counter", ["000-8000", "fff-bfff"])
def test_ids_go_on_after_one_of_a_process_before(monkeypatch: pytest.MonkeyPatch, counter: str) -> None:
    monkeypatch.setattr(new_id, "_millisecond", 0)  # and is set back when the test ends
    monkeypatch.setattr(new_id, "_counter", 0)
    now = time.time_ns() // 1_000_000
    early, late = ((text := f"{now + ms:012x}")[:8] + f"-{text[8:]}-7{counter}-ffffffffffff" for ms in (-60_000, 60_000))
    assert not new_id.go_on_after(early)
    assert early < (first := new_id()) < late
    assert new_id.go_on_after(late)
    assert not new_id.go_on_after(early)
    assert first < late < new_id() < new_id()
    assert not new_id.go_on_after("ffffffff-ffff-4fff-bfff-ffffffffffff")
    assert new_id() < "ffffffff"


def test_a_forked_process_makes_ids_of_its_own() -> None:
    new_id()
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writing, new_id()[-12:].encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 12).decode() != new_id()[-12:]
    os.close(reading)
    os.close(writing)

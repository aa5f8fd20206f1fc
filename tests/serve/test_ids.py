"""Tests of serve/ids.py: ids that follow from a seed."""

from __future__ import annotations

from hashlib import sha256
from uuid import UUID

from serve.ids import ids_of


def test_the_ids_of_a_seed_are_the_same_each_time_ascend_and_begin_with_their_moment() -> None:
    seed = sha256(b"key").digest()
    ids = ids_of(seed, 1_772_366_400_123, 3_000)
    assert ids == ids_of(seed, 1_772_366_400_123, 3_000) == sorted(set(ids))
    assert ids[:2] == ids_of(seed, 1_772_366_400_123, 2)
    assert not {*ids} & {*ids_of(sha256(b"other").digest(), 1_772_366_400_123, 3_000)}
    for found in (UUID(ids[0]), UUID(ids[-1])):
        assert (found.version, found.int >> 80) == (7, 1_772_366_400_123)
    assert len({identifier[-4:] for identifier in ids}) > 2_500, "samples are drawn by the ends of ids"

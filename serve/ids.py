"""The ids of predictions, which sort by the time they were made."""

from __future__ import annotations

import os
import threading
import time
from uuid import UUID

_LOW = (1 << 30) - 1
_SPREAD = 0x9E3779B1  # odd, so that the ends of ids, by which samples are drawn, differ


class _Ids:
    """UUIDv7 (RFC 9562, 6.2 method 1): 48 bits of milliseconds, a counter of 42 bits, 32 random bits.

    The counter starts at random in the lower half of its range every millisecond and goes up by one within it, so ids made
    by one process strictly increase, also when the clock is set back; `go_on_after` has them go on after those of another.
    Random bytes come from the operating system, 4 KB at a time: one call each would double the cost of an id.
    """

    def __init__(self) -> None:
        self._reset()
        os.register_at_fork(after_in_child=self._reset)  # a child must not repeat its parent's ids

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._millisecond = self._counter = 0
        self._random: list[int] = []

    def __call__(self) -> str:
        with self._lock:
            if not self._random:
                self._random = list(memoryview(os.urandom(4096)).cast("I"))
            tail = self._random.pop()
            now = time.time_ns() // 1_000_000
            if now > self._millisecond:
                self._millisecond, self._counter = now, self._seed()
            else:
                self._counter += 1
                if self._counter >> 42:
                    self._millisecond, self._counter = self._millisecond + 1, self._seed()
            millisecond, counter = self._millisecond, self._counter
        return _written(millisecond, counter, tail)

    def go_on_after(self, newest: str) -> bool:
        """Make ids that are greater than this one; whether its time is yet to come. One of another version is ignored."""
        found = UUID(newest)
        if found.version != 7:
            return False
        number = found.int
        last = number >> 80, (number >> 64 & 0xFFF) << 30 | number >> 32 & _LOW
        with self._lock:
            self._millisecond, self._counter = max(last, (self._millisecond, self._counter))
        return last[0] > time.time_ns() // 1_000_000

    @staticmethod
    def _seed() -> int:
        return int.from_bytes(os.urandom(6), "big") >> 7


new_id = _Ids()


def ids_of(seed: bytes, millisecond: int, count: int) -> list[str]:
    """Ids of a moment, in ascending order, that are the same whenever they are made of this seed of 10 bytes or more."""
    counter, tail = int.from_bytes(seed[:6], "big") >> 7, int.from_bytes(seed[6:10], "big")
    return [_written(millisecond, counter + row, (tail + row * _SPREAD) & 0xFFFFFFFF) for row in range(count)]


def _written(millisecond: int, counter: int, tail: int) -> str:
    first = millisecond << 16 | 0x7000 | counter >> 30
    text = f"{first:016x}{2 << 62 | (counter & _LOW) << 32 | tail:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

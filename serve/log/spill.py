"""Where predictions are stored while the database is down: append-only files of JSON lines, on the server's own disk.

The methods that read or write rows block (fsync) and none is safe to run beside another: the log runs them all in its one
writer thread.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import msgspec

from serve.log.tables import Entry

_log = logging.getLogger(__name__)
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Entry)

REJECTED = "rejected.jsonl"  # lines that no database takes: kept for a person to look at, never replayed


class Spill:
    """A folder of spill files. One is being written; the others are closed and wait, oldest first, to be replayed.

    A file is locked while a process owns it, and the lock dies with the process. So a server that starts while another one
    still drains into the same folder leaves that one's file alone instead of replaying and deleting it under its hands.
    """

    def __init__(self, folder: Path, max_bytes: int = 1_000_000_000) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self.bytes = 0
        self._active: _File | None = None
        self._closed: list[_File] = []
        self._read: tuple[_File, int] | None = None
        self._rejected: tuple[tuple[int, int], int] | None = None  # time and size of the file, and its lines

    def open(self) -> None:
        """Create the folder and take over what earlier processes left."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(self.folder.glob("*.tmp")):
            if leftover := _File.adopt(path):  # of an erasure that was cut off: the original is still there
                leftover.remove()
        found = map(_File.adopt, sorted(self.folder.glob("spill-*.jsonl")))
        self._closed = [file for file in found if file is not None]
        self._count()
        self._write_one()  # fail now rather than when the database does

    def probe(self) -> None:
        """OSError unless rows can be written in the folder."""
        self._require_room()
        self._write_one()

    def _require_room(self) -> None:
        size = sum(file.size for file in [*self._closed, *([self._active] if self._active else [])])
        if size >= self.max_bytes:
            raise OSError(f"{self.folder} has {size:,} bytes of the {self.max_bytes:,} that SERVE_MAX_SPILL allows")

    def _write_one(self) -> None:
        file = _File.create(self.folder / f"probe-{os.getpid()}.tmp")
        try:
            file.append(b"\n")
        finally:
            file.remove()

    def write(self, entries: Sequence[Entry]) -> None:
        """Append all entries with one write and one fsync; OSError if they are not safe on disk, or the files have reached
        their limit, which the last group may have passed.
        """
        self._require_room()
        lines = _encoder.encode_lines(entries)
        try:
            if self._active is None:
                self._active = _File.create(self.folder / f"spill-{time.time_ns():020d}-{os.getpid()}.jsonl")
                _sync_folder(self.folder)
            self._active.append(lines)
        except OSError:  # after a failed fsync the state of this file is unknown: never append to it again
            if self._active is not None and not self._active.size:  # a full disk must not leave an empty file for every try
                self._active.remove()
                self._active = None
            self._rotate()
            raise
        self._count()

    def read(self, rows: int) -> list[Entry]:
        """The next entries to replay, at most `rows`; empty when nothing is left. `done` moves on."""
        while True:
            if not self._closed:
                self._rotate()
            if not self._closed:
                return []
            file = self._closed[0]
            lines, end = file.lines(rows)
            if not lines:
                self._closed.pop(0).remove()
                self._count()
                continue
            self._read = (file, end)
            if entries := [entry for line in lines if (entry := self._parse(line)) is not None]:
                return entries
            self.done()

    def done(self) -> None:
        """What `read` gave last is committed."""
        if self._read is None:
            return
        file, end = self._read
        file.replayed, self._read = end, None
        if file.replayed >= file.size:
            self._closed.remove(file)
            file.remove()
        self._count()

    def reject(self, entry: Entry, reason: str) -> None:
        """Put aside an entry that the database refuses for what it holds."""
        self._put_aside(_encoder.encode(entry) + b"\n", reason)

    def erase(self, prediction_id: str) -> bool:
        """Remove an entry from every file; True if one held it."""
        self._rotate()
        self._read = None
        needle, found = prediction_id.encode(), False
        for index, file in enumerate(self._closed):
            if replacement := file.without(needle):
                self._closed[index], found = replacement, True
        rejected = self.folder / REJECTED
        if rejected.exists() and (old := _File.adopt(rejected)):
            new = old.without(needle)
            found = found or new is not None
            (new or old).close()
        if found:
            _sync_folder(self.folder)
        self._count()
        return found

    def rejected(self) -> int:
        """Lines that were put aside, until a person takes them away; blocks only after some were."""
        path = self.folder / REJECTED
        try:
            found = path.stat()
            seen = found.st_mtime_ns, found.st_size
            if self._rejected is None or self._rejected[0] != seen:
                with path.open("rb") as file:
                    self._rejected = seen, sum(1 for _ in file)
        except OSError:
            return 0
        return self._rejected[1]

    def free(self) -> int:
        """Free bytes on the disk of the folder; 0 where it cannot be read."""
        try:
            return shutil.disk_usage(self.folder).free
        except OSError:
            return 0

    def close(self) -> None:
        """Let go of all files; they stay on disk."""
        self._rotate()
        for file in self._closed:
            file.close()
        self._closed = []

    def _rotate(self) -> None:
        if self._active is not None:
            self._closed.append(self._active)
            self._active = None

    def _count(self) -> None:
        self.bytes = sum(file.size - file.replayed for file in self._closed) + (self._active.size if self._active else 0)

    def _parse(self, line: bytes) -> Entry | None:
        try:
            return _decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            if line.endswith(b"\n"):
                self._put_aside(line, str(error))
            else:
                _log.info("dropped the torn last line of a spill file: it was never acknowledged")
            return None

    def _put_aside(self, line: bytes, reason: str) -> None:
        _log.error("a spilled prediction cannot be stored and was moved to %s: %s", self.folder / REJECTED, reason)
        with open(self.folder / REJECTED, "ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())


class _File:
    """One spill file, open and locked."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.size = os.fstat(descriptor).st_size
        self.replayed = 0
        self._descriptor = descriptor

    @classmethod
    def create(cls, path: Path) -> _File:
        file = cls(path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC, 0o600))
        file._lock()
        return file

    @classmethod
    def adopt(cls, path: Path) -> _File | None:
        """The file, or None if another process owns it or was done with it just now."""
        try:
            file = cls(path, os.open(path, os.O_RDWR | os.O_APPEND))
        except FileNotFoundError:
            return None
        if file._lock() and os.fstat(file._descriptor).st_nlink:
            return file
        file.close()
        return None

    def _lock(self) -> bool:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False

    def append(self, lines: bytes) -> None:
        try:
            rest = memoryview(lines)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
            os.fsync(self._descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self.size)  # what failed was not acknowledged
            raise
        self.size += len(lines)

    def lines(self, count: int) -> tuple[list[bytes], int]:
        """The next lines to replay, and where they end."""
        lines = list(islice(self._each(self.replayed), count))
        return lines, self.replayed + sum(map(len, lines))

    def without(self, needle: bytes) -> _File | None:
        """Replace the file by one without the entry of that id, to be replayed from its start; None if it holds none."""
        if not any(needle in line for line in self._each()):
            return None
        replacement = _File.create(self.path.with_suffix(".tmp"))
        replacement.append(b"".join(line for line in self._each() if not _is(line, needle)))
        os.replace(replacement.path, self.path)
        replacement.path = self.path
        self.close()
        return replacement

    def _each(self, start: int = 0) -> Iterator[bytes]:
        # Through the descriptor: what was acknowledged can still be read after somebody deleted the file.
        with os.fdopen(os.dup(self._descriptor), "rb") as file:
            file.seek(start)
            yield from file

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        os.close(self._descriptor)


def _is(line: bytes, needle: bytes) -> bool:
    """Whether a line is the entry of that id; a line that cannot be read counts, for it may hold the person's data."""
    if needle not in line:
        return False
    try:
        return _decoder.decode(line).id.encode() == needle
    except (msgspec.DecodeError, UnicodeDecodeError):
        return True


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""What the test processes of one run make once and share."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from pathlib import Path

import pytest


def shared_base(factory: pytest.TempPathFactory, worker: str) -> Path:
    """A folder that all processes of this test run share."""
    base = factory.getbasetemp()
    return base if worker == "master" else base.parent


def shared(base: Path, name: str, make: Callable[[Path], None]) -> Path:
    """The folder `name` below `base`, made by whichever of the test processes comes first; only to be read."""
    folder = base / name
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            make(base / f"{name}.unfinished")
            (base / f"{name}.unfinished").rename(folder)
    return folder

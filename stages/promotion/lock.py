"""dvc.lock of the workspace and of commits."""

from __future__ import annotations

from pathlib import Path

from stages.core.cli import UserError
from stages.core.files import read
from stages.promotion.git import git_bytes
from stages.runtime.identity import outputs

LOCK = Path("dvc.lock")


def read_lock() -> bytes:
    """dvc.lock of the workspace; UserError where it is missing or damaged."""
    return checked_lock(read(LOCK, Path.read_bytes), str(LOCK))


def lock_at(revision: str) -> bytes:
    """dvc.lock as a commit has it; UserError where that is missing or damaged, or this clone lacks the commit."""
    try:
        content = git_bytes("show", f"{revision}:./{LOCK}")
    except UserError as error:
        raise UserError(f"{error}; if this clone lacks the commit, fetch it with `git fetch --tags`") from None
    return checked_lock(content, f"{LOCK} of {revision[:12]}")


def checked_lock(content: bytes, name: str) -> bytes:
    """The content of a dvc.lock, if it is one; UserError by this name otherwise."""
    try:
        outputs(content)
    except Exception as error:  # what YAML and a wrong layout raise
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"{name} is damaged ({cause}): restore it from an earlier commit or run `dvc repro`") from None
    return content

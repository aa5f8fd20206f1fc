"""Writing the ledger of a project, whose entries `stages.runtime.ledger` describes."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stages.core.cli import UserError
from stages.core.files import write
from stages.promotion.git import git
from stages.promotion.webhook import notify
from stages.runtime.ledger import KEYS, ledger_path, read_ledger


def append(project: str, entry: dict[str, Any]) -> None:
    """Add a line with the present time, and tell the webhook of it. ValueError for an unknown event, a key it lacks, a
    reason of more than one paragraph, or a value that is no JSON.
    """
    event = entry.get("event")
    if event not in KEYS:
        raise ValueError(f"a ledger has no event {event!r}")
    if missing := [key for key in ("by", "reason", *KEYS[event]) if key not in entry]:
        raise ValueError(f"{event}: the entry lacks {', '.join(missing)}")
    if "\n" in entry["reason"] or not entry["reason"].strip():
        raise ValueError(f"{event}: the reason must be one paragraph")
    dated = entry | {"time": datetime.now(UTC).isoformat(timespec="seconds")}
    line = json.dumps(dated, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    path = ledger_path(project)
    with _alone(path.parent):
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        text = before + ("\n" if before and not before.endswith("\n") else "") + line
        write(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    notify(project, dated)


def read(project: str) -> list[dict[str, Any]]:
    """All entries, oldest first; none without a ledger. UserError names a line that is no entry."""
    try:
        return read_ledger(project)
    except UnicodeDecodeError:
        path = ledger_path(project)
        raise UserError(f"{path} is no text in UTF-8: restore it from `git log -p {path}`") from None
    except ValueError as error:
        raise UserError(str(error)) from None


def version_of(project: str, model_hash: str) -> str | None:
    """The version that a model was last promoted as; None for one that never was."""
    promoted = [entry for entry in read(project) if entry["event"] == "promotion" and entry["accepted"]]
    return next((entry["version"] for entry in reversed(promoted) if entry["challenger"]["hash"] == model_hash), None)


def commit(project: str, message: str) -> None:
    """Commit the ledger and nothing else, whatever else is staged; nothing when Git has it already."""
    path = str(ledger_path(project))
    if git("status", "--porcelain", "--", path):
        git("add", "--", path)
        git("commit", "--quiet", "--only", "--message", message, "--", path)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, so that of two processes that append at once neither loses its line."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)

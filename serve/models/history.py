"""The ledger of a project as the server shows it: who decided what about which model, and why."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

CORE = ("time", "event", "by", "reason", "accepted", "version", "stage")


class Event(msgspec.Struct):
    """A decision; `details` holds the rules, numbers and hashes that it rests on."""

    time: datetime
    event: Literal["promotion", "deployment", "drift"]
    by: str
    reason: str
    accepted: bool | None = None
    version: str | None = None
    stage: str | None = None
    details: dict[str, Any] = {}

    @property
    def live_hash(self) -> str | None:
        """The hash of the model that this decision put live, if it did."""
        if self.event == "promotion" and self.accepted:
            return self.details["challenger"]["hash"]
        return self.details["hash"] if self.event == "deployment" and self.stage else None


class History(msgspec.Struct):
    """Decisions, newest first."""

    events: list[Event]


def read_ledger(root: Path, project: str) -> list[Event]:
    """All decisions, oldest first; none without a ledger. ValueError for a line that is no entry."""
    path = root / "reports" / project / "ledger.jsonl"
    if not path.exists():
        return []
    try:
        lines = msgspec.json.Decoder(dict[str, Any]).decode_lines(path.read_bytes())
        entries = [
            {key: line[key] for key in CORE if key in line} | {"details": {k: v for k, v in line.items() if k not in CORE}}
            for line in lines
        ]
        return msgspec.convert(entries, list[Event])
    except msgspec.MsgspecError as error:
        raise ValueError(f"{path} is not what a ledger holds ({error}): restore it with Git") from error


def version_of(events: list[Event], model_hash: str) -> tuple[str | None, str | None]:
    """The version that was registered for a model, and the stage that it holds now."""
    live = [event for event in events if event.live_hash]
    own = [event for event in live if event.live_hash == model_hash]
    if not own:
        return None, None
    return own[-1].version, own[-1].stage if live[-1] is own[-1] else None

"""The ledger of a project as the server shows it: who decided what about which model, and why."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

import msgspec

from stages.runtime.ledger import ledger_path, read_ledger

CORE = ("time", "event", "by", "reason", "accepted", "version", "stage")


class Challenger(TypedDict):
    """The model that a promotion decided on."""

    hash: str
    revision: NotRequired[str]
    test: NotRequired[str | None]


class Compared(TypedDict):
    """The gain of a challenger over its champion on the same test rows, positive where it is better."""

    metric: str
    value: float
    low: float
    high: float
    confidence: NotRequired[float]
    rows: NotRequired[int]


class Rule(TypedDict):
    """What a rule of the gate found."""

    rule: str
    passed: NotRequired[bool | None]
    detail: NotRequired[str]


class Promotion(TypedDict):
    """The details of a promotion that the pages show."""

    challenger: Challenger
    rules: NotRequired[list[Rule] | None]
    champion: NotRequired[dict[str, str | None] | None]
    metrics: NotRequired[dict[str, dict[str, float | None]] | None]
    comparison: NotRequired[Compared | None]


class Deployment(TypedDict):
    """The details of a deployment that the pages show."""

    hash: str
    previous: NotRequired[dict[str, str | None] | None]


class Check(TypedDict):
    """The details of a drift check that the pages show."""

    verdict: NotRequired[str]


DETAILS = {"promotion": Promotion, "deployment": Deployment, "drift": Check}


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


def read_history(project: str, root: Path) -> list[Event]:
    """All decisions, oldest first; none without a ledger. ValueError for a ledger that holds something else."""
    entries = [
        {key: line[key] for key in CORE if key in line} | {"details": {k: v for k, v in line.items() if k not in CORE}}
        for line in read_ledger(project, root)
    ]
    try:
        events = msgspec.convert(entries, list[Event])
        for event in events:
            msgspec.convert(event.details, DETAILS[event.event])
        return events
    except msgspec.ValidationError as error:
        path = root / ledger_path(project)
        raise ValueError(f"{path} is no ledger ({error}): restore it from `git log -p {path}`") from error


def version_of(events: list[Event], model_hash: str) -> tuple[str | None, str | None]:
    """The version that was registered for a model, and the stage that it holds now."""
    live = [event for event in events if event.live_hash]
    own = [event for event in live if event.live_hash == model_hash]
    if not own:
        return None, None
    return own[-1].version, own[-1].stage if live[-1] is own[-1] else None

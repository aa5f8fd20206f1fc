"""A prediction log to test, and entries for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from serve.log.prediction_log import Entry, PredictionLog, new_id

MISSING = "019c0000-0000-7000-8000-000000000000"
NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, UTC)


def entry(**changes: Any) -> Entry:
    made = Entry(
        new_id(), NOW, "toy_plain", "hash", "rev", "1.0.0", '{"rooms":6.5}', '{"prediction":21.5}', 21.5, None, 80, "req"
    )
    return replace(made, **changes)


@asynccontextmanager
async def opened(url: str, tmp_path: Path, **settings: Any) -> AsyncIterator[PredictionLog]:
    log = PredictionLog(url, spill_path=tmp_path / "spill", **{"timeout": 0.5, **settings})
    await log.start()
    try:
        yield log
    finally:
        await log.stop(5)


async def all_ids(log: PredictionLog, project: str = "toy_plain") -> list[str]:
    """Every id of a project, page by page."""
    ids: list[str] = []
    while page := await log.page(project, 500, ids[-1] if ids else None):
        ids += [found.id for found in page]
    return ids

"""The queries of the prediction log, in SQL that both databases understand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Executable, Select, TextClause, func, select, text

from serve.log.tables import Entry, Feedback, Recent, feedback, first_id, predictions


class LogQueries(ABC):
    """The queries of a log; each may raise `Unavailable`."""

    @abstractmethod
    async def _read(self, query: Executable) -> Sequence[Any]:
        """The rows that a statement gives."""

    async def page(self, project: str, limit: int = 50, after: str | None = None) -> list[Entry]:
        """Predictions of a project, newest first; `after` is the id that the page before ended with."""
        query = select(predictions).where(predictions.c.project == project).order_by(predictions.c.id.desc()).limit(limit)
        if after is not None:
            if (key := canonical(after)) is None:
                raise ValueError(f"{after!r} is not the id of a prediction")
            query = query.where(predictions.c.id < key)
        return [Entry(*row) for row in await self._read(query)]

    async def recent(self, project: str, limit: int) -> list[Recent]:
        """Inputs and scores of the latest predictions of a project, newest first."""
        columns = (predictions.c[name] for name in Recent.__struct_fields__)
        query = select(*columns).where(predictions.c.project == project).order_by(predictions.c.id.desc()).limit(limit)
        return [Recent(*row) for row in await self._read(query)]

    async def counts(self, project: str, since: datetime) -> dict[str | None, int]:
        """How many predictions of a project since then had which label."""
        query = select(predictions.c.label, func.count()).group_by(predictions.c.label)
        rows = await self._read(query.where(predictions.c.project == project, predictions.c.time >= since))
        return {label: count for label, count in rows}  # noqa: C416 - rows are no tuples to a type checker

    async def numbers(self, project: str, moments: Sequence[datetime]) -> list[int]:
        """How many predictions of a project were made between each of these moments, which ascend, and the next. The index
        alone tells, as ids begin with their time.
        """
        bounds = {f"bound{number}": first_id(moment) for number, moment in enumerate(moments)}
        query = _numbers(len(moments) - 1).bindparams(project=project, **bounds)
        return [count for _, count in sorted(await self._read(query))]

    async def latencies(self, project: str, since: datetime, share: float = 1.0) -> list[tuple[datetime, int]]:
        """Times and latencies, in microseconds, of about this share of a project's predictions since then, drawn by the
        random end of their ids, so that of many only a few need to be looked up.
        """
        ends_below = "g" if share >= 1 else f"{int(share * 0x10000):04x}"
        query = select(predictions.c.time, predictions.c.latency_us).where(
            predictions.c.project == project,
            predictions.c.id >= first_id(since),
            func.substr(predictions.c.id, 33) < ends_below,
        )
        return [(time, latency) for time, latency in await self._read(query)]

    async def history(self, prediction_id: str) -> list[Feedback]:
        """All feedback on one prediction: the outcome first, then its corrections in the order they were reported."""
        if (key := canonical(prediction_id)) is None:
            return []
        return to_feedback(await self._read(history_of(key)))

    async def histories(self, entries: Sequence[Entry]) -> list[list[Feedback]]:
        """All feedback on each of these predictions, oldest first."""
        found: dict[str, list[Feedback]] = {entry.id: [] for entry in entries}
        if found:
            for item in to_feedback(await self._read(history_of(*found))):
                found[item.prediction_id].append(item)
        return [*found.values()]


def canonical(identifier: str) -> str | None:
    """An id as the log writes it; None for what is no id."""
    try:
        return str(UUID(identifier))
    except ValueError:
        return None


@cache
def _numbers(spans: int) -> TextClause:
    """One statement for all spans, written once: to build it of SQLAlchemy's parts each time takes longer than to count."""
    bounds = ", ".join(f"({number}, :bound{number}, :bound{number + 1})" for number in range(spans))
    return text(
        f"WITH spans (number, low, high) AS (VALUES {bounds}) SELECT number, "  # noqa: S608 - made of numbers alone
        "(SELECT count(*) FROM predictions WHERE project = :project AND id >= low AND id < high) FROM spans"
    )


def history_of(*keys: str) -> Any:
    """The statement that gives all feedback on predictions, oldest first for each."""
    return select(feedback).where(feedback.c.prediction_id.in_(keys)).order_by(feedback.c.prediction_id, feedback.c.id)


def rows_with_outcomes(project: str, since: datetime, until: datetime) -> Select[tuple[str, str, str | None]]:
    """The statement that gives id, input and the outcome that was reported last, as JSON, of the predictions of a project
    made between two moments, in the order of their ids.
    """
    outcomes = select(feedback.c.outcome).where(feedback.c.prediction_id == predictions.c.id)
    latest = outcomes.order_by(feedback.c.id.desc()).limit(1).scalar_subquery().label("outcome")
    return (
        select(predictions.c.id, predictions.c.input, latest)
        .where(
            predictions.c.project == project,
            predictions.c.id > first_id(since),  # the index knows ids alone, which begin with their time to the millisecond
            predictions.c.time >= since,
            predictions.c.time <= until,
        )
        .order_by(predictions.c.id)
    )


def to_feedback(rows: Sequence[Any]) -> list[Feedback]:
    """The feedback in rows of its table."""
    return [Feedback(row.id, row.prediction_id, msgspec.json.decode(row.outcome), row.time) for row in rows]

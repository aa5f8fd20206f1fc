"""What the monitoring page reads from the log: traffic by the hour, and the latest predictions and the rows that the
model was trained on. Results are reused for `TTL` seconds, however many pages are open.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
from msgspec import Struct

from serve.log.prediction_log import PredictionLog, Recent
from serve.log.tables import LAST
from serve.models.loader import Model
from serve.models.stability import known_rows
from stages.runtime.population import Bins, shares
from stages.runtime.wording import number, percent

TTL = 15.0  # seconds for which a result is reused
DRAWN = 2_000  # predictions whose latencies are read, drawn at random from all in the time


class Hour(Struct):
    """The predictions of an hour, and their latencies in milliseconds: the median, and what one in ten exceeds. None where
    none of the hour's were among those that were read.
    """

    start: datetime
    predictions: int
    median_ms: float | None
    slow_ms: float | None


class Traffic(Struct):
    """The hours up to the present one, oldest first, and all of them together."""

    hours: list[Hour]
    whole: Hour


class BinShares(Struct):
    """The shares of the training rows and of the latest predictions in each bin of a column, or of the score."""

    column: str
    bins: list[str]
    trained: list[float]
    latest: list[float]


class TtlCache:
    """Answers by key, made again when they are older than `TTL`; those who ask in the meantime wait for the same one."""

    def __init__(self) -> None:
        self._made: dict[Any, tuple[float, asyncio.Task[Any]]] = {}

    async def get(self, key: Any, make: Callable[[], Awaitable[Any]]) -> Any:
        """The answer for a key; raises what making it raised."""
        since, task = self._made.get(key, (0.0, None))
        if task is None or (task.done() and (time.monotonic() - since > TTL or task.exception())):
            task = asyncio.ensure_future(make())
            self._made[key] = time.monotonic(), task
        return await asyncio.shield(task)


async def traffic(log: PredictionLog, project: str, hours: int) -> Traffic:
    """The predictions of a project in so many hours, the present one among them."""
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    starts = [*(now - timedelta(hours=back) for back in range(hours - 1, -1, -1)), LAST]
    counts = await log.numbers(project, starts)
    drawn = await log.latencies(project, starts[0], DRAWN / max(sum(counts), 1))
    by_hour: dict[datetime, list[int]] = {}
    for made, latency in drawn:
        by_hour.setdefault(made.replace(minute=0, second=0, microsecond=0), []).append(latency)
    found = [hour_of(start, count, by_hour.get(start, [])) for start, count in zip(starts, counts, strict=False)]
    return Traffic(found, hour_of(starts[0], sum(counts), [latency for _, latency in drawn]))


def hour_of(start: datetime, predictions: int, latencies_us: list[int]) -> Hour:
    """An hour with these latencies."""
    if not latencies_us:
        return Hour(start, predictions, None, None)
    ordered = sorted(latencies_us)  # NumPy takes ten times as long for so few
    median, slow = (ordered[int(share * len(ordered))] / 1000 for share in (0.5, 0.9))
    return Hour(start, predictions, median, slow)


def bin_shares(model: Model, recent: list[Recent]) -> list[BinShares]:
    """The score, over the predictions that this model has made, and every column, over all of them; none without rows."""
    rows, scores = known_rows(model, recent)
    if not rows:
        return []
    columns, population = model.codec.columns(rows), model.population
    found = [aligned(name, bins, columns[name], number) for name, bins in population["columns"].items()]
    if len(scores):
        text = percent if model.project.task == "classification" else number
        found.insert(0, aligned("score", population["score"], scores, text))
    return found


def aligned(name: str, bins: Bins, values: np.ndarray, text: Callable[[float], str]) -> BinShares:
    """The bins of a column that hold rows on either side; those of missing values and of rare texts are often empty."""
    trained, latest = np.array(bins["shares"]), shares(values, bins)
    filled = np.flatnonzero((trained > 0) | (latest > 0))
    names = [*bins["categories"], "others"] if "categories" in bins else spans(bins["edges"], text)
    named = [*names, "unknown"]
    return BinShares(name, [named[place] for place in filled], trained[filled].tolist(), latest[filled].tolist())


def spans(edges: list[float], text: Callable[[float], str]) -> list[str]:
    """What the bins between these upper bounds are called."""
    if not edges:
        return ["all"]
    whole = all(edge.is_integer() for edge in edges)
    between = [text(high) if whole and high - low == 1 else f"{text(low)} to {text(high)}" for low, high in pairwise(edges)]
    return [f"up to {text(edges[0])}", *between, f"over {text(edges[-1])}"]

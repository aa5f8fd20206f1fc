"""What the prediction log holds: its records, and its tables (one schema for SQLite and PostgreSQL)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec import Struct
from sqlalchemy import BigInteger, Column, Dialect, Double, ForeignKey, Index, MetaData, String, Table, Text, TypeDecorator

Outcome = bool | int | float | str


class Entry(Struct, frozen=True, gc=False):
    """One served prediction. `time` knows its zone, `input` and `output` are JSON."""

    id: str
    time: datetime
    project: str
    model_hash: str
    revision: str
    version: str
    input: str
    output: str
    score: float
    label: str | None = None
    latency_us: int = 0
    request_id: str | None = None


class Feedback(Struct, frozen=True):
    """What turned out to be true for one prediction, and when it was said."""

    id: str
    prediction_id: str
    outcome: Outcome
    time: datetime


class Recent(Struct, frozen=True):
    """What a drift check needs of one prediction."""

    model_hash: str
    input: str
    score: float
    time: datetime


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970, UTC; ValueError for a time without a zone."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone: the log stores UTC; use datetime.now(UTC)")
    return round(moment.timestamp() * 1_000_000)  # exact: a double holds a microsecond until the year 2255


class UtcTime(TypeDecorator[datetime]):
    """A moment as microseconds since 1970: the same exact number in both databases, and a quarter of the text's size."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else microseconds(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else _EPOCH + timedelta(microseconds=value)


metadata = MetaData()

# Compared byte by byte in PostgreSQL too, so that the order of the ids is the order of time in either database.
_ID = String(36).with_variant(String(36, collation="C"), "postgresql")

predictions = Table(
    "predictions",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("time", UtcTime, nullable=False),
    Column("project", Text, nullable=False),
    Column("model_hash", Text, nullable=False),
    Column("revision", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("input", Text, nullable=False),
    Column("output", Text, nullable=False),
    Column("score", Double, nullable=False),
    Column("label", Text),
    Column("latency_us", BigInteger, nullable=False),
    Column("request_id", Text),
)
Index("predictions_of_project", predictions.c.project, predictions.c.id)  # pages and the most recent rows
Index("predictions_by_time", predictions.c.time)  # retention and counts

feedback = Table(
    "feedback",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("prediction_id", _ID, ForeignKey(predictions.c.id, ondelete="CASCADE"), nullable=False),
    Column("outcome", Text, nullable=False),  # JSON: a class, a number or a label
    Column("time", UtcTime, nullable=False),
)
Index("feedback_of_prediction", feedback.c.prediction_id, feedback.c.id)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("request", String(64), nullable=False),
    Column("time", UtcTime, nullable=False),
    Column("busy_until", UtcTime, nullable=False),
)
Index("idempotency_keys_by_time", idempotency_keys.c.time)

if tuple(predictions.columns.keys()) != Entry.__struct_fields__:
    raise TypeError("Entry and the table predictions must have the same columns in the same order: rows go by position")


# No id is of a time after this one. The ids of a clock that was set back are ahead of it: see `PredictionLog`.
LAST = datetime(9999, 12, 31, tzinfo=UTC)


def first_id(moment: datetime) -> str:
    """What the ids of a moment, to the millisecond, begin with: it sorts before them and after all that are older."""
    text = f"{microseconds(moment) // 1000:012x}"
    return f"{text[:8]}-{text[8:]}"

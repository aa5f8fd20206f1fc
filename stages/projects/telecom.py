"""Mobile customers and the plan that suits them, Ultra or Standard: the row schema, features and simulator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from stages.projects._base import Columns, Project

if TYPE_CHECKING:
    from numpy.random import Generator


class Row(BaseModel):
    """What one customer used in one month. All four counters come from billing, so none is missing."""

    model_config = ConfigDict(extra="forbid")

    calls: Annotated[int, Field(title="Calls", ge=0, le=10_000, examples=[63])]
    minutes: Annotated[
        float, Field(title="Call minutes", ge=0, le=44_640, examples=[438.2], json_schema_extra={"unit": "min"})
    ]
    messages: Annotated[int, Field(title="Text messages", ge=0, le=100_000, examples=[38])]
    mb_used: Annotated[
        float, Field(title="Data used", ge=0, le=10_000_000, examples=[17_250.5], json_schema_extra={"unit": "MB"})
    ]


class Record(Row):
    """A month with the plan the customer was on."""

    is_ultra: Annotated[Literal[0, 1], Field(title="Is on the Ultra plan")]


def features(row: Columns) -> Columns:
    """The raw columns and two ratios, how much data and how many calls go with a message. They raised the
    cross-validated ROC-AUC of a forest and boosting on the public data by 0.003; ratios to minutes, distances from an
    ordinary month and the overage a price list would bill gave nothing.
    """
    return {
        **row,
        "mb_per_message": row["mb_used"] / (row["messages"] + 1),
        "messages_per_call": row["messages"] / (row["calls"] + 1),
    }


def ultra_probability(row: Columns, *, concept: bool = False) -> np.ndarray:
    """The simulator's truth: a logistic score of what exceeds the usual month, with the public data's two oddities,
    that very light months and months without a message are Ultra more often than ordinary ones. After the `concept`
    shift the Standard plan allows a third more, so that the same heavy month no longer calls for Ultra.
    """
    allowance = 4 / 3 if concept else 1.0
    minutes, messages, gigabytes = row["minutes"], row["messages"], row["mb_used"] / 1000
    score = -2.2 + 0.75 * _above(minutes, 600 * allowance) / 100
    score = score + 0.5 * _above(messages, 75 * allowance) / 10 + 0.29 * _above(gigabytes, 22 * allowance)
    score = score + 0.65 * _above(200, minutes) / 100 + 0.15 * _above(10, gigabytes) + 0.7 * (messages == 0)
    score = score + 0.4 * np.clip(messages - 10, 0, 30) / 30
    score = score + 0.14 * _above(minutes, 450 * allowance) / 100 * np.clip(14 - gigabytes, 0, 8)
    return 1 / (1 + np.exp(-score))


def _above(value: np.ndarray | float, threshold: np.ndarray | float) -> np.ndarray:
    return np.maximum(value - threshold, 0)


def simulate(rng: Generator, rows: int, shift: str | None = None) -> Columns:
    """Months drawn to follow the published summary of the "users_behavior" data: 63 +- 33 calls of about 7 minutes
    each, 38 +- 36 messages with none at all in 16 %, 17 +- 7.6 GB, hardly any correlation but between calls and
    minutes; 31 % are Ultra, by `ultra_probability`. Three customers in ten use each service more erratically than the
    others.
    """
    erratic = rng.random(rows) < 0.3
    busy, talk, surf = rng.normal(size=(3, rows))
    talk, surf = 0.55 * busy + 0.835 * talk, 0.55 * busy + 0.835 * surf
    calls = np.round(np.clip(np.where(erratic, 71 + 47 * talk, 59 + 26 * talk), 0, 244))
    minutes = np.clip(calls * 6.95 + 5.2 * np.sqrt(calls) * rng.normal(size=rows), 0, 1_633)
    texts = np.where(erratic, rng.gamma(1.35, 42, rows), rng.gamma(1.75, 20, rows)) * np.exp(0.25 * busy)
    silent = rng.random(rows) < np.where(erratic, 0.26, 0.11)
    data = np.where(erratic, 19_400 + 10_900 * surf, 16_300 + 5_600 * surf)
    if shift == "covariate":
        data = data + 6_000
    row: Columns = {
        "calls": calls,
        "minutes": np.round(minutes, 2),
        "messages": np.where(silent, 0.0, np.round(np.clip(texts, 1, 224))),
        "mb_used": np.round(np.clip(data, 0, 49_746), 2),
    }
    row["is_ultra"] = (rng.random(rows) < ultra_probability(row, concept=shift == "concept")).astype(int)
    if shift == "inflation":
        row["calls"], row["messages"] = np.round(row["calls"] * 1.1), np.round(row["messages"] * 1.1)
        row["minutes"], row["mb_used"] = np.round(row["minutes"] * 1.1, 2), np.round(row["mb_used"] * 1.1, 2)
    if shift == "broken_sensor":
        row["mb_used"] = np.zeros(rows)
    return row


project = Project(
    name="telecom",
    title="Phone plan",
    question="Which plan suits this customer's use, Ultra or Standard?",
    task="classification",
    row=Row,
    record=Record,
    target="is_ultra",
    unit="",
    primary_metric="roc_auc",
    public_data='TripleTen/Practicum "users_behavior"',
    intended_use=(
        "Recommending a plan to customers on an old tariff, from one month of their use: the plan that customers with "
        "similar use have chosen."
    ),
    limits=(
        (
            "It learns which plan people chose, not which is cheapest for them: where prices and allowances are known, "
            "compare the two bills first."
        ),
        (
            "One row is one month of one customer, without dates or customer numbers: seasons, habits that change, and "
            "several months of the same customer cannot be told apart, so the scores may flatter."
        ),
        (
            "A third of Ultra customers exceed nine in ten Standard customers in none of minutes, messages and data: "
            "these four counters can hardly find them."
        ),
    ),
    numeric=("calls", "minutes", "messages", "mb_used", "mb_per_message", "messages_per_call"),
    features=features,
    simulate=simulate,
    simulated_rows=3_214,
    derived_from={
        "mb_per_message": "mb_used",
        "messages_per_call": "messages",
    },
    shifts=("covariate", "concept", "inflation", "broken_sensor"),
    segments=("calls", "messages", "mb_used"),
    labels={0: "Standard", 1: "Ultra"},
)

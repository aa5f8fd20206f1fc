"""A made-up classifier for the tests: parcels and whether they come late. It has a column of every kind."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from stages.projects._base import MISSING, Columns, Project

if TYPE_CHECKING:
    from numpy.random import Generator

Carrier = Literal["Ant", "Bee", "Cat"]
Flag = Literal[0, 1]


class Row(BaseModel):
    """A parcel on the day it is posted."""

    model_config = ConfigDict(extra="forbid")

    sender: Annotated[str, Field(title="Sender", min_length=4, max_length=4, examples=["0007"])]
    carrier: Annotated[Carrier, Field(title="Carrier", examples=["Ant"])]
    region: Annotated[Literal["north", "south"] | None, Field(title="Region", examples=["north"])] = None
    distance: Annotated[int, Field(title="Distance", ge=20, le=2_000, examples=[142], json_schema_extra={"unit": "km"})]
    weight: Annotated[float | None, Field(title="Weight", gt=0, le=50, examples=[2.5], json_schema_extra={"unit": "kg"})] = (
        None
    )
    value: Annotated[float, Field(title="Declared value", ge=0, le=1e6, examples=[83.86], json_schema_extra={"unit": "EUR"})]
    express: Annotated[Flag, Field(title="Is sent by express", examples=[1])]
    insured: Annotated[Flag, Field(title="Is insured", examples=[1])]
    posted: Annotated[date, Field(title="Posted", examples=["2024-03-01"])]


class Record(Row):
    """A parcel that has come."""

    late: Annotated[Flag, Field(title="Came late")]


def features(row: Columns) -> Columns:
    """The region with a name for missing values, the value per kilogram, and the day of the week."""
    region = np.array([MISSING if value is None else value for value in row["region"]], dtype=object)
    weekday = (row["posted"] - np.datetime64("2024-01-01", "D")) / np.timedelta64(1, "D") % 7
    raw = {name: row[name] for name in ("sender", "carrier", "distance", "weight", "value", "express", "insured")}
    return {**raw, "region": region, "value_per_kg": row["value"] / np.maximum(row["weight"], 0.01), "weekday": weekday}


def late_probability(row: Columns, *, concept: bool = False) -> np.ndarray:
    """The simulator's truth: heavy parcels, distant ones and those posted on a Friday come late. After the `concept` shift
    express no longer helps and the carriers have changed places.
    """
    weight = np.nan_to_num(row["weight"], nan=8.0)
    friday = (row["posted"] - np.datetime64("2024-01-01", "D")) / np.timedelta64(1, "D") % 7 == 4
    slow = row["carrier"] == ("Ant" if concept else "Bee")
    express = np.zeros_like(row["express"]) if concept else row["express"]
    score = weight / 4 + 2 * friday + (row["distance"] - 200) / 80 + 1.2 * slow - 1.6 * express - 2.7 - 1.1 * concept
    return 1 / (1 + np.exp(-score))


def simulate(rng: Generator, rows: int, shift: str | None = None) -> Columns:
    """Parcels of 59 senders, late by `late_probability`; some weights and regions are missing."""
    weight = np.round(rng.gamma(2, 4, rows) + 0.1, 1).clip(0.1, 50)
    carrier = rng.choice(np.array(["Ant", "Bee", "Cat"], dtype=object), rows, p=[0.5, 0.25, 0.25])
    row: Columns = {
        "parcel": np.arange(1, rows + 1),
        "sender": rng.integers(1, 60, rows).astype(float),
        "carrier": carrier,
        "region": rng.choice(np.array(["north", "south"], dtype=object), rows),
        "distance": np.round(np.clip(20 + rng.gamma(4.4, 40, rows) + (65 if shift == "covariate" else 0), 20, 900)),
        "weight": weight,
        "value": np.round(np.where(carrier == "Cat", 260.0, 90.0) + weight * rng.normal(4, 1, rows) ** 2, 2),
        "express": (rng.random(rows) < 0.5).astype(int),
        "insured": (rng.random(rows) < 0.7).astype(int),
        "posted": np.datetime64("2024-01-01", "D") + rng.integers(0, 365, rows),
    }
    row["late"] = (rng.random(rows) < late_probability(row, concept=shift == "concept")).astype(int)
    row["weight"] = np.where(rng.random(rows) < 0.09, np.nan, weight)
    row["region"][rng.random(rows) < 0.1] = None
    if shift == "new_category":
        row["carrier"][rng.random(rows) < 0.05] = "Dog"
    if shift == "inflation":
        row["value"] = np.round(row["value"] * 1.1, 2)
    if shift == "broken_sensor":
        row["value"] = np.full(rows, 1.0)
    return row


project = Project(
    name="toy",
    title="Late parcels",
    question="Will this parcel come late?",
    task="classification",
    row=Row,
    record=Record,
    target="late",
    unit="",
    primary_metric="roc_auc",
    public_data="none",
    intended_use="Testing what every project gets.",
    limits=("It is made up.",),
    numeric=("distance", "weight", "value", "express", "insured", "value_per_kg", "weekday"),
    one_hot=("carrier", "region"),
    target_encoded=("sender",),
    features=features,
    simulate=simulate,
    simulated_rows=400,
    segments=("carrier", "region", "weight"),
    sensitive=("region", "carrier"),
    time_column="posted",
    derived_from={"value_per_kg": "value", "weekday": "posted"},
    shifts=("covariate", "concept", "new_category", "inflation", "broken_sensor"),
    labels={0: "in time", 1: "late"},
    is_risk=True,
)

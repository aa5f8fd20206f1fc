"""A made-up project that tests add to a clone: parcels and whether they come late."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from stages.projects._base import MISSING, Columns, Project

if TYPE_CHECKING:
    import pandas as pd
    from numpy.random import Generator


class Row(BaseModel):
    """A parcel on the day it is posted."""

    model_config = ConfigDict(extra="forbid")

    sender: Annotated[str, Field(title="Sender", min_length=4, max_length=4, examples=["0007"])]
    region: Annotated[Literal["north", "south"] | None, Field(title="Region", examples=["north"])] = None
    weight: Annotated[float | None, Field(title="Weight", gt=0, le=50, examples=[2.5], json_schema_extra={"unit": "kg"})] = (
        None
    )
    posted: Annotated[date, Field(title="Posted", examples=["2024-03-01"])]


class Record(Row):
    """A parcel that has come."""

    late: Annotated[Literal[0, 1], Field(title="Came late")]


def features(row: Columns) -> Columns:
    """The region with a name for gaps, and the day of the week."""
    region = np.array([MISSING if value is None else value for value in row["region"]], dtype=object)
    weekday = (row["posted"] - np.datetime64("2024-01-01", "D")) / np.timedelta64(1, "D") % 7
    return {"sender": row["sender"], "region": region, "weight": row["weight"], "weekday": weekday}


def simulate(rng: Generator, rows: int, shift: str | None = None) -> Columns:
    """Heavy parcels and those posted on a Friday come late."""
    weight = np.round(rng.gamma(2, 4, rows) + 0.1, 1).clip(0.1, 50)
    posted = np.datetime64("2024-01-01", "D") + rng.integers(0, 365, rows)
    friday = (posted - np.datetime64("2024-01-01", "D")) / np.timedelta64(1, "D") % 7 == 4
    late = rng.random(rows) < 1 / (1 + np.exp(3 - weight / 4 - 2 * friday))
    row: Columns = {
        "sender": rng.integers(1, 900, rows).astype(float),
        "region": rng.choice(np.array(["north", "south"], dtype=object), rows),
        "weight": np.where(rng.random(rows) < 0.05, np.nan, weight),
        "posted": posted,
        "late": late.astype(int),
    }
    row["region"][rng.random(rows) < 0.1] = None
    return row


def groups(frame: pd.DataFrame) -> pd.Series:
    """One key per sender."""
    return frame["sender"]


project = Project(
    name="sixth",
    title="Late parcels",
    question="Will this parcel come late?",
    task="classification",
    row=Row,
    record=Record,
    target="late",
    unit="",
    primary_metric="roc_auc",
    public_data="none",
    intended_use="Testing that a project can be added.",
    limits=("It is made up.",),
    numeric=("weight", "weekday"),
    one_hot=("region",),
    target_encoded=("sender",),
    features=features,
    groups=groups,
    simulate=simulate,
    simulated_rows=400,
    segments=("region", "weight"),
    sensitive=("region",),
    time_column="posted",
    labels={0: "in time", 1: "late"},
)

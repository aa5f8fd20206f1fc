"""A made-up regressor for the tests that has as little as a project may have: numbers, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from stages.projects._base import Columns, Project

if TYPE_CHECKING:
    from numpy.random import Generator


class Row(BaseModel):
    """A village."""

    model_config = ConfigDict(extra="forbid")

    crime: Annotated[
        float | None,
        Field(title="Crimes per person", ge=0, le=1_000, examples=[0.257], json_schema_extra={"unit": "per year"}),
    ] = None
    noise: Annotated[float, Field(title="Noise", gt=0, le=10, examples=[0.538], json_schema_extra={"unit": "bel"})]
    rooms: Annotated[float, Field(title="Rooms per dwelling", ge=1, le=20, examples=[6.21])]
    roads: Annotated[int, Field(title="Roads", ge=1, le=24, examples=[5])]
    tax: Annotated[int, Field(title="Tax", ge=0, le=10_000, examples=[296], json_schema_extra={"unit": "USD"})]


class Record(Row):
    """A village and the value of its homes."""

    worth: Annotated[float, Field(title="Median value", gt=0, le=50, json_schema_extra={"unit": "1,000 USD"})]


def features(row: Columns) -> Columns:
    """The raw columns, and the tax on a log scale."""
    raw = {name: row[name] for name in ("crime", "noise", "rooms", "roads")}
    return {**raw, "log_tax": np.log(row["tax"] + 1.0)}


def expected_worth(row: Columns, *, concept: bool = False) -> np.ndarray:
    """The simulator's truth. After the `concept` shift rooms count for half."""
    rooms = row["rooms"] - 6
    worth: np.ndarray = np.exp(
        3 + (0.15 if concept else 0.3) * rooms - 0.5 * (row["noise"] - 0.5) - 0.01 * row["roads"] - row["tax"] / 3_000
    )
    return worth


def simulate(rng: Generator, rows: int, shift: str | None = None) -> Columns:
    """Villages by `expected_worth` with noise; the crime is missing here and there."""
    row: Columns = {
        "crime": np.round(rng.gamma(1, 2, rows), 3),
        "noise": np.round(rng.uniform(0.4, 0.9, rows) + (0.2 if shift == "covariate" else 0), 3),
        "rooms": np.round(np.clip(rng.normal(6.2, 0.7, rows), 3, 9), 2),
        "roads": rng.integers(1, 25, rows).astype(float),
        "tax": rng.integers(180, 720, rows).astype(float),
    }
    worth = expected_worth(row, concept=shift == "concept") * np.exp(rng.normal(0, 0.1, rows))
    row["worth"] = np.round(np.clip(worth * (1.1 if shift == "inflation" else 1.0), 5, 50), 1)
    if shift == "broken_sensor":
        row["noise"] = np.full(rows, 0.385)
    row["crime"][rng.random(rows) < 0.04] = np.nan
    return row


project = Project(
    name="toy_plain",
    title="Village homes",
    question="What is the median home in this village worth?",
    task="regression",
    row=Row,
    record=Record,
    target="worth",
    unit="1,000 USD",
    primary_metric="rmse",
    public_data="none",
    intended_use="Testing what every project gets.",
    limits=("It is made up.",),
    numeric=("crime", "noise", "rooms", "roads", "log_tax"),
    features=features,
    simulate=simulate,
    simulated_rows=300,
    derived_from={"log_tax": "tax"},
    shifts=("covariate", "concept", "inflation", "broken_sensor"),
    segments=("rooms", "noise"),
    log_target=True,
)

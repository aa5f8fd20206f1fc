"""A made-up regressor for the tests: houseboats and their asking price, with objects that repeat, a date and a market."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from stages.projects._base import MISSING, Columns, Project, placeholder_prices

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd
    from numpy.random import Generator

Condition = Literal["fair", "good", "new"]
Fuel = Literal["gas", "diesel", "electric"]


class Row(BaseModel):
    """An advert as a seller fills it in. `posted` is the day of the valuation."""

    model_config = ConfigDict(extra="forbid")

    builder: Annotated[
        str,
        Field(
            title="Builder and model",
            min_length=1,
            max_length=80,
            examples=["lund river"],
            json_schema_extra={"case": "lower"},
        ),
    ]
    built: Annotated[int | None, Field(title="Year built", ge=1900, le=2030, examples=[2013])] = None
    size: Annotated[
        float | None,
        Field(title="Living area", gt=0, le=5_000_000, examples=[650], json_schema_extra={"unit": "square feet"}),
    ] = None
    hours: Annotated[
        float | None, Field(title="Engine hours", ge=0, le=2_000_000, examples=[980], json_schema_extra={"unit": "hours"})
    ] = None
    condition: Annotated[Condition, Field(title="Condition", examples=["good"])]
    fuel: Annotated[Fuel, Field(title="Fuel", examples=["gas"])]
    cabins: Annotated[int | None, Field(title="Cabins", ge=0, le=16, examples=[2])] = None
    moored: Annotated[Literal[0, 1] | None, Field(title="Has a mooring", examples=[1])] = None
    berth: Annotated[
        str | None, Field(title="Berth", min_length=5, max_length=5, pattern="^[0-9]{5}$", examples=["00417"])
    ] = None
    surveyed: Annotated[date | None, Field(title="Last survey", examples=["2016-05-09"])] = None
    posted: Annotated[date | None, Field(title="Day of the advert", examples=["2019-03-14"])] = None


class Record(Row):
    """An advert with its price, and with what only a finished sale tells."""

    price: Annotated[float, Field(title="Asking price", gt=0, le=5_000_000, json_schema_extra={"unit": "USD"})]
    days_listed: Annotated[int | None, Field(title="Days listed", ge=0, le=3_650, json_schema_extra={"unit": "days"})] = None
    broker: Annotated[str | None, Field(title="Broker", max_length=80)] = None


CONDITION_RANK = {"fair": 0.0, "good": 1.0, "new": 2.0}
BUILDERS = {"lund river": 11.1, "lund lake": 10.8, "moor classic": 11.5, "moor barge": 10.5, "wharf one": 11.9, "duck": 10.2}


def features(row: Columns) -> Columns:
    """Age at the day of the advert, use per year, and the same boat as in an earlier advert."""
    age = _year(row["posted"]) - row["built"]
    berth = _text(MISSING if value is None else value for value in row["berth"])
    known = zip(row["builder"], row["built"].tolist(), row["hours"].tolist(), strict=True)
    missing = np.isnan(row["built"]) + np.isnan(row["hours"]) + np.isnan(row["cabins"]) * 1.0
    return {
        "age": age,
        "surveyed_year": _year(row["surveyed"]),
        "log_size": np.log(row["size"]),
        "hours": row["hours"],
        "hours_per_year": row["hours"] / np.maximum(age, 0.5),
        "condition_rank": np.array([CONDITION_RANK.get(value, np.nan) for value in row["condition"]]),
        "cabins": row["cabins"],
        "has_mooring": (row["moored"] == 1).astype(float),
        "missing": missing.astype(float),
        "fuel": row["fuel"],
        "builder": row["builder"],
        "brand": _text(value.partition(" ")[0] for value in row["builder"]),
        "berth": berth,
        "same_boat": _text(f"{name}|{built:.0f}|{hours:.0f}" for name, built, hours in known),
    }


def left_out(frame: pd.DataFrame) -> Mapping[str, pd.Series]:
    """What is no price."""
    price = frame["price"]
    return {
        **placeholder_prices(price, 1_000, frame["builder"].astype(str), "boats of the builder"),
        "the price is below 1,000 USD": price < 1_000,
        "the price is above 2,000,000 USD": price > 2_000_000,
    }


def groups(frame: pd.DataFrame) -> pd.Series:
    """One key per boat; where the engine hours are missing, all that the advert says."""
    text = {name: frame[name].astype(str).fillna("") for name in Row.model_fields if name != "posted"}
    key = text["builder"] + "|" + text["built"] + "|" + text["hours"]
    rest = sum((text[name] + "|" for name in text), start=key)
    return key.where(frame["hours"].notna(), rest)


def _year(day: np.ndarray) -> np.ndarray:
    return 1970 + (day - np.datetime64("1970-01-01", "D")) / np.timedelta64(1, "D") / 365.25


def _text(values: Iterable[str]) -> np.ndarray:
    return np.array(list(values), dtype=object)


def expected_price(row: Columns, *, concept: bool = False) -> np.ndarray:
    """The simulator's truth: the median price of such an advert. After the `concept` shift diesels lose value."""
    value = np.array([BUILDERS.get(name, 10.9) for name in row["builder"]])
    age = np.nan_to_num(_year(row["posted"]) - row["built"], nan=10)
    value = value - 0.04 * age + 0.6 * np.log(np.nan_to_num(row["size"], nan=600) / 600)
    value = value - 0.05 * np.nan_to_num(row["hours"], nan=1_500) / 1_000 + 0.25 * (row["moored"] == 1)
    for condition, rank in CONDITION_RANK.items():
        value = value + 0.2 * (rank - 1) * (row["condition"] == condition)
    value = value + (-0.4 if concept else 0.1) * (row["fuel"] == "diesel")
    price: np.ndarray = np.exp(value)
    return price


def simulate(rng: Generator, rows: int, shift: str | None = None) -> Columns:
    """Adverts by `expected_price` with noise, wider for one in eight; one in twelve repeats another, one in fifty is no
    price; hulls have neither an engine nor cabins, and other values are missing here and there.
    """
    posted = np.datetime64("2018-05-01", "D") + rng.integers(0, 354, rows)
    age = np.clip(rng.gamma(2.5, 4, rows) + (5 if shift == "covariate" else 0), 0, 60)
    row: Columns = {
        "price": np.zeros(rows),
        "builder": rng.choice(_text(BUILDERS), rows, p=[0.3, 0.2, 0.2, 0.15, 0.1, 0.05]),
        "built": np.minimum(np.floor(_year(posted) + 0.5 - age), 2019),
        "size": np.round(rng.gamma(9, 70, rows) + 100),
        "hours": np.round((age + 0.5) * rng.gamma(7, 30, rows)),
        "condition": rng.choice(_text(CONDITION_RANK), rows, p=[0.3, 0.6, 0.1]),
        "fuel": rng.choice(_text(("gas", "diesel", "electric")), rows, p=[0.6, 0.35, 0.05]),
        "cabins": rng.integers(1, 5, rows).astype(float),
        "moored": np.where(rng.random(rows) < 0.5, 1.0, np.nan),
        "berth": rng.integers(1, 90, rows).astype(float),
        "broker": rng.integers(1, 9, rows).astype(str).astype(object),
        "surveyed": posted - rng.integers(0, 2_000, rows),
        "posted": posted,
        "days_listed": np.minimum(np.floor(rng.gamma(2, 20, rows)), 271),
    }
    noise = rng.normal(0, 0.15, rows) * np.where(rng.random(rows) < 0.125, 4, 1)
    price = expected_price(row, concept=shift == "concept") * np.exp(noise) * (1.1 if shift == "inflation" else 1.0)
    row["price"] = np.maximum(np.round(price, -2), 1_000)
    hull = rng.random(rows) < 0.12
    for name, lost in (("hours", hull), ("cabins", hull), ("built", 0.07), ("size", 0.1), ("berth", 0.1)):
        row[name][lost if lost is hull else rng.random(rows) < lost] = np.nan
    row["surveyed"][rng.random(rows) < 0.2] = np.datetime64("NaT")
    if shift == "new_category":
        row["builder"][rng.random(rows) < 0.05] = "swan two"
    if shift == "broken_sensor":
        row["hours"] = np.zeros(rows)
    again = np.flatnonzero(rng.random(rows) < 0.08)
    again = again[again > 0]
    origin = rng.integers(0, again)
    for name in set(row) - {"posted", "days_listed"}:
        row[name][again] = row[name][origin]
    row["price"][rng.random(rows) < 0.02] = 1.0
    return row


project = Project(
    name="toy_price",
    title="Houseboats",
    question="What price would this houseboat be advertised at?",
    task="regression",
    row=Row,
    record=Record,
    target="price",
    unit="USD",
    primary_metric="mae",
    public_data="none",
    intended_use="Testing what every project gets that estimates prices.",
    limits=("It is made up.", "Nobody should buy a boat by it."),
    numeric=(
        "age",
        "surveyed_year",
        "log_size",
        "hours",
        "hours_per_year",
        "condition_rank",
        "cabins",
        "has_mooring",
        "missing",
    ),
    one_hot=("fuel",),
    target_encoded=("builder", "brand", "berth", "same_boat"),
    features=features,
    left_out=left_out,
    groups=groups,
    simulate=simulate,
    simulated_rows=600,
    derived_from={
        "age": "built",
        "surveyed_year": "surveyed",
        "log_size": "size",
        "hours_per_year": "hours",
        "condition_rank": "condition",
        "has_mooring": "moored",
        "brand": "builder",
        "same_boat": "hours",
    },
    market={
        "brand": "Brand",
        "condition": "Condition",
        "fuel": "Fuel",
        "age": "Age in years",
        "size": "Living area",
        "built": "Year built",
    },
    shifts=("covariate", "concept", "new_category", "inflation", "broken_sensor"),
    segments=("brand", "condition", "fuel", "age"),
    time_column="posted",
    log_target=True,
)

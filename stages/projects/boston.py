"""Census tracts of Boston in 1970 and the value of their homes: the row schema, features and simulator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from stages.projects._base import Columns, Project

if TYPE_CHECKING:
    from numpy.random import Generator

PERCENT = {"unit": "%"}
# Below these values the logarithm stays where it is, so that no permitted row gives an infinite feature.
LEAST = {"CRIM": 1e-3, "DIS": 0.1, "RAD": 1.0, "TAX": 1.0, "LSTAT": 0.1}


class Row(BaseModel):
    """A census tract, in eleven of the thirteen columns of Harrison and Rubinfeld (1978). `B` encodes race and is left
    out on principle, at a cost of 2 % in cross-validated error; `CHAS`, the river, is left out because too few tracts
    border it: without it the error of the Gaussian process and of boosting was the same or smaller. Ingest drops both.
    """

    model_config = ConfigDict(extra="forbid")

    CRIM: Annotated[
        float | None,
        Field(title="Crimes per person", ge=0, le=1_000, examples=[0.257], json_schema_extra={"unit": "per year"}),
    ] = None
    ZN: Annotated[
        float | None, Field(title="Land zoned for large lots", ge=0, le=100, examples=[0], json_schema_extra=PERCENT)
    ] = None
    INDUS: Annotated[
        float | None, Field(title="Land used by industry", ge=0, le=100, examples=[9.69], json_schema_extra=PERCENT)
    ] = None
    NOX: Annotated[
        float,
        Field(title="Nitric oxides", gt=0, le=10, examples=[0.538], json_schema_extra={"unit": "parts per 10 million"}),
    ]
    RM: Annotated[float, Field(title="Rooms per dwelling", ge=1, le=20, examples=[6.21])]
    AGE: Annotated[
        float | None, Field(title="Homes built before 1940", ge=0, le=100, examples=[77.5], json_schema_extra=PERCENT)
    ] = None
    DIS: Annotated[
        float, Field(title="Distance to jobs", gt=0, le=100, examples=[3.21], json_schema_extra={"unit": "miles"})
    ]
    RAD: Annotated[int, Field(title="Access to radial highways", ge=1, le=24, examples=[5])]
    TAX: Annotated[
        int,
        Field(title="Property tax", ge=0, le=10_000, examples=[330], json_schema_extra={"unit": "USD per 10,000 USD"}),
    ]
    PTRATIO: Annotated[float, Field(title="Pupils per teacher", gt=0, le=100, examples=[19.1])]
    LSTAT: Annotated[
        float | None,
        Field(title="Residents of low status", gt=0, le=100, examples=[11.4], json_schema_extra=PERCENT),
    ] = None


class Record(Row):
    """A tract with the value of its homes, capped at 50 in the public data."""

    MEDV: Annotated[float, Field(title="Median home value", gt=0, le=1_000, json_schema_extra={"unit": "1,000 USD"})]


def features(row: Columns) -> Columns:
    """The raw columns, with logarithms in place of the five that act by ratio: a tree does not mind, and a Gaussian
    process, which has one length scale per column, needs it.
    """
    logs = {"log_" + name.lower(): np.log(np.maximum(row[name], LEAST[name])) for name in LEAST}
    return {**{name: values for name, values in row.items() if name not in LEAST}, **logs}


def median_value(row: Columns, *, concept: bool = False) -> np.ndarray:
    """The simulator's truth in 1,000 USD before noise and cap: a log-linear hedonic price, in which rooms count only
    above the usual six and for more where few residents are of low status. After the `concept` shift clean air and
    nearness to jobs no longer raise a price, and rooms raise it by less.
    """
    lstat, dis, rooms = np.log(row["LSTAT"]), np.log(row["DIS"]), row["RM"] - 6.2
    score = 5.16 - 0.34 * lstat + 0.35 * np.maximum(rooms, 0) - (0.31 - 0.086 * lstat) * rooms
    score = score - 0.33 * np.maximum(np.log(row["CRIM"]) - 1.5, 0) - 0.03 * row["PTRATIO"] + 0.12 * row["CHAS"]
    score = score - 0.14 * dis - 1.15 * row["NOX"]
    if concept:
        score = score - 0.85 + 0.14 * dis + 1.15 * row["NOX"] - 0.2 * np.maximum(rooms, 0)
    return np.exp(score)


def simulate(rng: Generator, rows: int, shift: str | None = None) -> Columns:
    """Tracts drawn to follow the published summary of the Boston data: a quarter lie in the city (one tax rate, pupil
    ratio, zoning and highway index for all of them; more crime, nearer to jobs), the others in suburbs whose distance
    to jobs carries their air, industry, age and zoning, and whose wealth carries rooms and low status. Six columns miss
    4 % each; values follow `median_value` with 16 % noise, capped at 50.
    """
    city = rng.random(rows) < (0.5 if shift == "covariate" else 0.264)
    far, wealth = rng.normal(size=(2, rows))
    other = rng.normal(size=(8, rows))
    dis = np.exp(np.where(city, 0.68 + 0.28 * far, 1.39 + 0.49 * far))
    zoned = ~city & (far + 0.6 * other[0] > 0.26)
    lstat = np.exp(np.where(city, 2.83 - 0.36 * wealth, 2.2 - 0.17 * far - 0.45 * wealth) + 0.22 * other[1])
    crim = np.exp(np.where(city, 2.32 + 0.74 * other[2], -1.91 - 0.7 * far - 0.25 * wealth + 1.05 * other[2]))
    nox = np.where(city, 0.67 - 0.045 * far, 0.51 - 0.08 * far) + 0.04 * other[3]
    row: Columns = {
        "CRIM": np.round(np.clip(crim, 0.006, 89), 5),
        "ZN": np.where(zoned, np.clip(12.5 + 2.5 * np.round(rng.gamma(1.1, 10, rows)), 12.5, 100), 0.0),
        "INDUS": np.where(city, 18.1, np.round(np.clip(8.5 - 3.8 * far + 4.8 * other[4], 0.74, 27.7), 2)),
        "CHAS": (rng.random(rows) < 0.069).astype(float),
        "NOX": np.round(np.clip(nox, 0.385, 0.871), 3),
        "RM": np.round(np.clip(np.where(city, 6.03, 6.4) + 0.45 * wealth + 0.52 * other[5], 3.56, 8.78), 3),
        "AGE": np.round(np.clip(np.where(city, 90 - 8 * far, 60 - 20 * far) + 14 * other[6], 2.9, 100), 1),
        "DIS": np.round(np.clip(dis, 1.13, 12.13), 4),
        "RAD": np.where(city, 24, rng.choice(8, rows, p=[0.06, 0.07, 0.1, 0.29, 0.3, 0.07, 0.05, 0.06]) + 1),
        "TAX": np.where(city, 666, np.round(np.clip(317 - 30 * far + 75 * other[7], 187, 711))).astype(int),
        "PTRATIO": np.where(city, 20.2, np.round(np.clip(rng.normal(17.8, 2, rows) - 0.6 * wealth, 12.6, 22), 1)),
        "B": np.round(np.clip(396.9 - rng.exponential(np.where(city, 117, 17)), 0.32, 396.9), 2),
        "LSTAT": np.round(np.clip(lstat, 1.73, 38), 2),
    }
    noise = np.exp(rng.normal(0, 0.16, rows))
    value = median_value(row, concept=shift == "concept") * noise * (1.1 if shift == "inflation" else 1.0)
    row["MEDV"] = np.round(np.clip(value, 5, 50), 1)
    if shift == "broken_sensor":
        row["NOX"] = np.full(rows, 0.385)
    for name in ("CRIM", "ZN", "INDUS", "CHAS", "AGE", "LSTAT"):
        row[name][rng.random(rows) < 0.04] = np.nan
    return row


project = Project(
    name="boston",
    title="Boston housing",
    question="What is the median home in this census tract worth?",
    task="regression",
    row=Row,
    record=Record,
    target="MEDV",
    unit="1,000 USD",
    primary_metric="rmse",
    public_data='Kaggle "Boston Housing" (HousingData.csv)',
    intended_use=(
        "Comparing model families on a small and well-known data set, and showing how the rest of the repository "
        "treats one. It is a teaching and testing project: nothing about today's homes should be concluded from it."
    ),
    limits=(
        (
            "The public data's column B was computed from the share of Black residents, on the assumption that "
            "segregation raises prices. It is no input; but others, LSTAT above all, differ with race in these tracts, "
            "and so do the predictions."
        ),
        "LSTAT counts labourers and adults who did not finish school as “lower status”, a term of the authors of 1978.",
        (
            "Values are what owners said their homes were worth in the 1970 census, as tract medians and capped at 50: "
            "expensive tracts are underestimated, and single homes cannot be valued."
        ),
        (
            "506 tracts are few: between random splits the error varies by a fifth, and neighbouring tracts share the "
            "tax, school and zoning figures of their town, which flatters a random split."
        ),
    ),
    numeric=(
        "ZN",
        "INDUS",
        "NOX",
        "RM",
        "AGE",
        "PTRATIO",
        "log_crim",
        "log_dis",
        "log_rad",
        "log_tax",
        "log_lstat",
    ),
    features=features,
    simulate=simulate,
    simulated_rows=506,
    derived_from={
        "log_crim": "CRIM",
        "log_dis": "DIS",
        "log_rad": "RAD",
        "log_tax": "TAX",
        "log_lstat": "LSTAT",
    },
    shifts=("covariate", "concept", "inflation", "broken_sensor"),
    segments=("RM", "LSTAT", "PTRATIO"),
    log_target=True,
)

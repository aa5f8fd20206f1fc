"""Used-car adverts and their asking price: the row schema, features and simulator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from stages.projects._base import MISSING, Columns, Project, placeholder_prices

if TYPE_CHECKING:
    import pandas as pd
    from numpy.random import Generator

Condition = Literal["salvage", "fair", "good", "excellent", "like new", "new"]
Fuel = Literal["gas", "diesel", "hybrid", "electric", "other"]
Transmission = Literal["automatic", "manual", "other"]
Body = Literal[
    "SUV", "truck", "sedan", "pickup", "coupe", "wagon", "mini-van", "hatchback", "van", "convertible", "other",
    "offroad", "bus",
]  # fmt: skip
Paint = Literal["white", "black", "silver", "grey", "blue", "red", "green", "brown", "custom", "yellow", "orange", "purple"]


class Row(BaseModel):
    """An advert as a seller fills it in. `date_posted` is the day of the valuation."""

    model_config = ConfigDict(extra="forbid")

    model: Annotated[
        str,
        Field(
            title="Make and model", min_length=1, max_length=80, examples=["ford f-150"], json_schema_extra={"case": "lower"}
        ),
    ]
    model_year: Annotated[int | None, Field(title="Model year", ge=1900, le=2030, examples=[2013])] = None
    odometer: Annotated[
        float | None,
        Field(title="Odometer", ge=0, le=2_000_000, examples=[98_000], json_schema_extra={"unit": "miles"}),
    ] = None
    condition: Annotated[Condition, Field(title="Condition", examples=["excellent"])]
    type: Annotated[Body, Field(title="Body", examples=["truck"])]
    fuel: Annotated[Fuel, Field(title="Fuel", examples=["gas"])]
    transmission: Annotated[Transmission, Field(title="Transmission", examples=["automatic"])]
    cylinders: Annotated[int | None, Field(title="Cylinders", ge=0, le=16, examples=[8])] = None
    paint_color: Annotated[Paint | None, Field(title="Colour", examples=["white"])] = None
    is_4wd: Annotated[Literal[0, 1] | None, Field(title="Four-wheel drive (missing means no)", examples=[1])] = None
    date_posted: Annotated[date | None, Field(title="Day of the advert", examples=["2019-03-14"])] = None


class Record(Row):
    """An advert with its price, and with how long it was online: known only once the car is sold, so no input."""

    price: Annotated[float, Field(title="Asking price", gt=0, le=5_000_000, json_schema_extra={"unit": "USD"})]
    days_listed: Annotated[int | None, Field(title="Days listed", ge=0, le=3_650, json_schema_extra={"unit": "days"})] = None


CONDITION_RANK = {"salvage": 0.0, "fair": 1.0, "good": 2.0, "excellent": 3.0, "like new": 4.0, "new": 5.0}


def features(row: Columns) -> Columns:
    """Age at the day of the advert, use per year, condition as a rank, the brand, and how much the seller left out.

    None of them identifies a car: the price of a single old advert is no evidence of what the car is worth.
    """
    age = _year(row["date_posted"]) - row["model_year"]
    odometer, cylinders, paint = row["odometer"], row["cylinders"], row["paint_color"]
    colour = _text(MISSING if value is None else value for value in paint)
    missing = np.isnan(row["model_year"]) + np.isnan(odometer) + np.isnan(cylinders) * 1.0 + (colour == MISSING)
    return {
        "age": age,
        "odometer": odometer,
        "odometer_per_year": odometer / np.maximum(age, 0.5),
        "condition_rank": np.array([CONDITION_RANK.get(value, np.nan) for value in row["condition"]]),
        "cylinders": cylinders,
        "four_wheel_drive": (row["is_4wd"] == 1).astype(float),
        "missing_values": missing.astype(float),
        "fuel": row["fuel"],
        "transmission": row["transmission"],
        "type": row["type"],
        "paint_color": colour,
        "model": row["model"],
        "brand": _text(value.partition(" ")[0] for value in row["model"]),
    }


def left_out(frame: pd.DataFrame) -> Mapping[str, pd.Series]:
    """What is no price (1 USD, a down payment, a typing error), collectors' cars, whose price rises with age, and odometers
    that no engine reaches. Rows without a year or odometer stay, as adverts without them will be priced too.
    """
    price, year, odometer = frame["price"], frame["model_year"], frame["odometer"]
    peers = frame["model"].astype(str) + "|" + year.astype(str)
    return {
        **placeholder_prices(price, 1_000, peers, "cars of the model and year"),
        "the price is below 1,000 USD": price < 1_000,
        "the price is above 500,000 USD": price > 500_000,
        "the car is from before 1990": year < 1990,
        "the odometer shows 500,000 miles or more": odometer >= 500_000,
    }


def groups(frame: pd.DataFrame) -> pd.Series:
    """One key per car, so that a test is about cars not seen before: model, year and exact odometer, and the other
    attributes where the odometer is missing. 14 % of the public adverts agree with an earlier one in all but price and
    dates, most of them in the price too; more change a colour or condition, hence the short key where it tells enough.
    """
    text = {name: frame[name].astype(str).fillna("") for name in Row.model_fields if name != "date_posted"}
    key = text["model"] + "|" + text["model_year"] + "|" + text["odometer"]
    rest = sum((text[name] + "|" for name in text), start=key)
    return key.where(frame["odometer"].notna(), rest)


# Per model: adverts per thousand, log price of a new one relative to e^10 in hundredths, body and usual cylinders.
CATALOGUE = """
ford = f-150:54:11:t8, explorer:17:-21:s6, escape:16:-46:s4, focus:15:-70:d4, mustang:13:-13:c6, fusion:10:-49:d4,
f150:10:5:t8, f-250 sd:8:23:t8, f-250:8:18:t8, ranger:8:-13:t6, edge:7:-18:s6, f250 super duty:7:12:t8, focus
se:7:-72:d4, expedition:7:-8:s8, f250:7:24:t8, fusion se:6:-52:d4, f150 supercrew cab xlt:6:25:t6, f-350 sd:6:37:t8,
mustang gt coupe 2d:6:20:c8, taurus:6:-57:d6, econoline:6:12:t8, f350:5:29:t8, f-250 super duty:5:21:t8, f350 super
duty:5:23:t8; chevrolet = silverado 1500:42:14:t8, silverado:24:14:t8, silverado 2500hd:18:30:t8, tahoe:14:17:s8,
impala:13:-60:d6, malibu:12:-53:d4, equinox:12:-39:s4, suburban:11:21:s8, corvette:10:87:c8, cruze:9:-62:d4,
camaro:8:0:c6, traverse:6:-23:s6, camaro lt coupe 2d:6:-2:c6, silverado 1500 crew:6:27:t8, colorado:6:-9:t6,
trailblazer:5:-45:s6, silverado 3500hd:5:27:t8; ram = 1500:34:4:t8, 2500:21:33:t6, 3500:9:43:t6; jeep =
wrangler:22:39:s6, grand cherokee:16:-17:s6, wrangler unlimited:9:37:s6, liberty:7:-42:s6, cherokee:5:-21:s6, grand
cherokee laredo:5:-20:s6; toyota = camry:20:-27:d4, tacoma:16:31:t6, corolla:13:-41:d4, tundra:12:36:t8,
prius:10:-26:h4, rav4:9:-15:s4, 4runner:9:32:s6, sienna:7:-9:m6, camry le:6:-31:d4, highlander:6:4:s6; honda =
accord:19:-30:d4, civic:16:-41:d4, cr-v:13:-17:s4, odyssey:9:-20:m6, pilot:6:-10:s6, civic lx:5:-44:d4; gmc = sierra
1500:17:23:t8, sierra 2500hd:8:39:t8, sierra:8:17:t8, yukon:6:23:s8, acadia:6:-15:s6; nissan = altima:16:-52:d4,
sentra:10:-71:d4, rogue:9:-44:s4, frontier crew cab sv:7:-24:t6, maxima:6:-34:d6, versa:6:-88:d4, frontier:5:-12:t6,
murano:4:-33:s6; dodge = grand caravan:11:-42:m6, charger:8:-28:d6, dakota:5:-21:t8; subaru = outback:11:-28:w4,
forester:9:-37:s4, impreza:5:-54:d4; volkswagen = jetta:10:-64:d4, passat:7:-59:d4; hyundai = sonata:9:-51:d4,
elantra:8:-63:d4, santa fe:5:-33:s6; kia = soul:7:-61:w4, sorento:5:-39:s4; cadillac = escalade:6:35:s8; chrysler =
300:6:-24:d6, town & country:5:-36:m6, 200:5:-58:d4; bmw = x5:5:-12:s6; buick = enclave:5:-13:s6; acura = tl:4:-16:d6;
mercedes-benz = benze sprinter 2500:1:26:v6;
"""
BODIES = {  # letter of the catalogue -> bodies sellers choose for it, their shares, share with four-wheel drive
    "t": (("truck", "pickup"), (0.65, 0.35), 0.75),
    "s": (("SUV", "wagon", "offroad", "other"), (0.925, 0.05, 0.015, 0.01), 0.71),
    "d": (("sedan", "coupe"), (0.96, 0.04), 0.05),
    "c": (("coupe", "convertible"), (0.78, 0.22), 0.04),
    "w": (("wagon", "SUV", "hatchback"), (0.6, 0.3, 0.1), 0.85),
    "m": (("mini-van", "van"), (0.71, 0.29), 0.04),
    "h": (("hatchback", "sedan"), (0.75, 0.25), 0.01),
    "v": (("van", "bus"), (0.9, 0.1), 0.0),
}


def _catalogue() -> tuple[np.ndarray, ...]:
    entries = []
    for line in " ".join(CATALOGUE.split()).strip(";").split("; "):
        brand, _, models = line.partition(" = ")
        for name, share, level, body in (entry.split(":") for entry in models.split(", ")):
            entries.append((f"{brand} {name}", float(share), 10 + float(level) / 100, body[0], float(body[1])))
    names, shares, *others = zip(*entries, strict=True)
    return _text(names), np.array(shares) / sum(shares), *(np.array(values) for values in others)


def _text(values: Iterable[str]) -> np.ndarray:
    return np.array(list(values), dtype=object)


MODELS, SHARES, LEVELS, KINDS, CYLINDERS = _catalogue()
COLOURS = {
    "white": 0.237, "black": 0.181, "silver": 0.148, "grey": 0.12, "blue": 0.106, "red": 0.105, "green": 0.033,
    "brown": 0.029, "custom": 0.028, "yellow": 0.006, "orange": 0.005, "purple": 0.002,
}  # fmt: skip


def _year(day: np.ndarray) -> np.ndarray:
    return 1970 + (day - np.datetime64("1970-01-01", "D")) / np.timedelta64(1, "D") / 365.25


def _typical_miles(age: np.ndarray) -> np.ndarray:
    miles: np.ndarray = 180_000 * (1 - np.exp(-np.maximum(age, 0.05) / 7))
    return miles


def expected_price(row: Columns, *, concept: bool = False) -> np.ndarray:
    """The simulator's truth: the median price of such an advert. A missing value counts as the typical one, an unknown
    model as the average. After the `concept` shift fuel is expensive: trucks, diesels and big engines lose value and small
    cars gain, while every input keeps its distribution.
    """
    level = dict(zip(MODELS, LEVELS, strict=True))
    value = np.array([level.get(name, 9.9) for name in row["model"]])
    age = np.nan_to_num(_year(row["date_posted"]) - row["model_year"], nan=8.5)
    miles = np.where(np.isnan(row["odometer"]), _typical_miles(age), row["odometer"]) / 100_000
    cylinders = np.nan_to_num(row["cylinders"], nan=6.0)
    diesel = row["fuel"] == "diesel"
    value = value - 0.109 * age + 0.001 * age**2 - 0.284 * miles - 0.031 * miles**2 + 0.007 * age * miles
    value = value + 0.16 * (row["is_4wd"] == 1) + 0.026 * cylinders + 0.43 * diesel
    for condition, effect in zip(CONDITION_RANK, (-0.36, -0.38, 0.13, 0.23, 0.24, 0.25), strict=True):
        value = value + effect * (row["condition"] == condition)
    if concept:
        value = value - 0.06 * (cylinders - 5) - 0.2 * diesel + 0.1 * (row["fuel"] == "hybrid")
    price: np.ndarray = np.exp(value)
    return price


def simulate(rng: Generator, rows: int, shift: str | None = None) -> Columns:
    """Adverts drawn to follow aggregates of the public vehicles_us data: a hundred models with their shares, price
    levels, bodies and engines; ages 0 to 29 around 8 years; mileage that flattens with age (62,000 at three years,
    145,000 at eleven); shares of condition, fuel, gearbox and colour; missing are 7 % of the years, 10 % of the cylinders,
    15 % of the odometers and 18 % of the colours, and four-wheel drive is marked or empty; 1.5 % of prices at 1 USD, 1 %
    more below 1,000 and 0.2 % at 1,000 or another placeholder; posted from May 2018 to April 2019, listed for 40 days on
    average.

    Prices are `expected_price` times log-normal noise, four times wider for one advert in eight; a missing value
    did enter the price. One advert in fourteen repeats another one, four in five at the same price.
    """
    which = rng.choice(len(MODELS), rows, p=SHARES)
    posted = np.datetime64("2018-05-01", "D") + rng.integers(0, 354, rows)
    age = rng.gamma(2.5, 3.5, rows) + (4.0 if shift == "covariate" else 0.0)
    age = np.where(rng.random(rows) < 0.006, rng.uniform(29, 58, rows), np.minimum(age, 29))
    year = np.minimum(np.floor(_year(posted) + 0.5 - age), 2019)
    odometer = np.round(_typical_miles(age) * rng.gamma(7, 1 / 7, rows))
    odometer = np.where(rng.random(rows) < 0.28, np.round(odometer, -3), odometer)
    wear = rng.normal(0, 1, rows) - 0.07 * (age - 8.75)
    kind = KINDS[which]
    body, fourth = np.empty(rows, dtype=object), np.zeros(rows)
    for letter, (names, shares, driven) in BODIES.items():
        chosen = np.flatnonzero(kind == letter)
        body[chosen] = rng.choice(_text(names), len(chosen), p=shares)
        fourth[chosen] = rng.random(len(chosen)) < driven
    heavy = np.array(["250" in name or "350" in name or "sprinter" in name for name in MODELS])[which]
    fuel = np.where(rng.random(rows) < np.where(heavy, 0.56, 0.011), "diesel", "gas").astype(object)
    rare = rng.random(rows)
    fuel[(rare < np.where(kind == "h", 0.65, 0.002)) & (fuel == "gas")] = "hybrid"
    fuel[rare > 0.998] = "other"
    row: Columns = {
        "price": np.zeros(rows),
        "model_year": year,
        "model": MODELS[which],
        "condition": _text(CONDITION_RANK)[np.searchsorted([-3.04, -1.96, -0.2, 1.41, 2.97], wear)],
        "cylinders": np.where(rng.random(rows) < 0.85, CYLINDERS[which], rng.choice([4.0, 6.0, 8.0], rows)),
        "fuel": fuel,
        "odometer": odometer,
        "transmission": rng.choice(_text(("automatic", "manual", "other")), rows, p=(0.911, 0.055, 0.034)),
        "type": body,
        "paint_color": rng.choice(_text(COLOURS), rows, p=[*COLOURS.values()]),
        "is_4wd": np.where(fourth > 0, 1.0, np.nan),
        "date_posted": posted,
        "days_listed": np.minimum(np.floor(rng.gamma(2, 20, rows)), 271),
    }
    noise = rng.normal(0, 0.13, rows) * np.where(rng.random(rows) < 0.125, 4, 1)
    price = expected_price(row, concept=shift == "concept") * np.exp(noise) * (1.1 if shift == "inflation" else 1.0)
    row["price"] = np.maximum(np.round(price / 50) * 50 - 5 * rng.integers(0, 2, rows), 100)
    for name, share in (("model_year", 0.071), ("cylinders", 0.1026), ("odometer", 0.1526), ("paint_color", 0.1797)):
        row[name][rng.random(rows) < share] = None if name == "paint_color" else np.nan
    if shift == "new_category":
        new = rng.random(rows) < 0.05
        row["model"][new], row["fuel"][new], row["type"][new] = "tesla model 3", "electric", "sedan"
    if shift == "broken_sensor":
        row["odometer"] = np.zeros(rows)
    again = np.flatnonzero(rng.random(rows) < 0.07)
    again = again[again > 0]
    origin = rng.integers(0, again)
    for name in set(row) - {"date_posted", "days_listed"}:
        row[name][again] = row[name][origin]
    row["price"][again] = np.round(row["price"][again] * rng.choice([1.0, 0.97, 1.03], len(again), p=(0.8, 0.15, 0.05)))
    junk = rng.random(rows)
    row["price"] = np.where(junk < 0.015, 1.0, np.where(junk < 0.025, rng.integers(50, 1_000, rows), row["price"]))
    placeholders = rng.choice([1_000.0, 1_111.0, 1_234.0, 123_456.0], rows, p=(0.85, 0.05, 0.05, 0.05))
    row["price"] = np.where((junk > 0.025) & (junk < 0.027), placeholders, row["price"])
    return row


project = Project(
    name="carvision",
    title="Used-car prices",
    question="What price would this car be advertised at?",
    task="regression",
    row=Row,
    record=Record,
    target="price",
    unit="USD",
    primary_metric="mae",
    public_data='TripleTen/Practicum "vehicles_us"',
    intended_use="A first asking price for a seller, and a flag on adverts far from it. A person sets the price.",
    limits=(
        "Asking prices of May 2018 to April 2019 in the United States: neither what was paid nor today's price level.",
        "It knows a hundred common models. One it has not seen is priced like an average car of its kind.",
        "Cars from before 1990, with 500,000 miles or more, or above 500,000 USD are not in the training data.",
        "Accidents, options, title and place, which move prices, are in no column of the data.",
    ),
    numeric=("age", "odometer", "odometer_per_year", "condition_rank", "cylinders", "four_wheel_drive", "missing_values"),
    one_hot=("fuel", "transmission"),
    target_encoded=("type", "paint_color", "model", "brand"),
    features=features,
    left_out=left_out,
    groups=groups,
    simulate=simulate,
    simulated_rows=51_000,
    derived_from={
        "age": "model_year",
        "odometer_per_year": "odometer",
        "condition_rank": "condition",
        "four_wheel_drive": "is_4wd",
        "brand": "model",
    },
    market={
        "brand": "Brand",
        "type": "Body",
        "condition": "Condition",
        "age": "Age in years",
        "odometer": "Odometer",
        "model_year": "Model year",
    },
    shifts=("covariate", "concept", "new_category", "inflation", "broken_sensor"),
    segments=("brand", "type", "condition", "fuel", "age"),
    time_column="date_posted",
    log_target=True,
)

"""Homes and land for sale and their asking price: the row schema, features and simulator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from stages.projects._base import MISSING, Columns, Project, placeholder_prices

if TYPE_CHECKING:
    import pandas as pd
    from numpy.random import Generator

NAME: dict[str, Any] = {"case": "title"}
Status = Literal["for_sale", "ready_to_build", "sold"]


class Row(BaseModel):
    """A listing as a broker enters it. Land has neither rooms nor a house; a flat mostly has no lot."""

    model_config = ConfigDict(extra="forbid")

    state: Annotated[
        str,
        Field(title="State or territory", min_length=1, max_length=40, examples=["Connecticut"], json_schema_extra=NAME),
    ]
    city: Annotated[
        str | None, Field(title="Town", min_length=1, max_length=80, examples=["West Hartford"], json_schema_extra=NAME)
    ] = None
    zip_code: Annotated[
        str | None, Field(title="ZIP code", min_length=5, max_length=5, pattern="^[0-9]{5}$", examples=["06117"])
    ] = None
    house_size: Annotated[
        float | None,
        Field(title="Living area", gt=0, le=5_000_000, examples=[1_850], json_schema_extra={"unit": "square feet"}),
    ] = None
    bed: Annotated[float | None, Field(title="Bedrooms", ge=0, le=500, examples=[3])] = None
    bath: Annotated[float | None, Field(title="Bathrooms", ge=0, le=500, examples=[2])] = None
    acre_lot: Annotated[
        float | None, Field(title="Lot", ge=0, le=1_000_000, examples=[0.35], json_schema_extra={"unit": "acres"})
    ] = None
    status: Annotated[Status, Field(title="Status", examples=["for_sale"])]
    brokered_by: Annotated[str | None, Field(title="Broker's number", pattern="^[0-9]{1,12}$", examples=["22611"])] = None
    prev_sold_date: Annotated[date | None, Field(title="Last sold", examples=["2007-06-29"])] = None


class Record(Row):
    """A listing with its price, and with its street: part of an address, so it tells copies apart and is no input."""

    price: Annotated[float, Field(title="Asking price", gt=0, le=1e9, json_schema_extra={"unit": "USD"})]
    street: Annotated[str | None, Field(title="Street's number", max_length=80)] = None


def features(row: Columns) -> Columns:
    """Sizes on a log scale, room per bed and bath, the year of the last sale, and the place from state to ZIP code.

    ZIP codes are numbered along the map, so the number itself and its first three digits place a code that is rare or
    new. Town, ZIP code and broker are used twice, alone and together with "home" or "land": one average price of a town
    over both would mostly tell how much land is for sale there.
    """
    size, bed, bath = row["house_size"], row["bed"], row["bath"]
    sold = (row["prev_sold_date"] - np.datetime64("1970-01-01", "D")) / np.timedelta64(1, "D")
    city, code, broker = _filled(row["city"]), _filled(row["zip_code"]), _filled(row["brokered_by"])
    kind = _text("|land" if empty else "|home" for empty in np.isnan(size).tolist())
    return {
        "log_size": np.log(size),
        "bed": bed,
        "bath": bath,
        "size_per_bed": size / np.maximum(bed, 1),
        "size_per_bath": size / np.maximum(bath, 1),
        "log_acres": np.log(row["acre_lot"] + 0.01),
        "sold_year": 1970 + sold / 365.25,
        "zip_number": np.array([float(value) if value.isdecimal() else np.nan for value in code]),
        "status": row["status"],
        "state": row["state"],
        "city": city,
        "zip_code": code,
        "zip3": _text(value if value == MISSING else value[:3] for value in code),
        "brokered_by": broker,
        "city_kind": city + kind,
        "zip_kind": code + kind,
        "broker_kind": broker + kind,
    }


def left_out(frame: pd.DataFrame) -> Mapping[str, pd.Series]:
    """Placeholders, and prices below 1,000 USD: the public ones are one broker's 445 on plots in one town. Expensive and
    unusual homes stay: such homes will be asked about too, and they hardly move an absolute error on log price.
    """
    price, land = frame["price"], frame["house_size"].isna().astype(str)
    peers = frame["state"].astype(str) + "|" + frame["city"].astype(str) + "|" + land
    return {
        **placeholder_prices(price, 1_000, peers, "homes, or of plots, in the town"),
        "the price is below 1,000 USD": price < 1_000,
    }


def groups(frame: pd.DataFrame) -> pd.Series:
    """One key per address, as a home is listed again by another broker; a listing without a street is a group of its own."""
    street, city, code = (frame[name].astype(str).fillna("") for name in ("street", "city", "zip_code"))
    alone = "row " + frame.index.to_series().astype(str)
    key: pd.Series = street.where(street != "", alone) + "|" + city + "|" + code
    return key


def _filled(values: np.ndarray) -> np.ndarray:
    return _text(MISSING if value is None else value for value in values)


def _text(values: Iterable[str]) -> np.ndarray:
    return np.array(list(values), dtype=object)


# Per town: listings per hundred of its state, log price of a middling home relative to e^12 in hundredths, ZIP region.
TOWNS = """
Puerto Rico = San Juan:27:87:009, Carolina:9:57:009, Guaynabo:8:77:009, Bayamon:8:11:009, Dorado:6:203:006,
Humacao:6:79:007, Cabo Rojo:6:41:006, Vieques:5:84:007, Caguas:5:21:007, Rincon:5:127:006, Ponce:4:15:007,
Arecibo:4:-1:006, Rio Grande:4:47:007, Mayaguez:4:2:006; Virgin Islands = Christiansted:48:110:008, Saint
John:22:172:008, Saint Thomas:15:124:008, Frederiksted:15:74:008; Massachusetts = Pittsfield:15:49:012,
Springfield:14:63:011, Worcester:14:104:016, Becket:6:45:012, Great Barrington:6:106:012, Fitchburg:5:83:014,
Belchertown:5:80:010, Lowell:5:113:018, North Adams:4:5:012, Chicopee:4:70:010, Adams:4:34:012, Lenox:4:103:012,
Framingham:4:126:017, Northampton:3:102:010, Ludlow:3:87:010, Spencer:3:79:015; Connecticut = Hartford:13:41:061, New
Britain:9:49:060, Manchester:8:55:060, West Hartford:8:82:061, Torrington:7:43:067, Enfield:7:74:060, East
Hartford:7:53:061, Middletown:5:57:064, Windsor:5:60:060, Glastonbury:5:71:060, South Windsor:5:67:060,
Tolland:4:66:060, Avon:4:70:060, Vernon:4:39:060, Farmington:4:74:060, Cromwell:4:62:064; New Hampshire =
Nashua:21:92:030, Keene:20:61:034, Hudson:19:93:030, Londonderry:15:90:030, Bedford:14:103:031, Chesterfield:11:77:034;
Vermont = Wilmington:30:83:053, Bennington:23:41:052, Dover:19:88:053, Brattleboro:16:40:053, Whitingham:11:46:053; New
York = New Lebanon:18:24:121, Chatham:15:83:120, Sand Lake:14:64:120, Stephentown:14:26:121, Copake:13:100:125,
Claverack:13:56:125, Hoosick Falls:13:4:120; Rhode Island = Woonsocket:50:68:028, Cumberland:17:99:028,
Burrillville:13:85:028, North Smithfield:10:86:028, Lincoln:9:99:028;
"""
STATES = {  # share, land without a house, flats without a lot, no previous sale: the order is that of the public file
    "Puerto Rico": (0.208, 0.20, 0.205, 0.997),
    "Virgin Islands": (0.058, 0.71, 0.056, 0.992),
    "Massachusetts": (0.294, 0.28, 0.128, 0.647),
    "Connecticut": (0.295, 0.15, 0.123, 0.392),
    "New Hampshire": (0.045, 0.28, 0.184, 0.730),
    "Vermont": (0.018, 0.42, 0.061, 0.765),
    "New York": (0.062, 0.47, 0.014, 0.667),
    "Rhode Island": (0.020, 0.03, 0.162, 0.429),
}


def _towns() -> tuple[np.ndarray, ...]:
    entries = []
    for line in " ".join(TOWNS.split()).strip(";").split("; "):
        state, _, towns = line.partition(" = ")
        for name, share, level, region in (entry.split(":") for entry in towns.split(", ")):
            weight = float(share) * STATES[state][0]
            entries.append((name, state, weight, 12 + float(level) / 100, 100 * float(region)))
    names, states, weights, *others = zip(*entries, strict=True)
    return _text(names), _text(states), np.array(weights) / sum(weights), *(np.array(values) for values in others)


TOWN, STATE, SHARE, LEVEL, REGION = _towns()


def expected_price(row: Columns, *, concept: bool = False) -> np.ndarray:
    """The simulator's truth: the median price of such a listing. Homes are priced by place, area, rooms and lot, plots
    by place and lot; a missing value counts as the typical one. ZIP codes and brokers have effects that are arbitrary but
    fixed: a sine of the number. After the `concept` shift space is expensive and the islands are cheap, while every
    input keeps its distribution.
    """
    level = dict(zip(zip(TOWN, STATE, strict=True), LEVEL, strict=True))
    place = np.array([level.get(key, 12.6) for key in zip(row["city"], row["state"], strict=True)])
    code, broker = np.nan_to_num(row["zip_code"]), np.nan_to_num(row["brokered_by"])
    place = place + 0.18 * np.sin(7.7 * code) + 0.14 * np.sin(broker)
    lot = np.log(np.nan_to_num(row["acre_lot"], nan=0.4) + 0.01)
    size = np.log(np.nan_to_num(row["house_size"], nan=1_800) / 1_800)
    baths, beds = np.nan_to_num(row["bath"], nan=2) - 2, np.nan_to_num(row["bed"], nan=3) - 3
    home = place + 0.69 * size + 0.12 * np.minimum(baths, 6) - 0.05 * np.minimum(beds, 6) + 0.12 * (lot + 0.9)
    plot = place - 1.25 + 0.33 * (lot - 0.7)
    if concept:
        islands = (row["state"] == "Puerto Rico") | (row["state"] == "Virgin Islands")
        home = home + 0.25 * size + 0.05 * beds - 0.2 * islands
        plot = plot - 0.2 * islands
    price: np.ndarray = np.exp(np.where(np.isnan(row["house_size"]) & np.isnan(row["bed"]), plot, home))
    return price


def simulate(rng: Generator, rows: int, shift: str | None = None) -> Columns:
    """Listings drawn to follow aggregates of the public realtor-data: the shares of states and of their larger towns,
    with their price levels; bed, bath and area missing together in 26 % (land), from 3 to 71 % by state; lots of half
    an acre for homes and two for land, with long tails, missing in 13 %; a last sale known for a third, around
    2007; some 1,400 brokers, of whom a few hold hundreds of listings; one address in a hundred listed twice; one price in a
    thousand 445, 10,000 or another placeholder.

    Prices are `expected_price` times log-normal noise, three times wider for land and one home in six. Rows come state
    by state with some overlap, as published, so that batches drift. Numbers that are names (ZIP code, street, broker)
    are floats, as reading the CSV gives them.
    """
    islands = (STATE == "Puerto Rico") | (STATE == "Virgin Islands")
    share = SHARE * np.where(islands & (shift == "covariate"), 3, 1)
    which = rng.choice(len(TOWN), rows, p=share / share.sum())
    rank = {state: number for number, state in enumerate(STATES)}
    state = np.array([rank[name] for name in STATE])[which]
    order = np.argsort(state + rng.normal(0, 0.3, rows), kind="stable")
    which, state = which[order], state[order]
    _, land_share, no_lot, never_sold = np.array([*STATES.values()]).T[:, state]
    land = rng.random(rows) < land_share
    bed = 1 + rng.choice(9, rows, p=(0.03, 0.165, 0.40, 0.24, 0.07, 0.05, 0.018, 0.017, 0.01)).astype(float)
    bath = np.clip(np.round(0.55 * bed + 0.45 + rng.normal(0, 0.6, rows)), 1, None)
    size = np.round(560 * bed**0.72 * bath**0.35 * np.exp(rng.normal(0, 0.3, rows)) + 60)
    acres = np.round(np.exp(np.where(land, rng.normal(0.9, 1.6, rows), rng.normal(-0.8, 1.15, rows))), 2)
    acres[~land & (rng.random(rows) < no_lot / (1 - land_share))] = np.nan
    sold = np.datetime64("2022-04-01", "D") - np.round(365 * rng.gamma(2.1, 7.1, rows)).astype(int)
    local = np.floor(220 * rng.random(rows) ** 2.6) + 220 * state
    row: Columns = {
        "brokered_by": 59 + np.mod(local * 7_919, 110_000),
        "status": np.where(rng.random(rows) < 0.002, "ready_to_build", "for_sale").astype(object),
        "price": np.zeros(rows),
        "bed": bed,
        "bath": bath,
        "acre_lot": np.maximum(acres, 0.01),
        "street": rng.permutation(np.arange(169.0, 169.0 + 180 * rows, 180))[:rows],
        "city": TOWN[which],
        "state": STATE[which],
        "zip_code": REGION[which] + 1 + np.floor(4 * rng.random(rows) ** 2) + np.mod(which, 9) * 4,
        "house_size": size,
        "prev_sold_date": np.where(rng.random(rows) < never_sold, np.datetime64("NaT", "D"), sold),
    }
    for name in ("bed", "bath", "house_size"):
        row[name][land] = np.nan
    wide = land | (rng.random(rows) < 0.16)
    price = expected_price(row, concept=shift == "concept") * np.exp(rng.normal(0, 0.22, rows) * np.where(wide, 3, 1))
    row["price"] = np.maximum(np.round(price * (1.1 if shift == "inflation" else 1.0), -2), 500)
    if shift == "new_category":
        new = rng.random(rows) < 0.05
        row["city"][new], row["state"][new], row["zip_code"][new] = "Portland", "Maine", 4101.0
    if shift == "broken_sensor":
        row["house_size"] = np.where(np.isnan(row["house_size"]), np.nan, np.round(row["house_size"] / 10.764))
    again = np.flatnonzero(rng.random(rows) < 0.01)
    again = again[again > 0]
    for name in set(row) - {"brokered_by"}:
        row[name][again] = row[name][again - 1]
    row["price"][again] = np.round(row["price"][again] * np.exp(rng.normal(0, 0.2, len(again))), -2)
    placeholders = rng.choice([1.0, 445.0, 10_000.0, 123_456.0], rows)
    row["price"] = np.where(rng.random(rows) < 0.001, placeholders, row["price"])
    return row


project = Project(
    name="realestate",
    title="Homes for sale",
    question="What price would this home be offered at?",
    task="regression",
    row=Row,
    record=Record,
    target="price",
    unit="USD",
    primary_metric="mae",
    public_data='Kaggle "USA Real Estate Dataset" (realtor-data.csv)',
    intended_use="A first estimate of the asking price of a home or plot, before an appraiser sees it.",
    limits=(
        "Asking prices, not sales, of about 2022 in New England, New York, Puerto Rico and the Virgin Islands.",
        "Land has no rooms and little else in its listing: errors there are several times those for homes.",
        "Above about 5 million USD there are too few listings to learn from, so its estimates are too low.",
        "State of repair, age, view and photographs are in no column. It must not decide about credit or insurance.",
    ),
    numeric=("log_size", "bed", "bath", "size_per_bed", "size_per_bath", "log_acres", "sold_year", "zip_number"),
    one_hot=("status",),
    target_encoded=("state", "city", "zip_code", "zip3", "brokered_by", "city_kind", "zip_kind", "broker_kind"),
    features=features,
    left_out=left_out,
    groups=groups,
    simulate=simulate,
    simulated_rows=10_000,
    derived_from={
        "log_size": "house_size",
        "size_per_bed": "house_size",
        "size_per_bath": "house_size",
        "log_acres": "acre_lot",
        "sold_year": "prev_sold_date",
        "zip_number": "zip_code",
        "zip3": "zip_code",
        "zip_kind": "zip_code",
        "city_kind": "city",
        "broker_kind": "brokered_by",
    },
    market={
        "state": "State or territory",
        "city": "Town",
        "bed": "Bedrooms",
        "bath": "Bathrooms",
        "house_size": "Living area",
    },
    shifts=("covariate", "concept", "new_category", "inflation", "broken_sensor"),
    segments=("state", "bed"),
    time_column=None,
    log_target=True,
)

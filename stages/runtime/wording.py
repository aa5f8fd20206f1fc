"""How numbers and names are written for people: by the pipeline, the server and its pages. What scripts write in the
browser, `serve/pages/static/format.js`, is the same to the character.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from decimal import Decimal
from math import floor, isfinite, log10

from stages.runtime.metric_names import AMOUNTS, SHARES, TITLES

DASH = "–"  # what has no value
LEAST_P = 0.001  # smaller p-values differ by the number of resamples only
PERCENTAGE_POINTS = "percentage points"
SCALED = re.compile(r"([\d,]+) (.+)")  # a unit such as 1,000 USD
NO_INTERVAL = {"ece"}  # resampling adds noise of its own to it: 0.015 had the interval 0.023 to 0.063
NAMES = {"hist_gradient_boosting": "histogram gradient boosting", "lightgbm": "LightGBM", "catboost": "CatBoost",
         "xgboost": "XGBoost", "voting": "voting ensemble"}  # fmt: skip


def number(value: float | None, unit: str = "") -> str:
    """A number with its unit: `1,234 USD`, `6.21`, and `24,100 USD` for 24.1 of a unit of `1,000 USD`. A year, which has no
    unit, keeps its four digits.
    """
    if value is None or not isfinite(value):
        return DASH
    factor, unit = scaled(unit)
    value = value * factor
    size = abs(value)
    if float(value).is_integer() or size >= 1000:
        text = _fixed(value, 0, grouped=bool(unit) or size >= 10_000)
    else:
        text = _fixed(value, 1) if size >= 100 else _fixed(value, 2) if size >= 1 else significant(value)
    return f"{text} {unit}".rstrip()


def significant(value: float, digits: int = 3) -> str:
    """A number of so many significant digits at most, never as a power of ten: `17,120`, `0.0000123`."""
    if not value or not isfinite(value):
        return DASH if value else "0"
    exact = Decimal(repr(float(value)))
    rounded = round(exact, digits - 1 - exact.adjusted())
    text = f"{rounded:,f}" if abs(rounded) >= 10_000 else f"{rounded:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def exact(value: float, unit: str = "") -> str:
    """A number as it was given, with its unit: nothing is rounded away. One without a unit may be a year or a code."""
    factor, unit = scaled(unit)
    if factor != 1:
        value = float(f"{value * factor:.12g}")
    whole = int(value) if isinstance(value, float) and value.is_integer() else value
    return f"{whole:,} {unit}" if unit else f"{whole}"


def count(value: int, noun: str = "", plural: str = "") -> str:
    """How many, with commas between thousands: `1 row`, `2,345 rows`."""
    named = noun if value == 1 else plural or f"{noun}s" * bool(noun)
    return f"{value:,} {named}".rstrip()


def percent(share: float | None, digits: int = 1) -> str:
    """A share in per cent: `12.3 %`."""
    return DASH if share is None or not isfinite(share) else f"{_fixed(100 * share, digits)} %"


def points(difference: float | None) -> str:
    """A difference of two shares: `1.2 percentage points`."""
    return DASH if difference is None else f"{_fixed(100 * difference, 1)} {PERCENTAGE_POINTS}"


def signed(text: str) -> str:
    """The text of a number as that of a difference: `+1.5`, `−0.02`, and `0` for none."""
    if not re.search("[1-9]", text.partition(" ")[0]):
        return text.removeprefix("-")
    return "−" + text[1:] if text.startswith("-") else "+" + text


def between(low: str, high: str) -> str:
    """An interval of two numbers of one unit: `2,980 to 4,770 USD`."""
    return f"{low.partition(' ')[0]} to {high}"


def p_value(p: float) -> str:
    """A p-value. Of a bootstrap of 1,000 resamples 1/1001 is the least, which says no more than that it is below 0.001."""
    return f"p < {LEAST_P:g}" if p < LEAST_P else f"p = {significant(p, 2)}"


def metric(value: float | None, name: str, unit: str = "", digits: int | None = None) -> str:
    """A metric: an amount with its unit, a share in per cent, anything else with three decimals; or with so many `digits`
    behind the point.
    """
    if value is None or not isfinite(value):
        return DASH
    if digits is None and name in AMOUNTS:
        return number(value, unit)
    factor, unit = _metric_unit(name, unit)
    digits = digits if digits is not None else 1 if name in SHARES else 3
    return f"{_fixed(value * factor, digits)} {unit}".rstrip()


def metric_interval(bounds: Mapping[str, float | None], name: str, unit: str = "") -> str:
    """The interval of a metric, from its `low` to its `high`; a dash for one that the bootstrap has no interval of."""
    return DASH if name in NO_INTERVAL else between(metric(bounds["low"], name, unit), metric(bounds["high"], name, unit))


def metric_change(value: float | None, name: str, unit: str = "", digits: int | None = None) -> str:
    """A difference of two values of a metric, in percentage points where they are shares."""
    return signed(metric(value, name, unit, digits)).replace("%", PERCENTAGE_POINTS)


def digits_that_count(low: float, high: float, name: str, unit: str = "") -> int:
    """How many digits behind the point a metric of this uncertainty needs, so that two of its interval's width are seen."""
    width = (high - low) * _metric_unit(name, unit)[0]
    return min(max(1 - floor(log10(width)), 0), 6) if width > 0 else 3


def words(name: str) -> str:
    """The title of a metric; the name of an estimator, a feature or a setting as words."""
    return TITLES.get(name) or NAMES.get(name) or name.replace("_", " ")


def upper_first(text: str) -> str:
    """A text that begins with a capital."""
    return text[:1].upper() + text[1:]


def scaled(unit: str) -> tuple[float, str]:
    """The factor and the plain unit of a unit such as `1,000 USD`."""
    found = SCALED.fullmatch(unit)
    return (int(found[1].replace(",", "")), found[2]) if found else (1, unit)


def listed(texts: Collection[str]) -> str:
    """One, two and three."""
    *most, last = texts or [""]
    return f"{', '.join(most)} and {last}" if most else last


def _metric_unit(name: str, unit: str) -> tuple[float, str]:
    return scaled(unit) if name in AMOUNTS else (100, "%") if name in SHARES else (1, "")


def _fixed(value: float, digits: int, *, grouped: bool = True) -> str:
    # A tie is one of the digits that people see, as in the browser, and not of the float behind them.
    rounded = Decimal(repr(float(value)))
    return f"{rounded:z,.{digits}f}" if grouped else f"{rounded:z.{digits}f}"

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from stages.projects._base import load_project
from stages.runtime.reasons import reasons
from stages.runtime.shapley import Explanation


def explained(scale: Any, **values: float) -> Explanation:
    return Explanation("tree", scale, True, 0.0, values, sum(values.values()), 0.5)


def test_reasons_for_a_class_are_the_strongest_in_words() -> None:
    project = load_project("toy")
    row = {"distance": 42, "value": 83807.86, "insured": 0, "carrier": "Cat", "weight": None}
    found = explained("log_odds", carrier=-0.1, distance=0.5, value=-0.4, insured=0.2, weight=0.3)
    assert reasons(found, row, project, k=9) == [
        "Distance 42 km makes “late” more likely (odds × 1.65)",
        "Declared value 83,807.86 EUR makes “late” less likely (odds × 0.67)",
        "Weight unknown makes “late” more likely (odds × 1.35)",
        "Is insured: no makes “late” more likely (odds × 1.22)",
        "Carrier Cat makes “late” less likely (odds × 0.90)",
    ]
    assert reasons(found, row, project, k=1) == ["Distance 42 km makes “late” more likely (odds × 1.65)"]
    found = explained("probability", distance=0.123, region=-0.004, value=0.0)
    assert reasons(found, {"distance": 42, "region": "south"}, project) == [
        "Distance 42 km makes “late” more likely (by 12 percentage points)",
        "Region south makes “late” less likely (by 0.4 percentage points)",
    ]


def test_reasons_for_a_price_are_changes_in_per_cent_or_in_its_unit() -> None:
    project = load_project("toy_price")
    row = {"size": 98_000.0, "built": 2013, "moored": 1, "posted": date(2019, 3, 14)}
    found = explained("log", size=-0.128, built=0.5, moored=0.01, posted=0.001)
    assert reasons(found, row, project, k=9) == [
        "Year built 2013 raises the asking price by about 65 %",
        "Living area 98,000 square feet lowers the asking price by about 12 %",
        "Has a mooring: yes raises the asking price by about 1 %",
        "Day of the advert 2019-03-14 raises the asking price by about 0.1 %",
    ]
    assert reasons(explained("value", size=-1234.5), row, project) == [
        "Living area 98,000 square feet lowers the asking price by about 1,230 USD"
    ]


def test_reasons_from_far_outside_the_training_data_stay_short() -> None:
    found = explained("log_odds", distance=800.0, value=-800.0)
    assert reasons(found, {"distance": 42, "value": 0}, load_project("toy")) == [
        "Distance 42 km makes “late” more likely (odds more than × 100)",
        "Declared value 0 EUR makes “late” less likely (odds less than × 0.01)",
    ]
    assert reasons(explained("log", size=800.0), {"size": 0}, load_project("toy_price")) == [
        "Living area 0 square feet raises the asking price by more than 1,000 %"
    ]


def test_reasons_name_features_that_no_field_stands_for() -> None:
    project = load_project("toy_price")
    found = replace(
        explained("log", some_ratio=0.1, colour_name=0.2), derived={"some_ratio": 1.23456, "colour_name": "(missing)"}
    )
    assert reasons(found, {}, project) == [
        "Colour name unknown raises the asking price by about 22 %",
        "Some ratio 1.23 raises the asking price by about 11 %",
    ]


@given(st.text(max_size=200))
@example("<script>alert('x')</script>\n")
def test_reasons_hold_no_markup_from_the_row(text: str) -> None:
    (reason,) = reasons(explained("log", builder=0.1), {"builder": text}, load_project("toy_price"))
    assert not set("<>&\"'\n\r") & set(reason)
    assert len(reason) < 160

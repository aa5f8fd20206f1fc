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
    project = load_project("bankchurn")
    row = {"Age": 42, "Balance": 83807.86, "HasCrCard": 0, "Geography": "Spain", "Tenure": None}
    found = explained("log_odds", Geography=-0.1, Age=0.5, Balance=-0.4, HasCrCard=0.2, Tenure=0.3)
    assert reasons(found, row, project, k=9) == [
        "Age 42 years makes “leaves” more likely (odds × 1.65)",
        "Account balance 83,807.86 EUR makes “leaves” less likely (odds × 0.67)",
        "Years as a customer unknown makes “leaves” more likely (odds × 1.35)",
        "Has a credit card: no makes “leaves” more likely (odds × 1.22)",
        "Country Spain makes “leaves” less likely (odds × 0.90)",
    ]
    assert reasons(found, row, project, k=1) == ["Age 42 years makes “leaves” more likely (odds × 1.65)"]
    found = explained("probability", Age=0.123, Gender=-0.004, Balance=0.0)
    assert reasons(found, {"Age": 42, "Gender": "Male"}, project) == [
        "Age 42 years makes “leaves” more likely (by 12 points)",
        "Gender Male makes “leaves” less likely (by 0.4 points)",
    ]


def test_reasons_for_a_price_are_changes_in_per_cent_or_in_its_unit() -> None:
    project = load_project("carvision")
    row = {"odometer": 98_000.0, "model_year": 2013, "is_4wd": 1, "date_posted": date(2019, 3, 14)}
    found = explained("log", odometer=-0.128, model_year=0.5, is_4wd=0.01, date_posted=0.001)
    assert reasons(found, row, project, k=9) == [
        "Model year 2013 raises the asking price by about 65 %",
        "Odometer 98,000 miles lowers the asking price by about 12 %",
        "Four-wheel drive: yes raises the asking price by about 1 %",
        "Day of the advert 2019-03-14 raises the asking price by about 0.1 %",
    ]
    assert reasons(explained("value", odometer=-1234.5), row, project) == [
        "Odometer 98,000 miles lowers the asking price by about 1,230 USD"
    ]


def test_reasons_from_far_outside_the_training_data_stay_short() -> None:
    found = explained("log_odds", Age=800.0, Balance=-800.0)
    assert reasons(found, {"Age": 42, "Balance": 0}, load_project("bankchurn")) == [
        "Age 42 years makes “leaves” more likely (odds more than × 100)",
        "Account balance 0 EUR makes “leaves” less likely (odds less than × 0.01)",
    ]
    assert reasons(explained("log", odometer=800.0), {"odometer": 0}, load_project("carvision")) == [
        "Odometer 0 miles raises the asking price by more than 1,000 %"
    ]


def test_reasons_name_features_that_no_field_stands_for() -> None:
    project = load_project("carvision")
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
    (reason,) = reasons(explained("log", model=0.1), {"model": text}, load_project("carvision"))
    assert not set("<>&\"'\n\r") & set(reason)
    assert len(reason) < 160

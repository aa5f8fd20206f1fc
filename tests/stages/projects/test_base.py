from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import date
from typing import Annotated, Any, Literal

import pandas as pd
import pytest
from pydantic import BaseModel, Field, create_model

import stages
from stages.projects._base import Column, columns_of, load_project, placeholder_prices
from tests.samples import ROOT
from tests.toys import toy

PARCELS = toy()


class Wide(BaseModel):
    count: Annotated[int, Field(ge=1, lt=9, title="How many", json_schema_extra={"unit": "pieces"})]
    share: Annotated[float | None, Field(gt=0, le=1)] = None
    code: Annotated[str, Field(min_length=2, max_length=4)]
    day: date | None = None
    flag: Literal[0, 1]
    kind: Literal["a", "b"] | None = None


def test_every_kind_of_field_becomes_a_column() -> None:
    assert columns_of(Wide) == (
        Column("count", "number", integer=True, required=True, ge=1, lt=9, title="How many", unit="pieces"),
        Column("share", "number", integer=False, required=False, gt=0, le=1, title="share"),
        Column("code", "text", integer=False, required=True, min_length=2, max_length=4, title="code"),
        Column("day", "date", integer=False, required=False, title="day"),
        Column("flag", "number", integer=True, required=True, choices=(0, 1), title="flag"),
        Column("kind", "text", integer=False, required=False, choices=("a", "b"), title="kind"),
    )


@pytest.mark.parametrize("annotation", [list[int], int | str, dict[str, int], bytes, int | str | None])
def test_a_field_without_a_column_form_is_refused_by_name(annotation: Any) -> None:
    odd = type("Odd", (BaseModel,), {"__annotations__": {"x": annotation}})
    with pytest.raises(TypeError, match=r"Odd\.x: .* is no supported type; use int, float, str, date"):
        columns_of(odd)


def test_a_project_whose_target_is_an_input_or_unknown_is_refused() -> None:
    with pytest.raises(ValueError, match="toy: the target 'weight' is a field of the row"):
        replace(PARCELS, target="weight")
    with pytest.raises(ValueError, match="toy: the record lacks the target 'Churned'"):
        replace(PARCELS, target="Churned")
    with pytest.raises(ValueError, match="toy: the record must extend the row"):
        replace(PARCELS, row=Wide)


@pytest.mark.parametrize("classes", [Literal[0, 1, 2], Literal["no", "yes"], int, Literal[0, 1] | None])
def test_a_classifier_tells_two_classes_apart_that_are_coded_0_and_1(classes: Any) -> None:
    record = create_model("Record", __base__=PARCELS.row, late=(classes, ...))
    with pytest.raises(ValueError, match=r"toy: the target 'late' must be (Literal\[0, 1\]|a number that is never missing)"):
        replace(PARCELS, record=record)


@pytest.mark.parametrize("values", [str, date, float | None])
def test_a_regressor_estimates_a_number(values: Any) -> None:
    project = toy("toy_price")
    fields: dict[str, Any] = {project.target: (values, ...)}
    record = create_model("Record", __base__=project.row, **fields)
    with pytest.raises(ValueError, match=f"the target '{project.target}' must be a number that is never missing"):
        replace(project, record=record, market={})


def test_an_unknown_project_is_told_the_known_ones() -> None:
    with pytest.raises(ValueError, match="no project 'nobody': stages/projects holds toy, toy_plain, toy_price"):
        load_project("nobody")


@pytest.mark.parametrize(
    ("price", "is_none"),
    [
        (1, True), (7, True), (999, True), (1_000, True), (1_111, True), (1_234, True), (123_456, True), (99_999, True),
        (1_001, False), (1_500, False), (1_000.5, False), (9_999, False), (10_000, False), (12_345, False), (100_000, False),
    ],
)  # fmt: skip
def test_a_price_is_a_placeholder_by_its_digits_and_its_distance_from_those_of_its_peers(
    price: float, is_none: bool
) -> None:
    prices = pd.Series([price, 1.0, 1.0, 1.0, 8_000.0, 10_000.0, 12_000.0])
    ((reason, mask),) = placeholder_prices(prices, 1_000, pd.Series(["a"] * 7), "boats").items()
    assert mask.tolist() == [is_none, True, True, True, False, False, False]
    assert reason.endswith("below 1,000, or 5 times off the median of boats")


def test_a_row_without_peers_is_judged_by_the_least_price_alone() -> None:
    prices, peers = pd.Series([1.0, 1_000.0, 30_000.0]), pd.Series([None, None, "a"], dtype="str")
    assert next(iter(placeholder_prices(prices, 1_000, peers, "boats").values())).tolist() == [True, False, False]


def test_the_first_reason_to_leave_a_row_out_is_the_one_that_counts() -> None:
    frame = pd.DataFrame({"price": [1.0, 950.0, 20_000.0, 3e6], "builder": ["duck"] * 4}, index=[3, 5, 8, 9])
    why = load_project("toy_price").why_left_out(frame)
    assert [text.partition(" (")[0] for text in why] == [
        "the price is a placeholder", "the price is below 1,000 USD", "", "the price is above 2,000,000 USD",
    ]  # fmt: skip
    assert load_project("toy_price").clean(frame).index.tolist() == [8]
    assert PARCELS.why_left_out(pd.DataFrame({"late": [0, 1]})).tolist() == ["", ""]


@pytest.mark.slow
def test_numeric_libraries_run_in_one_thread_whatever_the_environment_says() -> None:
    code = (
        "import stages, numpy, sklearn.ensemble; from threadpoolctl import threadpool_info; "
        "print({pool['num_threads'] for pool in threadpool_info()})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={"OMP_NUM_THREADS": "2"}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "{1}\n"
    assert stages.__doc__

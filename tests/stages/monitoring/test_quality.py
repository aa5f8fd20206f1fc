from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.monitoring.quality import constant_faults, missing_faults, schema_faults, unit_faults
from stages.monitoring.settings import Drift
from tests.samples import records
from tests.stages.drifting import gathered, live, raw, report
from tests.toys import toy

PROJECT, BOAT = toy(), toy("toy_price")
PARCELS, MORE = records(PROJECT, 800, seed=3), records(PROJECT, 600, seed=4)
BOATS, OTHERS = records(BOAT, 900, seed=3), records(BOAT, 900, seed=4)


VALUE = tuple(column for column in PROJECT.columns if column.name == "value")


def lose(frame: pd.DataFrame, share: float, *columns: str) -> pd.DataFrame:
    lost = np.random.default_rng(0).random(len(frame)) < share
    return frame.assign(**{column: frame[column].mask(lost) for column in columns})


def missing(reference: pd.DataFrame, batch: pd.DataFrame, **settings: Any) -> list[str | None]:
    project = PROJECT if "distance" in reference else BOAT
    return [fault.column for fault in missing_faults(reference, batch, project, Drift(**settings))]


def units(batch: pd.DataFrame) -> list[tuple[str | None, float]]:
    return [(fault.column, fault.measured["factor"]) for fault in unit_faults(PARCELS, batch, PROJECT.columns, Drift())]


def test_rows_like_those_of_training_have_no_faults() -> None:
    for reference, batch, project in ((PARCELS, MORE, PROJECT), (BOATS, OTHERS, BOAT)):
        assert missing_faults(reference, batch, project, Drift()) == []
        assert constant_faults(reference, batch, project) == []
        assert unit_faults(reference, batch, project.columns, Drift()) == []


def test_a_batch_without_a_required_column_is_refused_by_name() -> None:
    found = report(raw().drop(columns=["distance", "sender"]))
    assert found["verdict"] == "refuse"
    assert "the batch lacks “sender”, “distance”" in found["reason"]


def test_more_rows_that_break_the_schema_than_ingest_takes_are_refused_with_the_value_and_what_to_do() -> None:
    batch = gathered(live(), raw(rows=1_000, shift="new_category"))
    share = batch.rejected / 1_000
    assert schema_faults(batch, PROJECT, share) == []
    (fault,) = schema_faults(batch, PROJECT, share - 0.001)
    assert f"{100 * share:.1f} % of the rows break the schema" in fault.words
    assert "“carrier” is none of Ant, Bee, Cat but 'Dog'" in fault.words
    assert "extend the row in stages/projects/toy.py" in fault.words
    typed = gathered(live(), raw(rows=1_000).assign(distance="old"))
    (fault,) = schema_faults(typed, PROJECT, 0.02)
    assert "“distance” is no number but 'old' in 100.0 %" in fault.words
    assert "extend" not in fault.words


def test_a_column_that_loses_its_values_is_a_fault_and_one_that_regains_them_is_none() -> None:
    assert missing(PARCELS, lose(MORE, 0.4, "weight")) == ["weight"]
    assert missing(lose(PARCELS, 0.4, "weight"), MORE) == []
    assert missing(PARCELS, lose(MORE, 0.1, "weight")) == []
    assert missing(PARCELS, lose(MORE, 0.4, "weight"), max_gaps=0.6) == []
    assert missing(PARCELS, lose(MORE.head(12), 0.5, "weight")) == []  # may be chance


def test_values_missing_together_are_other_rows_and_no_fault_until_one_is_missing_alone() -> None:
    hull = OTHERS["hours"].isna()
    plots = pd.concat([OTHERS[hull]] * 5 + [OTHERS[~hull]])
    assert plots["cabins"].isna().mean() > OTHERS["cabins"].isna().mean() + 0.2
    assert missing(BOATS, plots) == []
    assert missing(BOATS, lose(OTHERS, 0.4, "cabins")) == ["cabins"]


def test_a_number_that_is_stuck_is_a_fault_and_a_text_or_a_usual_value_is_none() -> None:
    def stuck(**values: Any) -> list[str | None]:
        return [fault.column for fault in constant_faults(PARCELS, MORE.assign(**values), PROJECT)]

    assert stuck(distance=40.0) == ["distance"]
    assert stuck(insured=1.0) == ["insured"]
    assert stuck(carrier="Ant") == []
    few = MORE[MORE["insured"] == 1].head(30)
    assert constant_faults(PARCELS, few, PROJECT) == []  # 30 of 70 % are no wonder
    assert constant_faults(PARCELS.assign(distance=40.0), MORE.assign(distance=41.0), PROJECT) == []  # it never varied
    sold = pd.Timestamp("2000-01-01")
    dates = OTHERS.assign(surveyed=OTHERS["surveyed"].where(OTHERS["surveyed"].isna(), sold))
    assert [fault.column for fault in constant_faults(BOATS, dates, BOAT)] == ["surveyed"]


@pytest.mark.parametrize("column", ["value", "weight", "distance"])
@pytest.mark.parametrize("factor", [0.001, 1 / 2.54, 10.764])
def test_another_unit_is_recognised_by_its_factor(column: str, factor: float) -> None:
    ((found, size),) = units(MORE.assign(**{column: MORE[column] * factor}))
    assert found == column
    assert size == pytest.approx(factor, rel=0.05)


def test_higher_amounts_and_another_distribution_are_not_another_unit() -> None:
    assert units(MORE.assign(value=MORE["value"] * 1.1)) == []
    rng = np.random.default_rng(0)
    assert units(MORE.assign(distance=rng.uniform(150, 200, len(MORE)))) == []
    assert units(MORE.assign(value=0.0)) == []


def test_a_unit_that_moves_a_wide_column_by_little_is_recognised_and_chance_is_not() -> None:
    rng = np.random.default_rng(2)
    usual, now = (pd.DataFrame({"value": np.exp(rng.normal(5, 1.7, rows))}) for rows in (455, 2_000))
    found = [
        [fault.column for fault in unit_faults(usual, batch, VALUE, Drift())] for batch in (now, now * 1.609, now / 1.609)
    ]
    assert found == [[], ["value"], ["value"]]


@pytest.mark.slow
def test_another_unit_is_refused_only_where_no_other_column_changed() -> None:
    cents = raw("toy", 1_000, labels=False)
    cents["value"] *= 100
    refused, moved = report(cents), report(cents.assign(distance=cents["distance"] + 80))
    assert refused["verdict"] == "refuse"
    assert "“value” is" in refused["reason"]
    assert "as in another unit" in refused["reason"]
    assert moved["verdict"] == "retrain"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("factor", "words"),
    [(10, "times its values in training and otherwise distributed the same"), (0.001, "median of “price” is")],
)
def test_a_target_in_another_unit_is_refused_though_training_would_leave_the_rows_out(factor: float, words: str) -> None:
    frame = raw("toy_price", 1_000)
    found = report(frame.assign(price=frame["price"] * factor), "toy_price")
    assert found["verdict"] == "refuse"
    assert words in found["reason"]
    inputs = {column.name for column in BOAT.columns}
    assert not [entry["column"] for entry in found["columns"] if entry["drifted"] and entry["column"] in inputs]


@pytest.mark.slow
def test_more_rows_that_training_would_leave_out_than_it_did_are_refused_and_counted() -> None:
    frame = raw("toy_price", 1_000)
    found = report(frame.assign(price=frame["price"].where(frame.index >= 300, 1.0)), "toy_price")
    assert found["verdict"] == "refuse"
    assert "training would leave out 3" in found["reason"]
    assert found["left_out"]["rows"] >= 290

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.monitoring.quality import constant_faults, gap_faults, schema_faults, unit_faults
from stages.monitoring.settings import Drift
from stages.projects._base import load_project
from tests.samples import records
from tests.stages.drifting import gathered, live, raw, report

REAL_PROJECTS = True

CHURN, HOMES = load_project("bankchurn"), load_project("realestate")
CUSTOMERS, MORE = records("bankchurn", 800, seed=3), records("bankchurn", 600, seed=4)
LISTINGS, OTHERS = records("realestate", 900, seed=3), records("realestate", 900, seed=4)


def lose(frame: pd.DataFrame, share: float, *columns: str) -> pd.DataFrame:
    lost = np.random.default_rng(0).random(len(frame)) < share
    return frame.assign(**{column: frame[column].mask(lost) for column in columns})


def gaps(reference: pd.DataFrame, batch: pd.DataFrame, **settings: Any) -> list[str | None]:
    project = CHURN if "Age" in reference else HOMES
    return [fault.column for fault in gap_faults(reference, batch, project, Drift(**settings))]


def units(batch: pd.DataFrame) -> list[tuple[str | None, float]]:
    return [(fault.column, fault.measured["factor"]) for fault in unit_faults(CUSTOMERS, batch, CHURN, Drift())]


def test_rows_like_those_of_training_have_no_faults() -> None:
    for reference, batch, project in ((CUSTOMERS, MORE, CHURN), (LISTINGS, OTHERS, HOMES)):
        assert gap_faults(reference, batch, project, Drift()) == []
        assert constant_faults(reference, batch, project) == []
        assert unit_faults(reference, batch, project, Drift()) == []


def test_a_batch_without_a_required_column_is_refused_by_name() -> None:
    found = report(raw().drop(columns=["Age", "Gender"]))
    assert found["verdict"] == "refuse"
    assert "it lacks `Gender`, `Age`" in found["reason"]


def test_more_rows_that_break_the_schema_than_ingest_takes_are_refused_with_the_value_and_what_to_do() -> None:
    batch = gathered(live(), raw(rows=1_000, shift="new_category"))
    share = batch.rejected / 1_000
    assert schema_faults(batch, CHURN, share) == []
    (fault,) = schema_faults(batch, CHURN, share - 0.001)
    assert f"{share:.1%} of its rows break the schema" in fault.words
    assert "`Geography` is none of France, Germany, Spain but 'Italy'" in fault.words
    assert "extend the row in stages/projects/bankchurn.py" in fault.words
    typed = gathered(live(), raw(rows=1_000).assign(Age="old"))
    (fault,) = schema_faults(typed, CHURN, 0.02)
    assert "`Age` is no number but 'old' in 100.0%" in fault.words
    assert "extend" not in fault.words


def test_a_column_that_loses_its_values_is_a_fault_and_one_that_regains_them_is_none() -> None:
    assert gaps(CUSTOMERS, lose(MORE, 0.4, "Tenure")) == ["Tenure"]
    assert gaps(lose(CUSTOMERS, 0.4, "Tenure"), MORE) == []
    assert gaps(CUSTOMERS, lose(MORE, 0.1, "Tenure")) == []
    assert gaps(CUSTOMERS, lose(MORE, 0.4, "Tenure"), max_gaps=0.6) == []
    assert gaps(CUSTOMERS, lose(MORE.head(12), 0.5, "Tenure")) == []  # may be chance


def test_gaps_that_belong_together_are_other_rows_and_no_fault_until_one_comes_alone() -> None:
    land = OTHERS["house_size"].isna()
    plots = pd.concat([OTHERS[land]] * 3 + [OTHERS[~land]])
    assert plots["bed"].isna().mean() > OTHERS["bed"].isna().mean() + 0.2
    assert gaps(LISTINGS, plots) == []
    assert gaps(LISTINGS, lose(OTHERS, 0.4, "bed")) == ["bed"]


def test_a_number_that_is_stuck_is_a_fault_and_a_text_or_a_usual_value_is_none() -> None:
    def stuck(**values: Any) -> list[str | None]:
        return [fault.column for fault in constant_faults(CUSTOMERS, MORE.assign(**values), CHURN)]

    assert stuck(Age=40.0) == ["Age"]
    assert stuck(HasCrCard=1.0) == ["HasCrCard"]
    assert stuck(Geography="France") == []
    few = MORE[MORE["HasCrCard"] == 1].head(30)
    assert constant_faults(CUSTOMERS, few, CHURN) == []  # 30 of 70 % are no wonder
    assert constant_faults(CUSTOMERS.assign(Age=40.0), MORE.assign(Age=41.0), CHURN) == []  # it never varied
    sold = pd.Timestamp("2000-01-01")
    dates = OTHERS.assign(prev_sold_date=OTHERS["prev_sold_date"].where(OTHERS["prev_sold_date"].isna(), sold))
    assert [fault.column for fault in constant_faults(LISTINGS, dates, HOMES)] == ["prev_sold_date"]


@pytest.mark.parametrize("column", ["Balance", "EstimatedSalary", "Tenure", "CreditScore"])
@pytest.mark.parametrize("factor", [0.001, 1 / 2.54, 10.764])
def test_another_unit_is_recognised_by_its_factor(column: str, factor: float) -> None:
    ((found, size),) = units(MORE.assign(**{column: MORE[column] * factor}))
    assert found == column
    assert size == pytest.approx(factor, rel=0.05)


def test_what_is_dearer_or_otherwise_distributed_is_not_in_another_unit() -> None:
    assert units(MORE.assign(Balance=MORE["Balance"] * 1.1)) == []
    rng = np.random.default_rng(0)
    assert units(MORE.assign(CreditScore=rng.uniform(300, 400, len(MORE)))) == []
    assert units(MORE.assign(Balance=0.0)) == []


def test_a_unit_that_moves_a_wide_column_by_little_is_recognised_and_chance_is_not() -> None:
    rng = np.random.default_rng(2)
    usual, now = (pd.DataFrame({"Balance": np.exp(rng.normal(5, 1.7, rows))}) for rows in (455, 2_000))
    found = [
        [fault.column for fault in unit_faults(usual.reindex(columns=names), batch.reindex(columns=names), CHURN, Drift())]
        for names in [[column.name for column in CHURN.columns]]
        for batch in (now, now * 1.609, now / 1.609)
    ]
    assert found == [[], ["Balance"], ["Balance"]]


def test_another_unit_is_refused_only_where_no_other_column_changed() -> None:
    cents = raw("bankchurn", 1_000, labels=False)
    cents["EstimatedSalary"] *= 100
    refused, moved = report(cents), report(cents.assign(Age=cents["Age"] + 10))
    assert refused["verdict"] == "refuse"
    assert "`EstimatedSalary` is" in refused["reason"]
    assert "as in another unit" in refused["reason"]
    assert moved["verdict"] == "retrain"

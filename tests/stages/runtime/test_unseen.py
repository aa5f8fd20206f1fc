from __future__ import annotations

import numpy as np
import pytest

from stages.core.schema import coerce
from stages.projects._base import Project
from stages.runtime.population import Population, summarise
from stages.runtime.unseen import Unseen
from tests.samples import records


def made(project: Project) -> tuple[Unseen, Population]:
    columns = coerce(records(project, 300, seed=1), project.columns)[0]
    population = summarise(columns, project.columns, np.zeros(len(next(iter(columns.values())))))
    return Unseen(project.columns, population), population


def test_no_training_row_has_a_warning(project: Project) -> None:
    columns = coerce(records(project, 300, seed=1), project.columns)[0]
    assert made(project)[0].warnings(columns) == [[]] * len(next(iter(columns.values())))


def test_a_number_beyond_the_training_rows_and_a_new_text_are_named_and_missing_values_are_not(project: Project) -> None:
    unseen, population = made(project)
    columns = coerce(records(project, 300, seed=1).head(4), project.columns)[0]
    for column in project.columns:
        bins = population["columns"].get(column.name)
        if bins is None:
            continue
        changed = {name: array.copy() for name, array in columns.items()}
        if column.kind == "number":
            least, greatest = bins["range"]
            changed[column.name][:] = [least - 1, greatest + 1, np.nan, greatest]
            words = [f"below the smallest value in training, {least:,.6g}.", f"largest value in training, {greatest:,.6g}."]
        else:
            changed[column.name][:] = ["bugatti veyron", "x" * 99, None, bins["known"][0]]
            words = ["'bugatti veyron' is in no training row.", f"{'x' * 60!r} is in no training row."]
        found = unseen.warnings(changed)
        assert [len(texts) for texts in found] == [1, 1, 0, 0]
        for (text,), said in zip(found[:2], words, strict=True):
            assert text.startswith(column.title)
            assert said in text


def test_of_a_population_that_does_not_tell_nothing_is_said(project: Project) -> None:
    columns = coerce(records(project, 300, seed=1), project.columns)[0]
    _, population = made(project)
    for bins in population["columns"].values():
        bins.pop("range", None)
        bins.pop("known", None)
    assert not any(Unseen(project.columns, population).warnings(columns))


@pytest.mark.parametrize("values", [[np.nan], [np.nan, np.nan]])
def test_an_empty_column_has_no_range(values: list[float], project: Project) -> None:
    number = next(column for column in project.columns if column.kind == "number")
    population = summarise({number.name: np.array(values)}, (number,), np.zeros(len(values)))
    assert population["columns"][number.name]["range"] == []
    assert Unseen((number,), population).warnings({number.name: np.array([5.0])}) == [[]]

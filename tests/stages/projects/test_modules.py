"""What the module of each project must fulfil: its simulator, its features and its groups."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp
from sklearn.metrics import roc_auc_score

from stages.core.schema import coerce
from stages.intake.sift import sift
from stages.projects._base import Columns, Project, columns_of
from stages.runtime.values import is_missing
from tests.samples import raw_rows, records

REAL_PROJECTS = True
ROWS = 3_000


def inputs(project: Project, shift: str | None = None, rows: int = ROWS) -> Columns:
    """The row's columns as features get them."""
    return coerce(raw_rows(project, rows, shift=shift), project.columns)[0]


def differing(first: Columns, second: Columns) -> list[str]:
    return [name for name in first if not pd.Series(first[name]).equals(pd.Series(second[name]))]


def covariate(project: Project, before: Columns, after: Columns) -> bool:
    """Some input is spread otherwise."""

    def apart(name: str) -> float:
        if before[name].dtype == object:
            shares = [pd.Series(values[name]).value_counts(normalize=True) for values in (before, after)]
            return float(shares[0].sub(shares[1], fill_value=0).abs().sum() / 2)
        return float(
            ks_2samp(*(values[name][~is_missing(values[name])].astype(float) for values in (before, after))).statistic
        )

    return max(map(apart, before)) > 0.1


def concept(project: Project, before: Columns, after: Columns) -> bool:
    """The same inputs have another outcome."""
    outcomes = [raw_rows(project, ROWS, shift=shift)[project.target] for shift in (None, "concept")]
    return not differing(before, after) and bool((outcomes[0] != outcomes[1]).mean() > 0.03)


def new_category(project: Project, before: Columns, after: Columns) -> bool:
    """One row in twenty has a text that did not occur."""
    strange = [~np.isin(after[n].astype(str), before[n].astype(str)) for n in before if before[n].dtype == object]
    return max(mask.mean() for mask in strange) == pytest.approx(0.05, abs=0.02)


def inflation(project: Project, before: Columns, after: Columns) -> bool:
    """Amounts, among the inputs or the outcome, rise by a tenth."""
    first, second = (raw_rows(project, ROWS, shift=shift) for shift in (None, "inflation"))
    names = [column.name for column in columns_of(project.record) if column.kind == "number"]
    changed = [name for name in names if not first[name].equals(second[name])]
    rise = [float(second[name].sum() / first[name].sum()) for name in changed]
    return bool(changed) and rise == pytest.approx([1.1] * len(changed), abs=0.03)


def broken_sensor(project: Project, before: Columns, after: Columns) -> bool:
    """A single input is far off and all else as before."""
    changed = differing(before, after)
    return len(changed) == 1 and bool(ks_2samp(before[changed[0]], after[changed[0]], nan_policy="omit").statistic > 0.9)


SHIFTS: dict[str, Callable[[Project, Columns, Columns], bool]] = {
    check.__name__: check for check in (covariate, concept, new_category, inflation, broken_sensor)
}


def test_a_seed_gives_the_same_rows_again_and_another_seed_others(project: Project) -> None:
    assert raw_rows(project, 100, seed=1).equals(raw_rows(project, 100, seed=1))
    assert not raw_rows(project, 100, seed=1).equals(raw_rows(project, 100, seed=2))
    assert len(raw_rows(project, 1)) == 1


def test_simulated_rows_keep_the_schema(project: Project) -> None:
    for seed in range(3):
        accepted, rejected, _ = sift(raw_rows(project, ROWS, seed), columns_of(project.record))
        assert len(rejected) <= 0.01 * ROWS
        assert accepted[project.target].nunique() > 1


def test_every_listed_shift_changes_what_it_says_and_no_more(project: Project) -> None:
    assert set(project.shifts) <= set(SHIFTS), "say here what a further kind of shift changes"
    before = inputs(project)
    for shift in project.shifts:
        assert SHIFTS[shift](project, before, inputs(project, shift)), shift


def test_rows_do_not_feel_the_other_rows_of_their_batch(project: Project) -> None:
    row = inputs(project, rows=60)
    whole = project.features(row)
    for number in range(60):
        alone = project.features({name: values[[number]] for name, values in row.items()})
        for name in project.feature_names:
            np.testing.assert_array_equal(alone[name], whole[name][[number]])


@given(order=st.permutations(range(12)))
def test_features_follow_their_rows_in_any_order(project: Project, order: list[int]) -> None:
    row = inputs(project, rows=12)
    whole = project.features(row)
    moved = project.features({name: values[order] for name, values in row.items()})
    for name in project.feature_names:
        np.testing.assert_array_equal(moved[name], whole[name][order])


@given(data=st.data())
def test_features_stand_any_gaps_in_optional_fields(project: Project, data: st.DataObject) -> None:
    row = inputs(project, rows=4)
    for column in project.columns:
        if not column.required:
            holes = np.array(data.draw(st.lists(st.booleans(), min_size=4, max_size=4)))
            row[column.name] = row[column.name].copy()
            row[column.name][holes] = (
                None if column.kind == "text" else np.array("NaT", "M8[D]") if column.kind == "date" else np.nan
            )
    before = {name: values.copy() for name, values in row.items()}
    found = project.features(row)
    assert not differing(before, row), "features leave their input as it was"
    for name in project.numeric:
        assert found[name].dtype.kind in "fi"
        assert not np.isinf(found[name].astype(float)).any()
    for name in project.one_hot + project.target_encoded:
        assert all(isinstance(value, str) for value in found[name]), name


def test_no_encoded_feature_tells_a_row_from_all_others(project: Project) -> None:
    """Else its encoding would be the target of that row, learned by heart."""
    features = project.features(inputs(project))
    for name in project.target_encoded:
        _, counts = np.unique(features[name], return_counts=True)
        assert (counts == 1).sum() < 0.4 * ROWS, name


def truth(project: Project) -> Callable[[Columns], np.ndarray] | None:
    """The simulator's own model: the function of a project's module that knows the concept shift."""
    module = import_module(f"stages.projects.{project.name}")
    functions = [value for _, value in inspect.getmembers(module, inspect.isfunction)]
    return next((f for f in functions if "concept" in inspect.signature(f).parameters), None)


def test_who_knows_the_simulators_truth_predicts_better_than_who_knows_the_average(project: Project) -> None:
    model = truth(project)
    assert model, "no function of the module takes `concept`"
    raw = project.clean(raw_rows(project, ROWS)).dropna(subset=[c.name for c in columns_of(project.record) if c.required])
    row = {str(name): raw[name].to_numpy() for name in raw}
    row |= {c.name: row[c.name].astype("M8[D]") for c in project.columns if c.kind == "date"}
    known = model(row)
    target = raw[project.target].to_numpy(dtype=float)
    kept = np.isfinite(known)
    assert kept.mean() > 0.7
    if project.task == "classification":
        assert roc_auc_score(target[kept], known[kept]) > 0.65
        assert known.mean() == pytest.approx(target.mean(), abs=0.03)
    else:
        error, dummy = np.abs(known - target)[kept].mean(), np.abs(np.median(target) - target)[kept].mean()
        assert error < 0.75 * dummy


def test_groups_are_named_alike_in_any_selection_of_rows(project: Project) -> None:
    if project.groups is None:
        pytest.skip("the project has none")
    frame = records(project, 200)
    keys = project.groups(frame)
    assert keys.notna().all()
    assert project.groups(frame.iloc[50:90]).equals(keys.iloc[50:90])

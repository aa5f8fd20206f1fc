from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from stages.intake.split import draw_keys, leaking_columns, split_rows
from stages.projects._base import Project
from tests.samples import records
from tests.toys import toy

PARCELS = toy()
VILLAGES = toy("toy_plain")


def mask_of(frame: pd.DataFrame, project: Project, test_size: float = 0.25, seed: int = 0) -> pd.Series:
    return split_rows(frame, draw_keys(frame["source"], seed)[frame.index], test_size, project)


def batches(project: Project, *sizes: int) -> pd.DataFrame:
    """Simulated rows of several sources, one after the other."""
    parts = [records(project, rows, seed).assign(source=seed) for seed, rows in enumerate(sizes)]
    return pd.concat(parts, ignore_index=True)


@given(groups=st.lists(st.integers(0, 12), min_size=4, max_size=60), cuts=st.integers(1, 3))
def test_no_group_is_on_both_sides_however_rows_and_sources_fall(groups: list[int], cuts: int) -> None:
    frame = pd.DataFrame({"g": groups, "worth": 1.0, "source": np.arange(len(groups)) * cuts // len(groups)})
    mask = mask_of(frame, replace(VILLAGES, groups=lambda rows: rows["g"]))
    assert (mask.groupby(frame["g"]).nunique() == 1).all()
    first = frame["source"] == 0
    assert mask[first].sum() < round(0.25 * first.sum()) + frame["g"][first].value_counts().max()


def test_no_object_of_a_project_is_on_both_sides(project: Project) -> None:
    frame = project.clean(batches(project, 400, 300))
    mask = mask_of(frame, project)
    assert 0.2 * len(frame) < mask.sum() < 0.3 * len(frame)
    if project.groups:
        keys = project.groups(frame)
        assert keys.nunique() < len(frame), "the simulator repeats some objects"
        assert not set(keys[mask]) & set(keys[~mask])


@given(outcomes=st.lists(st.integers(0, 1), min_size=8, max_size=80), share=st.sampled_from([0.1, 0.25, 0.5]))
def test_each_class_gives_the_same_share_to_the_test_rows(outcomes: list[int], share: float) -> None:
    frame = pd.DataFrame({"late": outcomes, "source": 0})
    mask = mask_of(frame, PARCELS, share)
    for label, rows in mask.groupby(frame["late"]):
        assert rows.sum() == round(share * outcomes.count(int(str(label))))


def test_a_further_source_leaves_earlier_rows_on_their_side(project: Project) -> None:
    before = batches(project, 300)
    after = batches(project, 300, 200)
    assert after.head(300).equals(before)
    assert mask_of(after, project).head(300).equals(mask_of(before, project))


def test_another_cleaning_rule_moves_only_as_many_rows_as_keep_the_share() -> None:
    frame = records(PARCELS, 1_000)
    keys = draw_keys(frame["source"], 0)
    kept = frame[frame["distance"] < 250]
    before = split_rows(frame, keys, 0.2, PARCELS)[kept.index]
    after = split_rows(kept, keys[kept.index], 0.2, PARCELS)
    for label in (0, 1):
        rows = kept["late"] == label
        moved = (before != after) & rows
        assert after[moved].nunique() <= 1
        assert moved.sum() == abs(int(before[rows].sum()) - round(0.2 * rows.sum()))


def test_the_seed_decides_which_rows_are_tested_on() -> None:
    frame = records(PARCELS, 100)
    assert mask_of(frame, PARCELS, seed=1).equals(mask_of(frame, PARCELS, seed=1))
    assert not mask_of(frame, PARCELS, seed=1).equals(mask_of(frame, PARCELS, seed=2))


def test_a_falling_copy_of_a_number_gives_it_away_and_noise_does_not() -> None:
    frame = records(VILLAGES, 100)
    assert leaking_columns(frame, VILLAGES) == []
    assert leaking_columns(frame.assign(rooms=-frame["worth"]), VILLAGES) == ["rooms"]
    two = -frame["worth"].where(frame.index < 2)  # which always follow the order of something
    assert leaking_columns(frame.assign(crime=two), VILLAGES) == []


def test_no_input_of_a_project_gives_its_target_away(project: Project) -> None:
    assert leaking_columns(project.clean(records(project, 1_000)), project) == []

"""Training and test rows: grouped by object, stratified by class, and stable when data is added."""

from __future__ import annotations

import numpy as np
import pandas as pd

from stages.core.cli import UserError
from stages.core.objects import objects
from stages.projects._base import Project
from stages.runtime.wording import count

FEWEST = 10  # values of a column below which its order may follow the target's by chance


def draw_keys(sources: pd.Series, seed: int) -> pd.Series:
    """A random number per row, drawn source by source: another source moves no row of an earlier one between training and
    test, and another cleaning rule only the few at the border.
    """
    keys = pd.Series(0.0, index=sources.index)
    for source, rows in sources.groupby(sources):
        # The name keeps the stream apart from the simulator's: with the same numbers the split would follow a column.
        keys[rows.index] = np.random.default_rng([*b"split", seed, int(str(source))]).random(len(rows))
    return keys


def split_rows(frame: pd.DataFrame, keys: pd.Series, test_size: float, project: Project) -> pd.Series:
    """Mask of the test rows: of each source the share `test_size` with the lowest keys, class by class for a classifier, and
    whole objects (`core.objects`); an object keeps the side it took in an earlier source. An object is ordered by the key
    of its first row: by its lowest key those of many rows would crowd into the test rows. The last one taken may exceed the
    share.
    """
    groups = objects(frame, project)
    strata = frame[project.target] if project.task == "classification" else pd.Series(0, index=frame.index)
    side: dict[object, bool] = {}
    for source in sorted(frame["source"].unique()):
        fresh = (frame["source"] == source) & ~groups.isin(list(side))
        for _, rows in strata[fresh].groupby(strata[fresh]):
            sizes = groups[rows.index].groupby(groups[rows.index]).size()
            order = keys[rows.index].groupby(groups[rows.index]).first().sort_values(kind="stable").index
            ordered = sizes[order]
            in_test = ordered.cumsum() - ordered < round(test_size * len(rows))
            side.update(in_test.items())
    return groups.map(side).astype(bool)


def leaking_columns(frame: pd.DataFrame, project: Project, limit: float = 0.999) -> list[str]:
    """Input columns that alone determine the target: the magnitude of their rank correlation with it is over `limit`. A text
    counts as the mean target of its rows. Texts that hardly repeat and columns of fewer than `FEWEST` values are skipped:
    they say nothing.
    """
    target = frame[project.target].rank()
    found = []
    for column in project.columns:
        values = frame[column.name]
        if column.kind == "text":
            if values.nunique() > len(values) / 10:
                continue
            values = target.groupby(values).transform("mean")
        if values.count() >= FEWEST and values.nunique() > 1 and abs(values.rank().corr(target)) > limit:
            found.append(column.name)
    return found


def check_leaks(frame: pd.DataFrame, project: Project) -> None:
    """UserError names the input columns that determine the target."""
    if leaking := leaking_columns(frame, project):
        raise UserError(f"{', '.join(leaking)} all but equals the target {project.target}: take it out of the row schema")


def check_sides(frame: pd.DataFrame, test: pd.Series, test_size: float, project: Project) -> None:
    """UserError where one side has no rows, or the training rows have one class only."""
    if test.all() or not test.any():
        raise UserError(
            f"{count(len(frame), 'row')} cannot be split with prepare.test_size = {test_size}: too few, or one object"
        )
    if project.task == "classification" and frame[project.target][~test].nunique() < 2:
        raise UserError(f"all rows have the same {project.target}: there is nothing to learn")


def record_split(raw: pd.DataFrame, frame: pd.DataFrame, test: pd.Series) -> pd.DataFrame:
    """Where each raw row went: `train`, `test`, or `dropped` by cleaning."""
    part = pd.Series("dropped", index=raw.index)
    part[frame.index] = np.where(test, "test", "train")
    return pd.DataFrame({"row": raw.index, "part": part})

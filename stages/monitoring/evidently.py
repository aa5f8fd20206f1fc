"""Evidently's report on a batch, with the tests and verdicts of the check in place of Evidently's own: those change with the
number of rows, these are the same as in the ledger.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

os.environ.setdefault("DO_NOT_TRACK", "1")  # read when it is imported
from evidently import DataDefinition, Dataset, Report
from evidently.legacy.calculations.stattests import StatTest, register_stattest
from evidently.legacy.core import ColumnType
from evidently.presets import DataDriftPreset

from stages.monitoring.reference import Live

KINDS = [ColumnType.Numerical, ColumnType.Categorical]


def pinned(entry: dict[str, Any], alpha: float) -> StatTest:
    """A test for Evidently that repeats what the check found of a column: the smallest corrected p-value, and whether it is
    drift, for which the difference has to be large too.
    """
    found = min((test["q"] for test in entry["tests"]), default=1.0), entry["drifted"]
    names = ", ".join(test["test"] for test in entry["tests"]) or "too few values"
    test = StatTest(f"veritable {entry['column']}", f"{names}; corrected p-value and size", KINDS, alpha)

    def repeat(reference: pd.Series, batch: pd.Series, kind: ColumnType, threshold: float) -> tuple[float, bool]:
        return found

    register_stattest(test, repeat)
    return test


def save_html(live: Live, batch: pd.DataFrame, scores: np.ndarray, report: dict[str, Any], alpha: float, path: Path) -> None:
    """Write Evidently's page on every column that was tested, except those without a value, which it refuses."""
    whole = [frame.assign(**{"the score": values}) for frame, values in ((batch, scores), (live.reference, live.scores))]
    entries = [entry for entry in report["columns"] if all(frame[entry["column"]].notna().any() for frame in whole)]
    sides = []
    for frame in whole:
        plain = frame[[entry["column"] for entry in entries]]
        dates = plain.select_dtypes("datetime").columns
        sides.append(plain.assign(**{name: plain[name].dt.year + plain[name].dt.dayofyear / 366 for name in dates}))
    texts = list(map(str, sides[1].select_dtypes("str")))
    numbers = [str(name) for name in sides[1] if name not in texts]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=texts)
    datasets = [Dataset.from_pandas(frame, data_definition=definition) for frame in sides]
    tests = {entry["column"]: pinned(entry, alpha) for entry in entries}
    preset = DataDriftPreset(columns=list(tests), per_column_method=tests, drift_share=1 / len(tests))
    with np.errstate(invalid="ignore"):  # it correlates constants
        Report([preset]).run(*datasets).save_html(str(path))

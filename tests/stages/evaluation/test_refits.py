from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from stages.evaluation.refits import backtest_rows, refit_score
from stages.projects._base import load_project
from tests.samples import records


def test_a_backtest_looks_ahead_only_and_at_no_object_seen_before() -> None:
    boats = load_project("toy_price")
    frame = records(boats, 1_000)
    before, after, day = backtest_rows(frame, boats, 0.2)
    assert frame["posted"][before].max() < pd.Timestamp(day) <= frame["posted"][after].min()
    assert boats.groups is not None
    keys = boats.groups(frame)
    assert not set(keys[before]) & set(keys[after])
    dated = frame["posted"].notna().to_numpy()
    assert (before | after)[dated].mean() > 0.9
    ungrouped = backtest_rows(frame, replace(boats, groups=None), 0.2)
    assert (ungrouped[0] | ungrouped[1])[dated].all()
    assert ungrouped[1].mean() == pytest.approx(0.2, abs=0.01)


def test_a_refit_checked_on_rows_of_one_class_has_no_ranking_metric_but_the_others() -> None:
    parcels, values = load_project("toy"), np.array([[0.0], [1.0], [2.0], [3.0]])
    both, one = np.array([0, 1, 0, 1]), np.zeros(4)
    scores = refit_score(LogisticRegression(), (values, both), (values, one), parcels)
    assert scores["roc_auc"] is None
    assert scores["brier"] == pytest.approx(0.25, abs=0.1)

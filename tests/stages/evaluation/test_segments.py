from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stages.evaluation.segments import BANDED, MIN_ROWS, bands, error_by_segment, fairness, first_values


def test_texts_and_few_numbers_are_segments_of_their_own_and_so_are_gaps() -> None:
    assert bands(pd.Series(["a", None, "b"])).tolist() == ["a", "(missing)", "b"]
    assert bands(pd.Series([1.0, np.nan, 2.0, 1.5])).tolist() == ["1", "(missing)", "2", "1.5"]


def test_many_numbers_are_cut_into_quarters() -> None:
    named = bands(pd.Series([*range(100), np.nan]))
    assert named.value_counts().drop("(missing)").tolist() == [25] * 4
    assert named.iloc[[0, 99, 100]].tolist() == ["0 to 24.75", "74.25 to 99", "(missing)"]


def test_numbers_that_are_mostly_one_value_are_cut_without_empty_quarters() -> None:
    named = bands(pd.Series([0] * 90 + list(range(1, BANDED + 2))))
    assert (named != "(missing)").all()
    assert named.iloc[0] == named.iloc[50]


def test_every_row_is_in_a_segment_or_counted_as_left_out() -> None:
    frame = pd.DataFrame({"kind": ["a"] * 50 + ["b"] * MIN_ROWS + ["c"] * (MIN_ROWS - 1), "n": range(79 + MIN_ROWS)})
    found = error_by_segment(frame, ("kind", "n"), lambda mask: {"mae": float(frame["n"][mask].mean())})
    kinds = [segment for segment in found["segments"] if segment["column"] == "kind"]
    assert kinds == [
        {"column": "kind", "segment": "a", "rows": 50, "mae": 24.5},
        {"column": "kind", "segment": "b", "rows": MIN_ROWS, "mae": 50 + (MIN_ROWS - 1) / 2},
    ]
    assert found["left_out"] == 1 + 4 - (len(found["segments"]) - 2)
    assert found["min_rows"] == MIN_ROWS


def test_fairness_tells_the_rates_of_each_group_and_how_far_apart_they_are() -> None:
    groups = pd.Series(["a"] * 10 + ["b"] * 10)
    target = np.array(([1] * 5 + [0] * 5) * 2)
    flagged = np.array([1] * 4 + [0] * 6 + [1] * 3 + [0] * 2 + [1] * 5 + [0] * 0)
    found = fairness(target, flagged, groups)
    assert found["groups"]["a"] == {"rows": 10, "flagged": 0.4, "recall": 0.8, "false_positive_rate": 0}
    assert found["groups"]["b"] == {"rows": 10, "flagged": 0.8, "recall": 0.6, "false_positive_rate": 1}
    assert found["disparate_impact"] == pytest.approx(0.5)
    assert found["disparate_impact_flag"] is True
    assert found["recall_gap"] == pytest.approx(0.2)
    assert fairness(target, target, groups)["disparate_impact_flag"] is False


def test_without_anyone_flagged_there_is_no_disparate_impact() -> None:
    found = fairness(np.array([0, 1, 0, 1]), np.zeros(4), pd.Series(["a", "a", "b", "b"]))
    assert found["disparate_impact"] is None
    assert found["disparate_impact_flag"] is False


def test_a_metric_without_a_value_becomes_none() -> None:
    scores = {"roc_auc": np.array([np.nan]), "brier": np.array([0.25]), "f1": np.array([1.0])}
    assert first_values(scores, ("roc_auc", "brier")) == {"roc_auc": None, "brier": 0.25}

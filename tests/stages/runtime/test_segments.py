from __future__ import annotations

from typing import Any

import pytest

from stages.runtime.segments import worst_segments


@pytest.mark.parametrize(
    ("primary", "metric", "order"),
    [("roc_auc", "roc_auc", ["a", "c"]), ("brier", "brier", ["b", "c", "a"]), ("r2", "roc_auc", ["a", "c"])],
)
def test_the_worst_segment_is_first_and_one_without_a_value_is_left_out(primary: str, metric: str, order: list[str]) -> None:
    segments: list[dict[str, Any]] = [
        {"segment": "a", "roc_auc": 0.6, "brier": 0.1},
        {"segment": "b", "roc_auc": None, "brier": 0.3},
        {"segment": "c", "roc_auc": 0.9, "brier": 0.2},
    ]
    found, ranked = worst_segments(segments, primary)
    assert (found, [segment["segment"] for segment in ranked]) == (metric, order)

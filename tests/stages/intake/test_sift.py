from __future__ import annotations

import pandas as pd

from stages.intake.sift import sift
from stages.projects._base import columns_of, load_project
from tests.samples import raw_rows


def test_no_row_is_lost_or_made_by_sifting() -> None:
    raw = raw_rows("toy", 200, shift="new_category").set_index(pd.RangeIndex(1000, 1200))
    accepted, rejected, counts = sift(raw, columns_of(load_project("toy").record))
    assert sorted([*accepted.index, *rejected.index]) == list(raw.index)
    assert len(rejected) == sum(counts.values()) == (raw["carrier"] == "Dog").sum() > 0
    assert accepted["distance"].equals(raw.loc[accepted.index, "distance"])

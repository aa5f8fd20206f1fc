from __future__ import annotations

from stages.monitoring.reference import ranked_columns
from stages.projects._base import load_project


def test_features_weigh_for_the_field_that_they_are_made_of() -> None:
    ranking = [
        {"feature": "Declared value", "importance": 0.3},
        {"feature": "value per kg", "importance": 0.3},
        {"feature": "Carrier: Bee", "importance": 0.25},
        {"feature": "Carrier: Cat", "importance": 0.25},
        {"feature": "Region: south", "importance": 0.1},
    ]
    order = ranked_columns(load_project("toy"), ranking)
    assert order[:3] == ["value", "carrier", "region"]
    assert sorted(order) == sorted(ranked_columns(load_project("toy"), []))

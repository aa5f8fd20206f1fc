from __future__ import annotations

from stages.monitoring.reference import ranked_columns
from stages.projects._base import load_project


def test_features_weigh_for_the_field_that_they_are_made_of() -> None:
    ranking = [
        {"feature": "Age", "importance": 0.3},
        {"feature": "dormant age", "importance": 0.3},
        {"feature": "Country: Germany", "importance": 0.25},
        {"feature": "Country: Spain", "importance": 0.25},
        {"feature": "Gender: Male", "importance": 0.1},
    ]
    order = ranked_columns(load_project("bankchurn"), ranking)
    assert order[:3] == ["Age", "Geography", "Gender"]
    assert sorted(order) == sorted(ranked_columns(load_project("bankchurn"), []))

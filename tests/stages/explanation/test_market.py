from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.explanation import market as module
from stages.explanation.market import OTHER, coded, furthest, market
from stages.projects._base import Project, load_project
from tests.samples import records

INTERVAL = {"coverage": 0.9, "radius": 0.3, "scale": "log"}
MARKETS = ("toy_price",)


def cars(rows: int = 400) -> tuple[pd.DataFrame, np.ndarray]:
    """Adverts, and prices that a model could have for them."""
    frame = records("toy_price", rows)
    return frame, frame["price"].to_numpy() * np.exp(np.random.default_rng(1).normal(0, 0.3, len(frame)))


def doubled(frame: pd.DataFrame) -> np.ndarray:
    """Answers of the model that serves, twice what is asked."""
    return 2 * frame["price"].to_numpy()


def made(frame: pd.DataFrame, scores: np.ndarray, project: Project | None = None, **interval: Any) -> dict[str, Any]:
    found = market(frame, scores, doubled, INTERVAL | interval, project or load_project("toy_price"), seed=0)
    assert found is not None
    return found


@pytest.mark.parametrize(("radius", "scale"), [(0.3, "log"), (2_000, "linear")])
def test_offers_lie_outside_the_interval_say_everything_and_can_be_predicted(radius: float, scale: str) -> None:
    frame, scores = cars()
    found = made(frame, scores, radius=radius, scale=scale)
    sides = [found["side"][offer["at"]] for offer in found["offers"]]
    assert {-1, 1} == set(sides)
    distances = []
    for offer, side in zip(found["offers"], sides, strict=True):
        asked = found["price"][offer["at"]]
        assert (asked < offer["low"]) if side < 0 else (asked > offer["high"])
        assert offer["low"] < offer["model"] < offer["high"]
        assert offer["serves"] == pytest.approx(2 * asked, rel=1e-5)
        load_project("toy_price").row.model_validate(offer["row"])
        distances.append(abs(np.log(asked / offer["model"])) if scale == "log" else abs(asked - offer["model"]))
        assert all(dimension["values"][offer["at"]] is not None for dimension in found["dimensions"])
    assert distances == pytest.approx(sorted(distances, reverse=True), rel=1e-2)


def test_prices_of_millions_are_told_to_the_unit_as_an_answer_tells_them() -> None:
    frame, scores = cars()
    found = made(frame.assign(price=frame["price"] * 0 + 7_654_321.0), scores * 0 + 1_234_567.0)
    assert {found["price"][0], found["offers"][0]["model"]} == {7_654_321, 1_234_567}


def test_the_sides_of_the_drawn_adverts_are_those_of_their_prices() -> None:
    frame, scores = cars()
    found = made(frame, scores)
    ratio = np.log(frame["price"] / scores)
    assert found["drawn"] == found["total"] == len(frame)
    assert found["side"][: len(frame)] == np.select([ratio < -0.3, ratio > 0.3], [-1, 1], 0).tolist()
    assert found["price"][: len(frame)] == frame["price"].tolist()


def test_many_adverts_are_drawn_from_always_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ADVERTS", 50)
    monkeypatch.setattr(module, "OFFERS", 7)
    frame, scores = cars()
    found = made(frame, scores)
    assert (found["total"], found["drawn"]) == (len(frame), 50)
    assert len(found["offers"]) == 14
    assert {len(dimension["values"]) for dimension in found["dimensions"]} == {64} == {len(found["price"])}
    assert found == made(frame, scores)


def test_the_furthest_adverts_are_listed_once_per_object_and_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OFFERS", 2)
    side = np.array([-1, 1, 0, -1, -1, 1, -1])
    distance = np.array([1, 2, 9, 3, 4, 5, 0.5])
    assert furthest(side, distance, pd.Series(list("abcdaef"))).tolist() == [5, 4, 3, 1]


def test_dimensions_are_columns_with_their_unit_and_features() -> None:
    project = load_project("toy_price")
    frame, scores = cars()
    found = {dimension["name"]: dimension for dimension in made(frame, scores)["dimensions"]}
    assert list(found) == list(project.market)
    assert (found["size"]["unit"], found["age"]["unit"]) == ("square feet", "")
    place = int(np.flatnonzero(frame["size"].notna() & frame["built"].notna())[0])
    row = frame.iloc[place]
    assert found["brand"]["levels"][found["brand"]["values"][place]] == row["builder"].split()[0]
    assert found["size"]["values"][place] == pytest.approx(row["size"], rel=1e-3)
    assert found["age"]["values"][place] == pytest.approx(row["posted"].year - row["built"], abs=1)
    gap = int(np.flatnonzero(frame["built"].isna())[0])
    assert found["built"]["values"][gap] is None


def test_levels_are_in_the_order_of_the_choices_or_of_their_frequency_and_rare_ones_are_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LEVELS", 2)
    texts = np.array(["c", "b", "a", "b", None, "b", "c"], dtype=object)
    assert coded(texts, ["x", "a", "b", "c"]) == (["a", "b", "c"], [2, 1, 0, 1, None, 1, 2])
    assert coded(texts, []) == (["b", "c", OTHER], [1, 0, 2, 0, None, 0, 1])


def test_the_explain_stage_writes_a_market_for_the_projects_that_have_one(project: Project, finished: Path) -> None:
    reports = finished / "reports" / project.name
    written = json.loads((reports / "market.json").read_text())
    assert (written is not None) == (project.name in MARKETS)
    assert json.loads((reports / "profile.json").read_text())["rows"] > 0
    if written:
        unseen = pd.read_parquet(finished / "models" / project.name / "out_of_fold.parquet")
        assert written["total"] == len(unseen)
        assert written["price"][: written["drawn"]] == pytest.approx(unseen["target"].tolist(), rel=1e-5)


def test_a_market_of_unknown_columns_or_without_prices_is_refused() -> None:
    with pytest.raises(ValueError, match="toy_price: market names colour, weather, no column of the record or feature"):
        replace(load_project("toy_price"), market={"weather": "Weather", "brand": "Brand", "colour": "Colour"})
    with pytest.raises(ValueError, match="toy: a market is of prices"):
        replace(load_project("toy"), market={"distance": "distance"})

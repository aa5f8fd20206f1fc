from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.promotion.versioning import next_version, version_part

MANIFEST: dict[str, Any] = {
    "columns": [{"name": "weight", "type": "number", "required": False, "unit": "kg"}],
    "target": "late",
    "task": "classification",
    "features": ["weight"],
    "estimator": "ridge",
    "libraries": {"numpy": "2.4.6"},
    "params": {"seed": 0, "folds": 5, "model": "best"},
    "data": {"sha256": "a" * 64, "simulated": True},
    "rows": 300,
    "threshold": 0.4,
}


def changed(**changes: Any) -> dict[str, Any]:
    manifest = deepcopy(MANIFEST)
    for key, value in changes.items():
        manifest[key] = manifest[key] | value if isinstance(value, dict) else value
    return manifest


@pytest.mark.parametrize(
    ("new", "part", "words"),
    [
        (changed(columns=[]), 0, "the columns of the row changed"),
        (changed(target="lost", task="regression", estimator="x"), 0, "the target and task of the row changed"),
        (changed(features=["weight", "weekday"]), 1, "its code or parameters changed: features."),
        (changed(estimator="voting", params={"model": "voting", "seed": 1}), 1, "changed: estimator and train.model."),
        (changed(libraries={"numpy": "2.5"}, data={"sha256": "b"}), 1, "parameters changed: libraries."),
        (changed(data={"sha256": "b"}, rows=400, threshold=0.5), 2, "only the data changed"),
        (changed(params={"seed": 1}), 2, "only the seed changed"),
        (changed(params={"seed": 1}, data={"sha256": "b"}), 2, "only the data and seed changed"),
        (changed(), 2, "no code, parameter or row changed"),
    ],
)
def test_the_part_of_the_version_that_grows_follows_from_what_changed(new: dict[str, Any], part: int, words: str) -> None:
    found, why = version_part(MANIFEST, new, [])
    assert found == part
    assert words in why
    assert why.startswith(f"It is a {('major', 'minor', 'patch')[part]} version, as ")


def test_changed_code_is_a_minor_version_and_is_named_while_it_is_short() -> None:
    part, why = version_part(MANIFEST, MANIFEST, ["stages/train.py"])
    assert part == 1
    assert why == "It is a minor version, as its code or parameters changed: stages/train.py."
    _, why = version_part(MANIFEST, MANIFEST, [f"stages/{letter}.py" for letter in "abcdef"])
    assert why.endswith("changed: stages/a.py, stages/b.py, stages/c.py and 3 more.")


NUMBERS = st.tuples(*[st.integers(0, 12)] * 3)


def name(numbers: tuple[int, ...]) -> str:
    return f"v{'.'.join(map(str, numbers))}"


@given(NUMBERS, st.integers(0, 2), st.sets(NUMBERS, max_size=30))
def test_the_next_version_is_higher_in_its_part_nought_behind_it_and_not_taken(
    last: tuple[int, ...], part: int, taken: set[tuple[int, ...]]
) -> None:
    found = tuple(map(int, next_version(name(last), part, {name(other) for other in taken})[1:].split(".")))
    assert found not in taken
    assert found[:part] == last[:part]
    assert found[part] > last[part]
    assert set(found[part + 1 :]) <= {0}
    skipped = {(*last[:part], number, *[0] * (2 - part)) for number in range(last[part] + 1, found[part])}
    assert skipped <= taken

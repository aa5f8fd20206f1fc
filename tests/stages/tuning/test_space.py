from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.core.params import load_block
from stages.modeling.settings import Train
from stages.projects._base import project_names
from stages.tuning.settings import Choice, Range
from stages.tuning.space import covers, current_values, lowest, rewritten, rounded, with_values
from tests.samples import ROOT

REAL_PROJECTS = True

TEXT = """\
# All parameters.
base:
  seed: 0   # fixed

toy:
  ingest:
    sources:
      - "simulate?rows=400"  # few
    max_rejected: 0.02
  prepare: {test_size: 0.25}
  train:
    model: voting  # of two
    candidates: [voting]
    folds: 2
    random_forest:
      # Small ones.
      n_estimators: 5  # trees
      min_samples_leaf: 1.0e-4

      # What follows is another matter.
    voting:
      members: {random_forest: 1, extra_trees: 1}
    # The end.
  evaluate:
    learning_curve:
      - 0.5
  explain: {}
"""
VALUES = {"members.extra_trees": 0.4567, "random_forest.max_features": "sqrt", "extra_trees.n_estimators": 7}


def changed_lines(before: str, after: str) -> tuple[set[str], set[str]]:
    old, new = before.splitlines(), after.splitlines()
    return set(old) - set(new), set(new) - set(old)


@pytest.mark.parametrize("text", [TEXT, TEXT.replace("\n      - ", "\n    - ")], ids=["indented", "flush"])
def test_writing_values_changes_only_their_lines(text: str) -> None:
    gone, come = changed_lines(text, rewritten(text, "toy", "voting", VALUES))
    assert gone == {"      members: {random_forest: 1, extra_trees: 1}"}
    assert come == {
        "      members: {random_forest: 1, extra_trees: 0.4567}",
        "      max_features: sqrt",
        "    extra_trees:",
        "      n_estimators: 7",
    }


@pytest.mark.parametrize("name", project_names())
def test_the_params_of_this_repository_are_written_back_as_they_stand(name: str) -> None:
    text = (ROOT / "params.yaml").read_text()
    estimator = load_block(name, "train", Train, ROOT / "params.yaml").candidates[0]
    assert rewritten(text, name, estimator, {}) == text
    gone, come = changed_lines(text, rewritten(text, name, estimator, {"never_set": 0.6543}))
    assert gone == set()
    assert come == {"      never_set: 0.6543"}


@pytest.mark.parametrize("tiny", [1e-07, 0.00001234, 123400000.0])
def test_what_was_written_is_what_is_trained_with(tmp_path: Path, tiny: float) -> None:
    values = {**VALUES, "random_forest.min_samples_leaf": tiny, "random_forest.bootstrap": False}
    (tmp_path / "params.yaml").write_text(TEXT)
    before = load_block("toy", "train", Train, tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text(rewritten(TEXT, "toy", "voting", values))
    after = load_block("toy", "train", Train, tmp_path / "params.yaml")
    assert after.model_dump() == with_values(before, "voting", values).model_dump()
    assert current_values(after, "voting", dict.fromkeys(values, Range(low=0, high=1))) == values
    assert before.estimators["voting"]["members"]["extra_trees"] == 1, "the settings given stay as they are"


def test_only_values_that_are_set_are_current(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(TEXT)
    train = load_block("toy", "train", Train, tmp_path / "params.yaml")
    space: dict[str, Any] = dict.fromkeys(("random_forest.n_estimators", "random_forest.max_features"), Range(low=1, high=9))
    assert current_values(train, "voting", space) == {"random_forest.n_estimators": 5}


@given(st.floats(1e-9, 1e9), st.floats(1e-9, 1e9), st.floats(0, 1))
def test_a_number_is_rounded_to_four_digits_inside_its_range(one: float, other: float, share: float) -> None:
    low, high = min(one, other), max(one, other) * 2
    value = min(low + share * (high - low), high)
    short = rounded(value, Range(low=low, high=high))
    assert low <= short <= high
    assert short in (low, high) or float(f"{short:.3e}") == short
    assert short == pytest.approx(value, rel=5.001e-4)


def test_whole_numbers_and_choices_stay_as_drawn() -> None:
    assert rounded(123456, Range(low=1, high=10**6)) == 123456
    assert rounded(0.123456, Choice(choices=[0.123456, 1])) == 0.123456


@pytest.mark.parametrize(
    ("part", "inside", "outside"),
    [
        (Range(low=1, high=9), [1, 9], [0, 10, 5.5, "sqrt", None]),
        (Range(low=0.1, high=9), [1, 0.1, 9.0], [0.09, 10, "sqrt", None]),
        (Choice(choices=["sqrt", 0.5]), ["sqrt", 0.5], ["log2", 0.4, 1]),
    ],
)
def test_a_value_outside_the_space_is_recognised(part: Any, inside: list[Any], outside: list[Any]) -> None:
    assert all(covers(part, value) for value in inside)
    assert not any(covers(part, value) for value in outside)
    assert covers(part, lowest({"key": part})["key"])

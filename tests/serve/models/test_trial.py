"""Tests of serve/models/trial.py: what only shows when a model is asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serve.models.loader import LoadError, load_model
from serve.models.trial import load_answerer
from tests.serve.checkout import example, settings, write_lock


def change_plan(root: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = root / "models" / "toy" / "plan.json"
    plan = json.loads(path.read_text())
    change(plan)
    path.write_text(json.dumps(plan))
    write_lock(root)


def name_unknown_weights(plan: dict[str, Any]) -> None:
    """Only a row with a missing value needs them."""
    for entry in plan["plan"]:
        if entry["kind"] == "numeric":
            entry["fill"] = {"intercept": 0.0, "weights": {"no such feature": [1.0, 0.0]}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda plan: plan.update(probe={"row": example("toy"), "score": 0.123}), r"known row 0\.\d+ instead of 0\.123"),
        (lambda plan: plan["probe"]["row"].update(distance=7), "tried and failed"),
        (name_unknown_weights, r"tried and failed \(KeyError: 'no such feature'\): run `dvc repro explain@toy`"),
    ],
    ids=["score", "schema", "missing value"],
)
def test_a_model_that_fails_at_what_it_will_be_asked_is_refused(root: Path, change: Any, message: str) -> None:
    change_plan(root, change)
    load_model("toy", settings(root, root))  # each file by itself is right
    with pytest.raises(LoadError, match=message):
        load_answerer("toy", settings(root, root))

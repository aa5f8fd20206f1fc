"""Tests of stages/explanation/samples.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.core.schema import coerce
from stages.explanation import samples as module
from stages.explanation.samples import PERCENTILES, ROWS, json_rows, samples
from stages.projects._base import Project
from tests.samples import records
from tests.toys import toy


def rows_of(train: pd.DataFrame, project: Project, seed: int = 0) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = samples(train, train, np.zeros(len(train)), project, seed)["rows"]
    return rows


def test_samples_are_rows_as_the_server_takes_them_and_none_is_a_training_row(project: Project, finished: Path) -> None:
    found = json.loads((finished / "reports" / project.name / "synthetic.json").read_text())["rows"]
    train = pd.read_parquet(finished / "data" / project.name / "train.parquet")
    known = json_rows(coerce(train, project.columns)[0], project.columns)
    assert len(found) == ROWS
    for row in found:
        project.row.model_validate_json(json.dumps(row), strict=True)
        assert None not in row.values()
        assert row not in known


def test_training_rows_and_rows_that_break_the_schema_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    project = toy("toy_plain")
    train = records(project, 20)
    other = records(project, 4, seed=1).assign(rooms=[6.0, 500.0, 7.0, 8.0])  # the second has too many rooms
    drawn = coerce(pd.concat([train, other]), project.columns)[0]
    monkeypatch.setattr(module, "synthesize", lambda *arguments: drawn)
    assert [row["rooms"] for row in rows_of(train, project)] == [6.0, 7.0, 8.0]


@pytest.mark.slow
def test_what_the_adverts_of_one_object_have_in_common_is_not_drawn() -> None:
    project = toy("toy_price")
    train = records(project, 300)
    again = pd.concat([train.iloc[[0]].assign(builder="only one")] * 50)
    assert "only one" not in {row["builder"] for row in rows_of(pd.concat([train, again]), project)}
    others = pd.concat([train, again.assign(hours=np.arange(50.0))])
    assert "only one" in {row["builder"] for row in rows_of(others, project)}


def test_predictions_are_ranked_among_scores_or_true_values(project: Project, finished: Path) -> None:
    reference = pd.read_parquet(finished / "models" / project.name / "reference.parquet")
    scores = np.linspace(0, 1, len(reference))
    found = samples(reference, reference, scores, project, seed=0)["percentiles"]
    truth = reference[project.target].to_numpy()
    among = scores if project.task == "classification" else truth
    assert len(found) == PERCENTILES
    assert (found[0], found[50], found[-1]) == pytest.approx((among.min(), np.median(among), among.max()))


@pytest.mark.slow
def test_another_seed_draws_other_rows(project: Project) -> None:
    drawn = [rows_of(records(project, 200), project, seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]

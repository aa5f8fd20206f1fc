"""Tests of stages/explanation/samples.py."""

from __future__ import annotations

import json
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest

from stages.explanation.samples import PERCENTILES, ROWS, samples
from stages.modeling.pipeline import predict_scores
from stages.projects._base import Project


def test_samples_are_rows_of_the_reference_as_the_server_takes_them(project: Project, finished: Path) -> None:
    found = json.loads((finished / "reports" / project.name / "samples.json").read_text())
    reference = pd.read_parquet(finished / "models" / project.name / "reference.parquet")
    model = joblib.load(finished / "models" / project.name / "model.joblib")
    assert len(found["rows"]) == min(ROWS, len(reference))
    for row in found["rows"]:
        project.row.model_validate_json(json.dumps(row), strict=True)
        assert None not in row.values()
    scores = predict_scores(model, reference, project)
    rows = pd.DataFrame(found["rows"], columns=list(project.row.model_fields))
    for score in predict_scores(model, rows, project):
        assert np.isclose(scores, score, rtol=1e-9).any()


def test_predictions_are_ranked_among_scores_or_true_values(project: Project, finished: Path) -> None:
    reference = pd.read_parquet(finished / "models" / project.name / "reference.parquet")
    scores = np.linspace(0, 1, len(reference))
    found = samples(reference, scores, project, seed=0)["percentiles"]
    truth = reference[project.target].to_numpy()
    among = scores if project.task == "classification" else truth
    assert len(found) == PERCENTILES
    assert (found[0], found[50], found[-1]) == pytest.approx((among.min(), np.median(among), among.max()))


def test_another_seed_draws_other_rows(project: Project, finished: Path) -> None:
    reference = pd.read_parquet(finished / "models" / project.name / "reference.parquet")
    drawn = [samples(reference, np.zeros(len(reference)), project, seed)["rows"] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]

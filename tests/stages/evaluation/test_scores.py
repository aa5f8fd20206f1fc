from __future__ import annotations

import numpy as np

from stages.evaluation.scores import baseline_scores
from stages.projects._base import load_project


def test_the_baseline_looks_at_no_row() -> None:
    parcels, villages = load_project("toy"), load_project("toy_plain")
    assert baseline_scores(parcels, np.array([0, 0, 0, 1]), 2).tolist() == [0.25, 0.25]
    assert baseline_scores(villages, np.array([1.0, 2.0, 9.0]), 2).tolist() == [2, 2]

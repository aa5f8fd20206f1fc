from __future__ import annotations

import numpy as np
import pytest
from sklearn.model_selection import cross_val_predict, cross_val_score

from stages.crossval import FoldResult, cross_validate, leaderboard, out_of_fold
from stages.pipeline import RowFeatures, build_model, make_folds
from stages.project import load_project
from tests.samples import records, settings

CHURN = load_project("bankchurn")


def test_candidates_are_scored_on_the_same_folds_as_scikit_learn_would() -> None:
    frame = records(CHURN, 200)
    features, target = RowFeatures("bankchurn").transform(frame), frame["Exited"].to_numpy()
    folds = make_folds(CHURN, frame, 3, seed=0)
    models = {name: build_model(CHURN, name, settings(), 0) for name in ("logistic_regression", "random_forest")}
    results = list(cross_validate(models, features, target, folds, CHURN))
    assert [(result.name, result.fold) for result in results] == [(name, fold) for name in models for fold in range(3)]
    for name, model in models.items():
        own = [result for result in results if result.name == name]
        scores = [result.scores["roc_auc"] for result in own]
        np.testing.assert_allclose(scores, cross_val_score(model, features, target, cv=folds, scoring="roc_auc"))
        expected = cross_val_predict(model, features, target, cv=folds, method="predict_proba")[:, 1]
        np.testing.assert_allclose(out_of_fold(own, folds, 200), expected)
        assert not hasattr(model, "classes_"), "the candidates themselves stay unfitted"


def results_of(name: str, *scores: float) -> list[FoldResult]:
    return [FoldResult(name, fold, {"mae": score}, np.empty(0), 0.1) for fold, score in enumerate(scores)]


@pytest.mark.parametrize(("higher", "order"), [(True, ["c", "a", "b"]), (False, ["b", "a", "c"])])
def test_the_leaderboard_has_the_best_mean_first(higher: bool, order: list[str]) -> None:
    results = [*results_of("a", 1, 3), *results_of("b", 0, 1), *results_of("c", 5, 5)]
    board = leaderboard(results, "mae", higher)
    assert [row["candidate"] for row in board] == order
    row = next(row for row in board if row["candidate"] == "a")
    assert row["metrics"]["mae"] == {"mean": 2.0, "sd": pytest.approx(2**0.5)}

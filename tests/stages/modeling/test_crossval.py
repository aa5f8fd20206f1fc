from __future__ import annotations

import numpy as np
import pytest
from sklearn.model_selection import cross_val_predict, cross_val_score

from stages.modeling.crossval import FoldResult, cross_validate, leaderboard, out_of_fold
from stages.modeling.pipeline import RowFeatures, build_model, make_folds
from tests.samples import records, settings
from tests.toys import toy

CHURN = toy()


def test_candidates_are_scored_on_the_same_folds_as_scikit_learn_would() -> None:
    frame = records(CHURN, 200)
    features, target = RowFeatures("toy").transform(frame), frame["late"].to_numpy()
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


def results_of(name: str, metric: str, *scores: float) -> list[FoldResult]:
    return [FoldResult(name, fold, {metric: score}, np.empty(0), 0.1) for fold, score in enumerate(scores)]


@pytest.mark.parametrize(("metric", "order"), [("r2", ["c", "a", "b"]), ("mae", ["b", "a", "c"])])
def test_the_leaderboard_has_the_best_mean_first(metric: str, order: list[str]) -> None:
    results = [*results_of("a", metric, 1, 3), *results_of("b", metric, 0, 1), *results_of("c", metric, 5, 5)]
    board = leaderboard(results, metric)
    assert [row["candidate"] for row in board] == order
    row = next(row for row in board if row["candidate"] == "a")
    assert row["metrics"][metric] == {"mean": 2.0, "sd": pytest.approx(2**0.5)}

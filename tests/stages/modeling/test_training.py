from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from stages.modeling.training import fit_classifier
from stages.projects._base import load_project
from tests.samples import records, settings


def test_the_threshold_follows_the_goal() -> None:
    project = load_project("toy")
    frame = records(project, 400).fillna({"weight": 8.0})
    features = frame[["distance", "value", "weight"]]
    target = frame["late"].to_numpy()
    model = Pipeline([("columns", StandardScaler()), ("estimator", LogisticRegression())])
    unseen = cross_val_predict(model, features, target, method="predict_proba")[:, 1]
    thresholds = []
    for ratio in (0.3, 3.0):
        train = settings(calibration="isotonic", threshold={"goal": "cost", "cost_ratio": ratio})
        fitted, probabilities, decision = fit_classifier(model, features, target, unseen, train, seed=0)
        assert roc_auc_score(target, probabilities) > 0.5
        np.testing.assert_array_equal(
            fitted.predict(features), fitted.predict_proba(features)[:, 1] >= decision["threshold"]
        )
        thresholds.append(decision["threshold"])
    assert thresholds[0] > thresholds[1]

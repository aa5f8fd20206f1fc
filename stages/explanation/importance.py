"""Feature importance of a fitted model: SHAP values and permutation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import shap
from sklearn.inspection import permutation_importance

from stages.modeling.estimators import explainer_of
from stages.modeling.metrics import fold_scores
from stages.modeling.parallel import compute_backend
from stages.modeling.pipeline import predict_scores, unwrap
from stages.projects._base import Project
from stages.runtime.metric_names import HIGHER_IS_BETTER
from stages.runtime.wording import words

ADDITIVITY = 1e-6  # relative; shap itself checks far more loosely, and not at all for some estimators


def feature_importance(
    model: Any, estimator: str, features: pd.DataFrame, target: np.ndarray, project: Project, repeats: int, seed: int
) -> tuple[dict[str, Any], pd.DataFrame]:
    """What importance.json says, by SHAP values where the estimator has an exact explainer and else by permutation alone;
    and the dots of the beeswarm plot, none without SHAP values.
    """
    with compute_backend():
        shuffled = permuted(model, features, target, project, repeats, seed)
    permutation = ranked(list(shuffled["feature"]), list(shuffled["importance"]))
    explained = shap_values(model, estimator, features, project)
    if explained is None:
        dots = pd.DataFrame({"feature": pd.Series(dtype="str"), "value": 0.0, "contribution": 0.0})
        return {"method": "permutation", "ranking": permutation, "permutation": permutation}, dots
    mean = explained[0].abs().mean()
    ranking = ranked(list(mean.index), list(mean))
    scale = scale_of(model, project)
    return {"method": "shap", "scale": scale, "ranking": ranking, "permutation": permutation}, beeswarm(*explained)


def scale_of(model: Any, project: Project) -> str:
    """The unit of SHAP values, by the names of `stages.runtime.shapley`."""
    layers = unwrap(model["model"])
    if project.task == "classification":
        return "log_odds" if layers.gives_log_odds else "probability"
    return "value" if layers.inverse is None else "log"


def ranked(names: list[str], values: list[float]) -> list[dict[str, Any]]:
    """Features with their importance, the most important first."""
    pairs = sorted(zip(names, values, strict=True), key=lambda pair: -pair[1])
    return [{"feature": name, "importance": float(value)} for name, value in pairs]


def beeswarm(values: pd.DataFrame, encoded: pd.DataFrame) -> pd.DataFrame:
    """One row per dot: the feature, its value in that row and its contribution."""
    return pd.DataFrame(
        {
            "feature": values.columns.repeat(len(values)),
            "value": encoded.to_numpy().ravel(order="F"),
            "contribution": values.to_numpy().ravel(order="F"),
        }
    )


def shap_values(model: Any, name: str, features: pd.DataFrame, project: Project) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """Exact SHAP values of the estimator's raw output (log-odds of boosting and linear models, probability of forests, log
    of the price for a log target) and the encoded columns they belong to, both of shape (rows, encoded columns). None for
    an estimator without an exact explainer. ArithmeticError if they do not add up to the output.

    Trees: path-dependent TreeSHAP (Lundberg et al., Nature Machine Intelligence 2020). Linear: coefficient times distance
    from the mean.
    """
    kind = explainer_of(name)
    if kind == "none":
        return None
    layers = unwrap(model["model"])
    encoder, estimator = layers.encoder, layers.estimator
    encoded = np.asarray(encoder.transform(features), dtype=float)
    if kind == "tree":
        explainer = shap.TreeExplainer(estimator, feature_perturbation="tree_path_dependent")
        values = np.asarray(explainer.shap_values(encoded, check_additivity=False))
    else:
        explainer = shap.LinearExplainer(estimator, shap.maskers.Independent(encoded, max_samples=len(encoded)))
        values = np.asarray(explainer.shap_values(encoded))
    base = np.atleast_1d(explainer.expected_value)[-1]
    if values.ndim == 3:  # one layer per class
        values = values[:, :, -1]
    check_additivity(base + values.sum(axis=1), raw_output(estimator, encoded))
    columns = [readable(column, project) for column in encoder.get_feature_names_out()]
    return pd.DataFrame(values, columns=columns), pd.DataFrame(encoded, columns=columns)


def check_additivity(total: np.ndarray, output: np.ndarray) -> None:
    """ArithmeticError unless base value and contributions add up to the output."""
    error = np.max(np.abs(total - output) / np.maximum(1, np.abs(output)))
    if error > ADDITIVITY:
        raise ArithmeticError(f"the SHAP values miss the model's output by up to {error:.2g}")


def raw_output(estimator: Any, encoded: np.ndarray) -> np.ndarray:
    """What the estimator's trees or coefficients add up to, before a link function."""
    if hasattr(estimator, "decision_function"):
        return np.asarray(estimator.decision_function(encoded))
    module = type(estimator).__module__.partition(".")[0]
    if module == "lightgbm":
        return np.asarray(estimator.predict(encoded, raw_score=True))
    if module == "xgboost":
        return np.asarray(estimator.predict(encoded, output_margin=True))
    if module == "catboost":
        return np.asarray(estimator.predict(encoded, prediction_type="RawFormulaVal"))
    if hasattr(estimator, "predict_proba"):
        return np.asarray(estimator.predict_proba(encoded)[:, 1])
    return np.asarray(estimator.predict(encoded))


def permuted(
    model: Any, features: pd.DataFrame, target: np.ndarray, project: Project, repeats: int, seed: int
) -> pd.DataFrame:
    """How much worse the primary metric gets with one feature shuffled: mean and sd per feature over the repeats (Breiman,
    Random Forests, 2001, section 10).
    """
    sign = 1 if project.primary_metric in HIGHER_IS_BETTER else -1

    def scorer(fitted: Any, rows: pd.DataFrame, truth: np.ndarray) -> float:
        return sign * fold_scores(truth, predict_scores(fitted, rows, project), project.task)[project.primary_metric]

    found = permutation_importance(model["model"], features, target, scoring=scorer, n_repeats=repeats, random_state=seed)
    names = [readable(column, project) for column in map(str, features)]
    return pd.DataFrame({"feature": names, "importance": found.importances_mean, "sd": found.importances_std})


def readable(column: str, project: Project) -> str:
    """The title of an encoded column: that of its field, with the category of a one-hot column behind it."""
    titles = {field.name: field.title for field in project.columns}
    for name in project.one_hot:
        if column.startswith(f"{name}_"):
            return f"{titles.get(name, words(name))}: {column.removeprefix(f'{name}_')}"
    return titles.get(column, words(column))

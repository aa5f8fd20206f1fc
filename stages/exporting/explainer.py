"""What explains a fitted model without scikit-learn: the table behind `runtime.shapley.Explainer`."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from stages.exporting.trees import Ensemble, Tree, read_trees
from stages.modeling.pipeline import Layers, unwrap
from stages.runtime.scorer import Scorer
from stages.runtime.shapley import ENUMERATED, SCORED, owner
from stages.runtime.treeshap import Table


def explainer_table(model: Any, scorer: Scorer, encoded: np.ndarray) -> Table:
    """What an `Explainer` needs of a fitted model (the part of the pipeline behind the row's features), with the encoded
    training rows, shape (rows, encoded columns): the trees with the training rows per node; coefficients and column means;
    or, for every other estimator, a few rows to compare with, at even steps of the score so that they score like the
    training data on average (which halves the error of as many random rows; that of the orders that are drawn is small
    beside it).
    """
    layers = unwrap(model)
    estimator, scale = layers.estimator, _scale(layers)
    trees = read_trees(estimator)
    if trees is not None:
        return {**scale, "method": np.array("tree"), **tree_table(trees)}
    if type(estimator).__name__ in ("LogisticRegression", "LinearRegression", "Ridge"):
        coefficients, offset = np.ravel(estimator.coef_), np.ravel(estimator.intercept_)[0]
        linear = {"coefficients": coefficients, "means": encoded.mean(axis=0), "offset": np.array(offset)}
        return {**scale, "method": np.array("linear"), **linear}
    answer = np.array("probability") if hasattr(estimator, "classes_") else scale["scale"]
    fields = len({owner(feature, scorer.project) for feature in scorer.encoder.sources})
    background = max(4, SCORED // (2**fields if fields <= ENUMERATED else 2 * (fields - 1)))
    order = np.argsort(scorer.score_encoded(encoded), kind="stable")
    picked = order[(np.arange(background) * 2 + 1) * len(order) // (2 * background)]
    return {"method": np.array("sampled"), "scale": answer, **_affine(1.0, 0.0), "background": encoded[picked]}


def tree_table(ensemble: Ensemble) -> Table:
    """The trees one after the other, as `runtime.treeshap.Trees` takes them. A leaf has feature -1 and its value for a
    number; a split's number is the value up to which a row goes left.
    """
    share = len(ensemble.trees) if ensemble.averaged else 1
    parts = [_nodes(tree, share) for tree in ensemble.trees]
    starts = np.cumsum([0, *(len(part["feature"]) for part in parts)])[:-1].astype(np.int32)
    for part, start in zip(parts, starts, strict=True):
        part["left"], part["right"] = part["left"] + start, part["right"] + start
    table = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    return {**table, "roots": starts, "offset": np.array(ensemble.start), "rounded": np.array(ensemble.rounded)}


def to_bytes(table: Table) -> bytes:
    """The table as an .npz file: equal tables are equal bytes, as NumPy dates the members of the archive 1980."""
    buffer = io.BytesIO()
    np.savez(buffer, **{name: table[name] for name in sorted(table)})  # type: ignore[arg-type]
    return buffer.getvalue()


def _nodes(tree: Tree, share: int) -> Table:
    return {
        "feature": np.where(tree.leaf, -1, tree.feature).astype(np.int16),
        "number": np.where(tree.leaf, tree.value / share, tree.split),
        "missing_left": tree.missing_left,
        "left": np.maximum(tree.left, 0).astype(np.int32),
        "right": np.maximum(tree.right, 0).astype(np.int32),
        "cover": tree.cover,
    }


def _scale(layers: Layers) -> Table:
    """The scale on which the estimator's raw output becomes the model's by a product and a sum. Platt's calibration is
    1 / (1 + exp(a * raw + b)), so the calibrated log-odds are -a * raw - b.
    """
    if not hasattr(layers.estimator, "classes_"):
        return {"scale": np.array("value" if layers.inverse is None else "log"), **_affine(1.0, 0.0)}
    raw = {"scale": np.array("log_odds" if layers.gives_log_odds else "probability"), **_affine(1.0, 0.0)}
    calibrator = layers.calibrator
    if calibrator is None:
        return raw
    if hasattr(calibrator, "a_"):
        return {"scale": np.array("log_odds"), **_affine(-calibrator.a_, -calibrator.b_)}
    return {**raw, "steps_x": calibrator.X_thresholds_, "steps_y": calibrator.y_thresholds_}


def _affine(slope: float, intercept: float) -> Table:
    return {"slope": np.array(float(slope)), "intercept": np.array(float(intercept))}

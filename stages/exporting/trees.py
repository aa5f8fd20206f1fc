"""Reading the trees of scikit-learn's ensembles, for the ONNX graph and for the explainer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


class NotExportableError(Exception):
    """The estimator has no translation."""


@dataclass(frozen=True)
class Tree:
    """One tree as arrays over its nodes, the root first. A row whose value of `feature` is at most `split` goes to the node
    `left`; `missing_left` says where one without a value goes. `value` counts at a leaf. `cover` is the weight of the
    training rows in a node.
    """

    leaf: np.ndarray
    feature: np.ndarray
    split: np.ndarray
    left: np.ndarray
    right: np.ndarray
    missing_left: np.ndarray
    value: np.ndarray
    cover: np.ndarray


@dataclass(frozen=True)
class Ensemble:
    """Trees whose values are averaged, or added to `start`. `rounded`: columns are rounded to float32 before they are
    compared with the splits, which are float64, as scikit-learn's own trees do.
    """

    trees: list[Tree]
    averaged: bool
    start: float
    rounded: bool


def read_trees(estimator: Any) -> Ensemble | None:
    """The trees that add up to the log-odds, the probability of class 1 or the value; None for an estimator that has none.
    NotExportableError for trees whose splits are not numbers.
    """
    kind = type(estimator).__name__
    if kind.startswith("HistGradientBoosting"):
        nodes = [predictor.nodes for step in estimator._predictors for predictor in step]
        start = float(np.ravel(estimator._baseline_prediction)[0])
        return Ensemble([_histogram_tree(tree) for tree in nodes], averaged=False, start=start, rounded=False)
    if kind.startswith("GradientBoosting"):
        trees = [member.tree_ for member in estimator.estimators_[:, 0]]
        start = float(estimator._raw_predict_init(np.zeros((1, estimator.n_features_in_)))[0, 0])
        scaled = [_tree(tree, tree.value[:, 0, 0] * estimator.learning_rate) for tree in trees]
        return Ensemble(scaled, averaged=False, start=start, rounded=True)
    if kind.startswith(("RandomForest", "ExtraTrees")):
        trees = [member.tree_ for member in estimator.estimators_]
        classes = hasattr(estimator, "classes_")
        return Ensemble([_tree(tree, _mean(tree, classes)) for tree in trees], averaged=True, start=0.0, rounded=True)
    return None


def _mean(tree: Any, classes: bool) -> np.ndarray:
    """The share of class 1, or the mean target, of the training rows in each node."""
    values = tree.value[:, 0]
    return values[:, 1] / values.sum(axis=1) if classes else values[:, 0]


def _tree(tree: Any, values: np.ndarray) -> Tree:
    return Tree(
        leaf=tree.children_left == -1,
        feature=tree.feature,
        split=tree.threshold,
        left=tree.children_left,
        right=tree.children_right,
        missing_left=tree.missing_go_to_left.astype(bool),
        value=values,
        cover=tree.weighted_n_node_samples,
    )


def _histogram_tree(nodes: np.ndarray) -> Tree:
    if nodes["is_categorical"].any():
        raise NotExportableError("histogram boosting with native categories")
    return Tree(
        leaf=nodes["is_leaf"].astype(bool),
        feature=nodes["feature_idx"],
        split=nodes["num_threshold"],
        left=nodes["left"].astype(np.int64),
        right=nodes["right"].astype(np.int64),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        value=nodes["value"],
        cover=nodes["count"].astype(np.uint32),
    )

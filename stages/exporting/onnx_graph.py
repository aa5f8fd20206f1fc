"""A fitted scikit-learn estimator as a float64 ONNX graph from encoded columns to a probability or a value.

skl2onnx writes float32, whose rounding flips rows that lie exactly on a tree's threshold; hence this translation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, checker, helper, numpy_helper
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.model_selection import FixedThresholdClassifier

OPSETS = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 5)]
LEQ = 0  # BRANCH_LEQ: a row takes the true branch when its value is at most the split
SUM = 1


class NotExportableError(Exception):
    """The estimator has no translation."""


class Graph:
    """Nodes and constants of a graph under construction; every method takes and returns names of tensors."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: Any, dtype: type = np.float64) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def op(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], domain=domain, **attributes))
        return name

    def linear(self, columns: str, coefficients: np.ndarray, intercept: float) -> str:
        product = self.op("MatMul", columns, self.constant(coefficients.reshape(-1, 1)))
        return self.op("Add", product, self.constant(intercept))

    def sigmoid(self, score: str) -> str:
        return self.op("Sigmoid", score)


def build_graph(model: Any, columns: int) -> ModelProto:
    """The graph of the part of a fitted pipeline behind its encoder: input `columns` of shape (rows, columns), output
    `score` of shape (rows, 1), both float64. NotExportableError for an estimator this module does not know.
    """
    graph = Graph()
    score = _model(graph, model, "columns")
    score = graph.op("Identity", score)
    graph.nodes[-1].output[0] = "score"
    body = helper.make_graph(
        graph.nodes,
        "scorer",
        [helper.make_tensor_value_info("columns", TensorProto.DOUBLE, ["rows", columns])],
        [helper.make_tensor_value_info("score", TensorProto.DOUBLE, ["rows", 1])],
        graph.constants,
    )
    proto = helper.make_model(body, opset_imports=OPSETS, ir_version=10, producer_name="veritable")
    checker.check_model(proto)
    return proto


def _model(graph: Graph, model: Any, columns: str) -> str:
    """The wrappers around the pipeline of encoder and estimator, undone from the outside in."""
    if isinstance(model, FixedThresholdClassifier):
        return _model(graph, model.estimator_, columns)
    if isinstance(model, CalibratedClassifierCV):
        return _calibrated(graph, model.calibrated_classifiers_[0], columns)
    if isinstance(model, TransformedTargetRegressor):
        if model.func is not np.log or model.inverse_func is not np.exp:
            raise NotExportableError("a target transform other than the logarithm")
        return graph.op("Exp", _model(graph, model.regressor_, columns))
    estimator = model["estimator"]
    return _probability(graph, estimator, columns) if hasattr(estimator, "classes_") else _value(graph, estimator, columns)


def _calibrated(graph: Graph, calibrated: Any, columns: str) -> str:
    estimator = calibrated.estimator["estimator"]
    margin = hasattr(estimator, "decision_function")
    score = _margin(graph, estimator, columns) if margin else _probability(graph, estimator, columns)
    calibrator = calibrated.calibrators[0]
    if hasattr(calibrator, "a_"):  # Platt: 1 / (1 + exp(a * score + b))
        return graph.sigmoid(
            graph.op("Add", graph.op("Mul", score, graph.constant(-calibrator.a_)), graph.constant(-calibrator.b_))
        )
    return _steps(graph, score, calibrator.X_thresholds_, calibrator.y_thresholds_)


def _steps(graph: Graph, score: str, x: np.ndarray, y: np.ndarray) -> str:
    """Linear interpolation between the points of an isotonic calibrator, constant outside."""
    if len(x) == 1:
        return graph.op("Add", graph.op("Mul", score, graph.constant(0.0)), graph.constant(y[0]))
    clipped = graph.op("Clip", score, graph.constant(x[0]), graph.constant(x[-1]))
    reached = graph.op("Cast", graph.op("GreaterOrEqual", clipped, graph.constant(x[None, 1:-1])), to=TensorProto.INT64)
    axis = graph.constant([1], np.int64)
    piece = graph.op("ReduceSum", reached, axis, keepdims=1)
    slopes = np.diff(y) / np.diff(x)
    left, height, slope = (graph.op("Gather", graph.constant(part), piece) for part in (x[:-1], y[:-1], slopes))
    return graph.op("Add", height, graph.op("Mul", slope, graph.op("Sub", clipped, left)))


def _probability(graph: Graph, estimator: Any, columns: str) -> str:
    kind = type(estimator).__name__
    if kind == "VotingClassifier":
        return _voted(graph, estimator, columns, _probability)
    if kind in ("RandomForestClassifier", "ExtraTreesClassifier"):
        return _forest(graph, estimator, columns, lambda tree: tree.value[:, 0, 1] / tree.value[:, 0].sum(axis=1))
    return graph.sigmoid(_margin(graph, estimator, columns))


def _margin(graph: Graph, estimator: Any, columns: str) -> str:
    """The log-odds."""
    kind = type(estimator).__name__
    if kind == "LogisticRegression":
        return graph.linear(columns, estimator.coef_, estimator.intercept_[0])
    if kind in ("HistGradientBoostingClassifier", "GradientBoostingClassifier"):
        return _boosting(graph, estimator, columns)
    raise NotExportableError(f"no ONNX translation of {kind}")


def _value(graph: Graph, estimator: Any, columns: str) -> str:
    kind = type(estimator).__name__
    if kind == "VotingRegressor":
        return _voted(graph, estimator, columns, _value)
    if kind in ("RandomForestRegressor", "ExtraTreesRegressor"):
        return _forest(graph, estimator, columns, lambda tree: tree.value[:, 0, 0])
    if kind in ("HistGradientBoostingRegressor", "GradientBoostingRegressor"):
        if getattr(estimator, "loss", "") in ("poisson", "gamma"):
            raise NotExportableError(f"{kind} with a log link")
        return _boosting(graph, estimator, columns)
    if kind in ("LinearRegression", "Ridge"):
        return graph.linear(columns, estimator.coef_, float(np.ravel(estimator.intercept_)[0]))
    if isinstance(estimator, GaussianProcessRegressor):
        return _gaussian_process(graph, estimator, columns)
    raise NotExportableError(f"no ONNX translation of {kind}")


def _voted(graph: Graph, voting: Any, columns: str, member: Callable[[Graph, Any, str], str]) -> str:
    weights = np.ones(len(voting.estimators_)) if voting.weights is None else np.asarray(voting.weights, dtype=float)
    parts = [
        graph.op("Mul", member(graph, estimator, columns), graph.constant(weight / weights.sum()))
        for estimator, weight in zip(voting.estimators_, weights, strict=True)
    ]
    return graph.op("Sum", *parts) if len(parts) > 1 else parts[0]


def _gaussian_process(graph: Graph, process: Any, columns: str) -> str:
    """The predictive mean under constant * Matérn-1.5 + white noise (the noise concerns only training)."""
    kernel = process.kernel_.k1
    if kernel.k2.nu != 1.5:
        raise NotExportableError("a Gaussian process whose nu is not 1.5")
    scale = kernel.k2.length_scale
    odd = len(process.X_train_) % 2  # a point of no weight: ONNX Runtime sums the same only in rows that are aligned alike
    points = np.pad(process.X_train_ / scale, ((0, odd), (0, 0)))
    rows = graph.op("Unsqueeze", graph.op("Div", columns, graph.constant(scale)), graph.constant([1], np.int64))
    gap = graph.op("Sub", rows, graph.constant(points[None]))
    squares = graph.op("ReduceSum", graph.op("Mul", gap, gap), graph.constant([2], np.int64), keepdims=0)
    distance = graph.op("Mul", graph.op("Sqrt", squares), graph.constant(np.sqrt(3)))
    decay = graph.op("Exp", graph.op("Neg", distance))
    similarity = graph.op("Mul", graph.op("Add", distance, graph.constant(1.0)), decay)
    weights = process.alpha_.reshape(-1) * kernel.k1.constant_value * process._y_train_std
    return graph.linear(similarity, np.pad(weights, (0, odd)), float(np.ravel(process._y_train_mean)[0]))


def _forest(graph: Graph, forest: Any, columns: str, leaf: Callable[[Any], np.ndarray]) -> str:
    trees = [_sklearn_tree(estimator.tree_, leaf(estimator.tree_)) for estimator in forest.estimators_]
    total = _ensemble(graph, _as_float32(graph, columns), trees)
    return graph.op("Div", total, graph.constant(float(len(trees))))


def _boosting(graph: Graph, boosting: Any, columns: str) -> str:
    if hasattr(boosting, "_predictors"):  # histogram boosting, on float64
        trees = [_hist_tree(predictor.nodes) for step in boosting._predictors for predictor in step]
        start = float(np.ravel(boosting._baseline_prediction)[0])
        return graph.op("Add", _ensemble(graph, columns, trees), graph.constant(start))
    trees = [
        _sklearn_tree(tree.tree_, tree.tree_.value[:, 0, 0] * boosting.learning_rate) for tree in boosting.estimators_[:, 0]
    ]
    start = float(boosting._raw_predict_init(np.zeros((1, boosting.n_features_in_)))[0, 0])
    return graph.op("Add", _ensemble(graph, _as_float32(graph, columns), trees), graph.constant(start))


def _as_float32(graph: Graph, columns: str) -> str:
    """scikit-learn's own trees compare columns rounded to float32 with float64 thresholds."""
    return graph.op("Cast", graph.op("Cast", columns, to=TensorProto.FLOAT), to=TensorProto.DOUBLE)


Tree = dict[str, np.ndarray]


def _sklearn_tree(tree: Any, values: np.ndarray) -> Tree:
    return {
        "leaf": tree.children_left == -1,
        "feature": tree.feature,
        "split": tree.threshold,
        "left": tree.children_left,
        "right": tree.children_right,
        "missing_left": tree.missing_go_to_left.astype(bool),
        "value": values,
    }


def _hist_tree(nodes: np.ndarray) -> Tree:
    if nodes["is_categorical"].any():
        raise NotExportableError("histogram boosting with native categories")
    return {
        "leaf": nodes["is_leaf"].astype(bool),
        "feature": nodes["feature_idx"],
        "split": nodes["num_threshold"],
        "left": nodes["left"].astype(np.int64),
        "right": nodes["right"].astype(np.int64),
        "missing_left": nodes["missing_go_to_left"].astype(bool),
        "value": nodes["value"],
    }


def _ensemble(graph: Graph, columns: str, trees: list[Tree]) -> str:
    """The sum of the trees' values. The operator wants inner nodes and leaves in two lists."""
    parts = [_renumber(tree) for tree in trees]
    node_starts = np.cumsum([0, *(len(part["feature"]) for part in parts)])[:-1]
    leaf_starts = np.cumsum([0, *(len(part["leaf_value"]) for part in parts)])[:-1]

    def joined(key: str) -> np.ndarray:
        return np.concatenate([part[key] for part in parts])

    def child(side: str) -> np.ndarray:
        moved = (
            np.where(part[f"{side}_is_leaf"], part[side] + leaf, part[side] + node)
            for part, node, leaf in zip(parts, node_starts, leaf_starts, strict=True)
        )
        return np.concatenate(list(moved))

    leaves = joined("leaf_value")
    return graph.op(
        "TreeEnsemble",
        columns,
        domain="ai.onnx.ml",
        aggregate_function=SUM,
        n_targets=1,
        tree_roots=node_starts.tolist(),
        nodes_featureids=joined("feature").tolist(),
        nodes_splits=numpy_helper.from_array(joined("split").astype(np.float64)),
        nodes_modes=numpy_helper.from_array(np.full(len(joined("feature")), LEQ, dtype=np.uint8)),
        nodes_truenodeids=child("left").tolist(),
        nodes_trueleafs=joined("left_is_leaf").astype(int).tolist(),
        nodes_falsenodeids=child("right").tolist(),
        nodes_falseleafs=joined("right_is_leaf").astype(int).tolist(),
        nodes_missing_value_tracks_true=joined("missing_left").astype(int).tolist(),
        leaf_targetids=[0] * len(leaves),
        leaf_weights=numpy_helper.from_array(leaves.astype(np.float64)),
    )


def _renumber(tree: Tree) -> Tree:
    """Inner nodes and leaves counted apart; a tree that is one leaf gets a node whose branches both lead to it."""
    leaf = tree["leaf"]
    if leaf[0]:
        return {
            "feature": np.zeros(1, np.int64),
            "split": np.zeros(1),
            "left": np.zeros(1, np.int64),
            "right": np.ones(1, np.int64),
            "left_is_leaf": np.ones(1, bool),
            "right_is_leaf": np.ones(1, bool),
            "missing_left": np.ones(1, bool),
            "leaf_value": np.repeat(tree["value"][:1], 2),
        }
    number = np.where(leaf, np.cumsum(leaf) - 1, np.cumsum(~leaf) - 1)
    inner = {key: tree[key][~leaf] for key in ("feature", "split", "left", "right", "missing_left")}
    children = {side: {f"{side}_is_leaf": leaf[inner[side]], side: number[inner[side]]} for side in ("left", "right")}
    return {**inner, **children["left"], **children["right"], "leaf_value": tree["value"][leaf]}

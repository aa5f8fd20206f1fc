"""A fitted scikit-learn estimator as a float64 ONNX graph from encoded columns to a probability or a value.

skl2onnx writes trees in float32, whose rounding sends rows that are exactly on a split to the other branch (sklearn-onnx
issues 1192, 1183 and 1074); hence this translation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, checker, helper, numpy_helper
from sklearn.gaussian_process import GaussianProcessRegressor

from stages.exporting.trees import NotExportableError, Tree, read_trees
from stages.modeling.pipeline import Layers, unwrap

OPSETS = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 5)]
LEQ = 0  # BRANCH_LEQ: a row takes the true branch when its value is at most the split
SUM = 1


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


def build_graph(model: Any, columns: int, digest: str = "") -> ModelProto:
    """The graph of the part of a fitted pipeline behind its encoder: input `columns` of shape (rows, columns), output
    `score` of shape (rows, 1), both float64. `digest` names the model in its metadata. NotExportableError for an estimator
    that this module does not know.
    """
    graph = Graph()
    score = _model(graph, unwrap(model), "columns")
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
    helper.set_model_props(proto, {"model": digest})
    checker.check_model(proto)
    return proto


def _model(graph: Graph, layers: Layers, columns: str) -> str:
    """The estimator, and what the model makes of its output."""
    estimator = layers.estimator
    if layers.inverse is not None:
        if layers.inverse is not np.exp:
            raise NotExportableError("a target transform other than the logarithm")
        return graph.op("Exp", _value(graph, estimator, columns))
    if layers.calibrator is not None:
        raw = _margin(graph, estimator, columns) if layers.gives_log_odds else _probability(graph, estimator, columns)
        return _calibrated(graph, layers.calibrator, raw)
    return _probability(graph, estimator, columns) if hasattr(estimator, "classes_") else _value(graph, estimator, columns)


def _calibrated(graph: Graph, calibrator: Any, score: str) -> str:
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
    if type(estimator).__name__ == "VotingClassifier":
        return _voted(graph, estimator, columns, _probability)
    if hasattr(estimator, "decision_function"):
        return graph.sigmoid(_margin(graph, estimator, columns))
    return _trees(graph, estimator, columns)


def _margin(graph: Graph, estimator: Any, columns: str) -> str:
    """The log-odds."""
    if type(estimator).__name__ == "LogisticRegression":
        return graph.linear(columns, estimator.coef_, estimator.intercept_[0])
    return _trees(graph, estimator, columns)


def _value(graph: Graph, estimator: Any, columns: str) -> str:
    kind = type(estimator).__name__
    if kind == "VotingRegressor":
        return _voted(graph, estimator, columns, _value)
    if kind in ("LinearRegression", "Ridge"):
        return graph.linear(columns, estimator.coef_, float(np.ravel(estimator.intercept_)[0]))
    if isinstance(estimator, GaussianProcessRegressor):
        return _gaussian_process(graph, estimator, columns)
    if getattr(estimator, "loss", "") in ("poisson", "gamma"):
        raise NotExportableError(f"{kind} with a log link")
    return _trees(graph, estimator, columns)


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
    odd = len(process.X_train_) % 2  # a point of weight 0: ONNX Runtime gives equal sums only for rows of equal alignment
    points = np.pad(process.X_train_ / scale, ((0, odd), (0, 0)))
    rows = graph.op("Unsqueeze", graph.op("Div", columns, graph.constant(scale)), graph.constant([1], np.int64))
    difference = graph.op("Sub", rows, graph.constant(points[None]))
    squares = graph.op("ReduceSum", graph.op("Mul", difference, difference), graph.constant([2], np.int64), keepdims=0)
    distance = graph.op("Mul", graph.op("Sqrt", squares), graph.constant(np.sqrt(3)))
    decay = graph.op("Exp", graph.op("Neg", distance))
    similarity = graph.op("Mul", graph.op("Add", distance, graph.constant(1.0)), decay)
    weights = process.alpha_.reshape(-1) * kernel.k1.constant_value * process._y_train_std
    return graph.linear(similarity, np.pad(weights, (0, odd)), float(np.ravel(process._y_train_mean)[0]))


def _trees(graph: Graph, estimator: Any, columns: str) -> str:
    """The mean of a forest's trees, or the sum of boosting's and its start."""
    ensemble = read_trees(estimator)
    if ensemble is None:
        raise NotExportableError(f"no ONNX translation of {type(estimator).__name__}")
    total = _sum(graph, _as_float32(graph, columns) if ensemble.rounded else columns, ensemble.trees)
    if ensemble.averaged:
        return graph.op("Div", total, graph.constant(float(len(ensemble.trees))))
    return graph.op("Add", total, graph.constant(ensemble.start))


def _as_float32(graph: Graph, columns: str) -> str:
    """scikit-learn's own trees compare columns rounded to float32 with float64 thresholds."""
    return graph.op("Cast", graph.op("Cast", columns, to=TensorProto.FLOAT), to=TensorProto.DOUBLE)


def _sum(graph: Graph, columns: str, trees: list[Tree]) -> str:
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


def _renumber(tree: Tree) -> dict[str, np.ndarray]:
    """Inner nodes and leaves counted apart; a tree that is one leaf gets a node whose branches both lead to it."""
    leaf = tree.leaf
    if leaf[0]:
        return {
            "feature": np.zeros(1, np.int64),
            "split": np.zeros(1),
            "left": np.zeros(1, np.int64),
            "right": np.ones(1, np.int64),
            "left_is_leaf": np.ones(1, bool),
            "right_is_leaf": np.ones(1, bool),
            "missing_left": np.ones(1, bool),
            "leaf_value": np.repeat(tree.value[:1], 2),
        }
    number = np.where(leaf, np.cumsum(leaf) - 1, np.cumsum(~leaf) - 1)
    left, right = tree.left[~leaf], tree.right[~leaf]
    return {
        "feature": tree.feature[~leaf],
        "split": tree.split[~leaf],
        "left": number[left],
        "right": number[right],
        "left_is_leaf": leaf[left],
        "right_is_leaf": leaf[right],
        "missing_left": tree.missing_left[~leaf],
        "leaf_value": tree.value[leaf],
    }

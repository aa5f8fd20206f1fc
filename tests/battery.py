"""The numeric operations that the stages rest on, on small data: prints the SHA-256 of each result and what computed it.

python -m tests.battery

`tests/golden/battery.json` holds the results. Two processors are compared in seconds, where whole pipelines take minutes. It
keeps to what qemu-user 7.2 can run. Left out are `np.argsort` that is not stable, whose AVX2 code can crash there, and the
fit of a Gaussian process, which does not end there in minutes.
"""

from __future__ import annotations

import hashlib
import json
import platform
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import onnxruntime
import scipy.linalg
import scipy.special
from onnx import TensorProto, helper, numpy_helper
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler, TargetEncoder
from threadpoolctl import threadpool_info

from stages.runtime import kernels

ROWS, COLUMNS = 601, 13  # odd, so that vectors of every length leave a rest
OPERATIONS: dict[str, Callable[[], Any]] = {}


def operation(function: Callable[[], Any]) -> Callable[[], Any]:
    """Add a function that returns one array or a list of them."""
    OPERATIONS[function.__name__] = function
    return function


def table() -> np.ndarray:
    """Encoded rows, shape (ROWS, COLUMNS)."""
    return np.random.default_rng(0).normal(size=(ROWS, COLUMNS))


def target() -> np.ndarray:
    return table()[:, 0] + np.random.default_rng(1).normal(size=ROWS)


def positive() -> np.ndarray:
    """A positive definite matrix, shape (60, 60): the covariance of a Gaussian process."""
    return ConstantKernel(2.0)(table()[:60]) * Matern(2.0, nu=1.5)(table()[:60]) + 0.1 * np.eye(60)


def stable_sorts() -> Any:
    """Lets boosting's bins sort by code that qemu can run; they are the same, as equal values have no order."""
    return patch.object(np, "argsort", partial(np.argsort, kind="stable"))


@operation
def matrix_product() -> Any:
    return [table().T @ table(), table() @ table().T[:, :97], table().astype(np.float32).T @ table().astype(np.float32)]


@operation
def matrix_vector_product() -> Any:
    return [table() @ np.arange(COLUMNS) / 7, table().T @ target(), table()[0] @ table()[1], target() @ target()]


@operation
def cholesky() -> Any:
    return [scipy.linalg.cholesky(positive(), lower=True), np.linalg.cholesky(positive())]


@operation
def solve() -> Any:
    factor = scipy.linalg.cho_factor(positive(), lower=True)
    return [scipy.linalg.cho_solve(factor, target()[:60]), np.linalg.solve(positive(), target()[:60])]


@operation
def least_squares_and_svd() -> Any:
    return [scipy.linalg.lstsq(table(), target())[0], scipy.linalg.svd(table(), full_matrices=False)[1]]


@operation
def exp_log_sqrt() -> Any:
    values = np.abs(table()).ravel() + 1e-3
    return [
        np.exp(values),
        np.log(values),
        np.sqrt(values),
        np.log1p(values),
        np.expm1(values),
        np.tanh(values),
        values**1.7,
    ]


@operation
def exp_log_of_float32() -> Any:
    values = (np.abs(table()).ravel() + 1e-3).astype(np.float32)
    return [np.exp(values), np.log(values)]


@operation
def special_functions() -> Any:
    values = table().ravel()
    share = scipy.special.expit(values)
    return [share, scipy.special.logit(share), scipy.special.ndtri(share), scipy.special.xlogy(share, share)]


@operation
def sums_and_means() -> Any:
    rows = table()
    return [rows.sum(), rows.sum(axis=0), rows.sum(axis=1), rows.mean(axis=0), rows.std(axis=0), rows.var(axis=1, ddof=1)]


@operation
def cumulative_sums_and_counts() -> Any:
    rows = table()
    return [np.cumsum(rows, axis=0), np.bincount(np.arange(ROWS) % 7, weights=target()), np.histogram(rows, 20)[0]]


@operation
def quantiles() -> Any:
    return [np.quantile(table(), [0.05, 0.5, 0.9], axis=0), np.median(table(), axis=1)]


@operation
def sorts_with_ties() -> Any:
    ties = np.round(target(), 1) + 0.0  # no -0.0, which equals 0.0 and is another sequence of bytes
    return [np.argsort(ties, kind="stable"), np.argsort(-ties, kind="stable"), np.sort(ties), np.unique(ties)]


@operation
def scaling() -> Any:
    return StandardScaler().fit_transform(table())


@operation
def linear_models() -> Any:
    models = [LinearRegression().fit(table(), target()), Ridge(1.0).fit(table(), target())]
    return [part for model in models for part in (model.coef_, model.predict(table()))]


@operation
def logistic_regression() -> Any:
    model = LogisticRegression(max_iter=1000).fit(table(), target() > 0)
    return [model.coef_, model.predict_proba(table())]


@operation
def target_encoding() -> Any:
    labels = np.array(["a", "b", "c", "d", "e"])[np.arange(ROWS) % 5][:, None]
    encoder = TargetEncoder(smooth=0.05, target_type="continuous", cv=KFold(5, shuffle=True, random_state=0))
    return [encoder.fit_transform(labels, target()), *encoder.encodings_]


@operation
def boosting_of_a_class() -> Any:
    model = HistGradientBoostingClassifier(max_iter=15, max_leaf_nodes=6, early_stopping=False, random_state=0)
    with stable_sorts():
        model.fit(table(), target() > 0)
    return [model.predict_proba(table()), *(tree.nodes.tobytes() for step in model._predictors for tree in step)]


@operation
def boosting_of_a_value() -> Any:
    settings: Any = {"max_iter": 10, "early_stopping": False, "random_state": 0}
    losses = ("squared_error", "absolute_error")
    with stable_sorts():
        return [HistGradientBoostingRegressor(loss, **settings).fit(table(), target()).predict(table()) for loss in losses]


@operation
def forest() -> Any:
    return RandomForestRegressor(5, min_samples_leaf=5, random_state=0).fit(table(), target()).predict(table())


@operation
def gaussian_process() -> Any:
    kernel = ConstantKernel() * Matern([1.0] * 3, nu=1.5) + WhiteKernel(0.1)
    model = GaussianProcessRegressor(kernel, optimizer=None, normalize_y=True).fit(table()[:40, :3], target()[:40])
    value, gradient = model.log_marginal_likelihood(model.kernel_.theta, eval_gradient=True)
    return [model.predict(table()[:, :3]), value, gradient]


@operation
def onnx_trees() -> Any:
    """60 trees of one split, as `TreeEnsemble`."""
    rng, trees = np.random.default_rng(2), 60
    attributes = {
        "aggregate_function": 1,
        "n_targets": 1,
        "tree_roots": list(range(trees)),
        "nodes_featureids": rng.integers(0, COLUMNS, trees).tolist(),
        "nodes_splits": numpy_helper.from_array(rng.normal(size=trees)),
        "nodes_modes": numpy_helper.from_array(np.zeros(trees, np.uint8)),
        "nodes_truenodeids": list(range(0, 2 * trees, 2)),
        "nodes_falsenodeids": list(range(1, 2 * trees, 2)),
        "nodes_trueleafs": [1] * trees,
        "nodes_falseleafs": [1] * trees,
        "leaf_targetids": [0] * 2 * trees,
        "leaf_weights": numpy_helper.from_array(rng.normal(size=2 * trees)),
    }
    return onnx_result(helper.make_node("TreeEnsemble", ["x"], ["y"], domain="ai.onnx.ml", **attributes))


@operation
def onnx_matrix_product() -> Any:
    rng = np.random.default_rng(3)
    return [onnx_result(helper.make_node("MatMul", ["x", "w"], ["y"]), rng.normal(size=(COLUMNS, n))) for n in (1, 40)]


@operation
def onnx_functions() -> Any:
    return [onnx_result(helper.make_node(kind, ["x"], ["y"])) for kind in ("Sigmoid", "Exp")]


@operation
def onnx_sum() -> Any:
    return onnx_result(helper.make_node("ReduceSum", ["x", "w"], ["y"], keepdims=1), np.array([1]))


def onnx_result(node: Any, weights: np.ndarray | None = None) -> np.ndarray:
    """What ONNX Runtime makes of the table `x` and constant weights `w` by one node, in float64."""
    constants = [] if weights is None else [numpy_helper.from_array(weights, "w")]
    ends = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, [None, None]) for name in "xy"]
    graph = helper.make_graph([node], "one", ends[:1], ends[1:], constants)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 5)]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["y"], {"x": table()})[0])


def digests() -> dict[str, str]:
    """SHA-256 of the bytes of each operation's result."""
    found = {}
    for name, function in OPERATIONS.items():
        result = function()
        parts = result if isinstance(result, list) else [result]
        content = b"".join(part if isinstance(part, bytes) else np.ascontiguousarray(part).tobytes() for part in parts)
        found[name] = hashlib.sha256(content).hexdigest()
    return found


def machine() -> dict[str, Any]:
    """The processor, the kernels of each OpenBLAS that is loaded, and the levels of features that NumPy uses."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    blas = {
        Path(pool["filepath"]).parent.name: pool["architecture"] for pool in threadpool_info() if pool["user_api"] == "blas"
    }
    levels: Any = np.show_config("dicts")
    name = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
    return {
        "processor": f"{name}, {'with' if 'avx512f' in (kernels.processor()[1] or ()) else 'without'} AVX-512",
        "openblas": dict(sorted(blas.items())),
        "numpy": [*levels["SIMD Extensions"]["baseline"], *levels["SIMD Extensions"].get("found", [])],
        "deviation": kernels.deviation(),
    }


if __name__ == "__main__":
    warnings.simplefilter("error")
    print(json.dumps({"machine": machine(), "results": digests()}, indent=2))

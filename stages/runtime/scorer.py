"""Predicting from exported data alone: a plan that turns features into columns, and an ONNX graph that scores them.

Shared by the pipeline, which proves that it equals the scikit-learn model, and by the server, which has no scikit-learn.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when it is imported
import onnxruntime

from stages.projects._base import Columns, Project

SLICE = 512  # rows scored at once, so that memory stays small and short requests are not kept waiting


class Encoder:
    """The plan of `stages.exporting.plan.encoder_plan`: features to a float64 matrix."""

    def __init__(self, plan: list[dict[str, Any]]) -> None:
        self.steps: list[Callable[[Columns, np.ndarray], None]] = []
        self.names: list[str] = []
        self.sources: list[str] = []
        for entry in plan:
            start = len(self.names)
            self.names += entry["columns"]
            self.sources += [entry["feature"]] * len(entry["columns"])
            self.steps.append(_STEPS[entry["kind"]](entry, start))

    def __call__(self, features: Columns, rows: int) -> np.ndarray:
        matrix = np.zeros((rows, len(self.names)))
        for step in self.steps:
            step(features, matrix)
        return matrix


class Scorer:
    """Scores rows of a project: probabilities of class 1, or values in the unit of the target. `model` is the MD5 of the
    model.joblib that the graph was made from, None for a graph that does not name it.
    """

    def __init__(self, project: Project, plan: list[dict[str, Any]], graph: bytes) -> None:
        self.project = project
        self.encoder = Encoder(plan)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False  # it would never release the memory of the largest batch
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._outputs = [output.name for output in self._session.get_outputs()]
        self.model: str | None = self._session.get_modelmeta().custom_metadata_map.get("model")

    def encode(self, columns: Columns) -> np.ndarray:
        """Raw columns to the matrix the graph takes, shape (rows, encoded columns)."""
        rows = len(next(iter(columns.values())))
        return self.encoder(self.project.features(columns), rows)

    def score_encoded(self, matrix: np.ndarray) -> np.ndarray:
        """Scores of encoded rows, shape (rows,). A row's score does not depend on the rows beside it: ONNX Runtime works on
        rows in pairs and rounds one that is left over otherwise, so an odd one gets a twin.
        """
        rows = len(matrix)
        if rows % 2:
            matrix = np.concatenate([matrix, matrix[-1:]])
        parts = [
            self._session.run(self._outputs, {"columns": matrix[start : start + SLICE]})[0]
            for start in range(0, rows, SLICE)
        ]
        return np.concatenate(parts).ravel()[:rows] if parts else np.empty(0)

    def score(self, columns: Columns) -> np.ndarray:
        """Scores of raw columns, shape (rows,)."""
        return self.score_encoded(self.encode(columns))


def _numeric(entry: dict[str, Any], at: int) -> Callable[[Columns, np.ndarray], None]:
    feature, fill, mean, scale = (entry[key] for key in ("feature", "fill", "mean", "scale"))

    def step(features: Columns, matrix: np.ndarray) -> None:
        values = features[feature]
        if fill is not None and (missing := np.isnan(values)).any():
            values = np.where(missing, _regress(fill, features), values)
        matrix[:, at] = values if mean is None else (values - mean) / scale

    return step


def _regress(fill: dict[str, Any], features: Columns) -> np.ndarray | float:
    """The imputed value: a regression on features of the same row, whose own missing values count as the median."""
    total: np.ndarray | float = fill["intercept"]
    for feature, (weight, median) in fill["weights"].items():
        values = features[feature]
        total = total + weight * np.where(np.isnan(values), median, values)
    return total


def _one_hot(entry: dict[str, Any], at: int) -> Callable[[Columns, np.ndarray], None]:
    feature = entry["feature"]
    places = {category: at + number for number, category in enumerate(entry["categories"])}

    def step(features: Columns, matrix: np.ndarray) -> None:
        for row, value in enumerate(features[feature].tolist()):
            if (place := places.get(value)) is not None:
                matrix[row, place] = 1.0

    return step


def _target(entry: dict[str, Any], at: int) -> Callable[[Columns, np.ndarray], None]:
    feature, default, mean, scale = (entry[key] for key in ("feature", "default", "mean", "scale"))
    encodings = dict(zip(entry["categories"], entry["encodings"], strict=True))

    def step(features: Columns, matrix: np.ndarray) -> None:
        values = np.array([encodings.get(value, default) for value in features[feature].tolist()])
        matrix[:, at] = values if mean is None else (values - mean) / scale

    return step


_STEPS = {"numeric": _numeric, "one_hot": _one_hot, "target_encoded": _target}

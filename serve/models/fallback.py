"""Predicting with the scikit-learn pipeline, for a model that has no exported form."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from concurrent.futures import Executor
from importlib import import_module
from typing import Any

import numpy as np

from stages.projects._base import Columns, Project

DTYPES = {"f": "float64", "O": "str", "M": "datetime64[s]"}  # of a frame in training, by the kind of an array


class PipelineScorer:
    """Scores as `stages.runtime.scorer.Scorer` does, some hundred times slower for one row.

    ImportError without pandas or scikit-learn.

    Unlike the exported form the pickle holds code, so its bytes must have been verified before they come here.
    """

    def __init__(self, project: Project, pickled: bytes, reason: str) -> None:
        self.project = project
        self.kind = f"scikit-learn pipeline in a worker thread ({reason})"
        self._pandas: Any = import_module("pandas")
        self._model: Any = import_module("joblib").load(io.BytesIO(pickled))

    def score(self, columns: Columns) -> np.ndarray:
        """Scores of raw columns, shape (rows,)."""
        series = {name: self._pandas.Series(array, dtype=DTYPES[array.dtype.kind]) for name, array in columns.items()}
        frame = self._pandas.DataFrame(series)
        if self.project.task == "classification":
            return np.asarray(self._model.predict_proba(frame)[:, 1])
        return np.asarray(self._model.predict(frame))


class MicroBatcher:
    """Scores the requests that came while the pipeline was busy in one call, as a call costs far more than a row."""

    def __init__(self, scorer: PipelineScorer, executor: Executor, observe: Callable[[int], None]) -> None:
        self._scorer = scorer
        self._executor = executor
        self._observe = observe
        self._waiting: list[tuple[Columns, asyncio.Future[np.ndarray]]] = []
        self._worker: asyncio.Task[None] | None = None

    async def score(self, columns: Columns) -> np.ndarray:
        """Scores of raw columns, shape (rows,)."""
        future: asyncio.Future[np.ndarray] = asyncio.get_running_loop().create_future()
        self._waiting.append((columns, future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        while self._waiting:
            taken, self._waiting = self._waiting, []
            joined = {name: np.concatenate([columns[name] for columns, _ in taken]) for name in taken[0][0]}
            sizes = [len(next(iter(columns.values()))) for columns, _ in taken]
            self._observe(sum(sizes))
            try:
                scores = await asyncio.get_running_loop().run_in_executor(self._executor, self._scorer.score, joined)
            except Exception as error:
                for _, future in taken:
                    if not future.done():  # whoever waited may have given up
                        future.set_exception(error)
                continue
            for (_, future), part in zip(taken, np.split(scores, np.cumsum(sizes)[:-1]), strict=True):
                if not future.done():
                    future.set_result(part)

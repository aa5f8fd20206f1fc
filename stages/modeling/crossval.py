"""Candidates compared on the same folds of the training rows."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sklearn
from joblib import Parallel, cpu_count, delayed, parallel_config
from joblib.parallel import FallbackToBackend, ThreadingBackend
from sklearn.base import BaseEstimator, clone
from tqdm import tqdm

from stages.core.cli import UserError
from stages.modeling.metrics import fold_scores
from stages.modeling.pipeline import predict_scores
from stages.projects._base import Project

Folds = list[tuple[np.ndarray, np.ndarray]]

PATIENCE = 5  # seconds that a cluster has to answer
SOURCES = b"".join(path.read_bytes() for path in sorted(Path(__file__).parents[1].rglob("*.py")))
CODE = hashlib.sha256(SOURCES + sklearn.__version__.encode()).hexdigest()  # as it was loaded: a worker may run an older one


@dataclass(frozen=True)
class FoldResult:
    """Scores of one candidate on one fold, and its predictions of the fold's validation rows."""

    name: str
    fold: int
    scores: dict[str, float]
    predictions: np.ndarray
    seconds: float


def compute_backend() -> AbstractContextManager[Any]:
    """Where joblib runs: threads of this machine, as the work is in compiled code and a process takes seconds to start; or
    the workers of the Dask scheduler that DASK_SCHEDULER_ADDRESS names. The numbers, and the bytes of the models, are equal.
    """
    address = os.environ.get("DASK_SCHEDULER_ADDRESS")
    return cluster(address) if address else parallel_config("threading", n_jobs=cpu_count())


@contextmanager
def cluster(address: str) -> Iterator[None]:
    """The workers of a Dask scheduler; UserError when they cannot be had.

    What comes back from them is numbers. Parts of a model, as the trees of a forest, scikit-learn fits in threads here: the
    pickle of a part that has been through another one has other bytes, so the model would get another hash.
    """
    try:
        from distributed import Client
        from joblib._dask import DaskDistributedBackend
    except ImportError:
        raise UserError(
            "DASK_SCHEDULER_ADDRESS is set but Dask is not installed: unset it, or "
            ".venv/bin/uv pip install -r pyproject.toml --extra dask -c requirements.lock"
        ) from None

    class Cluster(DaskDistributedBackend):
        def configure(self, n_jobs: int = 1, parallel: Any = None, **options: Any) -> int:
            if type(parallel) is not Parallel:
                raise FallbackToBackend(ThreadingBackend(nesting_level=0))
            return super().configure(n_jobs, parallel, **options)

        def submit(self, func: Any, callback: Any = None) -> Any:
            func.items = [(alone, (task, *arguments), named) for task, arguments, named in func.items]
            return super().submit(func, callback)

    def loaded() -> str | None:
        try:
            return getattr(import_module("stages.modeling.crossval"), "CODE", None)
        except ImportError:
            return None

    try:
        client = Client(address, timeout=PATIENCE, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise UserError(f"DASK_SCHEDULER_ADDRESS={address}: no Dask scheduler answers there: {error}") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError:
            raise UserError(f"the Dask scheduler at {address} has no workers: dask worker {address}") from None
        of_scheduler = client.run_on_scheduler(loaded)  # type: ignore[no-untyped-call]
        codes = {**client.run(loaded), f"scheduler {address}": of_scheduler}
        if other := [place for place, code in codes.items() if code != CODE]:
            raise UserError(
                f"Dask runs other code or libraries than here: {', '.join(other)}. Start scheduler and workers anew in this "
                "checkout and its environment, with PYTHONPATH=."
            )
        with parallel_config(Cluster(client=client), n_jobs=cpu_count()):
            yield


def alone(task: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Run a task and its own parallel parts in this thread: from inside a worker they would wait for a place on the cluster
    that tasks like it fill, and what they scatter there brings the worker down (distributed 2026.8).
    """
    with parallel_config("sequential"):
        return task(*arguments, **named)


def fit_fold(
    name: str,
    model: BaseEstimator,
    fold: int,
    rows: tuple[np.ndarray, np.ndarray],
    features: pd.DataFrame,
    target: np.ndarray,
    project: Project,
) -> FoldResult:
    """Fit a fresh clone on the fold's training rows and score it on the others."""
    start = time.perf_counter()
    training, validation = rows
    fitted = clone(model).fit(features.iloc[training], target[training])
    predictions = predict_scores(fitted, features.iloc[validation], project)
    scores = fold_scores(target[validation], predictions, project.task)
    return FoldResult(name, fold, scores, predictions, time.perf_counter() - start)


def cross_validate(
    models: dict[str, BaseEstimator], features: pd.DataFrame, target: np.ndarray, folds: Folds, project: Project
) -> Iterator[FoldResult]:
    """Every candidate on every fold, in that order, as the results come."""
    tasks = [
        delayed(fit_fold)(name, model, number, rows, features, target, project)
        for name, model in models.items()
        for number, rows in enumerate(folds)
    ]
    with compute_backend():
        results = Parallel(return_as="generator")(tasks)
        yield from tqdm(results, total=len(tasks), desc="folds", unit="fit", disable=None)


def out_of_fold(results: list[FoldResult], folds: Folds, rows: int) -> np.ndarray:
    """Predictions of one candidate put back in the order of the training rows, shape (rows,)."""
    predictions = np.full(rows, np.nan)
    for result in results:
        predictions[folds[result.fold][1]] = result.predictions
    return predictions


def leaderboard(results: list[FoldResult], primary: str, higher_is_better: bool) -> list[dict[str, Any]]:
    """Mean and standard deviation per metric for each candidate, best first by the primary metric."""
    table = []
    for name in dict.fromkeys(result.name for result in results):
        scores = pd.DataFrame([result.scores for result in results if result.name == name])
        mean, sd = scores.mean(), scores.std(ddof=1)
        metrics = {metric: {"mean": float(mean[metric]), "sd": float(sd[metric])} for metric in map(str, scores)}
        table.append({"candidate": name, "metrics": metrics})
    return sorted(table, key=lambda row: row["metrics"][primary]["mean"], reverse=higher_is_better)

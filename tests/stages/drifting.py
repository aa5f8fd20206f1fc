"""A live model that knows the simulator's truth, and batches for it, without training anything."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from stages.core.schema import coerce
from stages.monitoring.batch import Batch, gather, one_of_each
from stages.monitoring.check import check_batch
from stages.monitoring.reference import Live
from stages.monitoring.settings import Drift
from stages.projects._base import Project
from stages.runtime.population import summarise
from tests.samples import raw_rows, records
from tests.toys import module, toy


def truth(project: Project, frame: pd.DataFrame) -> np.ndarray:
    """What a perfect model says of rows, given the columns it may see."""
    columns = coerce(frame, project.columns)[0]
    simulator = module(project.name)
    knows = {"toy": "late_probability", "toy_price": "expected_price", "toy_plain": "expected_worth"}[project.name]
    found: np.ndarray = getattr(simulator, knows)(columns)
    return found


@cache
def live(name: str = "toy", rows: int = 1_500) -> Live:
    """A live model of a toy, trained on so many rows."""
    project = toy(name)
    train = project.clean(records(project, rows, seed=1)).drop(columns="source").reset_index(drop=True)
    reference = one_of_each(train, project)
    scores = truth(project, train)
    return Live(
        project=project,
        manifest={"params": {"seed": 0}, "threshold": 0.5, "interval": {"radius": 0.4, "scale": "log"}},
        reference=reference.reset_index(drop=True),
        scores=scores[reference.index],
        out_of_fold=pd.DataFrame({"target": train[project.target], "score": scores}),
        population=summarise(coerce(train, project.columns)[0], project.columns, scores),
        importance=[column.name for column in project.columns],
        left_out=0.0,
        trained=train,
        version="v1.0.0",
        hash="c0ffee",
    )


def raw(name: str = "toy", rows: int = 1_000, seed: int = 2, shift: str | None = None, labels: bool = True) -> Any:
    """Rows of a batch as they come."""
    frame = raw_rows(toy(name), rows, seed, shift)
    return frame if labels else frame.drop(columns=toy(name).target)


def gathered(model: Live, *chunks: pd.DataFrame, limit: int = 50_000) -> Batch:
    """The batch that these frames make."""
    return gather("batch.csv", chunks, model.project, model.reference, limit, seed=0)


def report(frame: pd.DataFrame, name: str = "toy", **drift: Any) -> dict[str, Any]:
    """The report on a batch of raw rows."""
    model = live(name)
    batch = gathered(model, frame)
    return check_batch(model, batch, truth(model.project, batch.frame), Drift.model_validate(drift), 0.02, seed=0)

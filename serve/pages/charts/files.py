"""The charts of a model's quality, from the files in `reports/<project>/plots` that DVC plots draws too."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

from serve.models.loader import Model
from serve.pages.charts import classifier, regressor
from serve.pages.charts.specs import Chart, Rows

DRAWN: dict[str, Callable[[Rows, Model], Chart]] = {
    "roc": classifier.roc,
    "precision_recall": classifier.precision_recall,
    "calibration": classifier.calibration,
    "confusion": classifier.confusion,
    "scores": classifier.scores,
    "predicted_actual": regressor.predicted_actual,
    "residuals": regressor.residuals,
    "coverage": regressor.coverage,
    "error_by_size": regressor.error_by_size,
    "error_distribution": regressor.error_distribution,
}


def read_csv(path: Path) -> Rows:
    """The rows of a CSV file with numbers as such, nothing for a gap; none where there is no file."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [{key: value_of(text) for key, text in row.items()} for row in csv.DictReader(file)]


def value_of(text: str) -> float | str | None:
    """What a cell of a CSV file holds."""
    try:
        return float(text) if text else None
    except ValueError:
        return text


def belongs(curve: Rows, model: Model) -> bool:
    """Whether the files were written by the evaluation of this model, as the learning curve tells, which is in both: a
    deployment may put another model here without its plots.
    """
    primary = model.project.primary_metric
    steps = [(step["rows"], float(f"{step[primary]:.6g}")) for step in model.evaluation.get("learning_curve", [])]
    return bool(steps) and steps == [(row.get("Rows trained on"), row.get("Primary metric")) for row in curve]


def charts(model: Model, folder: Path) -> list[Chart]:
    """The charts of the files in a folder; none where they are missing or of another model."""
    if not belongs(read_csv(folder / "learning_curve.csv"), model):
        return []
    read = {name: read_csv(folder / f"{name}.csv") for name in DRAWN}
    return [DRAWN[name](rows, model) for name, rows in read.items() if rows]

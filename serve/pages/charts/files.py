"""The charts of a model's quality, from the files in `reports/<project>/plots` that DVC plots draws too."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from serve.models.loader import Model
from serve.pages.charts import classifier, regressor
from serve.pages.charts.specs import Chart, Rows

DRAWN: dict[str, tuple[Callable[[Rows, Model], Chart], set[str]]] = {  # by file: what draws it, and of which columns
    "roc": (classifier.roc, {"False positive rate", "True positive rate"}),
    "precision_recall": (classifier.precision_recall, {"Recall", "Precision"}),
    "calibration": (classifier.calibration, {"Predicted probability", "Observed rate", "Test rows"}),
    "confusion": (classifier.confusion, {"Actual", "Predicted"}),
    "scores": (classifier.scores, {"Predicted probability", "Test rows"}),
    "predicted_actual": (regressor.predicted_actual, {"Actual", "Predicted"}),
    "residuals": (regressor.residuals, {"Predicted", "Actual minus predicted"}),
    "coverage": (regressor.coverage, {"Predicted", "Share inside the interval"}),
    "error_by_size": (regressor.error_by_size, {"Predicted", "Mean absolute percentage error"}),
    "error_distribution": (regressor.error_distribution, {"Absolute percentage error", "Share of test rows"}),
}
LEARNING = ("Rows trained on", "Primary metric")  # columns of learning_curve.csv


@dataclass(frozen=True)
class Drawn:
    """The charts of a model, and the files that were left out because an older pipeline wrote them, in other columns."""

    charts: list[Chart]
    outdated: list[str]


def read_csv(path: Path) -> Rows:
    """The rows of a CSV file with numbers as such and None for a missing value; none where there is no file."""
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
    return bool(steps) and steps == [tuple(row[column] for column in LEARNING) for row in curve]


def draw(model: Model, folder: Path) -> Drawn:
    """The charts of the files in a folder; none where they are missing or of another model. A version that is brought back
    brings the files that the pipeline wrote in its time.
    """
    curve = read_csv(folder / "learning_curve.csv")
    if curve and not curve[0].keys() >= set(LEARNING):
        return Drawn([], ["learning_curve"])
    if not belongs(curve, model):
        return Drawn([], [])
    read = {name: rows for name in DRAWN if (rows := read_csv(folder / f"{name}.csv"))}
    outdated = [name for name, rows in read.items() if not rows[0].keys() >= DRAWN[name][1]]
    return Drawn([DRAWN[name][0](rows, model) for name, rows in read.items() if name not in outdated], outdated)

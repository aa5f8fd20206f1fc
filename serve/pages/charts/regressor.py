"""The charts of a regressor's quality: rows of its CSV files in, charts out."""

from __future__ import annotations

import numpy as np

from serve.models.loader import Model
from serve.pages.charts.specs import SHARE, Chart, Rows, axis, diagonal, level, line, near, scatter
from stages.runtime.wording import metric, number, percent

DOTS = 600  # of a scatter plot; more make the page slow and show nothing new


def predicted_actual(rows: Rows, model: Model) -> Chart:
    dots, unit = thinned(rows), model.project.unit
    values = [row[key] for row in dots for key in ("Actual", "Predicted")]
    low, high = min(values), max(values)
    kind = {"type": "log"} if model.project.log_target and low > 0 else {"zero": False}
    scale = {**kind, "nice": False}
    x, y = axis("Actual", f"Actual, {unit}", scale=scale), axis("Predicted", f"Predicted, {unit}", scale=scale)
    found = model.evaluation["metrics"]
    return Chart(
        "predicted-actual", "Predicted against actual",
        f"R² is {metric(found['r2']['value'], 'r2')}; the mean absolute error is {number(found['mae']['value'], unit)}. "
        "Dashed: perfect.",
        scatter(dots, x, y, diagonal("Actual", "Predicted", low, high)),
    )  # fmt: skip


def residuals(rows: Rows, model: Model) -> Chart:
    unit = model.project.unit
    low, middle, high = np.quantile([row["Actual minus predicted"] for row in rows], [0.05, 0.5, 0.95])
    x = axis("Predicted", f"Predicted, {unit}", scale={"zero": False})
    y = axis("Actual minus predicted", f"Actual minus predicted, {unit}")
    return Chart(
        "residuals", "Residuals",
        f"5th percentile {number(low, unit)}, median {number(middle, unit)}, 95th percentile {number(high, unit)}.",
        scatter(thinned(rows), x, y, level(0)),
    )  # fmt: skip


def coverage(rows: Rows, model: Model) -> Chart:
    unit, promised = model.project.unit, model.manifest["interval"]["coverage"]
    worst = min(rows, key=lambda row: row["Share inside the interval"])
    x = axis("Predicted", f"Predicted, {unit}", scale={"zero": False})
    y = axis("Share inside the interval", "Test rows inside their interval", axis=SHARE, scale={"zero": False})
    return Chart(
        "coverage", "Interval coverage by predicted value",
        f"Nominal coverage {percent(promised)} (dashed). Lowest around {number(worst['Predicted'], unit)}: "
        f"{percent(worst['Share inside the interval'])}.",
        line(rows, x, y, level(promised), points=True),
        ("Predicted", "Inside the interval"),
        [(number(row["Predicted"], unit), percent(row["Share inside the interval"])) for row in rows],
    )  # fmt: skip


def error_by_size(rows: Rows, model: Model) -> Chart:
    unit = model.project.unit
    error = "Mean absolute percentage error"
    worst = max(rows, key=lambda row: row[error])
    x = axis("Predicted", f"Predicted, {unit}", scale={"zero": False})
    return Chart(
        "error-by-size", "Error by predicted value",
        f"The mean percentage error is largest around {number(worst['Predicted'], unit)}: {percent(worst[error])}.",
        line(rows, x, axis(error, error, axis=SHARE), points=True),
        ("Predicted", error),
        [(number(row["Predicted"], unit), percent(row[error])) for row in rows],
    )  # fmt: skip


def error_distribution(rows: Rows, model: Model) -> Chart:
    error, share = "Absolute percentage error", "Share of test rows"
    read = near(rows, share, (0.25, 0.5, 0.75, 0.9))
    x, y = axis(error, error, axis=SHARE), axis(share, "Test rows within it", axis=SHARE)
    return Chart(
        "error-distribution", "Rows within an error",
        f"Median error {percent(read[1][error])}, 90th percentile {percent(read[3][error])}.",
        line(rows, x, y),
        ("Test rows", "Within"), [(percent(row[share]), percent(row[error])) for row in read],
    )  # fmt: skip


def thinned(rows: Rows) -> Rows:
    """At most `DOTS` of the rows."""
    return rows[:: -(-len(rows) // DOTS)]

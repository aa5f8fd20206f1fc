"""The charts of a classifier's quality: rows of its CSV files in, charts out."""

from __future__ import annotations

from serve.models.loader import Model
from serve.pages.charts.specs import DASHED, SHARE, Chart, Rows, axis, diagonal, line, near
from stages.runtime.wording import count, number, percent

RATES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8)  # at which a curve is read for its table


def roc(rows: Rows, model: Model) -> Chart:
    x, y = "False positive rate", "True positive rate"
    found = near(rows, x, RATES)
    known = dict(zip(RATES, found, strict=True))[0.1]
    return Chart(
        "roc", "ROC curve",
        f"Of the rows that are “{positive(model)}”, {percent(known[y])} are found when {percent(known[x])} of the others "
        "are flagged too. Dashed: guessing.",
        line(rows, axis(x, x, axis=SHARE), axis(y, y, axis=SHARE), diagonal(x, y)),
        (x, y), [(percent(row[x]), percent(row[y])) for row in found],
    )  # fmt: skip


def precision_recall(rows: Rows, model: Model) -> Chart:
    found = near(rows, "Recall", RATES)
    known = dict(zip(RATES, found, strict=True))[0.5]
    x, y = axis("Recall", "Recall", axis=SHARE), axis("Precision", "Precision", axis=SHARE, scale={"domain": [0, 1]})
    return Chart(
        "precision-recall", "Precision and recall",
        f"To find {percent(known['Recall'])} of the rows that are “{positive(model)}”, {percent(known['Precision'])} of "
        "the flagged ones are right.",
        line(rows, x, y),
        ("Recall", "Precision"), [(percent(row["Recall"]), percent(row["Precision"])) for row in found],
    )  # fmt: skip


def calibration(rows: Rows, model: Model) -> Chart:
    predicted, observed = "Predicted probability", "Observed rate"
    widest = max(rows, key=lambda row: abs(row[predicted] - row[observed]) * row["Test rows"])
    x, y = (axis(column, column, axis=SHARE, scale={"domain": [0, 1]}) for column in (predicted, observed))
    return Chart(
        "calibration", "Calibration",
        f"Where most rows are off, {percent(widest[predicted])} is predicted and {percent(widest[observed])} observed. "
        "Dashed: perfect.",
        line(rows, x, y, diagonal(predicted, observed), points=True),
        ("Predicted", "Observed", "Test rows"),
        [(percent(row[predicted]), percent(row[observed]), number(row["Test rows"])) for row in rows],
    )  # fmt: skip


def confusion(rows: Rows, model: Model) -> Chart:
    labels = [str(model.project.labels.get(label, label)) for label in (0, 1)]
    pairs = [(str(row["Actual"]), str(row["Predicted"])) for row in rows]
    totals = {label: sum(actual == label for actual, _ in pairs) for label in labels}
    cells: Rows = [
        {"actual": actual, "predicted": predicted, "rows": (both := pairs.count((actual, predicted))),
         "share": both / max(totals[actual], 1)}
        for actual in labels for predicted in labels
    ]  # fmt: skip
    encoding = {
        "x": {"field": "predicted", "title": "Predicted", "sort": labels, "axis": {"labelAngle": 0}},
        "y": {"field": "actual", "title": "Actual", "sort": labels},
    }
    spec = {
        "height": 180,
        "data": {"values": [cell | {"says": f"{count(cell['rows'])} ({percent(cell['share'])})"} for cell in cells]},
        "encoding": encoding,
        "layer": [
            {"mark": {"type": "rect", "tooltip": True, "stroke": "var(--line)", "color": "var(--accent)"},
             "encoding": {"opacity": axis("share", "", legend=None, scale={"domain": [0, 1], "range": [0, 0.4]})}},
            {"mark": {"type": "text", "fontSize": 13}, "encoding": {"text": {"field": "says"}}},
        ],
    }  # fmt: skip
    found = cells[3]
    return Chart(
        "confusion", f"Confusion at the threshold of {percent(model.threshold)}",
        f"“{labels[1]}” found: {count(found['rows'])} of {count(totals[labels[1]], 'test row')}; flagged by mistake: "
        f"{count(cells[1]['rows'])} of {count(totals[labels[0]], 'other')}.",
        spec,
        ("Actual", *(f"Predicted “{label}”" for label in labels)),
        [(label, *(count(cell["rows"]) for cell in cells if cell["actual"] == label)) for label in labels],
    )  # fmt: skip


def scores(rows: Rows, model: Model) -> Chart:
    column = "Predicted probability"
    total = sum(row["Test rows"] for row in rows)
    above = sum(row["Test rows"] for row in rows if row[column] >= model.threshold)
    width = rows[1][column] - rows[0][column]
    spans = [{**row, "from": row[column] - width / 2, "to": row[column] + width / 2} for row in rows]
    bars = {
        "data": {"values": spans},
        "mark": {"type": "bar", "tooltip": True, "stroke": "var(--surface)"},
        "encoding": {
            "x": axis("from", column, axis=SHARE), "x2": {"field": "to"}, "y": axis("Test rows", "Test rows"),
            "y2": {"datum": 0},
        },
    }  # fmt: skip
    threshold = {"data": {"values": [{}]}, "mark": {**DASHED, "color": "var(--up)", "size": 2},
                 "encoding": {"x": {"datum": model.threshold}}}  # fmt: skip
    return Chart(
        "scores", "Distribution of the scores",
        f"About {percent(above / total)} of the test rows are above the threshold of {percent(model.threshold)} (dashed).",
        {"height": 260, "layer": [bars, threshold]},
        (column, "Test rows"),
        [(f"{percent(span['from'])} to {percent(span['to'])}", number(span["Test rows"])) for span in spans],
    )  # fmt: skip


def positive(model: Model) -> str:
    """What class 1 is called."""
    return model.project.labels.get(1, "1")

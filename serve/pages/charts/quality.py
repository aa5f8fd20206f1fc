"""The charts of a model's quality, its worst segments and its feature importance, from its reports."""

from __future__ import annotations

from typing import Any

from serve.models.loader import Model
from serve.pages.charts.specs import Chart, Rows, axis, bars, intervals, line
from stages.runtime.metric_names import AMOUNTS, HIGHER_IS_BETTER, TITLES
from stages.runtime.wording import count, metric, metric_interval, number, significant, upper_first, words

SHOWN = 15  # of the most important features, and of the worst segments


def comparison(model: Model, rival: dict[str, Any]) -> Chart | None:
    """The primary metric of the model, of its rival, and of the baseline, which ignores the row."""
    name, unit = model.project.primary_metric, model.project.unit
    if name not in model.evaluation.get("metrics", {}):
        return None
    baseline = model.evaluation["baseline"]["value"]
    rows = [{"model": model.version or "this model", **model.evaluation["metrics"][name]}]
    if name in rival.get("metrics", {}):
        rows.append({"model": rival["version"], **rival["metrics"][name]})
    rows.append({"model": "baseline", "value": baseline, "low": baseline, "high": baseline})
    return Chart(
        "comparison", f"{words(name)}, with 95 % intervals ({better(name)})",
        "; ".join(f"{row['model']}: {metric(row['value'], name, unit)}" for row in rows),
        intervals(rows, "model", named(name, unit)),
        ("Model", words(name), "95 % interval"),
        [(row["model"], metric(row["value"], name, unit), metric_interval(row, name, unit)) for row in rows],
    )  # fmt: skip


def candidates(model: Model, board: Rows | None) -> Chart | None:
    """The leaderboard: each candidate's primary metric over the folds, and a table of all."""
    name, unit = model.project.primary_metric, model.project.unit
    if not board:
        return None
    rows = [
        {"candidate": words(entry["candidate"]), "value": (own := entry["metrics"][name])["mean"],
         "low": own["mean"] - own["sd"], "high": own["mean"] + own["sd"]}
        for entry in board
    ]  # fmt: skip
    metrics = [each for each in TITLES if each in board[0]["metrics"]]
    return Chart(
        "candidates", f"{words(name)} of the candidates over the folds of cross-validation, ± one standard deviation",
        f"Best: {rows[0]['candidate']} with {metric(rows[0]['value'], name, unit)}. Served: "
        f"{words(model.manifest['estimator'])}.",
        intervals(rows, "candidate", named(name, unit)),
        ("Candidate", *(words(each) for each in metrics)),
        [
            (words(entry["candidate"]), *(metric(entry["metrics"][each]["mean"], each, unit) for each in metrics))
            for entry in board
        ],
    )  # fmt: skip


def segments(model: Model) -> Chart | None:
    """The segments, the worst first."""
    project, found = model.project, model.evaluation.get("by_segment", {}).get("segments")
    if not found:
        return None
    metrics = [name for name in TITLES if name in found[0]]
    name = project.primary_metric if project.primary_metric in metrics else metrics[0]
    known = [segment for segment in found if segment[name] is not None]
    known.sort(key=lambda segment: segment[name], reverse=name not in HIGHER_IS_BETTER)
    titles = {column.name: column.title for column in project.columns}
    columns = [upper_first(titles.get(segment["column"], words(segment["column"]))) for segment in known]
    pairs = [(f"{column}: {segment['segment']}", segment) for column, segment in zip(columns, known, strict=True)]
    overall = model.evaluation["metrics"][name]["value"]
    dots = [{"segment": title, "value": each[name], "rows": each["rows"]} for title, each in pairs[:SHOWN]]
    return Chart(
        "segments", f"{words(name)} by segment, the worst first",
        f"Worst: {pairs[0][0]} with {metric(known[0][name], name, project.unit)}, against "
        f"{metric(overall, name, project.unit)} (dashed).",
        intervals(dots, "segment", named(name, project.unit), overall),
        ("Segment", "Test rows", *(words(each) for each in metrics)),
        [
            (title, number(each["rows"]), *(metric(each[key], key, project.unit) for key in metrics))
            for title, each in pairs
        ],
    )  # fmt: skip


def importance(found: dict[str, Any] | None) -> Chart | None:
    """The importance of the features."""
    if not found:
        return None
    method = {"shap": "mean absolute SHAP value", "permutation": "loss in the primary metric when shuffled"}[found["method"]]
    ranks = {upper_first(entry["feature"]): rank for rank, entry in enumerate(found["permutation"], 1)}
    ranking = [entry | {"feature": upper_first(entry["feature"])} for entry in found["ranking"]]
    top = ranking[:SHOWN]
    return Chart(
        "importance", f"Feature importance: {method}",
        f"Most: {', '.join(entry['feature'] for entry in top[:3])}.",
        bars(top, "feature", axis("importance", upper_first(method))),
        ("Feature", "Importance", "Rank when shuffled"),
        [
            (entry["feature"], significant(entry["importance"]), str(ranks.get(entry["feature"].partition(": ")[0], "–")))
            for entry in ranking
        ],
    )  # fmt: skip


def learning(model: Model) -> Chart | None:
    """The learning curve."""
    curve, name, unit = model.evaluation.get("learning_curve"), model.project.primary_metric, model.project.unit
    if not curve:
        return None
    metrics = [each for each in TITLES if each in curve[0]]
    return Chart(
        "learning", "Learning curve: trained on fewer rows",
        f"From {count(curve[0]['rows'], 'row')} to {count(curve[-1]['rows'], 'row')} the {words(name)} changes from "
        f"{metric(curve[0][name], name, unit)} to {metric(curve[-1][name], name, unit)}.",
        line([{"rows": step["rows"], name: step[name]} for step in curve], axis("rows", "Rows trained on"),
             axis(name, named(name, unit), scale={"zero": False}), points=True),
        ("Rows trained on", *(words(each) for each in metrics)),
        [(number(step["rows"]), *(metric(step[each], each, unit) for each in metrics)) for step in curve],
    )  # fmt: skip


def better(name: str) -> str:
    """Which way a metric is good."""
    return "higher is better" if name in HIGHER_IS_BETTER else "lower is better"


def named(name: str, unit: str) -> str:
    """The title of a metric, with the unit of those that have it."""
    return f"{words(name)}, {unit}" if name in AMOUNTS and unit else words(name)

"""The tables of the report: what each kind of evidence on a project was before and is now, as Markdown."""

from __future__ import annotations

import json
import re
from itertools import zip_longest
from typing import Any

from stages.explanation.card import table
from stages.projects._base import Project
from stages.promotion.gate import Decision
from stages.review.snapshots import Snapshot
from stages.runtime.metric_names import AMOUNTS, HIGHER_IS_BETTER, TITLES, metric_text

WORST = 5  # segments shown
VERDICTS = {True: "passes", False: "**fails**", None: "does not apply"}
RATES = {"flagged": "Flagged", "recall": "Recall", "false_positive_rate": "False positive rate"}


def code(text: str) -> str:
    """A value from outside as a code span, in which neither Markdown nor HTML nor a mention means anything."""
    line = " ".join(text.split()) or " "
    runs = [len(run) for run in re.findall("`+", line)]
    fence = "`" * (1 + max(runs, default=0))
    return f"{fence} {line} {fence}" if runs else f"{fence}{line}{fence}"


def prose(text: str) -> str:
    """Words from outside on one line and without their full stop, shown literally."""
    line = " ".join(text.split()).removesuffix(".")
    return re.sub(r"([\\`*_{}\[\]<>#~&])", r"\\\1", line).replace("@", "@<!-- -->")


def title_of(metric: str, unit: str) -> str:
    """The name of a metric, with its unit where it has one."""
    return f"{TITLES[metric]} in {unit}" if metric in AMOUNTS and unit else TITLES[metric]


def value_of(metric: str, found: dict[str, dict[str, Any]]) -> str:
    """A metric with its interval, where that is known."""
    if metric not in found:
        return "-"
    value, low, high = (metric_text(metric, found[metric][key]).strip() for key in ("value", "low", "high"))
    return value if found[metric]["low"] is None else f"{value} ({low} to {high})"


def signed(metric: str, value: float) -> str:
    """A difference of a metric."""
    return "+" * (value > 0) + metric_text(metric, value).strip()


def metrics_table(project: Project, before: Snapshot, after: Snapshot) -> list[str]:
    """All metrics, and what must be known to read them."""
    then, now = before.metrics, after.metrics
    rows = []
    for metric in [metric for metric in TITLES if metric in then or metric in now]:
        title = title_of(metric, project.unit)
        name = f"**{title}**" if metric == project.primary_metric else title
        both = metric in then and metric in now
        moved = signed(metric, now[metric]["value"] - then[metric]["value"]) if both else "-"
        rows.append([name, value_of(metric, then), value_of(metric, now), moved])
    note = "In brackets the 95 % bootstrap interval of each value by itself."
    tested = f"data/{project.name}/test.parquet"
    if then and before.outs.get(tested) != after.outs.get(tested):
        note += " Before and after were measured on different test rows, so a difference here may be one of the rows."
    if then and not before.evaluation:
        note += " It is missing before, as the base's `evaluation.json` is neither in DVC's cache nor on a remote."
    return [table(["Metric", "Before", "After", "Difference"], rows), note] if rows else []


def params_table(before: Snapshot, after: Snapshot) -> list[str]:
    """The parameters that differ; none for a project that is new."""
    then, now = before.params, after.params
    keys = [key for key in sorted(then.keys() | now.keys()) if then.get(key) != now.get(key)]
    rows = [[code(key), *(_json(side[key]) if key in side else "-" for side in (then, now))] for key in keys]
    return ["### Parameters", table(["Key", "Before", "After"], rows)] if then and rows else []


def data_table(before: Snapshot, after: Snapshot) -> list[str]:
    """Sources and training rows, in one line where they are the same."""
    then, now = ([*map(_source, side.data.get("sources", [])), _trained(side)] for side in (before, after))
    same = f"The same: {'; '.join(now)}."
    return ["### Data", same if then == now else table(["Before", "After"], zip_longest(then, now, fillvalue="-"))]


def rules_table(decision: Decision) -> str:
    """What each rule of the gate found."""
    rows = [[rule.rule, VERDICTS[rule.passed], prose(rule.detail)] for rule in decision.rules]
    return table(["Rule", "Verdict", "Evidence"], rows)


def segments_table(project: Project, before: Snapshot, after: Snapshot) -> list[str]:
    """The segments that are worst now."""
    then, now = (side.evaluation.get("by_segment", {}).get("segments", []) for side in (before, after))
    metrics = [metric for metric in (project.primary_metric, *TITLES) if now and metric in now[0]]
    if not metrics:
        return []
    metric = metrics[0]
    earlier = {(segment["column"], segment["segment"]): segment.get(metric) for segment in then}
    known = [segment for segment in now if segment[metric] is not None]
    worst = sorted(known, key=lambda segment: segment[metric], reverse=metric not in HIGHER_IS_BETTER)[:WORST]
    rows = []
    for segment in worst:
        values = earlier.get((segment["column"], segment["segment"])), segment[metric]
        name = code(f"{segment['column']} = {segment['segment']}")
        rows.append([name, f"{segment['rows']:,}", *(metric_text(metric, value).strip() for value in values)])
    return [table(["Segment", "Test rows", f"{title_of(metric, project.unit)} before", "After"], rows)]


def fairness_tables(before: Snapshot, after: Snapshot) -> list[str]:
    """The rates of each sensitive group, and how far they are apart."""
    parts = []
    for column, now in after.evaluation.get("fairness", {}).items():
        then = before.evaluation.get("fairness", {}).get(column, {"groups": {}})
        rows = []
        for group, rates in now["groups"].items():
            earlier = then["groups"].get(group, {})
            rows.append([code(group), f"{rates['rows']:,}", *(_moved(rate, earlier, rates) for rate in RATES)])
        impact, recall = (_moved(key, then, now) for key in ("disparate_impact", "recall_gap"))
        parts.append(table([code(column), "Test rows", *RATES.values()], rows))
        parts.append(f"Disparate impact {impact}, difference in recall {recall}.")
    return parts


def _json(value: Any) -> str:
    return code(json.dumps(value, ensure_ascii=False, default=str))


def _source(source: dict[str, Any]) -> str:
    digest = f", SHA-256 {code(source['sha256'][:12])}" if source["sha256"] else ""
    return f"{code(source['address'])}, {source['rows']:,} rows, {source['rejected']:,} of them quarantined{digest}"


def _trained(side: Snapshot) -> str:
    if not side.manifest:
        return "trained on rows that are not available"
    return f"trained on {side.manifest['rows']:,} rows, SHA-256 {code(side.manifest['data']['sha256'][:12])}"


def _moved(key: str, then: dict[str, Any], now: dict[str, Any]) -> str:
    values = [metric_text(key, side.get(key)) for side in (then, now)]
    return values[0] if values[0] == values[1] else " → ".join(values)

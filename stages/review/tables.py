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
from stages.runtime.metric_names import TITLES
from stages.runtime.segments import worst_segments
from stages.runtime.wording import DASH, count, metric, metric_change, metric_interval, percent, points

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


def value_of(name: str, found: dict[str, dict[str, Any]], unit: str) -> str:
    """A metric with its interval, where that is known."""
    if name not in found:
        return DASH
    value, interval = metric(found[name]["value"], name, unit), metric_interval(found[name], name, unit)
    return value if DASH in interval else f"{value} ({interval})"


def metrics_table(project: Project, before: Snapshot, after: Snapshot) -> list[str]:
    """All metrics, and what must be known to read them."""
    then, now = before.metrics, after.metrics
    rows = []
    for name in [name for name in TITLES if name in then or name in now]:
        title = f"**{TITLES[name]}**" if name == project.primary_metric else TITLES[name]
        both = name in then and name in now
        moved = metric_change(now[name]["value"] - then[name]["value"], name, project.unit) if both else DASH
        rows.append([title, *(value_of(name, side, project.unit) for side in (then, now)), moved])
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
    rows = [[code(key), *(_json(side[key]) if key in side else DASH for side in (then, now))] for key in keys]
    return ["### Parameters", table(["Key", "Before", "After"], rows)] if then and rows else []


def data_table(before: Snapshot, after: Snapshot) -> list[str]:
    """Sources and training rows, in one line where they are the same."""
    then, now = ([*map(_source, side.data.get("sources", [])), _trained(side)] for side in (before, after))
    same = f"The same: {'; '.join(now)}."
    return ["### Data", same if then == now else table(["Before", "After"], zip_longest(then, now, fillvalue=DASH))]


def rules_table(decision: Decision) -> str:
    """What each rule of the gate found."""
    rows = [[rule.rule, VERDICTS[rule.passed], prose(rule.detail)] for rule in decision.rules]
    return table(["Rule", "Verdict", "Evidence"], rows)


def segments_table(project: Project, before: Snapshot, after: Snapshot) -> list[str]:
    """The segments that are worst now."""
    then, now = (side.evaluation.get("by_segment", {}).get("segments", []) for side in (before, after))
    if not now:
        return []
    name, ranked = worst_segments(now, project.primary_metric)
    earlier = {(segment["column"], segment["segment"]): segment.get(name) for segment in then}
    rows = []
    for segment in ranked[:WORST]:
        values = earlier.get((segment["column"], segment["segment"])), segment[name]
        title = code(f"{segment['column']} = {segment['segment']}")
        rows.append([title, count(segment["rows"]), *(metric(value, name, project.unit) for value in values)])
    return [table(["Segment", "Test rows", f"{TITLES[name]} before", "After"], rows)]


def fairness_tables(before: Snapshot, after: Snapshot) -> list[str]:
    """The rates of each sensitive group, and how far they are apart."""
    parts = []
    for column, now in after.evaluation.get("fairness", {}).items():
        then = before.evaluation.get("fairness", {}).get(column, {"groups": {}})
        rows = []
        for group, rates in now["groups"].items():
            earlier = then["groups"].get(group, {})
            rows.append([code(group), count(rates["rows"]), *(_moved(rate, earlier, rates) for rate in RATES)])
        impact, recall = (_moved(key, then, now) for key in ("disparate_impact", "recall_gap"))
        parts.append(table([code(column), "Test rows", *RATES.values()], rows))
        parts.append(f"Disparate impact {impact}, difference in recall {recall}.")
    return parts


def _json(value: Any) -> str:
    return code(json.dumps(value, ensure_ascii=False, default=str))


def _source(source: dict[str, Any]) -> str:
    digest = f", SHA-256 {code(source['sha256'][:12])}" if source["sha256"] else ""
    return (
        f"{code(source['address'])}, {count(source['rows'], 'row')}, {count(source['rejected'])} of them quarantined{digest}"
    )


def _trained(side: Snapshot) -> str:
    if not side.manifest:
        return "trained on rows that are not available"
    return f"trained on {count(side.manifest['rows'], 'row')}, SHA-256 {code(side.manifest['data']['sha256'][:12])}"


def _moved(key: str, then: dict[str, Any], now: dict[str, Any]) -> str:
    found = [side.get(key) for side in (then, now)]
    if key == "disparate_impact":
        values = [metric(value, key) for value in found]
    else:
        values = [(points if key == "recall_gap" else percent)(value) for value in found]
    return values[0] if values[0] == values[1] else " → ".join(values)

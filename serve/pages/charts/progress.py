"""The chart of what models gained over their champions, with what happened to production in between."""

from __future__ import annotations

import re
from typing import Any

from serve.models.history import Event
from serve.pages.charts.quality import named
from serve.pages.charts.specs import DASHED, RULE, Chart, Rows, Spec, axis
from serve.pages.format import moment
from stages.projects._base import Project
from stages.runtime.wording import DASH, between, count, metric_change, percent, words

BREAK = "other test rows"
KINDS = {
    "promoted": "var(--good)", "refused": "var(--bad)", "deployed": "var(--accent)", "rolled back": "var(--warn)",
    BREAK: "var(--muted)",
}  # fmt: skip


def is_rollback(event: Event) -> bool:
    """Whether a deployment put an older version in the place of a newer one."""
    return event.event == "deployment" and is_older(event.version, (event.details.get("previous") or {}).get("version"))


def is_older(version: str | None, other: str | None) -> bool:
    """Whether a version comes before another."""
    one, two = ([int(part) for part in re.findall(r"\d+", each or "")] for each in (version, other))
    return bool(one and two) and one < two


def gains(events: list[Event], metric: str) -> Rows:
    """The challengers that were compared with a champion by this metric, oldest first, with what the gate measured."""
    return [
        {"time": event.time.isoformat(), "moment": moment(event.time), "what": event.version or "refused",
         "kind": "promoted" if event.accepted else "refused", **found,
         "champion": (event.details.get("champion") or {}).get("version") or DASH}
        for event in events
        if event.event == "promotion" and (found := event.details.get("comparison")) and found["metric"] == metric
    ]  # fmt: skip


def marks(events: list[Event]) -> Rows:
    """Deployments, rollbacks, and changes of the test rows, oldest first. A change lies somewhere between two decisions on
    different rows, and is put halfway.
    """
    found: Rows = []
    before: Event | None = None
    for event in events:
        if event.event == "deployment" and event.live_hash:
            kind = "rolled back" if is_rollback(event) else "deployed"
            what = f"{kind}{' to' * (kind == 'rolled back')} {event.version}"
            found.append({"time": event.time.isoformat(), "moment": moment(event.time), "what": what, "kind": kind})
        if event.event == "promotion" and event.details["challenger"].get("test"):
            if before and before.details["challenger"]["test"] != event.details["challenger"]["test"]:
                halfway = before.time + (event.time - before.time) / 2
                told = f"before {moment(event.time)}"
                found.append({"time": halfway.isoformat(), "moment": told, "what": BREAK, "kind": BREAK})
            before = event
    return sorted(found, key=lambda row: row["time"])


def progress(events: list[Event], project: Project) -> Chart | None:
    """The gain of every challenger in the primary metric over time; None before the first comparison."""
    name, unit = project.primary_metric, project.unit
    rows, others = gains(events, name), marks(events)
    if not rows:
        return None
    title = f"Gain in {named(name, unit)}"
    x = {"field": "time", "type": "temporal", "title": "UTC", "scale": {"type": "utc"}, "axis": time_axis(events)}
    y = axis("value", title)
    colour = {"field": "kind", "title": None, "scale": {"domain": list(KINDS), "range": list(KINDS.values())}}
    shape = {"field": "kind", "legend": None, "scale": {"domain": ["promoted", "refused"], "range": ["circle", "cross"]}}
    seen = [{"field": "what", "title": "What"}, {"field": "moment", "title": "When"}]
    gained = {"field": "value", "title": title, "format": ".4~g"}
    spec: Spec = {
        "height": 240,
        "encoding": {"color": colour},
        "layer": [
            {"data": {"values": [{}]}, "mark": DASHED, "encoding": {"y": {"datum": 0}, "color": {"value": "var(--muted)"}}},
            {"data": {"values": others}, "mark": {**RULE, "size": 2, "tooltip": True},
             "encoding": {"x": x, "tooltip": seen}},
            {"data": {"values": rows}, "mark": {**RULE, "size": 2},
             "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}}},
            {"data": {"values": rows}, "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
             "encoding": {"x": x, "y": y, "shape": shape, "tooltip": [*seen, gained]}},
        ],
    }  # fmt: skip
    promoted = sum(row["kind"] == "promoted" for row in rows)
    last = rows[-1]
    table = sorted(rows + others, key=lambda row: row["time"])
    return Chart(
        "progress", f"Gain of each model in {words(name)} over its champion, above 0 where it is better",
        f"{count(promoted)} of {count(len(rows), 'challenger')} promoted. The last one, {last['what']}, gained "
        f"{metric_change(last['value'], name, unit)} over {last['champion']} ({interval(last, name, unit)}).",
        spec,
        ("What", "When", "Champion", f"Gain in {words(name)}", "Interval", "Test rows"),
        [table_row(row, name, unit) for row in table],
    )  # fmt: skip


def table_row(row: dict[str, Any], name: str, unit: str) -> tuple[str, ...]:
    """A challenger or a mark as the table shows it."""
    if "value" not in row:
        return row["what"], row["moment"], DASH, DASH, DASH, DASH
    tested = count(row["rows"]) if "rows" in row else DASH
    gained = metric_change(row["value"], name, unit)
    return row["what"], row["moment"], row["champion"], gained, interval(row, name, unit), tested


def interval(row: dict[str, Any], name: str, unit: str) -> str:
    """The interval of a gain, with the share of it that is meant to hold the true one."""
    level = percent(2 * row["confidence"] - 1, 0) if "confidence" in row else "95 %"
    return f"{level} interval {between(*(metric_change(row[bound], name, unit) for bound in ('low', 'high')))}"


def time_axis(events: list[Event]) -> Spec:
    """Ticks that suit the time from the first to the last decision."""
    days = (events[-1].time - events[0].time).days
    return {"tickCount": 6, "format": "%b %Y" if days > 365 else "%d %b" if days > 6 else "%d %b %H:%M"}

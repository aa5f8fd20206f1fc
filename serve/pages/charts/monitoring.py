"""The charts of traffic and drift."""

from __future__ import annotations

from datetime import timedelta

from serve.models.stability import LARGE, MODERATE, Drift
from serve.pages.charts.specs import DASHED, Chart, Rows, Spec, axis
from serve.pages.traffic import BinShares, Traffic
from stages.runtime.wording import count, number, percent

HOUR = timedelta(hours=1)
LEGEND = {"direction": "vertical"}  # side by side the names do not fit on a phone


def over_time(values: Rows, mark: Spec, y: Spec, **encoding: Spec) -> Spec:
    """Values over the hours that they belong to."""
    x = {"field": "hour", "type": "temporal", "title": "UTC", "scale": {"type": "utc"}, "axis": {"tickCount": 6}}
    return {"height": 200, "data": {"values": values}, "mark": mark, "encoding": {"x": x, "y": y, **encoding}}


def requests(found: Traffic, window: str) -> Chart:
    """Predictions by the hour."""
    values = [
        {"hour": hour.start.isoformat(), "until": (hour.start + HOUR).isoformat(), "predictions": hour.predictions}
        for hour in found.hours
    ]
    busiest = max(found.hours, key=lambda hour: hour.predictions)
    y = axis("predictions", "Predictions", axis={"tickMinStep": 1, "format": ",d"})
    return Chart(
        "predictions", f"Predictions by the hour, {window}",
        f"{count(found.whole.predictions, 'prediction')}; the busiest hour began at {busiest.start:%Y-%m-%d %H:%M} UTC with "
        f"{count(busiest.predictions)}.",
        over_time(values, {"type": "bar", "tooltip": True}, y, x2={"field": "until"}, y2={"datum": 0}),
        ("Hour (UTC)", "Predictions"),
        [(f"{hour.start:%Y-%m-%d %H:%M}", count(hour.predictions)) for hour in reversed(found.hours) if hour.predictions],
    )  # fmt: skip


def latency(found: Traffic, window: str) -> Chart:
    """Latency by the hour."""
    values = [
        {"hour": hour.start.isoformat(), "which": which, "ms": value}
        for hour in found.hours
        for which, value in (("median", hour.median_ms), ("90th percentile", hour.slow_ms))
        if value is not None
    ]
    lines = {"type": "line", "point": True, "tooltip": True}
    which = {"field": "which", "title": None}
    return Chart(
        "latency", f"Time to predict by the hour, {window}",
        f"Median {number(found.whole.median_ms, 'ms')}, 90th percentile {number(found.whole.slow_ms, 'ms')}.",
        over_time(values, lines, axis("ms", "Milliseconds"), color=which, strokeDash={**which, "legend": None}),
        ("Hour (UTC)", "Median, ms", "90th percentile, ms"),
        [
            (f"{hour.start:%Y-%m-%d %H:%M}", number(hour.median_ms), number(hour.slow_ms))
            for hour in reversed(found.hours) if hour.median_ms is not None
        ],
    )  # fmt: skip


def distribution(found: BinShares, title: str, unit: str = "") -> Chart:
    """The training rows and the latest predictions by bin."""
    sides = (("training rows", found.trained), ("latest predictions", found.latest))
    values = [
        {"bin": name, "rows": side, "share": share}
        for side, column in sides for name, share in zip(found.bins, column, strict=True)
    ]  # fmt: skip
    moved = max(range(len(found.bins)), key=lambda place: abs(found.latest[place] - found.trained[place]))
    spec = {
        "height": {"step": 11},
        "data": {"values": values},
        "mark": {"type": "bar", "tooltip": True},
        "encoding": {
            "y": {"field": "bin", "type": "nominal", "sort": None, "title": unit or None},
            "yOffset": {"field": "rows", "sort": None},
            "x": axis("share", "Share of the rows", axis={"format": ".0%"}),
            "color": {"field": "rows", "title": None, "sort": None, "legend": LEGEND,
                      "scale": {"range": ["var(--series-7)", "var(--accent)"]}},
        },
    }  # fmt: skip
    return Chart(
        f"shares-{found.column}", f"{title}: latest predictions and training rows",
        f"Largest change: {found.bins[moved]}, from {percent(found.trained[moved])} to {percent(found.latest[moved])}.",
        spec,
        (title, "Training rows", "Latest predictions"),
        [
            (name, percent(trained), percent(latest))
            for name, trained, latest in zip(found.bins, found.trained, found.latest, strict=True)
        ],
    )  # fmt: skip


def shifts(drift: Drift, titles: dict[str, str]) -> Chart:
    """The stability index of every column."""
    rows: Rows = [
        {"column": titles.get(each.column, each.column), "index": float(each.index), "state": each.state}
        for each in [*([drift.score] if drift.score else []), *drift.columns]
    ]
    kinds = {"domain": ["stable", "moderate", "large"], "range": ["var(--good)", "var(--warn)", "var(--bad)"]}
    limits: list[Spec] = [
        {"data": {"values": [{}]}, "mark": DASHED, "encoding": {"x": {"datum": limit}}} for limit in (MODERATE, LARGE)
    ]
    bars = {
        "mark": {"type": "bar", "tooltip": True},
        "encoding": {
            "y": {"field": "column", "type": "nominal", "sort": None, "title": None},
            "x": axis("index", "Population stability index"),
            "color": {"field": "state", "title": None, "scale": kinds, "legend": LEGEND},
        },
    }
    largest = max(rows, key=lambda row: row["index"])
    return Chart(
        "shifts", "Shift by column: population stability index",
        f"Largest: {largest['column']} with {largest['index']:.3f}, {largest['state']}. Dashed: {MODERATE} and {LARGE}.",
        {"height": {"step": 22}, "data": {"values": rows}, "layer": [bars, *limits]},
        ("Column", "Index", "State"),
        [(row["column"], f"{row['index']:.3f}", row["state"]) for row in rows],
    )  # fmt: skip

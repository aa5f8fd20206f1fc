"""The contents of profile.json, about the training rows, as text, bars and charts."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from serve.pages.charts.specs import Chart, Rows, Spec, axis
from serve.pages.form import choice_text
from stages.projects._base import Column, Project, columns_of
from stages.runtime.wording import DASH, count, number, percent

RARE = 0.005  # a text without a value of this share is nearly a name: a list of its values would tell nothing
LABELLED = 8  # a heat map of more columns has no room for its numbers


def described(project: Project, profile: dict[str, Any]) -> dict[str, Any]:
    """The columns, the distribution of the outcome and the correlations."""
    columns = columns_of(project.record)
    target = next(column for column in columns if column.name == project.target)
    return {
        "rows": profile["rows"],
        "columns": [column_card(column, profile["columns"][column.name], project) for column in columns],
        "outcome": outcome(profile["columns"][project.target], target, project),
        "correlations": correlations(profile["correlations"], project),
    }


def column_card(column: Column, entry: dict[str, Any], project: Project) -> dict[str, Any]:
    """A column in words and bars, from what profile.json says of it."""
    kind = "choice" if column.choices else "whole number" if column.integer else column.kind
    missing = f"{percent(entry['missing'])} missing" if entry["missing"] else "none missing"
    frequent = [
        {"label": label(item["value"], column, project), "share": item["share"]} for item in entry.get("frequent", [])
    ]
    words = [] if column.choices else spread(entry, column.unit)
    if frequent and frequent[0]["share"] < RARE and column.kind == "text":
        frequent, words = [], [f"{count(entry['distinct'], 'different value')}, each in less than {percent(RARE)}"]
    elif frequent and (rest := entry["distinct"] - len(frequent)):
        frequent.append({"label": count(rest, "other"), "share": 1 - sum(item["share"] for item in frequent)})
    is_input, is_target = column.name in project.row.model_fields, column.name == project.target
    return {
        "title": column.title,
        "name": column.name,
        "role": "" if is_input else "outcome" if is_target else "not an input",
        "kind": " · ".join(word for word in (kind, column.unit, missing) if word),
        "words": words,
        "bars": entry.get("histogram", {}).get("shares", []),
        "frequent": frequent,
    }


def label(value: Any, column: Column, project: Project) -> str:
    """A frequent value as people read it."""
    if column.name == project.target and project.labels:
        return project.labels[value]
    return choice_text(value, column) if column.choices else written(value)


def spread(entry: dict[str, Any], unit: str) -> list[str]:
    """The range of a number or date, its median and its quartiles."""
    if "quantiles" not in entry:
        return []
    low, _, lower, middle, upper, _, high = entry["quantiles"]
    quartiles = f"quartiles {bare(lower, unit)} to {written(upper, unit)}"
    return [f"{bare(low, unit)} to {written(high, unit)}", f"median {written(middle, unit)}, {quartiles}"]


def written(value: Any, unit: str = "") -> str:
    """A number with its unit; a text or date as it is."""
    return value if isinstance(value, str) else number(value, unit)


def bare(value: Any, unit: str) -> str:
    """A number as with its unit, but without it."""
    return written(value, unit).split()[0]


def outcome(entry: dict[str, Any], column: Column, project: Project) -> Chart:
    """The distribution of the outcome."""
    share = axis("share", "Share of the rows", axis={"format": "%"})
    mark = {"type": "bar", "tooltip": True}
    if "histogram" not in entry:
        parts: Rows = [
            {"outcome": label(item["value"], column, project), "share": item["share"]} for item in entry["frequent"]
        ]
        encoding = {"y": {"field": "outcome", "type": "nominal", "title": None}, "x": share}
        text = ", ".join(f"{part['outcome']} {percent(part['share'])}" for part in parts)
        spec = {"data": {"values": parts}, "mark": mark, "height": {"step": 44}, "encoding": encoding}
        return Chart("distribution", column.title, f"Of the training rows: {text}.", spec)
    bars = entry["histogram"]
    edges = pairwise(bars["start"] + bars["step"] * place for place in range(len(bars["shares"]) + 1))
    values = [{"from": low, "to": high, "share": part} for (low, high), part in zip(edges, bars["shares"], strict=True)]
    x = {"field": "from", "bin": "binned", "title": f"{column.title}, {column.unit}", "axis": {"format": "~s"}}
    spec = {
        "data": {"values": values},
        "mark": mark,
        "height": 240,
        "encoding": {"x": x, "x2": {"field": "to"}, "y": share},
    }
    text = f"{', '.join(spread(entry, column.unit))}; values below the 1st and above the 99th percentile are not drawn."
    return Chart("distribution", column.title, text, spec)


def correlations(found: dict[str, Any], project: Project) -> Chart | None:
    """The rank correlations as a heat map, the target first; None for a lone column."""
    if len(found["columns"]) < 2:
        return None
    names = {column.name: column.title for column in columns_of(project.record)}
    order = sorted(range(len(found["columns"])), key=lambda place: found["columns"][place] != project.target)
    titles = [names[found["columns"][place]] for place in order]
    matrix = [[found["values"][row][column] for column in order] for row in order]
    known = [(title, value) for title, value in zip(titles[1:], matrix[0][1:], strict=True) if value is not None]
    strongest = sorted(known, key=lambda pair: -abs(pair[1]))[:3]
    return Chart(
        "correlations",
        "Rank correlation of the numbers",
        f"{titles[0]} correlates most with {', '.join(f'{title} ({coefficient(value)})' for title, value in strongest)}.",
        heat_map(titles, matrix),
        ["Column", *titles],
        [[title, *map(coefficient, line)] for title, line in zip(titles, matrix, strict=True)],
    )


def coefficient(value: float | None) -> str:
    """A correlation with two decimals."""
    return DASH if value is None else f"{value:.2f}".replace("-", "−")


def heat_map(titles: list[str], matrix: list[list[float | None]]) -> Spec:
    """A square of colours from -1 to 1, with their numbers where there is room."""
    values = [
        {"row": row, "column": column, "correlation": value}
        for row, line in zip(titles, matrix, strict=True)
        for column, value in zip(titles, line, strict=True)
    ]
    scale = {"domain": [-1, 0, 1], "range": ["var(--down)", "var(--surface)", "var(--up)"], "interpolate": "rgb"}
    ink = {"condition": {"test": "abs(datum.correlation) > 0.85", "value": "var(--surface)"}, "value": "var(--ink)"}
    text = axis("correlation", "", format=".2f")
    place = {"type": "nominal", "sort": None, "title": None}
    layers: list[Spec] = [
        {
            "mark": {"type": "rect", "tooltip": True},
            "encoding": {"color": axis("correlation", "Spearman's correlation", scale=scale)},
        },
        {"mark": {"type": "text", "fontSize": 11}, "encoding": {"text": text, "color": ink}},
    ]
    return {
        "data": {"values": values},
        "height": {"step": 30},
        "encoding": {
            "x": {"field": "column", **place, "axis": {"labelAngle": -45, "labelLimit": 110}},
            "y": {"field": "row", **place, "axis": {"labelLimit": 130}},
        },
        "layer": layers if len(titles) <= LABELLED else layers[:1],
    }

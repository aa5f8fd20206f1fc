"""What Vega-Lite charts are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Rows = list[dict[str, Any]]
Spec = dict[str, Any]
SHARE = {"format": ".0%"}
RULE: Spec = {"type": "rule", "aria": False}  # otherwise a screen reader announces each as an image without text
DASHED: Spec = {**RULE, "strokeDash": [4, 4]}


@dataclass(frozen=True)
class Chart:
    """A chart as the macro of that name takes it, with the table of numbers below, which may have no rows."""

    id: str
    caption: str
    text: str
    spec: Spec
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()

    @property
    def numeric(self) -> list[int]:
        """The columns of the table that hold numbers: all but the first."""
        return list(range(1, len(self.head)))


def axis(field: str, title: str, **more: Any) -> Spec:
    """A channel of numbers."""
    return {"field": field, "type": "quantitative", "title": title, **more}


def line(rows: Rows, x: Spec, y: Spec, *layers: Spec, points: bool = False) -> Spec:
    """A line in the order of the rows, over other layers."""
    mark = {"type": "line", "tooltip": True, "point": points, "interpolate": "linear"}
    drawn = {"data": {"values": rows}, "mark": mark, "encoding": {"x": x, "y": y, "order": {"value": None}}}
    return {"height": 260, "layer": [*layers, drawn]}


def diagonal(x: str, y: str, low: float = 0, high: float = 1) -> Spec:
    """A dashed line from corner to corner: chance, or a perfect model."""
    values = [{x: low, y: low}, {x: high, y: high}]
    encoding = {"x": {"field": x, "type": "quantitative"}, "y": {"field": y, "type": "quantitative"}}
    return {"data": {"values": values}, "mark": {"type": "line", "strokeDash": [4, 4], "color": "var(--muted)"},
            "encoding": encoding}  # fmt: skip


def level(y: float) -> Spec:
    """A dashed line across."""
    place = {"datum": y, "scale": {"zero": False}}
    return {"data": {"values": [{}]}, "mark": DASHED, "encoding": {"y": place}}


def scatter(rows: Rows, x: Spec, y: Spec, *layers: Spec) -> Spec:
    """Dots, under other layers."""
    dots = {"data": {"values": rows}, "mark": {"type": "circle", "opacity": 0.45, "size": 18, "tooltip": True},
            "encoding": {"x": x, "y": y}}  # fmt: skip
    return {"height": 260, "layer": [dots, *layers]}


def intervals(rows: Rows, y: str, title: str, reference: float | None = None) -> Spec:
    """Values as dots with their intervals as lines, one under the other in the order of the rows, and a dashed reference.
    Rows hold `value`, and may `low`, `high`, and `kind`, a colour's name.
    """
    place = {"field": y, "type": "nominal", "sort": None, "title": None}
    x = {"field": "value", "type": "quantitative", "title": title, "scale": {"zero": False}}
    layers: list[Spec] = [
        {"mark": {**RULE, "size": 2, "color": "var(--accent)"},
         "encoding": {"y": place, "x": {**x, "field": "low"}, "x2": {"field": "high"}}},
        {"mark": {"type": "point", "filled": True, "size": 70, "opacity": 1, "tooltip": True, "color": "var(--accent)"},
         "encoding": {"y": place, "x": x}},
    ]  # fmt: skip
    if reference is not None:
        layers.insert(0, {"data": {"values": [{}]}, "mark": DASHED, "encoding": {"x": {"datum": reference}}})
    return {"height": {"step": 26}, "data": {"values": rows}, "layer": layers}


def bars(rows: Rows, y: str, x: Spec, **more: Spec) -> Spec:
    """Bars, one under the other in the order of the rows, with more channels."""
    place = {"field": y, "type": "nominal", "sort": None, "title": None}
    mark = {"type": "bar", "tooltip": True}
    return {"height": {"step": 24}, "data": {"values": rows}, "mark": mark, "encoding": {"y": place, "x": x, **more}}


def near(rows: Rows, key: str, values: Sequence[float]) -> Rows:
    """The rows of a curve that are nearest to some values of a column."""
    return [min(rows, key=lambda row: abs(row[key] - value)) for value in values]

"""An explanation in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date
from typing import Any

import numpy as np

from stages.projects._base import MISSING, Column, Project
from stages.runtime.shapley import Explanation, Scale, percent
from stages.runtime.wording import PERCENTAGE_POINTS, exact, number, significant, upper_first, words

# What could end up as markup on a page that shows a reason.
_PLAIN = str.maketrans({"<": "‹", ">": "›", '"': "”", "'": "’", "&": "+", "\n": " ", "\r": " ", "\t": " "})


def reasons(explanation: Explanation, row: Mapping[str, Any], project: Project, k: int = 3) -> list[str]:
    """The largest contributions in words, as plain text: what the row says, and what that does to the prediction. `row` maps
    the project's fields to values; None and absent ones are unknown.
    """
    columns = {column.name: column for column in project.columns}
    ranked = sorted(explanation.contributions.items(), key=lambda pair: -abs(pair[1]))
    return [
        f"{_named(name, columns.get(name), row.get(name, explanation.derived.get(name)))} "
        f"{_effect(value, explanation.scale, project)}"
        for name, value in ranked[:k]
        if value != 0
    ]


def _named(name: str, column: Column | None, value: Any) -> str:
    title = column.title.partition(" (")[0] if column else upper_first(words(name))
    if value is None or value == MISSING or value != value:
        return f"{title} unknown"
    if column is not None and column.choices == (0, 1):
        return f"{title}: {'yes' if value else 'no'}"
    if isinstance(value, (int, float, np.number)):
        unit = column.unit if column and column.unit not in title.lower() else ""
        return f"{title} {exact(float(value), unit) if column else significant(float(value))}"
    text = value.isoformat() if isinstance(value, date) else str(value)
    return f"{title} {text.translate(_PLAIN)[:80]}"


def _effect(value: float, scale: Scale, project: Project) -> str:
    if project.task == "classification":
        more = f"makes “{project.labels.get(1, '1')}” {'more' if value > 0 else 'less'} likely"
        if scale == "probability":
            return f"{more} (by {_about(100 * abs(value))} {PERCENTAGE_POINTS})"
        return f"{more} ({_odds(value)})"
    title = project.record.model_fields[project.target].title or project.target
    moved = f"{'raises' if value > 0 else 'lowers'} the {title[:1].lower()}{title[1:]}"
    if scale == "log":
        change = abs(percent(value))
        return f"{moved} by more than 1,000 %" if change > 1000 else f"{moved} by about {_about(change)} %"
    return f"{moved} by about {number(float(f'{abs(value):.3g}'), project.unit)}"


def _odds(value: float) -> str:
    if abs(value) > math.log(100):
        return "odds more than × 100" if value > 0 else "odds less than × 0.01"
    return f"odds × {math.exp(value):.2f}"


def _about(number: float) -> str:
    return f"{number:.0f}" if number >= 1 else f"{number:.1g}"

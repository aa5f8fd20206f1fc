"""The row of a project as a form: what each field takes, and what is usual there."""

from __future__ import annotations

from typing import Any

from serve.models.loader import Model
from stages.projects._base import MISSING, Column

SUGGESTED = 500  # categories that are offered for a text at most; of more, only the frequent ones
VARIANTS = 12  # values of a field that are compared at most
INPUTS = {"number": "number", "text": "text", "date": "date"}


def form_fields(model: Model) -> list[dict[str, Any]]:
    """The fields of the row, in its order: type, unit, limits, choices, the categories that the model knows for a text, and
    the values that are worth comparing.
    """
    known = {entry["feature"]: entry["categories"] for entry in model.plan if "categories" in entry}
    found = []
    for column in model.project.columns:
        usual = model.population["columns"].get(column.name, {"shares": []})
        frequent: list[Any] = [text for text in usual.get("categories", []) if text != MISSING]
        categories = [text for text in known.get(column.name, []) if text != MISSING]
        steps = usual.get("edges", [])
        found.append(
            {
                "name": column.name,
                "title": column.title,
                "unit": column.unit,
                "kind": column.kind,
                "integer": column.integer,
                "required": column.required,
                "input": INPUTS[column.kind],
                "limits": limits(column),
                "choices": [{"value": str(choice), "text": choice_text(choice, column)} for choice in column.choices],
                "known": suggestions(column, categories, frequent),
                "variants": (list(column.choices) or frequent or [step for step in steps if fits(step, column)])[:VARIANTS],
            }
        )
    return found


def limits(column: Column) -> dict[str, Any]:
    """The attributes of an input that say what it takes. An excluded bound is named too: only the server can refuse it."""
    if column.kind == "number":
        bounds = {"min": first(column.ge, column.gt), "max": first(column.le, column.lt)}
        return {"step": 1 if column.integer else "any"} | {key: value for key, value in bounds.items() if value is not None}
    lengths = {"minlength": column.min_length, "maxlength": column.max_length}
    return {key: value for key, value in lengths.items() if value is not None}


def first(*values: float | None) -> float | None:
    """The first of the values that there is."""
    return next((value for value in values if value is not None), None)


def choice_text(choice: Any, column: Column) -> str:
    """A choice as people read it."""
    return ("no", "yes")[choice] if column.choices == (0, 1) else str(choice).replace("_", " ")


def suggestions(column: Column, categories: list[str], frequent: list[str]) -> list[str]:
    """Texts to offer: all that the model knows, or the frequent ones where those are too many."""
    if column.kind != "text" or column.choices:
        return []
    return categories if 0 < len(categories) <= SUGGESTED else sorted(frequent)


def fits(value: float, column: Column) -> bool:
    """Whether a number can be that of a row."""
    return not column.integer or float(value).is_integer()


def ranges(rows: list[dict[str, Any]], fields: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Per number the least and the greatest value of the rows that have one."""
    found = {}
    for field in fields:
        values = [row[field["name"]] for row in rows if field["name"] in row] if field["kind"] == "number" else []
        if values and min(values) < max(values):
            found[field["name"]] = [min(values), max(values)]
    return found

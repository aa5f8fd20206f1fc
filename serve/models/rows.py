"""Rows of a project as JSON bodies or texts. msgspec decodes bodies that are written as the log keeps rows; all else takes
the slower way of `stages.runtime.values`, which reads what people write and names every wrong field, as training does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from functools import lru_cache, partial
from itertools import islice
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec.structs import astuple

from serve.models.errors import FieldError, MalformedError, wrong_fields
from stages.projects._base import FIRST_DAY, LAST_DAY, Column, Columns, Project
from stages.runtime.values import read_columns, reader, violations

Row = Any  # an instance of the struct that `RowCodec` makes
MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
LISTED, UNKNOWN, SHOWN = 100, 20, 60  # wrong fields named at most, unknown ones of a row, characters of a value
BYTE, NO_NUMBER = re.compile(r"\(byte (\d+)\)"), re.compile(rb"NaN|Infinity")
PLACE = re.compile(r"(.*) - at `\$(?:\.rows\[(\d+)\])?\.?(.*)`")


class RowCodec:
    """Reads the rows of one project, and turns them into columns."""

    def __init__(self, project: Project, max_batch: int) -> None:
        self.project = project
        self.max_batch = max_batch
        self.struct = row_struct(project)
        self._single = msgspec.json.Decoder(self.struct)
        self._batch = msgspec.json.Decoder(batch_struct(self.struct, max_batch))
        dtypes: dict[str, Any] = {"text": object, "date": "datetime64[D]"}
        columns = list(enumerate(project.columns))
        self._numbers = [(place, column.name) for place, column in columns if column.kind == "number"]
        self._others = [(place, column.name, dtypes[column.kind]) for place, column in columns if column.kind != "number"]

    def read_row(self, body: bytes) -> Row:
        """The row in a body; MalformedError for what is no JSON, InvalidInputError with every wrong field."""
        try:
            return self._single.decode(body)
        except MALFORMED as error:
            given = decode_any(body, error)
            rows, errors = self._read_objects([given])
            if errors:
                raise wrong_fields([FieldError(found.field, found.message) for found in errors]) from None
            return rows[0]

    def read_batch(self, body: bytes) -> list[Row]:
        """The rows in a body `{"rows": [...]}`; errors as of `read_row`, naming the row of each wrong field."""
        try:
            rows: list[Row] = self._batch.decode(body).rows
        except MALFORMED as error:
            given = decode_any(body, error)
            if not isinstance(given, dict) or given.keys() != {"rows"} or not isinstance(given["rows"], list):
                raise wrong_fields([first_error(error)]) from None
            if not 1 <= len(given["rows"]) <= self.max_batch:
                count = f"has {len(given['rows'])} rows; a request takes 1 to {self.max_batch}"
                raise wrong_fields([FieldError("rows", count)]) from None
            rows, errors = self._read_objects(given["rows"])
            if errors:
                raise wrong_fields(errors) from None
        return rows

    def read_texts(self, raw: Mapping[str, Sequence[Any]], rows: int) -> tuple[list[Row | None], dict[str, np.ndarray]]:
        """The rows in these columns of a table, None for one that breaks a rule, and a mask of the rows by broken rule (see
        `stages.runtime.values.violations`).
        """
        columns = self.project.columns
        values, unreadable = read_columns(raw, columns, rows)
        broken = violations(values, unreadable, columns)
        bad = np.any([*broken.values(), np.zeros(rows, dtype=bool)], axis=0).tolist()
        lists = [_plain(values[column.name], column) for column in columns]
        names = [column.name for column in columns]
        made = zip(*lists, strict=True)
        return [
            None if wrong else self.struct(**dict(zip(names, row, strict=True)))
            for wrong, row in zip(bad, made, strict=True)
        ], broken

    def fill_date(self, rows: list[Row], today: date) -> None:
        """Set a missing valuation date to today, so that the log holds the date that was used."""
        name = self.project.time_column
        if name is not None and name in self.struct.__struct_fields__:
            for row in rows:
                if getattr(row, name) is None:
                    setattr(row, name, today)

    def columns(self, rows: list[Row]) -> Columns:
        """One array per column, in the form that features take; all numbers are rows of one matrix, made at once."""
        values = list(zip(*map(astuple, rows), strict=True))
        numbers = np.array([values[place] for place, _ in self._numbers], dtype=float)  # None becomes NaN
        columns = {name: numbers[at] for at, (_, name) in enumerate(self._numbers)}
        for place, name, dtype in self._others:
            columns[name] = np.array(values[place], dtype=dtype)  # None becomes NaT
        return columns

    def _read_objects(self, given: list[Any]) -> tuple[list[Row], list[FieldError]]:
        """The rows that these values of JSON are, or the wrong fields: a few of them, as a body can have a million."""
        objects = [row if isinstance(row, dict) else {} for row in given]
        raw: dict[str, Any] = {column.name: [row.get(column.name) for row in objects] for column in self.project.columns}
        rows, broken = self.read_texts(raw, len(objects))
        reasons: dict[tuple[int, str], list[str]] = {}
        for rule, mask in broken.items():
            name, _, reason = rule.partition(": ")
            for place in np.flatnonzero(mask)[:LISTED].tolist():
                reasons.setdefault((place, name), []).append(reason)
        errors = []
        for (place, name), texts in reasons.items():
            if isinstance(given[place], dict):
                value = raw[name][place]
                errors.append(FieldError(name, "; ".join(texts) + ("" if value is None else f": {shown(value)}"), row=place))
        for place, row in enumerate(given):
            if not isinstance(row, dict):
                errors.append(FieldError("", f"is no object of fields: {shown(row)}", row=place))
                continue
            unknown = (name for name in row if name not in self.struct.__struct_fields__)
            errors += [
                FieldError(name[:SHOWN], "is no field of this project", row=place) for name in islice(unknown, UNKNOWN)
            ]
        return rows, sorted(errors, key=lambda error: error.row or 0)[:LISTED]


def shown(value: Any) -> str:
    """A value as JSON, cut if it is long."""
    text = msgspec.json.encode(value).decode(errors="replace")
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _plain(array: np.ndarray, column: Column) -> list[Any]:
    """The values as the struct holds them."""
    values = array.tolist()
    if column.kind != "number":
        return values
    cast = int if column.integer else float
    return [None if value != value else cast(value) for value in values]


def decode_any(body: bytes, error: Exception) -> Any:
    """Whatever JSON is in a body that `error` says is no row; MalformedError where it is none."""
    try:
        return msgspec.json.decode(body)
    except msgspec.ValidationError:  # a number that no float can hold
        raise wrong_fields([first_error(error)]) from None
    except MALFORMED as fault:
        raise malformed(fault, body) from None


def malformed(error: Exception, body: bytes) -> MalformedError:
    """The error of a body that cannot be read as JSON."""
    if isinstance(error, RecursionError):
        return MalformedError("The body is nested too deeply; a row is one flat object.")
    place = BYTE.search(str(error))
    if place and (word := NO_NUMBER.match(body, int(place[1]))):
        return MalformedError(
            f"The body is no JSON: {word[0].decode()} at byte {place[1]} is no JSON number; send null for a missing value."
        )
    return MalformedError(f"The body is no JSON: {str(error).removeprefix('JSON is malformed: ')}.")


def first_error(error: Exception) -> FieldError:
    """What msgspec says, which stops at the first wrong field."""
    found = PLACE.fullmatch(str(error))
    if found is None:
        return FieldError("", str(error))
    return FieldError(found[3], found[1], row=int(found[2]) if found[2] else None)


def row_struct(project: Project) -> type[msgspec.Struct]:
    """A msgspec struct with the fields, bounds and choices of the project's row. It refuses unknown fields, texts that are
    not written as they are read, and dates that no row can have.
    """
    fields = []
    for column in project.columns:
        annotation = _annotation(column)
        fields.append((column.name, annotation) if column.required else (column.name, annotation | None, None))
    days = [column.name for column in project.columns if column.kind == "date"]
    texts = [
        (column.name, lru_cache(4_096)(partial(_is_read_so, column)))
        for column in project.columns
        if column.kind == "text" and not column.choices
    ]

    def check(row: Row) -> None:
        for name in days:
            day = getattr(row, name)
            if day is not None and not FIRST_DAY <= day <= LAST_DAY:
                raise ValueError(name)
        for name, is_read_so in texts:
            text = getattr(row, name)
            if text is not None and not is_read_so(text):
                raise ValueError(name)

    checks = {"__post_init__": check} if days or texts else {}
    return msgspec.defstruct(f"{project.name}_row", fields, namespace=checks, forbid_unknown_fields=True, kw_only=True)


def _is_read_so(column: Column, text: str) -> bool:
    return bool(reader(column, {text})(text) == text)


def batch_struct(row: type[msgspec.Struct], max_batch: int) -> Any:
    """The body of a batch request."""
    rows = Annotated[list[row], msgspec.Meta(min_length=1, max_length=max_batch)]  # type: ignore[valid-type]
    return msgspec.defstruct("batch", [("rows", rows)], forbid_unknown_fields=True)


def _annotation(column: Column) -> Any:
    if column.choices:
        return Literal[column.choices]
    base: Any = {"number": int if column.integer else float, "text": str, "date": date}[column.kind]
    bounds = {key: getattr(column, key) for key in ("ge", "gt", "le", "lt", "min_length", "max_length", "pattern")}
    meta = {key: value for key, value in bounds.items() if value is not None}
    return Annotated[base, msgspec.Meta(**meta)] if meta else base

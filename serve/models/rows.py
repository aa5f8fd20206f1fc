"""Rows of a project as JSON bodies: decoded by msgspec, which is fast, and explained by pydantic, which names every error.

Both are made from the same pydantic row, so they cannot disagree about what a row is.
"""

from __future__ import annotations

import re
from datetime import date
from functools import cached_property
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec.structs import astuple
from pydantic import Field, TypeAdapter, ValidationError, create_model, field_validator
from pydantic_core import PydanticCustomError

from serve.models.errors import FieldError, MalformedError, wrong_fields
from stages.projects._base import FIRST_DAY, LAST_DAY, OUTSIDE_DAYS, Column, Columns, Project

Row = Any  # an instance of the struct that `RowCodec` makes
MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
LISTED, UNKNOWN = 100, 20  # wrong fields that are named at most, and unknown ones of a row that are checked
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
            row = self._tidy(decode_any(body, error))
            try:
                return self._single.decode(msgspec.json.encode(row))
            except msgspec.ValidationError as refusal:
                raise wrong_fields(self._errors_of_row(row) or [first_error(refusal)]) from None

    def read_batch(self, body: bytes) -> list[Row]:
        """The rows in a body `{"rows": [...]}`; errors as of `read_row`, naming the row of each wrong field."""
        try:
            rows: list[Row] = self._batch.decode(body).rows
        except MALFORMED as error:
            given = decode_any(body, error)
            listed = isinstance(given, dict) and isinstance(given.get("rows"), list)
            if listed:
                given["rows"] = [self._tidy(row) for row in given["rows"][: self.max_batch + 1]]
            try:
                rows = self._batch.decode(msgspec.json.encode(given)).rows
            except msgspec.ValidationError as refusal:
                errors = self._errors_of_rows(given["rows"]) if listed else []
                raise wrong_fields(errors or [first_error(refusal)]) from None
        return rows

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

    @cached_property
    def _validators(self) -> tuple[TypeAdapter[Any], TypeAdapter[Any]]:
        checks: Any = {"days": field_validator(*days_of(self.project))(checked_day)} if days_of(self.project) else {}
        row = create_model("row", __base__=self.project.row, __validators__=checks)
        rows = Annotated[list[row], Field(min_length=1, max_length=self.max_batch)]  # type: ignore[valid-type]
        return TypeAdapter(row), TypeAdapter(rows)

    @cached_property
    def _integers(self) -> set[str]:
        return {column.name for column in self.project.columns if column.integer}

    def _tidy(self, row: Any) -> Any:
        """The row with whole numbers such as 2.0 as the integers that they are in JSON, and without most of its unknown
        fields: naming a hundred thousand of them would hold up every other request.
        """
        if not isinstance(row, dict):
            return row
        unknown = [name for name in row if name not in self.struct.__struct_fields__]
        dropped = set(unknown[UNKNOWN:])
        return {
            name: int(value) if name in self._integers and isinstance(value, float) and value.is_integer() else value
            for name, value in row.items()
            if name not in dropped
        }

    def _errors_of_row(self, row: Any) -> list[FieldError]:
        return [FieldError(".".join(map(str, place)), text) for place, text in self._errors(row, batch=False)]

    def _errors_of_rows(self, rows: list[Any]) -> list[FieldError]:
        found = self._errors(rows, batch=True)
        if found and not found[0][0]:
            return [FieldError("rows", found[0][1])]
        return [FieldError(".".join(map(str, place[1:])), text, row=place[0]) for place, text in found]

    def _errors(self, given: Any, *, batch: bool) -> list[tuple[Any, str]]:
        try:
            self._validators[batch].validate_json(msgspec.json.encode(given), strict=True)
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False, include_context=False)
            return [(item["loc"], item["msg"]) for item in found[:LISTED]]
        return []


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
    """A msgspec struct with the fields, bounds and choices of the project's row; unknown fields are refused, and so are
    dates that no row can have.
    """
    fields = []
    for column in project.columns:
        annotation = _annotation(column)
        fields.append((column.name, annotation) if column.required else (column.name, annotation | None, None))
    names = days_of(project)

    def check_days(row: Row) -> None:
        for name in names:
            checked_day(getattr(row, name))

    checks = {"__post_init__": check_days} if names else {}
    return msgspec.defstruct(f"{project.name}_row", fields, namespace=checks, forbid_unknown_fields=True, kw_only=True)


def days_of(project: Project) -> list[str]:
    """The names of the date columns."""
    return [column.name for column in project.columns if column.kind == "date"]


def checked_day(day: date | None) -> date | None:
    """The day; an error, which msgspec and pydantic both report as one of the row, for one that no row can have."""
    if day is not None and not FIRST_DAY <= day <= LAST_DAY:
        raise PydanticCustomError("day", f"Input {OUTSIDE_DAYS}")
    return day


def batch_struct(row: type[msgspec.Struct], max_batch: int) -> Any:
    """The body of a batch request."""
    rows = Annotated[list[row], msgspec.Meta(min_length=1, max_length=max_batch)]  # type: ignore[valid-type]
    return msgspec.defstruct("batch", [("rows", rows)], forbid_unknown_fields=True)


def _annotation(column: Column) -> Any:
    if column.choices:
        return Literal[column.choices]
    base: Any = {"number": int if column.integer else float, "text": str, "date": date}[column.kind]
    bounds = {key: getattr(column, key) for key in ("ge", "gt", "le", "lt", "min_length", "max_length")}
    meta = {key: value for key, value in bounds.items() if value is not None}
    return Annotated[base, msgspec.Meta(**meta)] if meta else base

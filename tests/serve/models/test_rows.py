"""Tests of serve/models/rows.py."""

from __future__ import annotations

import json
import time
from datetime import date
from functools import cache
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from serve.api.problems import ProblemError, as_problem
from serve.models.errors import InvalidInputError, MalformedError
from serve.models.rows import RowCodec
from stages.core.schema import coerce
from stages.projects._base import Column, Project, load_project
from stages.runtime.values import violations
from tests.serve.checkout import example, json_rows

VALUES = [
    "null", "true", "false", "0", "1", "2", "-1", "0.5", "1.0", "2.5", "-0.0", "1e3", "300", "2019", "1e308", "-1e308",
    "1e400", "-1e400", "9" * 30, "9" * 400, "1e-320", '""', '"x"', '"1"', '"Bee"', '"bee"', '"diesel"', '"06117"',
    '"2019-03-14"', '"2019-02-30"', '"2019-03-14T00:00:00"', '"2019-3-14"', '"0001-01-01"', '"9999-12-31"', "1552521600",
    '"1552521600"', '"\\u0000"', '"\\ud800"', '"Zürich"', "[]", "[1]", "{}", '{"a": 1}',
    json.dumps("x" * 40), json.dumps("x" * 41), json.dumps("ü" * 80), json.dumps("x" * 81),
]  # fmt: skip


@cache
def codec(name: str) -> RowCodec:
    return RowCodec(load_project(name), max_batch=3)


def body(name: str, **changes: Any) -> bytes:
    return json.dumps({**example(name), **changes}).encode()


def problem_of(name: str, content: bytes, *, batch: bool = False) -> ProblemError:
    reader = codec(name).read_batch if batch else codec(name).read_row
    with pytest.raises((MalformedError, InvalidInputError)) as caught:
        reader(content)
    return as_problem(caught.value)


def accepts(codec: RowCodec, content: bytes) -> bool:
    try:
        codec.read_row(content)
    except (MalformedError, InvalidInputError):
        return False
    return True


def pydantic_accepts(project: Project, content: bytes) -> bool:
    try:
        project.row.model_validate_json(content, strict=True)
    except ValidationError:
        return False
    return True


def test_rows_become_the_columns_that_training_had(project: Project) -> None:
    rows = json_rows(project.name, 40)
    reader = RowCodec(project, 100)
    found = reader.columns(reader.read_batch(json.dumps({"rows": rows}).encode()))
    expected, _ = coerce(pd.DataFrame(rows, columns=list(project.row.model_fields)), project.columns)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype.kind == array.dtype.kind


@pytest.mark.parametrize("value", VALUES)
def test_a_value_is_taken_as_training_takes_it_or_named(project: Project, value: str) -> None:
    reader = codec(project.name)
    for column in project.columns:
        others = {key: given for key, given in example(project.name).items() if key != column.name}
        content = f'{json.dumps(others)[:-1]}, "{column.name}": {value}}}'.encode()
        if accepts(reader, content):
            row = reader.read_row(content)
            assert pydantic_accepts(project, msgspec.json.encode(row)), column.name
            frame = pd.DataFrame([others | {column.name: json.loads(value)}], dtype=object)
            trained, unreadable = coerce(frame, project.columns)
            assert not violations(trained, unreadable, project.columns)
            np.testing.assert_array_equal(reader.columns([row])[column.name], trained[column.name])
        elif "\\u" not in value:
            problem = problem_of(project.name, content)
            assert problem.status in (400, 422)
            assert [error.field for error in problem.errors] == [column.name] or problem.status == 400
            assert value != "1e400" or problem.status == 422


@pytest.mark.parametrize("value", VALUES)
def test_what_is_decoded_at_once_is_what_the_slower_way_reads(project: Project, value: str) -> None:
    reader = codec(project.name)
    for column in project.columns:
        row = json.loads(body(project.name)) | {column.name: "@"}
        content = json.dumps(row).replace('"@"', value).encode()
        try:
            decoded = msgspec.json.decode(content, type=reader.struct)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        rows, errors = reader._read_objects([msgspec.json.decode(content)])
        assert not errors
        assert rows == [decoded]
        assert msgspec.json.encode(rows[0]) == msgspec.json.encode(decoded)


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "nan", "1_000", "0x10", "01", "+1", ".5", "None"])
def test_numbers_that_json_does_not_have_are_refused(project: Project, word: str) -> None:
    content = body(project.name, **{project.columns[0].name: "@"}).replace(b'"@"', word.encode())
    assert problem_of(project.name, content).status == 400


def test_a_whole_number_with_a_point_is_an_integer(project: Project) -> None:
    reader = codec(project.name)
    row = example(project.name)
    floats = {name: float(value) if isinstance(value, int) else value for name, value in row.items()}
    for given in (row, floats):
        assert reader.read_row(json.dumps(given).encode()) == reader.read_row(json.dumps(row).encode())
        assert reader.read_batch(json.dumps({"rows": [row, given]}).encode())[0] == reader.read_row(json.dumps(row).encode())


def test_a_gap_may_be_null_or_left_out(project: Project) -> None:
    reader = codec(project.name)
    optional = [column.name for column in project.columns if not column.required]
    given = example(project.name)
    left_out = reader.read_row(json.dumps({key: given[key] for key in given if key not in optional}).encode())
    nulls = reader.read_row(json.dumps({**given, **dict.fromkeys(optional)}).encode())
    assert left_out == nulls


def test_every_wrong_field_is_listed_with_what_was_expected() -> None:
    content = body("toy", distance=17, carrier="Dog", value="much", surname="Smith")
    content = content.replace(b'"sender": "0007", ', b"")
    problem = problem_of("toy", content)
    assert problem.status == 422
    assert problem.detail == "5 fields are wrong."
    assert {error.field: error.message for error in problem.errors} == {
        "sender": "is missing",
        "carrier": 'is none of Ant, Bee, Cat: "Dog"',
        "distance": "is below 20: 17",
        "value": 'is no number: "much"',
        "surname": "is no field of this project",
    }


def test_a_wrong_field_of_a_batch_is_listed_with_the_index_of_its_row() -> None:
    rows = [example("toy_plain"), {**example("toy_plain"), "rooms": 0}, {**example("toy_plain"), "roads": 1.5}]
    problem = problem_of("toy_plain", json.dumps({"rows": rows}).encode(), batch=True)
    assert [(error.row, error.field) for error in problem.errors] == [(1, "rooms"), (2, "roads")]


@pytest.mark.parametrize("rows", [0, 4])
def test_a_batch_has_at_least_one_row_and_at_most_the_configured_number(rows: int) -> None:
    content = json.dumps({"rows": [example("toy_plain")] * rows}).encode()
    problem = problem_of("toy_plain", content, batch=True)
    assert problem.status == 422
    assert problem.errors[0].field == "rows"
    assert str(1 if rows == 0 else 3) in problem.errors[0].message


@pytest.mark.parametrize("content", [b"[]", b"7", b"null", b'"text"', b"[{}]", b'{"rows": {}}', b'{"rows": null}', b"{}"])
def test_a_body_of_another_shape_is_refused(content: bytes) -> None:
    assert problem_of("toy_plain", content).status == 422
    assert problem_of("toy_plain", content, batch=True).status == 422


@pytest.mark.parametrize(
    "content", [b"", b" ", b"{", b'{"roads": 1', b"roads=1", b"\xff\xfe", b'{"roads": "\xff"}', b"{}{}"]
)
def test_a_body_that_is_no_json_is_refused(content: bytes) -> None:
    for batch in (False, True):
        problem = problem_of("toy_plain", content, batch=batch)
        assert problem.status == 400
        assert problem.detail.startswith("The body is no JSON")


@pytest.mark.parametrize("opening", [b"[", b'{"roads":', b'{"rows":[', b'{"x":'])
def test_a_body_that_is_nested_too_deeply_is_refused(opening: bytes) -> None:
    for batch in (False, True):
        assert problem_of("toy_plain", opening * 100_000, batch=batch).status in (400, 422)


def test_text_that_is_no_utf8_is_refused() -> None:
    content = body("toy_price", builder="@").replace(b"@", b"\xff")
    for batch in (False, True):
        assert problem_of("toy_price", b'{"rows": [' + content + b"]}" if batch else content, batch=batch).status == 400


@pytest.mark.slow
def test_a_large_body_full_of_mistakes_is_refused_quickly() -> None:
    rows = b'{"rows": [' + b",".join([b"{}"] * 1_000_000) + b"]}"
    fields = json.dumps({**example("toy_plain"), "roads": -1, **{f"x{number}": 1 for number in range(200_000)}}).encode()
    start = time.perf_counter()
    assert problem_of("toy_plain", rows, batch=True).errors[0].field == "rows"
    assert problem_of("toy_plain", fields).errors[0].field == "roads"
    assert time.perf_counter() - start < 2


def test_a_field_that_only_the_fast_reader_refuses_is_named_with_its_row() -> None:
    rows = [example("toy_price"), {**example("toy_price"), "posted": "1552521600"}]
    problem = problem_of("toy_price", json.dumps({"rows": rows}).encode(), batch=True)
    assert [(error.row, error.field) for error in problem.errors] == [(1, "posted")]


@pytest.mark.parametrize(
    ("day", "taken"), [("1900-01-01", True), ("2200-12-31", True), ("1899-12-31", False), ("2201-01-01", False)]
)
def test_days_are_taken_to_the_first_and_the_last_of_their_range(day: str, taken: bool) -> None:
    assert accepts(codec("toy_price"), body("toy_price", posted=day)) is taken


def test_a_day_out_of_range_is_listed_with_the_other_wrong_fields() -> None:
    problem = problem_of("toy_price", body("toy_price", posted="0001-01-01", cabins=-1))
    assert {error.field for error in problem.errors} == {"posted", "cabins"}


def test_a_missing_day_of_valuation_becomes_today_and_a_given_one_stays() -> None:
    reader = codec("toy_price")
    given = reader.read_row(body("toy_price", posted="2018-06-01"))
    missing = reader.read_row(body("toy_price", posted=None))
    reader.fill_date([given, missing], date(2026, 3, 1))
    assert (given.posted, missing.posted) == (date(2018, 6, 1), date(2026, 3, 1))


def test_a_project_without_a_day_of_valuation_is_left_as_it_is() -> None:
    reader = codec("toy_plain")
    row = reader.read_row(body("toy_plain"))
    reader.fill_date([row], date(2026, 3, 1))
    assert row == reader.read_row(body("toy_plain"))


def test_columns_of_one_row_equal_its_part_of_many(project: Project) -> None:
    reader = RowCodec(project, 100)
    rows = [reader.read_row(json.dumps(row).encode()) for row in json_rows(project.name, 40)]
    together = reader.columns(rows)
    for number, row in enumerate(rows):
        for name, array in reader.columns([row]).items():
            np.testing.assert_array_equal(array, together[name][number : number + 1])


def bounded(project: Project) -> list[Column]:
    return [column for column in project.columns if column.ge is not None or column.gt is not None]


def test_bounds_hold_to_the_last_bit(project: Project) -> None:
    reader = codec(project.name)
    for column in bounded(project):
        if column.ge is not None:
            assert accepts(reader, body(project.name, **{column.name: column.ge}))
            assert not accepts(reader, body(project.name, **{column.name: np.nextafter(column.ge, -np.inf)}))
        if column.gt is not None:
            assert accepts(reader, body(project.name, **{column.name: np.nextafter(column.gt, np.inf)}))
            assert not accepts(reader, body(project.name, **{column.name: column.gt}))
        if column.le is not None:
            assert accepts(reader, body(project.name, **{column.name: column.le}))
            assert not accepts(reader, body(project.name, **{column.name: np.nextafter(column.le, np.inf)}))

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.projects._base import Column
from stages.runtime.tables import match_names, read_table

TEXT = 'name,berth,price\n"Lund, river",00417,"2,5"\nZürich,,7\n'
ROWS = [["Lund, river", "00417", "2,5"], ["Zürich", "", "7"]]
COLUMNS = (Column("Age", "number", integer=True, required=True), Column("name", "text", integer=False, required=True))


@pytest.mark.parametrize(
    "written",
    [
        lambda text: text.encode(),
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.encode("utf-16"),
        lambda text: text.encode("utf-16-le"),
        lambda text: text.encode("utf-16-be"),
        lambda text: text.encode("cp1252"),
        lambda text: gzip.compress(text.encode()),
        lambda text: gzip.compress(text[:30].encode()) + gzip.compress(text[30:].encode()),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: f"\n\n{text}\n  \n".encode(),
        lambda text: text.rstrip().encode(),
    ],
)
def test_a_table_is_the_same_however_it_is_encoded(written: Callable[[str], bytes]) -> None:
    table = read_table(written(TEXT))
    assert table.names == ["name", "berth", "price"]
    assert table.rows == ROWS
    assert not table.faults


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_that_of_the_header(delimiter: str) -> None:
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=delimiter).writerows([["name", "berth", "price"], *ROWS])
    table = read_table(buffer.getvalue().encode())
    assert (table.rows, table.delimiter) == (ROWS, delimiter)


@given(
    rows=st.lists(
        st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=6), min_size=2, max_size=2),
        min_size=1,
        max_size=5,
    )
)
def test_what_a_csv_writer_wrote_is_read_back(rows: list[list[str]]) -> None:
    buffer = io.StringIO()
    csv.writer(buffer).writerows([["a", "b"], *rows])
    assert read_table(buffer.getvalue().encode()).rows == rows


def test_a_row_knows_the_line_that_it_begins_on() -> None:
    table = read_table(b'a,b\n"one\ntwo",2\n\n3,4\n')
    assert table.rows == [["one\ntwo", "2"], ["3", "4"]]
    assert table.lines == [2, 5]


def test_a_row_with_too_few_or_too_many_values_is_a_fault_of_its_own() -> None:
    table = read_table(b"a,b\n1,2\n3\n4,5,6\n")
    assert table.rows == [["1", "2"], ["3", ""], ["4", "5"]]
    assert table.faults == {
        1: "line: has 1 values where the header has 2 names",
        2: "line: has 3 values where the header has 2 names",
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\n \n", "the file is empty"),
        (b"\xef\xbb\xbf\n", "the file is empty"),
        (b"a,b,a,b\n1,2,3,4\n", "the header names a, b more than once"),
        (b"a,b\n1,2,\n3,4,\n", "no line fits the header, the first has 3 values where the header has 2 names: remove the"),
        (b'a,b\n1,2\n"3,4\n', "the quoting in line 3 is wrong"),
        (bytes(range(256)) * 8, "no text file in UTF-8, UTF-16 or Latin-1"),
        (b"PK\x03\x04rest", "this is an Excel or zip file, no CSV file: save the table as CSV"),
        (b"PAR1rest", "this is a Parquet file"),
        (gzip.compress(TEXT.encode(), mtime=0)[:-9], "the gzip file is cut short"),
        (b"\x1f\x8bno gzip", "not valid gzip"),
    ],
)
def test_a_file_that_is_no_table_is_one_clear_sentence(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        read_table(content)
    assert "\n" not in str(error.value)


def test_a_file_that_is_too_large_when_decompressed_is_not_decompressed() -> None:
    content = gzip.compress(b"a,b\n" + b"0,0\n" * 1_000_000)
    assert len(read_table(content, limit=4_000_004).rows) == 1_000_000
    with pytest.raises(ValueError, match="larger than 4000003 bytes when it is decompressed"):
        read_table(content, limit=4_000_003)


def test_names_are_matched_whatever_their_case_and_blanks() -> None:
    assert match_names(["AGE", " name ", "other", ""], COLUMNS) == {"AGE": "Age", " name ": "name"}
    assert match_names(["Age", "age", "name"], COLUMNS) == {"Age": "Age", "name": "name"}
    with pytest.raises(ValueError, match="the header names Age more than once, in different cases"):
        match_names(["AGE", "age"], COLUMNS)

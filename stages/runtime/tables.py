"""Tables of text: files of a header and a row per line, as spreadsheets, databases and pandas write them."""

from __future__ import annotations

import codecs
import csv
import io
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from stages.projects._base import Column

DELIMITERS = (",", ";", "\t", "|")
GZIP = b"\x1f\x8b"
FOREIGN = {b"PK\x03\x04": "an Excel or zip file", b"PAR1": "a Parquet file", b"\xd0\xcf\x11\xe0": "an old Excel file"}
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}

csv.field_size_limit(1_000_000)


@dataclass
class Table:
    """The cells of each row under the names of the header, all of their number, and the line that each row begins on.
    `faults` says of a row, by its place, why its cells cannot be told apart, and `surplus` has those beyond the header.
    """

    names: list[str]
    rows: list[list[str]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    faults: dict[int, str] = field(default_factory=dict)
    surplus: dict[int, list[str]] = field(default_factory=dict)
    delimiter: str = ","


def read_table(content: bytes, limit: int | None = None) -> Table:
    """The table in a file: comma, semicolon, tab or bar between cells, quoted where needed (RFC 4180); UTF-8 with or without
    a byte order mark, UTF-16, or else Windows' Latin-1; as it is or compressed by gzip, then at most `limit` bytes.
    ValueError says what is wrong with it.
    """
    text = decode(unpack(content, limit))
    delimiter = delimiter_of(text)
    records = _records(text, delimiter)
    _, names = next(records, (0, []))
    if not names:
        raise ValueError("the file is empty")
    names = [name.strip() for name in names]
    if twice := sorted({name for name in names if name and names.count(name) > 1}):
        raise ValueError(f"the header names {', '.join(twice)} more than once")
    table = Table(names, delimiter=delimiter)
    for line, cells in records:
        if len(cells) != len(names):
            table.faults[len(table.rows)] = f"line: has {len(cells)} values where the header has {len(names)} names"
            table.surplus[len(table.rows)] = cells[len(names) :]
            cells = (cells + [""] * len(names))[: len(names)]
        table.rows.append(cells)
        table.lines.append(line)
    if table.faults and len(table.faults) == len(table.rows):
        found = table.faults[0].removeprefix("line: ")
        raise ValueError(
            f"no line fits the header, the first {found}: remove the delimiter at the end of the lines, or name the column"
        )
    return table


def unpack(content: bytes, limit: int | None = None) -> bytes:
    """The content, decompressed if gzip made it; ValueError if that is more than `limit` bytes, or cut short."""
    kind = next((kind for start, kind in FOREIGN.items() if content.startswith(start)), None)
    if kind:
        raise ValueError(f"this is {kind}, no CSV file: save the table as CSV")
    if not content.startswith(GZIP):
        return content
    parts, size = [], 0
    while content:  # a file may have several members
        unzip = zlib.decompressobj(wbits=31)
        try:
            part = unzip.decompress(content, 0 if limit is None else limit - size + 1)
        except zlib.error as error:
            raise ValueError(f"the file is not valid gzip ({error})") from None
        size += len(part)
        if limit is not None and size > limit:
            raise ValueError(f"the file is larger than {limit} bytes when it is decompressed")
        if not unzip.eof:
            raise ValueError("the gzip file is cut short")
        parts.append(part)
        content = unzip.unused_data.lstrip(b"\0")
    return b"".join(parts)


def decode(content: bytes) -> str:
    """The text in these bytes; ValueError if there is none."""
    encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), None)
    if encoding is None and b"\0" in content[:1_000]:
        encoding = "utf-16-be" if content[:1] == b"\0" else "utf-16-le"
    for name in [encoding] if encoding else ["utf-8", "cp1252", "latin-1"]:
        try:
            text = content.decode(name)
        except UnicodeDecodeError:
            continue
        if "\0" in text:
            break
        return text
    raise ValueError("this is no text file in UTF-8, UTF-16 or Latin-1")


def delimiter_of(text: str) -> str:
    """The delimiter that splits the header into the most names."""
    start = text.lstrip("\r\n").split("\n", 1)[0].split("\r", 1)[0]
    return max(DELIMITERS, key=lambda mark: len(next(csv.reader([start], delimiter=mark), [])))


def _records(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The records that are not blank, each with the line that it begins on; ValueError for a quote that is never closed."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        for cells in reader:
            if len(cells) > 1 or (cells and cells[0].strip()):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"the quoting in line {line} is wrong ({error})") from None


def match_names(names: Iterable[str], columns: Iterable[Column]) -> dict[str, str]:
    """The name of the column for each name of a header that is one's, if only in another case or with blanks around it.
    ValueError for two names that are of the same column.
    """
    given = list(names)
    expected = {column.name.casefold(): column.name for column in columns}
    exact = {*expected.values()} & {*given}
    found: dict[str, str] = {}
    for name in given:
        column = name if name in exact else expected.get(name.strip().casefold())
        if column is None or (column in exact and name != column):
            continue
        if column in found.values():
            raise ValueError(f"the header names {column} more than once, in different cases")
        found[name] = column
    return found

"""A file of rows: those that the model takes, those that it refuses and why, and the file that goes back."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from serve.models.answers import Answered, Classified, Rated, Valued, answer_type
from serve.models.errors import InvalidInputError
from serve.models.rows import SHOWN, Row, RowCodec
from stages.runtime.tables import Table, match_names, read_table

ADDED: dict[type, Sequence[str]] = {
    Classified: ("predicted", "probability", "threshold", "warnings", "prediction_id"),
    Rated: ("predicted", "probability", "risk_level", "threshold", "warnings", "prediction_id"),
    Valued: ("predicted", "lower", "upper", "warnings", "prediction_id"),
}
REASON = "left_out_because"
PREVIEW = 10
FORMULA = "=+-@\t\r"  # what a spreadsheet takes for the beginning of a formula


class Refusal(msgspec.Struct):
    """A reason why rows are refused: how many they are, and the line and the value of the first."""

    reason: str
    rows: int
    line: int
    value: str


@dataclass
class RowsFile:
    """The rows that the model takes, by their places in the table, and the reason why it takes each other one. `unused` are
    names of the header that no column has.
    """

    table: Table
    rows: dict[int, Row]
    refused: dict[int, str]
    refusals: list[Refusal]
    unused: list[str]
    added: Sequence[str] = ()
    kept: list[int] = field(default_factory=list)  # the places of the columns that go back, all but earlier answers

    @property
    def header(self) -> list[str]:
        """The names of the columns that go back before those that are added."""
        return [self.table.names[place] for place in self.kept]

    def cells(self, place: int) -> list[str]:
        """The cells of a row under these names."""
        return [self.table.rows[place][column] for column in self.kept]


class Preview(msgspec.Struct):
    """An answer to the row on a line."""

    line: int
    answer: Classified | Valued


class FileProgress(msgspec.Struct, omit_defaults=True):
    """How far the prediction of a file is: `done` of its `rows` that the model takes, and `csv`, what belongs at the end of
    the file that goes back. The file as a whole is described first, and once more if that changed: `left_out` rows for the
    reasons in `refusals`, which are in the CSV file `refused`.
    """

    done: int
    csv: str
    rows: int = 0
    unused: list[str] = []
    left_out: int = 0
    refusals: list[Refusal] = []
    refused: str = ""
    warned: int = 0
    preview: list[Preview] = []


def progress(file: RowsFile, done: int, csv: str = "") -> FileProgress:
    """How far it is, with what the file as a whole is like."""
    refused = csv_lines([[*file.header, REASON], *refused_rows(file)]) if file.refused else ""
    return FileProgress(done, csv, len(file.rows), file.unused, len(file.refused), file.refusals, refused)


def begun(file: RowsFile) -> FileProgress:
    """The start: the header of the file that goes back."""
    return progress(file, 0, csv_lines([[*file.header, *file.added]]))


def went_on(file: RowsFile, done: int, answers: dict[int, Answered], *, preview: bool) -> FileProgress:
    """The answers to some rows, by their places in the table."""
    lines = csv_lines([*file.cells(place), *told(answered)] for place, answered in answers.items())
    warned = sum(bool(answered.answer.warnings) for answered in answers.values())
    shown = list(answers.items())[: PREVIEW if preview else 0]
    return FileProgress(
        done, lines, len(file.rows), warned=warned,
        preview=[Preview(file.table.lines[place], answered.answer) for place, answered in shown],
    )  # fmt: skip


def read_rows_file(codec: RowCodec, content: bytes, limit: int) -> RowsFile:
    """The rows in a file (see `stages.runtime.tables`); InvalidInputError for one that is no table of the project's rows."""
    columns = codec.project.columns
    try:
        table = read_table(content, limit)
        matched = match_names(table.names, columns)
    except ValueError as error:
        reason = str(error)
        raise InvalidInputError(f"{reason[0].upper()}{reason[1:]}.") from None
    lacking = [column.name for column in columns if column.required and column.name not in matched.values()]
    if lacking:
        raise InvalidInputError(f"The header lacks {', '.join(lacking)}; it names {', '.join(table.names)[:1_000]}.")
    if not table.rows:
        raise InvalidInputError("The file has a header and no rows.")
    places = {column: table.names.index(name) for name, column in matched.items()}
    raw = {column: [cells[place] for cells in table.rows] for column, place in places.items()}
    rows, broken = codec.read_texts(raw, len(table.rows))
    added = ADDED[answer_type(codec.project)]
    ours = {*added, REASON} - {*matched}
    file = RowsFile(table, {}, {}, [], [name for name in table.names if name and name not in matched], added)
    file.kept = [place for place, name in enumerate(table.names) if name not in ours]
    apart = np.array([place in table.faults for place in range(len(rows))])
    for place, fault in table.faults.items():
        refuse(file, [place], fault)
    for rule, mask in broken.items():
        name = rule.partition(":")[0]
        places_broken = np.flatnonzero(mask & ~apart).tolist()
        if places_broken:
            refuse(file, places_broken, rule, raw[name][places_broken[0]] if name in raw else "")
    file.rows = {place: row for place, row in enumerate(rows) if row is not None and place not in table.faults}
    return file


def refuse(file: RowsFile, places: list[int], reason: str, value: str = "") -> None:
    """Note that the rows at these places are refused for a reason, the first because of this value."""
    for place in places:
        file.refused[place] = f"{file.refused[place]}; {reason}" if place in file.refused else reason
        file.rows.pop(place, None)
    same = next((refusal for refusal in file.refusals if refusal.reason == reason), None)
    if same is None:
        same = Refusal(reason, 0, file.table.lines[places[0]], value[:SHOWN])
        file.refusals.append(same)
    same.rows += len(places)


def refused_rows(file: RowsFile) -> list[list[str]]:
    """The refused rows as they came, with the reason."""
    surplus = file.table.surplus
    return [[*file.cells(place), file.refused[place], *surplus.get(place, [])] for place in sorted(file.refused)]


def told(answered: Answered) -> list[Any]:
    """The cells that an answer adds to its row."""
    answer = answered.answer
    if isinstance(answer, Classified):
        level = [answer.risk_level] if isinstance(answer, Rated) else []
        found: list[Any] = [answer.label, answer.probability, *level, answer.threshold]
    else:
        found = [answer.prediction, answer.interval.lower, answer.interval.upper]
    return [*found, " ".join(answer.warnings), answer.prediction_id]


def csv_lines(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as CSV (RFC 4180). A text that a spreadsheet would take for a formula begins with an apostrophe."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows([[harmless(cell) for cell in row] for row in rows])
    return text.getvalue()


def harmless(cell: Any) -> Any:
    """A cell that no spreadsheet runs; numbers stay numbers."""
    if not isinstance(cell, str) or not cell.startswith(tuple(FORMULA)):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell

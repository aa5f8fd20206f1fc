"""What a project is: its row schema, columns, features, simulator. Everything else in the repository is generic.

Imports neither pandas nor scikit-learn, so that the server can share these definitions.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

import numpy as np
from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from stages.projects import project_names

if TYPE_CHECKING:
    import pandas as pd

# One array per column, all of one length; missing values are NaN in numbers (float64), None in text (object) and NaT in
# dates (datetime64[D]). Features are computed from this form, so the same code serves training and single requests.
Columns = dict[str, np.ndarray]

FIRST_DAY, LAST_DAY = date(1900, 1, 1), date(2200, 12, 31)  # a date beyond them is a mistake or stands for "none"
OUTSIDE_DAYS = f"is not between {FIRST_DAY} and {LAST_DAY}"

MISSING = "(missing)"  # the category of a missing text

FAR = 5  # times below or above its peers, from where on a price of suspicious digits is none
ROUND = [10**length for length in range(10)]
TYPED = [digit * (10**length // 9) for digit in range(1, 10) for length in range(1, 11)]  # one digit repeated
TYPED += [int("1234567890"[:length]) for length in range(2, 11)]


@dataclass(frozen=True)
class Column:
    """One field of a pydantic row, reduced to what a vectorised check needs. Texts are read in the `case` that the field
    names, if any (`json_schema_extra={"case": "lower"}`), however they are written; those of listed choices in theirs.
    """

    name: str
    kind: Literal["number", "text", "date"]
    integer: bool
    required: bool
    choices: tuple[Any, ...] = ()
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    case: Literal["", "lower", "title"] = ""
    title: str = ""
    unit: str = ""


@dataclass(frozen=True)
class Project:
    """All that is particular to one project. `row` is what a prediction takes; `record` adds the outcome and the columns
    that only training may see, none of which reaches `features`.

    `features` maps the row's columns to features. `left_out` names, by reason, the rows that cannot be right or are out of
    scope: neither trained nor tested on, and never applied to rows that are scored. `simulate(rng, rows, shift)` draws raw
    rows with the columns of the public data; `shift` is one of the project's `shifts` or None. `groups` gives, per row, the
    object whose rows must stay on one side of a split. `derived_from` names the field that a feature of another name is made
    from, under which explanations report it. `market`, of a project that estimates prices, names the columns of the record
    and the features by which adverts are filtered on the page about their market, with their titles. `is_risk` says
    that the positive class is one, so that answers have a risk level. `contact` is who answers questions about the models,
    for the model card.
    """

    name: str
    title: str
    question: str
    task: Literal["classification", "regression"]
    row: type[BaseModel]
    record: type[BaseModel]
    target: str
    unit: str
    primary_metric: str
    public_data: str
    intended_use: str
    limits: tuple[str, ...]
    numeric: tuple[str, ...]
    features: Callable[[Columns], Columns]
    simulate: Callable[[np.random.Generator, int, str | None], Columns]
    simulated_rows: int
    one_hot: tuple[str, ...] = ()
    target_encoded: tuple[str, ...] = ()
    left_out: Callable[[pd.DataFrame], Mapping[str, pd.Series]] = lambda frame: {}
    groups: Callable[[pd.DataFrame], pd.Series] | None = None
    segments: tuple[str, ...] = ()
    sensitive: tuple[str, ...] = ()
    time_column: str | None = None
    log_target: bool = False
    labels: Mapping[int, str] = field(default_factory=dict)
    is_risk: bool = False
    derived_from: Mapping[str, str] = field(default_factory=dict)
    market: Mapping[str, str] = field(default_factory=dict)
    shifts: tuple[str, ...] = ()
    contact: str = "the maintainers of this repository"

    def __post_init__(self) -> None:
        """Refuse a project whose target, or another column that only training may see, is among its inputs."""
        if self.target in self.row.model_fields:
            raise ValueError(f"{self.name}: the target {self.target!r} is a field of the row that predictions take")
        if self.target not in self.record.model_fields:
            raise ValueError(f"{self.name}: the record lacks the target {self.target!r}")
        if not issubclass(self.record, self.row):
            raise ValueError(f"{self.name}: the record must extend the row")
        target = next(column for column in columns_of(self.record) if column.name == self.target)
        if self.task == "classification" and target.choices != (0, 1):
            raise ValueError(
                f"{self.name}: the target {self.target!r} must be Literal[0, 1], as a classifier here tells two classes "
                "apart: code the outcome that is asked for as 1"
            )
        if target.kind != "number" or not target.required:
            raise ValueError(f"{self.name}: the target {self.target!r} must be a number that is never missing")
        bare = [name for name, info in self.row.model_fields.items() if info.is_required() and not info.examples]
        if bare:
            raise ValueError(f"{self.name}: {', '.join(bare)} need an example: forms and the server's self-test use it")
        if unknown := self.market.keys() - self.record.model_fields.keys() - set(self.feature_names):
            raise ValueError(f"{self.name}: market names {', '.join(sorted(unknown))}, no column of the record or feature")
        if self.is_risk and self.task != "classification":
            raise ValueError(f"{self.name}: a risk level is one of a probability, which only the task classification gives")
        if self.market and self.task == "classification":
            raise ValueError(f"{self.name}: a market is of prices, which only the task regression estimates")

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The row's columns, in the order of its fields."""
        return columns_of(self.row)

    @property
    def example_row(self) -> dict[str, Any]:
        """The row that forms, the documentation and the self-test of a loaded model begin with."""
        return {name: field.examples[0] for name, field in self.row.model_fields.items() if field.examples}

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        """The features in the order the encoder takes them."""
        return self.numeric + self.one_hot + self.target_encoded

    def why_left_out(self, frame: pd.DataFrame) -> pd.Series:
        """The first reason to leave a row out of training, empty for a row that stays."""
        import pandas as pd

        why = pd.Series("", index=frame.index, dtype="str")
        for reason, mask in self.left_out(frame).items():
            why = why.mask(mask & (why == ""), reason)
        return why

    def clean(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The rows that training keeps."""
        return frame[self.why_left_out(frame) == ""]


def placeholder_prices(prices: pd.Series, least: float, peers: pd.Series, kind: str) -> dict[str, pd.Series]:
    """The mask of prices that only fill the field, under the reason in words. Their digits are a 1 with zeros, one digit
    repeated, or counted from 1, and they are below `least` or five times below the median of their peers, the rows with an
    equal key; repeated or counted digits also five times above it. Rows without a key have no peers. Digits alone say
    nothing: 9,999 and 10,000 are frequent honest prices, and a round million may be that of an unusual home.
    """
    typed = prices.isin(TYPED)
    median = prices.where(prices >= least).groupby(peers).transform("median")
    low = (typed | prices.isin(ROUND)) & ((prices < least) | (prices < median / FAR))
    reason = (
        f"the price is a placeholder (such as 1, 1000, 1111, 1234): below {least:,}, or {FAR} times off the median of {kind}"
    )
    return {reason: low | (typed & (prices > median * FAR))}


def load_project(name: str) -> Project:
    """The `project` defined in `stages/projects/<name>.py`; ValueError names the known ones."""
    if name not in project_names():
        raise ValueError(f"no project {name!r}: stages/projects holds {', '.join(project_names())}")
    project: Project = importlib.import_module(f"stages.projects.{name}").project
    return project


def columns_of(model: type[BaseModel]) -> tuple[Column, ...]:
    """Columns of a pydantic model, TypeError for a field type that has no column form."""
    return tuple(_column(model.__name__, name, info) for name, info in model.model_fields.items())


def _column(model: str, name: str, info: FieldInfo) -> Column:
    annotation: Any = info.annotation
    optional = False
    if get_origin(annotation) in (Union, UnionType):
        members = [member for member in get_args(annotation) if member is not type(None)]
        optional = len(members) < len(get_args(annotation))
        annotation = members[0] if len(members) == 1 else annotation
    choices = get_args(annotation) if get_origin(annotation) is Literal else ()
    base = type(choices[0]) if choices else annotation
    kinds: dict[Any, Literal["number", "text", "date"]] = {int: "number", float: "number", str: "text", date: "date"}
    if base not in kinds:
        raise TypeError(
            f"{model}.{name}: {info.annotation} is no supported type; use int, float, str, date, a Literal of numbers or "
            "texts, or one of them | None"
        )
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    return Column(
        name=name,
        kind=kinds[base],
        integer=base is int,
        required=not optional,
        choices=choices,
        ge=_bound(info, Ge, "ge"),
        gt=_bound(info, Gt, "gt"),
        le=_bound(info, Le, "le"),
        lt=_bound(info, Lt, "lt"),
        min_length=_bound(info, MinLen, "min_length"),
        max_length=_bound(info, MaxLen, "max_length"),
        pattern=next(filter(None, (getattr(item, "pattern", None) for item in info.metadata)), None),
        case=extra.get("case", ""),  # type: ignore[arg-type]
        title=info.title or name,
        unit=str(extra.get("unit", "")),
    )


def _bound(info: FieldInfo, kind: type, attribute: str) -> Any:
    return next((getattr(item, attribute) for item in info.metadata if isinstance(item, kind)), None)

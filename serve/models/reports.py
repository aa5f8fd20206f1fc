"""The reports about a model that the pages show. One that cannot be shown costs its place on the pages, never an answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NotRequired, TypedDict

from serve.models.artifacts import Count, InvalidFileError, read_typed
from stages.runtime.identity import md5

Value = float | None


class Metric(TypedDict):
    """A metric with its 95 % interval."""

    value: Value
    low: Value
    high: Value


class Baseline(TypedDict):
    """The primary metric without looking at the row, and the p-value of the model being no better."""

    value: float
    p_value: float


class Segments(TypedDict):
    """The metrics by segment."""

    segments: list[dict[str, str | Value]]
    left_out: Count
    min_rows: Count


class Group(TypedDict):
    """The rates of a group."""

    rows: Count
    flagged: float
    recall: float
    false_positive_rate: float


class Fairness(TypedDict):
    """The rates by group of a sensitive column."""

    groups: dict[str, Group]
    disparate_impact: Value
    disparate_impact_flag: bool
    recall_gap: float


Backtest = TypedDict(  # the metrics of later rows
    "Backtest", {"from": str, "train_rows": Count, "test_rows": Count, "metrics": dict[str, Value]}
)


class Evaluation(TypedDict):
    """evaluation.json; what an older pipeline did not measure is missing."""

    metrics: dict[str, Metric]
    rows: Count
    baseline: Baseline
    by_segment: NotRequired[Segments]
    fairness: NotRequired[dict[str, Fairness]]
    backtest: NotRequired[Backtest | None]
    learning_curve: NotRequired[list[dict[str, Value]]]


class Candidate(TypedDict):
    """A candidate of training: the mean and the standard deviation of its metrics over the folds."""

    candidate: str
    metrics: dict[str, dict[str, Value]]


class Leaderboard(TypedDict):
    """leaderboard.json."""

    candidates: list[Candidate]


class Importance(TypedDict):
    """importance.json."""

    method: str
    ranking: list[dict[str, str | float]]
    permutation: list[dict[str, str | float]]


class Source(TypedDict):
    """Where rows came from."""

    address: str
    rows: Count
    rejected: Count


class DataReport(TypedDict):
    """data.json."""

    sources: list[Source]


class Profile(TypedDict):
    """profile.json."""

    rows: Count
    columns: dict[str, dict[str, Any]]
    correlations: dict[str, Any]


class Samples(TypedDict):
    """The rows that the form is filled with, and percentiles of the scores."""

    rows: list[dict[str, Any]]
    percentiles: list[float]


class Market(TypedDict):
    """market.json."""

    total: Count
    drawn: Count
    coverage: float
    dimensions: list[dict[str, Any]]
    price: list[float]


KINDS: dict[str, Any] = {
    "data.json": DataReport,
    "evaluation.json": Evaluation,
    "importance.json": Importance,
    "leaderboard.json": Leaderboard | list[Candidate],  # the latter of an older pipeline
    "market.json": Market | None,
    "profile.json": Profile,
    "synthetic.json": Samples,
}


class ReportError(Exception):
    """A report cannot be shown: the message says why and what to do."""


def read_report(path: Path, manifest: dict[str, Any]) -> Any:
    """A JSON report about the model of this manifest, None where the pipeline made none. ReportError for one that is of
    another model, or is no such report.
    """
    if not path.is_file():
        return None
    content = path.read_bytes()
    try:
        found = read_typed(content, KINDS[path.name], path)
    except InvalidFileError as error:
        raise ReportError(f"{error}: {remedy(path)}") from None
    if path.name == "data.json":
        same = manifest["data"].get("report") in (None, md5(content))
    else:
        same = found is None or (found.get("model") if isinstance(found, dict) else None) == manifest.get("model")
    if not same:
        raise ReportError(f"{path} is about another model than the one that serves: {remedy(path)}")
    return found


def read_card(path: Path, manifest: dict[str, Any]) -> str:
    """The model card, empty where the pipeline made none; ReportError for that of another model."""
    try:
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
    except UnicodeDecodeError:
        raise ReportError(f"{path} is no text: {remedy(path)}") from None
    if text and manifest.get("model", "") not in text:
        raise ReportError(f"{path} is about another model than the one that serves: {remedy(path)}")
    return text


def remedy(path: Path) -> str:
    """How the reports of a project are made again."""
    return f"run `dvc repro explain@{path.parent.name}`, then reload the model"

"""What the files of a model hold. Whatever the server reads is checked against these types first."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import msgspec

from stages.projects._base import Project
from stages.runtime.population import Population

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=0)]


class Data(TypedDict):
    """The training data; `report` is the MD5 of the data.json that describes it."""

    simulated: bool
    report: NotRequired[str]


class IntervalRule(TypedDict):
    """How an interval is drawn around a value."""

    coverage: Share
    radius: Annotated[float, msgspec.Meta(ge=0)]
    scale: Literal["log", "linear"]


class Manifest(TypedDict):
    """manifest.json. `model` is the MD5 of the model.joblib that it describes; every file made from that repeats it. Models
    of older pipelines have none.
    """

    estimator: str
    rows: Count
    data: Data
    model: NotRequired[str]
    threshold: NotRequired[Share]
    interval: NotRequired[IntervalRule]


class Probe(TypedDict):
    """The known row and its score."""

    row: dict[str, Any]
    score: float


class Plan(TypedDict):
    """plan.json of a model that was exported."""

    plan: list[dict[str, Any]]
    probe: Probe
    model: NotRequired[str]


class Deployment(TypedDict):
    """deployment.json: the version that `stages.deploy` installed, and the MD5 of its files by name."""

    version: str
    stage: str
    revision: str
    files: dict[str, str]


class InvalidFileError(ValueError):
    """A file holds something else than it should: the message says where."""


def read_typed(content: bytes, kind: Any, path: Path) -> Any:
    """What a JSON file holds, whole; InvalidFileError unless it has the parts that `kind` names."""
    try:
        found = msgspec.json.decode(content)
        msgspec.convert(found, kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidFileError(f"{path} is not what the pipeline writes: {error}") from None
    return found


def read_manifest(content: bytes, path: Path, project: Project) -> dict[str, Any]:
    """The manifest; InvalidFileError also for one without a threshold or interval, as the task needs it."""
    found: dict[str, Any] = read_typed(content, Manifest, path)
    needed = "threshold" if project.task == "classification" else "interval"
    if needed not in found:
        raise InvalidFileError(f"{path} lacks {needed}")
    return found


def read_population(content: bytes, path: Path, project: Project) -> Population:
    """The population; InvalidFileError unless its bins fit each other and the columns of the project."""
    found: Population = read_typed(content, Population, path)
    kinds = {column.name: column.kind for column in project.columns if column.kind != "date"}
    if found["rows"] < 1:
        raise InvalidFileError(f"{path} describes {found['rows']} rows")
    if found["columns"].keys() != kinds.keys():
        raise InvalidFileError(f"{path} has other columns than {project.name}: {', '.join(found['columns']) or 'none'}")
    for name, bins in {**found["columns"], "score": found["score"]}.items():
        parts = "categories" if kinds.get(name) == "text" else "edges"
        known: Any = bins.get(parts)
        if known is None or len(bins["shares"]) != len(known) + 2 or (parts == "edges" and known != sorted(known)):
            raise InvalidFileError(f"{path}: the bins of {name} do not fit together")
    return found

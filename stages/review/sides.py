"""What two revisions of a project hold, and in what they differ."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from ruamel.yaml import YAML

from stages.core.files import Paths
from stages.projects._base import Project
from stages.promote import Proposal
from stages.promotion.gate import Comparison
from stages.runtime.identity import model_hash


@dataclass(frozen=True)
class Side:
    """What the base or the workspace holds of a project: params by dotted key, stages of dvc.lock by name, MD5 of their
    outputs by path, metrics with `low` and `high` None without evaluation.json. Reports and manifest are empty if missing.
    """

    params: dict[str, Any]
    stages: dict[str, Any]
    outs: dict[str, str]
    metrics: dict[str, dict[str, Any]]
    evaluation: dict[str, Any]
    data: dict[str, Any]
    manifest: dict[str, Any]

    @property
    def model(self) -> str:
        """The hash of the model that dvc.lock records."""
        return model_hash({Path(path).name: digest for path, digest in self.outs.items() if path.startswith("models/")})


@dataclass(frozen=True)
class Change:
    """A project that differs from the base, in `kinds` of things and, of its modules, in `code`. A comparison or proposal
    that could not be made is the reason in words, empty where none was needed. `images` are paths of plots by title.
    """

    project: Project
    before: Side
    after: Side
    kinds: list[str]
    code: list[str]
    outdated: list[str]
    images: dict[str, Path]
    comparison: Comparison | str
    gate: Proposal | str


def read_side(root: Path, name: str) -> Side:
    """What a folder with the tree of a revision holds of a project. One that its params.yaml does not know has no params."""
    paths = Paths(name)
    params = load_params_yaml(root)
    lock = yaml.load(_text(root / "dvc.lock"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    stages = {stage: block for stage, block in lock.get("stages", {}).items() if stage.endswith(f"@{name}")}
    metrics = json.loads(_text(root / paths.reports / "metrics.json")).get(name, {})
    evaluation = json.loads(_text(root / paths.reports / "evaluation.json"))
    return Side(
        params=flatten(params.get("base", {}), "base") | flatten(params[name], name) if name in params else {},
        stages=stages,
        outs={out["path"]: out["md5"] for block in stages.values() for out in block.get("outs", [])},
        metrics={key: {"value": value, "low": None, "high": None} for key, value in metrics.items()}
        | {key: found for key, found in evaluation.get("metrics", {}).items() if not key.endswith("_at_half")},
        evaluation=evaluation,
        data=json.loads(_text(root / paths.reports / "data.json")),
        manifest=json.loads(_text(root / paths.model / "manifest.json")),
    )


def load_params_yaml(root: Path) -> dict[str, Any]:
    """params.yaml in a folder, read as DVC does; empty where there is none."""
    return YAML(typ="safe").load(_text(root / "params.yaml"))


def flatten(block: Any, prefix: str) -> dict[str, Any]:
    """The leaves of nested mappings by dotted key; lists are leaves."""
    if not isinstance(block, dict):
        return {prefix: block}
    return {key: leaf for name, value in block.items() for key, leaf in flatten(value, f"{prefix}.{name}").items()}


def modules_of(sides: Iterable[Side]) -> set[str]:
    """The modules that a project's stages depend on."""
    deps = {dep["path"] for side in sides for block in side.stages.values() for dep in block.get("deps", [])}
    return {path for path in deps if path.startswith("stages/")}


def kinds_of_change(name: str, before: Side, after: Side, code: list[str]) -> list[str]:
    """What differs of a project between two revisions, where `code` is the list of its modules that do."""
    if not before.params:
        return ["everything, as it is new"]
    paths = before.outs.keys() | after.outs.keys()
    differing = [path for path in paths if before.outs.get(path) != after.outs.get(path)]
    values = [{metric: found["value"] for metric, found in side.metrics.items()} for side in (before, after)]
    found = {
        "parameters": before.params != after.params,
        "code": bool(code),
        "data": any(path.startswith(f"data/{name}/") for path in differing),
        "model": before.model != after.model,
        "metrics": all(values) and values[0] != values[1],
        "reports": any(path.startswith(f"reports/{name}/") for path in differing),
    }
    return [kind for kind, differs in found.items() if differs] or ["pipeline"] * (before.stages != after.stages)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else "{}"

"""What a revision has of a project, and in what two of them differ."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.core.files import Paths, read_json
from stages.core.params import PARAMS, read_params
from stages.promotion.lock import checked_lock
from stages.runtime.identity import locked_stages, model_hash


@dataclass(frozen=True)
class Snapshot:
    """What the base or the workspace has of a project: params by dotted key, stages of dvc.lock by name, MD5 of their
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

    @property
    def code(self) -> set[str]:
        """The files and folders of code that the stages depend on."""
        deps = {dep["path"] for block in self.stages.values() for dep in block.get("deps", [])}
        return {path for path in deps if path.startswith("stages/")}


def read_snapshot(root: Path, name: str) -> Snapshot:
    """What a folder with the tree of a revision has of a project. One that its params.yaml does not name has no params."""
    paths = Paths(name)
    params = load_params_yaml(root)
    lock = root / "dvc.lock"
    locked = locked_stages(checked_lock(lock.read_bytes(), str(lock))) if lock.exists() else {}
    stages = {stage: block for stage, block in locked.items() if stage.endswith(f"@{name}")}
    metrics = _object(root / paths.reports / "metrics.json").get(name, {})
    evaluation = _object(root / paths.reports / "evaluation.json")
    return Snapshot(
        params=flatten(params.get("base", {}), "base") | flatten(params[name], name) if name in params else {},
        stages=stages,
        outs={out["path"]: out["md5"] for block in stages.values() for out in block.get("outs", [])},
        metrics={key: {"value": value, "low": None, "high": None} for key, value in metrics.items()}
        | {key: found for key, found in evaluation.get("metrics", {}).items() if not key.endswith("_at_half")},
        evaluation=evaluation,
        data=_object(root / paths.reports / "data.json"),
        manifest=_object(root / paths.model / "manifest.json"),
    )


def load_params_yaml(root: Path) -> dict[str, Any]:
    """params.yaml in a folder, read as DVC does; empty where there is none."""
    path = root / PARAMS
    return read_params(path) if path.exists() else {}


def flatten(block: Any, prefix: str) -> dict[str, Any]:
    """The leaves of nested mappings by dotted key; lists are leaves."""
    if not isinstance(block, dict):
        return {prefix: block}
    return {key: leaf for name, value in block.items() for key, leaf in flatten(value, f"{prefix}.{name}").items()}


def kinds_of_change(name: str, before: Snapshot, after: Snapshot, code: list[str]) -> list[str]:
    """What differs of a project between two revisions, where `code` names what differs of its code."""
    if not before.params:
        return ["everything, as it is new"]
    paths = before.outs.keys() | after.outs.keys()
    differing = [path for path in paths if before.outs.get(path) != after.outs.get(path)]
    known = before.metrics.keys() & after.metrics.keys()  # one side may have those of metrics.json alone
    found = {
        "parameters": before.params != after.params,
        "code": bool(code),
        "data": any(path.startswith(f"data/{name}/") for path in differing),
        "model": before.model != after.model,
        "metrics": any(before.metrics[metric]["value"] != after.metrics[metric]["value"] for metric in known),
        "reports": any(path.startswith(f"reports/{name}/") for path in differing),
    }
    return [kind for kind, differs in found.items() if differs] or ["pipeline"] * (before.stages != after.stages)


def _object(path: Path) -> Any:
    return read_json(path) if path.exists() else {}

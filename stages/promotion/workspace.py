"""The model in the workspace: which one it is, and the commands that bring the one back that dvc.lock records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stages.core.cli import UserError
from stages.core.files import Paths, read_json
from stages.core.params import read_params
from stages.promotion import ledger
from stages.promotion.lock import LOCK, read_lock
from stages.runtime.identity import md5, model_files, model_hash, outputs

DEPLOYMENT = "deployment.json"


def stages_of(project: str) -> list[str]:
    """The stages of a project by the name that DVC gives them."""
    return [f"{stage}@{project}" for stage in read_params(Path("dvc.yaml"))["stages"]]


def recorded_files(project: str) -> dict[str, str]:
    """MD5 by file name of the model that dvc.lock records."""
    return model_files(outputs(read_lock()), project)


def recorded_deployment(folder: Path) -> dict[str, Any]:
    """What deployment.json in a folder says; empty if it cannot be read."""
    try:
        return read_json(folder / DEPLOYMENT)
    except UserError:
        return {}


def installed_model(folder: Path) -> dict[str, str | None]:
    """The version and the hash of the model in models/<project>, each None where there is none. The version of a model that
    deploy did not put there is that of its promotion.
    """
    found = files_in(folder)
    if not found:
        return {"version": None, "hash": None}
    own = model_hash(found)
    return {"version": deployed_version(folder, found) or ledger.version_of(folder.name, own), "hash": own}


def files_in(folder: Path) -> dict[str, str]:
    """MD5 by file name of the model in a folder."""
    return {path.name: md5(path) for path in folder.glob("[!.]*") if path.is_file() and path.name != DEPLOYMENT}


def deployed_version(folder: Path, files: dict[str, str]) -> str | None:
    """The version that deployment.json names, where it is about these files."""
    deployment = recorded_deployment(folder)
    return deployment["version"] if deployment.get("files") == files else None


def restore_command(project: str) -> str:
    """What brings back all that dvc.lock records of a project. DVC takes no folder of several outputs as a target, and
    without --force it keeps a file that its cache lacks.
    """
    return f"dvc checkout --force {' '.join(stages_of(project))}"


def check_model(project: str) -> None:
    """UserError unless the model in the workspace is the one that dvc.lock records; it says how it came to be another."""
    folder, recorded = Paths(project).model, recorded_files(project)
    found = {file: md5(folder / file) for file in recorded if (folder / file).exists()}
    if found == recorded:
        return
    if version := deployed_version(folder, files_in(folder)):
        raise UserError(
            f"{folder} holds {version}, which `stages.deploy` installed there, and not the model that dvc.lock records: "
            f"`{restore_command(project)}` brings that back. Deploy with `--to DIR`, and the workspace keeps its model"
        )
    if missing := [file for file in recorded if file not in found]:
        raise UserError(
            f"{folder} lacks {', '.join(missing)}: dvc.lock records what a Git clone does not hold. Run `dvc pull`, or "
            "without a remote `dvc repro`"
        )
    path = folder / next(file for file in recorded if found[file] != recorded[file])
    raise UserError(f"{path} is not the file that dvc.lock records: run `dvc checkout {path}`, or `dvc pull {path}`")


def describe_replaced(project: str, before: dict[str, str | None], digest: str) -> str:
    """Which model in the workspace the one with this hash replaced, and what brings it back; empty for none, or the same."""
    if before["hash"] is None or before["hash"] == digest:
        return ""
    files = recorded_files(project) if LOCK.exists() else {}
    is_recorded, lost = before["hash"] == model_hash(files), f"({before['hash'][:12]})"
    replaced, ways = f"a model {lost} that is neither a deployed version nor recorded in dvc.lock", []
    if before["version"]:
        replaced = f"{before['version']} {lost}"
        ways.append(f"`python -m stages.deploy {project} --version {before['version']}` deploys it again")
    elif is_recorded:
        replaced = f"the model that dvc.lock records {lost}"
    if files and model_hash(files) != digest:
        ways.append(f"`{restore_command(project)}` brings {'it' if is_recorded else 'the model that dvc.lock records'} back")
    return "; ".join([f"it replaced {replaced}", *ways])

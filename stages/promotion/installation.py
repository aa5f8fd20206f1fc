"""Putting a version into models/ and reports/, from where the server loads it, whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pandas as pd

from stages.core.cli import UserError
from stages.core.files import Paths, read_json, write, write_json
from stages.promotion import ledger, tags
from stages.promotion.checkout import REPORTS, fetch, files_at, score_rows
from stages.promotion.git import who
from stages.promotion.tags import Version
from stages.runtime.identity import md5, model_hash
from stages.runtime.probe import agrees

DEPLOYMENT = "deployment.json"


@dataclass(frozen=True)
class Installed:
    """A version that is in models/ now, the hash of its model, and whether that is news for the ledger."""

    version: Version
    hash: str
    is_new: bool


def install(project: str, stage: str, version: str | None, reason: str) -> Installed:
    """Put the version that holds a stage into models/ and reports/, and note that in the ledger; one that is named gets the
    stage first. Interrupted anywhere and called again, it ends in the same state. UserError where no version holds the
    stage, a file of it is lost, or the code here cannot score it; then neither model nor stage has changed.
    """
    paths, holder = Paths(project), tags.in_stage(project, stage)
    wanted = tags.find(project, version) if version else holder
    if wanted is None:
        raise UserError(f"no version holds {stage}: `python -m stages.promote {project}` promotes one")
    files = files_at(project, wanted.revision)
    deployment = describe_deployment(wanted, stage, files)
    reason = " ".join(reason.split()) or f"{wanted.version} {'was asked for' if version else f'holds {stage}'}."
    with scratch_folder(paths.model) as scratch:
        before = installed_model(paths.model)
        current = recorded_deployment(paths.model) == deployment and all(
            Path(path).exists() and md5(Path(path)) == digest for path, digest in files.items()
        )
        if not current:
            fetch(project, wanted.revision, scratch)
            check_code(scratch, wanted)
            write_json(scratch / paths.model / DEPLOYMENT, deployment)
        tags.assign(project, wanted.version, stage, reason)
        if not current:
            swap_in(scratch, paths)
    is_new = note_deployment(project, deployment, before, wanted != holder, reason)
    ledger.commit(project, f"Deploy {project} {wanted.version} to {stage}")
    return Installed(wanted, deployment["hash"], is_new)


def describe_deployment(wanted: Version, stage: str, files: dict[str, str]) -> dict[str, Any]:
    """What deployment.json says of a version: the server takes it instead of dvc.lock where it agrees with the files."""
    model = {Path(path).name: digest for path, digest in files.items() if path.startswith("models/")}
    version, revision = wanted.version, wanted.revision
    return {"version": version, "stage": stage, "revision": revision, "hash": model_hash(model), "files": model}


def recorded_deployment(folder: Path) -> dict[str, Any]:
    """What deployment.json in a folder says; empty if it cannot be read."""
    try:
        return dict(read_json(folder / DEPLOYMENT))
    except (OSError, ValueError, TypeError):
        return {}


def installed_model(folder: Path) -> dict[str, str | None]:
    """The version and the hash of the model in models/<project>, each None where there is none. The version of a model that
    deploy did not put there is that of its promotion.
    """
    found = {path.name: md5(path) for path in folder.glob("[!.]*") if path.is_file() and path.name != DEPLOYMENT}
    deployment = recorded_deployment(folder)
    if not found:
        return {"version": None, "hash": None}
    own = model_hash(found)
    version = deployment["version"] if deployment.get("files") == found else ledger.version_of(folder.name, own)
    return {"version": version, "hash": own}


@contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder beside another, removed at the end or, should the process be killed, the next time."""
    folder.parent.mkdir(exist_ok=True)
    clear_scratch(folder)
    try:
        yield Path(mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    finally:
        clear_scratch(folder)


def clear_scratch(folder: Path) -> None:
    """Remove what deployments into a folder left. If one had taken the old model away and not yet put the new one there, the
    old one comes back.
    """
    for leftover in folder.parent.glob(f".{folder.name}.*"):
        if (leftover / "old").exists() and not folder.exists():
            (leftover / "old").rename(folder)
        shutil.rmtree(leftover)


def check_code(fetched: Path, wanted: Version) -> None:
    """UserError unless a fetched model gives its known row the score that it had, with the code that is checked out: that is
    what the server scores with, whatever code made the model.
    """
    project, version = wanted.project, wanted.version
    probe = read_json(fetched / Paths(project).model / "plan.json")["probe"]
    try:
        score = float(score_rows(fetched, project, pd.DataFrame([probe["row"]]), code=Path())[0])
        found = f"a known row gets {score!r} instead of {probe['score']!r}"
    except UserError as error:
        score, found = float("nan"), str(error)
    if not agrees(score, probe["score"]):
        folder = f"../{project}-{version}"
        raise UserError(
            f"{version} does not work with the code that is checked out, which the server would use: {found}. To serve it "
            f"with the code that made it: `git worktree add {folder} {project}@{version}`, then in that folder `dvc pull` "
            "(without a remote: `dvc checkout`, with this clone's cache) and `make serve`"
        )


def swap_in(fetched: Path, paths: Paths) -> None:
    """Put what was fetched below a folder in the place of what was there, the model by two renames. A report that is not
    among it is about another model and is removed.
    """
    if paths.model.exists():
        paths.model.rename(fetched / "old")
    (fetched / paths.model).rename(paths.model)
    for report in (fetched / paths.reports).rglob("*.*"):
        write(report.relative_to(fetched), partial(shutil.copyfile, report))
    for path in (paths.reports / name for name in REPORTS):
        if not (fetched / path).exists():
            path.unlink(missing_ok=True)


def note_deployment(
    project: str, deployment: dict[str, Any], before: dict[str, str | None], moved: bool, reason: str
) -> bool:
    """Write a deployment into the ledger, unless the stage stayed where it was, the model was there before, and the ledger
    ends with it. Whether it did.
    """
    entries = [entry for entry in ledger.read(project) if entry["event"] == "deployment"]
    last = entries[-1] if entries else {}
    entry = {key: deployment[key] for key in ("version", "stage", "revision", "hash")}
    was_there = before["hash"] == deployment["hash"]
    if was_there and not moved and entry.items() <= last.items():
        return False
    # A model that was there already was trained here, or an interrupted deployment put it there: the ledger knows the last.
    previous = {key: last.get(key) for key in before} if was_there else before
    ledger.append(project, {"event": "deployment", "by": who(), "reason": reason, "previous": previous, **entry})
    return True

"""Putting a version into models/ and reports/ of the checkout or of another root of a server, whole or not at all."""

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
from stages.promotion.workspace import DEPLOYMENT, installed_model, recorded_deployment
from stages.runtime.identity import md5, model_hash
from stages.runtime.ledger import ledger_path
from stages.runtime.probe import agrees


@dataclass(frozen=True)
class Installed:
    """A version that is in models/ now, the hash of its model, what `installed_model` said before, and whether that is news
    for the ledger.
    """

    version: Version
    hash: str
    before: dict[str, str | None]
    is_new: bool


def install(project: str, stage: str, version: str | None, reason: str, to: Path | None = None) -> Installed:
    """Put the version that holds a stage into models/ and reports/, and note that in the ledger; one that is named gets the
    stage first. With `to` the two folders are made there, with a copy of the ledger, and the checkout keeps its own.
    Interrupted anywhere and called again, it ends in the same state. UserError where no version holds the stage, a file of
    it is lost, or the code here cannot score it; then neither model nor stage has changed.
    """
    paths, holder, root = Paths(project), tags.in_stage(project, stage), to or Path()
    wanted = tags.find(project, version) if version else holder
    if wanted is None:
        raise UserError(f"no version holds {stage}: `python -m stages.promote {project}` promotes one")
    if to and (to / "dvc.yaml").exists():
        raise UserError(
            f"{to} is a checkout, where training writes, too: name another folder, or deploy in that checkout without --to"
        )
    files = files_at(project, wanted.revision)
    deployment = describe_deployment(wanted, stage, files)
    reason = " ".join(reason.split()) or f"{wanted.version} {'was asked for' if version else f'holds {stage}'}."
    folder = root / paths.model
    with scratch_folder(folder) as scratch:
        before = installed_model(folder)
        current = recorded_deployment(folder) == deployment and all(
            (root / path).exists() and md5(root / path) == digest for path, digest in files.items()
        )
        if not current:
            fetch(project, wanted.revision, scratch)
            check_code(scratch, wanted)
            write_json(scratch / paths.model / DEPLOYMENT, deployment)
        tags.assign(project, wanted.version, stage, reason)
        if not current:
            swap_in(scratch, paths, root)
    is_new = note_deployment(project, deployment, to, before, wanted != holder, reason)
    ledger.commit(project, f"Deploy {project} {wanted.version} to {stage}")
    if to:
        copy_ledger(project, to)
    return Installed(wanted, deployment["hash"], before, is_new)


def describe_deployment(wanted: Version, stage: str, files: dict[str, str]) -> dict[str, Any]:
    """What deployment.json says of a version: the server takes it instead of dvc.lock where it agrees with the files."""
    model = {Path(path).name: digest for path, digest in files.items() if path.startswith("models/")}
    version, revision = wanted.version, wanted.revision
    return {"version": version, "stage": stage, "revision": revision, "hash": model_hash(model), "files": model}


@contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder beside another, removed at the end or, should the process be killed, the next time. UserError where
    none can be made there.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        clear_scratch(folder)
        scratch = Path(mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except OSError as error:
        raise UserError(f"{folder.parent} cannot be written ({error.strerror}): name a folder that can") from None
    try:
        yield scratch
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


def swap_in(fetched: Path, paths: Paths, root: Path) -> None:
    """Put what was fetched below a folder in the place of what was in a root. A report that is not among it is about another
    model and is removed. The model comes last, by two renames, as a server loads it with its reports as soon as it is there.
    """
    for report in (fetched / paths.reports).rglob("*.*"):
        write(root / report.relative_to(fetched), partial(shutil.copyfile, report))
    for path in (paths.reports / name for name in REPORTS):
        if not (fetched / path).exists():
            (root / path).unlink(missing_ok=True)
    model = root / paths.model
    if model.exists():
        model.rename(fetched / "old")
    (fetched / paths.model).rename(model)


def note_deployment(
    project: str, deployment: dict[str, Any], to: Path | None, before: dict[str, str | None], moved: bool, reason: str
) -> bool:
    """Write a deployment into the ledger, unless the stage stayed where it was, the model was there before, and the last
    deployment in the ledger to the same place is this one. Whether it did. Of another place than the checkout the line has
    the path as `root`.
    """
    place = {"root": str(to.resolve())} if to else {}
    known = [entry for entry in ledger.read(project) if entry["event"] == "deployment"]
    last: dict[str, Any] = next((entry for entry in reversed(known) if entry.get("root") == place.get("root")), {})
    entry = {key: deployment[key] for key in ("version", "stage", "revision", "hash")} | place
    was_there = before["hash"] == deployment["hash"]
    if was_there and not moved and entry.items() <= last.items():
        return False
    # A model that was there already was trained here, or an interrupted deployment put it there: the ledger knows the last.
    previous = {key: last.get(key) for key in before} if was_there else before
    ledger.append(project, {"event": "deployment", "by": who(), "reason": reason, "previous": previous, **entry})
    return True


def copy_ledger(project: str, root: Path) -> None:
    """Put the ledger as it is now into a root, unless it is there."""
    path = ledger_path(project)
    copy = root / path
    if not copy.exists() or copy.read_bytes() != path.read_bytes():
        write(copy, partial(shutil.copyfile, path))

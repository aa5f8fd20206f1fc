"""Puts the version that holds a stage into models/ and reports/, from where the server loads it, and asks it to.

python -m stages.deploy bankchurn
python -m stages.deploy bankchurn --version v1.1.0 --reason "v1.2.0 is wrong about pensioners"

With --version the stage goes to that version: a rollback. The server is asked to load the model when VERITABLE_SERVER names
its address; VERITABLE_ADMIN_TOKEN holds its admin token, and VERITABLE_API_KEY a key where it wants one.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pandas as pd

from stages.core.cli import UserError, run
from stages.core.files import Paths, read_json, write, write_json
from stages.promotion import ledger, registry
from stages.promotion.registry import Version
from stages.promotion.server import call
from stages.runtime.identity import md5, model_hash

DEPLOYMENT = "deployment.json"
TOLERANCE = 1e-9  # relative, the server's


def describe(wanted: Version, stage: str, files: dict[str, str]) -> dict[str, Any]:
    """What deployment.json says of a version: the server takes it instead of dvc.lock where it agrees with the files."""
    model = {Path(path).name: digest for path, digest in files.items() if path.startswith("models/")}
    version, revision = wanted.version, wanted.revision
    return {"version": version, "stage": stage, "revision": revision, "hash": model_hash(model), "files": model}


def recorded(folder: Path) -> dict[str, Any]:
    """What deployment.json in a folder says; nothing where there is none that can be read."""
    try:
        return dict(read_json(folder / DEPLOYMENT))
    except (OSError, ValueError, TypeError):
        return {}


def lying(folder: Path) -> dict[str, str | None]:
    """The version and the hash of the model in a folder, each None where there is none."""
    found = {path.name: md5(path) for path in folder.glob("[!.]*") if path.is_file() and path.name != DEPLOYMENT}
    deployment = recorded(folder)
    version = deployment["version"] if found and deployment.get("files") == found else None
    return {"version": version, "hash": model_hash(found) if found else None}


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """A temporary folder beside another, cleared away in the end and, should the process be killed, the next time."""
    folder.parent.mkdir(exist_ok=True)
    clear(folder)
    try:
        yield Path(mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    finally:
        clear(folder)


def clear(folder: Path) -> None:
    """Remove what deployments into a folder left. If one had taken the old model away and not yet put the new one there, the
    old one comes back.
    """
    for leftover in folder.parent.glob(f".{folder.name}.*"):
        if (leftover / "old").exists() and not folder.exists():
            (leftover / "old").rename(folder)
        shutil.rmtree(leftover)


def check_code(fetched: Path, wanted: Version) -> None:
    """UserError unless a fetched model gives its known row the score that it had, with the code that is checked out: that is
    what the server scores with, whatever the code was that the model was made by.
    """
    probe = read_json(fetched / Paths(wanted.project).model / "plan.json")["probe"]
    try:
        score = float(registry.score_rows(fetched, wanted.project, pd.DataFrame([probe["row"]]), code=Path())[0])
        found = f"a known row gets {score!r} instead of {probe['score']!r}"
    except UserError as error:
        score, found = float("nan"), str(error)
    if not abs(score - probe["score"]) <= TOLERANCE * abs(probe["score"]):
        tag = f"{wanted.project}@{wanted.version}"
        raise UserError(
            f"{wanted.version} does not work with the code that is checked out, and the server would use that: {found}. "
            f"`git checkout {tag} -- stages` brings the code that it was made by"
        )


def put(fetched: Path, paths: Paths) -> None:
    """Put what was fetched below a folder in the place of what lies there, the model by two renames."""
    if paths.model.exists():
        paths.model.rename(fetched / "old")
    (fetched / paths.model).rename(paths.model)
    for report in (fetched / paths.reports).rglob("*.*"):
        write(report.relative_to(fetched), partial(shutil.copyfile, report))


def note(project: str, deployment: dict[str, Any], before: dict[str, str | None], moved: bool, reason: str) -> bool:
    """Write a deployment into the ledger, unless the stage stayed where it was, the model lay there before, and the ledger
    ends with it. Whether it did.
    """
    entries = [entry for entry in ledger.read(project) if entry["event"] == "deployment"]
    last = entries[-1] if entries else {}
    said = {key: deployment[key] for key in ("version", "stage", "revision", "hash")}
    there = before["hash"] == deployment["hash"]
    if there and not moved and said.items() <= last.items():
        return False
    # A model that lay there already was trained here, or an interrupted deployment put it there: the ledger knows the last.
    previous = {key: last.get(key) for key in before} if there else before
    ledger.append(project, {"event": "deployment", "by": registry.who(), "reason": reason, "previous": previous, **said})
    return True


def reload(project: str, server: str, deployment: dict[str, Any]) -> None:
    """Have the server load what lies there; UserError where it refuses, or loads something else."""
    token = os.environ.get("VERITABLE_ADMIN_TOKEN")
    if not token:
        raise UserError(f"{server} was not asked to load it, for VERITABLE_ADMIN_TOKEN is not set")
    url = f"{server.rstrip('/')}/v1/{project}/reload"
    loaded = call(url, "POST", Authorization=f"Bearer {token}")["hash"]
    if loaded != deployment["hash"]:
        raise UserError(f"{server} serves {loaded}, not {deployment['hash']}: it reads the models/ of another folder")
    print(f"{project}: {server} serves it")


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--stage", default="prod", help="default: prod")
    parser.add_argument("--version", help="give the stage to this version first")
    parser.add_argument("--reason", default="", help="why, for the ledger and the tag")
    parser.add_argument("--push", action="store_true", help="push the branch and the tags to origin")
    parser.add_argument("--server", default=os.environ.get("VERITABLE_SERVER"), help="default: VERITABLE_SERVER")


def main(project: str, stage: str, version: str | None, reason: str, push: bool, server: str | None) -> None:
    paths, held = Paths(project), registry.in_stage(project, stage)
    wanted = registry.find(project, version) if version else held
    if wanted is None:
        raise UserError(f"no version holds {stage}: `python -m stages.promote {project}` promotes one")
    files = registry.files_at(project, wanted.revision)
    deployment = describe(wanted, stage, files)
    reason = " ".join(reason.split()) or f"{wanted.version} {'was asked for' if version else f'holds {stage}'}."
    with staging(paths.model) as temporary:
        before = lying(paths.model)
        there = recorded(paths.model) == deployment and all(
            Path(path).exists() and md5(Path(path)) == digest for path, digest in files.items()
        )
        if not there:
            registry.fetch(project, wanted.revision, temporary)
            check_code(temporary, wanted)
            write_json(temporary / paths.model / DEPLOYMENT, deployment)
        registry.assign(project, wanted.version, stage, reason)
        if not there:
            put(temporary, paths)
    new = note(project, deployment, before, wanted != held, reason)
    ledger.commit(project, f"Deploy {project} {wanted.version} to {stage}")
    if push:
        registry.push(project)
    print(f"{project}: {wanted.version} ({deployment['hash'][:12]}) {'now lies' if new else 'lay already'} in {paths.model}")
    if server:
        reload(project, server, deployment)


if __name__ == "__main__":
    run(main, options)

"""The registry: versions and stages of models as Git tags in GTO's form, and what a model of any revision is made of.

A version is a commit. Its dvc.lock names the model's files, which lie in DVC's cache or on its remote.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from stages.cache import fetch_files
from stages.command import UserError
from stages.git import git, git_bytes, head, uncommitted, who
from stages.lock import model_files, model_hash, outputs
from stages.runtime.kernels import clean_environment

__all__ = [
    "REPORTS", "Version", "assign", "checkout", "fetch", "files_at", "find", "git", "head", "in_stage", "lock_at",
    "model_hash_at", "push", "register", "run_script", "score_rows", "tree", "uncommitted", "versions", "who",
]  # fmt: skip

REPORTS = (  # what the server shows
    "card.md", "data.json", "evaluation.json", "importance.json", "leaderboard.json", "market.json", "profile.json",
    "samples.json",
)  # fmt: skip
TAG = re.compile(r"(?P<name>.+?)(@(?P<version>v\d+\.\d+\.\d+)|#(?P<stage>[^#!]+))(?P<undone>!?)(#(?P<number>\d+))?")


@dataclass(frozen=True)
class Version:
    """A registered model: the full hash of the commit whose dvc.lock records it."""

    project: str
    version: str
    revision: str


def versions(project: str) -> list[Version]:
    """The registered versions, newest first."""
    found: dict[str, Version] = {}
    for tag in _tags(project):
        if tag["version"] and tag["undone"]:
            found.pop(tag["version"], None)
        elif tag["version"]:
            found[tag["version"]] = Version(project, tag["version"], tag["revision"])
    return sorted(found.values(), key=lambda known: [int(part) for part in known.version[1:].split(".")], reverse=True)


def in_stage(project: str, stage: str = "prod") -> Version | None:
    """The version that was assigned to a stage last. Tags go by their running number: a second can hold two."""
    known = {version.revision: version for version in versions(project)}
    holders: list[str] = []
    for tag in _tags(project):
        if tag["stage"] == stage:
            holders = [revision for revision in holders if revision != tag["revision"]]
            holders += [] if tag["undone"] else [tag["revision"]]
    return next((known[revision] for revision in reversed(holders) if revision in known), None)


def find(project: str, version: str) -> Version:
    """A registered version by its name; UserError lists those that there are."""
    known = {found.version: found for found in versions(project)}
    if version not in known:
        raise UserError(f"no version {version!r} is registered; there is {', '.join(known) or 'none yet'}")
    return known[version]


def register(project: str, revision: str, version: str, message: str) -> None:
    """Tag a commit as a version, unless it is; UserError where either of the two is tagged otherwise."""
    if Version(project, version, revision) not in versions(project):
        _gto("register", project, ref=revision, version=version, message=message)


def assign(project: str, version: str, stage: str, message: str) -> None:
    """Tag a version, new or old, as the one that holds a stage from now on, unless it holds it already."""
    if in_stage(project, stage) != find(project, version):
        _gto("assign", project, version=version, stage=stage, message=message, force=True)  # it may have held it before


def push(project: str) -> None:
    """Push the branch and the project's tags to `origin`: all of them or nothing."""
    tags = [f"refs/tags/{project}{mark}*" for mark in "@#"]
    git("push", "--quiet", "--atomic", "origin", "HEAD", *(f"{tag}:{tag}" for tag in tags))


def lock_at(revision: str) -> bytes:
    """dvc.lock as a commit has it."""
    return git_bytes("show", f"{revision}:./dvc.lock")


def model_hash_at(project: str, revision: str) -> str:
    """The hash of a commit's model, as the server and the ledger name it; UserError where it has none."""
    return model_hash(_model_files(project, outputs(lock_at(revision)), revision))


def files_at(project: str, revision: str) -> dict[str, str]:
    """MD5 by path of a commit's model and of its reports that the server shows; UserError where it has no model."""
    recorded = outputs(lock_at(revision))
    model = {f"models/{project}/{name}": digest for name, digest in _model_files(project, recorded, revision).items()}
    shown = (*(f"reports/{project}/{report}" for report in REPORTS), f"reports/{project}/plots/")
    return model | {path: digest for path, digest in recorded.items() if path.startswith(shown)}


def fetch(project: str, revision: str, folder: Path) -> None:
    """Put exactly the files of `files_at` below a folder, each at its path in the repository."""
    fetch_files(files_at(project, revision), folder)


@contextmanager
def tree(revision: str) -> Iterator[Path]:
    """A temporary folder with all that Git holds of a commit."""
    with TemporaryDirectory(prefix="revision.") as name:
        with tarfile.open(fileobj=io.BytesIO(git_bytes("archive", revision))) as archive:
            archive.extractall(name, filter="data")
        yield Path(name)


@contextmanager
def checkout(project: str, revision: str) -> Iterator[Path]:
    """A temporary folder with the code of a commit and its model of one project."""
    with tree(revision) as folder:
        fetch(project, revision, folder)
        yield folder


def run_script(folder: Path, script: str, *arguments: str, code: Path | None = None) -> None:
    """Run `python -m script` in a folder, with the code there or in another; UserError ends with what it said last."""
    environment = clean_environment() | {"PYTHONPATH": str((code or folder).resolve())}  # the code sets its own kernels
    command = [sys.executable, "-m", script, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"]
        raise UserError(f"`python -m {script}` failed with the code in {code or folder}: {said[-1]}")


def score_rows(folder: Path, project: str, frame: pd.DataFrame, code: Path | None = None) -> np.ndarray:
    """Scores of raw rows, shape (rows,), by the model and the code in a folder, or the code in another. In a process of its
    own: a pickle needs the features it was trained with, and two versions of a module cannot be imported at once.
    """
    with TemporaryDirectory(prefix="scores.") as name:
        rows, scores = Path(name, "rows.parquet"), Path(name, "scores.parquet")
        frame.to_parquet(rows, index=False)
        run_script(folder, "stages.score", project, str(rows), str(scores), code=code)
        return pd.read_parquet(scores)["score"].to_numpy()


def _tags(project: str) -> list[dict[str, Any]]:
    """The project's annotated tags, the only ones that GTO knows, taken apart, in the order they were made."""
    patterns = [f"refs/tags/{project}@*", f"refs/tags/{project}#*"]
    lines = git("for-each-ref", "--format=%(refname:lstrip=2) %(*objectname)", *patterns).splitlines()
    named = [(TAG.fullmatch(name), revision) for name, _, revision in (line.partition(" ") for line in lines) if revision]
    tags = [found.groupdict() | {"revision": revision} for found, revision in named if found]
    return sorted(tags, key=lambda tag: (int(tag["number"] or 0), tag["undone"]))


def _gto(command: str, project: str, **arguments: Any) -> None:
    import gto.api  # here, as it takes half a second
    from gto.exceptions import GTOException
    from scmrepo.exceptions import SCMError

    try:
        getattr(gto.api, command)(".", project, **arguments)
    except (GTOException, SCMError) as error:
        cause = f" ({error.__cause__})" if error.__cause__ else ""
        raise UserError(f"GTO could not {command} {arguments['version']}: {error}{cause}") from None


def _model_files(project: str, recorded: dict[str, str], revision: str) -> dict[str, str]:
    files = model_files(recorded, project)
    if not files:
        raise UserError(f"dvc.lock of {revision[:12]} records no model of {project}")
    return files

"""A revision's model and code: its files, a temporary folder with its tree, and its own scripts run there.

A model is only ever scored by the code of its revision, in a process of its own: a pickle names the modules and needs the
features that it was trained with, and two versions of a module cannot be imported at once. The command lines used here,
`stages.score PROJECT ROWS SCORES` and `stages.train PROJECT`, are those that every revision knows.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from stages.core.cli import UserError
from stages.promotion.cache import fetch_files
from stages.promotion.git import git_bytes
from stages.promotion.lock import lock_at
from stages.runtime.identity import model_files, model_hash, outputs
from stages.runtime.kernels import clean_environment

REPORTS = (  # what the server shows; older versions also have a samples.json, which holds training rows and is never fetched
    "card.md", "data.json", "evaluation.json", "importance.json", "leaderboard.json", "market.json", "profile.json",
    "synthetic.json",
)  # fmt: skip


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
def tree(revision: str, *paths: str) -> Iterator[Path]:
    """A temporary folder with all that Git holds of a commit, or what it holds at these paths."""
    with TemporaryDirectory(prefix="revision.") as name:
        with tarfile.open(fileobj=io.BytesIO(git_bytes("archive", revision, "--", *paths))) as archive:
            archive.extractall(name, filter="data")
        yield Path(name)


@contextmanager
def checkout(project: str, revision: str) -> Iterator[Path]:
    """A temporary folder with the code of a commit and its model of one project."""
    with tree(revision) as folder:
        fetch(project, revision, folder)
        yield folder


def script_environment(code: Path) -> dict[str, str]:
    """The environment of a script of the code in a folder, which sets its own kernels."""
    return {**clean_environment(), "PYTHONPATH": str(code.resolve())}


def run_script(folder: Path, script: str, *arguments: str, code: Path | None = None) -> None:
    """Run `python -m script` in a folder, with the code there or in another; UserError ends with its last message."""
    command = [sys.executable, "-m", script, *arguments]
    environment = script_environment(code or folder)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        messages = done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"]
        raise UserError(f"`python -m {script}` failed with the code in {code or folder}: {messages[-1]}")


def score_rows(folder: Path, project: str, frame: pd.DataFrame, code: Path | None = None) -> np.ndarray:
    """Scores of raw rows, shape (rows,), by the model and the code in a folder, or the code in another."""
    with TemporaryDirectory(prefix="scores.") as name:
        rows, scores = Path(name, "rows.parquet"), Path(name, "scores.parquet")
        frame.to_parquet(rows, index=False)
        run_script(folder, "stages.score", project, str(rows), str(scores), code=code)
        return pd.read_parquet(scores)["score"].to_numpy()


def _model_files(project: str, recorded: dict[str, str], revision: str) -> dict[str, str]:
    files = model_files(recorded, project)
    if not files:
        raise UserError(f"dvc.lock of {revision[:12]} records no model of {project}")
    return files

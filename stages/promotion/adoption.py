"""A batch becomes a source of its project: what that changes in Git and DVC, as one commit or not at all, and back."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from stages.core.cli import UserError
from stages.core.files import Paths, write
from stages.core.params import PARAMS, parse_yaml
from stages.core.yaml_edit import edited
from stages.promotion import ledger
from stages.promotion.dvc import run_dvc
from stages.promotion.git import git, git_bytes, uncommitted
from stages.promotion.workspace import stages_of

ADOPTED, REVERTED = "Batch", "Reverted"  # what the last line of a commit's message begins with
REVERTED_EARLIER = "Taken back"  # what it began with in the commits of earlier versions
SHORT = 12  # digits of a hash in a name


def batch_path(project: str, address: str, content: bytes) -> Path:
    """Where a batch is kept: named by its content, so that the same rows are adopted once, whatever the file was called."""
    suffix = PurePosixPath(urlsplit(address).path).suffix.lower()
    return Paths(project).data / "batches" / f"{hashlib.sha256(content).hexdigest()[:SHORT]}{suffix}"


def with_sources(text: str, project: str, sources: list[str]) -> str:
    """The text of params.yaml with further sources of a project; comments, order and indentation stay."""
    return edited(text, lambda document: document[project]["ingest"]["sources"].extend(sources))


def model_paths(project: str) -> list[str]:
    """What a training changes in Git."""
    return [PARAMS.as_posix(), "dvc.lock", (Paths(project).reports / "metrics.json").as_posix()]


def adoption_paths(project: str, batch: Path) -> list[str]:
    """What adopting a batch changes in Git."""
    return [*model_paths(project), (batch.parent / ".gitignore").as_posix(), f"{batch.as_posix()}.dvc"]


def last_check(project: str, digest: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The ledger's last check of a batch, and the gate's decision that followed it, each empty where there is none."""
    check: dict[str, Any] = {}
    decision: dict[str, Any] = {}
    for entry in ledger.read(project):
        if entry["event"] == "drift" and entry["batch"]["sha256"] == digest:
            check, decision = entry, {}
        elif entry["event"] == "promotion" and check and not decision:
            decision = entry
    return check, decision


def last_commit(digest: str) -> tuple[str, bool]:
    """The last commit about a batch, and whether it is the one that reverted its model."""
    about = f"--grep=^({ADOPTED}|{REVERTED}|{REVERTED_EARLIER}): {digest}$"
    revision, _, message = git("log", "--max-count=1", "--extended-regexp", about, "--format=%H%n%B").partition("\n")
    return revision, any(f"{word}: {digest}" in message for word in (REVERTED, REVERTED_EARLIER))


def committed_text(path: Path) -> str:
    """The content of a text file in the last commit."""
    return git_bytes("show", f"HEAD:./{path.as_posix()}").decode()


def committed_sources(project: str) -> list[str]:
    """The sources that the last commit learns from."""
    params = parse_yaml(committed_text(PARAMS).encode(), f"{PARAMS} of the last commit")
    sources: list[str] = params[project]["ingest"]["sources"]
    return sources


def tracked_batches(project: str) -> list[str]:
    """The batches that the last commit tracks."""
    folder = Paths(project).data / "batches"
    listed = git("ls-tree", "--name-only", "HEAD", "--", f"{folder.as_posix()}/").splitlines()
    return [path.removesuffix(".dvc") for path in listed if path.endswith(".dvc")]


def pending_batches(project: str, batch: Path, sources: list[str]) -> list[str]:
    """This batch and those that the last commit tracks and does not learn from, in the order of their first check. So no
    pending batch changes its place among the sources, by which the test rows are drawn: a gate that is asked again with
    another draw would let chance through in the end.
    """
    checked = [entry["batch"]["sha256"][:SHORT] for entry in ledger.read(project) if entry["event"] == "drift"]
    places = {digest: place for place, digest in reversed(list(enumerate(checked)))}
    paths = {*tracked_batches(project), batch.as_posix()} - set(sources)
    return sorted(paths, key=lambda path: (places.get(Path(path).stem, len(places)), path))


def is_interrupted(project: str, batch: Path, pending: list[str], check: dict[str, Any]) -> bool:
    """Whether an adoption of this batch was cut off: its file is there before Git knows it, or what a training changes has
    changed after a check that called for one. Not where somebody else has worked on params.yaml.
    """
    tracked = batch.as_posix() in tracked_batches(project)
    if not (check.get("verdict") == "retrain" and uncommitted() if tracked else batch.exists()):
        return False
    before = committed_text(PARAMS)
    return PARAMS.read_text(encoding="utf-8") in (before, with_sources(before, project, pending))


def restore(project: str, paths: list[str], revision: str) -> None:
    """Bring these files, in Git's index and the workspace, and the pipeline's outputs to their state in a commit."""
    existing = git("ls-tree", "-r", "--name-only", revision, "--", *paths).splitlines()
    for path in set(paths) - set(existing):
        git("rm", "--quiet", "--cached", "--ignore-unmatch", "--", path)
        Path(path).unlink(missing_ok=True)
    git("restore", f"--source={revision}", "--staged", "--worktree", "--", *existing)
    run_dvc("checkout", "--quiet", "--force", *stages_of(project))


def undo(project: str, batch: Path) -> None:
    """Bring everything that adopting a batch changes to its state in the last commit."""
    restore(project, adoption_paths(project, batch), "HEAD")
    if batch.as_posix() not in tracked_batches(project):
        batch.unlink(missing_ok=True)  # last, as its presence says that there is something to undo


def adopt(project: str, batch: Path, content: bytes, pending: list[str], reason: str) -> None:
    """Track the batch, name it and the pending ones in params.yaml, run the pipeline, and commit all of it at once.
    UserError where one of these fails, which then leaves the workspace as it was.
    """
    digest = hashlib.sha256(content).hexdigest()
    others = f" and {len(pending) - 1} pending" if len(pending) > 1 else ""
    try:
        write(batch, lambda temporary: temporary.write_bytes(content))
        run_dvc("add", "--quiet", str(batch))
        if absent := [f"{known}.dvc" for known in tracked_batches(project) if not Path(known).exists()]:  # a fresh clone
            run_dvc("checkout", "--quiet", *absent)
        text = with_sources(committed_text(PARAMS), project, pending)
        write(PARAMS, lambda temporary: temporary.write_text(text, encoding="utf-8"))
        run_dvc("repro", f"explain@{project}")
    except UserError:
        undo(project, batch)
        raise
    git("add", "--", *adoption_paths(project, batch))
    message = f"Retrain {project} with {batch.name}{others}\n\n{reason}\n\n{ADOPTED}: {digest}"
    git("commit", "--quiet", "--message", message)


def revert(project: str, batch: Path, digest: str, revision: str, reason: str) -> None:
    """Undo by another commit what the commit that adopted a batch did to the model; the batch stays."""
    restore(project, model_paths(project), f"{revision}^")
    message = f"Revert {project} to the model before {batch.name}\n\n{reason}\n\n{REVERTED}: {digest}"
    git("commit", "--quiet", "--message", message)

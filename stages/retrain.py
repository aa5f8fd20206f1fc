"""Checks a batch against what the model was trained on and, where that calls for it, trains a new one: adopts the batch as a
further source, runs the pipeline, commits, lets the gate decide and deploys what it accepts.

python -m stages.retrain realestate --batch new.csv

A batch that is kept or refused changes nothing but the ledger. A model that the gate refuses is taken back by a commit; the
batch stays, and the next training learns from it too. Interrupted anywhere and started again it ends in the same state: what
was done is read from the ledger, the commits and the tags.
Exit code 0: nothing to do, or promoted. 3: the batch, or the new model, was refused.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from ruamel.yaml import YAML

from stages import deploy, drift, promote
from stages.core.cli import UserError, run
from stages.core.files import Paths, write
from stages.core.yaml_edit import edited
from stages.intake.sources import fetch
from stages.promotion import ledger, registry

PARAMS = Path("params.yaml")
REFUSED = 3
ADOPTED, TAKEN_BACK = "Batch", "Taken back"  # what the last line of a commit's message begins with
SHORT = 12  # digits of a hash in a name


def batch_path(project: str, address: str, content: bytes) -> Path:
    """Where a batch is kept: named by its content, so that the same rows are adopted once under whatever name they come."""
    suffix = PurePosixPath(urlsplit(address).path).suffix.lower()
    return Paths(project).data / "batches" / f"{hashlib.sha256(content).hexdigest()[:SHORT]}{suffix}"


def with_sources(text: str, project: str, sources: list[str]) -> str:
    """The text of params.yaml with further sources of a project; comments, order and indentation stay."""
    return edited(text, lambda document: document[project]["ingest"]["sources"].extend(sources))


def of_model(project: str) -> list[str]:
    """What a training changes in Git."""
    return [PARAMS.as_posix(), "dvc.lock", (Paths(project).reports / "metrics.json").as_posix()]


def touched(project: str, batch: Path) -> list[str]:
    """What adopting a batch changes in Git."""
    return [*of_model(project), (batch.parent / ".gitignore").as_posix(), f"{batch.as_posix()}.dvc"]


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


def committed(path: Path) -> str:
    """What a text file holds in the last commit."""
    return registry.git_bytes("show", f"HEAD:./{path.as_posix()}").decode()


def stored(project: str) -> list[str]:
    """The batches that the last commit tracks."""
    folder = Paths(project).data / "batches"
    listed = registry.git("ls-tree", "--name-only", "HEAD", "--", f"{folder.as_posix()}/").splitlines()
    return [path.removesuffix(".dvc") for path in listed if path.endswith(".dvc")]


def waiting(project: str, batch: Path, sources: list[str]) -> list[str]:
    """This batch and those that the last commit tracks and does not learn from, in the order of their first check. So none
    that waits changes its place among the sources, by which the rows to test on are drawn: a gate that is asked again with
    another draw would let chance through in the end.
    """
    checked = [e["batch"]["sha256"][:SHORT] for e in ledger.read(project) if e["event"] == "drift"]
    places = {digest: place for place, digest in reversed(list(enumerate(checked)))}
    paths = {*stored(project), batch.as_posix()} - set(sources)
    return sorted(paths, key=lambda path: (places.get(Path(path).stem, len(places)), path))


def last_commit(digest: str) -> tuple[str, bool]:
    """The last commit about a batch, and whether it is the one that took its model back."""
    about = ("log", "--max-count=1", "--extended-regexp", f"--grep=^({ADOPTED}|{TAKEN_BACK}): {digest}$")
    revision, _, message = registry.git(*about, "--format=%H%n%B").partition("\n")
    return revision, f"{TAKEN_BACK}: {digest}" in message


def dvc(*arguments: str) -> None:
    """Run DVC, whose progress is shown, and with it the stages by this Python; UserError where it fails."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    if subprocess.run([sys.executable, "-m", "dvc", *arguments], env=environment).returncode:
        raise UserError(f"`dvc {' '.join(arguments)}` failed; what it said stands above. Start again when that is mended")


def restore(project: str, paths: list[str], revision: str) -> None:
    """Bring these files to what a commit had, in Git's index and the workspace, and the pipeline's outputs with them."""
    had = registry.git("ls-tree", "-r", "--name-only", revision, "--", *paths).splitlines()
    for path in set(paths) - set(had):
        registry.git("rm", "--quiet", "--cached", "--ignore-unmatch", "--", path)
        Path(path).unlink(missing_ok=True)
    registry.git("restore", f"--source={revision}", "--staged", "--worktree", "--", *had)
    stages = YAML(typ="safe").load(Path("dvc.yaml"))["stages"]
    dvc("checkout", "--quiet", "--force", *(f"{stage}@{project}" for stage in stages))


def is_begun(project: str, batch: Path, new: list[str], check: dict[str, Any]) -> bool:
    """Whether an adoption of this batch was cut off: its file lies there before Git knows it, or what a training changes has
    changed after a check that called for one. Not where somebody else has worked on params.yaml.
    """
    known = batch.as_posix() in stored(project)
    if not (check.get("verdict") == "retrain" and registry.uncommitted() if known else batch.exists()):
        return False
    before = committed(PARAMS)
    return PARAMS.read_text(encoding="utf-8") in (before, with_sources(before, project, new))


def undo(project: str, batch: Path) -> None:
    """Bring everything that adopting a batch changes to what the last commit has."""
    restore(project, touched(project, batch), "HEAD")
    if batch.as_posix() not in stored(project):
        batch.unlink(missing_ok=True)  # last, as it is what tells that there is something to undo


def adopt(project: str, batch: Path, content: bytes, sources: list[str], message: str) -> None:
    """Track the batch, name it and those that wait in params.yaml, run the pipeline, and commit all of it at once, or
    nothing.
    """
    try:
        write(batch, lambda temporary: temporary.write_bytes(content))
        dvc("add", "--quiet", str(batch))
        if absent := [f"{known}.dvc" for known in stored(project) if not Path(known).exists()]:  # in a fresh clone
            dvc("checkout", "--quiet", *absent)
        text = with_sources(committed(PARAMS), project, sources)
        write(PARAMS, lambda temporary: temporary.write_text(text, encoding="utf-8"))
        dvc("repro", f"export@{project}", f"explain@{project}")
    except UserError:
        undo(project, batch)
        raise
    registry.git("add", "--", *touched(project, batch))
    registry.git("commit", "--quiet", "--message", message)


def take_back(project: str, batch: Path, digest: str, revision: str, reason: str) -> None:
    """Undo by another commit what the commit that adopted a batch did to the model; the batch stays."""
    restore(project, of_model(project), f"{revision}^")
    message = f"Take {project} back to the model before {batch.name}\n\n{reason}\n\n{TAKEN_BACK}: {digest}"
    registry.git("commit", "--quiet", "--message", message)


def push_data() -> None:
    """Push what DVC tracks, where there is a remote, before the tags: one without its model would help nobody."""
    if registry.git("config", "--file", ".dvc/config", "--default", "", "--get", "core.remote"):
        dvc("push", "--quiet")


def decide(name: str, batch: str, propose: bool, server: str | None) -> int | None:
    """All steps that are left to do on a batch; the exit code."""
    content = fetch(batch)
    digest, path = hashlib.sha256(content).hexdigest(), batch_path(name, batch, content)
    check, decision = last_check(name, digest)
    revision, taken_back = last_commit(digest)
    sources = YAML(typ="safe").load(committed(PARAMS))[name]["ingest"]["sources"]
    new = waiting(name, path, sources)
    adopted = path.as_posix() not in new
    if adopted and taken_back:
        print(f"{name}: the model learned from this batch together with a later one")
        return None
    begun = not adopted and not decision and is_begun(name, path, new, check)
    own = touched(name, path) if begun or (adopted and decision) else []
    if changed := [file for file in registry.uncommitted() if file not in own]:
        raise UserError(f"{', '.join(changed)} differ from the last commit: commit or restore them first")
    if begun:
        undo(name, path)
    if not adopted and not (begun and check):
        code = drift.main(name, batch, None, "", html=True, dry_run=False)
        ledger.commit(name, f"Check {batch} of {name}")
        if code != drift.CODES["retrain"]:
            return code
        check, decision = last_check(name, digest)
        if decision:
            print(f"{name}: this batch was tried against this model. {decision['reason']}")
            return REFUSED
    if not adopted:
        others = f" and {len(new) - 1} that waited" if len(new) > 1 else ""
        message = f"Retrain {name} with {path.name}{others}\n\n{check['reason']}\n\n{ADOPTED}: {digest}"
        adopt(name, path, content, new, message)
        revision = registry.head()
    if propose:
        return None
    if decision.get("accepted") is not False:
        promote.main(name)
        _, decision = last_check(name, digest)
    if not decision.get("accepted"):
        take_back(name, path, digest, revision, decision.get("reason", "The gate has decided about this model before."))
        return REFUSED
    deploy.main(name, "prod", None, "", push=False, server=server)
    return None


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--batch", required=True, help="a CSV or Parquet file: a path, s3:// or https:// address")
    parser.add_argument("--dry-run", action="store_true", help="check the batch and write nothing")
    parser.add_argument("--propose", action="store_true", help="stop before the gate decides, for a pull request")
    parser.add_argument("--push", action="store_true", help="push data, branch and tags")
    parser.add_argument("--server", help="the server that loads what is promoted; see stages.deploy")


def main(
    name: str, batch: str, dry_run: bool = False, propose: bool = False, push: bool = False, server: str | None = None
) -> int | None:
    registry.head()  # before all else, as it says so where there is no Git
    if dry_run:
        if drift.main(name, batch, None, "", html=False, dry_run=True) == drift.CODES["retrain"]:
            print(f"{name}: the batch would be adopted, a model trained with it, and the gate asked")
        return None
    code = decide(name, batch, propose, server)
    if push:
        push_data()
        registry.push(name)
    return code


if __name__ == "__main__":
    run(main, options)

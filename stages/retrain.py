"""Checks a batch against what the model was trained on and, where that calls for it, trains a new one: adopts the batch as a
further source, runs the pipeline, commits, lets the gate decide and deploys what it accepts.

python -m stages.retrain realestate --batch new.csv

A batch that is kept or refused changes nothing but the ledger. What the gate refuses is taken back by a commit. Interrupted
anywhere and started again it ends in the same state: what was done is read from the ledger, the commits and the tags.
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

from stages import deploy, drift, ledger, promote, registry
from stages.command import UserError, run
from stages.files import Paths, write
from stages.sources import fetch
from stages.yaml_text import edited

PARAMS = Path("params.yaml")
REFUSED = 3
SHORT = 12  # digits of a hash in a name


def batch_path(project: str, address: str, content: bytes) -> Path:
    """Where a batch is kept: named by its content, so that the same rows are adopted once under whatever name they come."""
    suffix = PurePosixPath(urlsplit(address).path).suffix.lower()
    return Paths(project).data / "batches" / f"{hashlib.sha256(content).hexdigest()[:SHORT]}{suffix}"


def with_source(text: str, project: str, source: str) -> str:
    """The text of params.yaml with one more source of a project; comments, order and indentation stay."""

    def change(document: Any) -> None:
        sources = document[project]["ingest"]["sources"]
        if source not in sources:
            sources.append(source)

    return edited(text, change)


def touched(project: str, batch: Path) -> list[str]:
    """What adopting a batch changes in Git."""
    report, tracked = Paths(project).reports / "metrics.json", Path(f"{batch}.dvc")
    return [path.as_posix() for path in (PARAMS, Path("dvc.lock"), report, batch.parent / ".gitignore", tracked)]


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


def is_adopted(project: str, batch: Path) -> bool:
    """Whether the last commit names the batch as a source."""
    document = YAML(typ="safe").load(registry.git("show", f"HEAD:./{PARAMS}"))
    return batch.as_posix() in document[project]["ingest"]["sources"]


def dvc(*arguments: str) -> None:
    """Run DVC, whose progress is shown, and with it the stages by this Python; UserError where it fails."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    if subprocess.run([sys.executable, "-m", "dvc", *arguments], env=environment).returncode:
        raise UserError(f"`dvc {' '.join(arguments)}` failed; what it said stands above. Start again when that is mended")


def restore(project: str, batch: Path, revision: str) -> None:
    """Bring everything that adopting a batch changes to what a commit had, in Git's index and the workspace."""
    paths = touched(project, batch)
    had = registry.git("ls-tree", "-r", "--name-only", revision, "--", *paths).splitlines()
    for path in set(paths) - set(had):
        registry.git("rm", "--quiet", "--cached", "--ignore-unmatch", "--", path)
        Path(path).unlink(missing_ok=True)
    registry.git("restore", f"--source={revision}", "--staged", "--worktree", "--", *had)
    stages = YAML(typ="safe").load(Path("dvc.yaml"))["stages"]
    dvc("checkout", "--quiet", "--force", *(f"{stage}@{project}" for stage in stages))
    batch.unlink(missing_ok=True)  # last, as it is what tells that there is something to restore


def adopt(project: str, batch: Path, content: bytes, message: str) -> None:
    """Track the batch, name it in params.yaml, run the pipeline, and commit all of it at once, or nothing."""
    try:
        write(batch, lambda temporary: temporary.write_bytes(content))
        dvc("add", "--quiet", str(batch))
        text = with_source(PARAMS.read_text(encoding="utf-8"), project, batch.as_posix())
        write(PARAMS, lambda temporary: temporary.write_text(text, encoding="utf-8"))
        dvc("repro", f"export@{project}", f"explain@{project}")
    except UserError:
        restore(project, batch, "HEAD")
        raise
    registry.git("add", "--", *touched(project, batch))
    registry.git("commit", "--quiet", "--message", message)


def take_back(project: str, batch: Path, digest: str, reason: str) -> None:
    """Undo the commit that adopted a batch, by another one."""
    adopted = registry.git("log", "--max-count=1", "--format=%H", f"--grep=^Batch: {digest}$")
    restore(project, batch, f"{adopted}^")
    message = f"Take {project} back to the data before {batch.name}\n\n{reason}"
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
    adopted = is_adopted(name, path)
    begun = path.exists() and not adopted  # nothing else puts a file of this name there
    own = touched(name, path) if begun or decision else []
    if changed := [file for file in registry.uncommitted() if file not in own]:
        raise UserError(f"{', '.join(changed)} differ from the last commit: commit or restore them first")
    if begun:
        restore(name, path, "HEAD")
    elif not adopted:
        code = drift.main(name, batch, None, "", html=True, dry_run=False)
        ledger.commit(name, f"Check {batch} of {name}")
        if code != drift.CODES["retrain"]:
            return code
        check, decision = last_check(name, digest)
        if decision:
            print(f"{name}: this batch was tried against this model. {decision['reason']}")
            return REFUSED
    if not adopted:
        adopt(name, path, content, f"Retrain {name} with {path.name}\n\n{check['reason']}\n\nBatch: {digest}")
    if propose:
        return None
    if decision.get("accepted") is not False:
        promote.main(name)
        _, decision = last_check(name, digest)
    if not decision.get("accepted"):
        take_back(name, path, digest, decision.get("reason", "It makes a model that was promoted before."))
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

"""A repository with a version from before the modules moved into folders, and the present code on top of it.

tests/fixtures/before_the_move.sh made what it starts from, and says what that is.
"""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

from stages.projects._base import project_names
from stages.runtime.identity import md5
from tests.clones import run
from tests.samples import ROOT, write_params

FROZEN = ROOT / "tests" / "fixtures" / "before_the_move.tar.xz"
OLD, BROKEN = "v1.0.0", "v1.0.1"
LENIENT = {"margin": 0.9, "max_ece": 0.9, "latency_ms": 500.0}  # on a hundred rows nothing can be shown
CACHE = Path(".dvc", "cache", "files", "md5")


def restore_past(folder: Path) -> None:
    """The repository as it was before the move, telecom's v1.0.0 in prod, with its files in DVC's cache. In .git there is
    prediction.json, what the server logged then.
    """
    unpacked = folder.with_name(f"{folder.name}.unpacked")
    with tarfile.open(FROZEN) as archive:
        archive.extractall(unpacked, filter="data")
    run(unpacked, "git", "clone", "--quiet", "repository.bundle", str(folder))
    (folder / CACHE).parent.mkdir(parents=True)
    (unpacked / "cache").rename(folder / CACHE)
    (unpacked / "prediction.json").rename(folder / ".git" / "prediction.json")
    shutil.rmtree(unpacked)
    run(folder, "git", "config", "user.name", "Tess Tester")
    run(folder, "git", "config", "user.email", "tess@example.org")


def add_version_without_export(folder: Path) -> None:
    """Another version of that time, whose model can only be scored by its pickle."""
    plan = folder / "models" / "telecom" / "plan.json"
    plan.parent.mkdir(parents=True)
    lock = folder / "dvc.lock"
    text = lock.read_text()
    digest = text.split("path: models/telecom/plan.json")[1].split("md5: ")[1].split()[0]
    known = json.loads((folder / CACHE / digest[:2] / digest[2:]).read_text())
    plan.write_text(json.dumps({"exported": False, "reason": "no such graph", "probe": known["probe"]}))
    changed = md5(plan)
    (folder / CACHE / changed[:2]).mkdir(exist_ok=True)
    plan.rename(folder / CACHE / changed[:2] / changed[2:])
    lock.write_text(text.replace(digest, changed))
    run(folder, "git", "commit", "--quiet", "--all", "--message", "A model that only its pickle can score")
    run(folder, "gto", "register", "telecom", "--version", BROKEN)


def move_to_present(folder: Path) -> None:
    """Commit the code of today and retrain telecom with it."""
    shutil.rmtree(folder / "stages")
    shutil.copytree(ROOT / "stages", folder / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    for path in ("dvc.yaml", ".dvcignore", ".gitignore"):
        shutil.copy(ROOT / path, folder / path)
    train = {"candidates": ["hist_gradient_boosting"]}
    write_params(folder, *project_names(), train=train, promote=LENIENT)
    run(folder, "git", "add", ".")
    run(folder, "git", "commit", "--quiet", "--message", "Move every module into a folder")
    run(folder, "dvc", "repro", "explain@telecom")
    run(folder, "git", "add", ".")
    run(folder, "git", "commit", "--quiet", "--message", "Train telecom again")


def make(folder: Path) -> None:
    """All of it."""
    restore_past(folder)
    add_version_without_export(folder)
    move_to_present(folder)

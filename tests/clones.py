"""A clone of the pipeline that holds the toys and no other project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.samples import ROOT, STAGES, write_params
from tests.toys import TOYS, toy


def run(clone: Path, *command: str, hash_seed: int = 1) -> str:
    """Output of a command in a clone; its errors with it."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("COV")}
    environment |= {
        f"GIT_{role}_{part}": "tester@example.org" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")
    }
    environment |= {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONHASHSEED": str(hash_seed),
        "PYTHONPATH": str(clone),
    }
    done = subprocess.run(command, cwd=clone, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    return done.stdout


def copy_pipeline(clone: Path, **changes: dict[str, Any]) -> None:
    """The stages, dvc.yaml and params.yaml with the toys in the place of the projects; `changes` go into the params."""
    real = {path.name for path in (ROOT / "stages" / "projects").glob("[!_]*.py")}
    shutil.copytree(ROOT / "stages", clone / "stages", ignore=shutil.ignore_patterns("__pycache__", *real))
    for name in TOYS:
        shutil.copy(ROOT / "tests" / "projects" / f"{name}.py", clone / "stages" / "projects")
    dag, _, _ = (ROOT / "dvc.yaml").read_text().partition("\nartifacts:\n")
    lines = "".join(f"      {name}: *{toy(name).task}\n" for name in TOYS)
    dag, found = re.subn(r"(?m)(^    projects:\n)(      \w+: \*\w+\n)+", rf"\1{lines}", dag)
    assert found == 1
    artifacts = "".join(
        f'  {name}: {{path: models/{name}/model.joblib, type: model, desc: "{toy(name).question}"}}\n' for name in TOYS
    )
    (clone / "dvc.yaml").write_text(f"{dag}\nartifacts:\n{artifacts}")
    for path in (".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore"):
        (clone / path).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / path, clone / path)
    write_params(clone, *TOYS, **changes)


def make_clone(clone: Path) -> None:
    """A Git and DVC repository of the toys, of which the first is reproduced and committed."""
    copy_pipeline(clone)
    run(clone, "git", "init", "--quiet")
    run(clone, "git", "add", ".")
    run(clone, "git", "commit", "--quiet", "--message", "Begin")
    log = run(clone, "dvc", "repro", *(f"{stage}@toy" for stage in STAGES))
    (clone / ".git" / "log").write_text(log)
    run(clone, "git", "add", ".")
    run(clone, "git", "commit", "--quiet", "--message", "Run it")

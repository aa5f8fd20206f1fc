"""A clone of the pipeline in which a made-up sixth project runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from stages.projects._base import project_names
from tests.samples import ROOT, STAGES, write_params


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


def add_sixth(clone: Path) -> None:
    """One module, one line in dvc.yaml, one block of params."""
    shutil.copy(ROOT / "tests" / "stages" / "sixth.py", clone / "stages" / "projects")
    dag = (ROOT / "dvc.yaml").read_text()
    assert dag.count("\n      telecom: *classification\n") == 1
    dag = dag.replace(
        "\n      telecom: *classification\n", "\n      telecom: *classification\n      sixth: *classification\n"
    )
    (clone / "dvc.yaml").write_text(dag)
    write_params(clone, *project_names(), "sixth")


def make_clone(clone: Path) -> None:
    """A Git and DVC repository of this pipeline with a sixth project, reproduced and committed."""
    shutil.copytree(ROOT / "stages", clone / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    for path in (".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore"):
        (clone / path).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / path, clone / path)
    add_sixth(clone)
    run(clone, "git", "init", "--quiet")
    run(clone, "git", "add", ".")
    run(clone, "git", "commit", "--quiet", "--message", "Add a sixth project")
    log = run(clone, "dvc", "repro", *(f"{stage}@sixth" for stage in STAGES))
    (clone / ".git" / "log").write_text(log)
    run(clone, "git", "add", ".")
    run(clone, "git", "commit", "--quiet", "--message", "Run it")

"""A project goes or comes as the README says, and the tests stay green: in a copy of what is here, with the quick ones."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.projects._base import project_names
from tests.samples import ROOT

REAL_PROJECTS = True
QUICK = "not slow and not long and not image"
WORKFLOWS = ".github/workflows"
pytestmark = pytest.mark.long


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of all files that Git tracks or could track here, committed."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
    git = ["git", "-c", "user.name=tess", "-c", "user.email=tess@example.org"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "Begin"]):
        subprocess.run([*git, *command], cwd=tmp_path, check=True)
    return tmp_path


def change(path: Path, pattern: str, replacement: str) -> None:
    text, count = re.subn(pattern, replacement, path.read_text(), flags=re.MULTILINE)
    assert count, f"{path}: nothing is like {pattern}"
    path.write_text(text)


def remove(tree: Path, name: str) -> None:
    """Take a project away: its module, its lines, its params, its reports and its tests."""
    (tree / "stages" / "projects" / f"{name}.py").unlink()
    (tree / "tests" / "stages" / "projects" / f"test_{name}.py").unlink(missing_ok=True)
    shutil.rmtree(tree / "reports" / name)
    change(tree / "dvc.yaml", rf"^( {{6}}{name}: \*| {{2}}{name}: \{{).*\n", "")
    change(tree / "params.yaml", rf"^{name}:\n(( .*)?\n)*", "")
    list_projects(tree, lambda names: [other for other in names if other != name])


def add(tree: Path, name: str) -> None:
    """Add a project: a module, two lines, a block of params."""
    module = (tree / "tests" / "projects" / "toy.py").read_text()
    (tree / "stages" / "projects" / f"{name}.py").write_text(module.replace('name="toy"', f'name="{name}"'))
    change(tree / "dvc.yaml", r"^    projects:\n", f"    projects:\n      {name}: *classification\n")
    question = "Will this parcel come late?"
    artifact = f'  {name}: {{path: models/{name}/model.joblib, type: model, desc: "{question}"}}\n'
    change(tree / "dvc.yaml", r"^artifacts:\n", f"artifacts:\n{artifact}")
    other, params = project_names()[0], (tree / "params.yaml").read_text()
    block = re.search(rf"^{other}:\n((?: .*)?\n)*", params, re.MULTILINE)
    assert block
    (tree / "params.yaml").write_text(f"{params.rstrip()}\n\n{block[0].replace(other, name).rstrip()}\n")
    list_projects(tree, lambda names: sorted([*names, name]))


def list_projects(tree: Path, changed: Callable[[list[str]], list[str]]) -> None:
    """Change the lists of projects in the workflows, which cannot read a folder."""
    for path in (tree / WORKFLOWS).glob("*.yaml"):
        lists = re.compile(rf"\[((?:{'|'.join(project_names())})(?:, \w+)*)\]")
        path.write_text(lists.sub(lambda found: f"[{', '.join(changed(found[1].split(', ')))}]", path.read_text()))


def run_tests(tree: Path, *arguments: str) -> None:
    """These tests pass there."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("COV", "PYTEST"))}
    command = [sys.executable, "-m", "pytest", "-q", *arguments]
    done = subprocess.run(command, cwd=tree, env=environment | {"PYTHONPATH": str(tree)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5_000:] + done.stderr[-2_000:]


def run_quick_tests(tree: Path) -> None:
    """All tests can be collected there, and the quick ones of the modules that see the real projects pass: the others see
    the toys alone, whatever is in stages/projects.
    """
    run_tests(tree, "-n", "0", "--collect-only")
    modules = [path for path in (tree / "tests").rglob("test_*.py") if "REAL_PROJECTS = True" in path.read_text()]
    run_tests(tree, "-n", "2", "-m", QUICK, *(str(path.relative_to(tree)) for path in modules))


@pytest.mark.parametrize("names", [project_names()[:1], project_names()[1:]], ids="-".join)
def test_projects_go(tree: Path, names: list[str]) -> None:
    for name in names:
        remove(tree, name)
    run_quick_tests(tree)


def test_a_project_comes(tree: Path) -> None:
    add(tree, "parcels")
    run_quick_tests(tree)
    run_tests(tree, "-n", "2", "-m", "not long", "-k", "parcels", "tests/stages/projects")  # it is trained and served

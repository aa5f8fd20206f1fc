from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from stages.core.cli import UserError
from stages.core.yaml_edit import edited
from stages.projects import project_names
from stages.review.workspace import check_workspace, checked_project
from tests.samples import ROOT

REAL_PROJECTS = True
NAME = project_names()[0]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The two files that are checked."""
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def refusal(root: Path) -> str:
    with pytest.raises(UserError) as error:
        check_workspace(root)
    assert "\n" not in str(error.value)
    return str(error.value)


def change(path: Path, place: str, value: Any) -> None:
    """Set the value at a dotted path; None removes it."""

    def work(document: Any) -> None:
        *parents, last = place.split(".")
        for parent in parents:
            document = document[parent]
        if value is None:
            del document[last]
        else:
            document[last] = value

    path.write_text(edited(path.read_text(), work))


def test_the_repository_is_valid() -> None:
    check_workspace(ROOT)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (f"{NAME}.drift", {"max_gap": 0.1}, f"{NAME}.drift.max_gap: Extra inputs are not permitted"),
        (f"{NAME}.tune", {"oracle": {}}, f"{NAME}.tune: no estimator 'oracle'; there are "),
        (f"{NAME}.promote", {"floors": 1}, f"{NAME}.promote.floors: "),
        (f"{NAME}.drfit", {}, f"{NAME}.drfit: Extra inputs are not permitted"),
        (f"{NAME}.train", None, f"{NAME}.train: Field required"),
        (NAME, None, f"{NAME} is missing, copy the entry of another project"),
        ("seventh", {}, "seventh has no module in stages/projects, add it or remove the entry"),
        ("base", None, "base: "),
    ],
)
def test_a_mistake_in_params_is_named(copy: Path, place: str, value: Any, message: str) -> None:
    change(copy / "params.yaml", place, value)
    assert refusal(copy).startswith(f"{copy / 'params.yaml'}: {message}")


@pytest.mark.slow
def test_all_mistakes_in_params_are_named_at_once(copy: Path) -> None:
    for name in project_names():
        change(copy / "params.yaml", f"{name}.prepare.test_size", 2)
    assert all(f"{name}.prepare.test_size: " in refusal(copy) for name in project_names())


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("artifacts.seventh", {}, "artifacts.seventh has no module in stages/projects, add it or remove the entry"),
        (f"artifacts.{NAME}.path", "model.joblib", f"artifacts.{NAME} is {{'path': 'model.joblib', "),
        ("vars", [], "there is no `projects` under `vars`"),
    ],
)
def test_a_mistake_in_the_dag_is_named(copy: Path, place: str, value: Any, message: str) -> None:
    change(copy / "dvc.yaml", place, value)
    assert refusal(copy).startswith(f"{copy / 'dvc.yaml'}: {message}")


def test_a_project_needs_no_entry_among_the_artifacts(copy: Path) -> None:
    change(copy / "dvc.yaml", f"artifacts.{NAME}", None)
    check_workspace(copy)


def test_a_project_that_no_stage_runs_for_is_named(copy: Path) -> None:
    path = copy / "dvc.yaml"
    declared = YAML(typ="safe").load(path.read_text())["vars"]
    lines = [line for line in path.read_text().splitlines(keepends=True) if not line.startswith(f"      {NAME}: *")]
    path.write_text("".join(lines))
    assert NAME in next(block["projects"] for block in declared if "projects" in block)
    assert refusal(copy) == f"{path}: {NAME} is missing, copy the entry of another project"


def test_a_file_that_is_not_there_is_named(copy: Path) -> None:
    (copy / "params.yaml").unlink()
    assert refusal(copy).startswith(f"there is no {copy / 'params.yaml'}")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "stages/projects/broken.py: AttributeError: module 'stages.projects.broken' has no attribute 'project'"),
        ("import nothing_like_it", "stages/projects/broken.py: ModuleNotFoundError: No module named 'nothing_like_it'"),
        (f"from stages.projects.{NAME} import project", f"stages/projects/broken.py defines a project named {NAME!r}: "),
    ],
)
def test_a_module_without_a_valid_project_is_named(
    source: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import stages.projects

    (tmp_path / "broken.py").write_text(source)
    monkeypatch.setattr(stages.projects, "__path__", [*stages.projects.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "stages.projects.broken", raising=False)
    with pytest.raises(UserError) as error:
        checked_project("broken")
    assert str(error.value).startswith(message)


@pytest.mark.slow
def test_the_command_says_that_all_is_well_or_what_is_not(copy: Path) -> None:
    def run() -> tuple[int, str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-m", "stages.check"], cwd=copy, env=environment, capture_output=True, text=True
        )
        return done.returncode, done.stdout + done.stderr

    assert run() == (0, f"{len(project_names())} projects and their params are valid\n")
    change(copy / "params.yaml", f"{NAME}.drift", {"max_gap": 0.1})
    code, said = run()
    assert code == 1
    assert said == f"check: params.yaml: {NAME}.drift.max_gap: Extra inputs are not permitted\n"

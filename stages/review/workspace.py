"""What is wrong with the projects, dvc.yaml and params.yaml of a workspace, found before anything runs.

Light to import, as commands name `check_workspace` before they load anything heavy.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.cli import UserError
from stages.projects import project_names

if TYPE_CHECKING:
    from stages.projects._base import Project


def check_workspace(root: Path = Path()) -> None:
    """UserError unless every module in stages/projects defines a valid project, every block of params.yaml is valid, also
    those that no stage of the DAG reads, params.yaml and dvc.yaml hold exactly these projects, and the artifacts in dvc.yaml
    are those of the projects' models. All that is wrong with a file is said at once.
    """
    from stages.core.params import PARAMS, read_params

    projects = [checked_project(name) for name in project_names()]
    params, dag = read_params(root / PARAMS), read_params(root / "dvc.yaml")
    refuse(root / PARAMS, [*differences(projects, params.keys() - {"base"}), *invalid_blocks(projects, params)])
    declared = [block["projects"] for block in dag.get("vars", []) if isinstance(block, dict) and "projects" in block]
    named = differences(projects, set(declared[0] or ())) if declared else ["there is no `projects` under `vars`"]
    refuse(root / "dvc.yaml", [*named, *wrong_artifacts(projects, dag.get("artifacts", {}))])


def refuse(path: Path, wrong: list[str]) -> None:
    """UserError with all that is wrong with a file."""
    if wrong:
        raise UserError(f"{path}: {'; '.join(wrong)}")


def checked_project(name: str) -> Project:
    """The project that a module defines; UserError where it defines no valid one."""
    from stages.projects._base import load_project

    path = f"stages/projects/{name}.py"
    try:
        project = load_project(name)
    except Exception as error:  # a module can raise anything
        raise UserError(f"{path}: {type(error).__name__}: {error}") from None
    if project.name != name:
        raise UserError(f"{path} defines a project named {project.name!r}: name it as the module")
    return project


def differences(projects: list[Project], found: set[str]) -> list[str]:
    """The projects that a file lacks, and those in it that have no module."""
    lacking = {project.name for project in projects} - found
    return [f"{name} is missing, copy the entry of another project" for name in sorted(lacking)] + unknown(projects, found)


def unknown(projects: list[Project], found: set[str]) -> list[str]:
    """The names in a file that no module has."""
    names = sorted(found - {project.name for project in projects})
    return [f"{name} has no module in stages/projects, add it or remove the entry" for name in names]


def invalid_blocks(projects: list[Project], params: dict[str, Any]) -> list[str]:
    """The keys of `base` and of the projects' blocks that are wrong."""
    from stages.core.params import PARAMS, Base, validated
    from stages.review.params import Params

    wrong = []
    models = {"base": Base} | {project.name: Params for project in projects if project.name in params}
    for name, model in models.items():
        try:
            validated(params.get(name), model, name)
        except UserError as error:
            wrong.append(str(error).removeprefix(f"{PARAMS}: "))
    return wrong


def wrong_artifacts(projects: list[Project], artifacts: dict[str, Any]) -> list[str]:
    """The entries under `artifacts` in dvc.yaml, which `dvc artifacts get` needs and nothing here does, that are wrong."""
    wrong = [f"artifacts.{name}" for name in unknown(projects, set(artifacts))]
    for project in projects:
        entry = {"path": f"models/{project.name}/model.joblib", "type": "model", "desc": project.question}
        if project.name in artifacts and artifacts[project.name] != entry:
            wrong.append(f"artifacts.{project.name} is {artifacts[project.name]}, but must be {entry}")
    return wrong

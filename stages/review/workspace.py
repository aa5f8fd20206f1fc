"""What is wrong with the projects and params of a workspace, found before anything runs."""

from __future__ import annotations

from pathlib import Path

from ruamel.yaml import YAML

from stages.core.cli import UserError
from stages.core.params import PARAMS, Base, Block, read_params, validated
from stages.evaluation.settings import Evaluate
from stages.explanation.settings import Explain
from stages.intake.settings import Ingest, Prepare
from stages.modeling.settings import Train
from stages.monitoring.settings import Drift
from stages.projects._base import load_project, project_names
from stages.promotion.settings import Promote
from stages.tuning.settings import Tune


class Params(Block):
    """All blocks of a project."""

    ingest: Ingest
    prepare: Prepare
    train: Train
    evaluate: Evaluate = Evaluate()
    explain: Explain = Explain()
    promote: Promote = Promote()
    drift: Drift = Drift()
    tune: Tune = Tune()


def check_workspace(root: Path = Path()) -> None:
    """UserError unless stages/projects, dvc.yaml and params.yaml hold the same projects and every block of params.yaml is
    valid, including those that no stage of the DAG reads. All errors of params.yaml are named at once.
    """
    names, path = project_names(), root / PARAMS
    for name in names:
        try:
            load_project(name)
        except (ValueError, TypeError) as error:
            raise UserError(f"stages/projects/{name}.py: {error}") from None
    document = read_params(path)
    wrong = []
    for place, block in {
        "base": document.get("base"),
        **{name: document[name] for name in names if name in document},
    }.items():
        try:
            validated(block, Base if place == "base" else Params, place, path)
        except UserError as error:
            wrong.append(str(error).removeprefix(f"{path}: "))
    if wrong:
        raise UserError(f"{path}: {'; '.join(wrong)}")
    check_names(names, document.keys() - {"base"}, path)
    check_names(names, drawn_projects(root / "dvc.yaml"), root / "dvc.yaml")


def check_names(names: list[str], found: set[str], path: Path) -> None:
    """UserError unless a file holds exactly the projects that have a module."""
    if missing := sorted(set(names) - found):
        raise UserError(f"{path} lacks {', '.join(missing)}, which stages/projects has: copy the entry of another project")
    if unknown := sorted(found - set(names)):
        raise UserError(
            f"{path} names {', '.join(unknown)}, for which stages/projects has no module: add it or remove the entry"
        )


def drawn_projects(path: Path) -> set[str]:
    """The projects that dvc.yaml runs the stages for."""
    document = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    found = [block["projects"] for block in document.get("vars", []) if isinstance(block, dict) and "projects" in block]
    if not found:
        raise UserError(f"{path} has no `projects` under `vars`")
    return set(found[0])

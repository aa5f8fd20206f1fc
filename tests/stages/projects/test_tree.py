"""The projects of this repository against dvc.yaml and params.yaml; a module of a project brings its tests."""

from __future__ import annotations

import pytest

from stages.core.params import load_block, load_seed
from stages.modeling.pipeline import build_model
from stages.modeling.settings import Train
from stages.projects._base import Project
from tests.samples import DAG, ROOT, STAGES
from tests.stages.test_dag import closure, covered, declared, outputs

REAL_PROJECTS = True
PLOTS = next(block["projects"] for block in DAG["vars"] if "projects" in block)


def test_every_project_has_its_model_among_the_artifacts(project: Project) -> None:
    path = f"models/{project.name}/model.joblib"
    assert DAG["artifacts"][project.name] == {"path": path, "type": "model", "desc": project.question}
    assert path in outputs(project.name, "train")


def test_the_params_of_every_project_are_valid_and_their_estimators_can_be_built(project: Project) -> None:
    path = ROOT / "params.yaml"
    train = load_block(project.name, "train", Train, path)
    for name in train.compared:
        build_model(project, name, train, load_seed(path))


def test_every_project_draws_the_plots_of_its_task(project: Project) -> None:
    (plots,) = (block[project.task] for block in DAG["vars"] if project.task in block)
    assert PLOTS[project.name] == plots


@pytest.mark.parametrize("stage", STAGES)
def test_every_module_that_a_stage_imports_is_covered_by_a_dep_and_every_dep_by_an_import(
    project: Project, stage: str
) -> None:
    listed = {path for path in declared(project.name, stage)["deps"] if path.startswith("stages/")}
    used = closure(f"stages/{stage}.py", f"stages/projects/{project.name}.py")
    assert {path for path in used if not covered(path, listed)} == set()
    assert {dep for dep in listed if not any(covered(path, {dep}) for path in used)} == set()

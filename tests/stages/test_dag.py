"""dvc.yaml against the code it runs, and a toy through DVC in a clone."""

from __future__ import annotations

import ast
import json
import re
import shutil
import sys
from contextlib import chdir
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from ruamel.yaml import YAML

from stages.projects._base import Project, load_project
from stages.promotion.dvc import outdated_stages
from tests.clones import run
from tests.samples import DAG, QUICK, ROOT, STAGES
from tests.verify import compare

TARGETS = [f"{stage}@toy" for stage in STAGES]


def declared(name: str, stage: str) -> dict[str, Any]:
    """What dvc.yaml says of a stage of a project."""
    text = json.dumps(DAG["stages"][stage]["do"]).replace("${key}", name)
    plots = next(block[load_project(name).task] for block in DAG["vars"] if load_project(name).task in block)
    found: dict[str, Any] = json.loads(re.sub(r"\$\{item\[(\d)\]\.(\w+)\}", lambda m: plots[int(m[1])][m[2]], text))
    return found


def paths_of(entries: list[Any]) -> set[str]:
    return {next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries}


def outputs(name: str, stage: str) -> set[str]:
    block = declared(name, stage)
    return set().union(*(paths_of(block.get(kind, [])) for kind in ("outs", "metrics", "plots")))


@cache
def imports_of(path: str) -> set[str]:
    """The modules of this repository that a module imports, at its top or inside a function, and the packages of those."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    places = [Path(*name.split(".")) for name in names if name.startswith("stages")]
    packages = {folder / "__init__" for place in places for folder in (place, *place.parents)}
    files = {f"{place}.py" for place in {*places, *packages}}
    return {file for file in files if (ROOT / file).exists() and (ROOT / file).stat().st_size}


def closure(*paths: str) -> set[str]:
    """The modules, all they import, and all that those import."""
    found: set[str] = set()
    waiting = set(paths)
    while waiting:
        found |= waiting
        waiting = set().union(*map(imports_of, waiting)) - found
    return found


def covered(path: str, deps: set[str]) -> bool:
    """Whether a module is one of these deps, or in a folder that is."""
    return any(path == dep or path.startswith(f"{dep}/") for dep in deps)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_lists_exactly_the_params_it_reads(stage: str) -> None:
    tree = ast.parse((ROOT / "stages" / f"{stage}.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    read = {f"toy.{ast.literal_eval(call.args[1])}" for call in calls if call.func.id == "load_block"}  # type: ignore[attr-defined]
    read |= {"base" for call in calls if call.func.id == "load_seed"}  # type: ignore[attr-defined]
    assert read == set(declared("toy", stage)["params"])


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_needs_only_the_files_it_depends_on_and_makes_only_those_it_declares(
    project: Project, stage: str, finished: Path, workspace: Path
) -> None:
    shutil.copy(finished / "params.yaml", workspace)
    block = declared(project.name, stage)
    needed = {path for path in block["deps"] if not path.startswith("stages/")}
    assert needed <= set().union(*(outputs(project.name, other) for other in STAGES[: STAGES.index(stage)]))
    for path in needed:
        (workspace / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(finished / path, workspace / path)
    import_module(f"stages.{stage}").main(project.name)
    folders = {path for path in outputs(project.name, stage) if (workspace / path).is_dir()}
    made = {str(path.relative_to(workspace)) for path in workspace.rglob("*") if path.is_file()}
    made = {next((folder for folder in folders if path.startswith(f"{folder}/")), path) for path in made}
    assert made - needed - {"params.yaml"} == outputs(project.name, stage)
    for plot in block.get("plots", []):
        ((path, drawn),) = plot.items()
        assert {drawn["x"], drawn["y"]} <= set(pd.read_csv(workspace / path)), path


def lock_of(clone: Path) -> dict[str, Any]:
    stages: dict[str, Any] = YAML(typ="safe").load((clone / "dvc.lock").read_text())["stages"]
    return {name: block for name, block in stages.items() if name.endswith("@toy")}


def test_a_project_runs_through_all_stages_and_a_second_time_through_none(clone: Path) -> None:
    assert set(lock_of(clone)) == set(TARGETS)
    assert set(re.findall(r"Running stage '(\w+@\w+)'", (clone / ".git" / "log").read_text())) == set(TARGETS)
    again = run(clone, "dvc", "repro", *TARGETS)
    assert "Running stage" not in again
    assert "up to date" in again
    assert run(clone, "git", "status", "--porcelain") == ""


def test_an_experiment_with_another_model_runs_only_what_comes_after_it(clone: Path) -> None:
    before = lock_of(clone)
    printed = run(clone, "dvc", "exp", "run", "-S", "toy.train.model=logistic_regression", "evaluate@toy")
    assert re.findall(r"Running stage '(\w+@\w+)'", printed) == ["train@toy", "evaluate@toy"]
    after = lock_of(clone)
    assert {name for name in after if after[name] != before[name]} == {"train@toy", "evaluate@toy"}
    assert json.loads((clone / "models/toy/manifest.json").read_text())["estimator"] == "logistic_regression"
    assert "logistic_regression" in run(clone, "dvc", "exp", "show", "--csv")


def outdated(clone: Path) -> set[str]:
    """The stages of the toy project whose code or params differ from those they ran with."""
    with chdir(clone):
        return {name.removesuffix("@toy") for name in outdated_stages(TARGETS)}


def test_a_changed_line_in_a_module_outdates_the_stages_that_list_it_or_its_folder(clone: Path) -> None:
    for module, stages in {
        "core/schema": set(STAGES),
        "intake/sources": {"ingest", "prepare"},
        "modeling/metrics": {"train", "export", "evaluate", "explain"},
        "exporting/trees": {"export"},
        "evaluation/curves": {"evaluate"},
        "explanation/card": {"explain"},
        "runtime/population": {"train", "export"},
        "runtime/scorer": {"export"},
        "export": {"export"},
    }.items():
        path = clone / "stages" / f"{module}.py"
        source = path.read_text()
        path.write_text(source + "CHANGED = 1\n")
        assert outdated(clone) == stages, module
        path.write_text(source)


def test_prose_caches_and_what_only_commands_outside_the_dag_read_outdate_no_stage(clone: Path) -> None:
    defaults = {
        "promotion": "coverage_tolerance: Share = 0.06",
        "monitoring": "gaps: Share = 0.04",
        "tuning": "log: bool = True",
    }
    for owner, default in defaults.items():
        path = clone / "stages" / owner / "settings.py"
        changed, count = re.subn(rf"(?<= ){default.partition(' = ')[0]} = .*", default, path.read_text())
        assert count == 1, owner
        path.write_text(changed)
    params = YAML(typ="safe").load((clone / "params.yaml").read_text())
    params["toy"] |= {"promote": {"floors": {"roc_auc": 0.1}}, "drift": {"max_gaps": 0.3}}
    params["toy"]["tune"] = {"hist_gradient_boosting": {"max_iter": {"low": 5, "high": 9}}}
    with (clone / "params.yaml").open("w") as file:
        YAML(typ="safe").dump(params, file)
    for place in (clone / "stages", clone / "stages" / "core", clone / "stages" / "modeling"):
        (place / "README.md").write_text("Prose.\n")
        (place / "__pycache__").mkdir(exist_ok=True)
        (place / "__pycache__" / "new.cpython-311.pyc").write_bytes(b"cache")
    assert outdated(clone) == set()
    params["toy"]["evaluate"]["resamples"] = 200
    with (clone / "params.yaml").open("w") as file:
        YAML(typ="safe").dump(params, file)
    assert outdated(clone) == {"evaluate"}


@pytest.mark.long
def test_another_hash_seed_gives_the_same_bytes(clone: Path) -> None:
    def hashes() -> dict[str, str]:
        return {out["path"]: out["md5"] for block in lock_of(clone).values() for out in block["outs"]}

    first = hashes()
    (clone / "dvc.lock").unlink()
    run(clone, "dvc", "repro", "--force", *TARGETS, hash_seed=2)
    assert len(first) >= 15
    assert compare(first, hashes()) == []


def test_a_saved_model_predicts_a_csv_in_another_process_as_it_does_the_rows_it_was_tested_on(clone: Path) -> None:
    pd.read_parquet(clone / "data/toy/test.parquet").to_csv(clone / "rows.csv", index=False)
    code = (
        "import joblib, pandas; model = joblib.load('models/toy/model.joblib'); "
        "frames = pandas.read_csv('rows.csv'), pandas.read_parquet('data/toy/test.parquet'); "
        "print(*(model.predict_proba(frame)[:, 1].tolist() for frame in frames), sep='\\n')"
    )
    text, typed = (json.loads(line) for line in run(clone, sys.executable, "-c", code).splitlines())
    assert text == typed
    assert len(set(text)) > 3
    assert 0 <= min(text) < max(text) <= 1


def test_plots_are_drawn_and_metrics_listed(clone: Path) -> None:
    plotted = [plot for stage in STAGES for plot in DAG["stages"][stage]["do"].get("plots", [])]
    files = [str(path.relative_to(clone)) for path in (clone / "reports/toy").rglob("*.csv")]
    printed = run(clone, "dvc", "plots", "show", *files)
    page = (clone / "dvc_plots" / "index.html").read_text()
    assert "fail" not in printed.lower()
    titles = set(re.findall(r'"text": "(toy: [^"]*)"', page))
    assert len(titles) == len(plotted)
    shown = run(clone, "dvc", "metrics", "show", "--json").splitlines()
    metrics = json.loads(next(line for line in shown if line.startswith("{")))[""]["data"]
    found = metrics["reports/toy/metrics.json"]["data"]["toy"]
    evaluation = json.loads((clone / "reports/toy/evaluation.json").read_text())
    assert found == {name: evaluation["metrics"][name]["value"] for name in found}
    assert len(found) == 6
    assert set(metrics) <= {f"reports/{name}/metrics.json" for name in ("toy", "toy_plain", "toy_price")}, (
        "scores of folds would fill `dvc exp show`"
    )
    assert QUICK["train"]["model"] in (clone / "reports/toy/live/metrics.json").read_text()

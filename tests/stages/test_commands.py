"""The commands where something is not as they need it: a file is missing or damaged, the clone is shallow, HEAD is detached,
the folder is another; and that what they push arrives in a bare Git remote and in a DVC remote.
"""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stages.runtime.identity import md5, outputs
from tests import toys
from tests.samples import raw_rows

NAME = "toy"
BATCH = "--batch=../a batch.csv"
LENIENT = {"margin": 0.9, "fairness_margin": 1.0, "max_ece": 0.9, "latency_ms": 500.0}
ARGUMENTS = {  # of every script
    "check": [], "ingest": [NAME], "prepare": [NAME], "train": [NAME], "export": [NAME], "evaluate": [NAME],
    "explain": [NAME], "tune": [NAME, "--trials=1"], "drift": [NAME, BATCH, "--dry-run"],
    "retrain": [NAME, BATCH, "--dry-run"], "promote": [NAME, "--dry-run"], "deploy": [NAME],
    "replay": ["--file=.git/logged.json"], "report": ["--base=HEAD~1"], "experiments": [NAME],
    "score": [NAME, "../a batch.csv", "../scores.parquet"], "summary": [],
}  # fmt: skip
CHECKED = ("check", "tune", "drift", "retrain", "promote", "deploy")  # they look at params.yaml and dvc.yaml first
STAGES = ("ingest", "prepare", "train", "export", "evaluate", "explain")
READERS = {  # the scripts that read a file
    "params.yaml": (*STAGES, *CHECKED, "report"),
    "dvc.yaml": (*CHECKED, "report"),
    "dvc.lock": ("promote", "report"),
    "data/toy/raw.parquet": ("prepare",),
    "data/toy/train.parquet": ("train", "export", "evaluate", "explain"),
    "reports/toy/data.json": ("train", "explain"),
    "reports/toy/evaluation.json": ("explain",),
    "models/toy/model.joblib": ("export", "evaluate", "explain"),
    "models/toy/manifest.json": ("evaluate", "explain", "drift", "summary"),
    "models/toy/plan.json": ("explain", "drift", "score"),
    "models/toy/reference.parquet": ("explain", "drift"),
}
CONTENTS = {
    "missing": None, "binary": b"\x89PNG\r\n\x1a\n\x00\xff\xfe\x80", "cut off": b'{"a": [1', "of another kind": b"{}\n"
}  # fmt: skip


def said(monkeypatch: pytest.MonkeyPatch, script: str) -> str:
    """What a script says on standard error as it ends with code 1; AssertionError where it ends otherwise."""
    monkeypatch.setattr(sys, "argv", [f"stages/{script}.py", *ARGUMENTS[script]])
    with pytest.raises(SystemExit) as stop:
        runpy.run_module(f"stages.{script}", run_name="__main__")
    assert isinstance(stop.value.code, str), f"{script} ended with {stop.value.code}"
    return stop.value.code


@pytest.fixture
def registered(repository: Path) -> Iterator[Path]:
    """The repository with its toys known to this process, and a batch beside it."""
    raw_rows(NAME, 300, seed=5).to_csv(repository.parent / "a batch.csv", index=False)
    with toys.known(repository / "stages" / "projects"):
        yield repository


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("file", READERS)
def test_a_file_that_is_missing_or_damaged_is_named_in_one_line(
    registered: Path, monkeypatch: pytest.MonkeyPatch, file: str, content: str
) -> None:
    (registered / file).unlink()
    if damaged := CONTENTS[content]:
        (registered / file).write_bytes(damaged)
    for script in READERS[file]:
        if content == "missing" and (script, file) == ("report", "dvc.lock"):
            continue  # it says so in the report
        message = said(monkeypatch, script)
        assert len(message.splitlines()) == 1, f"{script}: {message}"
        assert Path(file).name in message, f"{script}: {message}"


@pytest.mark.parametrize("script", ARGUMENTS)
def test_a_script_in_a_subfolder_says_where_to_run_it(
    registered: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    shutil.copy(registered.parent / "a batch.csv", registered)
    monkeypatch.chdir(registered / "reports")
    message = said(monkeypatch, script)
    assert len(message.splitlines()) == 1
    assert "the root of the repository" in message


@pytest.mark.parametrize("script", ["retrain", "promote", "deploy", "replay", "report", "experiments"])
def test_a_script_that_needs_git_says_so_in_one_line(registered: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    shutil.rmtree(registered / ".git")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(registered.parent))
    message = said(monkeypatch, script)
    assert len(message.splitlines()) == 1
    assert "not a git repository" in message


class Clone:
    """A clone of a bare repository in a folder with blanks, whose commands run as a user types them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        dropped = ("COV", "GITHUB", "VERITABLE", "PYTHONPATH")
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
        self.environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def run(self, *command: str, code: int = 0) -> str:
        """What a command says; AssertionError with that unless it ends with this code."""
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        assert done.returncode == code, f"{' '.join(command)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stderr if code else done.stdout

    def stage(self, script: str, *options: str, code: int = 0) -> str:
        """`python -m stages.X toy ...`"""
        return self.run("python", "-m", f"stages.{script}", NAME, *options, code=code)

    def refs(self, where: str = ".") -> dict[str, str]:
        """The main branch and the tags of a repository, with their hashes."""
        lines = self.run("git", "-C", where, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
        found = dict(line.split() for line in lines)
        return {ref: digest for ref, digest in found.items() if ref == "refs/heads/main" or ref.startswith("refs/tags/")}

    def outcome(self) -> dict[str, object]:
        """What commands left: Git's tree but for what holds times, the names of the tags, what is not committed, the events
        of the ledger, and the model that is installed.
        """
        tree = self.run("git", "ls-tree", "-r", "HEAD").splitlines()
        ledger = (self.folder / "reports" / NAME / "ledger.jsonl").read_text().splitlines()
        keys = ("event", "verdict", "accepted", "version", "hash")
        return {
            "tree": [line for line in tree if not line.endswith("ledger.jsonl")],
            "refs": sorted(self.refs()),
            "left": self.run("git", "status", "--porcelain"),
            "ledger": [{key: json.loads(line).get(key) for key in keys} for line in ledger],
            "model": md5(self.folder / "models" / NAME / "model.joblib"),
            "scratch": [path.name for path in (self.folder / "models").glob(".*") if path.name != ".gitignore"],
        }


@pytest.fixture
def clone(made: Path, tmp_path: Path) -> Clone:
    """A copy of the registered repository with lenient rules on the branch `main`, an `origin` and a DVC remote."""
    clone = Clone(tmp_path / "my clone")
    shutil.copytree(made, clone.folder, symlinks=True)
    params = clone.folder / "params.yaml"
    document = YAML(typ="safe").load(params)
    document[NAME] |= {"promote": LENIENT, "drift": {"retrain_on": ["loss", "pattern"]}}
    YAML(typ="safe").dump(document, params)
    clone.run("git", "init", "--quiet", "--bare", "--initial-branch", "main", "../origin.git")
    clone.run("git", "branch", "--move", "main")
    clone.run("git", "remote", "add", "origin", "../origin.git")
    clone.run("dvc", "remote", "add", "--quiet", "--default", "storage", "../dvc remote")
    clone.run("git", "commit", "--quiet", "--all", "--message", "Lenient rules")
    return clone


def test_what_is_promoted_retrained_and_rolled_back_is_pushed(clone: Clone, tmp_path: Path) -> None:
    clone.run("dvc", "push", "--quiet")
    assert "Accepted as v1.0.0" in clone.stage("promote", "--push")
    assert clone.refs() == clone.refs("../origin.git")

    frame = raw_rows(NAME, 300, seed=5)
    frame["late"] = (frame["weight"].fillna(8).rank(pct=True) < 0.4).astype(int)
    frame.to_csv(tmp_path / "a batch.csv", index=False)
    assert "v1.0.1" in clone.stage("retrain", BATCH, "--push")
    assert clone.refs() == clone.refs("../origin.git")
    recorded = outputs((clone.folder / "dvc.lock").read_bytes())
    pushed = {"".join(path.parts[-2:]) for path in (tmp_path / "dvc remote").rglob("*") if path.is_file()}
    assert {digest for path, digest in recorded.items() if path.startswith("models/toy/")} <= pushed

    clone.stage("deploy", "--version", "v1.0.0", "--reason", "Complaints.", "--push")
    assert clone.refs() == clone.refs("../origin.git")
    assert len([ref for ref in clone.refs() if "#prod#" in ref]) == 3


def test_a_shallow_clone_and_one_without_tags_are_told_what_to_fetch(clone: Clone, tmp_path: Path) -> None:
    clone.stage("promote", "--push")
    clone.stage("deploy", "--push")
    for options, advice in ((("--depth=1",), "git fetch --unshallow --tags"), (("--no-tags",), "git fetch --tags")):
        other = Clone(tmp_path / f"clone {options[0]}")
        clone.run("git", "clone", "--quiet", *options, (tmp_path / "origin.git").as_uri(), str(other.folder))
        shutil.copytree(clone.folder / ".dvc" / "cache", other.folder / ".dvc" / "cache")
        other.run("dvc", "checkout", "--quiet", "--relink", *(f"{stage}@{NAME}" for stage in STAGES))
        before = other.refs()
        message = other.stage("promote", code=1)
        assert advice in message
        assert len(message.splitlines()) == 1
        assert other.refs() == before
        other.run(*advice.split())
        assert "nothing to decide" in other.stage("promote")


def test_a_push_that_would_fail_is_refused_before_anything_changes(clone: Clone) -> None:
    clone.stage("promote", "--push")
    before = clone.refs()
    clone.run("git", "checkout", "--quiet", "--detach")
    assert "HEAD is detached" in clone.stage("deploy", "--push", code=1)
    clone.run("git", "checkout", "--quiet", "main")
    clone.run("git", "remote", "remove", "origin")
    assert "no remote `origin`" in clone.stage("deploy", "--push", code=1)
    clone.run("git", "remote", "add", "origin", "../nowhere.git")
    assert "nowhere.git" in clone.stage("deploy", "--push", code=1)
    assert clone.refs() == before
    assert not clone.run("git", "log", "--format=%H", "main..HEAD")


def test_a_clone_that_is_behind_its_origin_is_told_what_to_fetch(clone: Clone, tmp_path: Path) -> None:
    clone.stage("promote", "--push")
    other = Clone(tmp_path / "another clone")
    clone.run("git", "clone", "--quiet", "../origin.git", str(other.folder))
    other.run("git", "commit", "--quiet", "--allow-empty", "--message", "Of somebody else")
    other.run("git", "tag", "toy@v9.0.0", "--message", "Of somebody else")
    other.run("git", "push", "--quiet", "origin", "main", "toy@v9.0.0")
    before = clone.refs()
    for advice in ("git pull --rebase origin main", "git fetch --tags"):
        assert advice in clone.stage("deploy", "--push", code=1)
        assert clone.refs() == before
        clone.run(*advice.split(), *(["--quiet", "--no-tags"] if "pull" in advice else []))
        before = clone.refs()
    clone.stage("deploy", "--push")
    assert clone.refs() == clone.refs("../origin.git")


KILLED_AT = (  # in turn, after each of these functions
    "promotion.record.propose", "promotion.ledger.append", "promotion.tags.register", "promotion.tags.assign",
    "promotion.installation.fetch", "promotion.installation.swap_in", "promotion.ledger.append", "promotion.dvc.push_data",
    "promotion.tags.push",
)  # fmt: skip
KILLED = """
import importlib, os, runpy, signal, sys
name = sys.argv.pop(1)
module = importlib.import_module("stages." + name.rpartition(".")[0])
function = getattr(module, name.rpartition(".")[2])
def and_die(*arguments, **named):
    function(*arguments, **named)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(module, function.__name__, and_die)
runpy.run_module("stages.retrain", run_name="__main__", alter_sys=True)
"""


@pytest.mark.long
def test_a_retrain_that_is_killed_at_gate_tag_deploy_and_push_ends_as_an_undisturbed_one(
    clone: Clone, tmp_path: Path
) -> None:
    clone.run("dvc", "push", "--quiet")
    clone.stage("promote", "--push")
    frame = raw_rows(NAME, 300, seed=5)
    frame["late"] = (frame["weight"].fillna(8).rank(pct=True) < 0.4).astype(int)
    frame.to_csv(tmp_path / "a batch.csv", index=False)
    undisturbed = Clone(tmp_path / "undisturbed" / "my clone")
    shutil.copytree(clone.folder, undisturbed.folder, symlinks=True)
    shutil.copytree(tmp_path / "origin.git", tmp_path / "undisturbed" / "origin.git")
    shutil.copytree(tmp_path / "dvc remote", tmp_path / "undisturbed" / "dvc remote")
    shutil.copy(tmp_path / "a batch.csv", tmp_path / "undisturbed")
    undisturbed.stage("retrain", BATCH, "--push")

    for place in KILLED_AT:
        clone.run("python", "-c", KILLED, place, NAME, BATCH, "--push", code=-9)
    clone.stage("retrain", BATCH, "--push")
    assert clone.outcome() == undisturbed.outcome()
    assert clone.refs() == clone.refs("../origin.git")


def test_a_dry_run_of_promote_needs_no_commit(clone: Clone) -> None:
    with (clone.folder / "stages" / "README.md").open("a") as file:
        file.write("\nMine.\n")
    assert "Accepted as v1.0.0" in clone.stage("promote", "--dry-run")
    assert "lacks stages/README.md" in clone.stage("promote", code=1)
    assert not [ref for ref in clone.refs() if ref.startswith("refs/tags/")]

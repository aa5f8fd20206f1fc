"""A model's life, told once from the command line: trained, promoted, challenged in vain, replaced, taken back, served again
elsewhere. A clone, a bare Git remote, an S3 remote for DVC and a server of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import fsspec
import httpx
import pytest

from tests.clones import copy_pipeline
from tests.conftest import S3Server
from tests.serve.checkout import example
from tests.serve.process import Server

SETTINGS = {"promote": {"floors": {"roc_auc": 0.6}, "latency_ms": 1000, "fairness_margin": 0.5}}
TRAIN = {
    "model": "logistic_regression", "candidates": ["logistic_regression"], "folds": 2, "calibration": "sigmoid",
    "logistic_regression": {"C": 1.0}, "hist_gradient_boosting": {"max_iter": 1, "max_leaf_nodes": 2},
}  # fmt: skip


@dataclass
class Clone:
    """A clone whose commands run as a user types them."""

    folder: Path
    environment: dict[str, str]

    def run(self, *command: str, code: int = 0) -> str:
        """What a command prints; AssertionError with all that it said unless it ends with this code."""
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        assert done.returncode == code, f"{' '.join(command)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def stage(self, *arguments: str, code: int = 0) -> str:
        """`python -m stages.X toy ...`"""
        script, *options = arguments
        return self.run("python", "-m", f"stages.{script}", "toy", *options, code=code)

    def experiment(self, message: str, *settings: str) -> None:
        """`dvc exp run`, then a commit."""
        self.run("dvc", "exp", "run", *(part for setting in settings for part in ("-S", setting)), *TARGETS)
        self.run("git", "commit", "--quiet", "--all", "--message", message)

    def ledger(self) -> list[dict[str, object]]:
        """What was decided, in order."""
        lines = (self.folder / "reports" / "toy" / "ledger.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]


TARGETS = ("explain@toy",)


@pytest.fixture
def clone(tmp_path: Path, s3: S3Server) -> Clone:
    """The pipeline with quick settings in a clone of a bare repository, with a DVC remote on S3."""
    dropped = ("COV", "GITHUB", "AWS", "PYTHONPATH")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    environment |= s3.credentials | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment |= {
        f"GIT_{role}_{part}": "tess@example.org" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")
    }
    folder = tmp_path / "clone"
    clone = Clone(folder, environment)
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch", "main", tmp_path / "origin.git"], check=True)
    subprocess.run(["git", "clone", "--quiet", tmp_path / "origin.git", folder], check=True, stderr=subprocess.DEVNULL)
    copy_pipeline(folder, train=TRAIN, ingest={"sources": ["simulate?rows=3000"]}, **SETTINGS)
    store = fsspec.filesystem("s3", endpoint_url=s3.url, **{"key": "test", "secret": "test"})
    store.mkdir(tmp_path.name)
    clone.run("dvc", "remote", "add", "--quiet", "--default", "storage", f"s3://{tmp_path.name}/cache")
    clone.run("git", "checkout", "--quiet", "-b", "main")
    clone.run("git", "add", ".")
    clone.run("git", "commit", "--quiet", "--message", "Begin")
    clone.run("dvc", "remote", "modify", "--quiet", "--local", "storage", "endpointurl", s3.url)
    return clone


@pytest.mark.long
def test_a_model_is_promoted_challenged_replaced_taken_back_and_served_elsewhere(
    clone: Clone, tmp_path: Path, s3: S3Server
) -> None:
    clone.run("dvc", "repro", *TARGETS)
    clone.run("git", "add", ".")
    clone.run("git", "commit", "--quiet", "--message", "Train a logistic regression")
    assert "Accepted as v1.0.0" in clone.stage("promote", "--push")
    clone.run("dvc", "push", "--quiet")

    clone.environment |= {"VERITABLE_ADMIN_TOKEN": "letmein-for-tests"}
    (tmp_path / "server").mkdir()
    settings = {"SERVE_PROJECTS": '["toy"]', "SERVE_ADMIN_TOKEN": "letmein-for-tests", "SERVE_REVISION": ""}
    with Server(clone.folder, tmp_path / "server", **settings) as server:
        deploy = ("deploy", "--server", server.url)

        def predict() -> dict[str, object]:
            answer = httpx.post(f"{server.url}/v1/toy/predict", json=example("toy")).raise_for_status()
            return dict(answer.json())

        first = predict()
        assert first["model"]["version"] == "v1.0.0"  # type: ignore[index]

        clone.experiment("Try a stump", "toy.train.model=hist_gradient_boosting")
        clone.stage("promote", code=3)
        assert predict()["model"] == first["model"], "a refused model must not be served"

        better = ("max_iter=60", "max_leaf_nodes=8")
        clone.experiment("Let it grow", *(f"toy.train.hist_gradient_boosting.{setting}" for setting in better))
        assert "Accepted as v1.1.0" in clone.stage("promote", "--push")
        clone.run("dvc", "push", "--quiet")
        clone.stage(*deploy)
        second = predict()
        assert second["model"]["version"] == "v1.1.0"  # type: ignore[index]
        assert second["probability"] != first["probability"]

        clone.stage(*deploy, "--version", "v1.0.0", "--reason", "Complaints about v1.1.0.", "--push")
        back = predict()
        assert back["model"]["version"] == "v1.0.0"  # type: ignore[index]
        assert back["probability"] == first["probability"]
        state = httpx.get(f"{server.url}/v1/toy").json()
        assert (state["version"], state["stage"]) == ("v1.0.0", "prod")
        told = httpx.get(f"{server.url}/v1/toy/history").json()["events"]
        for answer in (first, second):
            replayed = clone.run("python", "-m", "stages.replay", str(answer["prediction_id"]), "--url", server.url)
            assert replayed.endswith("\nidentical\n")

    story = clone.ledger()
    assert [(entry["event"], entry.get("accepted"), entry["version"]) for entry in story] == [
        ("promotion", True, "v1.0.0"),
        ("promotion", False, None),
        ("promotion", True, "v1.1.0"),
        ("deployment", None, "v1.1.0"),
        ("deployment", None, "v1.0.0"),
    ]
    assert "comparison" in str(story[1]["reason"])
    assert story[-1]["reason"] == "Complaints about v1.1.0."
    assert [event["reason"] for event in told] == [entry["reason"] for entry in story[::-1]]

    other = Clone(tmp_path / "other", clone.environment)
    subprocess.run(["git", "clone", "--quiet", tmp_path / "origin.git", other.folder], check=True)
    other.run("dvc", "remote", "modify", "--quiet", "--local", "storage", "endpointurl", s3.url)
    other.stage("deploy")
    (tmp_path / "elsewhere").mkdir()
    with Server(other.folder, tmp_path / "elsewhere", SERVE_PROJECTS='["toy"]', SERVE_REVISION="") as server:
        answer = httpx.post(f"{server.url}/v1/toy/predict", json=example("toy")).json()
    assert answer["probability"] == first["probability"]
    assert answer["model"] == back["model"]

"""What was versioned before the modules moved: replayed, deployed, compared with and checked against by today's code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stages import deploy, drift, promote, replay
from stages.core.cli import UserError
from stages.core.files import read_json
from stages.promotion import checkout, ledger, tags
from stages.promotion.code_changes import LAYOUT
from stages.promotion.git import git
from stages.promotion.proposal import propose
from tests.clones import run
from tests.samples import raw_rows
from tests.shared import shared, shared_base
from tests.stages import past
from tests.stages.conftest import COVERAGE, ELSEWHERE

REAL_PROJECTS = True
pytestmark = pytest.mark.long
NAME = "telecom"
MODEL = Path("models", NAME)


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The repository of `past.make`, made by the first worker that needs it; only to be copied."""
    return shared(shared_base(tmp_path_factory, worker_id), "past", past.make)


@pytest.fixture(autouse=True)
def repository(moved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it as the current folder."""
    folder = shutil.copytree(moved, tmp_path / "repository", symlinks=True)
    monkeypatch.chdir(folder)
    for name in (*ELSEWHERE, *COVERAGE):
        monkeypatch.delenv(name, raising=False)
    return folder


def deploy_telecom(version: str) -> None:
    deploy.main(NAME, "prod", version, "", push=False, server=None)


def logged() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(".git/prediction.json").read_text())
    return found


def test_the_layouts_differ_and_the_tags_are_of_the_old_one() -> None:
    old = tags.find(NAME, past.OLD)
    assert tags.in_stage(NAME) == old
    with checkout.tree(old.revision) as folder:
        assert (folder / "stages" / "pipeline.py").exists()
        assert not (folder / "stages" / "modeling").exists()
    assert not Path("stages/pipeline.py").exists()


@pytest.mark.parametrize("retrain", [False, True])
def test_a_prediction_of_that_time_is_replayed_bit_for_bit(retrain: bool, capsys: pytest.CaptureFixture[str]) -> None:
    assert git("ls-tree", "--name-only", logged()["revision"], "stages/pipeline.py")
    code, failure = None, ""
    try:
        code = replay.main(None, Path(".git/prediction.json"), "", None, retrain)
    except UserError as error:
        failure = str(error)
    if retrain and failure and "avx512f" in Path("/proc/cpuinfo").read_text():
        # That code left the choice of BLAS kernels to the processor, and the version was made on one without AVX-512: here
        # the Brier score and the log-loss in the manifest may differ in their last digit, and nothing else.
        assert failure.startswith(f"{MODEL}/manifest.json came out different")
    else:
        assert (code, failure) == (0, "")
        assert capsys.readouterr().out.endswith("\nidentical\n")


def test_an_old_script_runs_with_the_code_and_the_settings_of_its_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    old = tags.find(NAME, past.OLD)
    with checkout.tree(old.revision) as folder:
        (folder / "stages" / "where.py").write_text(
            "import json, os, stages\n"
            "kept = {k: v for k, v in os.environ.items() if k.split('_')[0] in ('OMP', 'OPENBLAS', 'MKL', 'NPY')}\n"
            "json.dump([stages.__file__, kept], open('found.json', 'w'))\n"
        )
        checkout.run_script(folder, "stages.where")
        file, settings = json.loads((folder / "found.json").read_text())
        assert Path(file) == folder.resolve() / "stages" / "__init__.py"
    assert settings == {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def test_todays_code_rolls_back_to_a_version_of_that_time_that_it_can_score(capsys: pytest.CaptureFixture[str]) -> None:
    promote.main(NAME)
    deploy.main(NAME, "prod", None, "", push=False, server=None)
    deploy_telecom(past.OLD)
    assert read_json(MODEL / "deployment.json")["version"] == past.OLD
    assert tags.in_stage(NAME) == tags.find(NAME, past.OLD)
    assert not {"samples.json", "synthetic.json"} & {path.name for path in Path("reports", NAME).iterdir()}
    row = pd.DataFrame([logged()["input"]])
    assert checkout.score_rows(Path(), NAME, row)[0] == logged()["output"]["probability"]
    raw_rows(NAME, 300, 5).to_parquet("batch.parquet")
    assert drift.main(NAME, "batch.parquet", html=False) in drift.CODES.values()
    assert ledger.read(NAME)[-1]["hash"] == checkout.model_hash_at(NAME, tags.find(NAME, past.OLD).revision)


def test_a_version_of_that_time_that_needs_its_own_code_is_served_from_a_worktree(repository: Path) -> None:
    with pytest.raises(UserError, match=r"v1\.0\.1 does not work with .*only its own code scores it") as refusal:
        deploy_telecom(past.BROKEN)
    assert tags.in_stage(NAME) == tags.find(NAME, past.OLD)
    command = str(refusal.value).split("`")[3]
    assert command == "git worktree add ../telecom-v1.0.1 telecom@v1.0.1"
    run(repository, *command.split())
    worktree = repository.parent / "telecom-v1.0.1"
    run(worktree, "dvc", "cache", "dir", "--local", str(repository / ".dvc" / "cache"))
    run(worktree, "dvc", "checkout", "--quiet", "train@telecom", "export@telecom")
    score = checkout.score_rows(worktree, NAME, pd.DataFrame([logged()["input"]]))[0]
    assert score == pytest.approx(logged()["output"]["probability"], rel=1e-9)


def test_a_batch_is_checked_against_the_model_that_todays_code_trained() -> None:
    raw_rows(NAME, 300, 5).to_parquet("batch.parquet")
    assert drift.main(NAME, "batch.parquet", html=False) in drift.CODES.values()
    (entry,) = (entry for entry in ledger.read(NAME) if entry["event"] == "drift")
    assert entry["hash"] == checkout.model_hash_at(NAME, "HEAD")


def test_a_challenger_of_today_is_compared_with_the_champion_of_that_time_and_the_move_counts_once() -> None:
    proposal = propose(NAME)
    assert proposal.champion == tags.find(NAME, past.OLD)
    assert proposal.comparison is not None
    assert proposal.comparison.rows == 100
    assert proposal.version == "v1.1.0"
    assert LAYOUT in proposal.decision.reason
    assert "stages/pipeline.py" not in proposal.decision.reason
    assert promote.main(NAME) is None
    assert [entry["version"] for entry in ledger.read(NAME)] == [past.OLD, "v1.1.0"]
    held = tags.in_stage(NAME)
    assert held is not None
    assert held.version == "v1.1.0"

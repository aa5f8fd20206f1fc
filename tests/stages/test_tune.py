from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
from ruamel.yaml import YAML
from sklearn.model_selection import cross_val_score

from stages.core.cli import UserError
from stages.core.params import load_block, load_seed
from stages.modeling.pipeline import RowFeatures, build_model, make_folds
from stages.modeling.settings import Train
from stages.projects._base import load_project
from stages.runtime.identity import outputs
from stages.runtime.wording import metric, words
from stages.tune import main
from tests.clones import run
from tests.samples import records, write_params
from tests.stages.conftest import copy_dag
from tests.stages.modeling.test_parallel import cluster
from tests.toys import PYTHONPATH, TOYS

SPACE: dict[str, Any] = {
    "hist_gradient_boosting": {
        "learning_rate": {"low": 0.01, "high": 0.5, "log": True},
        "max_iter": {"low": 5, "high": 40},
        "max_leaf_nodes": {"low": 2, "high": 8},
    },
    "voting": {
        "members.random_forest": {"low": 0.0, "high": 2.0},
        "random_forest.n_estimators": {"low": 2, "high": 6},
        "random_forest.bootstrap": {"choices": [True, False]},
    },
}
SCORING = {"toy": "roc_auc", "toy_plain": "neg_root_mean_squared_error"}


def add_space(folder: Path, name: str, space: dict[str, Any]) -> None:
    yaml = YAML(typ="safe")
    params = yaml.load(folder / "params.yaml")
    params[name]["tune"] = space
    yaml.dump(params, folder / "params.yaml")


def prepare(folder: Path, name: str, space: dict[str, Any] = SPACE, **train: Any) -> None:
    """Rows to train on, and none to test on, with a space to tune in."""
    members = {"random_forest": 1, "hist_gradient_boosting": 1}
    write_params(folder, *TOYS, train={"voting": {"members": members}, **train})
    copy_dag(folder)
    add_space(folder, name, space)
    (folder / "data" / name).mkdir(parents=True, exist_ok=True)
    records(name, 150).to_parquet(folder / "data" / name / "train.parquet")


def tried(folder: Path, name: str) -> list[list[tuple[dict[str, Any], float | None, str]]]:
    """Values, score and state of the trials of every study."""
    storage = f"sqlite:///{folder}/reports/{name}/tune.db"
    studies = [optuna.load_study(study_name=name, storage=storage) for name in optuna.get_all_study_names(storage)]
    return [[(trial.user_attrs["values"], trial.value, trial.state.name) for trial in study.trials] for study in studies]


def scored(name: str, estimator: str) -> float:
    """What scikit-learn makes of the settings in params.yaml."""
    project, train, seed = load_project(name), load_block(name, "train", Train), load_seed()
    frame = records(name, 150)
    model = build_model(project, estimator, train, seed)
    folds = make_folds(project, frame, train.folds, seed)
    features = RowFeatures(name).transform(frame)
    score = cross_val_score(model, features, frame[project.target].to_numpy(), cv=folds, scoring=SCORING[name]).mean()
    return float(score if project.task == "classification" else -score)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "estimator"), [("toy_plain", "hist_gradient_boosting"), ("toy", "voting")])
def test_the_best_settings_found_are_written_down_and_score_as_they_were_scored(
    workspace: Path, capsys: pytest.CaptureFixture[str], name: str, estimator: str
) -> None:
    prepare(workspace, name, model=estimator)
    before = scored(name, estimator)
    assert main(name, trials=10, jobs=1) is None
    ((first, *others),) = tried(workspace, name)
    after = scored(name, estimator)
    assert len(others) == 9
    assert first[1] == pytest.approx(before, rel=1e-12)
    scores = [score for _, score, _ in (first, *others) if score is not None]
    assert after == pytest.approx(max(scores) if name == "toy" else min(scores), rel=1e-12)
    assert after != before
    printed = capsys.readouterr().out
    project = load_project(name)
    first_text, last_text = (metric(score, project.primary_metric, project.unit, 4) for score in (before, after))
    assert f"has {words(project.primary_metric)} {first_text} with the settings in params.yaml" in printed
    assert f"and {last_text} with the best of 10 trials" in printed
    assert f"{name}: the trials are no DVC experiments: `git for-each-ref` failed: fatal: not a git repository" in printed


@pytest.mark.long
def test_neither_the_number_of_jobs_nor_a_dask_cluster_changes_a_result(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = []
    with cluster(1) as address:
        for jobs in ("1", "2", "dask"):
            if jobs == "dask":
                monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", address)
            folder = workspace / jobs
            folder.mkdir()
            prepare(folder, "toy")
            done = tune(folder, "toy", "--trials", "6", *(("--jobs", jobs) if jobs != "dask" else ()), hash_seed=len(jobs))
            results.append(((folder / "params.yaml").read_text(), tried(folder, "toy"), done.stdout))
    assert results[0] == results[1] == results[2]


@pytest.mark.slow
def test_settings_that_nothing_beats_stay_as_they_are(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare(workspace, "toy_plain", {"hist_gradient_boosting": {"max_iter": {"low": 1, "high": 2}}})
    text = Path("params.yaml").read_text()
    main("toy_plain", trials=4)
    assert Path("params.yaml").read_text() == text
    assert "none of 4 trials is better" in capsys.readouterr().out


@pytest.mark.slow
def test_other_data_and_another_space_begin_another_study_and_a_better_start_does_not(workspace: Path) -> None:
    prepare(workspace, "toy_plain")
    text = Path("params.yaml").read_text()
    for trials in (5, 9):
        main("toy_plain", trials=trials)
    assert Path("params.yaml").read_text() != text
    assert [len(study) for study in tried(workspace, "toy_plain")] == [9]
    records("toy_plain", 120).to_parquet("data/toy_plain/train.parquet")
    main("toy_plain", trials=2)
    add_space(workspace, "toy_plain", {"hist_gradient_boosting": {"max_iter": {"low": 5, "high": 41}}})
    main("toy_plain", trials=3)
    main("toy_plain", trials=3)
    assert [len(study) for study in tried(workspace, "toy_plain")] == [9, 2, 3]


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        ({"model": "best"}, {}, r"no toy\.tune\.best: .* --model: hist_gradient_boosting, voting"),
        ({}, {"model": "random_forest"}, r"no toy\.tune\.random_forest"),
        ({"space": {}}, {}, "--model: none yet"),
        ({"space": {"voting": {"members.ridge": {"low": 1, "high": 2}}}}, {"model": "voting"}, "ridge does no class"),
        ({"space": {"hist_gradient_boosting": {"max_iter": {"low": -1, "high": 2}}}}, {}, "'max_iter' parameter"),
        pytest.param(
            {"space": {"voting": {f"members.{key}": {"low": 0, "high": 1} for key in ("random_forest", "extra_trees")}},
             "voting": {"members": {"random_forest": 1}}},
            {"model": "voting"},
            r"voting cannot be fitted everywhere in toy\.tune\.voting: Weights sum to zero",
            marks=pytest.mark.slow,
        ),
    ],
)  # fmt: skip
def test_a_search_that_cannot_be_is_one_clear_sentence(
    workspace: Path, change: dict[str, Any], arguments: dict[str, Any], message: str
) -> None:
    prepare(workspace, "toy", **change)
    with pytest.raises(UserError, match=message):
        main("toy", trials=40, **arguments)


def test_without_training_rows_it_says_how_to_get_them(workspace: Path) -> None:
    prepare(workspace, "toy")
    Path("data/toy/train.parquet").unlink()
    with pytest.raises(UserError, match=r"train\.parquet is missing .*`dvc repro`"):
        main("toy")


def environment(hash_seed: int = 0) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": PYTHONPATH, "PYTHONHASHSEED": str(hash_seed)}


def tune(folder: Path, *arguments: str, hash_seed: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stages.tune", *arguments]
    return subprocess.run(command, cwd=folder, env=environment(hash_seed), capture_output=True, text=True, check=True)


@pytest.mark.long
def test_after_ctrl_c_the_same_command_ends_as_if_nothing_had_been(workspace: Path) -> None:
    command = [sys.executable, "-m", "stages.tune", "toy", "--trials", "5000"]
    folders = workspace / "interrupted", workspace / "whole"
    for folder in folders:
        folder.mkdir()
        prepare(folder, "toy")
    process = subprocess.Popen(
        command, cwd=folders[0], env=environment(), stdout=subprocess.PIPE, text=True, preexec_fn=heed_ctrl_c
    )
    try:
        wait_for_trials(folders[0], "toy", 3)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    done = len(tried(folders[0], "toy")[0])
    assert process.returncode == 130, said
    assert f"interrupted with {done} of 5000 trials done; the same command resumes" in said
    for folder in folders:
        tune(folder, "toy", "--trials", str(done + 6))
    interrupted, whole = (((folder / "params.yaml").read_text(), tried(folder, "toy")) for folder in folders)
    assert interrupted == whole
    assert len(whole[1][0]) == done + 6


def heed_ctrl_c() -> None:
    """What a shell starts in the background ignores Ctrl-C, and hands that down."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for_trials(folder: Path, name: str, count: int) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            if len(tried(folder, name)[0]) >= count:
                return
        except Exception:  # the database is being made
            pass
        time.sleep(0.02)
    raise AssertionError("no trials came")


def test_better_trials_become_experiments_and_the_workspace_stays_as_it_was(clone: Path) -> None:
    start = {"max_iter": 2, "max_leaf_nodes": 4}
    space = {"max_iter": {"low": 30, "high": 60}, "l2_regularization": {"low": 0.1, "high": 9}}
    yaml = YAML(typ="safe")
    params = yaml.load(clone / "params.yaml")
    params["toy"]["train"]["hist_gradient_boosting"] = start
    params["toy"]["tune"] = {"hist_gradient_boosting": space}
    yaml.dump(params, clone / "params.yaml")
    run(clone, "git", "commit", "--quiet", "--all", "--message", "Begin badly")
    with (clone / "dvc.yaml").open("a") as file:
        file.write("# staged\n")
    run(clone, "git", "add", "dvc.yaml")
    (clone / ".dvcignore").write_text("# changed\n")
    (clone / "notes.txt").write_text("untracked\n")
    before = run(clone, "git", "status", "--porcelain").splitlines()
    command = ("python", "-m", "stages.tune", "toy", "--trials", "2")
    printed = run(clone, *command)
    assert "no DVC experiments" not in printed
    assert "experiment 1 of 1: tune-toy-" in printed
    assert set(run(clone, "git", "status", "--porcelain").splitlines()) == {*before, " M params.yaml"}
    ((_, (values, score, _)),) = tried(clone, "toy")
    (name,) = run(clone, "dvc", "exp", "list", "--name-only").split()
    assert re.fullmatch(r"tune-toy-[0-9a-f]{6}-1", name)
    (revision,) = run(clone, "git", "for-each-ref", "--format=%(objectname)", "refs/exps").split()
    train = yaml.load(run(clone, "git", "show", f"{revision}:params.yaml"))["toy"]["train"]
    assert train["hist_gradient_boosting"] == {**start, **values}
    digest = outputs(run(clone, "git", "show", f"{revision}:dvc.lock").encode())["reports/toy/leaderboard.json"]
    board = json.loads((clone / ".dvc" / "cache" / "files" / "md5" / digest[:2] / digest[2:]).read_text())
    means = {row["candidate"]: row["metrics"]["roc_auc"]["mean"] for row in board["candidates"]}
    assert means["hist_gradient_boosting"] == pytest.approx(score, rel=1e-12)
    run(clone, "git", "checkout", "params.yaml")
    (clone / "reports" / "toy" / "tune.db").unlink()
    assert "no DVC experiments" not in run(clone, *command), "tuned again, it is the same experiment"
    assert run(clone, "git", "for-each-ref", "--format=%(objectname)", "refs/exps").split() == [revision]

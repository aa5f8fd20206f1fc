from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.core.files import read_json
from stages.modeling.pipeline import predict_scores
from stages.projects._base import Project
from stages.promotion import checkout
from stages.promotion.evidence import (
    Model,
    Terms,
    contest,
    known_rows,
    median_ms,
    meet_champion,
    rows_trained_on,
    try_artifact,
)
from stages.promotion.gate import Comparison, check_artifact
from stages.promotion.settings import Promote
from stages.promotion.tags import Version
from tests.samples import records
from tests.toys import toy

PARCELS, BOATS = toy(), toy("toy_price")
TERMS = Terms(Promote(), resamples=100, seed=0)


@pytest.fixture
def artifact(checkout: Path, tmp_path: Path) -> tuple[Path, pd.DataFrame]:
    """A copy of a small toy model, and its test rows."""
    shutil.copytree(checkout / "models" / "toy", tmp_path / "model")
    return tmp_path / "model", pd.read_parquet(checkout / "data" / "toy" / "test.parquet")


def test_an_exported_model_is_scored_as_it_is_served_and_timed(artifact: tuple[Path, pd.DataFrame]) -> None:
    import joblib

    folder, test = artifact
    scores, found = try_artifact(PARCELS, folder, test)
    assert scores == pytest.approx(predict_scores(joblib.load(folder / "model.joblib"), test, PARCELS), rel=1e-9)
    assert not found.broken
    assert 0 <= found.difference < 1e-9
    assert found.probe < 1e-9
    assert 0 < found.latency_ms < 50
    assert check_artifact(found, Promote(latency_ms=50)).passed is True


@pytest.mark.parametrize("file", ["model.joblib", "plan.json", "scorer.onnx"])
def test_a_broken_or_missing_file_is_a_finding_and_no_crash(artifact: tuple[Path, pd.DataFrame], file: str) -> None:
    folder, test = artifact
    (folder / file).write_bytes(b"no model")
    for _ in range(2):
        scores, found = try_artifact(PARCELS, folder, test)
        assert isinstance(scores, str)
        assert found.broken
        assert check_artifact(found, Promote()).passed is False
        (folder / file).unlink(missing_ok=True)


def test_scores_that_are_no_numbers_are_a_finding(
    artifact: tuple[Path, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, test = artifact
    monkeypatch.setattr(
        "stages.promotion.evidence.Scorer.score", lambda scorer, columns: np.full(len(columns["value"]), np.nan)
    )
    scores, found = try_artifact(PARCELS, folder, test)
    assert isinstance(scores, str)
    assert found.broken == "ValueError: it gives scores that are no numbers"


def test_a_known_row_that_scores_otherwise_is_found(artifact: tuple[Path, pd.DataFrame]) -> None:
    folder, test = artifact
    plan = read_json(folder / "plan.json")
    plan["probe"]["score"] *= 1.001
    (folder / "plan.json").write_text(json.dumps(plan))
    _, found = try_artifact(PARCELS, folder, test)
    assert found.probe == pytest.approx(0.001, rel=0.01)


def test_the_first_row_only_warms_up() -> None:
    asked: list[int] = []
    assert median_ms(asked.append, [3, 1, 2]) >= 0
    assert asked == [3, 1, 2]
    times = iter([0.0, 9.0, 9.0, 9.001, 10.0, 10.003, 11.0, 11.002])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.perf_counter", lambda: next(times))
        assert median_ms(lambda row: None, [0, 1, 2, 3]) == pytest.approx(2)


def test_known_rows_are_found_whatever_their_order_and_their_types() -> None:
    frame = records(PARCELS, 300)
    seen = frame.iloc[::-3].drop(columns="source").astype({"distance": float, "insured": "str"})
    known = known_rows(PARCELS, seen, frame)
    assert known.sum() == len(seen)
    assert set(frame.index[known]) == set(seen.index)
    changed = frame.assign(value=frame["value"] + 0.01)
    assert not known_rows(PARCELS, changed, frame).any()
    assert not known_rows(PARCELS, frame[:0], frame).any()
    assert known_rows(PARCELS, frame.drop(columns="weight"), frame).all()


def test_a_row_about_an_object_that_was_seen_is_known_and_one_that_names_no_object_is_not() -> None:
    cars = records(BOATS, 200)
    cheaper = cars[:50].assign(price=cars["price"][:50] / 2)
    assert known_rows(BOATS, cheaper, cars)[:50].all()
    loners = replace(BOATS, groups=lambda frame: "row " + frame.index.to_series().astype(str))
    assert not known_rows(loners, cheaper, cars).any()


def models(project: Project, test: pd.DataFrame, *noises: float) -> list[Model]:
    """Models that know the outcome, each with its noise."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, len(test))
    manifest: dict[str, Any] = {"threshold": 0.5, "interval": {"radius": 0.5, "scale": "log"}}
    target = test[project.target].to_numpy()
    if project.task == "classification":
        return [Model(manifest, 1 / (1 + np.exp(1 - 2 * target - size * noise))) for size in noises]
    return [Model(manifest, target * np.exp(size * noise)) for size in noises]


@pytest.mark.slow
@pytest.mark.parametrize("project", [PARCELS, BOATS])
def test_of_two_models_the_better_wins_on_the_rows_that_the_champion_does_not_know(project: Project) -> None:
    test = records(project, 300)
    known = np.arange(len(test)) < 40
    good, bad = models(project, test, 0.5, 2.0)
    forth, fair = contest(project, TERMS, (good, bad), test, known, "v1.0.0")
    back, _ = contest(project, TERMS, (bad, good), test, known, "v1.0.0")
    assert isinstance(forth, Comparison)
    assert isinstance(back, Comparison)
    assert (forth.verdict, back.verdict) == ("better", "worse")
    assert (forth.rows, forth.left_out) == (len(test) - 40, 40)
    assert (forth.challenger, forth.champion, forth.value) == (back.champion, back.challenger, -back.value)
    assert [set(side) for side in fair] == [set(project.sensitive)] * 2
    shuffled = np.where(
        known, np.random.default_rng(1).permutation(bad.scores), bad.scores
    )  # what is left out tells nothing
    assert contest(project, TERMS, (good, Model(bad.manifest, shuffled)), test, known, "v1.0.0")[0] == forth
    same, _ = contest(project, TERMS, (good, good), test, None, "v1.0.0")
    assert isinstance(same, Comparison)
    assert (same.verdict, same.value, same.rows, same.left_out) == ("no better", 0, len(test), None)


def test_rows_that_the_champion_refuses_are_left_out_of_the_comparison() -> None:
    test = records(PARCELS, 300)
    good, bad = models(PARCELS, test, 0.5, 2.0)
    refuses = np.arange(len(test)) < 50
    found, _ = contest(
        PARCELS, TERMS, (good, Model(bad.manifest, np.where(refuses, np.nan, bad.scores))), test, None, "v1.0.0"
    )
    alone, _ = contest(PARCELS, TERMS, (good, bad), test, refuses, "v1.0.0")
    assert isinstance(found, Comparison)
    assert isinstance(alone, Comparison)
    assert (found.rows, found.value, found.verdict) == (len(test) - 50, alone.value, alone.verdict)


def test_each_model_is_judged_by_its_own_threshold() -> None:
    test = records(PARCELS, 300)
    (model,) = models(PARCELS, test, 1.0)
    strict = Model({**model.manifest, "threshold": 0.99}, model.scores)
    _, (own, its) = contest(PARCELS, TERMS, (model, strict), test, None, "v1.0.0")
    shares = [sum(group["flagged"] for group in side["region"]["groups"].values()) for side in (own, its)]
    assert shares[0] > shares[1]


def test_too_few_rows_or_rows_of_one_class_or_a_model_without_scores_give_no_comparison() -> None:
    test = records(PARCELS, 300)
    pair = models(PARCELS, test, 0.5, 2.0)
    few = np.arange(len(test)) >= 29
    found, fair = contest(PARCELS, TERMS, (pair[0], pair[1]), test, few, "v1.0.0")
    assert found == (
        "It cannot be compared with v1.0.0: without the rows that this was trained on or refuses, 29 of the 300 test rows "
        "are left to judge by."
    )
    assert fair == []
    one_class = (test["late"] == 1).to_numpy()
    assert "are left to judge by" in str(contest(PARCELS, TERMS, (pair[0], pair[1]), test, one_class, "v1.0.0")[0])
    mute = Model(pair[0].manifest, "It gives none.")
    assert contest(PARCELS, TERMS, (mute, pair[1]), test, None, "v1.0.0") == ("It gives none.", [])
    assert contest(PARCELS, TERMS, (pair[0], mute), test, None, "v1.0.0") == ("It gives none.", [])


def test_the_champion_scores_by_its_own_code_and_its_training_rows_are_had(
    repository: Path, revisions: tuple[str, str]
) -> None:
    test = pd.read_parquet("data/toy/test.parquet")
    manifest = read_json(Path("models/toy/manifest.json"))
    first, second = (Version("toy", name, commit) for name, commit in zip(("v1.0.0", "v1.1.0"), revisions, strict=True))
    found = [meet_champion(PARCELS, version, manifest, test) for version in (first, second)]
    assert found[1].manifest == manifest
    scores = [np.asarray(each.scores, dtype=float) for each in found]
    assert [each.shape for each in scores] == [(len(test),)] * 2
    assert not np.array_equal(scores[0], scores[1])
    assert scores[1] == pytest.approx(checkout.score_rows(Path(), "toy", test), rel=1e-12)
    seen = rows_trained_on(PARCELS, first)
    assert seen is not None
    assert seen.equals(pd.read_parquet("data/toy/train.parquet"))
    assert not known_rows(PARCELS, seen, test).any()
    assert known_rows(PARCELS, test, test).all()


def test_a_champion_of_another_contract_is_not_compared(repository: Path, revisions: tuple[str, str]) -> None:
    test = pd.read_parquet("data/toy/test.parquet")
    manifest = read_json(Path("models/toy/manifest.json"))
    first = Version("toy", "v1.0.0", revisions[0])
    advice = "`gto deprecate toy v1.0.0 prod` withdraws that one, so that this is judged as the first."
    found = meet_champion(PARCELS, first, {**manifest, "target": "lost"}, test)
    assert found.scores == f"It cannot be compared with v1.0.0, as its target is another; {advice}"
    found = meet_champion(PARCELS, first, manifest, test.drop(columns=["region", "weight"]))
    assert found.scores == (
        f"It cannot be compared with v1.0.0, as it takes region and weight, which the rows no longer have; {advice}"
    )


def test_training_rows_that_are_nowhere_are_none(repository: Path, revisions: tuple[str, str]) -> None:
    shutil.rmtree(".dvc/cache")
    assert rows_trained_on(PARCELS, Version("toy", "v1.0.0", revisions[0])) is None

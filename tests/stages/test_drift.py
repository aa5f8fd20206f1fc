from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core.cli import UserError
from stages.drift import batch_name, check, decide, main
from stages.modeling.metrics import roc_auc
from stages.monitoring.evidently import save_html
from stages.monitoring.quality import Fault
from stages.monitoring.reference import expect, load_live, ranked_columns, residuals, stability
from stages.monitoring.settings import Drift
from stages.projects._base import load_project
from stages.promotion import ledger
from tests.samples import raw_rows, write_params
from tests.stages.drifting import gathered, live, raw, report, truth
from tests.toys import PYTHONPATH

KINDS = ["columns", "joint", "loss", "bias", "pattern"]


def columns(found: dict[str, Any]) -> list[str]:
    return [entry["column"] for entry in found["columns"] if entry["drifted"]]


def parcels(rows: int = 1_500, **changes: Any) -> pd.DataFrame:
    frame: pd.DataFrame = raw(rows=rows)
    return frame.assign(**changes)


@pytest.mark.parametrize("name", ["toy", "toy_price"])
@pytest.mark.parametrize("labels", [True, False])
def test_a_batch_equal_to_the_reference_is_kept(name: str, labels: bool) -> None:
    frame = live(name).reference
    found = report(frame if labels else frame.drop(columns=live(name).project.target), name)
    assert (found["verdict"], found["evidence"], found["faults"]) == ("keep", [], [])
    assert found["reason"].startswith(f"Keep: {len(frame):,} rows are like what the model was trained on")
    assert max(abs(test["size"]) for entry in found["columns"] for test in entry["tests"]) == pytest.approx(0)
    assert found["stability"] == pytest.approx(0)


@settings(max_examples=5)
@given(st.integers(0, 1_000))
def test_the_order_of_the_rows_changes_nothing_in_the_report(seed: int) -> None:
    frame = raw(rows=300, shift="covariate")
    frame.loc[:11, "sender"] = np.arange(900.0, 912.0)  # more new values than the report lists, all equally frequent
    assert report(frame) == report(frame.sample(frac=1, random_state=seed))


def test_a_column_that_moved_is_named_with_its_rank_and_what_it_was() -> None:
    frame = parcels()
    found = report(frame.assign(distance=frame["distance"] + 65).drop(columns="late"))
    assert found["verdict"] == "retrain"
    assert found["evidence"] == ["columns", "joint"]
    assert columns(found) == ["distance", "the score"]
    usual, now = live().reference["distance"].median(), frame["distance"].median() + 65
    assert f"1 of 8 columns changed: `distance` (number 4) has the median {now:g} against {usual:g}" in found["reason"]
    assert "All columns together tell the batch from training (AUC 0.7" in found["reason"]
    assert "There are no outcomes" in found["reason"]


def test_columns_are_named_in_the_order_of_their_weight_in_the_model() -> None:
    frame = parcels()
    frame = frame.assign(distance=frame["distance"] + 65, value=frame["value"] * 2, carrier="Cat")
    model = live()
    batch = gathered(model, frame)
    for first in (["distance", "carrier"], ["carrier", "distance"]):
        known = replace(model, importance=[*first, *(name for name in model.importance if name not in first)])
        reason = check(known, batch, truth(model.project, batch.frame), Drift(), 0.02, 0)["reason"]
        places = sorted(("distance", "value", "carrier"), key=known.importance.index)
        assert [reason.index(f"`{name}` (") for name in places] == sorted(reason.index(f"`{name}` (") for name in places)
        assert f"`{places[0]}` (the most important)" in reason
    assert "`carrier` (number 2) is 'Cat' in 100.0% of the rows against" in report(frame)["reason"]


def test_gaps_and_spread_have_words_of_their_own() -> None:
    frame = parcels()
    rng = np.random.default_rng(0)
    middle = frame["distance"].mean()
    wider = (middle + (frame["distance"] - middle) * 1.3).round().clip(20)
    found = report(frame.assign(distance=wider, weight=frame["weight"].mask(rng.random(len(frame)) < 0.1)))
    words = {entry["column"] for entry in found["columns"] if entry["drifted"]}
    assert {"distance", "weight"} <= words
    assert "% wider" in found["reason"]
    assert "`weight` (number 5) is missing in 1" in found["reason"]


def test_a_dependence_that_is_gone_shows_in_no_column_but_in_all_together() -> None:
    frame = parcels(3_000)
    dealt = np.random.default_rng(0).permutation(frame["value"])
    found = report(frame.assign(value=dealt).drop(columns="late"), retrain_on=["joint"])
    assert "value" not in columns(found)
    assert found["joint"]["drifted"]
    assert found["verdict"] == "retrain"


@pytest.mark.parametrize(("size", "evidence"), [(0.3, ["joint"]), (-0.3, ["joint"]), (0.05, [])])
def test_a_dependence_that_only_its_own_test_finds_counts_too_where_it_is_large(
    size: float, evidence: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.drift.dependence_test", lambda *_: {"p": 1e-9, "size": size, "column": "value"})
    found = report(raw(rows=600, labels=False))
    assert not found["joint"]["drifted"]
    assert found["evidence"] == evidence
    told = "do not tell the batch from training"
    assert told in found["reason"]
    assert ("`value` does not go with the other columns as it did in training." in found["reason"]) == bool(evidence)


def test_outcomes_that_follow_otherwise_from_the_same_rows_show_only_where_they_are_known() -> None:
    frame = raw(rows=3_000, shift="concept")
    told, untold = report(frame), report(frame.drop(columns="late"))
    assert untold["verdict"] == "keep"
    assert untold["expected"]["value"] > told["outcomes"]["measured"]["high"]
    assert {"loss", "pattern"} <= set(told["evidence"])
    assert told["verdict"] == "retrain"
    assert "On 3,000 rows with outcomes roc_auc is 0.7" in told["reason"]
    assert "The mean loss grew by" in told["reason"]
    assert "a pattern that they did not follow in training, along `" in told["reason"]
    assert told["outcomes"]["pattern"]["along"] in ("distance", "express", "carrier")


def test_prices_that_rose_for_all_are_a_bias_and_a_regression_without_outcomes_is_not_estimated() -> None:
    dearer = raw("toy_price", 1_500, shift="inflation")
    told, untold = report(dearer, "toy_price"), report(dearer.drop(columns="price"), "toy_price")
    assert {"bias", "pattern"} <= set(told["evidence"])
    assert "It predicts too low on average." in told["reason"]
    assert untold["verdict"] == "keep"
    assert untold["expected"] is None
    assert "The error of a regression is not estimated without them." in untold["reason"]


def test_a_model_that_does_better_than_in_training_is_no_reason_to_retrain() -> None:
    model = live()
    worse = replace(model, out_of_fold=model.out_of_fold.assign(score=model.out_of_fold["score"] * 0.5 + 0.1))
    batch = gathered(model, parcels())
    found = check(worse, batch, truth(model.project, batch.frame), Drift(retrain_on=["loss"]), 0.02, 0)
    assert found["outcomes"]["loss"]["size"] < -0.02
    assert found["verdict"] == "keep"


def test_outcomes_of_some_rows_are_used_and_of_too_few_not() -> None:
    frame = raw(rows=1_000, shift="concept")
    for count in (99, 400):
        frame["late"] = frame["late"].where(frame.index < count)
        found = report(frame)
        assert (found["outcomes"] or {"rows": 0})["rows"] == (0 if count < 100 else count)
        frame = raw(rows=1_000, shift="concept")


def test_rows_that_training_leaves_out_are_left_out_where_outcomes_tell_them() -> None:
    adverts = raw("toy_price", 1_000)
    cheap = adverts.assign(price=adverts["price"].where(adverts.index >= 500, 1.0))
    found = report(cheap, "toy_price")
    assert found["batch"]["rows"] == 1_000
    assert found["batch"]["tested"] == found["outcomes"]["rows"] < 500
    assert report(adverts.drop(columns="price"), "toy_price")["batch"]["tested"] > 900


@pytest.mark.parametrize("rows", [1, 40, 99])
def test_few_rows_are_too_few_to_tell(rows: int) -> None:
    found = report(parcels(rows, distance=90))
    assert found["verdict"] == "keep"
    assert found["reason"] == f"Keep: {rows} rows that can be used are too few to tell; 100 are needed."


def test_bad_data_is_refused_whatever_else_it_shows() -> None:
    frame = raw(rows=1_000, shift="covariate")
    found = report(frame.assign(value=1.0))
    assert found["evidence"]
    assert found["verdict"] == "refuse"
    assert found["reason"].startswith("Refuse: of 1,000 rows as data of toy this cannot be right: `value` is")
    assert found["reason"].endswith("Mend the source and send it again.")


@given(st.sets(st.sampled_from(KINDS)), st.sets(st.sampled_from(KINDS)), st.booleans())
def test_refusing_beats_retraining_and_only_evidence_that_counts_leads_to_it(
    evidence: set[str], counted: set[str], faulty: bool
) -> None:
    faults = [Fault("distance", "constant", "`distance` is stuck", {})] if faulty else []
    verdict = decide(faults, sorted(evidence), Drift.model_validate({"retrain_on": sorted(counted)}))
    assert verdict == ("refuse" if faulty else "retrain" if evidence & counted else "keep")


def test_evidence_that_does_not_count_is_reported_and_the_model_kept() -> None:
    found = report(raw(rows=1_000, shift="covariate", labels=False), retrain_on=["loss"])
    assert found["verdict"] == "keep"
    assert "but drift.retrain_on does not count how. 1 of 8 columns changed: `distance`" in found["reason"]


def test_correcting_for_the_number_of_tests_never_finds_more() -> None:
    for seed in range(5):
        found = report(raw(rows=200, seed=seed, labels=False))
        tests = [test for entry in found["columns"] for test in entry["tests"]]
        assert all(test["q"] >= test["p"] for test in tests)
        assert min(test["q"] for test in tests) <= len(tests) * min(test["p"] for test in tests)


def test_a_trivial_shift_in_many_rows_is_no_drift() -> None:
    frame = raw(rows=40_000, labels=False)
    found = report(frame.assign(value=frame["value"] + 6))
    (value,) = (entry for entry in found["columns"] if entry["column"] == "value")
    assert min(test["p"] for test in value["tests"]) < 0.05
    assert not value["drifted"]


def test_the_report_says_how_exact_a_sample_is() -> None:
    model = live()
    batch = gathered(model, parcels(2_000), limit=400)
    found = check(model, batch, truth(model.project, batch.frame), Drift(), 0.02, 0)
    assert found["batch"]["sampled"] == {
        "rows": 400,
        "share_error": pytest.approx(0.049),
        "distribution_error": pytest.approx(0.068),
    }
    assert "400 rows drawn from 2,000 rows, in which shares are exact to 4.9 points," in found["reason"]


def test_the_day_of_the_advert_is_no_drift() -> None:
    later = raw("toy_price", 800, labels=False)
    later["posted"] += np.timedelta64(3 * 365, "D")
    found = report(later, "toy_price")
    assert "posted" not in [entry["column"] for entry in found["columns"]]


def test_expected_performance_is_what_calibrated_probabilities_would_give() -> None:
    rng = np.random.default_rng(0)
    scores = rng.beta(1, 3, 20_000)
    target = rng.random(20_000) < scores
    found = expect(live().project, live().manifest, scores, 0)
    assert found["low"] < found["value"] < found["high"]
    assert found["value"] == pytest.approx(roc_auc(target * 1, scores, np.ones((1, 20_000)))[0], abs=0.01)


def test_stability_is_zero_for_equal_samples_and_passes_a_quarter_for_a_large_shift() -> None:
    usual = np.random.default_rng(0).normal(size=5_000)
    assert stability(usual, usual) == pytest.approx(0)
    assert stability(usual, usual + 0.1) < 0.1
    assert stability(usual, usual + 0.6) > 0.25


def test_residuals_of_a_classifier_have_unit_variance_and_of_a_log_target_are_ratios() -> None:
    rng = np.random.default_rng(0)
    scores = rng.uniform(0.05, 0.95, 20_000)
    assert np.std(residuals(live().project, (rng.random(20_000) < scores) * 1, scores)) == pytest.approx(1, abs=0.02)
    assert residuals(live("toy_price").project, np.array([110.0]), np.array([100.0])) == pytest.approx(np.log(1.1))


def test_features_weigh_for_the_field_that_they_are_made_of() -> None:
    ranking = [
        {"feature": "Declared value", "importance": 0.3},
        {"feature": "value per kg", "importance": 0.3},
        {"feature": "Carrier: Bee", "importance": 0.25},
        {"feature": "Carrier: Cat", "importance": 0.25},
        {"feature": "Region: south", "importance": 0.1},
    ]
    order = ranked_columns(load_project("toy"), ranking)
    assert order[:3] == ["value", "carrier", "region"]
    assert sorted(order) == sorted(ranked_columns(load_project("toy"), []))


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("s3://bucket/in/2024-05.parquet", "2024-05"),
        ("data/toy/batches/ab12.csv", "ab12"),
        ("simulate?rows=20&shift=concept", "simulate-rows-20-shift-concept"),
        ("log of the last 24 hours", "log-of-the-last-24-hours"),
        ("../../.parquet", "parquet"),
    ],
)
def test_a_report_is_named_after_its_batch(address: str, name: str) -> None:
    assert batch_name(address) == name


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of a toy that was trained on enough rows to know what is usual."""
    folder = tmp_path_factory.mktemp("toy")
    trees = {"max_iter": 60, "max_leaf_nodes": 6}
    train = {"folds": 5, "candidates": ["hist_gradient_boosting"], "hist_gradient_boosting": trees}
    write_params(folder, "toy", ingest={"sources": ["simulate?rows=3000"]}, train=train)
    with contextlib.chdir(folder):
        for stage in ("ingest", "prepare", "train", "export"):
            import_module(f"stages.{stage}").main("toy")
    return folder


@pytest.fixture
def deployed(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the trained model's folder to write in, as the current one."""
    folder = shutil.copytree(trained, tmp_path / "checkout")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GITHUB_ACTOR", "tess")
    return folder


def drift(batch: str | None = None, dry_run: bool = False, html: bool = False) -> int | None:
    return main("toy", batch, None, "", html, dry_run)


def test_main_leaves_a_report_and_a_line_in_the_ledger_and_ends_with_the_verdict(
    deployed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw_rows("toy", 400, 5).to_parquet("calm.parquet")
    raw_rows("toy", 400, 5, "covariate").to_csv("moved.csv", index=False)
    raw_rows("toy", 400, 5, "broken_sensor").to_csv("broken.csv", index=False)
    assert [drift(f"{name}") for name in ("calm.parquet", "moved.csv", "broken.csv")] == [None, 4, 3]
    entries = ledger.read("toy")
    assert [entry["verdict"] for entry in entries] == ["keep", "retrain", "refuse"]
    written = json.loads(Path("reports/toy/drift/moved.json").read_text())
    last = entries[1]
    assert (last["event"], last["by"]) == ("drift", "tess")
    assert last["batch"] == {key: written["batch"][key] for key in ("address", "sha256", "rows")}
    assert last["batch"]["rows"] == 400
    assert (last["reason"], last["evidence"]) == (written["reason"], written["evidence"])
    assert last["hash"] == written["model"]["hash"] == load_live("toy").hash
    said = capsys.readouterr().out
    assert f"toy: compared with {len(load_live('toy').reference):,} rows that model {last['hash'][:12]} (no version)" in said
    assert last["reason"] in said


def test_the_same_batch_checked_again_gives_the_same_bytes_and_no_second_line(deployed: Path) -> None:
    path = Path("reports/toy/drift/simulate-rows-300-shift-covariate.json")
    drift("simulate?rows=300&shift=covariate")
    before = path.read_bytes()
    drift("simulate?rows=300&shift=covariate")
    assert path.read_bytes() == before
    assert len(ledger.read("toy")) == 1


def test_a_dry_run_writes_nothing(deployed: Path) -> None:
    before = sorted(deployed.rglob("*"))
    assert drift("simulate?rows=300&shift=covariate", dry_run=True) == 4
    assert sorted(deployed.rglob("*")) == before


def test_the_reference_comes_from_the_training_rows_and_else_from_the_sample_in_the_model(
    deployed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = load_live("toy")
    train = pd.read_parquet("data/toy/train.parquet")
    assert len(whole.reference) == len(train) > 2_000
    assert whole.scores.tolist() == whole.out_of_fold["score"].tolist()
    monkeypatch.setattr("stages.monitoring.reference.REFERENCE_ROWS", 50)
    assert len(load_live("toy").reference) == 50
    train.head(100).to_parquet("data/toy/train.parquet")  # another file than the model was trained on
    sample = load_live("toy")
    assert len(sample.reference) == 2_000
    places = whole.reference.reset_index().merge(sample.reference).drop_duplicates("index")["index"]
    assert len(places) == 2_000
    assert whole.scores[places].tolist() == sample.scores.tolist()
    spoilt = sample.reference.assign(late=1 - sample.reference["late"])
    spoilt.to_parquet("models/toy/reference.parquet")
    with pytest.raises(UserError, match="are of different models"):
        load_live("toy")
    Path("models/toy/out_of_fold.parquet").unlink()
    with pytest.raises(UserError, match=r"models/toy lacks out_of_fold\.parquet"):
        load_live("toy")


def test_the_command_line_takes_a_file_or_the_log_and_says_what_is_wrong(deployed: Path) -> None:
    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        called = [sys.executable, "-m", "stages.drift", "toy", *arguments]
        environment = {"PYTHONPATH": PYTHONPATH, "PATH": "/usr/bin:/bin"}
        return subprocess.run(called, env=environment, capture_output=True, text=True)

    assert "--batch" in command().stderr
    assert "not allowed with" in command("--batch", "a.csv", "--from-log", "24").stderr
    nothing = command("--from-log", "24")
    assert (nothing.returncode, nothing.stdout) == (1, "")
    assert nothing.stderr.startswith("toy: --database: there is no file serve.db")
    done = command("--batch", "simulate?rows=300&shift=covariate", "--dry-run")
    assert done.returncode == 4
    assert "Retrain: 300 rows differ from what the model was trained on." in done.stdout


def test_a_model_without_an_exported_form_is_scored_by_its_pipeline(deployed: Path) -> None:
    report, plan = Path("reports/toy/drift/simulate-rows-300.json"), Path("models/toy/plan.json")
    drift("simulate?rows=300")
    exported = json.loads(report.read_text())["outcomes"]["measured"]
    probe = json.loads(plan.read_text())["probe"]
    plan.write_text(json.dumps({"exported": False, "reason": "none", "probe": probe}))
    drift("simulate?rows=300")
    assert json.loads(report.read_text())["outcomes"]["measured"] == pytest.approx(exported)


def test_the_page_of_evidently_repeats_the_verdicts_of_the_check(deployed: Path) -> None:
    drift("simulate?rows=300&shift=covariate", html=True)
    report = json.loads(Path("reports/toy/drift/simulate-rows-300-shift-covariate.json").read_text())
    page = Path("reports/toy/drift/simulate-rows-300-shift-covariate.html").read_text()
    drifted = [entry["column"] for entry in report["columns"] if entry["drifted"]]
    assert "distance" in drifted
    assert f'"value": "{len(drifted)}", "label": "Drifted Columns"' in page
    assert "location, spread, shape; corrected p-value and size" in page


@pytest.mark.parametrize("name", ["toy", "toy_price"])
def test_the_page_of_evidently_leaves_out_what_has_no_value_and_takes_what_never_varies(name: str, tmp_path: Path) -> None:
    model = live(name)
    constant = next(column.name for column in model.project.columns if column.kind == "number")
    optional = [column.name for column in model.project.columns if not column.required and column.name != constant]
    frame = raw(name, 300).assign(**dict.fromkeys(optional, None))
    batch = gathered(model, frame.assign(**{constant: frame[constant].iloc[0]}))
    scores = truth(model.project, batch.frame)
    save_html(model, batch.frame, scores, check(model, batch, scores, Drift(), 0.02, 0), 0.01, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert constant in page
    assert not [column for column in optional if f"veritable {column}" in page]

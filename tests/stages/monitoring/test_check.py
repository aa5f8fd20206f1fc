from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.monitoring.check import check_batch, verdict_on
from stages.monitoring.quality import Fault
from stages.monitoring.settings import Drift
from stages.runtime.wording import count
from tests.stages.drifting import gathered, live, raw, report, truth

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
    assert found["stability"] < 0.02


@pytest.mark.slow
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
    assert f"1 of 8 columns changed: “distance” (number 4) has the median {now:g} against {usual:g}" in found["reason"]
    assert "A classifier can tell the batch from training by all columns together (ROC-AUC 0.6" in found["reason"]
    assert "The batch has no outcomes, so concept drift cannot be detected." in found["reason"]


@pytest.mark.slow
def test_columns_are_named_in_the_order_of_their_weight_in_the_model() -> None:
    frame = parcels()
    frame = frame.assign(distance=frame["distance"] + 65, value=frame["value"] * 2, carrier="Cat")
    model = live()
    batch = gathered(model, frame)
    swapped = replace(model, importance=["carrier", "distance", *model.importance[:1], *model.importance[4:], "region"])
    for known in (model, swapped):
        reason = check_batch(known, batch, truth(model.project, batch.frame), Drift(), 0.02, 0)["reason"]
        places = sorted(("distance", "value", "carrier"), key=known.importance.index)
        assert [reason.index(f"“{name}” (") for name in places] == sorted(reason.index(f"“{name}” (") for name in places)
    assert "“carrier” (the most important)" in reason
    assert "“carrier” (number 2) is 'Cat' in 100.0 % of the rows against" in report(frame)["reason"]


@pytest.mark.slow
def test_missing_values_and_spread_have_words_of_their_own() -> None:
    frame = parcels()
    rng = np.random.default_rng(0)
    middle = frame["distance"].mean()
    wider = (middle + (frame["distance"] - middle) * 1.3).round().clip(20)
    found = report(frame.assign(distance=wider, weight=frame["weight"].mask(rng.random(len(frame)) < 0.1)))
    words = {entry["column"] for entry in found["columns"] if entry["drifted"]}
    assert {"distance", "weight"} <= words
    assert "% wider" in found["reason"]
    assert "“weight” (number 5) is missing in 1" in found["reason"]


@pytest.mark.slow
def test_a_dependence_that_is_gone_shows_in_no_column_but_in_all_together() -> None:
    frame = parcels(3_000)
    dealt = np.random.default_rng(0).permutation(frame["value"])
    found = report(frame.assign(value=dealt).drop(columns="late"), retrain_on=["joint"])
    assert "value" not in columns(found)
    assert found["joint"]["drifted"]
    assert found["verdict"] == "retrain"


@pytest.mark.slow
@pytest.mark.parametrize(("size", "evidence"), [(0.3, ["joint"]), (-0.3, ["joint"]), (0.05, [])])
def test_a_dependence_that_only_its_own_test_finds_counts_too_where_it_is_large(
    size: float, evidence: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.monitoring.check.dependence_test", lambda *_: {"p": 1e-9, "size": size, "column": "value"})
    found = report(raw(rows=600, labels=False))
    assert not found["joint"]["drifted"]
    assert found["evidence"] == evidence
    assert "A classifier cannot tell the batch from training" in found["reason"]
    assert ("The dependence of “value” on the other columns changed." in found["reason"]) == bool(evidence)


@pytest.mark.slow
def test_outcomes_that_follow_otherwise_from_the_same_rows_show_only_where_they_are_known() -> None:
    frame = raw(rows=3_000, shift="concept")
    told, untold = report(frame), report(frame.drop(columns="late"))
    assert untold["verdict"] == "keep"
    assert untold["expected"]["value"] > told["outcomes"]["measured"]["high"]
    assert {"loss", "pattern"} <= set(told["evidence"])
    assert told["verdict"] == "retrain"
    assert "On 3,000 rows with outcomes ROC-AUC is 0.7" in told["reason"]
    assert "The mean loss grew by" in told["reason"]
    assert "a pattern that they did not have in training, mainly along “" in told["reason"]
    assert told["outcomes"]["pattern"]["along"] in ("distance", "express", "carrier", "the score")


@pytest.mark.slow
def test_prices_that_rose_for_all_are_a_bias_and_a_regression_without_outcomes_is_not_estimated() -> None:
    raised = raw("toy_price", 1_500, shift="inflation")
    told, untold = report(raised, "toy_price"), report(raised.drop(columns="price"), "toy_price")
    assert {"bias", "pattern"} <= set(told["evidence"])
    assert "It predicts too low on average." in told["reason"]
    assert untold["verdict"] == "keep"
    assert untold["expected"] is None
    assert "The error of a regression is not estimated without them." in untold["reason"]


@pytest.mark.slow
def test_a_model_that_does_better_than_in_training_is_no_reason_to_retrain() -> None:
    model = live()
    worse = replace(model, out_of_fold=model.out_of_fold.assign(score=model.out_of_fold["score"] * 0.5 + 0.1))
    batch = gathered(model, parcels())
    found = check_batch(worse, batch, truth(model.project, batch.frame), Drift(retrain_on=["loss"]), 0.02, 0)
    assert found["outcomes"]["loss"]["size"] < -0.02
    assert found["verdict"] == "keep"


@pytest.mark.slow
def test_outcomes_of_some_rows_are_used_and_of_too_few_not() -> None:
    frame = raw(rows=1_000, shift="concept")
    for known in (99, 400):
        frame["late"] = frame["late"].where(frame.index < known)
        found = report(frame)
        assert (found["outcomes"] or {"rows": 0})["rows"] == (0 if known < 100 else known)
        frame = raw(rows=1_000, shift="concept")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["toy", "toy_price"])
def test_the_errors_on_rows_that_were_in_training_are_not_counted(name: str) -> None:
    trained, new = raw(name, 1_500, seed=1), raw(name)
    found = report(trained, name)
    assert found["verdict"] == "keep"
    assert found["outcomes"] is None
    assert "and the others are too few, so concept drift cannot be" in found["reason"]
    both = report(pd.concat([trained.head(300), new], ignore_index=True), name)
    alone = report(new, name)
    assert both["trained"]["rows"] >= 250
    assert both["outcomes"]["rows"] == alone["outcomes"]["rows"]
    assert both["outcomes"]["loss"]["size"] == pytest.approx(alone["outcomes"]["loss"]["size"])
    assert "Left out of the errors: " in both["reason"]


def test_rows_that_training_leaves_out_are_left_out_where_outcomes_tell_them() -> None:
    adverts = raw("toy_price", 1_000)
    cheap = adverts.assign(price=adverts["price"].where(adverts.index >= 50, 1.0))
    found = report(cheap, "toy_price")
    assert found["batch"]["rows"] == 1_000
    assert found["batch"]["tested"] == found["outcomes"]["rows"] + found["trained"]["rows"] < 950
    assert "Left out, as in training: " in found["reason"]
    assert report(adverts.drop(columns="price"), "toy_price")["batch"]["tested"] > 900


def test_outcomes_of_one_class_alone_are_no_fair_sample_and_not_used() -> None:
    frame = raw(rows=1_000)
    found = report(frame.assign(late=frame["late"].where(frame["late"] == 1)))
    assert (found["verdict"], found["outcomes"]) == ("keep", None)
    assert f"({(frame['late'] == 1).sum()} known outcomes, each of them 1), so they are not used." in found["reason"]
    assert found["expected"]


@pytest.mark.slow
def test_outcomes_that_are_known_of_other_rows_than_the_rest_are_not_used() -> None:
    frame = raw(rows=1_000)
    scores = truth(live().project, frame)
    found = report(frame.assign(late=frame["late"].where(scores > np.median(scores))))
    assert (found["verdict"], found["outcomes"]) == ("keep", None)
    assert "the scores of the 500 rows whose outcome is known differ from those of the other 500" in found["reason"]


@pytest.mark.slow
@pytest.mark.parametrize("values", [0, 3])
def test_a_column_that_is_empty_or_nearly_so_in_training_and_in_the_batch_is_left_out(values: int) -> None:
    model, frame = live("toy_price"), raw("toy_price", 500)
    for column in ("size", "surveyed", "berth"):  # a number, a date, a text
        sides = [
            side.assign(**{column: side[column].where(np.arange(len(side)) < values)}) for side in (model.reference, frame)
        ]
        emptied = replace(model, reference=sides[0])
        batch = gathered(emptied, sides[1])
        found = check_batch(emptied, batch, truth(model.project, batch.frame), Drift(), 0.02, seed=0)
        tests = next(entry["tests"] for entry in found["columns"] if entry["column"] == column)
        assert not any(test["drifted"] for test in tests)


@pytest.mark.parametrize("rows", [1, 40, 99])
def test_few_rows_are_too_few_to_tell(rows: int) -> None:
    found = report(parcels(rows, distance=90))
    assert found["verdict"] == "keep"
    assert found["reason"] == f"Keep: {count(rows, 'usable row')}: too few to decide; 100 are needed."


def test_bad_data_is_refused_whatever_else_it_shows() -> None:
    frame = raw(rows=1_000, shift="covariate")
    found = report(frame.assign(value=1.0))
    assert found["evidence"]
    assert found["verdict"] == "refuse"
    assert found["reason"].startswith("Refused: these 1,000 rows cannot be valid toy data: “value” is")
    assert found["reason"].endswith("Fix the source and resubmit the batch.")


@given(st.sets(st.sampled_from(KINDS)), st.sets(st.sampled_from(KINDS)), st.booleans())
def test_refusing_beats_retraining_and_only_evidence_that_counts_leads_to_it(
    evidence: set[str], counted: set[str], faulty: bool
) -> None:
    faults = [Fault("distance", "constant", "“distance” is stuck", {})] if faulty else []
    verdict = verdict_on(faults, sorted(evidence), Drift.model_validate({"retrain_on": sorted(counted)}))
    assert verdict == ("refuse" if faulty else "retrain" if evidence & counted else "keep")


@pytest.mark.slow
def test_evidence_that_does_not_count_is_reported_and_the_model_kept() -> None:
    found = report(raw(rows=1_000, shift="covariate", labels=False), retrain_on=["loss"])
    assert found["verdict"] == "keep"
    assert "but in no way that drift.retrain_on counts. 1 of 8 columns changed: “distance”" in found["reason"]


@pytest.mark.slow
def test_correcting_for_the_number_of_tests_never_finds_more() -> None:
    for seed in range(5):
        found = report(raw(rows=200, seed=seed, labels=False))
        tests = [test for entry in found["columns"] for test in entry["tests"]]
        assert all(test["q"] >= test["p"] for test in tests)
        assert min(test["q"] for test in tests) <= len(tests) * min(test["p"] for test in tests)


@pytest.mark.slow
def test_a_trivial_shift_in_many_rows_is_no_drift() -> None:
    frame = raw(rows=40_000, labels=False)
    found = report(frame.assign(value=frame["value"] + 5))
    (value,) = (entry for entry in found["columns"] if entry["column"] == "value")
    assert min(test["p"] for test in value["tests"]) < 0.05
    assert not value["drifted"]


@pytest.mark.slow
def test_the_report_says_how_exact_a_sample_is() -> None:
    model = live()
    batch = gathered(model, parcels(2_000), limit=400)
    found = check_batch(model, batch, truth(model.project, batch.frame), Drift(), 0.02, 0)
    assert found["batch"]["sampled"] == {
        "rows": 400,
        "share_error": pytest.approx(0.049),
        "distribution_error": pytest.approx(0.068),
    }
    assert "400 rows drawn from 2,000 rows, in which shares are exact to 4.9 percentage points," in found["reason"]


@pytest.mark.slow
def test_the_day_of_the_advert_is_no_drift() -> None:
    later = raw("toy_price", 800, labels=False)
    later["posted"] += np.timedelta64(3 * 365, "D")
    found = report(later, "toy_price")
    assert "posted" not in [entry["column"] for entry in found["columns"]]

"""Checking a batch against the live model: faults of the data, evidence of drift, and the verdict that follows from both."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from stages.core.objects import objects
from stages.monitoring.batch import Batch, most_frequent
from stages.monitoring.columns import Finding, compare_column, compare_numbers
from stages.monitoring.joint import classifier_test, dependence_test
from stages.monitoring.outcomes import compare_errors, expected_metric, measured_metric, unfair_sample
from stages.monitoring.quality import (
    Fault,
    constant_faults,
    left_out_faults,
    missing_faults,
    schema_faults,
    target_columns,
    unit_faults,
)
from stages.monitoring.reference import Live, tested_columns
from stages.monitoring.settings import Drift
from stages.monitoring.twosample import encode
from stages.monitoring.words import describe_column, explain_verdict
from stages.projects._base import columns_of
from stages.runtime.population import stability_above_chance

JOINT_ROWS = 4_000  # of the batch, and of the reference, that the classifier sees at most

Verdict = Literal["keep", "retrain", "refuse"]


def check_batch(
    live: Live, batch: Batch, scores: np.ndarray, settings: Drift, max_rejected: float, seed: int
) -> dict[str, Any]:
    """The report on a batch: verdict, reason, and what they rest on; `scores`, shape (rows,), are the model's of the rows of
    its frame. The order of the batch's rows changes nothing.
    """
    project = live.project
    ended = batch.frame[project.target].notna()
    known = batch.frame[ended]
    labelled = project.clean(known)
    excess = left_out_faults(live, known, labelled, settings)
    # Rows that training would leave out, which only their outcome shows, are left out.
    frame = labelled if ended.all() and not excess else batch.frame
    report: dict[str, Any] = {"columns": [], "joint": None, "outcomes": None, "expected": None, "stability": None}
    report["left_out"] = {"rows": len(known) - len(labelled), "known": len(known), "usual": live.left_out}
    report["unfair"] = unfair_sample(project, batch.frame, scores) if len(labelled) >= settings.min_rows else ""
    trained = trained_on(live, labelled)
    report["trained"] = {"rows": int(trained.sum()), "labelled": len(labelled)}
    labelled = labelled[~trained]  # the errors on rows that the model has learned are smaller than on others
    labelled = labelled if len(labelled) >= settings.min_rows and not report["unfair"] else labelled[:0]
    faults = schema_faults(batch, project, max_rejected) + excess
    if len(frame) >= settings.min_rows:
        faults += missing_faults(live.reference, frame, project, settings) + constant_faults(live.reference, frame, project)
        report["columns"] = compare_columns(live, frame, scores[frame.index], labelled, settings)
        units = unit_faults(live.reference, frame, project.columns, settings)
        units += unit_faults(live.reference, known, target_columns(project), settings)
        if surely_changed(report["columns"], settings) & set(project.row.model_fields) <= {fault.column for fault in units}:
            faults += units  # where other columns changed too, the world may have
        report["joint"] = compare_jointly(live, frame, settings, seed)
        population = live.population
        report["stability"] = stability_above_chance(population["score"], scores[frame.index], population["rows"])
        if len(labelled):
            report["outcomes"] = compare_outcomes(live, labelled, scores[labelled.index], settings, seed)
        elif project.task == "classification":
            report["expected"] = expected_metric(project, live.manifest, scores, seed)
    target, trained_scores = live.out_of_fold["target"].to_numpy(), live.out_of_fold["score"].to_numpy()
    usual = measured_metric(project, live.manifest, target, trained_scores, seed)
    report["performance"] = {"metric": project.primary_metric, **usual}
    report["evidence"] = kinds_of_evidence(report)
    report["faults"] = [vars(fault) for fault in faults]
    report["verdict"] = verdict_on(faults, report["evidence"], settings)
    outcomes = batch.accepted - batch.missing[project.target]
    report["batch"] = describe_batch(batch) | {"tested": len(frame), "outcomes": outcomes}
    report["model"] = {"hash": live.hash, "version": live.version, "reference_rows": len(live.reference)}
    return report | {"reason": explain_verdict(report, project, settings)}


def trained_on(live: Live, labelled: pd.DataFrame) -> np.ndarray:
    """Mask of the rows, shape (rows,), that are about the same object as a training row, or a copy of one."""
    keys = objects(pd.concat([live.trained, labelled], ignore_index=True), live.project)
    known = len(live.trained)
    return keys[known:].isin(keys[:known]).to_numpy()


def compare_columns(
    live: Live, batch: pd.DataFrame, scores: np.ndarray, labelled: pd.DataFrame, settings: Drift
) -> list[dict[str, Any]]:
    """The findings on each column, by importance, on the score and on the target. False discoveries are controlled over all
    these tests together (Benjamini and Hochberg, JRSS B 1995).
    """
    project, columns = live.project, {column.name: column for column in columns_of(live.project.record)}
    sides = {name: (live.reference[name], batch[name]) for name in live.importance if name != project.time_column}
    tested: dict[str, list[Finding]] = {name: compare_column(columns[name], *pair) for name, pair in sides.items()}
    sides["the score"] = (pd.Series(live.scores), pd.Series(scores))
    tested["the score"] = compare_numbers(live.scores, scores)
    if len(labelled):
        sides[project.target] = (live.reference[project.target], labelled[project.target])
        tested[project.target] = compare_column(columns[project.target], *sides[project.target])
    adjusted = iter(false_discovery_control([finding.p for findings in tested.values() for finding in findings]))
    least = {"spread": np.log(settings.spread), "categories": settings.shift, "gaps": settings.gaps}
    entries = []
    for name, findings in tested.items():
        tests = []
        for finding in findings:
            q, large = float(next(adjusted)), abs(finding.size) >= least.get(finding.name, settings.distance)
            drifted = bool(large and q <= settings.alpha.columns)
            tests.append({"test": finding.name, "p": finding.p, "q": q, "size": finding.size, "drifted": drifted})
        drifted = any(test["drifted"] for test in tests)
        entries.append({"column": name, "drifted": drifted, "tests": tests, **describe_column(*sides[name])})
    return entries


def surely_changed(entries: list[dict[str, Any]], settings: Drift) -> set[str]:
    """The columns that changed, without those that may be the false discoveries which come along with true ones."""
    limit = settings.alpha.columns / sum(len(entry["tests"]) for entry in entries)
    return {entry["column"] for entry in entries if any(test["drifted"] and test["p"] <= limit for test in entry["tests"])}


def compare_jointly(live: Live, batch: pd.DataFrame, settings: Drift, seed: int) -> dict[str, Any]:
    """Whether a classifier can tell the batch from the reference, and whether the numbers depend on each other as before."""
    picks = np.sort(np.random.default_rng(seed).permutation(len(live.reference))[:JOINT_ROWS])
    sides = [tested_columns(live.project, frame) for frame in (live.reference.iloc[picks], batch[:JOINT_ROWS])]
    rows, categorical = encode(*sides)
    inside = np.arange(len(rows)) >= len(picks)
    found: dict[str, Any] = classifier_test(rows, categorical, inside, seed)
    found["drifted"] = found["p"] <= settings.alpha.joint and found["auc"] >= settings.auc
    test = dependence_test(rows, list(sides[0]), categorical, inside)
    test["drifted"] = test["p"] <= settings.alpha.dependence and abs(test["size"]) >= settings.dependence
    return found | {"dependence": test}


def compare_outcomes(live: Live, labelled: pd.DataFrame, scores: np.ndarray, settings: Drift, seed: int) -> dict[str, Any]:
    """How the model did on rows whose outcome is known: its loss, its errors, and its primary metric."""
    found = compare_errors(live, labelled, scores)
    for kind, test in found.items():
        test["drifted"] = bool(test["p"] <= getattr(settings.alpha, kind) and abs(test["size"]) >= getattr(settings, kind))
    measured = measured_metric(live.project, live.manifest, labelled[live.project.target].to_numpy(), scores, seed)
    return {"rows": len(labelled), "measured": measured, **found}


def kinds_of_evidence(report: dict[str, Any]) -> list[str]:
    """The kinds of tests in a report that found drift."""
    joint, outcomes = report["joint"], report["outcomes"] or {}
    kinds = {
        "columns": any(entry["drifted"] for entry in report["columns"]),
        "joint": joint and (joint["drifted"] or joint["dependence"]["drifted"]),
    }
    kinds |= {kind: outcomes.get(kind, {}).get("drifted") for kind in ("loss", "bias", "pattern")}
    return [kind for kind, found in kinds.items() if found]


def verdict_on(faults: list[Fault], evidence: list[str], settings: Drift) -> Verdict:
    """Bad data is refused whatever else there is; evidence of a kind that counts is a reason to retrain."""
    if faults:
        return "refuse"
    return "retrain" if set(evidence) & set(settings.retrain_on) else "keep"


def describe_batch(batch: Batch) -> dict[str, Any]:
    """What the report says of the batch itself. Of a sample, how far a share and a distribution function in it may be from
    those of all rows, 95 times in 100 and at worst: 0.98 and 1.36 over the root of the rows.
    """
    rows = len(batch.frame)
    sampled = batch.sampled and {"rows": rows, "share_error": 0.98 / rows**0.5, "distribution_error": 1.36 / rows**0.5}
    return {
        "address": batch.address,
        "sha256": batch.sha256,
        "rows": batch.rows,
        "sampled": sampled,
        "rejected": dict(batch.reasons),
        "gaps": {name: count / batch.accepted for name, count in sorted(batch.missing.items()) if count},
        "unseen": {name: most_frequent(values, 5) for name, values in sorted(batch.unseen.items()) if values},
    }

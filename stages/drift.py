"""Checks a batch against what the model in models/ was trained on: is it bad data, a reason to retrain, or neither?

python -m stages.drift realestate --batch new.parquet
python -m stages.drift realestate --from-log 24 --database sqlite+aiosqlite:///serve.db

The batch may hold the target or not. Writes reports/<project>/drift/<batch>.json, Evidently's report beside it as HTML, and
a line in the ledger. Ends with code 0 to keep the model, 3 if the batch is refused as bad data, 4 to retrain.
"""

from __future__ import annotations

import argparse
import os
import re
from collections import Counter
from functools import partial
from pathlib import PurePosixPath
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from stages.core.cli import run
from stages.core.files import Paths, write, write_json
from stages.core.params import load_block, load_seed
from stages.core.schema import coerce
from stages.intake.settings import Ingest
from stages.modeling.scoring import load_scorer
from stages.monitoring.batch import Batch, read_file, read_log
from stages.monitoring.quality import Fault, constant_faults, gap_faults, is_measured, schema_faults, unit_faults
from stages.monitoring.reference import (
    Live,
    compare_errors,
    compare_losses,
    expect,
    load_live,
    measure,
    stability,
    tested_columns,
)
from stages.monitoring.settings import Drift
from stages.monitoring.tests_of_drift import (
    FEWEST,
    Finding,
    compare_categories,
    compare_numbers,
    compare_shares,
    days,
    dependence_test,
    encode,
    joint_test,
)
from stages.monitoring.words import describe, explain
from stages.projects._base import Column, columns_of, load_project
from stages.promotion import ledger
from stages.promotion.git import who

CODES: dict[str, int | None] = {"keep": None, "refuse": 3, "retrain": 4}
JOINT_ROWS = 4_000  # of the batch, and of the reference, that the classifier sees at most

Verdict = Literal["keep", "retrain", "refuse"]


def compare_column(column: Column, reference: pd.Series, batch: pd.Series) -> list[Finding]:
    """All tests of one column: of its gaps, and of its values as numbers or as categories."""
    gaps = [side.isna().to_numpy() for side in (reference, batch)]
    findings = [compare_shares(*gaps)] if gaps[0].any() or gaps[1].any() else []
    usual, now = (side[~mask] for side, mask in zip((reference, batch), gaps, strict=True))
    if min(len(usual), len(now)) < FEWEST:
        return findings
    if column.kind == "date":
        return findings + compare_numbers(days(usual.to_numpy()), days(now.to_numpy()))
    if is_measured(column, usual):
        return findings + compare_numbers(usual.to_numpy(), now.to_numpy())
    return [*findings, compare_categories(usual.to_numpy(dtype=object), now.to_numpy(dtype=object))]


def compare_columns(
    live: Live, batch: pd.DataFrame, scores: np.ndarray, labelled: pd.DataFrame, settings: Drift
) -> list[dict[str, Any]]:
    """What the tests say of each column, by importance, of the score and of the target. False discoveries are controlled
    over all these tests together (Benjamini and Hochberg, JRSS B 1995).
    """
    project, columns = live.project, {column.name: column for column in columns_of(live.project.record)}
    sides = {name: (live.reference[name], batch[name]) for name in live.importance if name != project.time_column}
    tested = {name: compare_column(columns[name], *pair) for name, pair in sides.items()}
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
        entries.append({"column": name, "drifted": drifted, "tests": tests, **describe(*sides[name])})
    return entries


def surely_changed(entries: list[dict[str, Any]], settings: Drift) -> set[str]:
    """The columns that changed, leaving out those that may be the false discoveries that come along with true ones."""
    limit = settings.alpha.columns / sum(len(entry["tests"]) for entry in entries)
    return {entry["column"] for entry in entries if any(test["drifted"] and test["p"] <= limit for test in entry["tests"])}


def compare_jointly(live: Live, batch: pd.DataFrame, settings: Drift, seed: int) -> dict[str, Any]:
    """Whether a classifier can tell the batch from the reference, and whether the numbers depend on each other otherwise."""
    picks = np.sort(np.random.default_rng(seed).permutation(len(live.reference))[:JOINT_ROWS])
    sides = [tested_columns(live.project, frame) for frame in (live.reference.iloc[picks], batch[:JOINT_ROWS])]
    rows, categorical = encode(*sides)
    inside = np.arange(len(rows)) >= len(picks)
    found: dict[str, Any] = joint_test(rows, categorical, inside, seed)
    found["drifted"] = found["p"] <= settings.alpha.joint and found["auc"] >= settings.auc
    test = dependence_test(rows, list(sides[0]), categorical, inside)
    test["drifted"] = test["p"] <= settings.alpha.dependence and abs(test["size"]) >= settings.dependence
    return found | {"dependence": test}


def compare_outcomes(live: Live, labelled: pd.DataFrame, scores: np.ndarray, settings: Drift, seed: int) -> dict[str, Any]:
    """How the model did on rows whose outcome is known: its loss, where its errors lie, and its primary metric."""
    target = labelled[live.project.target].to_numpy()
    found = {"loss": compare_losses(live, target, scores)}
    found["bias"], found["pattern"] = compare_errors(live, labelled, scores)
    for kind, test in found.items():
        test["drifted"] = bool(test["p"] <= getattr(settings.alpha, kind) and abs(test["size"]) >= getattr(settings, kind))
    return {"rows": len(labelled), "measured": measure(live.project, live.manifest, target, scores, seed), **found}


def decide(faults: list[Fault], evidence: list[str], settings: Drift) -> Verdict:
    """Bad data is refused whatever else there is; evidence of a kind that counts is a reason to retrain."""
    if faults:
        return "refuse"
    return "retrain" if set(evidence) & set(settings.retrain_on) else "keep"


def check(live: Live, batch: Batch, scores: np.ndarray, settings: Drift, max_rejected: float, seed: int) -> dict[str, Any]:
    """The report on a batch, `scores` being what the model gives the rows of its frame: verdict, reason, and what they rest
    on. The order of the batch's rows changes nothing.
    """
    project = live.project
    ended = batch.frame[project.target].notna()
    labelled = project.clean(batch.frame[ended])
    frame = labelled if ended.all() else batch.frame  # the rows that training would leave out are left out where it can tell
    labelled = labelled if len(labelled) >= settings.min_rows else labelled[:0]
    report: dict[str, Any] = {"columns": [], "joint": None, "outcomes": None, "expected": None, "stability": None}
    faults = schema_faults(batch, project, max_rejected)
    if len(frame) >= settings.min_rows:
        faults += gap_faults(live.reference, frame, project, settings) + constant_faults(live.reference, frame, project)
        report["columns"] = compare_columns(live, frame, scores[frame.index], labelled, settings)
        units = unit_faults(live.reference, frame, project, settings)
        if surely_changed(report["columns"], settings) & set(project.row.model_fields) <= {fault.column for fault in units}:
            faults += units  # where other columns changed too, the world may have
        report["joint"] = compare_jointly(live, frame, settings, seed)
        report["stability"] = stability(live.scores, scores[frame.index])
        if len(labelled):
            report["outcomes"] = compare_outcomes(live, labelled, scores[labelled.index], settings, seed)
        elif project.task == "classification":
            report["expected"] = expect(project, live.manifest, scores, seed)
    outcomes = report["outcomes"] or {}
    kinds = {
        "columns": any(entry["drifted"] for entry in report["columns"]),
        "joint": report["joint"] and (report["joint"]["drifted"] or report["joint"]["dependence"]["drifted"]),
    }
    kinds |= {kind: outcomes.get(kind, {}).get("drifted") for kind in ("loss", "bias", "pattern")}
    report["evidence"] = [kind for kind, found in kinds.items() if found]
    report["faults"] = [vars(fault) for fault in faults]
    report["verdict"] = decide(faults, report["evidence"], settings)
    report["batch"] = describe_batch(batch) | {"tested": len(frame)}
    report["model"] = {"hash": live.hash, "version": live.version, "reference_rows": len(live.reference)}
    report["performance"] = {"metric": project.primary_metric, **live.performance}
    return report | {"reason": explain(report, project, settings)}


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
        "gaps": {name: count / batch.accepted for name, count in sorted(batch.gaps.items()) if count},
        "unseen": {name: most_frequent(values) for name, values in sorted(batch.unseen.items()) if values},
    }


def most_frequent(values: Counter[str]) -> dict[str, int]:
    """The five most frequent values; of equally frequent ones the first by name, whatever the order of the rows."""
    return dict(sorted(values.items(), key=lambda item: (-item[1], item[0]))[:5])


def batch_name(address: str) -> str:
    """A file name for the report on a batch."""
    path = PurePosixPath(urlsplit(address).path)
    stem = path.stem if path.suffix else address
    return re.sub(r"[^\w.-]+", "-", stem).strip("-.") or "batch"


def note(name: str, report: dict[str, Any]) -> None:
    """Write the verdict into the ledger, unless it ends with the same one on the same batch and model."""
    entry: dict[str, Any] = {key: report[key] for key in ("verdict", "reason", "evidence")}
    entry["batch"] = {key: report["batch"][key] for key in ("address", "sha256", "rows")}
    entry["hash"] = report["model"]["hash"]
    last = [line for line in ledger.read(name) if line["event"] == "drift"][-1:]
    if not last or not entry.items() <= last[0].items():
        ledger.append(name, entry | {"event": "drift", "by": who()})


def options(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--batch", help="CSV or Parquet file, or what else stages.intake.sources reads")
    source.add_argument("--from-log", type=float, metavar="HOURS", help="what the server predicted in the last hours")
    default = os.environ.get("SERVE_DATABASE_URL", "sqlite+aiosqlite:///serve.db")
    parser.add_argument("--database", default=default, help="the server's log; default: SERVE_DATABASE_URL, or %(default)s")
    parser.add_argument("--no-html", dest="html", action="store_false", help="leave out Evidently's report, to save seconds")
    parser.add_argument("--dry-run", action="store_true", help="write nothing")


def main(name: str, batch: str | None, from_log: float | None, database: str, html: bool, dry_run: bool) -> int | None:
    project, settings, live = load_project(name), load_block(name, "drift", Drift), load_live(name)
    seed, max_rejected = load_seed(), load_block(name, "ingest", Ingest).max_rejected
    rest = (project, live.reference, settings.sample, seed)
    found = read_file(str(batch), *rest) if from_log is None else read_log(database, from_log, *rest)
    scores = load_scorer(project, Paths(name).model)(coerce(found.frame, project.columns)[0])
    report = check(live, found, scores, settings, max_rejected, seed)
    model = f"model {(live.hash or 'unknown')[:12]} ({live.version or 'no version'})"
    print(f"{name}: compared with {len(live.reference):,} rows that {model} was trained on")
    print(report["reason"])
    if not dry_run:
        path = Paths(name).reports / "drift" / f"{batch_name(found.address)}.json"
        write_json(path, report)
        note(name, report)
        if html and report["columns"]:
            from stages.monitoring.evidently import save_html  # which takes seconds to import

            page = partial(save_html, live, found.frame, scores, report, settings.alpha.columns)
            write(path.with_suffix(".html"), page)
    return CODES[report["verdict"]]


if __name__ == "__main__":
    run(main, options)

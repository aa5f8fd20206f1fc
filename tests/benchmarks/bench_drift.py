"""Error rates of the drift check on simulated batches, whose truth is known, beside the rules that it replaces.

Run `python -m tests.benchmarks.bench_drift [bankchurn ...] [--batches 500]` after `dvc repro`; seeds are fixed. The replaced
rules retrain when any number's Kolmogorov-Smirnov test has p < 0.05, and when any number's mean moves two standard
deviations. Evidently's default preset, which is slow, sees one batch in `--evidently`; it flags a batch when half of the
columns drift. The table at the end has the share of batches that call for a new model, of the broken ones the share that is
refused; of the other rules the share of alarms.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import ks_2samp

from stages.core.files import Paths
from stages.core.params import load_block
from stages.core.schema import coerce
from stages.intake.sift import sift
from stages.modeling.metrics import fold_scores
from stages.modeling.scoring import load_scorer
from stages.monitoring.batch import Batch, checked_columns, gather
from stages.monitoring.check import check_batch
from stages.monitoring.columns import is_measured
from stages.monitoring.reference import Live, load_live
from stages.monitoring.settings import Drift
from stages.projects._base import Project, project_names
from stages.runtime.metric_names import HIGHER_IS_BETTER

UNITS = (1.609, 1 / 1.609, 10.764, 1 / 10.764, 2.54, 1 / 2.54, 1000, 0.001)
CONCEPT = ("concept, all rows part of the way", "concept, part of the rows all the way")
DEPENDENT = {"bankchurn": "Balance", "telecom": "minutes", "carvision": "odometer", "boston": "NOX", "realestate": "bed"}


@cache
def setting(name: str) -> tuple[Live, Drift, Any]:
    """What every check of a project needs."""
    live = load_live(name)
    return live, load_block(name, "drift", Drift), load_scorer(live.project, Paths(name).model)


def simulate(project: Project, rows: int, shift: str | None, *seed: int) -> pd.DataFrame:
    """Raw rows, in no order."""
    rng = np.random.default_rng([*b"bench", *project.name.encode(), *seed])
    frame = pd.DataFrame(project.simulate(rng, rows, shift))
    return frame.iloc[rng.permutation(rows)].reset_index(drop=True)


def measured(live: Live) -> list[Any]:
    """Columns of numbers with many values."""
    return [c for c in live.project.columns if is_measured(c, live.reference[c.name].dropna())]


def within(column: Any, values: np.ndarray) -> np.ndarray:
    """Values moved to the nearest that the schema takes."""
    return np.clip(values, column.ge if column.gt is None else column.gt + 0.01, column.le)


def moved(frame: pd.DataFrame, live: Live, number: int, rng: np.random.Generator, stretch: float, by: float) -> pd.DataFrame:
    """One column, another one in each batch, stretched around its mean and moved by standard deviations; whole numbers are
    rounded at random. A column is passed over when that takes more than 5 % of its values out of the schema.
    """
    options = []
    for column in measured(live):
        usual = live.reference[column.name].dropna().to_numpy()
        values = usual.mean() + stretch * (frame[column.name].to_numpy(dtype=float) - usual.mean()) + by * usual.std()
        if (np.isfinite(values) & (within(column, values) != values)).mean() < 0.05:
            options.append((column, usual, values))
    column, usual, values = options[number % len(options)]
    if (usual % 1 == 0).all():
        values = np.floor(values + rng.random(len(values)))
    return frame.assign(**{column.name: within(column, values)})


def unlinked(frame: pd.DataFrame, live: Live, rng: np.random.Generator) -> pd.DataFrame:
    """A column that depends on others shuffled among the rows that have it."""
    column = DEPENDENT.get(live.project.name, measured(live)[0].name)
    there = np.flatnonzero(frame[column].notna())
    values = frame[column].to_numpy(copy=True)
    values[there] = values[rng.permutation(there)]
    return frame.assign(**{column: values})


def broken(frame: pd.DataFrame, live: Live, number: int, rng: np.random.Generator) -> pd.DataFrame:
    """One column stuck, in another unit, or with 40 % of its values lost; that last only where few are missing otherwise."""
    kind, number = number % 3, number // 3
    columns = measured(live)
    if kind == 2:
        columns = [c for c in live.project.columns if live.reference[c.name].isna().mean() < 0.3]
        name = columns[number % len(columns)].name
        return frame.assign(**{name: frame[name].mask(rng.random(len(frame)) < 0.4)})
    column = columns[number % len(columns)]
    values = frame[column.name]
    if kind == 1:
        return frame.assign(**{column.name: values * UNITS[number // len(columns) % len(UNITS)]})
    return frame.assign(**{column.name: values.where(values.isna(), live.reference[column.name].min())})


def concept_shift(
    project: Project, share: float, everywhere: bool, rng: np.random.Generator, rows: int, *seed: int
) -> pd.DataFrame:
    """Rows whose outcomes have gone a share of the way to those after the concept shift: of a regression `everywhere`, on
    the scale of logarithms; else, as of a classifier always, that share of the rows has gone all of it.
    """
    before, after = (simulate(project, rows, shift, *seed) for shift in (None, "concept"))
    sides = before[project.target], after[project.target]
    if everywhere and project.task == "regression":
        return before.assign(**{project.target: np.exp((1 - share) * np.log(sides[0]) + share * np.log(sides[1]))})
    return before.assign(**{project.target: sides[0].where(rng.random(len(before)) >= share, sides[1])})


@cache
def concept_share(name: str, everywhere: bool) -> float:
    """The share that makes the live model's primary metric 5 % worse."""
    live, _, scorer = setting(name)
    project = live.project

    def metric(share: float) -> float:
        raw = concept_shift(project, share, everywhere, np.random.default_rng(9), 50_000, 9, 9)
        frame = project.clean(sift(raw, checked_columns(project))[0])
        scores = scorer(coerce(frame, project.columns)[0])
        return fold_scores(frame[project.target].to_numpy(), scores, project.task)[project.primary_metric]

    sign = 1 if project.primary_metric in HIGHER_IS_BETTER else -1
    wanted, low, high = metric(0) * (1 - 0.05 * sign), 0.0, 1.0
    for _ in range(8):
        middle = (low + high) / 2
        low, high = (low, middle) if sign * metric(middle) < sign * wanted else (middle, high)
    return high


def draw(name: str, scenario: str, number: int, rows: int) -> pd.DataFrame | None:
    """The raw rows of a batch; None where the scenario makes no sense for the project."""
    live, *_ = setting(name)
    project, rng = live.project, np.random.default_rng([*name.encode(), *scenario.encode(), number])
    shift = {"inflation 10 %": "inflation", "new category 5 %": "new_category", "other rows": "covariate"}.get(scenario)
    if shift and shift not in project.shifts:
        return None
    if scenario in CONCEPT:
        everywhere = scenario == CONCEPT[0]
        if not everywhere and project.task == "classification":
            return None  # the same as the other
        share = concept_share(name, everywhere)
        return concept_shift(project, share, everywhere, rng, rows, *scenario.encode(), number)
    frame = simulate(project, rows, shift, *scenario.encode(), number, rows)
    if scenario == "mean + 0.25 sd":
        return moved(frame, live, number, rng, 1, 0.25)
    if scenario == "variance x 1.3":
        return moved(frame, live, number, rng, 1.3**0.5, 0)
    if scenario == "dependence only":
        return unlinked(frame, live, rng)
    if scenario == "broken sensor":
        return broken(frame, live, number, rng)
    return frame


def rivals(live: Live, batch: Batch, labels: bool) -> dict[str, bool]:
    """What the replaced rules say."""
    frame = live.project.clean(batch.frame) if labels else batch.frame
    names = [c.name for c in live.project.columns if c.kind == "number" and frame[c.name].notna().sum() > 1]
    names += [live.project.target] if labels else []
    pairs = [(live.reference[name].dropna(), frame[name].dropna()) for name in names]
    far = any(abs(now.mean() - usual.mean()) > 2 * usual.std() for usual, now in pairs)
    return {"any KS p < 0.05": any(ks_2samp(*pair, method="asymp").pvalue < 0.05 for pair in pairs), "mean moved 2 sd": far}


def evidently(live: Live, batch: Batch, labels: bool) -> dict[str, bool]:
    """What Evidently's preset says with its defaults."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    columns = [c for c in live.project.columns if c.kind != "date" and batch.frame[c.name].notna().any()]
    texts = [c.name for c in columns if c.kind == "text"]
    names = [c.name for c in columns] + ([live.project.target] if labels else [])
    definition = DataDefinition(numerical_columns=[n for n in names if n not in texts], categorical_columns=texts)
    sides = [Dataset.from_pandas(frame[names], data_definition=definition) for frame in (batch.frame, live.reference)]
    found = Report([DataDriftPreset()]).run(*sides).dict()["metrics"][0]["value"]
    return {"Evidently, half of the columns": found["share"] >= 0.5, "Evidently, any column": found["count"] > 0}


def judge(name: str, scenario: str, labels: bool, rows: int, number: int, slow: bool) -> dict[str, Any] | None:
    """The verdicts on one batch, and the seconds that the check took."""
    live, settings, scorer = setting(name)
    frame = draw(name, scenario, number, rows)
    if frame is None:
        return None
    frame = frame if labels else frame.drop(columns=live.project.target)
    start = time.perf_counter()
    batch = gather("bench", [frame], live.project, live.reference, settings.sample, 0)
    report = check_batch(live, batch, scorer(coerce(batch.frame, live.project.columns)[0]), settings, 0.02, seed=0)
    seconds = time.perf_counter() - start
    found = {"verdict": report["verdict"], "evidence": report["evidence"], "seconds": seconds, "number": number}
    found["changed"] = [f"{e['column']} {t['test']}" for e in report["columns"] for t in e["tests"] if t["drifted"]]
    if len(batch.frame) > 1:
        found |= rivals(live, batch, labels) | (evidently(live, batch, labels) if slow else {})
    return found


CASES = [
    ("none", False, 200),
    ("none", False, 2_000),
    *(("none", True, rows) for rows in (200, 2_000, 20_000)),  # with outcomes there is more to be wrong about
    ("other rows", False, 2_000),
    ("mean + 0.25 sd", False, 2_000),
    ("variance x 1.3", False, 2_000),
    ("inflation 10 %", True, 2_000),
    ("new category 5 %", False, 2_000),
    ("dependence only", False, 2_000),
    ("broken sensor", False, 2_000),
    *((scenario, True, 2_000) for scenario in CONCEPT),
]
RULES = ("any KS p < 0.05", "mean moved 2 sd", "Evidently, half of the columns", "Evidently, any column")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("projects", nargs="*", default=project_names())
    parser.add_argument("--batches", type=int, default=500, help="without drift")
    parser.add_argument("--drifted", type=int, default=100, help="of each kind of drift")
    parser.add_argument("--evidently", type=int, default=25, metavar="N", help="every Nth batch also goes to Evidently")
    arguments = parser.parse_args()
    table = [f"| batches | rows | {' | '.join(arguments.projects)} | {' | '.join(RULES)} |"]
    table.append("|---|" + "--:|" * (table[0].count("|") - 2))
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:  # a fork would share OpenMP's state
        for scenario, labels, rows in CASES:
            found = {}
            for name in arguments.projects:
                numbers = range(arguments.batches if scenario == "none" else arguments.drifted)
                tasks = [pool.submit(judge, name, scenario, labels, rows, n, n % arguments.evidently == 0) for n in numbers]
                if results := [result for task in tasks if (result := task.result())]:
                    found[name] = pd.DataFrame(results)
                    print(f"{scenario}{', outcomes' * labels}, {rows} rows, {name}: {summarise(found[name])}", flush=True)
            if not found:
                continue
            wanted = "refuse" if scenario == "broken sensor" else "retrain"
            cells = [f"{(found[n]['verdict'] == wanted).mean():.1%}" if n in found else "" for n in arguments.projects]
            together = pd.concat(found.values())
            cells += [f"{together[rule].dropna().astype(bool).mean():.0%}" for rule in RULES]
            table.append(f"| {scenario}{', outcomes' * labels} | {rows:,} | {' | '.join(cells)} |")
    print("\n".join(table))


def summarise(results: pd.DataFrame) -> str:
    """The shares of the verdicts, the seconds, and the commonest evidence."""
    said = results["verdict"].value_counts(normalize=True)
    parts = [" ".join(f"{verdict} {said.get(verdict, 0):.1%}" for verdict in ("keep", "retrain", "refuse"))]
    parts.append(f"{results['seconds'].median():.2f} s, at most {results['seconds'].max():.2f} s")
    for lists in ("evidence", "changed"):
        counts = results[lists].explode().value_counts() / len(results)
        parts.append(", ".join(f"{kind} {share:.1%}" for kind, share in counts.head(4).items()))
    return " | ".join(parts)


if __name__ == "__main__":
    main()

"""Signs of bad data, as against drift: a broken sensor is no reason to retrain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest, ks_2samp

from stages.monitoring.batch import Batch, most_frequent
from stages.monitoring.columns import is_measured, missing_test
from stages.monitoring.reference import Live
from stages.monitoring.settings import Drift
from stages.projects._base import Column, Project, columns_of
from stages.runtime.wording import count, number, percent, significant

SURE = 1e-6  # the p-value at which chance is ruled out
LEFT_OUT = 0.1  # share of the rows by which training may leave out more than it did
TOGETHER = 0.5  # correlation from which on two columns count as missing together
# How many of one unit make another: inches, pounds, feet, miles, gallons, acres; hours, days, months; powers of ten.
UNITS = (
    1.60934, 2.20462, 2.47105, 2.54, 3.28084, 3.78541, 4.54609, 10, 10.7639, 12, 24, 60, 100, 365.25, 1_000, 4_046.86, 1e6,
)  # fmt: skip
FACTORS = np.array([*UNITS, *(1 / unit for unit in UNITS)])
# Kolmogorov and Smirnov's distance is larger once in twenty times, and once in a thousand, by chance; times the root of
# 1 / rows of the one sample + 1 / rows of the other.
LIKELY, UNLIKELY = 1.36, 1.95


@dataclass(frozen=True)
class Fault:
    """A reason to refuse: the column it is about, what is wrong with it in words, and the numbers behind them."""

    column: str | None
    rule: str
    words: str
    measured: dict[str, Any]


def schema_faults(batch: Batch, project: Project, max_rejected: float) -> list[Fault]:
    """Required columns that the batch lacks, and more rows that break the schema than ingest would take."""
    if batch.absent:
        names = ", ".join(f"“{name}”" for name in batch.absent)
        return [Fault(batch.absent[0], "missing", f"the batch lacks {names}", {})]
    share = batch.rejected / batch.rows
    if share <= max_rejected:
        return []
    words, advice = [], ""
    for reason, rows in most_frequent(batch.reasons, 3).items():
        name, _, rule = reason.partition(": ")
        worst = batch.offenders.get(reason)
        value = f" but {next(iter(most_frequent(worst, 1)))!r}" if worst else ""
        words.append(f"“{name}” {rule}{value} in {percent(rows / batch.rows)}")
        if rule.startswith("is none of"):
            advice = f"; if that is a new category and no error, extend the row in stages/projects/{project.name}.py first"
    text = f"{percent(share)} of the rows break the schema, {percent(max_rejected)} are allowed ({'; '.join(words)}){advice}"
    return [Fault(None, "schema", text, {"rejected": batch.rejected, "share": share, "limit": max_rejected})]


def missing_faults(reference: pd.DataFrame, batch: pd.DataFrame, project: Project, settings: Drift) -> list[Fault]:
    """Columns whose missing values grew by more than `max_gaps`, a share of the rows. Values that are missing together with
    those of another column, as in the reference, are left out: a plot of land has neither beds nor baths, and more plots are
    no fault. So three columns that vanish together are found as drift, not here.
    """
    names = [column.name for column in project.columns]
    masks, others = reference[names].isna(), batch[names].isna()
    together = masks.loc[:, masks.nunique() > 1].corr().abs() > TOGETHER
    found = []
    for name in names:
        partners = list(together.index[together[name]].drop(name)) if name in together else []
        usual, now = (side[name] & ~side[partners].any(axis=1) for side in (masks, others))
        test = missing_test(usual.to_numpy(), now.to_numpy())
        if test.size > settings.max_gaps and test.p < SURE:
            words = (
                f"“{name}” is missing in {percent(others[name].mean(), 0)} of the rows against "
                f"{percent(masks[name].mean(), 0)} in training"
            )
            found.append(Fault(name, "gaps", words, {"batch": float(now.mean()), "reference": float(usual.mean())}))
    return found


def constant_faults(reference: pd.DataFrame, batch: pd.DataFrame, project: Project) -> list[Fault]:
    """Numbers and dates that never vary where they used to: the odds that so many rows all have the commonest value are
    below one in a million. A text that never varies may be a batch of one kind, and is drift.
    """
    found = []
    for column in project.columns:
        values, usual = batch[column.name].dropna(), reference[column.name].dropna()
        if column.kind == "text" or values.empty or usual.empty or values.nunique() > 1:
            continue
        commonest = usual.value_counts(normalize=True).iloc[0]
        if len(values) * np.log(commonest) < np.log(SURE):
            words = (
                f"“{column.name}” is {values.iloc[0]} in every row, and had {count(usual.nunique(), 'value')} in training"
            )
            found.append(
                Fault(column.name, "constant", words, {"value": str(values.iloc[0]), "odds_base": float(commonest)})
            )
    return found


def left_out_faults(live: Live, known: pd.DataFrame, labelled: pd.DataFrame, settings: Drift) -> list[Fault]:
    """A share of the rows with an outcome that training would leave out which is larger by `LEFT_OUT`: `labelled` are those
    of the `known` rows that it would keep.
    """
    dropped = len(known) - len(labelled)
    share, usual = dropped / max(len(known), 1), live.left_out or 0.0
    if len(known) < settings.min_rows or share - usual <= LEFT_OUT:
        return []
    if binomtest(dropped, len(known), max(usual, 1e-3), alternative="greater").pvalue > SURE:
        return []
    target = live.project.target
    words = (
        f"training would leave out {percent(share, 0)} of the rows with an outcome, against {percent(usual)} of the rows it "
        "was given"
    )
    if live.project.task == "regression":
        medians = (number(side[target].median(), live.project.unit) for side in (known, live.reference))
        words += "; the median of “{}” is {} against {} in training".format(target, *medians)
    return [Fault(target, "left out", words, {"rows": dropped, "share": share, "usual": usual})]


def target_columns(project: Project) -> tuple[Column, ...]:
    """The target of a regression, whose unit may differ too."""
    return tuple(
        column for column in columns_of(project.record) if column.name == project.target and project.task == "regression"
    )


def unit_faults(reference: pd.DataFrame, batch: pd.DataFrame, columns: tuple[Column, ...], settings: Drift) -> list[Fault]:
    """Positive numbers that have their former distribution once they are divided by the ratio of two units, and did not
    before: Kolmogorov and Smirnov's distance, which chance does not explain, falls by half and to what chance and `distance`
    explain. If any ratio would do, prices that rose by 40 % would be refused; so only those of units are tried, also as
    rounded as a batch has them, and another currency is not found.
    """
    found = []
    for column in columns:
        sides = [side[column.name].dropna().to_numpy() for side in (batch, reference)]
        if not is_measured(column, reference[column.name]) or any((side < 0).any() or not side.any() for side in sides):
            continue
        values, usual = (side[side > 0] for side in sides)  # zero is the same in every unit
        before = _distance(usual, values)
        chance = np.sqrt(1 / len(values) + 1 / len(usual))
        if before < max(settings.distance, UNLIKELY * chance):
            continue
        tenths = [np.quantile(side, np.linspace(0.1, 0.9, 9), method="inverted_cdf") for side in (values, usual)]
        rounded = [ratio for ratio in tenths[0] / tenths[1] if np.abs(np.log(ratio / FACTORS)).min() < 0.01]
        after, factor = min((_distance(usual, values / ratio), ratio) for ratio in (*FACTORS, *rounded))
        if after < before / 2 and after < settings.distance + LIKELY * chance:
            many = f"{significant(factor, 4)} times" if factor > 1 else f"1/{significant(1 / factor, 4)} of"
            words = (
                f"“{column.name}” is {many} its values in training and otherwise distributed the same, as in another unit"
            )
            found.append(Fault(column.name, "unit", words, {"factor": float(factor), "before": before, "after": after}))
    return found


def _distance(reference: np.ndarray, batch: np.ndarray) -> float:
    """Kolmogorov and Smirnov's distance; values that are equal but for rounding count as equal."""
    return float(ks_2samp(np.round(np.log(reference), 5), np.round(np.log(batch), 5), method="asymp").statistic)

"""Signs that a batch is bad data and not a changed world: a broken sensor is no reason to retrain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import ks_2samp

from stages.drift_batch import Batch
from stages.drift_tests import compare_shares
from stages.params import Drift
from stages.project import Column, Project

SURE = 1e-6  # the odds at which a chance is ruled out
TOGETHER = 0.5  # correlation from which on two columns are said to be missing together
FEW_VALUES = 10  # a number with at most so many values is compared as categories are


@dataclass(frozen=True)
class Fault:
    """A reason to refuse: the column it is about, what is wrong with it in words, and the numbers behind them."""

    column: str | None
    rule: str
    words: str
    measured: dict[str, Any]


def schema_faults(batch: Batch, project: Project, max_rejected: float) -> list[Fault]:
    """Required columns that the batch lacks, and more rows that break the schema than ingest would take."""
    if batch.missing:
        names = ", ".join(f"`{name}`" for name in batch.missing)
        return [Fault(name, "missing", f"it lacks {names}", {}) for name in batch.missing[:1]]
    share = batch.rejected / batch.rows
    if share <= max_rejected:
        return []
    words, advice = [], ""
    for reason, count in batch.reasons.most_common(3):
        name, _, rule = reason.partition(": ")
        worst = batch.offenders.get(reason)
        value = f" but {worst.most_common(1)[0][0]!r}" if worst else ""
        words.append(f"`{name}` {rule}{value} in {count / batch.rows:.1%}")
        if rule.startswith("is none of"):
            advice = f"; if that is a new kind and no mistake, extend the row in stages/projects/{project.name}.py first"
    text = f"{share:.1%} of its rows break the schema, {max_rejected:.1%} may ({'; '.join(words)}){advice}"
    return [Fault(None, "schema", text, {"rejected": batch.rejected, "share": share, "limit": max_rejected})]


def gap_faults(reference: pd.DataFrame, batch: pd.DataFrame, project: Project, settings: Drift) -> list[Fault]:
    """Columns whose gaps grew by more than `max_gaps`, a share of the rows. Gaps that come along with those of another
    column, as they did in the reference, are left out: a plot of land has neither beds nor baths, and more plots are no
    fault. So three columns that vanish together are found as drift, not here.
    """
    names = [column.name for column in project.columns]
    masks, others = reference[names].isna(), batch[names].isna()
    together = masks.corr().abs() > TOGETHER
    found = []
    for name in names:
        partners = [other for other in names if other != name and together.loc[name, other]]
        usual, now = (side[name] & ~side[partners].any(axis=1) for side in (masks, others))
        test = compare_shares(usual.to_numpy(), now.to_numpy())
        if test.size > settings.max_gaps and test.p < SURE:
            words = (
                f"`{name}` is missing in {others[name].mean():.0%} of the rows against {masks[name].mean():.0%} in training"
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
            words = f"`{column.name}` is {values.iloc[0]} in every row, and had {usual.nunique():,} values in training"
            found.append(
                Fault(column.name, "constant", words, {"value": str(values.iloc[0]), "odds_base": float(commonest)})
            )
    return found


def unit_faults(reference: pd.DataFrame, batch: pd.DataFrame, project: Project, settings: Drift) -> list[Fault]:
    """Positive numbers that look as they did once they are divided by one factor, and not before: the distance between the
    distributions (Kolmogorov and Smirnov's) falls below a third and to what chance explains. The factor is the best of the
    ratios between their tenths.
    """
    found = []
    for column in project.columns:
        values, usual = (side[column.name].dropna().to_numpy() for side in (batch, reference))
        if not is_measured(column, reference[column.name]) or (values < 0).any() or (usual < 0).any() or not values.any():
            continue
        tenths = [np.quantile(side[side > 0], np.linspace(0.1, 0.9, 9), method="inverted_cdf") for side in (values, usual)]
        factors = tenths[0] / tenths[1]
        if abs(np.log(np.median(factors))) < np.log(settings.unit):
            continue
        factor = float(min(factors, key=lambda ratio: _distance(usual, values / ratio)[0]))
        (before, p), (after, _) = _distance(usual, values), _distance(usual, values / factor)
        chance = 1.36 * np.sqrt(1 / len(values) + 1 / len(usual))
        if p < SURE and after < before / 3 and after < settings.distance + chance:
            many = f"{factor:.3g} times" if factor > 1 else f"1/{1 / factor:.3g} of"
            words = f"`{column.name}` is {many} what it was and otherwise distributed as in training, as in another unit"
            found.append(Fault(column.name, "unit", words, {"factor": factor, "before": before, "after": after}))
    return found


def _distance(reference: np.ndarray, batch: np.ndarray) -> tuple[float, float]:
    """Kolmogorov and Smirnov's distance and its p-value; values that are equal but for rounding count as equal."""
    with np.errstate(divide="ignore"):
        found = ks_2samp(np.round(np.log(reference), 6), np.round(np.log(batch), 6), method="asymp")
    return float(found.statistic), float(found.pvalue)


def is_measured(column: Column, reference: pd.Series) -> bool:
    """Whether a column holds numbers of many values, and not codes or counts of a few."""
    return column.kind == "number" and not column.choices and reference.nunique() > FEW_VALUES

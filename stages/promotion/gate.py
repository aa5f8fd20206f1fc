"""The gate: six rules that decide whether a model may take the place of the one in production, and the reason in words.

Every function is pure; `promotion.evidence` gathers what they judge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm, t

from stages.core.cli import UserError
from stages.modeling.metrics import ECE_BINS, calibration_bins
from stages.projects._base import Project
from stages.promotion.settings import Promote
from stages.runtime.metric_names import HIGHER_IS_BETTER, TITLES
from stages.runtime.probe import TOLERANCE
from stages.runtime.wording import (
    between,
    count,
    digits_that_count,
    listed,
    metric,
    metric_change,
    metric_interval,
    number,
    p_value,
    percent,
    points,
    words,
)

ALPHA = 0.05  # the p-value below which a model beats the baseline
SIGMAS = 1.96  # standard deviations on either side that hold 95 % of a normal distribution
Metrics = Mapping[str, Mapping[str, float]]  # value, low and high by name, as in evaluation.json


@dataclass(frozen=True)
class Rule:
    """What one rule found: `passed` is None where it does not apply, `detail` its part of the reason, in whole sentences."""

    rule: str
    passed: bool | None
    detail: str
    measured: dict[str, Any]


@dataclass(frozen=True)
class Decision:
    """Accepted if and only if no rule failed."""

    accepted: bool
    rules: tuple[Rule, ...]
    reason: str


@dataclass(frozen=True)
class Comparison:
    """The primary metric of two models on the same rows. `value` is the gain, positive where the challenger is better; `low`
    and `high` are the bounds that it exceeds and stays below with `confidence`.
    """

    metric: str
    challenger: float
    champion: float
    value: float
    low: float
    high: float
    confidence: float
    margin: float
    rows: int
    left_out: int | None

    @property
    def verdict(self) -> str:
        """In words; the first two pass."""
        if self.low > 0:
            return "better"
        if self.low > -self.margin * abs(self.champion):
            return "not worse within the margin"
        return "worse" if self.high < 0 else "no better"


@dataclass(frozen=True)
class Artifact:
    """How the files that are served behave: why they do not score, the largest relative difference of the exported scorer
    from the pipeline on the test rows, the relative difference of the known row from its recorded score, and the median
    milliseconds of one row.
    """

    broken: str = ""
    difference: float = 0.0
    probe: float = 0.0
    latency_ms: float = 0.0


def compare_models(
    metric: str, models: Sequence[tuple[float, np.ndarray]], promote: Promote, rows: int, left_out: int | None = 0
) -> Comparison:
    """Challenger and champion by the paired bootstrap (Efron and Tibshirani, 1993, chapter 16). Of each: the metric on all
    rows, and its values over resamples drawn alike for both, so that the difficulty of a row cancels out. On few rows the
    plain quantiles are too narrow, hence the expanded ones (Hesterberg, The American Statistician 2015).
    """
    (own, own_draws), (other, other_draws) = models
    sign = 1 if metric in HIGHER_IS_BETTER else -1
    tail = norm.cdf(np.sqrt(rows / (rows - 1)) * t.ppf(1 - promote.confidence, rows - 1))
    low, high = np.nanquantile(sign * (own_draws - other_draws), [tail, 1 - tail])
    gain = sign * (own - other)
    return Comparison(metric, own, other, gain, float(low), float(high), promote.confidence, promote.margin, rows, left_out)


def check_floors(promote: Promote, metrics: Metrics, unit: str) -> Rule:
    """Metrics that a model must reach by itself; UserError for a bound on a metric that is unknown or
    has no better end.
    """
    measured, details = {}, []
    known = [name for name in TITLES if name in metrics and name != "interval_coverage"]
    for name, bound in promote.floors.items():
        if name not in known:
            raise UserError(
                f"params.yaml: promote.floors: no bound can be set on {name!r}; the metrics are {', '.join(known)}"
            )
        value, more = metrics[name]["value"], name in HIGHER_IS_BETTER
        passed = value >= bound if more else value <= bound
        measured[name] = {"value": value, "bound": bound, "passed": passed}
        word = {(True, True): "reaches", (False, True): "is below", (True, False): "keeps", (False, False): "is above"}
        texts = [metric(number, name, unit) for number in (value, bound)]
        kind = "floor" if more else "ceiling"
        details.append(f"{TITLES[name]} {texts[0]} {word[passed, more]} the {kind} of {texts[1]}")
    if not details:
        return Rule("floors", None, "No floors are set.", {})
    return Rule("floors", all(each["passed"] for each in measured.values()), f"{'; '.join(details)}.", measured)


def check_gain(compared: Comparison | str, metrics: Metrics, rows: int, project: Project, champion: str | None) -> Rule:
    """The primary metric against that of `champion`, a version. Without a champion the rule does not apply; where no
    comparison can be made, `compared` says why, and it fails: what cannot be compared is not shown to be no worse.
    """
    name, unit = project.primary_metric, project.unit
    if isinstance(compared, str):
        value, interval = metric(metrics[name]["value"], name, unit), metric_interval(metrics[name], name, unit)
        alone = f"On {count(rows, 'test row')} the {TITLES[name]} is {value} (95 % interval {interval})."
        return Rule("comparison", None if champion is None else False, f"{compared} {alone}", {})
    ending = {
        "not worse within the margin": f"not worse within the margin of {percent(compared.margin)} of the champion's value",
        "no better": "no better: the gain may be chance",
    }.get(compared.verdict, compared.verdict)
    both = describe_comparison(compared, unit, champion)
    detail = f"On the same {count(compared.rows, 'test row')} the {TITLES[name]} is {both}, which is {ending}."
    if compared.left_out is None:
        detail += f" The training rows of {champion} are not available, so some of them may be among these."
    elif compared.left_out:
        detail += f" Left out: {count(compared.left_out, 'further test row')} that {champion} was trained on."
    measured = {key: getattr(compared, key) for key in ("challenger", "champion", "value", "low", "high", "margin")}
    return Rule("comparison", compared.low > -compared.margin * abs(compared.champion), detail, measured)


def describe_comparison(compared: Comparison, unit: str, champion: str | None = None) -> str:
    """Both models' values of the metric, and the gain with its interval, with the digits that count."""
    name, low, high, value = compared.metric, compared.low, compared.high, compared.value
    digits = digits_that_count(low, max(high, low + abs(value)), name, unit)
    own, other = (metric(number, name, unit, digits) for number in (compared.challenger, compared.champion))
    gain, *bounds = (metric_change(number, name, unit, digits) for number in (value, low, high))
    less = "" if name in HIGHER_IS_BETTER else "; less is better"
    of = f" of {champion}" if champion else ""
    interval = f"{percent(2 * compared.confidence - 1, 0)} interval {between(*bounds)}"
    return f"{own} against {other}{of} (gain {gain}, {interval}{less})"


def check_fairness(rates: Sequence[Mapping[str, Any]], promote: Promote, version: str | None) -> Rule:
    """What `segments.fairness` says of challenger and champion by sensitive column, on the same rows: gap in recall
    and disparate impact may be worse than the champion's by at most the margin. A model that flags nobody has no impact.
    """
    challenger, champion = rates or ({}, {})
    if not challenger:
        return Rule("fairness", None, "There is nothing to compare by sensitive group.", {})
    measured: dict[str, Any] = {}
    details = []
    for column, own in challenger.items():
        for name, sign, write in (("recall_gap", 1, points), ("disparate_impact", -1, percent)):
            new, old = own[name], champion[column][name]
            worse = None if new is None or old is None else sign * (new - old)
            passed = worse is None or worse <= promote.fairness_margin
            measured[f"{column}.{name}"] = {"challenger": new, "champion": old, "passed": passed}
            if not passed:
                details.append(f"{words(name)} by {column} {write(new)} against {write(old)} of {version}")
    margin = points(promote.fairness_margin)
    if details:
        detail = f"Fairness is worse by more than {margin}: {'; '.join(details)}."
    else:
        detail = (
            f"Recall gap and disparate impact by {listed(challenger)} are at most {margin} worse than those of {version}."
        )
    return Rule("fairness", not details, detail, measured)


def check_calibration(metrics: Metrics, rows: int, promote: Promote, scores: np.ndarray, promised: float | None) -> Rule:
    """Whether the probabilities, or where `promised` is a coverage the intervals, keep what they promise. The point estimate
    must keep the bound of params or, on few rows, what chance does to a perfectly calibrated model in 95 % of cases.

    So a good model is not refused for a small test set, and a bad one gets no room beyond that. To refuse only where a whole
    bootstrap interval is outside would let an interval that holds 75 % instead of 90 % pass on 50 rows; and for the
    calibration error that is no interval, as each resample adds noise of its own (telecom: 0.015, but 0.023 to 0.063). What
    chance does is known from drawing outcomes from the forecasts (Bröcker and Smith, Weather and Forecasting 2007).
    """
    if promised is None:
        found, bound, chance = metrics["ece"]["value"], promote.max_ece, calibration_noise(scores)
        allowed = max(bound, chance)
        detail = f"The calibration error is {metric(found, 'ece')}; {metric(allowed, 'ece')} is allowed"
    else:
        covered, bound = metrics["interval_coverage"]["value"], promote.coverage_tolerance
        found, chance = abs(covered - promised), SIGMAS * float(np.sqrt(promised * (1 - promised) / rows))
        allowed = max(bound, chance)
        held = f"The intervals cover {percent(covered)} of the test rows where they promise {percent(promised)}"
        detail = f"{held}; {points(allowed)} off are allowed"
    passed = found <= allowed + 1e-9
    detail += f", as chance may do that to a perfectly calibrated model on {count(rows, 'row')}." if chance > bound else "."
    return Rule("calibration", passed, detail, {"error": found, "bound": bound, "chance": chance})


def calibration_noise(probability: np.ndarray) -> float:
    """The calibration error that outcomes drawn from these very probabilities exceed in less than 5 % of cases, in closed
    form: a bin's sum of outcomes minus probabilities is all but normal, and the error adds up the sizes of ten.
    """
    variance = np.bincount(calibration_bins(probability), probability * (1 - probability), ECE_BINS)
    mean, sd = np.sqrt(2 / np.pi * variance).sum(), np.sqrt((1 - 2 / np.pi) * variance.sum())
    return float((mean + SIGMAS * sd) / len(probability))


def check_baseline(metrics: Metrics, baseline: Mapping[str, float], project: Project) -> Rule:
    """Whether the model is better than predicting without looking at the row."""
    name, value, p = project.primary_metric, baseline["value"], baseline["p_value"]
    passed = p < ALPHA
    texts = [metric(number, name, project.unit) for number in (value, metrics[name]["value"])]
    verb = "beats" if passed else f"does not beat, as that takes a p-value below {ALPHA},"
    detail = f"With {texts[1]} it {verb} the {texts[0]} of predicting without looking at the row ({p_value(p)})."
    return Rule("baseline", passed, detail, {"value": value, "p_value": p})


def check_artifact(artifact: Artifact, promote: Promote) -> Rule:
    """Whether what is served can be served: it loads, equals the pipeline, scores the known row and is quick."""
    measured = {key: getattr(artifact, key) for key in ("difference", "probe", "latency_ms")}
    if artifact.broken:
        return Rule("artifact", False, f"The artifact cannot be used: {artifact.broken.rstrip('.')}.", measured)
    wrong = []
    if not artifact.difference <= TOLERANCE:
        wrong.append(f"differs from the pipeline by up to {artifact.difference:.1g} on the test rows")
    if not artifact.probe <= TOLERANCE:
        wrong.append(f"scores the known row wrong by {artifact.probe:.1g}")
    if not artifact.latency_ms <= promote.latency_ms:
        taken, allowed = (number(ms, "ms") for ms in (artifact.latency_ms, promote.latency_ms))
        wrong.append(f"takes {taken} a row where {allowed} are allowed")
    right = (
        f"equals the pipeline within {TOLERANCE:g}, scores the known row as recorded "
        f"and answers in {number(artifact.latency_ms, 'ms')} a row"
    )
    return Rule("artifact", not wrong, f"The exported scorer {' and '.join(wrong) if wrong else right}.", measured)


def decide_promotion(rules: Iterable[Rule], version: str, why: str) -> Decision:
    """The decision and its reason in one paragraph: the verdict with every rule that failed by name, the comparison, and of
    the others what failed; or all that is met by a model accepted as `version`, with the words `why` it is that version.
    """
    rules = tuple(rules)
    failed = [rule for rule in rules if rule.passed is False]
    met = [rule.rule for rule in rules if rule.passed]
    ordered = sorted(rules, key=lambda rule: rule.rule != "comparison")
    if not failed:
        details = [rule.detail for rule in ordered if rule.passed or rule.rule == "comparison"]
        return Decision(True, rules, " ".join([f"Accepted as {version}.", *details, why]))
    details = [rule.detail for rule in ordered if rule in failed or rule.rule == "comparison"]
    verdict = f"Refused by the rule{'s' * (len(failed) > 1)} {listed([rule.rule for rule in failed])}."
    rest = [f"Met: {listed(met)}."] if met else []
    return Decision(False, rules, " ".join([verdict, *details, *rest]))

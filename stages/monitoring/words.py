"""A check in plain words: one paragraph that a person who knows the data, and no statistics, can act on."""

from __future__ import annotations

from math import expm1
from typing import Any

import pandas as pd

from stages.monitoring.settings import Drift
from stages.projects._base import Project
from stages.runtime.wording import count, metric, metric_interval, percent, points, significant, words

NAMED = 5  # columns that are described one by one
CODES = 10  # a number of at most this many values is described as categories are


def describe_column(reference: pd.Series, batch: pd.Series) -> dict[str, Any]:
    """A column in training and in the batch: its missing values, its median, or the category whose share changed most."""
    sides = reference.dropna(), batch.dropna()
    found: dict[str, Any] = {"gaps": [float(side.isna().mean()) for side in (reference, batch)]}
    if pd.api.types.is_string_dtype(reference) or reference.nunique() <= CODES:
        usual, now = (side.value_counts(normalize=True) for side in sides)
        change = now.sub(usual, fill_value=0.0).sort_index().abs()
        if len(change):
            most = change.idxmax()
            found |= {
                "category": f"{most}".removesuffix(".0"),
                "share": [float(usual.get(most, 0.0)), float(now.get(most, 0.0))],
            }
    elif all(map(len, sides)):
        middle = [side.median() for side in sides]
        dates = pd.api.types.is_datetime64_any_dtype(reference)
        found["median"] = [f"{value:%Y-%m-%d}" if dates else float(value) for value in middle]
    return found


def explain_verdict(report: dict[str, Any], project: Project, settings: Drift) -> str:
    """Why the verdict is what it is."""
    batch, faults, evidence = report["batch"], report["faults"], report["evidence"]
    rows = count(batch["rows"], "row")
    if batch["sampled"]:
        tested, error = batch["tested"], batch["sampled"]["share_error"]
        rows = f"{count(tested, 'row')} drawn from {rows}, in which shares are exact to {points(error)},"
    if faults:
        wrong = "; ".join(fault["words"] for fault in faults)
        return f"Refused: these {rows} cannot be valid {project.name} data: {wrong}. Fix the source and resubmit the batch."
    if batch["tested"] < settings.min_rows:
        return f"Keep: {count(batch['tested'], 'usable row')}: too few to decide; {count(settings.min_rows)} are needed."
    sentences = [columns_sentence(report, project), joint_sentence(report), model_sentence(report, project)]
    left_out = report["left_out"]
    if report["trained"]["rows"] and report["outcomes"]:
        sentences.append(f"Left out of the errors: {count(report['trained']['rows'], 'row')} that training had.")
    if left_out["rows"]:
        sentences.append(
            f"Left out, as in training: {count(left_out['rows'])} of the {count(left_out['known'], 'row')} with an outcome."
        )
    if report["verdict"] == "retrain":
        start = f"Retrain: {rows} differ from what the model was trained on."
    elif evidence:
        start = f"Keep: {rows} differ from what the model was trained on, but in no way that drift.retrain_on counts."
    else:
        start = f"Keep: {rows} are like what the model was trained on, within chance and the configured limits."
    return " ".join([start, *filter(None, sentences)])


def columns_sentence(report: dict[str, Any], project: Project) -> str:
    """Which columns changed and how, the most important to the model first."""
    entries = [entry for entry in report["columns"] if entry["column"] in project.row.model_fields]
    changed = [(rank, entry) for rank, entry in enumerate(entries, 1) if entry["drifted"]]
    others = [entry for entry in report["columns"] if entry["drifted"] and entry not in entries]
    told = [f"“{entry['column']}” ({_place(rank)}) {change(entry)}" for rank, entry in changed[:NAMED]]
    if len(changed) > NAMED:
        told.append("and " + ", ".join(f"“{entry['column']}”" for _, entry in changed[NAMED:]))
    told += [f"{entry['column']} {change(entry)}" for entry in others]
    counted = f"{len(changed) or 'None'} of {len(entries)} columns changed"
    return f"{counted}{', in the order of their importance to the model' if len(changed) > 1 else ''}" + (
        f": {'; '.join(told)}." if told else "."
    )


def change(entry: dict[str, Any]) -> str:
    """What changed in a column, by those of its tests that found something."""
    found = {test["test"]: test["size"] for test in entry["tests"] if test["drifted"]}
    told = []
    if "categories" in found:
        usual, now = entry["share"]
        told.append(f"is {entry['category']!r} in {percent(now)} of the rows against {percent(usual)}")
    if "location" in found or "shape" in found:
        usual, now = entry["median"]
        distance = max(found.get(name, 0.0) for name in ("location", "shape"))
        middle = f"has the median {written(now)} against {written(usual)}" if usual != now else "has another distribution"
        told.append(f"{middle} (distance {distance:.2f})")
    if "spread" in found:
        wider = "wider" if found["spread"] > 0 else "narrower"
        told.append(f"spreads {percent(abs(expm1(found['spread'])), 0)} {wider}")
    if "gaps" in found:
        usual, now = entry["gaps"]
        told.append(f"is missing in {percent(now)} against {percent(usual)}")
    return " and ".join(told)


def joint_sentence(report: dict[str, Any]) -> str:
    """Whether the batch differs from training in all columns together."""
    joint = report["joint"]
    interval = f"ROC-AUC {with_interval(joint | {'value': joint['auc']}, 'roc_auc', '')}; 0.5 is guessing"
    can = "can" if joint["drifted"] else "cannot"
    told = f"A classifier {can} tell the batch from training by all columns together ({interval})."
    if joint["dependence"]["drifted"]:
        told += f" The dependence of “{joint['dependence']['column']}” on the other columns changed."
    return told


def model_sentence(report: dict[str, Any], project: Project) -> str:
    """What the batch does to the model: measured where outcomes are known, else expected as far as that is possible."""
    name, unit, outcomes = project.primary_metric, project.unit, report["outcomes"]
    usual = with_interval(report["performance"], name, unit)
    blind = "The batch has no outcomes, so concept drift cannot be detected."
    trained = report["trained"]
    if trained["rows"]:
        blind = (
            f"Of the {count(trained['labelled'], 'row')} with an outcome training had {count(trained['rows'])}, and the "
            "others are too few, so concept drift cannot be detected."
        )
    if report["unfair"]:
        blind = f"The known outcomes are no fair sample ({report['unfair']}), so they are not used."
    if outcomes is None:
        if report["expected"] is None:
            return f"{blind} The error of a regression is not estimated without them."
        expected = f"{words(name)} {with_interval(report['expected'], name, unit)} against {usual} in training"
        return f"{blind} If the probabilities are still calibrated, expect {expected}."
    measured = with_interval(outcomes["measured"], name, unit)
    said = [
        f"On {count(outcomes['rows'], 'row')} with outcomes {words(name)} is {measured} against {usual} on training rows "
        "that the model had not seen."
    ]
    if outcomes["loss"]["drifted"]:
        said.append(f"The mean loss grew by {percent(outcomes['loss']['size'], 0)}.")
    if outcomes["bias"]["drifted"]:
        said.append(f"It predicts too {'low' if outcomes['bias']['size'] > 0 else 'high'} on average.")
    if outcomes["pattern"]["drifted"]:
        along = outcomes["pattern"]["along"]
        where = f", mainly along “{along}”" if along else ""
        said.append(f"Its errors have a pattern that they did not have in training{where}, which a new model would learn.")
    return " ".join(said)


def _place(rank: int) -> str:
    return "the most important" if rank == 1 else f"number {rank}"


def written(value: float | str) -> str:
    """A number with the digits that count, a date as it is."""
    return value if isinstance(value, str) else significant(value, 4)


def with_interval(found: dict[str, float], name: str, unit: str) -> str:
    """A metric and its interval."""
    return f"{metric(found['value'], name, unit)} ({metric_interval(found, name, unit)})"

"""The model card: what a model is for, how good it is and where it is not, from the reports alone (Mitchell et al.,
Model Cards for Model Reporting, 2019). Its prose is in card.md.jinja, whose blanks are filled here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from scipy.stats import binomtest

from stages.projects._base import Project, columns_of
from stages.runtime import wording
from stages.runtime.metric_names import TITLES
from stages.runtime.segments import worst_segments
from stages.runtime.wording import between, count, metric, metric_interval, percent, significant, upper_first, words

TEMPLATE = Path(__file__).with_name("card.md.jinja")
FILTERS = ("count", "listed", "metric", "metric_interval", "p_value", "percent", "points", "words")
WORST = 5  # segments shown
TOP = 10  # features shown
Report = dict[str, Any]


def model_card(project: Project, manifest: Report, reports: Report, proof: Report) -> str:
    """The card as Markdown. `reports` are data, evaluation, leaderboard and importance by name; `proof` says on how many
    rows the exported model was compared with the fitted one.
    """
    data, evaluation, importance = (reports[name] for name in ("data", "evaluation", "importance"))
    classifies, found = project.task == "classification", evaluation["by_segment"]
    titles = {column.name: column.title for column in columns_of(project.record)}
    ranked_by, ranked = worst_segments(found["segments"], project.primary_metric) if found["segments"] else ("", [])
    tables = {
        "sources": source_table(data),
        "rows": row_table(data, manifest, evaluation),
        "metrics": metric_table(project, evaluation),
        "thresholds": threshold_table(manifest, evaluation) if classifies else "",
        "candidates": candidate_table(project, manifest, reports["leaderboard"]["candidates"]),
        "settings": setting_table(manifest["estimator"], manifest["params"]),
        "segments": segment_table(project, ranked[:WORST], titles) if ranked else "",
        "fairness": {name: fairness_table(titles[name], rates) for name, rates in evaluation["fairness"].items()},
        "backtest": backtest_table(project, evaluation) if evaluation["backtest"] else "",
        "importance": importance_table(project, importance),
        "libraries": table(["Library", "Version"], manifest["libraries"].items()),
    }
    return fill(
        project=project,
        manifest=manifest,
        data=data,
        evaluation=evaluation,
        importance=importance,
        proof=proof,
        tables=tables,
        classifies=classifies,
        primary=project.primary_metric,
        positive=project.labels.get(1, "1"),
        target=titles[project.target],
        copies=sum(source["copies"] + source["in_earlier_source"] for source in data["sources"]),
        earlier=sum(source["in_earlier_source"] for source in data["sources"]),
        goal=goal(manifest["params"]["threshold"]),
        promised=manifest.get("interval", {}).get("coverage"),
        coverage=evaluation["metrics"].get("interval_coverage"),
        segments=found,
        ranked_by=ranked_by,
        segment_columns=wording.listed([titles.get(name, words(name)) for name in project.segments]),
        uncovered=[] if classifies else uncovered(found["segments"], manifest["interval"]["coverage"], titles),
    )


def fill(**blanks: Any) -> str:
    """The template with its blanks filled. One that is missing is an error."""
    environment = Environment(trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined, autoescape=False)  # noqa: S701 - Markdown
    environment.filters |= {name: getattr(wording, name) for name in FILTERS}
    environment.filters["count_of"] = lambda entries, noun: count(len(entries), noun)
    text = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(blanks)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    lines = [list(header), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def source_table(data: Report) -> str:
    """Where the rows came from."""
    rows = [
        [f"`{source['address']}`", count(source["rows"]), ", ".join(source["dropped_columns"]) or "none"]
        for source in data["sources"]
    ]
    return table(["Source", "Rows", "Columns not used"], rows)


def row_table(data: Report, manifest: Report, evaluation: Report) -> str:
    """What became of the rows that were read: every one is counted once."""
    reasons: dict[str, int] = {}
    for source in data["sources"]:
        for kind, entries in (("Broke the schema", source["rejected_by_reason"]), ("Out of scope", source["left_out"])):
            for reason, rows in entries.items():
                reasons[f"{kind}: {reason}"] = reasons.get(f"{kind}: {reason}", 0) + rows
    counted = {**reasons, "Trained on": manifest["rows"], "Tested on": evaluation["rows"]}
    return table(["What became of the rows", "Rows"], [[what, count(rows)] for what, rows in counted.items()])


def metric_table(project: Project, evaluation: Report) -> str:
    """The metrics on the test rows with their intervals."""
    rows = [
        [title, metric(found["value"], name, project.unit), metric_interval(found, name, project.unit)]
        for name, title in TITLES.items()
        if (found := evaluation["metrics"].get(name))
    ]
    return table(["Metric", "Value", "95 % interval"], rows)


def goal(choice: Report) -> str:
    """What a threshold was chosen for: what it does that no other does."""
    if choice["goal"] == "cost":
        ratio = f"1 : {significant(choice['cost_ratio'])}"
        return f"costs least, but for chance, where false positives and false negatives cost {ratio}"
    if choice["goal"] == "recall_at_precision":
        return f"has the highest recall at a precision of at least {percent(choice['precision'])}"
    return f"has the highest {words(choice['goal'])}"


def threshold_table(manifest: Report, evaluation: Report) -> str:
    """What follows from the chosen threshold, and from the usual one."""
    metrics = evaluation["metrics"]
    sides = {percent(manifest["threshold"]): "", percent(0.5): "_at_half"}  # one where they are the same
    rows = [
        [words(name), *(metric(metrics[f"{name}{at}"]["value"], name) for at in sides.values())]
        for name in ("accuracy", "precision", "recall", "f1", "mcc")
    ]
    return table(["Threshold", *sides], rows)


def candidate_table(project: Project, manifest: Report, board: list[Report]) -> str:
    """The leaderboard: the metrics of each candidate over the folds."""
    names = [name for name in TITLES if name in board[0]["metrics"]]

    def spread(name: str, found: Report) -> str:
        mean = metric(found["mean"], name, project.unit).partition(" ")[0]
        return f"{mean} ± {metric(found['sd'], name, project.unit, len(mean.partition('.')[2]))}"

    rows = [
        [
            f"**{words(entry['candidate'])}**" if entry["candidate"] == manifest["estimator"] else words(entry["candidate"]),
            *(spread(name, entry["metrics"][name]) for name in names),
        ]
        for entry in board
    ]
    return table(["Candidate", *(TITLES[name] for name in names)], rows)


def setting_table(estimator: str, params: Report) -> str:
    """The settings of the estimator, or the weights and settings of the members of an ensemble."""
    settings = params["estimators"]
    if estimator == "voting":
        members = settings["voting"]["members"].items()
        rows = [[words(name), significant(weight), _listed(settings.get(name, {}))] for name, weight in members]
        return table(["Member", "Weight", "Settings"], rows)
    more = {"resampling": params["resampling"], "seed": params["seed"]}
    return table(["Setting", "Value"], [[name, str(value)] for name, value in (settings.get(estimator, {}) | more).items()])


def segment_table(project: Project, segments: list[Report], titles: dict[str, str]) -> str:
    """The metrics of segments."""
    names = [name for name in TITLES if name in segments[0]]

    def cell(name: str, segment: Report) -> str:
        text = metric(segment[name], name, project.unit)
        if name != "interval_coverage" or segment[name] is None:
            return text
        low, high = coverage_interval(segment)
        return f"{text} ({between(percent(low), percent(high))})"

    rows = [
        [segment_title(segment, titles), count(segment["rows"]), *(cell(name, segment) for name in names)]
        for segment in segments
    ]
    return table(["Segment", "Test rows", *(TITLES[name] for name in names)], rows)


def segment_title(segment: Report, titles: dict[str, str]) -> str:
    """What a segment is called."""
    return f"{titles.get(segment['column'], upper_first(words(segment['column'])))}: {segment['segment']}"


def coverage_interval(segment: Report) -> tuple[float, float]:
    """The 95 % interval of a segment's coverage (Wilson, JASA 1927): that of the bootstrap is empty where all rows are
    covered.
    """
    inside = round(segment["interval_coverage"] * segment["rows"])
    found = binomtest(inside, segment["rows"]).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def uncovered(segments: list[Report], promised: float, titles: dict[str, str]) -> list[str]:
    """The segments whose whole coverage interval is below the promise, with their coverage."""
    return [
        f"{segment_title(segment, titles)} ({percent(segment['interval_coverage'])} of {count(segment['rows'], 'row')})"
        for segment in segments
        if coverage_interval(segment)[1] < promised
    ]


def fairness_table(title: str, found: Report) -> str:
    """The rates of the groups of a sensitive column."""
    rates = ("flagged", "recall", "false_positive_rate")
    rows = [[group, count(r["rows"]), *(percent(r[rate]) for rate in rates)] for group, r in found["groups"].items()]
    return table([title, "Test rows", "Flagged", "Recall", "False positive rate"], rows)


def backtest_table(project: Project, evaluation: Report) -> str:
    """The metrics on later rows beside those on random ones."""
    rows = [
        [TITLES[name], *(metric(each, name, project.unit) for each in (value, evaluation["metrics"][name]["value"]))]
        for name, value in evaluation["backtest"]["metrics"].items()
    ]
    return table(["Metric", "On later rows", "On random test rows"], rows)


def importance_table(project: Project, importance: Report) -> str:
    """The most important features; of SHAP values also the rank by permutation."""
    top = importance["ranking"][:TOP]
    if importance["method"] == "permutation":
        name, digits = project.primary_metric, None if project.unit else 4
        rows = [[upper_first(e["feature"]), metric(e["importance"], name, project.unit, digits)] for e in top]
        return table(["Feature", f"{TITLES[name]} worse by"], rows)
    ranks = {entry["feature"]: f"{rank}" for rank, entry in enumerate(importance["permutation"], start=1)}
    rows = [
        [upper_first(e["feature"]), significant(e["importance"]), ranks.get(e["feature"].partition(": ")[0], wording.DASH)]
        for e in top
    ]
    return table(["Feature", "Importance", "Rank when shuffled"], rows)


def _listed(settings: Report) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items()) or "defaults"

"""The report of `stages.report` as Markdown: what follows from the change first, then the evidence project by project."""

from __future__ import annotations

from stages.promotion.code_changes import LAYOUT
from stages.promotion.gate import Comparison, describe_comparison
from stages.review.changes import Change
from stages.review.tables import (
    code,
    data_table,
    fairness_tables,
    metrics_table,
    params_table,
    prose,
    rules_table,
    segments_table,
    value_of,
)
from stages.runtime.metric_names import TITLES
from stages.runtime.wording import count


def markdown(
    base: tuple[str, str], workspace: tuple[str, list[str]], found: dict[str, Change | None], removed: list[str]
) -> str:
    """The whole report. `base` is its name and hash, `workspace` the hash checked out and the files that differ from it."""
    changes = [change for change in found.values() if change]
    unchanged = ", ".join(name for name, change in found.items() if not change)
    simulated = ", ".join(change.project.name for change in changes if change.after.data.get("simulated"))
    banner = f"> **Simulated data** ({simulated}): the figures say that the pipeline works, nothing about real data."
    heading = f"{code(workspace[0][:12])} compared with {code(base[0])} ({code(base[1][:12])})."
    if workspace[1]:
        heading += f" Not committed: {', '.join(map(code, workspace[1]))}."
    lines = [
        *(f"- **{change.project.name}** {difference(change)}. {verdict(change)}." for change in changes),
        *(f"- {code(name)} is no longer there." for name in removed),
        *([f"- Unchanged: {unchanged}."] if unchanged and (changes or removed) else []),
    ]
    parts = [
        "# Model report",
        *([banner] if simulated else []),
        heading,
        "\n".join(lines) or "Nothing differs: data, parameters, code, models and metrics of every project are the same.",
        *(section(change, base[1], workspace[0]) for change in changes),
    ]
    return "\n\n".join(parts) + "\n"


def difference(change: Change) -> str:
    """What happened to the model, by its primary metric, and whether that is more than noise."""
    then, now, found, metric = change.before.metrics, change.after.metrics, change.comparison, change.project.primary_metric
    title, unit = TITLES[metric], change.project.unit
    if metric not in now:
        return "has no metrics yet"
    if metric not in then:
        return f"is new: {title} {value_of(metric, now, unit)}"
    if change.before.model == change.after.model:
        other = (
            f", but its measured metrics differ: {title} {value_of(metric, now, unit)}" if "metrics" in change.kinds else ""
        )
        return f"keeps its model byte for byte{other}"
    if not isinstance(found, Comparison):
        values = f"{title} {value_of(metric, now, unit)} against {value_of(metric, then, unit)}"
        return f"has {values}; whether that is more than noise is unknown: {prose(found)}"
    how = "is better" if found.low > 0 else "is worse" if found.high < 0 else "differs by no more than noise"
    seen = "some of which the base's model may have seen" if found.left_out is None else "new to both models"
    evidence = f"{title} {describe_comparison(found, unit)} on the same {count(found.rows, 'test row')}"
    return f"{how}: {evidence}, {seen}"


def verdict(change: Change) -> str:
    """What the gate would decide."""
    if isinstance(change.gate, str):
        return f"The gate has no verdict: {prose(change.gate)}"
    decision = change.gate.decision
    if decision.accepted:
        return f"The gate would promote it as {change.gate.version}"
    return f"The gate would refuse it: {', '.join(rule.rule for rule in decision.rules if rule.passed is False)}"


def section(change: Change, base: str, head: str) -> str:
    """The evidence on one project. `base` and `head` are commits."""
    project, before, after = change.project, change.before, change.after
    images = [f"![{project.name}: {title}]({path})" for title, path in change.images.items()]
    commands = [
        f"git checkout {head}",
        "make setup",
        f"dvc repro explain@{project.name}",
        f"python -m stages.report --base {base}",
    ]
    parts = [f"## {prose(project.title)} (`{project.name}`)", f"Differs in {', '.join(change.kinds)}."]
    if change.outdated:
        parts.append(f"**Out of date: {', '.join(map(code, change.outdated))}.** What follows is from the last run.")
    parts += metrics_table(project, before, after) + params_table(before, after)
    if change.code:
        parts += ["### Code", ", ".join(name if name == LAYOUT else code(name) for name in change.code)]
    parts += data_table(before, after)
    if not isinstance(change.gate, str):
        champion = change.gate.champion
        against = f"Against {champion.version}, which is in prod" if champion else "There is no champion yet"
        parts += ["### Gate", f"{verdict(change)}. {against}.", rules_table(change.gate.decision)]
    parts += _details("Plots, before and after", images)
    parts += _details("Worst segments and fairness", segments_table(project, before, after) + fairness_tables(before, after))
    parts += _details("How to reproduce this", ["\n".join(["```sh", *commands, "```"])])
    return "\n\n".join(parts)


def _details(summary: str, parts: list[str]) -> list[str]:
    return [f"<details><summary>{summary}</summary>", *parts, "</details>"] if parts else []

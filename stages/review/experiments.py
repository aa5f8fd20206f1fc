"""The experiments of a project as a table for the terminal: what each changed, and what came out."""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass
from typing import Any

from stages.core.files import Paths
from stages.core.params import PARAMS
from stages.review.snapshots import flatten

WIDTH = 120  # columns of the terminal
LEAST = 24  # columns that what was changed has at least


@dataclass(frozen=True)
class Experiment:
    """What DVC knows of a run: its state in one word, empty where it succeeded; the parameters of all projects by dotted
    key; and the metrics of the project, none for a run that has no result.
    """

    name: str
    state: str
    params: dict[str, Any]
    metrics: dict[str, float]


def read_experiments(shown: list[dict[str, Any]], project: str) -> list[Experiment]:
    """The last commit, then its experiments, from what `dvc exp show --json` prints."""
    base = next(entry for entry in shown if entry["rev"] != "workspace")
    found = [_read(base, base["name"] or base["rev"][:7], "", project)]
    for entry in base["experiments"] or []:
        state = (entry["executor"] or {}).get("state") or "success"
        found += [_read(run, entry["name"] or run["rev"][:7], state, project) for run in entry["revs"] or []]
    return found


def changes(before: dict[str, Any], after: dict[str, Any]) -> dict[str, str]:
    """The parameters that differ, by dotted key, with the new value as JSON."""
    keys = [key for key in sorted(before.keys() | after.keys()) if before.get(key) != after.get(key)]
    return {key: json.dumps(after[key], ensure_ascii=False) if key in after else "removed" for key in keys}


def experiments_table(experiments: list[Experiment], project: str) -> list[str]:
    """The lines of the table, none over `WIDTH` columns unless the names and figures alone are. A run without a result has
    no figures, and one that only changed other projects is left out.
    """
    base = experiments[0]
    rows: list[list[str]] = []
    left_out = 0
    for experiment in experiments:
        changed = changes(base.params, experiment.params)
        own = {key: value for key, value in changed.items() if key.split(".")[0] in (project, "base")}
        if changed and not own:
            left_out += 1
            continue
        figures = [figure(experiment.metrics.get(metric)) for metric in base.metrics]
        shown = ", ".join(f"{key.removeprefix(f'{project}.').removeprefix('train.')}={own[key]}" for key in own)
        rows.append([experiment.name, experiment.state, *figures, shown])
    lines = laid_out([["Experiment", "State", *base.metrics, "Changed"], *rows])
    if left_out:
        lines.append(f"Left out: {left_out} that changed other projects only.")
    if any(state == "failed" for _, state, *_ in rows):
        lines.append("`dvc queue logs NAME` says why a run failed.")
    return lines


def figure(value: float | None) -> str:
    """A metric with the digits by which experiments are told apart."""
    if value is None:
        return "-"
    return f"{value:.4f}" if abs(value) < 10 else f"{value:,.1f}"


def laid_out(rows: list[list[str]]) -> list[str]:
    """Rows as lines in columns, the last of which is wrapped."""
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:-1]]
    indent = " " * (sum(widths) + 2 * len(widths))
    lines = []
    for *cells, last in rows:
        cells = [
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        wrapped = textwrap.wrap(last, max(WIDTH - len(indent), LEAST)) or [""]
        lines += [("  ".join([*cells, wrapped[0]])).rstrip(), *(indent + line for line in wrapped[1:])]
    return lines


def _read(run: dict[str, Any], name: str, state: str, project: str) -> Experiment:
    data = run["data"] or {}
    params = _content(data, "params", PARAMS.as_posix())
    has_result = state in ("", "success") and run["error"] is None
    metrics = _content(data, "metrics", (Paths(project).reports / "metrics.json").as_posix()) if has_result else {}
    return Experiment(name, "" if state == "success" else state, flatten_all(params), metrics.get(project, {}))


def flatten_all(params: dict[str, Any]) -> dict[str, Any]:
    """The parameters of all blocks by dotted key."""
    return {key: value for name, block in params.items() for key, value in flatten(block, name).items()}


def _content(data: dict[str, Any], kind: str, path: str) -> dict[str, Any]:
    found: dict[str, Any] = data.get(kind, {}).get(path, {}).get("data") or {}
    return found

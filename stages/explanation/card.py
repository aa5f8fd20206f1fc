"""The model card: what a model is for, how good it is and where it is not, from the reports alone (Mitchell et al.,
Model Cards for Model Reporting, 2019).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from stages.projects._base import Project
from stages.runtime.metric_names import TITLES, metric_text
from stages.runtime.segments import worst_segments
from stages.runtime.wording import words

WORST = 5  # segments shown


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    lines = [list(header), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def model_card(
    project: Project,
    manifest: dict[str, Any],
    data: dict[str, Any],
    evaluation: dict[str, Any],
    importance: dict[str, Any],
    proof: dict[str, Any],
) -> str:
    """The card as Markdown. `proof` says on how many rows the exported model was compared with the fitted one."""
    banner = ["> **Simulated data.** This model was trained on rows drawn from a simulator. Its figures show that the "
              "pipeline works and say nothing about the world."]  # fmt: skip
    sections = [
        f"# {project.title}",
        *(banner if data["simulated"] else []),
        f"{project.question} A {words(manifest['estimator'])} model.",
        "## What it is for, and not for",
        project.intended_use,
        "\n".join(f"- {limit}" for limit in project.limits),
        "## Data",
        _data(project, manifest, data),
        "## How good it is",
        _metrics(project, evaluation),
        *_decision(project, manifest, evaluation),
        "## Where it is worst",
        _segments(project, evaluation),
        *_fairness(evaluation),
        *_backtest(project, evaluation),
        "## Feature importance",
        _importance(importance),
        "## Versions",
        table(["Library", "Version"], manifest["libraries"].items()),
        f"Model MD5 `{manifest['model']}`, training data SHA-256 `{manifest['data']['sha256']}`, "
        f"seed {manifest['params']['seed']}. The server uses an exported form of the model. On {proof['rows']:,} rows its "
        f"scores were the model's within {proof['tolerance']:g} of their value.",
    ]
    return "\n\n".join(sections) + "\n"


def _data(project: Project, manifest: dict[str, Any], data: dict[str, Any]) -> str:
    rows = [
        [
            f"`{source['address']}`",
            f"{source['rows']:,}",
            f"{source['rejected']:,}",
            ", ".join(source["dropped_columns"]) or "-",
        ]
        for source in data["sources"]
    ]
    reasons = [
        f"- {count:,} x {reason}" for source in data["sources"] for reason, count in source["rejected_by_reason"].items()
    ]
    reasons += [
        f"- {count:,} x left out: {reason}" for source in data["sources"] for reason, count in source["left_out"].items()
    ]
    copied = sum(source["copies"] for source in data["sources"])
    earlier = sum(source["in_earlier_source"] for source in data["sources"])
    if copied or earlier:
        reasons.append(
            f"- {copied + earlier:,} rows are copies of another, {earlier:,} of them of a row in an earlier source; copies "
            "are in the training rows together or in the test rows together"
        )
    note = f"Trained on {manifest['rows']:,} rows; the other accepted rows were tested on or left out."
    listed = table(["Source", "Rows", "Broke the schema", "Columns not used"], rows)
    return "\n\n".join([listed, *(["\n".join(reasons)] if reasons else []), note])


def _metrics(project: Project, evaluation: dict[str, Any]) -> str:
    rows = [
        [
            TITLES[name],
            metric_text(name, m["value"], project.unit),
            " to ".join(metric_text(name, m[b], project.unit) for b in ("low", "high")),
        ]
        for name in TITLES
        if (m := evaluation["metrics"].get(name))
    ]
    primary, baseline = evaluation["primary_metric"], evaluation["baseline"]
    guess = "the rate of positives" if project.task == "classification" else "the median"
    return (
        f"On {evaluation['rows']:,} test rows that no part of training saw, with 95 % bootstrap intervals:\n\n"
        + table(["Metric", "Value", "95 % interval"], rows)
        + f"\n\nAlways predicting {guess} has {TITLES[primary]} {metric_text(primary, baseline['value'], project.unit)} "
        f"(paired bootstrap p = {baseline['p_value']:.2g} that the model is no better)."
    )


def _decision(project: Project, manifest: dict[str, Any], evaluation: dict[str, Any]) -> list[str]:
    metrics = evaluation["metrics"]
    if project.task == "classification":
        calibration = manifest["params"]["calibration"]
        how = f"calibrated by {calibration} scaling" if calibration != "none" else "not calibrated further"
        goal = words(manifest["params"]["threshold"]["goal"])
        halves = ", ".join(
            f"{TITLES[n].lower()} {metrics[f'{n}_at_half']['value']:.3f}" for n in ("accuracy", "precision", "recall", "f1")
        )
        return [
            "## Decision and calibration",
            f'From a probability of {manifest["threshold"]:.3f} on the answer is "{project.labels.get(1, 1)}", chosen on '
            f"out-of-fold probabilities for {goal}. At 0.5 instead: {halves}. Probabilities are {how}; their expected "
            f"calibration error on the test rows is {metrics['ece']['value']:.3f}.",
        ]
    interval, covered = manifest["interval"], metrics["interval_coverage"]
    return [
        "## Intervals",
        f"Each prediction carries a conformal interval meant to hold the true value {interval['coverage']:.0%} of the time; "
        f"on the test rows it did {covered['value']:.1%} of the time ({covered['low']:.1%} to {covered['high']:.1%}).",
    ]


def _segments(project: Project, evaluation: dict[str, Any]) -> str:
    found = evaluation["by_segment"]
    if not found["segments"]:
        return f"No segment has {found['min_rows']} test rows, too few to say."
    metrics = [name for name in TITLES if name in found["segments"][0]]
    ranked_by, ranked = worst_segments(found["segments"], project.primary_metric)
    rows = [
        [f"{s['column']} = {s['segment']}", f"{s['rows']:,}", *(metric_text(m, s[m], project.unit) for m in metrics)]
        for s in ranked[:WORST]
    ]
    return (
        table(["Segment", "Test rows", *(TITLES[m] for m in metrics)], rows)
        + f"\n\nThe {WORST} worst by {TITLES[ranked_by]} of {len(found['segments'])} segments; "
        f"{found['left_out']} with fewer than {found['min_rows']} rows are left out."
    )


def _fairness(evaluation: dict[str, Any]) -> list[str]:
    if not evaluation["fairness"]:
        return []
    parts = ["## Fairness"]
    for column, found in evaluation["fairness"].items():
        rows = [
            [group, f"{r['rows']:,}", *(f"{r[k]:.1%}" for k in ("flagged", "recall", "false_positive_rate"))]
            for group, r in found["groups"].items()
        ]
        verdict = (
            "under 0.8: the groups are flagged at clearly different rates"
            if found["disparate_impact_flag"]
            else "not under 0.8"
        )
        parts += [
            table([column, "Test rows", "Flagged", "Recall", "False positive rate"], rows),
            f"Disparate impact {metric_text('disparate_impact', found['disparate_impact'])} ({verdict}); "
            f"recall differs by {found['recall_gap']:.1%}.",
        ]
    return parts


def _backtest(project: Project, evaluation: dict[str, Any]) -> list[str]:
    backtest = evaluation["backtest"]
    if not backtest:
        return []
    rows = [
        [TITLES[m], metric_text(m, v, project.unit), metric_text(m, evaluation["metrics"][m]["value"], project.unit)]
        for m, v in backtest["metrics"].items()
    ]
    return [
        "## Looking ahead",
        f"Refitted on the {backtest['train_rows']:,} rows before {backtest['from']} and tested on the "
        f"{backtest['test_rows']:,} from then on:",
        table(["Metric", "On later rows", "On random test rows"], rows),
    ]


def _importance(importance: dict[str, Any]) -> str:
    method = {
        "shap": "Mean absolute SHAP value of the encoded columns",
        "permutation": "How much worse the primary metric gets when a feature is shuffled",
    }[importance["method"]]
    other = {entry["feature"]: rank for rank, entry in enumerate(importance["permutation"], start=1)}
    rows = [
        [e["feature"], f"{e['importance']:.3g}", str(other.get(e["feature"].partition(": ")[0], "-"))]
        for e in importance["ranking"][:10]
    ]
    return f"{method}:\n\n" + table(["Feature", "Importance", "Rank when shuffled"], rows)

"""Prints the metrics of all projects with their intervals, and where to look next.

python -m stages.summary
"""

from __future__ import annotations

from stages.core.files import Paths, read_json
from stages.projects._base import load_project, project_names
from stages.runtime.metric_names import TITLES, metric_text

SHOWN = {
    "classification": ("roc_auc", "pr_auc", "f1", "brier", "ece"),
    "regression": ("mae", "median_ape", "rmse", "r2", "interval_coverage"),
}


def summarise(name: str) -> list[str]:
    """The lines on one project: its estimator, data and main metrics with 95 % intervals."""
    project, paths = load_project(name), Paths(name)
    evaluation, manifest = read_json(paths.reports / "evaluation.json"), read_json(paths.model / "manifest.json")
    simulated = "simulated data" if manifest["data"]["simulated"] else "real data"
    lines = [f"{name}: {manifest['estimator']}, {manifest['rows']:,} rows of {simulated}, {evaluation['rows']:,} to test on"]
    for metric in SHOWN[project.task]:
        value, low, high = (
            metric_text(metric, evaluation["metrics"][metric][key], project.unit) for key in ("value", "low", "high")
        )
        lines.append(f"    {TITLES[metric]:34}{value:>18}   {low} to {high}")
    return lines


def main() -> None:
    made = [name for name in project_names() if (Paths(name).reports / "evaluation.json").exists()]
    for name in made:
        print("\n".join(summarise(name)))
    print("\nLook next at reports/<project>/card.md, then `make serve`; README.md shows experiments and real data.")


if __name__ == "__main__":
    main()

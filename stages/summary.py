"""Prints the main metrics of all projects with their 95 % intervals, and where to look next.

python -m stages.summary
"""

from __future__ import annotations

from pathlib import Path

from stages.core.cli import UserError, run
from stages.core.files import Paths, read_json
from stages.projects import project_names


def main() -> None:
    from stages.projects._base import load_project
    from stages.runtime.metric_names import main_metrics
    from stages.runtime.wording import count, metric, metric_interval, words

    evaluated = [name for name in project_names() if (Paths(name).reports / "evaluation.json").exists()]
    if not evaluated:
        raise UserError(f"{Path.cwd()} has no reports: run `dvc repro` at the root of the repository")
    for name in evaluated:
        project, paths = load_project(name), Paths(name)
        evaluation, manifest = read_json(paths.reports / "evaluation.json"), read_json(paths.model / "manifest.json")
        rows = count(manifest["rows"], "row")
        data = f"{rows} of {'simulated' if manifest['data']['simulated'] else 'real'} data"
        print(f"{name}: {words(manifest['estimator'])}, {data}, {count(evaluation['rows'])} to test on")
        for key in main_metrics(project.task, project.primary_metric):
            found = evaluation["metrics"][key]
            value, interval = metric(found["value"], key, project.unit), metric_interval(found, key, project.unit)
            print(f"    {words(key):34}{value:>18}   {interval}")
    print("\nLook next at reports/<project>/card.md, then `make serve`; README.md shows experiments and real data.")


if __name__ == "__main__":
    run(main, takes_project=False)

"""Searches the space in params.yaml for the settings that cross-validate best, and writes them into params.yaml.

python -m stages.tune bankchurn --trials 50 --jobs 2

Reads train.parquet, no test row. The result is never worse than the current settings and does not depend on --jobs. Trials
are stored in reports/<project>/tune.db as they end; after Ctrl-C the same command resumes. Those that were the best so far
become experiments that `dvc exp show` lists.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from stages.core.cli import UserError, run
from stages.review import check_first


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--trials", type=int, default=50, help="number of trials in all (50)")
    parser.add_argument("--jobs", type=int, help="fits at a time (one per core); changes no result")
    parser.add_argument("--model", help="the estimator to tune (that of train.model)")


def main(name: str, trials: int = 50, jobs: int | None = None, model: str | None = None) -> int | None:
    from joblib import cpu_count

    from stages.core.files import Paths, read_parquet, write
    from stages.core.params import load_block, load_seed
    from stages.modeling.settings import Train
    from stages.projects._base import load_project
    from stages.runtime.wording import count, metric, words
    from stages.tuning.experiments import record_experiments
    from stages.tuning.objective import make_objective
    from stages.tuning.search import improvements, open_study, score_of, search
    from stages.tuning.settings import Tune
    from stages.tuning.space import choose_space, current_values, rewritten

    project, paths, train, seed = load_project(name), Paths(name), load_block(name, "train", Train), load_seed()
    estimator, space = choose_space(name, train, load_block(name, "tune", Tune), model)
    frame = read_parquet(paths.data / "train.parquet")
    objective = make_objective(project, estimator, train, frame, seed, jobs or cpu_count())
    start, digest = current_values(train, estimator, space), objective.digest(space)
    study = open_study(paths.reports / "tune.db", f"{estimator}-{digest}", objective.direction)
    try:
        done = search(study, space, start, trials, seed, objective.score)
        current, *better = improvements(done, start, study.direction)
        try:
            if better:
                record_experiments(name, estimator, better, digest)
        except UserError as error:
            print(f"{name}: the trials are no DVC experiments: {error}")
    except KeyboardInterrupt:
        print(f"{name}: interrupted with {len(study.trials)} of {trials} trials done; the same command resumes")
        return 130
    primary = project.primary_metric
    scores = [metric(score_of(trial), primary, project.unit, 4) for trial in (current, *better)]
    print(f"{name}: {words(estimator)} has {words(primary)} {scores[0]} with the settings in params.yaml")
    if not better:
        print(f"none of {count(len(done), 'trial')} is better")
        return None
    best, file = better[-1].user_attrs["values"], Path("params.yaml")
    text = rewritten(file.read_text(encoding="utf-8"), name, estimator, best)
    write(file, lambda path: path.write_text(text, encoding="utf-8"))
    print(f"and {scores[-1]} with the best of {count(len(done), 'trial')}, which params.yaml has now:")
    for key, value in best.items():
        print(f"    {key:40}{start.get(key, 'not set')} -> {value}")
    return None


if __name__ == "__main__":
    run(main, options, first=check_first)

"""Searches the space in params.yaml for the settings that cross-validate best, and writes them into params.yaml.

python -m stages.tune bankchurn --trials 50 --jobs 2

Reads train.parquet, no test row. Trials are kept in reports/<project>/tune.db as they end, so the same command goes on after
an interruption. Those that were the best so far become experiments that `dvc exp show` lists.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import joblib
import numpy as np
import optuna
import pandas as pd
from joblib import Parallel, cpu_count, delayed
from optuna.trial import FrozenTrial
from sklearn.base import BaseEstimator
from tqdm import tqdm

from stages.core.cli import UserError, run
from stages.core.files import Paths, write
from stages.core.params import load_block, load_seed
from stages.modeling.crossval import Folds, compute_backend, fit_fold
from stages.modeling.pipeline import RowFeatures, build_model, make_folds
from stages.modeling.settings import Train
from stages.projects._base import Project, load_project
from stages.promotion.git import git
from stages.runtime.metric_names import HIGHER_IS_BETTER
from stages.tuning.search import improvements, score_of, search
from stages.tuning.settings import Tune
from stages.tuning.space import Space, Values, lowest, path_of, rewritten, standing, with_values


def to_tune(name: str, train: Train, spaces: Tune, model: str | None) -> tuple[str, Space]:
    """The estimator that was asked for, else that of `train.model`, and its space."""
    estimator = model or train.model
    if estimator not in spaces.root:
        known = ", ".join(spaces.root) or "none yet"
        raise UserError(
            f"params.yaml has no {name}.tune.{estimator}: add it, or name one that there is with --model: {known}"
        )
    return estimator, spaces.root[estimator]


def cross_validated(
    models: list[BaseEstimator], features: pd.DataFrame, target: np.ndarray, folds: Folds, project: Project, jobs: int
) -> Iterator[float]:
    """The mean of the primary metric over the folds, model by model; where it has no value, the worst there is."""
    tasks = [
        delayed(fit_fold)(str(number), model, fold, rows, features, target, project)
        for number, model in enumerate(models)
        for fold, rows in enumerate(folds)
    ]
    worst = -math.inf if project.primary_metric in HIGHER_IS_BETTER else math.inf
    with compute_backend():
        results = Parallel(n_jobs=jobs, return_as="generator")(tasks)
        for _ in models:
            mean = float(np.mean([result.scores[project.primary_metric] for result in islice(results, len(folds))]))
            yield worst if math.isnan(mean) else mean


def record(experiment: str, target: str, settings: Values) -> None:
    """Run a stage with these params as a DVC experiment of this name, in a folder of its own; UserError if it fails."""
    sets = (f"++{path}={json.dumps(value)}" for path, value in settings.items())
    command = [sys.executable, "-m", "dvc", "exp", "run", "--temp", "--name", experiment, target]
    command += [word for setting in sets for word in ("-S", setting)]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            said, _ = process.communicate()
        except KeyboardInterrupt:  # which DVC got too: it puts the workspace back as it was
            process.wait()
            raise
    if process.returncode:
        raise UserError(f"`dvc exp run` failed: {said.strip()}")


def record_all(name: str, estimator: str, trials: list[FrozenTrial], digest: str) -> None:
    """Make DVC experiments of these trials, those that are none yet; a remark where that cannot be."""
    try:
        known = git("for-each-ref", "--format=%(refname:lstrip=4)", "refs/exps").splitlines()
        for trial in tqdm(trials, desc="experiments", unit="run", disable=None):
            experiment = f"tune-{name}-{digest}-{trial.number}"
            if experiment not in known:
                values = {path_of(key, estimator): value for key, value in trial.user_attrs["values"].items()}
                settings = {".".join((name, "train", *path)): value for path, value in values.items()}
                record(experiment, f"evaluate@{name}", {f"{name}.train.model": estimator, **settings})
    except UserError as error:
        print(f"{name}: the trials are no DVC experiments: {error}")


def main(name: str, trials: int = 50, jobs: int = 1, model: str | None = None) -> int | None:
    project, paths, metric = load_project(name), Paths(name), load_project(name).primary_metric
    train, seed = load_block(name, "train", Train), load_seed()
    estimator, space = to_tune(name, train, load_block(name, "tune", Tune), model)
    if not (paths.data / "train.parquet").exists():
        raise UserError(f"there is no {paths.data}/train.parquet; make it: dvc repro prepare@{name}")
    frame = pd.read_parquet(paths.data / "train.parquet")
    features, target = RowFeatures(name).transform(frame), frame[project.target].to_numpy()
    folds = make_folds(project, frame, train.folds, seed)

    def build(values: Values) -> BaseEstimator:
        return build_model(project, estimator, with_values(train, estimator, values), seed)

    def score(batch: list[Values]) -> Iterator[float]:
        try:
            yield from cross_validated([build(values) for values in batch], features, target, folds, project, jobs)
        except (ValueError, ArithmeticError) as error:
            raise UserError(f"{estimator} cannot be fitted everywhere in {name}.tune.{estimator}: {error}") from error

    start, spans = standing(train, estimator, space), {key: part.model_dump() for key, part in space.items()}
    digest = joblib.hash((build(lowest(space)), spans, features, target, folds, metric))[:6]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    paths.reports.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        storage=f"sqlite:///{paths.reports}/tune.db",
        study_name=f"{estimator}-{digest}",
        direction="maximize" if metric in HIGHER_IS_BETTER else "minimize",
        load_if_exists=True,
    )
    try:
        done = search(study, space, start, trials, seed, score)
        stood, *better = improvements(done, start, study.direction)
        if better:
            record_all(name, estimator, better, digest)
    except KeyboardInterrupt:
        print(
            f"{name}: interrupted with {len(study.trials)} of {trials} trials done; the same command goes on with the rest"
        )
        return 130
    print(f"{name}: {estimator} has {metric} {score_of(stood):.5g} with what stands in params.yaml")
    if not better:
        print(f"none of {len(done)} trials is better")
        return None
    best, file = better[-1].user_attrs["values"], Path("params.yaml")
    text = rewritten(file.read_text(encoding="utf-8"), name, estimator, best)
    write(file, lambda path: path.write_text(text, encoding="utf-8"))
    print(f"and {score_of(better[-1]):.5g} with the best of {len(done)} trials, which stands there now:")
    for key, value in best.items():
        print(f"    {key:40}{start.get(key, 'not set')} -> {value}")
    return None


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--trials", type=int, default=50, help="how many there are to be in all (50)")
    parser.add_argument("--jobs", type=int, default=cpu_count(), help="fits at a time (one per core); changes no result")
    parser.add_argument("--model", help="the estimator to tune (that of train.model)")


if __name__ == "__main__":
    run(main, options)

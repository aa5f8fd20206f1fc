"""The best trials of a tuning as DVC experiments, which `dvc exp show` lists."""

from __future__ import annotations

import sys

from optuna.trial import FrozenTrial
from tqdm import tqdm

from stages.promotion.dvc import run_experiment
from stages.promotion.git import git
from stages.tuning.space import path_of


def record_experiments(name: str, estimator: str, trials: list[FrozenTrial], digest: str) -> None:
    """Make DVC experiments of these trials, unless they are; UserError where that is not possible."""
    known = git("for-each-ref", "--format=%(refname:lstrip=4)", "refs/exps").splitlines()
    bar = tqdm(trials, desc="experiments", unit="run", disable=None)
    for number, trial in enumerate(bar, 1):
        experiment = f"tune-{name}-{digest}-{trial.number}"
        if experiment not in known:
            values = {path_of(key, estimator): value for key, value in trial.user_attrs["values"].items()}
            settings = {".".join((name, "train", *path)): value for path, value in values.items()}
            run_experiment(experiment, f"evaluate@{name}", {f"{name}.train.model": estimator, **settings})
        if bar.disable:  # off a terminal, where a log should show that it goes on
            print(f"experiment {number} of {len(trials)}: {experiment}", file=sys.stderr, flush=True)

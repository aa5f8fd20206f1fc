"""The trials of a tuning: what is drawn from the space, and in which order."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, cast

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, create_trial
from tqdm import tqdm

from stages.runtime.wording import significant
from stages.tuning.space import Space, Values, covers, distribution, rounded

BATCH = 4  # trials drawn at a time; fixed, so that the number of jobs changes no result


def open_study(path: Path, name: str, direction: Literal["minimize", "maximize"]) -> optuna.Study:
    """The study of this name in an SQLite file, with the trials that it has already."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path.parent.mkdir(parents=True, exist_ok=True)
    return optuna.create_study(storage=f"sqlite:///{path}", study_name=name, direction=direction, load_if_exists=True)


def draw(history: list[FrozenTrial], space: Space, seed: int, direction: StudyDirection) -> list[Values]:
    """The next batch, a function of the trials before: tree-structured Parzen estimators (Bergstra et al., NeurIPS
    2011), for which trials of the same batch count as bad, so that they differ.
    """
    sampler = optuna.samplers.TPESampler(seed=seed + len(history), constant_liar=True)
    study = optuna.create_study(direction=direction, sampler=sampler)
    study.add_trials(history)
    distributions = {key: distribution(part) for key, part in space.items()}
    drawn = [study.ask(distributions).params for _ in range(BATCH)]
    return [{key: rounded(values[key], part) for key, part in space.items()} for values in drawn]


def as_trial(values: Values, score: float, space: Space, *, is_start: bool) -> FrozenTrial:
    """A trial as Optuna stores it. The values of params.yaml may be outside the space: those parts are not learned from."""
    inside = {key: value for key, value in values.items() if covers(space[key], value)}
    return create_trial(
        params=inside,
        distributions={key: distribution(space[key]) for key in inside},
        value=score,
        user_attrs={"values": values, "start": is_start},
    )


def search(
    study: optuna.Study,
    space: Space,
    start: Values,
    trials: int,
    seed: int,
    score: Callable[[list[Values]], Iterator[float]],
) -> list[FrozenTrial]:
    """Fill a study up to so many trials, `start` among them. What is drawn depends on the trials before its batch alone, so
    a search that was interrupted ends as one that was not.
    """
    with tqdm(total=trials, initial=len(study.trials), desc="trials", unit="trial", disable=None) as bar:
        while True:
            done = study.trials
            starts = all(trial.user_attrs["values"] != start for trial in done)
            if not starts and len(done) >= trials:
                return done
            drawn = [trial for trial in done if not trial.user_attrs["start"]]
            begun = len(drawn) % BATCH
            before = done[: drawn[-begun].number] if begun else done
            batch = [start] if starts else draw(before, space, seed, study.direction)[begun:][: trials - len(done)]
            for values, found in zip(batch, score(batch), strict=True):
                study.add_trial(as_trial(values, found, space, is_start=starts))
                bar.update()
                if bar.disable:  # off a terminal, where a log should show that it goes on
                    print(f"trial {len(study.trials)} of {trials}: {significant(found, 5)}", file=sys.stderr, flush=True)


def score_of(trial: FrozenTrial) -> float:
    """The score of a trial; it has one, as only finished ones are stored."""
    return cast(float, trial.value)


def improvements(done: list[FrozenTrial], start: Values, direction: StudyDirection) -> list[FrozenTrial]:
    """The trial of `start`, then those that were better than it and than all before them; the last is the best."""
    sign = 1 if direction is StudyDirection.MAXIMIZE else -1
    best = [next(trial for trial in done if trial.user_attrs["values"] == start)]
    for trial in done:
        if sign * score_of(trial) > sign * score_of(best[-1]):
            best.append(trial)
    return best

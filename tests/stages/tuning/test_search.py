from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import count

import optuna
import pytest
from optuna.study import StudyDirection

from stages.tuning.search import BATCH, improvements, score_of, search
from stages.tuning.settings import Choice, Range
from stages.tuning.space import Space, Values

optuna.logging.set_verbosity(optuna.logging.WARNING)

SPACE: Space = {
    "rate": Range(low=0.001, high=1.0, log=True),
    "leaves": Range(low=2, high=60),
    "kind": Choice(choices=["round", "flat"]),
}
START: Values = {"rate": 0.5, "leaves": 5}


def badness(values: Values) -> float:
    """Least, 0, at a rate of 0.1 with 30 leaves."""
    return abs(values["rate"] - 0.1) + abs(values["leaves"] - 30) / 30 + 0.1 * (values.get("kind") == "flat")


def scored(batch: list[Values]) -> Iterator[float]:
    assert len(batch) <= BATCH
    return map(badness, batch)


def new_study() -> optuna.Study:
    return optuna.create_study(direction="minimize")


def tried(study: optuna.Study) -> list[tuple[Values, float]]:
    return [(trial.user_attrs["values"], score_of(trial)) for trial in study.trials]


def searched(trials: int, start: Values = START, seed: int = 0) -> optuna.Study:
    study = new_study()
    search(study, SPACE, start, trials, seed, scored)
    return study


def test_what_stands_is_tried_first_and_the_rest_lies_in_the_space() -> None:
    found = tried(searched(30))
    assert len(found) == 30
    assert found[0] == (START, badness(START))
    for values, score in found[1:]:
        assert 0.001 <= values["rate"] <= 1
        assert 2 <= values["leaves"] <= 60
        assert values["kind"] in ("round", "flat")
        assert float(f"{values['rate']:.3e}") == values["rate"]
        assert score == badness(values)
    assert len({str(values) for values, _ in found}) > 25


@pytest.mark.slow
def test_the_search_learns_from_its_trials() -> None:
    for seed in range(3):
        scores = [score for _, score in tried(searched(80, seed=seed))]
        assert sum(scores[-20:]) < sum(scores[1:21]) / 2
        assert min(scores) < 0.1 < scores[0]


def test_the_same_seed_gives_the_same_trials_and_another_one_others() -> None:
    assert tried(searched(20)) == tried(searched(20))
    assert tried(searched(20)) != tried(searched(20, seed=1))


@cache
def uninterrupted(trials: int) -> list[tuple[Values, float]]:
    return tried(searched(trials))


@pytest.mark.slow
@pytest.mark.parametrize("stops", [[0], [1], [3], [6], [1, 2, 4], [5] * 5, list(range(8))])
def test_a_search_that_was_interrupted_ends_as_one_that_was_not(stops: list[int]) -> None:
    study = new_study()
    for stop in stops:
        left = count(stop, -1)

        def interrupted(batch: list[Values], left: Iterator[int] = left) -> Iterator[float]:
            for values in batch:
                if next(left) == 0:
                    raise KeyboardInterrupt
                yield badness(values)

        before = len(study.trials)
        with pytest.raises(KeyboardInterrupt):
            search(study, SPACE, START, 40, 0, interrupted)
        assert len(study.trials) == before + stop
    search(study, SPACE, START, 40, 0, scored)
    assert tried(study) == uninterrupted(40)
    assert {trial.state.name for trial in study.trials} == {"COMPLETE"}


def test_a_longer_search_goes_on_where_a_shorter_one_ended_even_from_the_best_it_found() -> None:
    study = searched(11)
    best = improvements(study.trials, START, study.direction)[-1].user_attrs["values"]
    search(study, SPACE, best, 23, 0, scored)
    assert tried(study) == tried(searched(23))
    search(study, SPACE, best, 23, 0, scored)
    assert len(study.trials) == 23


def test_values_that_came_into_params_since_are_tried_too_wherever_they_lie() -> None:
    study = searched(11)
    outside = {"rate": 0.11, "leaves": 400, "kind": "square"}
    for start, trials in ((outside, 12), ({}, 13)):
        search(study, SPACE, start, 11, 0, lambda batch: (badness({**START, **values}) for values in batch))
        assert len(study.trials) == trials
        assert study.trials[-1].user_attrs["values"] == start
    search(study, SPACE, outside, 30, 0, scored)
    assert len(study.trials) == 30
    assert [found for found, _ in tried(study)[:11]] == [found for found, _ in tried(searched(11))]


@pytest.mark.parametrize("direction", list(StudyDirection)[1:])
def test_improvements_begin_with_what_stands_and_end_with_the_best(direction: StudyDirection) -> None:
    study = searched(30)
    sign = -1 if direction is StudyDirection.MINIMIZE else 1
    found = improvements(study.trials, START, direction)
    scores = [sign * score_of(trial) for trial in found]
    assert found[0].user_attrs["values"] == START
    assert scores == sorted(set(scores))
    assert scores[-1] == max(sign * score for _, score in tried(study))
    best = found[-1].user_attrs["values"]
    assert len(improvements(study.trials, best, direction)) == 1, "nothing is better than the best"


def test_off_a_terminal_each_trial_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    search(new_study(), SPACE, START, 3, 0, scored)
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["trial 1 of 3", "trial 2 of 3", "trial 3 of 3"]

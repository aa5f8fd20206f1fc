from __future__ import annotations

from typing import Any

from stages.review.experiments import WIDTH, experiments_table, figure, read_experiments

SCORES = {"brier": 0.1, "f1": 0.5, "roc_auc": 0.8}


def revision(name: str | None, late: dict[str, Any], weight: int = 1, **metrics: float) -> dict[str, Any]:
    """What DVC prints of a commit or a run."""
    params = {"base": {"seed": 0}, "toy": {"train": late}, "other": {"train": {"weight": weight}}}
    data = {
        "params": {"params.yaml": {"data": params}},
        "metrics": {"reports/toy/metrics.json": {"data": {"toy": SCORES | metrics}}},
    }
    return {"rev": "0123456789", "name": name, "data": data, "error": None}


def shown(*runs: tuple[dict[str, Any], str | None]) -> list[dict[str, Any]]:
    """What `dvc exp show --json` prints."""
    base = revision("main", {"model": "ridge", "folds": 5})
    experiments = [{"name": run["name"], "executor": state and {"state": state}, "revs": [run]} for run, state in runs]
    return [{**base, "rev": "workspace"}, {**base, "experiments": experiments}]


def table(*runs: tuple[dict[str, Any], str | None]) -> list[str]:
    return experiments_table(read_experiments(shown(*runs), "toy"), "toy")


def test_each_experiment_shows_what_it_changed_and_what_came_out() -> None:
    run = revision("forest", {"model": "forest", "trees": 7}, roc_auc=0.9)
    header, base, forest = table((run, None))
    assert header.split() == ["Experiment", "State", *SCORES, "Changed"]
    assert base.split() == ["main", "0.1000", "0.5000", "0.8000"]
    assert forest.split(maxsplit=4) == ["forest", "0.1000", "0.5000", "0.9000", 'folds=removed, model="forest", trees=7']


def test_a_run_that_failed_or_has_not_ended_is_marked_and_has_no_figures() -> None:
    failed = {**revision("bad", {"model": "none", "folds": 5}), "error": {"msg": "Experiment run failed"}}
    waiting = revision("next", {"model": "forest", "folds": 5})
    *_, bad, queued, note = table((failed, "failed"), (waiting, "queued"))
    assert bad.split() == ["bad", "failed", "-", "-", "-", 'model="none"']
    assert queued.split() == ["next", "queued", "-", "-", "-", 'model="forest"']
    assert "dvc queue logs" in note


def test_what_only_changed_another_project_is_counted() -> None:
    *rows, note = table((revision("other", {"model": "ridge", "folds": 5}, weight=2), "success"))
    assert len(rows) == 2
    assert note == "Left out: 1 that changed other projects only."


def test_large_figures_have_one_decimal() -> None:
    assert [figure(value) for value in (None, 0.88344, 9.87654, 2164.81, -12.0)] == [
        "-",
        "0.8834",
        "9.8765",
        "2,164.8",
        "-12.0",
    ]


def test_many_changes_are_wrapped() -> None:
    late = {"model": "ridge", "folds": 5, **{f"a_long_name_of_a_parameter_{number}": number for number in range(9)}}
    lines = table((revision("wide", late), None))
    assert max(map(len, lines)) <= WIDTH
    assert "".join(lines).count("a_long_name_of_a_parameter_") == 9

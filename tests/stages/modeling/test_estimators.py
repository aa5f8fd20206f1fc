from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.core.cli import UserError
from stages.modeling.estimators import FAMILIES, ArdGaussianProcess, Task, build_estimator, is_dense
from stages.modeling.families import ESTIMATORS
from stages.modeling.pipeline import assemble, build_model, predict_scores
from stages.projects._base import load_project
from tests.samples import records, settings

TINY: dict[str, dict[str, Any]] = {
    "random_forest": {"n_estimators": 5},
    "extra_trees": {"n_estimators": 5},
    "gradient_boosting": {"n_estimators": 5},
    "hist_gradient_boosting": {"max_iter": 5},
    "lightgbm": {"n_estimators": 5},
    "catboost": {"iterations": 5},
    "xgboost": {"n_estimators": 5},
}
EXAMPLES: dict[Task, str] = {"classification": "toy", "regression": "toy_plain"}
MEMBERS: dict[Task, dict[str, float]] = {
    "classification": {"logistic_regression": 1.0, "hist_gradient_boosting": 3.0},
    "regression": {"ridge": 1.0, "hist_gradient_boosting": 3.0},
}


def does(name: str, task: Task) -> bool:
    return name == "voting" or bool(getattr(FAMILIES[name], task))


CASES = [(name, task) for task in EXAMPLES for name in ESTIMATORS if does(name, task)]


def test_params_may_name_exactly_the_estimators_that_can_be_built() -> None:
    assert {*FAMILIES, "voting"} == set(ESTIMATORS)


@pytest.mark.parametrize(("name", "task"), CASES)
def test_every_estimator_learns_more_than_the_mean_from_rows_with_gaps(name: str, task: Task) -> None:
    if name != "voting" and FAMILIES[name].extra and not find_spec(FAMILIES[name].extra):
        pytest.skip(f"{name} is not installed")
    project = load_project(EXAMPLES[task])
    frame = records(project, 150)
    train = settings(**TINY, voting={"members": MEMBERS[task]})
    model = assemble(project, build_model(project, name, train, seed=0)).fit(frame, frame[project.target])
    scores = predict_scores(model, frame, project)
    assert scores.shape == (150,)
    assert np.corrcoef(scores, frame[project.target])[0, 1] > 0.3
    if task == "classification":
        assert ((scores >= 0) & (scores <= 1)).all()
    again = assemble(project, build_model(project, name, train, seed=0)).fit(frame, frame[project.target])
    np.testing.assert_array_equal(predict_scores(again, frame, project), scores)


@pytest.mark.parametrize("task", EXAMPLES)
def test_a_voting_predicts_the_weighted_mean_of_its_members(task: Task) -> None:
    project = load_project(EXAMPLES[task])
    frame = records(project, 150).dropna().reset_index(drop=True)
    train = settings(**TINY, voting={"members": MEMBERS[task]})
    inputs = np.asarray(frame[[name for name in project.numeric if name in frame]])
    target = frame[project.target].to_numpy()
    fitted = {name: build_estimator(name, task, train, 0).fit(inputs, target) for name in ("voting", *MEMBERS[task])}
    voted, first, second = (predict_scores(model, inputs, project) for model in fitted.values())
    np.testing.assert_allclose(voted, (first + 3 * second) / 4)


@pytest.mark.parametrize(
    "members",
    [None, {}, "ridge", ["ridge"], {"voting": 1}, {"oracle": 1}],
    ids=["none", "empty", "text", "list", "self", "unknown"],
)
def test_a_voting_without_a_mapping_of_known_members_is_refused(members: Any) -> None:
    train = settings(voting={"members": members})
    for call in (lambda: build_estimator("voting", "regression", train, 0), lambda: is_dense("voting", train)):
        with pytest.raises(UserError, match=r"train\.voting\.members: a mapping of estimator names to weights is needed"):
            call()


@pytest.mark.parametrize("name", ["ridge", "gaussian_process", "hist_gradient_boosting"])
def test_a_setting_that_the_estimator_lacks_is_refused_by_name(name: str) -> None:
    with pytest.raises(UserError, match=rf"train\.{name}: .*depht"):
        build_estimator(name, "regression", settings(**{name: {"depht": 3}}), 0)


@pytest.mark.parametrize(
    ("name", "task"),
    [("ridge", "classification"), ("gaussian_process", "classification"), ("logistic_regression", "regression")],
)
def test_an_estimator_for_the_other_task_is_refused(name: str, task: Task) -> None:
    with pytest.raises(UserError, match=f"{name} does no {task}; choose another"):
        build_estimator(name, task, settings(), 0)


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.extra])
def test_an_estimator_that_is_not_installed_names_the_extra_that_brings_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=f"{name} is not installed: .*--extra {name} "):
        build_estimator(name, "regression", settings(), 0)


def test_class_weights_are_balanced_where_there_are_any_and_refused_where_not() -> None:
    train = settings(resampling="class_weight", voting={"members": {"logistic_regression": 1, "random_forest": 2}})
    assert build_estimator("hist_gradient_boosting", "classification", train, 0).class_weight == "balanced"
    voting = build_estimator("voting", "classification", train, 0)
    assert [member.class_weight for _, member in voting.estimators] == ["balanced", "balanced"]
    with pytest.raises(UserError, match="gradient_boosting takes no class weights"):
        build_estimator("gradient_boosting", "classification", train, 0)


def test_settings_of_params_win_over_what_an_estimator_is_always_given() -> None:
    train = settings(logistic_regression={"max_iter": 7, "random_state": 5})
    estimator = build_estimator("logistic_regression", "classification", train, 0)
    assert (estimator.max_iter, estimator.random_state) == (7, 5)


def test_the_gaussian_process_finds_out_which_column_matters() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(60, 2))
    model = ArdGaussianProcess(nu=1.5, random_state=0).fit(inputs, np.sin(2 * inputs[:, 0]))
    relevant, useless = model.kernel_.k1.k2.length_scale
    assert relevant < useless / 10
    assert model.score(inputs, np.sin(2 * inputs[:, 0])) > 0.95


def test_only_estimators_that_take_no_gaps_get_them_filled() -> None:
    gap = pd.DataFrame({"x": [1.0, np.nan] * 20})
    for name, family in FAMILIES.items():
        if family.regression and not family.dense and not family.extra:
            build_estimator(name, "regression", settings(**TINY), 0).fit(gap, np.arange(40.0))

from __future__ import annotations

import io
import math
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shap
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto

from stages.core.schema import coerce
from stages.exporting.explainer import explainer_table, to_bytes
from stages.exporting.onnx_graph import build_graph
from stages.exporting.plan import encoder_plan
from stages.modeling.pipeline import assemble, build_model, calibrated, unwrap, with_threshold
from stages.projects._base import Column, Columns, Project, load_project
from stages.runtime.reasons import reasons
from stages.runtime.scorer import Scorer
from stages.runtime.shapley import Explainer, Explanation, Sampling, owner
from tests.samples import records, settings


def pairwise(matrix: np.ndarray) -> np.ndarray:
    return matrix[:, 0] * matrix[:, 1] + 2 * matrix[:, 2] - matrix[:, 3] * matrix[:, -1] + 3


@pytest.mark.parametrize("fields", [4, 5, 6, 9])
def test_sampled_values_are_exact_where_no_more_than_two_fields_interact(fields: int) -> None:
    rng = np.random.default_rng(0)
    background, row = rng.normal(size=(8, fields)), rng.normal(size=fields)
    means = background.mean(axis=0)
    expected = np.zeros(fields)
    for factor, one, other in ((1, 0, 1), (-1, 3, fields - 1)):
        for a, b in ((one, other), (other, one)):
            step = row[a] * row[b] - np.mean(background[:, a] * background[:, b])
            step += row[a] * means[b] - row[b] * means[a]
            expected[a] += factor * step / 2
    expected[2] += 2 * (row[2] - means[2])
    if fields == 4:  # the last is then the fourth itself: a square
        expected[3] = -(row[3] ** 2 - np.mean(background[:, 3] ** 2))
    found = Sampling(pairwise, background, np.arange(fields))(row)
    np.testing.assert_allclose(found, expected, atol=1e-12)


@given(st.lists(st.floats(-5, 5), min_size=7, max_size=7))
def test_sampled_values_add_up_and_are_the_same_each_time(values: list[float]) -> None:
    def score(matrix: np.ndarray) -> np.ndarray:
        return np.tanh(matrix.prod(axis=1)) + np.abs(matrix).max(axis=1)

    background = np.random.default_rng(0).normal(size=(16, 3))[:, [0, 1, 2, 0, 1, 2, 0]]
    row = np.array(values)
    sampling = Sampling(score, background, np.arange(7))
    found = sampling(row)
    assert sampling.base + found.sum() == pytest.approx(score(row[None])[0], abs=1e-12)
    np.testing.assert_array_equal(found, Sampling(score, background, np.arange(7))(row))


def test_columns_of_one_field_are_known_together_and_a_field_without_effect_gets_nothing() -> None:
    calls: list[np.ndarray] = []

    def score(matrix: np.ndarray) -> np.ndarray:
        calls.append(matrix)
        return matrix[:, 0] * matrix[:, 3] * matrix[:, 1]

    row = np.ones(4)
    found = Sampling(score, np.zeros((2, 4)), np.array([0, 1, 2, 0]))(row)
    assert found == pytest.approx([0.5, 0.5, 0])
    assert all(np.array_equal(matrix[:, 0], matrix[:, 3]) for matrix in calls)


TRAIN: dict[str, Any] = {
    "random_forest": {"n_estimators": 10, "min_samples_leaf": 3},
    "extra_trees": {"n_estimators": 10, "min_samples_leaf": 3},
    "gradient_boosting": {"n_estimators": 10},
    "hist_gradient_boosting": {"max_iter": 10, "max_leaf_nodes": 8},
}
CLASSIFIERS = (
    "logistic_regression",
    "random_forest",
    "extra_trees",
    "gradient_boosting",
    "hist_gradient_boosting",
    "voting",
)
REGRESSORS = ("ridge", "linear_regression", *CLASSIFIERS[1:], "gaussian_process")
MODELS = [
    *[("toy", name, calibration) for name in CLASSIFIERS for calibration in ("none", "sigmoid", "isotonic")],
    *[(project, name, "none") for project in ("toy_plain", "toy_price") for name in REGRESSORS],
]


@cache
def served(name: str, estimator: str, calibration: str = "none") -> tuple[Any, Scorer, np.ndarray, Explainer]:
    """A small model as train makes it, its scorer, the encoded training rows, and the explainer read back from bytes."""
    project = load_project(name)
    linear = "logistic_regression" if project.task == "classification" else "ridge"
    train = settings(**TRAIN, calibration=calibration, voting={"members": {linear: 1, "random_forest": 2}})
    frame = project.clean(records(project, 220))
    model = build_model(project, estimator, train, seed=0)
    if project.task == "classification":
        model = with_threshold(calibrated(model, train, seed=0), 0.3)
    pipeline = assemble(project, model).fit(frame, frame[project.target])
    plan = encoder_plan(unwrap(pipeline["model"]).encoder)
    graph: ModelProto = build_graph(pipeline["model"], sum(len(entry["columns"]) for entry in plan))
    scorer = Scorer(project, plan, graph.SerializeToString(deterministic=True))
    encoded = scorer.encode(coerce(frame, project.columns)[0])
    table = explainer_table(pipeline["model"], scorer, encoded)
    return pipeline, scorer, encoded, Explainer.load(project, scorer, to_bytes(table))


def value_of(column: Column) -> st.SearchStrategy[Any]:
    """Values that the row's schema lets through, and missing ones where it allows them."""
    low, high = column.ge if column.ge is not None else column.gt, column.le if column.le is not None else column.lt
    found: st.SearchStrategy[Any]
    if column.choices:
        found = st.sampled_from(column.choices)
    elif column.kind == "date":
        found = st.dates(date(1950, 1, 1), date(2030, 1, 1))
    elif column.kind == "text":
        found = st.sampled_from(["lund river", "00417", "never seen before"]) | st.text(min_size=1, max_size=5)
    elif column.integer:
        found = st.integers(math.ceil(low or 0), math.floor(high or 1e6))
    else:
        found = st.floats(low, high, exclude_min=column.gt is not None, allow_subnormal=False).map(
            lambda x: round(x, 4) or x
        )
    return found if column.required else st.none() | found


def one_row(project: Project, values: dict[str, Any]) -> Columns:
    """A row as the server hands it to a scorer."""
    columns: Columns = {}
    for column in project.columns:
        value = values[column.name]
        if column.kind == "number":
            columns[column.name] = np.array([math.nan if value is None else value], dtype=np.float64)
        elif column.kind == "date":
            columns[column.name] = np.array(["NaT" if value is None else value], dtype="datetime64[D]")
        else:
            columns[column.name] = np.array([value], dtype=object)
    return columns


@pytest.mark.slow
@pytest.mark.parametrize(("name", "estimator", "calibration"), MODELS)
@given(data=st.data())
def test_every_kind_of_model_is_explained_for_every_row_that_the_schema_allows(
    name: str, estimator: str, calibration: str, data: st.DataObject
) -> None:
    project = load_project(name)
    _, scorer, _, explainer = served(name, estimator, calibration)
    values = {column.name: data.draw(value_of(column)) for column in project.columns}
    columns = one_row(project, values)
    with np.errstate(all="ignore"):
        prediction = scorer.score(columns)[0]
        if not np.isfinite(prediction) or (project.log_target and prediction == 0):
            return  # a linear model far outside its training data
        found = explainer.explain(columns)
    assert found.base + sum(found.contributions.values()) == pytest.approx(found.output)
    assert found.prediction == prediction
    assert set(found.contributions) == {owner(feature, project) for feature in project.feature_names}
    assert np.isfinite([found.base, *found.contributions.values()]).all()
    output = {
        "log_odds": lambda: 0.5 + 0.5 * math.tanh(found.output / 2),
        "log": lambda: math.exp(found.output),
        "probability": lambda: found.output,
        "value": lambda: found.output,
    }[found.scale]()
    if found.calibrated:
        assert output == pytest.approx(prediction, rel=1e-6, abs=1e-9)
    said = reasons(found, values, project)
    assert len(said) <= 3
    assert not set("<>\n") & set("".join(said))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "estimator", "calibration", "expected"),
    [
        ("toy", "hist_gradient_boosting", "sigmoid", ("tree", "log_odds", True)),
        ("toy", "hist_gradient_boosting", "isotonic", ("tree", "log_odds", False)),
        ("toy", "random_forest", "none", ("tree", "probability", True)),
        ("toy", "random_forest", "sigmoid", ("tree", "log_odds", True)),
        ("toy", "random_forest", "isotonic", ("tree", "probability", False)),
        ("toy", "logistic_regression", "none", ("linear", "log_odds", True)),
        ("toy", "voting", "isotonic", ("sampled", "probability", True)),
        ("toy_plain", "gaussian_process", "none", ("sampled", "log", True)),
        ("toy_price", "hist_gradient_boosting", "none", ("tree", "log", True)),
    ],
)
def test_the_scale_is_the_one_the_model_adds_up_on(
    name: str, estimator: str, calibration: str, expected: tuple[str, str, bool]
) -> None:
    found = first(name, estimator, calibration)
    assert (found.method, found.scale, found.calibrated) == expected
    assert (found.effects is not None) == (found.scale == "log")


def first(name: str, estimator: str, calibration: str = "none") -> Explanation:
    """The explanation of the first simulated row."""
    project = load_project(name)
    columns, _ = coerce(records(project, 1), project.columns)
    return served(name, estimator, calibration)[3].explain(columns)


def test_a_target_that_is_no_logarithm_is_explained_in_its_unit() -> None:
    project = replace(load_project("toy_plain"), log_target=False)
    frame = records(project, 120)
    pipeline = assemble(project, build_model(project, "ridge", settings(), seed=0)).fit(frame, frame[project.target])
    plan = encoder_plan(unwrap(pipeline["model"]).encoder)
    graph = build_graph(pipeline["model"], sum(len(entry["columns"]) for entry in plan)).SerializeToString()
    scorer = Scorer(project, plan, graph)
    columns, _ = coerce(frame, project.columns)
    explainer = Explainer(project, scorer, explainer_table(pipeline["model"], scorer, scorer.encode(columns)))
    found = explainer.explain({name: values[:1] for name, values in columns.items()})
    assert (found.scale, found.effects) == ("value", None)
    assert found.output == pytest.approx(found.prediction)
    assert all(re.search(r"by about [\d,.]+ USD$", reason) for reason in reasons(found, {}, project))


@pytest.mark.parametrize(("name", "estimator"), [("toy_plain", "ridge"), ("toy", "logistic_regression")])
def test_contributions_of_linear_models_are_those_of_shap(name: str, estimator: str) -> None:
    project = load_project(name)
    pipeline, scorer, encoded, explainer = served(name, estimator)
    fitted_estimator = unwrap(pipeline["model"]).estimator
    expected = shap.LinearExplainer(fitted_estimator, shap.maskers.Independent(encoded, len(encoded))).shap_values(encoded)
    columns, _ = coerce(project.clean(records(project, 220)), project.columns)
    for number in range(5):
        found = explainer.explain({key: values[number : number + 1] for key, values in columns.items()}).contributions
        for field in found:
            mine = [owner(source, project) == field for source in scorer.encoder.sources]
            assert found[field] == pytest.approx(expected[number][mine].sum(), abs=1e-9)


def test_an_explanation_that_does_not_add_up_is_an_error() -> None:
    project = load_project("toy")
    _, scorer, encoded, _ = served("toy", "hist_gradient_boosting")
    other, *_ = served("toy", "random_forest")
    wrong = Explainer(project, scorer, explainer_table(other["model"], scorer, encoded))
    columns, _ = coerce(records(project, 1), project.columns)
    with pytest.raises(ArithmeticError, match=r"toy: the explanation adds up to \S+ instead of 0\.\d+"):
        wrong.explain(columns)


def test_a_feature_counts_for_the_field_it_speaks_for_or_for_itself() -> None:
    project = replace(load_project("toy_price"), derived_from={"age": "built", "brand": "builder"})
    assert [owner(name, project) for name in ("age", "brand", "builder", "hours")] == [
        "built", "builder", "builder", "hours",
    ]  # fmt: skip
    _, scorer, _, plain = served("toy_price", "hist_gradient_boosting")
    columns, _ = coerce(records(project, 1), project.columns)
    pipeline, scorer, encoded, _ = served("toy_price", "hist_gradient_boosting")
    merged = Explainer(project, scorer, explainer_table(pipeline["model"], scorer, encoded)).explain(columns)
    assert {"age", "brand"}.isdisjoint(merged.contributions)
    assert merged.output == pytest.approx(plain.explain(columns).output)


@pytest.mark.parametrize("estimator", ["hist_gradient_boosting", "random_forest", "logistic_regression", "voting"])
def test_equal_tables_are_equal_bytes_without_date_or_code(estimator: str) -> None:
    pipeline, scorer, encoded, _ = served("toy", estimator)
    table = explainer_table(pipeline["model"], scorer, encoded)
    data = to_bytes(table)
    assert to_bytes(dict(reversed(explainer_table(pipeline["model"], scorer, encoded).items()))) == data
    assert {entry.date_time for entry in zipfile.ZipFile(io.BytesIO(data)).infolist()} == {(1980, 1, 1, 0, 0, 0)}
    with np.load(io.BytesIO(data), allow_pickle=False) as read:
        assert set(read) == set(table)


def test_it_loads_from_a_file(tmp_path: Path) -> None:
    pipeline, scorer, encoded, explainer = served("toy", "hist_gradient_boosting", "sigmoid")
    path = tmp_path / "explainer.npz"
    path.write_bytes(to_bytes(explainer_table(pipeline["model"], scorer, encoded)))
    columns, _ = coerce(records("toy", 1), load_project("toy").columns)
    assert Explainer.load(load_project("toy"), scorer, path).explain(columns) == explainer.explain(columns)


def test_the_module_needs_nothing_but_numpy_and_the_projects() -> None:
    code = "import sys, stages.runtime.shapley; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"sklearn", "pandas", "scipy", "shap", "onnxruntime", "joblib"} & set(run.stdout.split())

from __future__ import annotations

import pytest

from stages.core.cli import UserError
from stages.exporting.proof import check_equal, known_row, with_missing_values
from stages.modeling.pipeline import predict_scores
from stages.projects._base import Project, load_project
from stages.runtime.probe import TOLERANCE, agrees
from tests.samples import records
from tests.stages.runtime.test_shapley import CLASSIFIERS, REGRESSORS, served


@pytest.mark.parametrize(
    ("name", "estimator"),
    [*(("toy", estimator) for estimator in CLASSIFIERS), *(("toy_plain", estimator) for estimator in REGRESSORS)],
)
def test_an_exported_model_gives_the_scores_of_the_fitted_one(name: str, estimator: str) -> None:
    pipeline, scorer, *_ = served(name, estimator)
    assert check_equal(scorer, pipeline, records(name, 200, seed=5), load_project(name), seed=0) <= TOLERANCE


def test_the_export_of_another_model_is_refused() -> None:
    _, scorer, *_ = served("toy", "random_forest")
    other, *_ = served("toy", "hist_gradient_boosting")
    with pytest.raises(UserError, match=r"differs from the pipeline by up to \S+ relative; 1e-09 is allowed"):
        check_equal(scorer, other, records("toy", 50), load_project("toy"), seed=0)


def test_a_tenth_of_the_optional_values_is_removed_and_of_the_texts_unknown(project: Project) -> None:
    frame = records(project, 1_000)
    changed = with_missing_values(frame, project, seed=0)
    for column in project.columns:
        now = changed[column.name]
        if not column.required:
            assert now.isna().mean() > frame[column.name].isna().mean()
        elif column.kind == "text":
            assert 0.07 < (now == "never seen before").mean() < 0.13
        else:
            assert now.equals(frame[column.name])


def test_the_known_row_has_the_score_that_the_model_gives_it() -> None:
    pipeline, *_ = served("toy_plain", "ridge")
    plain = load_project("toy_plain")
    probe = known_row(pipeline, plain)
    assert probe["row"] == plain.example_row
    frame = records(plain, 1).iloc[[0]].drop(columns=list(plain.example_row)).assign(**plain.example_row)
    assert agrees(predict_scores(pipeline, frame, plain), probe["score"])

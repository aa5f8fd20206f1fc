from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from stages.monitoring.twosample import delong, encode, excess, score_test


def test_a_score_that_is_the_same_for_all_rows_is_no_evidence() -> None:
    assert score_test(np.full(20, 0.1), np.arange(20) >= 10) == 1


def test_less_than_chance_is_no_distance() -> None:
    assert excess(-3.0, 100, 100) == 0


@pytest.mark.slow
def test_the_area_under_the_curve_is_that_of_scikit_learn_and_its_error_that_of_repeated_draws() -> None:
    rng = np.random.default_rng(4)
    draws = [(rng.normal(0.3, 1, 150).round(1), rng.normal(0, 1, 250).round(1)) for _ in range(300)]
    areas, errors = np.transpose([delong(*draw) for draw in draws])
    target = np.repeat([1, 0], [150, 250])
    assert areas == pytest.approx([roc_auc_score(target, np.concatenate(draw)) for draw in draws])
    assert errors.mean() == pytest.approx(areas.std(), rel=0.15)


def test_missing_values_dates_and_rare_texts_become_numbers() -> None:
    days = np.array(["1970-01-03", "NaT"], dtype="datetime64[D]")
    usual = {"text": np.array(["a", None], dtype=object), "day": days, "number": np.array([1.0, np.nan])}
    matrix, categorical = encode(usual, usual)
    assert categorical == [0]
    assert matrix[:, 1:].tolist()[0] == [2, 1]
    assert np.isnan(matrix[[1, 3], 1:]).all()
    assert matrix[0, 0] == matrix[2, 0] != matrix[1, 0] > 0
    names = np.array([f"name {number % 200}" for number in range(1_000)], dtype=object)
    codes, _ = encode({"name": names}, {"name": names})
    assert codes.min() == 0
    assert codes.max() < 255  # what scikit-learn's trees take

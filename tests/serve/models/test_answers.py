"""Tests of serve/models/answers.py: predictions and explanations as a client gets them."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.models.answers import Answerer, encode, risk_level
from stages.projects._base import Project
from tests.serve.checkout import CLASSIFIERS, REGRESSORS, example, json_rows, pipeline_scores, score_of
from tests.serve.conftest import Client
from tests.serve.models.test_loader import load


def predict(client: Client, name: str, row: dict[str, Any], **query: Any) -> dict[str, Any]:
    response = client.post(f"/v1/{name}/predict", json=row, params=query)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def predict_batch(client: Client, name: str, rows: list[dict[str, Any]], **query: Any) -> list[dict[str, Any]]:
    response = client.post(f"/v1/{name}/predict/batch", json={"rows": rows}, params=query)
    assert response.status_code == 200, response.text
    answers: list[dict[str, Any]] = response.json()["predictions"]
    return answers


def check_common(answer: dict[str, Any], client: Client, name: str) -> None:
    assert UUID(answer["prediction_id"]).version == 7
    assert abs(datetime.now(UTC) - datetime.fromisoformat(answer["timestamp"])) < timedelta(minutes=1)
    served = client.get(f"/v1/{name}").json()
    assert answer["model"] == {key: served[key] for key in ("version", "revision", "hash")}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_answers_with_all_that_is_documented(client: Client, name: str) -> None:
    manifest = client.get(f"/v1/{name}").json()["manifest"]
    for row in json_rows(name, 30):
        answer = predict(client, name, row)
        check_common(answer, client, name)
        probability = answer["probability"]
        assert answer["threshold"] == manifest["threshold"]
        assert answer["prediction"] == (probability >= manifest["threshold"])
        assert answer["confidence"] == (probability if answer["prediction"] else 1 - probability)
        assert answer["risk_level"] == risk_level(probability, manifest["threshold"])
        assert set(answer) == {
            "prediction_id", "timestamp", "prediction", "label", "probability", "threshold", "risk_level", "confidence",
            "warnings", "model",
        }  # fmt: skip


@pytest.mark.parametrize("name", REGRESSORS)
def test_a_regressor_answers_with_an_interval_in_its_unit(client: Client, name: str, checkout: Path) -> None:
    interval = json.loads((checkout / "models" / name / "manifest.json").read_text())["interval"]
    for row in json_rows(name, 20):
        answer = predict(client, name, row)
        check_common(answer, client, name)
        value, bounds = answer["prediction"], answer["interval"]
        assert bounds["lower"] < value < bounds["upper"]
        assert bounds["coverage"] == interval["coverage"]
        if interval["scale"] == "log":
            np.testing.assert_allclose(np.log([bounds["upper"] / value, value / bounds["lower"]]), interval["radius"])
        else:
            np.testing.assert_allclose([bounds["upper"] - value, value - bounds["lower"]], interval["radius"])
        assert answer["unit"] == client.get(f"/v1/{name}").json()["unit"] != ""
        assert set(answer) == {"prediction_id", "timestamp", "prediction", "unit", "interval", "warnings", "model"}


def test_a_value_that_training_had_not_met_is_named_in_the_answer_and_in_the_log(client: Client) -> None:
    known = json_rows("toy", 30)[0]
    row = {**known, "sender": "zzzz", "value": 123456.0}
    answer = predict(client, "toy", row)
    assert answer["warnings"][-1] == "Sender: 'zzzz' is in no training row."
    assert any(text.startswith("Declared value: 123,456 is above the largest") for text in answer["warnings"])
    assert not any("zzzz" in text for text in predict(client, "toy", known)["warnings"])
    logged = client.get(f"/v1/predictions/{answer['prediction_id']}").json()["output"]
    assert logged["warnings"] == answer["warnings"]
    assert [each["warnings"] for each in predict_batch(client, "toy", [row, row])] == [answer["warnings"]] * 2
    page = client.get(f"/toy/predictions/{answer['prediction_id']}", headers={"accept": "text/html"}).text
    assert "zzzz&#39; is in no training row." in page


def test_an_advert_that_the_model_was_trained_on_is_marked_with_the_figures_of_the_market_page(client: Client) -> None:
    market = client.get("/toy_price/market/data").json()
    for offer in market["offers"][:5]:
        answer = predict(client, "toy_price", offer["row"])
        assert f"{answer['prediction']:.6g}" == f"{offer['serves']:.6g}"
        (said,) = (text for text in answer["warnings"] if "trained on" in text)
        assert f"{market['price'][offer['at']]:,.0f} USD" in said
        assert f"A model that had not seen it says {offer['model']:,.0f} USD." in said
    fresh = {**market["offers"][0]["row"], "size": 4321.5}
    assert not any("trained on" in text for text in predict(client, "toy_price", fresh)["warnings"])


@pytest.mark.parametrize(
    ("probability", "level"),
    [(0, "low"), (0.29999, "low"), (0.3, "medium"), (0.69999, "medium"), (0.7, "high"), (1, "high")],
)
def test_risk_is_medium_from_three_tenths_and_high_from_seven(probability: float, level: str) -> None:
    assert risk_level(probability, 0.36) == level


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_positive_answer_is_never_of_low_and_a_negative_one_never_of_high_risk(
    probability: float, threshold: float
) -> None:
    assert risk_level(probability, threshold) != ("low" if probability >= threshold else "high")


def test_only_a_project_about_a_risk_has_a_risk_level(root: Path) -> None:
    answers = {}
    for is_risk in (True, False):
        model = load(root)
        answerer = Answerer(replace(model, project=replace(model.project, is_risk=is_risk)))
        row = model.codec.read_row(encode(example("toy")))
        answers[is_risk] = json.loads(answerer.score_all([row], None)[0].body)
    assert answers[True].keys() - answers[False].keys() == {"risk_level"}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_threshold_in_the_query_decides_instead_of_the_tuned_one(client: Client, name: str, project: Project) -> None:
    row = example(name)
    probability = predict(client, name, row)["probability"]
    for threshold in (0.0, probability, math.nextafter(probability, 1), 1.0):
        answer = predict(client, name, row, threshold=threshold)
        assert answer["threshold"] == threshold
        assert answer["prediction"] == (probability >= threshold)
        assert answer["probability"] == probability
        (batched,) = predict_batch(client, name, [row], threshold=threshold)
        assert batched["prediction"] == answer["prediction"]
        assert batched["label"] == answer["label"]


@pytest.mark.parametrize("threshold", ["-0.1", "1.1", "nan", "inf", "1e400", "half", ""])
def test_a_threshold_that_is_no_probability_is_refused(client: Client, threshold: str) -> None:
    for path in ("predict", "predict/batch"):
        response = client.post(f"/v1/toy/{path}?threshold={threshold}", json=example("toy"))
        assert response.status_code == 422
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["errors"][0]["field"] == "threshold"


def test_one_row_and_many_get_the_same_scores_bit_for_bit(client: Client, project: Project) -> None:
    rows = json_rows(project.name, 1_000)
    many = [score_of(answer) for answer in predict_batch(client, project.name, rows)]
    few = [score_of(answer) for answer in predict_batch(client, project.name, rows[498:501])]
    single = [score_of(predict(client, project.name, row)) for row in rows[:40]]
    assert few == many[498:501]
    assert single == many[:40]


def test_answers_equal_those_of_the_scikit_learn_pipeline(client: Client, project: Project, checkout: Path) -> None:
    rows = json_rows(project.name, 300)
    answers = predict_batch(client, project.name, rows)
    expected = pipeline_scores(checkout / "models" / project.name, project, rows)
    np.testing.assert_allclose([score_of(answer) for answer in answers], expected, rtol=1e-9)


def test_the_ids_of_a_batch_rise_in_the_order_of_its_rows(client: Client) -> None:
    ids = [answer["prediction_id"] for answer in predict_batch(client, "toy_plain", json_rows("toy_plain", 250))]
    assert ids == sorted(set(ids))


def test_extreme_values_within_the_bounds_get_a_number_or_a_problem(client: Client, project: Project) -> None:
    for column in project.columns:
        for bound in (column.ge, column.gt, column.le):
            if bound is not None:
                value = bound if bound is not column.gt else math.nextafter(bound, math.inf)
                row = {**example(project.name), column.name: value}
                for path in ("predict", "explain"):
                    response = client.post(f"/v1/{project.name}/{path}", json=row)
                    assert response.status_code in (200, 422), (column.name, value, response.text)
                    if path == "predict" and response.status_code == 200:
                        assert math.isfinite(score_of(response.json()))


def test_a_prediction_that_is_no_finite_number_is_refused_with_its_row_and_not_logged(client: Client) -> None:
    model = client.app.state.service.active["toy_plain"].model
    rows = json_rows("toy_plain", 300)
    before = client.get("/v1/toy_plain/predictions", params={"limit": 1}).json()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model.scorer, "score", lambda columns: np.where(columns["rooms"] == 19.5, np.inf, columns["rooms"]))
        response = client.post("/v1/toy_plain/predict/batch", json={"rows": [*rows[:207], {**rows[0], "rooms": 19.5}]})
        assert response.status_code == 422
        assert [error["row"] for error in response.json()["errors"]] == [207]
        assert client.post("/v1/toy_plain/predict", json={**rows[0], "rooms": 19.5}).status_code == 422
        patch.setattr(model.scorer, "score_encoded", lambda matrix: np.full(len(matrix), np.inf))
        assert client.post("/v1/toy_plain/explain", json=rows[0]).status_code == 422
    assert client.get("/v1/toy_plain/predictions", params={"limit": 1}).json() == before


def test_a_category_that_training_never_saw_gets_an_answer(client: Client) -> None:
    assert predict(client, "toy_price", {**example("toy_price"), "builder": "trabant 601"})["prediction"] > 0
    assert predict(client, "toy_price", {**example("toy_price"), "builder": "\u0000 Nowhere ☃"})["prediction"] > 0


def test_the_day_of_valuation_is_today_unless_given_and_the_log_says_which(client: Client) -> None:
    row = {key: value for key, value in example("toy_price").items() if key != "posted"}
    today = datetime.now(UTC).date()
    answers = [predict(client, "toy_price", row), predict(client, "toy_price", {**row, "posted": today.isoformat()})]
    early = predict(client, "toy_price", {**row, "posted": "2018-05-02"})
    assert answers[0]["prediction"] == answers[1]["prediction"]
    days = [
        client.get(f"/v1/predictions/{answer['prediction_id']}").json()["input"]["posted"] for answer in [*answers, early]
    ]
    assert days == [today.isoformat(), today.isoformat(), "2018-05-02"]


def test_what_the_log_holds_gives_the_same_answer_again(client: Client, project: Project) -> None:
    for row in json_rows(project.name, 5):
        answer = predict(client, project.name, row)
        logged = client.get(f"/v1/predictions/{answer['prediction_id']}").json()
        assert logged["output"] == answer
        assert score_of(predict(client, project.name, logged["input"])) == score_of(answer)


def test_an_explanation_adds_up_to_the_output_and_the_output_is_the_prediction(client: Client, project: Project) -> None:
    titles = {column.name: column.title for column in project.columns}
    for row in json_rows(project.name, 15):
        response = client.post(f"/v1/{project.name}/explain", json=row)
        assert response.status_code == 200, response.text
        explained = response.json()
        parts = explained["contributions"]
        total = explained["base"] + sum(part["contribution"] for part in parts)
        assert total == pytest.approx(explained["output"], rel=1e-9, abs=1e-9)
        to_prediction = {
            "log_odds": lambda output: 1 / (1 + math.exp(-output)),
            "log": math.exp,
            "probability": float,
            "value": float,
        }[explained["scale"]]
        assert to_prediction(explained["output"]) == pytest.approx(explained["prediction"], rel=1e-6)
        assert explained["prediction"] == score_of(predict(client, project.name, row))
        sizes = [abs(part["contribution"]) for part in parts]
        assert sizes == sorted(sizes, reverse=True)
        assert explained["reasons"]
        for part in parts:
            if part["field"] in titles:
                assert part["title"] == titles[part["field"]]
                if part["field"] != project.time_column:
                    assert part["value"] == row[part["field"]]
        assert {"unit", "exact", "model"} <= set(explained)


def test_an_explanation_is_not_logged(client: Client) -> None:
    before = client.get("/v1/toy_plain/predictions", params={"limit": 1}).json()["predictions"]
    assert client.post("/v1/toy_plain/explain", json=example("toy_plain")).status_code == 200
    assert client.get("/v1/toy_plain/predictions", params={"limit": 1}).json()["predictions"] == before

"""Tests of serve/api/routes.py: what each route answers."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from stages.projects._base import Project, project_names
from tests.serve.checkout import example, json_rows, score_of, swap_in_other, write_lock
from tests.serve.conftest import Client, Serve

ADMIN = {"Authorization": "Bearer letmein-for-tests"}
UNKNOWN = "019c0000-0000-7000-8000-000000000000"


def predict(client: Client, name: str = "toy", row: dict[str, Any] | None = None) -> dict[str, Any]:
    response = client.post(f"/v1/{name}/predict", json=row or example(name))
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def page(client: Client, name: str = "toy", **query: Any) -> dict[str, Any]:
    response = client.get(f"/v1/{name}/predictions", params=query)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def tell(client: Client, prediction_id: str, outcome: Any, name: str = "toy") -> Any:
    return client.post(f"/v1/{name}/feedback", json={"prediction_id": prediction_id, "outcome": outcome})


def test_the_projects_are_listed_with_what_serves_them(client: Client) -> None:
    found = {entry["name"]: entry for entry in client.get("/v1/projects").json()}
    assert sorted(found) == project_names()
    for name, entry in found.items():
        assert entry["loaded"]
        assert entry["failure"] is None
        assert entry["simulated_data"] is True
        assert len(entry["hash"]) == 64
        assert entry["revision"] == "c0ffee"
        assert datetime.fromisoformat(entry["loaded_at"]).tzinfo
        assert len(entry["metrics"]) == 1
        assert entry["question"] == client.get(f"/v1/{name}").json()["question"]


def test_a_project_is_told_with_manifest_and_metrics(client: Client, project: Project, checkout: Path) -> None:
    found = client.get(f"/v1/{project.name}").json()
    assert found["manifest"] == json.loads((checkout / "models" / project.name / "manifest.json").read_text())
    report = json.loads((checkout / "reports" / project.name / "evaluation.json").read_text())
    assert found["metrics"] == report["metrics"]
    for key in ("title", "question", "task", "target", "unit"):
        assert found[key] == getattr(project, key)


def test_the_card_is_the_one_that_the_pipeline_wrote(client: Client, project: Project, checkout: Path) -> None:
    response = client.get(f"/v1/{project.name}/card")
    assert response.headers["content-type"].startswith("text/markdown")
    assert response.text == (checkout / "reports" / project.name / "card.md").read_text()


def test_a_model_without_card_says_how_to_make_one(serve: Serve, root: Path) -> None:
    (root / "reports" / "toy" / "card.md").unlink()
    response = serve(root).get("/v1/toy/card")
    assert response.status_code == 404
    assert "dvc repro explain@toy" in response.json()["detail"]


def test_a_prediction_can_be_looked_up_with_what_was_asked_and_answered(client: Client, project: Project) -> None:
    row = json_rows(project.name, 1)[0]
    response = client.post(f"/v1/{project.name}/predict", json=row, headers={"X-Request-ID": "abc-1"})
    answer = response.json()
    found = client.get(f"/v1/predictions/{answer['prediction_id']}").json()
    assert found["prediction_id"] == answer["prediction_id"]
    assert found["project"] == project.name
    assert found["output"] == answer
    assert {key: value for key, value in found["input"].items() if key != project.time_column} == {
        key: value for key, value in row.items() if key != project.time_column
    }
    assert (found["version"], found["revision"], found["hash"]) == (None, "c0ffee", answer["model"]["hash"])
    assert found["time"] == answer["timestamp"]
    assert 0 < found["latency_us"] < 10_000_000
    assert found["request_id"] == "abc-1"
    assert found["outcomes"] == []


@pytest.mark.parametrize("prediction_id", [UNKNOWN, "7", "%00", "x" * 2_000, "..%2f..", "☃"])
def test_a_prediction_that_the_log_does_not_hold_is_not_found(client: Client, prediction_id: str) -> None:
    responses = [
        client.get(f"/v1/predictions/{prediction_id}"),
        client.delete(f"/v1/predictions/{prediction_id}", headers=ADMIN),
    ]
    for response in responses:
        assert response.status_code == 404
        assert response.headers["content-type"] == "application/problem+json"


def test_pages_follow_one_another_newest_first(serve: Serve) -> None:
    client = serve(projects=["toy", "toy_plain"])
    made = [predict(client)["prediction_id"] for _ in range(7)]
    predict(client, "toy_plain")
    found, after = [], None
    for _ in range(10):
        part = page(client, limit=3, **({"after": after} if after else {}))
        found += [entry["prediction_id"] for entry in part["predictions"]]
        after = part["after"]
        if after is None:
            break
    assert found == made[::-1]
    assert len(page(client)["predictions"]) == 7


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "limit=1.5", "limit=", "after=7", "after=x%00", f"after={'x' * 65}"]
)
def test_a_page_that_cannot_be_is_refused_with_the_parameter(client: Client, query: str) -> None:
    response = client.get(f"/v1/toy/predictions?{query}")
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert [error["field"] for error in response.json()["errors"]] == [query.partition("=")[0]]


def test_the_first_outcome_is_kept_and_later_ones_are_corrections(client: Client) -> None:
    made = predict(client)["prediction_id"]
    answers = [tell(client, made, outcome).json() for outcome in (1, 0, 1)]
    assert answers == [{"prediction_id": made, "outcome": outcome, "corrections": n} for n, outcome in enumerate((1, 0, 1))]
    outcomes = client.get(f"/v1/predictions/{made}").json()["outcomes"]
    assert [item["outcome"] for item in outcomes] == [1, 0, 1]


def test_a_page_of_predictions_has_the_outcomes_of_each(client: Client) -> None:
    first, second, third = (predict(client)["prediction_id"] for _ in range(3))
    for made, outcome in ((first, 1), (third, 0), (first, 0)):
        tell(client, made, outcome).raise_for_status()
    found = {item["prediction_id"]: item for item in page(client, limit=3)["predictions"]}
    assert {made: [item["outcome"] for item in found[made]["outcomes"]] for made in found} == {
        first: [1, 0], second: [], third: [0],
    }  # fmt: skip
    assert found[first] == client.get(f"/v1/predictions/{first}").json()


def test_the_outcome_of_a_regressor_is_a_value(client: Client) -> None:
    made = predict(client, "toy_plain")["prediction_id"]
    assert tell(client, made, 21.75, "toy_plain").json()["outcome"] == 21.75


def test_feedback_on_a_prediction_of_another_project_is_not_found(client: Client) -> None:
    made = predict(client)["prediction_id"]
    for response in (tell(client, made, 1, "toy_plain"), tell(client, UNKNOWN, 1), tell(client, "7", 1)):
        assert response.status_code == 404
    assert client.get(f"/v1/predictions/{made}").json()["outcomes"] == []


@pytest.mark.parametrize("outcome", ["0.5", "2", "-1", "true", "null", '"1"', "[]", "1e13", "1e400", "{}"])
def test_an_outcome_that_cannot_be_is_refused(client: Client, outcome: str) -> None:
    made = predict(client)["prediction_id"]
    response = client.post(
        "/v1/toy/feedback",
        content=f'{{"prediction_id": "{made}", "outcome": {outcome}}}',
        headers={"Content-Type": "application/json"},
    )
    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == ["outcome"]
    assert client.get(f"/v1/predictions/{made}").json()["outcomes"] == []


def test_feedback_with_missing_or_unknown_fields_is_refused(client: Client) -> None:
    for body in ({}, {"outcome": 1}, {"prediction_id": UNKNOWN}, {"prediction_id": UNKNOWN, "outcome": 1, "name": "Smith"}):
        assert client.post("/v1/toy/feedback", json=body).status_code == 422


def test_an_erased_prediction_is_gone_with_its_feedback(client: Client) -> None:
    made = predict(client)["prediction_id"]
    tell(client, made, 1)
    assert client.delete(f"/v1/predictions/{made}", headers=ADMIN).status_code == 204
    assert client.get(f"/v1/predictions/{made}").status_code == 404
    assert client.delete(f"/v1/predictions/{made}", headers=ADMIN).status_code == 404
    assert tell(client, made, 1).status_code == 404


def admin_calls(client: Client, headers: dict[str, str]) -> list[Any]:
    return [
        client.post("/v1/reload", headers=headers),
        client.post("/v1/toy/reload", headers=headers),
        client.delete(f"/v1/predictions/{UNKNOWN}", headers=headers),
    ]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic letmein-for-tests"},
        {"Authorization": "Bearer letmein-for-tests2"},
        {"X-API-Key": "letmein-for-tests"},
    ],
)
def test_reload_and_erasure_need_the_admin_token(client: Client, headers: dict[str, str]) -> None:
    for response in admin_calls(client, headers):
        assert response.status_code == 401
        assert response.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("headers", [{}, ADMIN, {"Authorization": "Bearer "}])
def test_without_a_configured_token_reload_and_erasure_are_off(serve: Serve, headers: dict[str, str]) -> None:
    for response in admin_calls(serve(admin_token=None), headers):
        assert response.status_code == 403
        assert "SERVE_ADMIN_TOKEN" in response.json()["detail"]


def test_a_reload_swaps_in_what_is_checked_out_now(serve: Serve, root: Path, checkout: Path) -> None:
    client = serve(root)
    before = predict(client)
    assert client.post("/v1/toy/reload", headers=ADMIN).json()["hash"] == before["model"]["hash"]
    swap_in_other(root, checkout)
    assert predict(client)["model"] == before["model"]
    reloaded = client.post("/v1/toy/reload", headers=ADMIN)
    assert reloaded.status_code == 200
    after = predict(client)
    assert after["model"]["hash"] == reloaded.json()["hash"] != before["model"]["hash"]
    assert score_of(after) != score_of(before)
    assert reloaded.json()["loaded"]


@pytest.mark.parametrize("path", ["/v1/reload", "/v1/toy/reload"])
def test_a_bad_artifact_leaves_the_old_model_serving_and_says_why(serve: Serve, root: Path, path: str) -> None:
    client = serve(root, projects=["toy", "toy_plain"])
    before = predict(client)
    artifact = root / "models" / "toy" / "scorer.onnx"
    good = artifact.read_bytes()
    artifact.write_bytes(b"not a graph")
    for recorded in (False, True):
        if recorded:
            write_lock(root)
        response = client.post(path, headers=ADMIN)
        assert response.status_code == 409
        assert response.headers["content-type"] == "application/problem+json"
        why = client.get("/v1/toy").json()["failure"]
        assert "toy" in why
        assert why in response.json()["detail"]
        assert client.get("/health").json() == {"status": "degraded", "reasons": [f"toy: {why}"]}
        after = predict(client)
        assert (after["probability"], after["model"]) == (before["probability"], before["model"])
        assert client.get("/ready").status_code == 200
    artifact.write_bytes(good)
    write_lock(root)
    assert client.post(path, headers=ADMIN).status_code == 200
    assert client.get("/health").json() == {"status": "healthy", "reasons": []}
    assert client.get("/v1/toy").json()["failure"] is None


def test_a_reload_of_all_loads_the_good_ones_beside_a_bad_one(serve: Serve, root: Path, checkout: Path) -> None:
    client = serve(root, projects=["toy", "toy_plain"])
    before = predict(client)["model"]["hash"]
    swap_in_other(root, checkout)
    (root / "models" / "toy_plain" / "plan.json").unlink()
    response = client.post("/v1/reload", headers=ADMIN)
    assert response.status_code == 409
    assert "toy_plain" in response.json()["detail"]
    assert predict(client)["model"]["hash"] != before
    assert predict(client, "toy_plain")


def test_a_missing_model_is_503_for_its_project_and_the_others_serve(serve: Serve, root: Path) -> None:
    (root / "models" / "toy_plain" / "scorer.onnx").unlink()
    client = serve(root, projects=["toy", "toy_plain"])
    for path, body in (
        ("predict", example("toy_plain")),
        ("predict/batch", {"rows": [example("toy_plain")]}),
        ("explain", example("toy_plain")),
    ):
        response = client.post(f"/v1/toy_plain/{path}", json=body)
        assert response.status_code == 503
        assert response.headers["retry-after"]
        assert "lacks scorer.onnx" in response.json()["detail"]
    assert client.get("/v1/toy_plain/card").status_code == 503
    assert client.get("/v1/toy_plain").json()["loaded"] is False
    assert "lacks scorer.onnx" in client.get("/v1/toy_plain").json()["failure"]
    assert predict(client)
    ready = client.get("/ready")
    assert (ready.status_code, ready.json()) == (
        503,
        {"ready": False, "log": True, "stopping": False, "projects": {"toy": True, "toy_plain": False}},
    )
    health = client.get("/health")
    assert (health.status_code, health.json()["status"]) == (200, "degraded")
    assert "lacks scorer.onnx" in health.json()["reasons"][0]


def test_when_all_is_well_the_server_is_healthy_and_ready(client: Client) -> None:
    assert client.get("/health").json() == {"status": "healthy", "reasons": []}
    ready = client.get("/ready")
    assert (ready.status_code, ready.json()) == (
        200,
        {"ready": True, "log": True, "stopping": False, "projects": dict.fromkeys(project_names(), True)},
    )


def test_metrics_count_requests_predictions_and_commits(serve: Serve) -> None:
    client = serve()
    answer = predict(client)
    client.post("/v1/toy/predict/batch", json={"rows": [example("toy")] * 3})
    client.post("/v1/toy/predict", json={})
    text = client.get("/metrics").text
    for line in (
        'serve_requests_total{project="toy",route="/v1/toy/predict",status="200"} 1.0',
        'serve_requests_total{project="toy",route="/v1/toy/predict",status="422"} 1.0',
        f'serve_predictions_total{{label="{answer["label"]}",project="toy",risk_level="{answer["risk_level"]}"}} 4.0',
        'serve_request_seconds_count{project="toy",route="/v1/toy/predict"} 2.0',
        'serve_score_count{project="toy"} 4.0',
        'serve_model_loaded{project="toy"} 1.0',
        f'hash="{answer["model"]["hash"]}"',
        "serve_log_commit_seconds_count 2.0",
        "serve_log_queue_rows 0.0",
        "serve_log_spill_bytes 0.0",
    ):
        assert line in text, line


def test_with_the_log_off_predictions_go_on_and_reading_it_says_why_not(serve: Serve) -> None:
    client = serve(log=False)
    made = predict(client)["prediction_id"]
    responses = [
        client.get(f"/v1/predictions/{made}"),
        client.get("/v1/toy/predictions"),
        tell(client, made, 1),
        client.delete(f"/v1/predictions/{made}", headers=ADMIN),
    ]
    for response in responses:
        assert response.status_code == 503
        assert "SERVE_LOG" in response.json()["detail"]
    assert client.get("/health").json()["status"] == "healthy"

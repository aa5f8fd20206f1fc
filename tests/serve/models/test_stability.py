"""Tests of serve/models/stability.py, through the route that shows it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.serve.checkout import json_rows
from tests.serve.conftest import Client


@pytest.fixture(autouse=True)
def _always_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve.service.DRIFT_FRESH", 0.0)


def send(client: Client, name: str, rows: list[dict[str, Any]]) -> None:
    answer = client.post(f"/v1/{name}/predict/batch", json={"rows": rows})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("name", ["toy", "toy_price"])
def test_rows_like_the_training_data_are_stable(client: Client, name: str) -> None:
    send(client, name, json_rows(name, 800))
    found = client.get(f"/v1/{name}/drift").json()
    assert found["rows"] == 800
    assert all(shift["index"] < 0.25 for shift in found["columns"])  # the model was trained on 300 rows
    assert found["since"]


def test_a_shifted_column_stands_first_and_prometheus_sees_it(client: Client) -> None:
    rows = json_rows("toy", 600)
    send(client, "toy", [row | {"distance": row["distance"] + 120} for row in rows])
    found = client.get("/v1/toy/drift").json()
    assert found["state"] == "large"
    assert found["columns"][0]["column"] == "distance"
    assert found["columns"][0]["index"] > 0.25
    assert found["score"]["index"] > 0.1
    metrics = client.get("/metrics").text
    assert f'serve_drift_index{{column="distance",project="toy"}} {found["columns"][0]["index"]}' in metrics


def test_few_predictions_tell_nothing(client: Client) -> None:
    send(client, "toy_plain", json_rows("toy_plain", 100))
    assert client.get("/v1/toy_plain/drift").json() | {"since": ""} == {
        "state": "unknown", "rows": 100, "since": "", "columns": [], "score": None,
    }  # fmt: skip

"""Tests of serve/models/history.py, and of what the server says of versions and stages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from serve.models.history import read_history, version_of
from serve.models.loader import LoadError, load_model
from stages.runtime.identity import md5
from stages.runtime.ledger import KEYS
from tests.serve.checkout import replace_model, settings
from tests.serve.conftest import Client, Serve


def entry(event: str, **values: Any) -> dict[str, Any]:
    """A ledger's entry of this event."""
    common = {"time": "2026-01-02T03:04:05+00:00", "event": event, "by": "tester", "reason": "It is better."}
    return common | dict.fromkeys(KEYS[event]) | values


def promoted(version: str | None, model_hash: str) -> dict[str, Any]:
    """A promotion to prod, or without a version a refusal."""
    stage = "prod" if version else None
    return entry("promotion", accepted=bool(version), version=version, stage=stage, challenger={"hash": model_hash})


def deployed(version: str, model_hash: str) -> dict[str, Any]:
    """A deployment to prod."""
    return entry("deployment", version=version, stage="prod", hash=model_hash)


def write_ledger(root: Path, *entries: dict[str, Any]) -> None:
    """The ledger of toy."""
    (root / "reports" / "toy" / "ledger.jsonl").write_text("".join(json.dumps(line) + "\n" for line in entries))


def test_the_history_is_served_newest_first_with_what_decided(serve: Serve, root: Path) -> None:
    refused = promoted(None, "b") | {"rules": [{"rule": "floors", "passed": False}]}
    write_ledger(root, promoted("v1.0.0", "a"), refused)
    client = serve(root=root)
    events = client.get("/v1/toy/history").json()["events"]
    assert [event["accepted"] for event in events] == [False, True]
    assert events[0]["details"]["rules"] == [{"rule": "floors", "passed": False}]
    assert (events[1]["version"], events[1]["stage"], events[1]["by"]) == ("v1.0.0", "prod", "tester")
    assert events[1]["reason"] == "It is better."
    assert len(client.get("/v1/toy/history?limit=1").json()["events"]) == 1


def test_a_project_without_a_ledger_has_no_history(client: Client) -> None:
    assert client.get("/v1/toy_plain/history").json() == {"events": []}


def test_a_torn_ledger_is_said_and_stops_nothing_but_its_history(serve: Serve, root: Path) -> None:
    write_ledger(root, promoted("v1.0.0", "a"))
    client = serve(root=root)
    with (root / "reports" / "toy" / "ledger.jsonl").open("a") as file:
        file.write('{"time": ')
    answer = client.get("/v1/toy/history")
    assert answer.status_code == 503
    assert "ledger.jsonl, line 2, is no entry of a ledger: restore it" in answer.json()["detail"]
    assert client.get("/v1/toy").json()["loaded"]
    assert load_model("toy", settings(root, root)).version is None


@pytest.mark.parametrize(
    ("changes", "place"),
    [({"challenger": None}, "challenger"), ({"challenger": {}}, "hash"), ({"rules": [{"passed": True}]}, "rule")],
)
def test_a_line_without_what_the_pages_show_is_said_and_stops_nothing_but_the_history(
    serve: Serve, root: Path, changes: dict[str, Any], place: str
) -> None:
    write_ledger(root, promoted("v1.0.0", "a") | changes)
    client = serve(root=root)
    answer = client.get("/v1/toy/history")
    assert answer.status_code == 503
    assert "is no ledger" in answer.json()["detail"]
    assert place in answer.json()["detail"]
    assert client.get("/v1/toy").json()["loaded"]
    assert client.post("/v1/toy/reload", headers={"Authorization": "Bearer letmein-for-tests"}).status_code == 200


def test_version_and_stage_follow_the_ledger(root: Path, tmp_path: Path) -> None:
    loaded = load_model("toy", settings(root, tmp_path))
    assert (loaded.version, loaded.stage) == (None, None)
    for entries, expected in (
        ([promoted("v1.0.0", loaded.hash)], ("v1.0.0", "prod")),
        ([promoted("v1.0.0", loaded.hash), promoted(None, "x")], ("v1.0.0", "prod")),
        ([promoted("v1.0.0", loaded.hash), promoted("v1.1.0", "x")], ("v1.0.0", None)),
        ([promoted("v1.0.0", loaded.hash), promoted("v1.1.0", "x"), deployed("v1.0.0", loaded.hash)], ("v1.0.0", "prod")),
        ([promoted("v1.0.0", "x")], (None, None)),
    ):
        write_ledger(root, *entries)
        found = load_model("toy", settings(root, tmp_path))
        assert (found.version, found.stage) == expected
        assert version_of(read_history("toy", root), loaded.hash) == expected


def test_a_deployed_version_is_served_with_its_own_revision_whatever_dvc_lock_says(
    root: Path, checkout: Path, tmp_path: Path
) -> None:
    locked = (root / "dvc.lock").read_bytes()
    replace_model(root, checkout / "other")
    folder = root / "models" / "toy"
    files = {path.name: md5(path.read_bytes()) for path in folder.iterdir()}
    other = load_model("toy", settings(root, tmp_path)).hash
    (root / "dvc.lock").write_bytes(locked)
    with pytest.raises(LoadError, match=r"is not the file that dvc[.]lock records"):
        load_model("toy", settings(root, tmp_path))
    deployment = {"version": "v1.0.0", "stage": "prod", "revision": "abc", "hash": other, "files": files}
    (folder / "deployment.json").write_text(json.dumps(deployment))
    write_ledger(root, deployed("v1.0.0", other))
    model = load_model("toy", settings(root, tmp_path))
    assert (model.version, model.stage, model.revision, model.hash) == ("v1.0.0", "prod", "abc", other)

    (folder / "scorer.onnx").write_bytes(b"other")  # neither what was deployed nor what dvc.lock records
    with pytest.raises(LoadError, match=r"is not the file that dvc[.]lock records"):
        load_model("toy", settings(root, tmp_path))


def test_a_model_trained_after_a_deployment_is_served_as_dvc_lock_records_it(
    root: Path, checkout: Path, tmp_path: Path
) -> None:
    folder = root / "models" / "toy"
    files = {path.name: md5(path.read_bytes()) for path in folder.iterdir()}
    deployment = {"version": "v1.0.0", "stage": "prod", "revision": "abc", "hash": "x", "files": files}
    replace_model(root, checkout / "other")
    (folder / "deployment.json").write_text(json.dumps(deployment))
    model = load_model("toy", settings(root, tmp_path))
    assert (model.version, model.revision) == (None, "c0ffee")

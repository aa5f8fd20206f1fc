"""Tests of serve/models/loader.py, artifacts.py and reports.py: loading, verification, and what is refused."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serve.models.loader import ADVERTS, FILES, LoadError, Model, load_model
from serve.models.rows import RowCodec
from stages.projects._base import Columns, Project, load_project
from stages.runtime.identity import md5
from tests.serve.checkout import json_rows, pipeline_scores, settings, swap_in_other, write_lock


def load(root: Path, name: str = "toy", **changes: Any) -> Model:
    return load_model(name, settings(root, root, **changes))


def columns(name: str, rows: int) -> Columns:
    codec = RowCodec(load_project(name), 1_000)
    return codec.columns([codec.read_row(json.dumps(row).encode()) for row in json_rows(name, rows)])


def test_every_project_loads_and_scores_as_the_pipeline_does(project: Project, checkout: Path) -> None:
    model = load(checkout, project.name)
    assert model.manifest["estimator"]
    assert project.primary_metric in model.evaluation["metrics"]
    assert project.title in model.card
    assert model.revision == "c0ffee"
    expected = pipeline_scores(checkout / "models" / project.name, project, json_rows(project.name, 200))
    np.testing.assert_allclose(model.scorer.score(columns(project.name, 200)), expected, rtol=1e-9)


def test_the_hash_changes_with_the_artifacts_and_with_nothing_else(root: Path, checkout: Path) -> None:
    first = load(root)
    (root / "reports" / "toy" / "card.md").unlink()
    assert load(root).hash == first.hash
    swap_in_other(root, checkout)
    assert load(root).hash != first.hash


@pytest.mark.parametrize("file", [*FILES, ADVERTS])
def test_a_missing_file_is_named_with_what_to_run(root: Path, file: str) -> None:
    (root / "models" / "toy" / file).unlink()
    with pytest.raises(LoadError, match=rf"lacks {file}: run `dvc repro explain@toy` or `dvc pull`, or deploy a version"):
        load(root)


@pytest.mark.parametrize("file", [*FILES, ADVERTS])
def test_a_file_that_dvc_lock_does_not_record_is_refused(root: Path, file: str) -> None:
    path = root / "models" / "toy" / file
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(LoadError, match=rf"{file} is not the file that dvc.lock records .* run `dvc checkout`"):
        load(root)


def test_without_dvc_lock_nothing_is_loaded(root: Path) -> None:
    (root / "dvc.lock").unlink()
    with pytest.raises(LoadError, match=r"there is no .*dvc\.lock to verify .*`python -m stages\.deploy toy --to "):
        load(root)


@pytest.mark.parametrize(
    "text", ["", "[", "stages: 3", "stages:\n  export@toy_plain: {}", "- a", "stages: {a: {outs: [1]}}"]
)
def test_a_dvc_lock_that_records_no_such_model_is_refused(root: Path, text: str) -> None:
    (root / "dvc.lock").write_text(text)
    with pytest.raises(LoadError, match=r"dvc\.lock"):
        load(root)


@pytest.mark.parametrize("content", [b"", b"garbage", b"{}", b"[]", b"\xff", b'{"exported": true}', b"null"])
@pytest.mark.parametrize("file", [*FILES, ADVERTS])
def test_a_broken_file_with_the_right_hash_is_refused_with_the_reason(root: Path, file: str, content: bytes) -> None:
    (root / "models" / "toy" / file).write_bytes(content)
    write_lock(root)
    with pytest.raises(LoadError, match="toy"):
        load(root)


@pytest.mark.parametrize("file", ["scorer.onnx", "explainer.npz"])
def test_a_truncated_file_with_the_right_hash_is_refused(root: Path, file: str) -> None:
    path = root / "models" / "toy" / file
    path.write_bytes(path.read_bytes()[:-100])
    write_lock(root)
    with pytest.raises(LoadError, match="toy"):
        load(root)


def test_a_graph_of_another_model_is_refused(root: Path) -> None:
    (root / "models" / "toy" / "scorer.onnx").write_bytes((root / "models" / "toy_plain" / "scorer.onnx").read_bytes())
    write_lock(root)
    with pytest.raises(LoadError, match="toy"):
        load(root)


def test_a_model_without_evaluation_and_card_still_loads(root: Path) -> None:
    for file in ("evaluation.json", "card.md"):
        (root / "reports" / "toy" / file).unlink()
    model = load(root)
    assert (model.evaluation, model.card, model.faults) == ({}, "", ())


def change(path: Path, **changes: Any) -> None:
    """Change values of a JSON file of a model, and record it in dvc.lock; None takes one away."""
    values = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in values.items() if value is not None}))
    if path.parent.parent.name == "models":
        write_lock(path.parents[2])


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("manifest.json", {"threshold": "abc"}, r"manifest.json is not .*threshold"),
        ("manifest.json", {"threshold": 1.5}, r"manifest.json is not .*threshold"),
        ("manifest.json", {"threshold": None}, r"manifest.json lacks threshold"),
        ("manifest.json", {"data": {}}, r"manifest.json is not .*simulated"),
        ("population.json", {"columns": {}}, r"population.json has other columns"),
        ("population.json", {"rows": -1}, "population.json describes -1 rows"),
        ("population.json", {"score": {"edges": [0.5], "shares": [1.0]}}, "the bins of score do not fit"),
        ("plan.json", {"probe": {"row": {}}}, r"plan.json is not .*score"),
    ],
)
def test_an_artifact_of_another_shape_is_refused_with_the_place(
    root: Path, file: str, changes: dict[str, Any], message: str
) -> None:
    change(root / "models" / "toy" / file, **changes)
    with pytest.raises(LoadError, match=message):
        load(root)


def test_an_interval_is_needed_by_a_regressor(root: Path) -> None:
    change(root / "models" / "toy_plain" / "manifest.json", interval={"coverage": 0.9, "radius": -1, "scale": "log"})
    with pytest.raises(LoadError, match=r"manifest.json is not .*radius"):
        load(root, "toy_plain")


@pytest.mark.parametrize(
    "files",
    [["plan.json", "scorer.onnx", "explainer.npz"], ["manifest.json"], ["population.json"], ["explainer.npz"], [ADVERTS]],
)
def test_files_of_two_models_are_refused_though_dvc_lock_records_them(root: Path, checkout: Path, files: list[str]) -> None:
    for file in files:
        (root / "models" / "toy" / file).write_bytes((checkout / "other" / file).read_bytes())
    write_lock(root)
    named = r", ".join(files)
    with pytest.raises(LoadError, match=rf"{named} (was|were) not made from the model.joblib .*`dvc repro explain@toy`"):
        load(root)


def test_a_model_of_an_older_pipeline_does_not_know_its_adverts_and_loads(root: Path) -> None:
    (root / "models" / "toy_price" / ADVERTS).unlink()
    write_lock(root)
    assert load(root, "toy_price").trained is None


def test_a_pickle_is_never_opened_whatever_the_files_beside_it_say(root: Path, tmp_path: Path) -> None:
    folder, marker = root / "models" / "toy", tmp_path / "executed"
    (folder / "model.joblib").write_bytes(b"cbuiltins\nopen\n(S'%s'\nS'w'\ntR." % bytes(marker))
    plan = json.loads((folder / "plan.json").read_text())
    (folder / "plan.json").write_text(json.dumps({"exported": False, "reason": "no such graph", "probe": plan["probe"]}))
    files = {path.name: md5(path) for path in folder.iterdir()}
    deployment = {"version": "v1.0.0", "stage": "prod", "revision": "c0ffee", "hash": "", "files": files}
    (folder / "deployment.json").write_text(json.dumps(deployment))
    with pytest.raises(LoadError, match=r"could not be exported \(no such graph\), and the server never unpickles one"):
        load(root)
    assert not marker.exists()


def test_files_that_name_no_model_are_refused(root: Path) -> None:
    folder = root / "models" / "toy"
    for file in ("manifest.json", "plan.json", "population.json"):
        change(folder / file, model=None)
    with pytest.raises(LoadError, match=r"manifest.json, population.json, plan.json were not made"):
        load(root)


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b'{"metrics": {"roc_auc": 0.9}, "rows": 1}'])
def test_an_evaluation_that_cannot_be_read_costs_its_place_on_the_pages_alone(root: Path, content: bytes) -> None:
    (root / "reports" / "toy" / "evaluation.json").write_bytes(content)
    model = load(root)
    assert model.evaluation == {}
    assert "evaluation.json is not what the pipeline writes" in model.faults[0]
    assert model.faults[0].endswith("run `dvc repro explain@toy`, then reload the model.")


def test_reports_about_another_model_are_left_out(root: Path, checkout: Path) -> None:
    swap_in_other(root, checkout)
    model = load(root)
    assert (model.evaluation, model.card) == ({}, "")
    assert [fault.partition(" is about another model")[0].rpartition("/")[2] for fault in model.faults] == [
        "evaluation.json", "card.md",
    ]  # fmt: skip


def test_a_ledger_that_cannot_be_read_keeps_no_model_from_serving(root: Path) -> None:
    line = {"event": "promotion", "time": "2026-01-01T00:00:00Z", "by": "Tess", "reason": "Why.", "accepted": True}
    (root / "reports" / "toy" / "ledger.jsonl").write_text(json.dumps(line) + "\n")
    assert load(root).version is None


def test_the_revision_is_the_commit_that_recorded_the_model_and_unknown_outside_git(root: Path) -> None:
    def git(*arguments: str) -> str:
        command = ["git", "-c", "user.name=tester", "-c", "user.email=tester@example.org", *arguments]
        return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout.strip()

    def commit(message: str) -> str:
        git("add", "dvc.lock")
        git("commit", "--quiet", "--allow-empty", "--message", message)
        return git("rev-parse", "HEAD")

    assert load(root, revision="").revision == "unknown"
    git("init", "--quiet")
    lock = root / "dvc.lock"
    text = lock.read_text()
    lock.write_text(text.replace(md5(root / "models" / "toy" / "plan.json"), "0" * 32))
    commit("Train it")
    lock.write_text(text)
    made = commit("Export it")
    lock.write_text(text.replace(md5(root / "models" / "toy_plain" / "plan.json"), "1" * 32))
    commit("Export another")
    commit("Write a README")
    assert load(root, revision="").revision == made
    with lock.open("a") as file:
        file.write("# edited\n")
    assert load(root, revision="").revision == f"{git('rev-parse', 'HEAD')}-dirty"

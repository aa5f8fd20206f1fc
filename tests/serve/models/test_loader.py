"""Tests of serve/models/loader.py and serve/models/fallback.py: loading, verification, and what is refused."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serve.models.fallback import MicroBatcher, PipelineScorer
from serve.models.loader import FILES, LoadError, Model, load_model
from serve.models.rows import RowCodec
from stages.projects._base import Columns, Project, load_project
from stages.runtime.scorer import Scorer
from tests.serve.checkout import (
    example,
    json_rows,
    pipeline_scores,
    settings,
    swap_in_other,
    withdraw_export,
    write_lock,
)


def load(root: Path, name: str = "toy", **changes: Any) -> Model:
    return load_model(name, settings(root, root, **changes))


def columns(name: str, rows: int) -> Columns:
    codec = RowCodec(load_project(name), 1_000)
    return codec.columns([codec.read_row(json.dumps(row).encode()) for row in json_rows(name, rows)])


def test_every_project_loads_and_scores_as_the_pipeline_does(project: Project, checkout: Path) -> None:
    model = load(checkout, project.name)
    assert isinstance(model.scorer, Scorer)
    assert model.manifest["estimator"]
    assert project.primary_metric in model.evaluation["metrics"]
    assert project.title in model.card
    assert model.revision == "c0ffee"
    expected = pipeline_scores(checkout / "models" / project.name, project, json_rows(project.name, 200))
    np.testing.assert_allclose(model.scorer.score(columns(project.name, 200)), expected, rtol=1e-9)


def test_the_hash_changes_with_the_artifacts_and_with_nothing_else(root: Path, checkout: Path) -> None:
    first = load(root)
    (root / "reports" / "toy" / "card.md").write_text("changed")
    assert load(root).hash == first.hash
    swap_in_other(root, checkout)
    assert load(root).hash != first.hash


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_is_named_with_what_to_run(root: Path, file: str) -> None:
    (root / "models" / "toy" / file).unlink()
    with pytest.raises(LoadError, match=rf"lacks {file}: run `dvc repro export@toy` or `dvc pull`, or deploy a version"):
        load(root)


@pytest.mark.parametrize("file", FILES)
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
@pytest.mark.parametrize("file", FILES)
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


def change_plan(root: Path, **changes: Any) -> None:
    path = root / "models" / "toy" / "plan.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    write_lock(root)


def test_a_model_that_scores_the_known_row_otherwise_is_refused(root: Path) -> None:
    change_plan(root, probe={"row": example("toy"), "score": 0.123})
    with pytest.raises(LoadError, match=r"scores a known row 0\.\d+ instead of 0\.123"):
        load(root)


def test_a_known_row_that_the_schema_no_longer_takes_is_refused(root: Path) -> None:
    change_plan(root, probe={"row": {**example("toy"), "distance": 7}, "score": 0.5})
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
    assert (model.evaluation, model.card) == ({}, "")


def test_the_revision_is_that_of_the_checkout_and_unknown_outside_git(root: Path) -> None:
    assert load(root, revision="").revision == "unknown"
    git = ["git", "-c", "user.name=tester", "-c", "user.email=tester@example.org", "-C", str(root)]
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    subprocess.run([*git, "add", "dvc.lock"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", "Begin"], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert load(root, revision="").revision == head
    with (root / "dvc.lock").open("a") as lock:
        lock.write("# edited\n")
    assert load(root, revision="").revision == f"{head}-dirty"


def test_a_model_without_export_is_served_by_the_pipeline_and_says_why(root: Path) -> None:
    withdraw_export(root)
    model = load(root)
    assert isinstance(model.scorer, PipelineScorer)
    assert model.explainer is None
    assert model.scorer.kind == "scikit-learn pipeline in a worker thread (no such graph)"
    project = load_project("toy")
    expected = pipeline_scores(root / "models" / "toy", project, json_rows("toy", 20))
    np.testing.assert_array_equal(model.scorer.score(columns("toy", 20)), expected)


def test_a_pickle_is_verified_before_it_is_opened(root: Path, tmp_path: Path) -> None:
    withdraw_export(root)
    marker = tmp_path / "executed"
    (root / "models" / "toy" / "model.joblib").write_bytes(b"cbuiltins\nopen\n(S'%s'\nS'w'\ntR." % bytes(marker))
    with pytest.raises(LoadError, match=r"model\.joblib is not the file that dvc\.lock records"):
        load(root)
    assert not marker.exists()


def test_a_broken_pickle_is_refused(root: Path) -> None:
    withdraw_export(root)
    (root / "models" / "toy" / "model.joblib").write_bytes(b"garbage")
    write_lock(root)
    with pytest.raises(LoadError, match="cannot be loaded"):
        load(root)


def test_a_pipeline_without_scikit_learn_is_refused_with_what_is_missing(root: Path) -> None:
    withdraw_export(root)
    code = f"""
import sys
sys.modules["sklearn"] = None
from serve.models.loader import LoadError, load_model
from serve.settings import Settings
try:
    load_model("toy", Settings(root={str(root)!r}))
except LoadError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "no such graph, and the pipeline needs sklearn" in done.stdout


class Recorder(PipelineScorer):
    """Scores as slowly as a test lets it, and remembers how many rows came at once."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.go = threading.Event()

    def score(self, columns: Columns) -> np.ndarray:
        self.sizes.append(len(columns["x"]))
        self.go.wait(5)
        if (columns["x"] < 0).any():
            raise ValueError("negative")
        return columns["x"] * 2


def batch(scorer: Recorder, *requests: list[float], cancel: int | None = None) -> list[Any]:
    """What the requests are answered when all but the first come while the first is scored."""

    async def scenario() -> list[Any]:
        with ThreadPoolExecutor(1) as executor:
            batcher = MicroBatcher(scorer, executor, lambda size: None)
            tasks = []
            for values in requests:
                tasks.append(asyncio.create_task(batcher.score({"x": np.array(values)})))
                await asyncio.sleep(0.01)
            if cancel is not None:
                tasks[cancel].cancel()
            scorer.go.set()
            return await asyncio.gather(*tasks, return_exceptions=True)

    return asyncio.run(scenario())


def test_requests_that_come_while_the_pipeline_is_busy_share_its_next_call() -> None:
    scorer = Recorder()
    answers = batch(scorer, [1.0], [2.0], [3.0, 4.0], [5.0])
    assert [list(answer) for answer in answers] == [[2], [4], [6, 8], [10]]
    assert scorer.sizes == [1, 4]


def test_a_call_that_fails_fails_the_requests_in_it_and_no_others() -> None:
    scorer = Recorder()
    answers = batch(scorer, [1.0], [-2.0], [3.0])
    assert list(answers[0]) == [2]
    assert [type(answer) for answer in answers[1:]] == [ValueError, ValueError]


@pytest.mark.parametrize("value", [3.0, -3.0])
def test_a_request_that_gives_up_disturbs_no_other(value: float) -> None:
    answers = batch(Recorder(), [value], [4.0], [5.0], cancel=0)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert [list(answer) for answer in answers[1:]] == [[8], [10]]

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stages import replay
from stages.core.cli import UserError
from stages.core.files import read_json
from stages.promotion import checkout
from stages.promotion.git import git, head
from stages.promotion.lock import lock_at
from stages.promotion.replay import Output, read_logged
from stages.runtime.identity import outputs
from tests.clones import run
from tests.stages.answers import Answers
from tests.stages.registered import ROWS


@pytest.fixture
def logged(repository: Path) -> list[dict[str, Any]]:
    """What the server logged of its predictions at the first of two commits."""
    return [json.loads(line) for line in (repository / ".git" / "logged.jsonl").read_text().splitlines()]


def replay_file(logged: dict[str, Any], *, retrain: bool = False) -> int:
    Path(".git/prediction.json").write_text(json.dumps(logged))
    return replay.main(None, Path(".git/prediction.json"), "", None, retrain)


def forget(*folders: str) -> None:
    """Take everything of these folders out of the cache and the workspace."""
    for path, digest in outputs(lock_at("HEAD~1")).items():
        if path.startswith(folders):
            Path(".dvc/cache/files/md5", digest[:2], digest[2:]).unlink()
    for folder in folders:
        shutil.rmtree(folder)


def test_what_the_server_predicted_comes_out_bit_for_bit_after_the_code_has_changed(
    logged: list[dict[str, Any]], revisions: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert [entry["input"] for entry in logged] == [ROWS[0], ROWS[1] | {"sender": "0012"}]  # as it was scored
    with checkout.checkout("toy", revisions[0]) as folder:
        manifest = read_json(folder / "models" / "toy" / "manifest.json")
    for entry in logged:
        assert entry["revision"] == revisions[0] != head()
        assert replay_file(entry) == 0
        printed = capsys.readouterr().out
        score = repr(entry["output"]["probability"])
        lines = dict(line.split(maxsplit=1) for line in printed.splitlines() if " " in line)
        assert lines["prediction"].startswith(f"{entry['prediction_id']} of toy")
        assert lines["data"].startswith(f"{manifest['data']['sha256']} (SHA-256 of train.parquet, simulated)")
        assert lines["code"] == revisions[0]
        assert json.loads(lines["parameters"]) == manifest["params"]
        assert lines["model"] == f"{entry['hash']} (hist_gradient_boosting)"
        assert lines["logged"] == lines["replayed"] == score
        assert printed.endswith("\nidentical\n")
    assert logged[0]["output"]["probability"] != logged[1]["output"]["probability"]


def test_the_smallest_difference_is_one(logged: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    score = logged[0]["output"]["probability"]
    logged[0]["output"]["probability"] = score * (1 + 2**-52)
    assert replay_file(logged[0]) == 1
    assert f"different by {score - score * (1 + 2**-52)!r}" in capsys.readouterr().out


def test_another_row_gives_another_score(logged: list[dict[str, Any]]) -> None:
    logged[0]["input"]["weight"] = 49.0
    assert replay_file(logged[0]) == 1


def test_the_value_of_a_regressor_is_its_prediction() -> None:
    assert Output.model_validate({"prediction": 12.5, "unit": "USD"}).score == 12.5
    assert Output.model_validate({"prediction": 1, "probability": 0.75}).score == 0.75


def test_a_model_that_is_not_the_one_of_the_revision_is_refused(logged: list[dict[str, Any]]) -> None:
    there = checkout.model_hash_at("toy", "HEAD")
    with pytest.raises(UserError, match=f"has the hash {there}, the one that predicted has {logged[0]['hash']}"):
        replay_file(logged[0] | {"revision": head()})


@pytest.mark.parametrize("revision", ["{}-dirty", "unknown", "", "--output=stolen"])
def test_what_was_not_committed_cannot_be_replayed(logged: list[dict[str, Any]], revision: str) -> None:
    revision = revision.format(logged[0]["revision"])
    with pytest.raises(UserError, match=f"was made at revision '{revision}', which is no commit"):
        replay_file(logged[0] | {"revision": revision})


def test_a_commit_that_this_clone_lacks_is_told_by_git(logged: list[dict[str, Any]]) -> None:
    with pytest.raises(UserError, match="`git show` failed: fatal: invalid object name"):
        replay_file(logged[0] | {"revision": "c0ffee" * 6})


@pytest.mark.long
def test_a_lost_model_is_trained_again_on_request_and_predicts_the_same(
    logged: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    forget("models/toy/")
    with pytest.raises(UserError, match=r"models/toy/\S+ with MD5 .* was not found"):
        replay_file(logged[0])
    assert replay_file(logged[0], retrain=True) == 0
    printed = capsys.readouterr().out
    assert "stages.train toy\npython -m stages.export toy\n" in printed
    assert "stages.prepare" not in printed
    assert printed.endswith("\nidentical\n")
    forget("data/toy/")
    assert replay_file(logged[1], retrain=True) == 0
    printed = capsys.readouterr().out
    assert "was not found" in printed
    assert "stages.ingest toy\npython -m stages.prepare toy\npython -m stages.train toy\n" in printed
    assert printed.endswith("\nidentical\n")


def test_a_model_that_comes_out_other_than_it_was_is_told(logged: list[dict[str, Any]]) -> None:
    """As with another version of a library: here another seed is committed without a run of the pipeline."""
    git("checkout", "--quiet", "HEAD~1")
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace("seed: 0", "seed: 1"))
    git("commit", "--quiet", "--all", "--message", "Change the seed and forget to train")
    with pytest.raises(UserError, match=r"models/toy/.*model.joblib.* came out different from what dvc.lock"):
        replay_file(logged[0] | {"revision": head()}, retrain=True)


def test_the_server_is_asked_for_the_prediction(logged: list[dict[str, Any]], answers: Answers) -> None:
    asked = f"GET /v1/predictions/{logged[0]['prediction_id']}"
    answers.given[asked] = (200, logged[0])
    assert replay.main(logged[0]["prediction_id"], None, f"{answers.url}/", "a key", False) == 0
    ((found, headers),) = answers.asked
    assert (found, headers["X-Api-Key"]) == (asked, "a key")


@pytest.mark.parametrize(
    ("status", "detail"),
    [(404, "The log holds no prediction 'a/b'."), (401, "A valid key is needed in the header X-API-Key.")],
)
def test_a_server_that_does_not_tell_is_quoted(answers: Answers, status: int, detail: str) -> None:
    answers.given["GET /v1/predictions/a%2Fb"] = (status, {"detail": detail})
    with pytest.raises(UserError) as refusal:
        replay.main("a/b", None, answers.url, None, False)
    assert str(refusal.value).endswith(f"answered {status}: {detail}")


def test_what_is_no_logged_prediction_is_refused(logged: list[dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no prediction .*; wrong is hash, output\.prediction$"):
        read_logged({**logged[0], "output": {}, "hash": None}, "prediction.json")
    for answer in (["a"], None, "text"):
        with pytest.raises(UserError, match="wrong is all"):
            read_logged(answer, "prediction.json")
    with pytest.raises(UserError, match=r"nothing\.json cannot be read"):
        replay.main(None, tmp_path / "nothing.json", "", None, False)


def test_the_command_exits_with_1_on_a_difference_and_with_a_line_on_a_mistake(
    logged: list[dict[str, Any]], repository: Path
) -> None:
    Path(".git/prediction.json").write_text(json.dumps(logged[0]))
    command = (sys.executable, "-m", "stages.replay", "--file", ".git/prediction.json")
    assert run(repository, *command).endswith("identical\n")
    logged[0]["output"]["probability"] = 0.5
    Path(".git/prediction.json").write_text(json.dumps(logged[0]))
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "")
    assert "different by" in done.stdout
    Path(".git/prediction.json").write_text("{")
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("replay: .git/prediction.json cannot be read")
    assert len(done.stderr.splitlines()) == 1


def test_a_prediction_is_named_by_its_id_or_by_a_file() -> None:
    parser = argparse.ArgumentParser()
    replay.options(parser)
    for arguments in ([], ["an-id", "--file", "prediction.json"]):
        with pytest.raises(SystemExit):
            parser.parse_args(arguments)
    assert vars(parser.parse_args(["an-id"])) == {
        "prediction_id": "an-id", "file": None, "url": "http://127.0.0.1:8000", "key": None, "retrain": False,
    }  # fmt: skip

from __future__ import annotations

import json
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from stages.core.cli import UserError
from stages.promotion import ledger
from stages.promotion.git import git

DRIFT = {"event": "drift", "by": "tess", "reason": "Nothing has drifted: 0 of 10 columns."}
DEPLOYMENT = {
    "event": "deployment",
    "by": "tess",
    "reason": "v1.1.0 is wrong about pensioners.",
    "version": "v1.0.0",
    "stage": "prod",
    "revision": "a" * 40,
    "hash": "b" * 64,
    "previous": {"version": None, "hash": None},
}
PATH = Path("reports/toy/ledger.jsonl")
PROMOTION: dict[str, Any] = {
    "event": "promotion", "by": "tess", "reason": "It is better.", "stage": "prod", "champion": None, "rules": [],
    "metrics": {}, "comparison": None,
}  # fmt: skip


@pytest.fixture
def repository(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Git repository with one commit."""
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Tess Tester")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "tess@example.org")
    (workspace / "other.txt").write_text("as it was\n")
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "Begin"]):
        subprocess.run(["git", *command], check=True)
    return workspace


def test_entries_are_read_in_the_order_they_were_appended_each_with_its_time(workspace: Path) -> None:
    assert ledger.read("toy") == []
    ledger.append("toy", DRIFT)
    ledger.append("toy", DEPLOYMENT)
    found = ledger.read("toy")
    for entry, given in zip(found, (DRIFT, DEPLOYMENT), strict=True):
        time = datetime.fromisoformat(entry.pop("time"))
        assert time.utcoffset() == timedelta(0)
        assert datetime.now(UTC) - time < timedelta(minutes=1)
        assert entry == given
    for line in PATH.read_text().splitlines():
        assert list(json.loads(line)) == sorted(json.loads(line))
    assert ledger.read("toy_plain") == []


def test_the_version_of_a_model_is_the_one_that_it_was_last_promoted_as(workspace: Path) -> None:
    for version, model, accepted in (
        ("v1.0.0", "a", True),
        ("v1.1.0", "b", True),
        ("v1.2.0", "a", True),
        (None, "c", False),
    ):
        ledger.append("toy", PROMOTION | {"version": version, "challenger": {"hash": model}, "accepted": accepted})
    ledger.append("toy", DEPLOYMENT | {"hash": "d"})
    ledger.append("toy", DRIFT)
    assert [ledger.version_of("toy", model) for model in "abcd"] == ["v1.2.0", "v1.1.0", None, None]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"event": "party"}, "a ledger has no event 'party'"),
        (
            {"event": "promotion"},
            "the entry lacks accepted, version, stage, challenger, champion, rules, metrics, comparison",
        ),
        ({"event": "deployment"}, "the entry lacks version, stage, revision, hash, previous"),
        ({"reason": "One.\nTwo."}, "must be one paragraph"),
        ({"reason": " "}, "must be one paragraph"),
        ({"psi": float("nan")}, "not JSON compliant"),
    ],
)
def test_an_entry_that_is_none_is_refused_and_leaves_the_ledger_as_it_was(
    workspace: Path, change: dict[str, Any], message: str
) -> None:
    ledger.append("toy", DRIFT)
    before = PATH.read_bytes()
    with pytest.raises(ValueError, match=message):
        ledger.append("toy", DRIFT | change)
    assert PATH.read_bytes() == before


@pytest.mark.parametrize("line", ["{", "[]", '{"event": "party"}', "<<<<<<< HEAD"])
def test_a_line_that_is_no_entry_is_named(workspace: Path, line: str) -> None:
    ledger.append("toy", DRIFT)
    PATH.write_text(PATH.read_text() + "\n" + line + "\n")
    with pytest.raises(UserError, match=r"^reports/toy/ledger.jsonl, line 3, is no entry of a ledger: restore it"):
        ledger.read("toy")


def test_a_ledger_that_is_no_text_is_named(workspace: Path) -> None:
    PATH.parent.mkdir(parents=True)
    PATH.write_bytes(b"\x89PNG\xff")
    with pytest.raises(UserError, match=r"^reports/toy/ledger.jsonl is no text"):
        ledger.read("toy")


def test_a_last_line_without_an_end_is_not_continued(workspace: Path) -> None:
    PATH.parent.mkdir(parents=True)
    PATH.write_text(json.dumps(DRIFT))
    ledger.append("toy", DRIFT)
    assert len(ledger.read("toy")) == 2


def test_a_write_that_fails_leaves_the_ledger_as_it_was_and_nothing_beside_it(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.append("toy", DRIFT)
    before = PATH.read_bytes()

    def fill_disk(path: Path, text: str, encoding: str) -> None:
        path.write_bytes(text.encode()[:10])
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", fill_disk)
        with pytest.raises(OSError, match="no space"):
            ledger.append("toy", DRIFT)
    assert PATH.read_bytes() == before
    assert list(PATH.parent.iterdir()) == [PATH]
    ledger.append("toy", DRIFT)
    assert len(ledger.read("toy")) == 2


def append_many(number: int) -> None:
    for turn in range(20):
        ledger.append("toy", DRIFT | {"writer": number, "turn": turn, "filler": "x" * 10_000})


@pytest.mark.slow
def test_processes_that_append_at_once_lose_no_line_and_a_reader_meanwhile_sees_whole_ones(workspace: Path) -> None:
    ledger.append("toy", DRIFT)
    done, seen = threading.Event(), []

    def read_on() -> None:
        while not done.is_set():
            seen.append(len(ledger.read("toy")))

    reader = threading.Thread(target=read_on)
    writers = [get_context("spawn").Process(target=append_many, args=(number,)) for number in range(3)]
    reader.start()
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    done.set()
    reader.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert seen == sorted(seen)
    assert len(set(seen)) > 5
    found = [(entry["writer"], entry["turn"]) for entry in ledger.read("toy")[1:]]
    assert sorted(found) == [(number, turn) for number in range(3) for turn in range(20)]
    assert [[turn for writer, turn in found if writer == number] for number in range(3)] == [list(range(20))] * 3


def test_a_commit_holds_the_ledger_alone_and_is_not_made_twice(repository: Path) -> None:
    (repository / "other.txt").write_text("changed\n")
    (repository / "new.txt").write_text("new\n")
    git("add", "new.txt")
    for entry in (DRIFT, DEPLOYMENT):
        ledger.append("toy", entry)
        ledger.commit("toy", f"Note the {entry['event']}")
        assert git("show", "--name-only", "--format=%s", "HEAD").split("\n\n") == [f"Note the {entry['event']}", str(PATH)]
    ledger.commit("toy", "Again")
    assert git("rev-list", "--count", "HEAD") == "3"
    assert git("status", "--porcelain").split("\n") == ["A  new.txt", " M other.txt"]
    assert ledger.read("toy")[-1]["version"] == "v1.0.0"


def test_a_ledger_cannot_be_committed_outside_git(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(workspace.parent))
    ledger.append("toy", DRIFT)
    with pytest.raises(UserError, match="not a git repository"):
        ledger.commit("toy", "Note it")
    assert len(ledger.read("toy")) == 1

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from stages import promote
from stages.core.cli import UserError
from stages.promote import REFUSED
from stages.promotion import checkout, ledger, tags
from stages.promotion.git import git, head
from stages.promotion.lock import lock_at
from stages.promotion.proposal import propose
from stages.runtime.identity import outputs
from tests import toys
from tests.clones import run

MODEL = Path("models/toy/model.joblib")


@pytest.fixture
def known(repository: Path) -> Iterator[Path]:
    """The repository, whose toy this process knows."""
    with toys.known(repository / "stages" / "projects"):
        yield repository


@pytest.fixture
def champion(known: Path, revisions: tuple[str, str]) -> str:
    """The first commit's model is v1.0.0 in prod; gives that commit."""
    tags.register("toy", revisions[0], "v1.0.0", "The first.")
    tags.assign("toy", "v1.0.0", "prod", "The first.")
    return revisions[0]


def settle(**settings: Any) -> None:
    """Commit other promote settings of the toy: lenient ones, as on a hundred rows nothing can be shown."""
    document = YAML(typ="safe").load(Path("params.yaml"))
    document["toy"]["promote"] = {"margin": 0.9, "fairness_margin": 1.0, "max_ece": 0.9, "latency_ms": 500.0, **settings}
    YAML(typ="safe").dump(document, Path("params.yaml"))
    git("commit", "--quiet", "--all", "--message", "Other rules")


def state() -> tuple[str, ...]:
    """All that Git holds and all that differs from it."""
    return git("rev-parse", "HEAD"), git("tag"), git("status", "--porcelain"), git("stash", "list")


def message_of(tag: str) -> str:
    return git("for-each-ref", "--format=%(contents)", f"refs/tags/{tag}")


def verdicts(printed: str) -> dict[str, str]:
    """The table of rules."""
    return dict(line.split() for line in printed.split("\n\n")[0].splitlines())


def test_the_first_model_is_promoted_and_a_second_start_finds_nothing_to_decide(
    known: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settle()
    commit = head()
    assert promote.main("toy") is None
    printed = capsys.readouterr().out
    assert verdicts(printed) == {
        **dict.fromkeys(("floors", "comparison", "fairness"), "-"),
        **dict.fromkeys(("calibration", "baseline", "artifact"), "pass"),
    }
    (entry,) = ledger.read("toy")
    assert printed.endswith(f"\n\n{entry['reason']}\n")
    assert entry["reason"].startswith("Accepted as v1.0.0. There is no version in prod to compare with. On 100 test rows")
    assert entry["reason"].endswith("It is the first version.")
    assert (entry["accepted"], entry["version"], entry["stage"]) == (True, "v1.0.0", "prod")
    assert (entry["champion"], entry["comparison"]) == (None, None)
    assert (entry["challenger"]["revision"], entry["by"]) == (commit, "Tess Tester")
    assert entry["challenger"]["hash"] == checkout.model_hash_at("toy", commit)
    assert tags.in_stage("toy") == tags.Version("toy", "v1.0.0", commit)
    assert message_of("toy@v1.0.0") == message_of("toy#prod#1") == entry["reason"]
    assert git("log", "-1", "--format=%s") == "Promote toy v1.0.0"
    assert git("rev-parse", "HEAD~1") == commit
    assert git("show", "--name-only", "--format=", "HEAD") == "reports/toy/ledger.jsonl"
    before = state()
    assert before[2] == ""
    assert promote.main("toy") is None
    assert capsys.readouterr().out == "toy: this model is v1.0.0, which is in prod: nothing to decide\n"
    assert state() == before
    assert len(ledger.read("toy")) == 1


def test_a_model_that_is_good_enough_becomes_the_next_version_with_every_number_in_the_ledger(
    champion: str, known: Path
) -> None:
    settle()
    commit = head()
    proposal = propose("toy")
    assert promote.main("toy", by="Ann Other") is None
    (entry,) = ledger.read("toy")
    assert (entry["version"], entry["by"]) == ("v1.1.0", "Ann Other")
    assert entry["champion"] == {
        "version": "v1.0.0",
        "revision": champion,
        "hash": checkout.model_hash_at("toy", champion),
    }
    compared = proposal.comparison
    assert compared is not None
    assert entry["comparison"] == compared.__dict__
    assert (compared.rows, compared.left_out) == (100, 0)
    assert compared.challenger == pytest.approx(entry["metrics"]["roc_auc"]["value"], abs=1e-9)
    assert f"against {compared.champion:.3f} of v1.0.0 (gain {compared.value:+.3f}, 95 % interval" in entry["reason"]
    assert "It is a minor version, as its code or parameters changed: stages/projects/toy.py." in entry["reason"]
    assert tags.in_stage("toy") == tags.Version("toy", "v1.1.0", commit)
    assert [version.version for version in tags.versions("toy")] == ["v1.1.0", "v1.0.0"]


def test_a_model_that_is_no_better_is_refused_and_trying_again_adds_no_line(
    champion: str, known: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settle(margin=0.0, floors={"roc_auc": 0.99})
    tags = git("tag")
    assert promote.main("toy") == REFUSED == 3
    printed = capsys.readouterr().out
    assert verdicts(printed)["floors"] == verdicts(printed)["comparison"] == "FAIL"
    (entry,) = ledger.read("toy")
    assert (entry["accepted"], entry["version"], entry["stage"]) == (False, None, None)
    assert entry["reason"].startswith("Refused by the rules floors and comparison. On the same 100 test rows the ROC-AUC is")
    assert {rule["rule"] for rule in entry["rules"] if rule["passed"] is False} == {"floors", "comparison"}
    assert git("log", "-1", "--format=%s") == "Refuse to promote toy"
    assert git("tag") == tags
    before = state()
    assert promote.main("toy") == REFUSED
    assert capsys.readouterr().out.split("\n\n")[0] == printed.split("\n\n")[0]
    assert state() == before
    settle(margin=0.0)  # another rule fails no more: that is another decision
    assert promote.main("toy") == REFUSED
    assert len(ledger.read("toy")) == 2


@pytest.mark.parametrize(("margin", "code"), [(0.9, None), (0.0, REFUSED)])
def test_a_dry_run_says_the_same_and_writes_nothing(
    champion: str, known: Path, capsys: pytest.CaptureFixture[str], margin: float, code: int | None
) -> None:
    settle(margin=margin)
    before = state()
    assert promote.main("toy", dry_run=True, push=True) == code
    assert state() == before
    said = capsys.readouterr().out
    assert promote.main("toy") == code
    dry, real = (re.sub(r"[\d.]+ ms", "# ms", printed) for printed in (said, capsys.readouterr().out))
    assert dry == real


def test_the_command_ends_with_code_3_when_it_refuses(champion: str, known: Path) -> None:
    settle(margin=0.0)
    command = [sys.executable, "-m", "stages.promote", "toy", "--dry-run", "--by", "Ann Other"]
    environment = os.environ | {"PYTHONPATH": str(known)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert "Refused by the rule comparison." in done.stdout


@pytest.mark.parametrize("broken", ["append", "commit", "register", "assign"])
def test_an_interrupted_promotion_is_finished_by_the_next_start(
    champion: str, known: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], broken: str
) -> None:
    settle()
    commit = head()
    module: Any = ledger if broken in ("append", "commit") else tags

    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, broken, interrupt)
        with pytest.raises(KeyboardInterrupt):
            promote.main("toy")
    interrupted = state()
    capsys.readouterr()
    assert promote.main("toy", dry_run=True) is None
    assert ("was interrupted" in capsys.readouterr().out) is (broken != "append")
    assert state() == interrupted
    assert promote.main("toy") is None
    assert ("finished the promotion of v1.1.0" in capsys.readouterr().out) is (broken != "append")
    (entry,) = ledger.read("toy")
    assert tags.in_stage("toy") == tags.Version("toy", "v1.1.0", commit)
    assert git("tag").split() == ["toy#prod#1", "toy#prod#2", "toy@v1.0.0", "toy@v1.1.0"]
    assert message_of("toy@v1.1.0") == message_of("toy#prod#2") == entry["reason"]
    assert git("rev-parse", "HEAD~1") == commit
    assert git("status", "--porcelain") == ""


def test_a_model_that_was_replaced_is_not_promoted_again(
    champion: str, known: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settle()
    promote.main("toy")
    tags.assign("toy", "v1.0.0", "prod", "v1.1.0 was wrong about light parcels.")
    before = state()
    capsys.readouterr()
    assert promote.main("toy") is None
    assert capsys.readouterr().out == (
        "toy: this model was promoted as v1.1.0 and replaced: nothing to decide; "
        "`python -m stages.deploy toy --version v1.1.0` deploys it again\n"
    )
    assert state() == before


def test_versions_that_were_withdrawn_from_prod_leave_the_next_to_be_judged_as_the_first(
    known: Path, revisions: tuple[str, str]
) -> None:
    tags.register("toy", revisions[0], "v1.4.2", "Never in prod.")
    settle()
    proposal = propose("toy")
    assert (proposal.champion, proposal.comparison, proposal.version) == (None, None, "v2.0.0")
    assert "no version in prod sets a contract that it could keep" in proposal.decision.reason
    tags.register("toy", revisions[1], "v1.5.0", "By hand.")
    again = propose("toy")
    assert (again.version, again.challenger["revision"]) == ("v1.5.0", revisions[1])
    promote.main("toy")
    assert tags.in_stage("toy") == tags.Version("toy", "v1.5.0", revisions[1])


def change_code(folder: Path) -> None:
    with (folder / "stages" / "modeling" / "metrics.py").open("a") as file:
        file.write("CHANGED = 1\n")


def add_code(folder: Path) -> None:
    (folder / "stages" / "extra.py").touch()


def swap_model(folder: Path) -> None:
    (folder / MODEL).unlink()
    (folder / MODEL).write_bytes(b"another")


def lose_model(folder: Path) -> None:
    (folder / MODEL).unlink()


def forget_to_run(folder: Path) -> None:
    document = YAML(typ="safe").load(folder / "params.yaml")
    document["toy"]["train"]["folds"] = 3
    YAML(typ="safe").dump(document, folder / "params.yaml")
    git("commit", "--quiet", "--all", "--message", "More folds")


def forget_lock(folder: Path) -> None:
    git("rm", "--quiet", "--cached", "dvc.lock")
    git("commit", "--quiet", "--message", "Forget")


def remove_lock(folder: Path) -> None:
    forget_lock(folder)
    (folder / "dvc.lock").unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            change_code,
            r"^the last commit, which gets the tag, lacks stages/modeling/metrics.py: commit or restore what changed$",
        ),
        (add_code, r"^the last commit, which gets the tag, lacks stages/extra.py:"),
        (forget_lock, r"^the last commit, which gets the tag, lacks dvc.lock:"),
        (remove_lock, r"^dvc.lock is missing in .*: run `dvc pull` or `dvc repro` at the root of the repository$"),
        (swap_model, rf"^{MODEL} is not the file that dvc.lock records: run `dvc checkout {MODEL}`"),
        (lose_model, rf"^{MODEL.parent} lacks {MODEL.name}: .*`dvc pull`, or without a remote `dvc repro`$"),
        (forget_to_run, r"^out of date: train@toy. Run `dvc repro train@toy` and commit what it changed$"),
    ],
)
def test_what_no_commit_or_run_holds_is_not_promoted(known: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(known)
    before = state()
    with pytest.raises(UserError, match=message):
        promote.main("toy")
    assert state() == before
    assert ledger.read("toy") == []


def test_outside_git_nothing_is_promoted(known: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(".git")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(known.parent))
    with pytest.raises(UserError, match="not a git repository"):
        promote.main("toy")
    assert ledger.read("toy") == []


def lose(path: str, revision: str) -> str:
    """Take a commit's file out of the cache; gives its MD5."""
    digest = outputs(lock_at(revision))[path]
    Path(".dvc/cache/files/md5", digest[:2], digest[2:]).unlink()
    return digest


def test_without_the_champions_model_nothing_is_decided(champion: str, known: Path) -> None:
    digest = lose(str(MODEL), champion)
    before = state()
    with pytest.raises(UserError, match=rf"{MODEL} with MD5 {digest} was not found"):
        promote.main("toy")
    assert state() == before
    assert ledger.read("toy") == []


def test_without_the_champions_training_rows_it_is_compared_and_that_is_said(champion: str, known: Path) -> None:
    lose("data/toy/train.parquet", champion)
    proposal = propose("toy")
    assert proposal.comparison is not None
    assert proposal.comparison.left_out is None
    assert "The training rows of v1.0.0 are not available" in proposal.decision.reason


def test_a_push_takes_branch_and_tags_together_and_can_be_made_up_for(champion: str, known: Path, tmp_path: Path) -> None:
    settle()
    with pytest.raises(UserError, match="there is no remote `origin` to push to"):
        promote.main("toy", push=True)
    assert tags.in_stage("toy") == tags.find("toy", "v1.0.0")
    git("remote", "add", "origin", str(tmp_path / "remote.git"))
    with pytest.raises(UserError, match="`git ls-remote` failed"):  # there is nothing yet
        promote.main("toy", push=True)
    assert tags.in_stage("toy") == tags.find("toy", "v1.0.0")
    run(tmp_path, "git", "init", "--quiet", "--bare", "remote.git")
    hook = tmp_path / "remote.git" / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(UserError, match="`git push` failed"):
        promote.main("toy", push=True)
    assert tags.in_stage("toy") == tags.find("toy", "v1.1.0")
    hook.unlink()
    assert promote.main("toy", push=True) is None
    assert len(ledger.read("toy")) == 1
    remote = {line.split()[1]: line.split()[0] for line in git("ls-remote", "origin").splitlines()}
    branch = git("symbolic-ref", "HEAD")
    assert remote[branch] == head()
    assert {name for name in remote if name.startswith("refs/tags") and not name.endswith("^{}")} == {
        f"refs/tags/{tag}" for tag in git("tag").split()
    }


def test_an_artifact_that_cannot_be_used_is_refused_with_the_reason(champion: str, known: Path) -> None:
    settle()
    (known / "models/toy/scorer.onnx").unlink()
    (known / "models/toy/scorer.onnx").write_bytes(b"")
    decision = propose("toy").decision
    assert decision.accepted is False
    assert decision.reason.startswith(
        "Refused by the rules comparison and artifact. It gives no scores that could be compared"
    )
    assert "The artifact cannot be used:" in decision.reason

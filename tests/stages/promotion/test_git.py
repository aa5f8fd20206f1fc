from __future__ import annotations

import getpass
from pathlib import Path

import pytest

from stages.core.cli import UserError
from stages.promotion.git import check_clone, git, head, uncommitted, who


@pytest.fixture
def repository(workspace: Path) -> Path:
    """A Git repository with one commit, as the current folder."""
    git("init", "--quiet")
    git("config", "user.name", "Tess Tester")
    git("config", "user.email", "tess@example.org")
    (workspace / "reports" / "toy_plain").mkdir(parents=True)
    for name in ("kept", "changed", "staged", "gone", "ä ö", "reports/toy_plain/ledger.jsonl"):
        (workspace / name).write_text("first")
    git("add", ".")
    git("commit", "--quiet", "--message", "First")
    return workspace


def test_a_failure_of_git_is_told_in_its_own_words(workspace: Path) -> None:
    with pytest.raises(UserError, match="`git rev-parse` failed: fatal: not a git repository"):
        head()


def test_a_missing_git_is_told(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(workspace))
    with pytest.raises(UserError, match="Git is not installed"):
        head()


def test_a_clone_that_a_command_cannot_work_in_is_told_why(workspace: Path) -> None:
    git("init", "--quiet")
    with pytest.raises(UserError, match=r"no dvc\.yaml in .*: run the command at the root of the repository"):
        check_clone()
    (workspace / "dvc.yaml").touch()
    with pytest.raises(UserError, match="no commit yet"):
        check_clone()


def test_what_is_to_be_pushed_needs_a_branch_and_an_origin(repository: Path) -> None:
    (repository / "dvc.yaml").touch()
    check_clone()
    with pytest.raises(UserError, match="no remote `origin`"):
        check_clone(push=True)
    git("remote", "add", "origin", "elsewhere")
    with pytest.raises(UserError, match="elsewhere"):
        check_clone(push=True)
    git("init", "--quiet", "--bare", "elsewhere")
    check_clone(push=True)
    git("checkout", "--quiet", "--detach")
    check_clone()
    with pytest.raises(UserError, match="HEAD is detached"):
        check_clone(push=True)


def test_the_head_is_the_full_hash_of_the_commit(repository: Path) -> None:
    assert head() == (repository / ".git" / git("symbolic-ref", "HEAD")).read_text().strip()


def test_changed_tracked_files_are_listed_but_for_ledgers(repository: Path) -> None:
    assert uncommitted() == []
    for name in ("changed", "staged", "ä ö", "untracked", "reports/toy_plain/ledger.jsonl"):
        (repository / name).write_text("second")
    (repository / "gone").unlink()
    git("add", "staged", "reports/toy_plain/ledger.jsonl")
    assert sorted(uncommitted()) == ["changed", "gone", "staged", "ä ö"]


def test_who_acts_is_the_account_in_a_workflow_else_the_name_in_git_else_the_login(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTOR", "octocat")
    assert who() == "octocat"
    monkeypatch.delenv("GITHUB_ACTOR")
    assert who() == "Tess Tester"
    git("config", "--unset", "user.name")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    assert who() == getpass.getuser()

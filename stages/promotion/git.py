"""Git, as scripts use it."""

from __future__ import annotations

import getpass
import os
import subprocess
from pathlib import Path

from stages.core.cli import UserError


def git(*args: str) -> str:
    """What a Git command prints, stripped; UserError with what Git says of a failure."""
    return git_bytes(*args).decode(errors="replace").strip()


def git_bytes(*args: str) -> bytes:
    """What a Git command prints, as it is; UserError as `git`."""
    try:
        return subprocess.run(["git", *args], capture_output=True, check=True).stdout
    except FileNotFoundError:
        raise UserError("Git is not installed, or not in PATH") from None
    except subprocess.CalledProcessError as error:
        message = " ".join(error.stderr.decode(errors="replace").split()) or f"it ended with code {error.returncode}"
        raise UserError(f"`git {args[0]}` failed: {message}") from None


def head() -> str:
    """The commit that is checked out."""
    return git("rev-parse", "HEAD")


def check_clone(*, push: bool = False) -> None:
    """UserError unless the current folder is the root of a repository with its whole history, and, to push, on a branch that
    is not behind the remote `origin`: without these a command would fail halfway, or take a version for one that never was.
    """
    check_root()
    if git("rev-parse", "--is-shallow-repository") == "true":
        raise UserError(
            "this clone is shallow, so it lacks tags and commits of earlier versions: fetch them with "
            "`git fetch --unshallow --tags`"
        )
    if not git("rev-list", "--max-count=1", "--all"):
        raise UserError("this repository has no commit yet: commit its files first")
    if not push:
        return
    if git("rev-parse", "--abbrev-ref", "HEAD") == "HEAD":
        raise UserError("HEAD is detached, so there is no branch to push: switch to one with `git switch BRANCH`")
    if "origin" not in git("remote").splitlines():
        raise UserError("there is no remote `origin` to push to: add it with `git remote add origin URL`")
    check_not_behind()


def check_not_behind() -> None:
    """UserError where `origin` cannot be reached, or has commits of the current branch, or tags, that this clone lacks."""
    pairs = [line.split("\t") for line in git("ls-remote", "--refs", "origin").splitlines()]
    remote = {ref: digest for digest, ref in pairs}
    local = git("for-each-ref", "--format=%(refname)").splitlines()
    branch = git("symbolic-ref", "HEAD")
    if branch in remote and remote[branch] not in git("rev-list", "HEAD").splitlines():
        name = branch.removeprefix("refs/heads/")
        raise UserError(
            f"`origin` has commits of {name} that this clone lacks: get them with `git pull --rebase origin {name}`"
        )
    if missing := [ref for ref in remote if ref.startswith("refs/tags/") and ref not in local]:
        raise UserError(
            f"`origin` has {len(missing)} tags that this clone lacks, {missing[0].removeprefix('refs/tags/')} for one: get "
            "them with `git fetch --tags`"
        )


def check_root() -> None:
    """UserError unless the current folder is the root of a Git repository with a dvc.yaml."""
    git("rev-parse", "--git-dir")  # its error says that there is no Git
    if not Path("dvc.yaml").exists():
        raise UserError(f"there is no dvc.yaml in {Path.cwd()}: run the command at the root of the repository")


def uncommitted() -> list[str]:
    """Tracked files that differ from the last commit, but for the ledgers: writing there is part of promoting."""
    changed = git("diff", "--name-only", "-z", "HEAD", "--", ".", ":(exclude)reports/*/ledger.jsonl")
    return [path for path in changed.split("\0") if path]


def who() -> str:
    """Who acts: the GitHub account in a workflow, Git's user name, or the login name."""
    return os.environ.get("GITHUB_ACTOR") or git("config", "--default", "", "--get", "user.name") or getpass.getuser()

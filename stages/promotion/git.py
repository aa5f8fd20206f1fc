"""Git, as scripts use it."""

from __future__ import annotations

import getpass
import os
import subprocess

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
        message = error.stderr.decode(errors="replace").strip() or f"it ended with code {error.returncode}"
        raise UserError(f"`git {args[0]}` failed: {message}") from None


def head() -> str:
    """The commit that is checked out."""
    return git("rev-parse", "HEAD")


def uncommitted() -> list[str]:
    """Tracked files that differ from the last commit, but for the ledgers: writing there is part of promoting."""
    changed = git("diff", "--name-only", "-z", "HEAD", "--", ".", ":(exclude)reports/*/ledger.jsonl")
    return [path for path in changed.split("\0") if path]


def who() -> str:
    """Who acts: the GitHub account in a workflow, Git's user name, or the login name."""
    return os.environ.get("GITHUB_ACTOR") or git("config", "--default", "", "--get", "user.name") or getpass.getuser()

"""What the pages show of a project's ledger."""

from __future__ import annotations

import asyncio
import re
import subprocess
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, urlsplit

from serve.models.history import Event, read_history
from serve.pages.site import Site
from serve.service import UnavailableError
from stages.projects._base import Project

COMMIT = re.compile("[0-9a-f]{7,64}")
BY_SSH = re.compile(r"(?:ssh://)?git@(?P<host>[\w.-]+)(?::\d+/|[:/])(?P<path>[^:]+)")

VERDICTS = {"keep": "good", "retrain": "warn", "refuse": "bad"}  # of a drift check, with the kind of its badge


async def ledger_of(site: Site, project: Project) -> list[Event]:
    """All decisions, oldest first; UnavailableError for a ledger that cannot be read."""
    try:
        return await asyncio.to_thread(read_history, project.name, site.service.settings.root)
    except ValueError as error:
        raise UnavailableError(f"{error}.") from None


def about(events: list[Event], model_hash: str) -> Event | None:
    """The last decision on whether to promote a model."""
    return next((event for event in reversed(events) if challenger_of(event) == model_hash), None)


def promoted(events: list[Event], model_hash: str) -> Event | None:
    """The decision that promoted a model."""
    own = [event for event in events if event.accepted and challenger_of(event) == model_hash]
    return own[-1] if own else None


def challenger_of(event: Event) -> str | None:
    """The hash of the model that a promotion decided on."""
    return (event.details.get("challenger") or {}).get("hash") if event.event == "promotion" else None


def is_commit(revision: str | None) -> bool:
    """Whether a revision names a commit, so that it can be checked out again."""
    return bool(revision) and COMMIT.fullmatch(str(revision)) is not None


@lru_cache(8)
def repository(root: Path) -> str | None:
    """The web address of the repository that `origin` is, None where it has none."""
    command = ["git", "config", "--get", "remote.origin.url"]
    try:
        return web_address(subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.strip())
    except (OSError, subprocess.CalledProcessError):
        return None


def web_address(remote: str) -> str | None:
    """The web address of a remote: of https:// without its credentials, of git@host as https; None for others."""
    if found := BY_SSH.fullmatch(remote):
        return f"https://{found['host']}/{quote(found['path'].strip('/').removesuffix('.git'))}"
    parts = urlsplit(remote)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{quote(parts.path.rstrip('/').removesuffix('.git'))}"


async def commit_links(site: Site) -> str | None:
    """What the address of a commit begins with."""
    address = await asyncio.to_thread(repository, site.service.settings.root)
    return f"{address}/commit/" if address else None

"""Every decision about the models of a project: what was promoted or refused, deployed or checked, and why."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from litestar import Request, get
from litestar.handlers import BaseRouteHandler
from litestar.response import Template

from serve.models.history import Event
from serve.models.loader import Model
from serve.pages.charts.progress import is_rollback, progress
from serve.pages.ledger import VERDICTS, challenger_of, commit_links, is_commit, ledger_of
from serve.pages.site import Area, Site, Tab
from stages.projects._base import Project
from stages.runtime.wording import significant, words

SHOWN = 50  # decisions on a page
PASSED = {True: ("pass", "good"), False: ("fail", "bad"), None: ("does not apply", "")}


def heading(event: Event) -> tuple[str, str]:
    """What was decided, and the kind of its badge."""
    if event.event == "promotion":
        return (f"Promoted as {event.version}", "good") if event.accepted else ("Refused", "bad")
    if event.event == "drift":
        verdict = str(event.details.get("verdict") or "")
        return f"Drift check: {verdict}".removesuffix(": "), VERDICTS.get(verdict, "")
    return f"{'Rolled back to' if is_rollback(event) else 'Deployed'} {event.version}", "info"


def entry(event: Event) -> dict[str, Any]:
    """A decision as the page shows it."""
    title, kind = heading(event)
    details = event.details
    about = (details.get("challenger") or {}) if event.event == "promotion" else details
    rules = [
        {"rule": rule["rule"], "verdict": PASSED[rule.get("passed")][0], "kind": PASSED[rule.get("passed")][1],
         "detail": rule.get("detail", ""), "numbers": flat(rule.get("measured") or {})}
        for rule in details.get("rules") or []
    ]  # fmt: skip
    return {
        "title": title, "kind": kind, "time": event.time, "by": event.by, "reason": event.reason, "stage": event.stage,
        "estimator": about.get("estimator"), "revision": about.get("revision"), "hash": about.get("hash"),
        "data": about.get("data"), "champion": (details.get("champion") or {}).get("version"),
        "before": (details.get("previous") or {}).get("version"), "rules": rules,
    }  # fmt: skip


def flat(measured: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Names and values of what a rule measured, nested ones by their path."""
    found: list[tuple[str, str]] = []
    for name, value in measured.items():
        path = f"{prefix}{words(name)}".replace(".", ", ")
        if isinstance(value, dict):
            found += flat(value, f"{path}, ")
        elif isinstance(value, bool):
            found.append((path, "yes" if value else "no"))
        elif isinstance(value, float):
            found.append((path, significant(value, 6)))
        else:
            found.append((path, "–" if value is None else str(value)))
    return found


def deploy_command(project: Project, root: Path, *options: str) -> str:
    """The command that puts a version into the folder that this server loads from."""
    to = [] if root == Path() else ["--to", str(root)]
    return shlex.join(["python", "-m", "stages.deploy", project.name, *to, *options])


def versions(events: list[Event], project: Project, live: Model | None, root: Path) -> list[dict[str, Any]]:
    """The versions that were promoted, newest first, with the command that brings one back; none for the one that serves."""
    found = {event.version: event for event in events if event.event == "promotion" and event.accepted and event.version}
    return [
        {"version": version, "time": event.time, "serves": live is not None and challenger_of(event) == live.hash,
         "revision": (event.details.get("challenger") or {}).get("revision"),
         "command": deploy_command(project, root, "--version", version, "--reason", "…")}
        for version, event in reversed(found.items())
    ]  # fmt: skip


def handlers(site: Site, project: Project) -> list[BaseRouteHandler]:
    """`/<project>/history`."""

    @get("/history")
    async def history(request: Request[Any, Any, Any]) -> Template:
        events, root = await ledger_of(site, project), site.service.settings.root
        given = request.query_params.get("page", "1")
        page = int(given) if given.isdecimal() and len(given) < 7 else 1
        answerer = site.service.active.get(project.name)
        live = answerer.model if answerer else None
        put = next((event for event in reversed(events) if event.live_hash), None)
        shown = events[::-1][max(page - 1, 0) * SHOWN :]
        return site.page(
            "history.html", project, "history", live=live, failure=site.service.failures.get(project.name),
            other=put if live and put and put.live_hash != live.hash else None, chart=progress(events, project),
            versions=versions(events, project, live, root), install=deploy_command(project, root),
            entries=[entry(event) for event in shown[:SHOWN]], total=len(events), page=page, older=len(shown) > SHOWN,
            commits=await commit_links(site), is_commit=is_commit,
        )  # fmt: skip

    return [history]


AREA = Area(Tab("history", "History"), handlers)

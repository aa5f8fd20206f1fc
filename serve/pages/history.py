"""Every decision about the models of a project: what was promoted or refused, deployed or checked, and why."""

from __future__ import annotations

import re
import shlex
from typing import Any

from litestar import Request, get
from litestar.handlers import BaseRouteHandler
from litestar.response import Template

from serve.models.history import Event
from serve.models.loader import Model
from serve.pages.charts.quality import better, named
from serve.pages.charts.specs import RULE, Chart, axis
from serve.pages.format import between, metric, moment, words
from serve.pages.ledger import VERDICTS, challenger_of, commit_links, is_commit, ledger_of
from serve.pages.site import Area, Site, Tab
from stages.projects._base import Project

SHOWN = 50  # decisions on a page
PASSED = {True: ("pass", "good"), False: ("fail", "bad"), None: ("does not apply", "")}
NEW, BACK = "Deployed", "Rolled back to"


def heading(event: Event) -> tuple[str, str]:
    """What was decided, and the kind of its badge."""
    if event.event == "promotion":
        return (f"Promoted as {event.version}", "good") if event.accepted else ("Refused", "bad")
    if event.event == "drift":
        verdict = str(event.details.get("verdict") or "")
        return f"Drift check: {verdict}".removesuffix(": "), VERDICTS.get(verdict, "")
    before = (event.details.get("previous") or {}).get("version")
    return f"{BACK if is_older(event.version, before) else NEW} {event.version}", "info"


def is_older(version: str | None, other: str | None) -> bool:
    """Whether a version comes before another."""
    one, two = ([int(part) for part in re.findall(r"\d+", each or "")] for each in (version, other))
    return bool(one and two) and one < two


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
            found.append((path, f"{value:.6g}"))
        else:
            found.append((path, "–" if value is None else str(value)))
    return found


def progress(events: list[Event], project: Project) -> Chart | None:
    """The primary metric of every model that was considered, over time."""
    name, unit = project.primary_metric, project.unit
    considered = [event for event in events if event.event == "promotion" and name in (event.details.get("metrics") or {})]
    rows = [
        {"time": event.time.isoformat(), "model": event.version or "refused",
         "decision": "promoted" if event.accepted else "refused", **event.details["metrics"][name]}
        for event in considered
    ]  # fmt: skip
    if not rows:
        return None
    days = (considered[-1].time - considered[0].time).days
    ticks = {"tickCount": 6, "format": "%b %Y" if days > 365 else "%d %b" if days > 6 else "%d %b %H:%M"}
    x = {"field": "time", "type": "temporal", "title": "UTC", "scale": {"type": "utc"}, "axis": ticks}
    y = axis("value", named(name, unit), scale={"zero": False})
    kinds = {"domain": ["promoted", "refused"], "range": ["var(--good)", "var(--bad)"]}
    colour = {"field": "decision", "title": None, "scale": kinds}
    shape = {**colour, "scale": {"domain": kinds["domain"], "range": ["circle", "cross"]}}
    spec = {
        "height": 240,
        "data": {"values": rows},
        "layer": [
            {"mark": {"type": "line", "interpolate": "step-after", "color": "var(--muted)", "strokeDash": [4, 4]},
             "transform": [{"filter": {"field": "decision", "equal": "promoted"}}], "encoding": {"x": x, "y": y}},
            {"mark": {**RULE, "size": 2},
             "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": colour}},
            {"mark": {"type": "point", "filled": True, "size": 90, "opacity": 1, "tooltip": True},
             "encoding": {"x": x, "y": y, "color": colour, "shape": shape}},
        ],
    }  # fmt: skip
    promoted = sum(row["decision"] == "promoted" for row in rows)
    return Chart(
        "progress", f"{words(name)} of every model that was considered, with 95 % intervals ({better(name)})",
        f"{promoted} of {len(rows)} models were promoted; the last one has {metric(rows[-1]['value'], name, unit)}.",
        spec,
        ("Model", "Decided", words(name), "95 % interval"),
        [
            (row["model"], moment(event.time), metric(row["value"], name, unit), between(row, name, unit))
            for row, event in zip(rows, considered, strict=True)
        ],
    )  # fmt: skip


def versions(events: list[Event], project: Project, live: Model | None) -> list[dict[str, Any]]:
    """The versions that were promoted, newest first, with the command that brings one back; none for the one that serves."""
    found = {event.version: event for event in events if event.event == "promotion" and event.accepted and event.version}
    return [
        {"version": version, "time": event.time, "serves": live is not None and challenger_of(event) == live.hash,
         "revision": (event.details.get("challenger") or {}).get("revision"),
         "command": shlex.join(["python", "-m", "stages.deploy", project.name, "--version", version, "--reason", "…"])}
        for version, event in reversed(found.items())
    ]  # fmt: skip


def handlers(site: Site, project: Project) -> list[BaseRouteHandler]:
    """`/<project>/history`."""

    @get("/history")
    async def history(request: Request[Any, Any, Any]) -> Template:
        events = await ledger_of(site, project)
        given = request.query_params.get("page", "1")
        page = int(given) if given.isdecimal() and len(given) < 7 else 1
        answerer = site.service.active.get(project.name)
        live = answerer.model if answerer else None
        put = next((event for event in reversed(events) if event.live_hash), None)
        shown = events[::-1][max(page - 1, 0) * SHOWN :]
        return site.page(
            "history.html", project, "history", live=live, failure=site.service.failures.get(project.name),
            other=put if live and put and put.live_hash != live.hash else None, chart=progress(events, project),
            versions=versions(events, project, live), entries=[entry(event) for event in shown[:SHOWN]], total=len(events),
            page=page, older=len(shown) > SHOWN, commits=await commit_links(site), is_commit=is_commit,
        )  # fmt: skip

    return [history]


AREA = Area(Tab("history", "History"), handlers)

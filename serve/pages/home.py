"""The home page: one card per project."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from litestar import get
from litestar.handlers import BaseRouteHandler
from litestar.response import Template

from serve.log.prediction_log import Unavailable
from serve.log.tables import LAST
from serve.pages.site import Site
from serve.service import Service
from stages.projects._base import Project
from stages.runtime.wording import count, metric, metric_interval, words


async def predicted_today(service: Service, name: str) -> str:
    """How many predictions the log holds since midnight UTC, or a dash while it cannot be read."""
    if not service.settings.log:
        return "–"
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    try:
        [predicted] = await service.log.numbers(name, [midnight, LAST])
    except Unavailable:
        return "–"
    return count(predicted)


async def card(site: Site, project: Project) -> dict[str, Any]:
    """What the card of a project says."""
    service, name = site.service, project.name
    answerer = service.active.get(name)
    found: dict[str, Any] = {
        "title": project.title,
        "question": project.question,
        "href": site.home_of(project),
        "failure": service.failures.get(name),
        "loaded": answerer is not None,
        "simulated": False,
        "figures": [],
    }
    if answerer is not None:
        model = answerer.model
        live = {"label": "Live version", "value": model.version or "none", "note": model.stage or "not registered"}
        found["simulated"] = model.manifest["data"]["simulated"]
        found["figures"] = [
            live,
            *primary(project, model.evaluation.get("metrics", {})),
            {"label": "Drift", "value": service.drift_state(name) or "not known yet"},
            {"label": "Predictions today", "value": await predicted_today(service, name)},
            {"label": "Health", "value": "healthy" if name not in service.failures else "degraded"},
        ]
    return found


def primary(project: Project, metrics: dict[str, dict[str, float]]) -> list[dict[str, str]]:
    """The primary metric with its interval, where the model was evaluated."""
    name = project.primary_metric
    if name not in metrics:
        return []
    found = metrics[name]
    value, note = metric(found["value"], name, project.unit), metric_interval(found, name, project.unit)
    return [{"label": words(name), "value": value, "note": note}]


def handlers(site: Site) -> list[BaseRouteHandler]:
    """`/`."""

    @get("/")
    async def home() -> Template:
        cards = await asyncio.gather(*[card(site, project) for project in site.projects])
        stats = site.service.log.stats() if site.service.settings.log else None
        reasons = [f"Prediction log: {stats.reason}."] if stats and stats.reason else []
        return site.page("home.html", cards=cards, reasons=reasons)

    return [home]

"""The state of the server and the model: traffic, latency, drift, errors, the log."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from litestar import Request, get
from litestar.handlers import BaseRouteHandler
from litestar.response import Template

from serve.api.messages import logged_page
from serve.log.prediction_log import Recent, Unavailable
from serve.metrics import Metrics
from serve.models.errors import InvalidInputError
from serve.pages.charts.monitoring import distribution, latency, requests, shifts
from serve.pages.drift_reports import read_drift_reports, report_handlers
from serve.pages.ledger import VERDICTS
from serve.pages.predictions import answer, prediction_handlers
from serve.pages.site import Area, Site, Tab
from serve.pages.traffic import BinShares, TtlCache, bin_shares, traffic
from serve.service import UnavailableError
from stages.projects._base import Project
from stages.runtime.wording import count

WINDOWS = {24: "24 hours", 168: "7 days"}
LATEST = 10  # predictions below the charts
SHIFTED = 3  # columns that are shown beside the training rows
STATES = {"stable": "good", "moderate": "warn", "large": "bad", "unknown": ""}


def refusals(metrics: Metrics, project: str) -> tuple[int, list[tuple[str, str, str]]]:
    """How many requests of a project this process has answered, and its errors by route and status, the most frequent
    first.
    """
    counted = [
        (sample.labels["route"], sample.labels["status"], int(sample.value))
        for metric in metrics.requests.collect() for sample in metric.samples
        if sample.name.endswith("_total") and sample.labels["project"] == project
    ]  # fmt: skip
    failed = sorted((entry for entry in counted if int(entry[1]) >= 400), key=lambda entry: -entry[2])
    return sum(entry[2] for entry in counted), [(route, status, count(times)) for route, status, times in failed]


async def attempt(work: Awaitable[Any], problems: set[str]) -> Any:
    """The result of the work, or None with the problem noted: if one part fails, the page shows the others."""
    try:
        return await work
    except (UnavailableError, InvalidInputError) as error:
        problems.add(str(error))
    except Unavailable as error:
        problems.add(f"The prediction log cannot be used now: {error}.")
    return None


def handlers(site: Site, project: Project) -> list[BaseRouteHandler]:
    """`/<project>/monitoring` and the pages below it."""
    service, name, cache = site.service, project.name, TtlCache()
    reports = service.settings.root / "reports" / name / "drift"
    titles = {column.name: column.title for column in project.columns} | {"score": "Score"}

    async def latest_shares() -> list[BinShares]:
        model = site.model(project)
        recent: list[Recent] = await service.log.recent(name, service.settings.drift_rows)
        return await asyncio.to_thread(bin_shares, model, recent)

    async def logged(hours: int, problems: set[str]) -> dict[str, Any]:
        """The charts of what the log holds."""
        answerer = service.active.get(name)
        seen = await attempt(cache.get(hours, lambda: traffic(service.log, name, hours)), problems)
        drift = found = None
        if answerer is not None:
            drift = await attempt(service.drift(name), problems)
            found = await attempt(cache.get(answerer.model.loaded_at, latest_shares), problems)
        latest = await attempt(service.page(name, LATEST, None), problems)
        window = WINDOWS[hours]
        columns = {each.column: each for each in found or []}
        moved = [shift.column for shift in (drift.columns if drift else []) if shift.state != "stable"][:SHIFTED]
        unit = "" if project.task == "classification" else project.unit
        return {
            "traffic": seen,
            "requests": requests(seen, window) if seen else None,
            "latency": latency(seen, window) if seen and seen.whole.median_ms is not None else None,
            "drift": drift,
            "shifts": shifts(drift, titles) if drift and drift.columns else None,
            "scores": distribution(columns["score"], "Score", unit) if "score" in columns else None,
            "moved": [distribution(columns[column], titles[column]) for column in moved if column in columns],
            "latest": logged_page(latest or [], LATEST).predictions,
        }

    @get("/monitoring")
    async def monitoring(request: Request[Any, Any, Any]) -> Template:
        given = request.query_params.get("hours", "")
        hours = int(given) if given in {str(each) for each in WINDOWS} else min(WINDOWS)
        problems: set[str] = set()
        logs = service.settings.log
        shown = await logged(hours, problems) if logs else {}
        answered, errors = refusals(service.metrics, name)
        return site.page(
            "monitoring.html", project, "monitoring", logs=logs, hours=hours, windows=WINDOWS, states=STATES,
            kinds=VERDICTS, answer=answer,
            reasons=[*service.health(), *sorted(problems)], stats=service.log.stats() if logs else None, answered=answered,
            errors=errors, reports=await asyncio.to_thread(read_drift_reports, reports), **shown,
        )  # fmt: skip

    return [monitoring, *prediction_handlers(site, project), *report_handlers(site, project)]


AREA = Area(Tab("monitoring", "Monitoring"), handlers)

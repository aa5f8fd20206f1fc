"""The quality of the model that serves, its worst segments and its feature importance."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from litestar import get
from litestar.handlers import BaseRouteHandler
from litestar.response import Template

from serve.models.history import Event
from serve.models.loader import Model
from serve.pages.card import card_html
from serve.pages.charts.files import draw
from serve.pages.charts.quality import candidates, comparison, importance, learning, segments
from serve.pages.ledger import about, ledger_of, promoted
from serve.pages.site import Area, Site, Tab
from stages.projects._base import Project
from stages.runtime.metric_names import TITLES
from stages.runtime.wording import metric, metric_interval, words


def metric_rows(model: Model, rival: dict[str, Any]) -> list[list[str]]:
    """Every metric with its interval, and that of the model it is compared with, where there is one."""
    project, found, other = model.project, model.evaluation.get("metrics", {}), rival.get("metrics", {})
    return [
        [
            words(name),
            metric(found[name]["value"], name, project.unit),
            metric_interval(found[name], name, project.unit),
            *([metric(other[name]["value"], name, project.unit) if name in other else "–"] if other else []),
        ]
        for name in TITLES
        if name in found
    ]


def rival_of(events: list[Event], model: Model) -> dict[str, Any]:
    """The model that this one was compared with when it was considered, or that is in production while it was not; empty
    where there is none. `detail` is the comparison in words.
    """
    own = about(events, model.hash)
    live = next((event for event in reversed(events) if event.live_hash), None)
    digest = (own.details.get("champion") or {}).get("hash") if own else live.live_hash if live else None
    other = promoted(events, digest) if digest else None
    if other is None:
        return {}
    rules = (own.details.get("rules") or []) if own else []
    detail = next((rule["detail"] for rule in rules if rule["rule"] == "comparison"), "")
    return {"version": other.version, "metrics": other.details.get("metrics") or {}, "detail": detail}


def quality(plots: Path, board: Any, ranking: Any, model: Model) -> dict[str, Any]:
    """What the page shows of a model's reports: the files of the plots, leaderboard.json, importance.json."""
    drawn = draw(model, plots)
    return {
        "charts": drawn.charts,
        "outdated": drawn.outdated,
        "candidates": candidates(model, board["candidates"] if isinstance(board, dict) else board),
        "segments": segments(model),
        "importance": importance(ranking),
        "learning": learning(model),
        "card": card_html(model.card),
    }


def handlers(site: Site, project: Project) -> list[BaseRouteHandler]:
    """`/<project>/model`."""
    plots = site.service.settings.root / "reports" / project.name / "plots"
    titles = {column.name: column.title for column in project.columns}

    @get("/model")
    async def model() -> Template:
        live = site.model(project)
        board, ranking = await site.report(project, "leaderboard.json"), await site.report(project, "importance.json")
        found = await site.cached_per_model(project, "quality", partial(quality, plots, board.content, ranking.content))
        notes = [*live.faults, *(report.fault for report in (board, ranking) if report.fault)]
        rival = rival_of(await ledger_of(site, project), live)
        return site.page(
            "model.html", project, "model", rows=metric_rows(live, rival), rival=rival, comparison=comparison(live, rival),
            titles=titles, backtest=live.evaluation.get("backtest"), fairness=live.evaluation.get("fairness"), notes=notes,
            **found,
        )  # fmt: skip

    return [model]


AREA = Area(Tab("model", "Model"), handlers)

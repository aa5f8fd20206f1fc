"""The question of a project, its key figures, and a profile of the training rows."""

from __future__ import annotations

from litestar import get
from litestar.handlers import BaseRouteHandler
from litestar.response import Template

from serve.models.loader import Model
from serve.pages.home import primary
from serve.pages.profile import described
from serve.pages.site import Area, Site, Tab
from stages.projects._base import Project
from stages.runtime.wording import count, upper_first, words


def figures(model: Model) -> list[dict[str, str]]:
    """The key figures."""
    rows, tested = model.manifest["rows"], model.evaluation.get("rows")
    return [
        {"label": "Live version", "value": model.version or "none", "note": model.stage or "not registered"},
        *primary(model.project, model.evaluation.get("metrics", {})),
        {"label": "Rows trained on", "value": count(rows), "note": f"tested on {count(tested, 'other')}" if tested else ""},
        {"label": "Kind of model", "value": upper_first(words(model.manifest["estimator"]))},
    ]


def handlers(site: Site, project: Project) -> list[BaseRouteHandler]:
    """`/<project>`."""

    @get("/")
    async def overview() -> Template:
        data, profile = await site.report(project, "data.json"), await site.report(project, "profile.json")
        notes = [report.fault for report in (data, profile) if report.fault]
        return site.page(
            "overview.html",
            project,
            "",
            figures=figures(site.model(project)),
            sources=data.content["sources"] if data.content else [],
            profile=profile.content
            and await site.cached_per_model(project, "profile", lambda model: described(project, profile.content)),
            notes=[*site.model(project).faults, *notes],
        )

    return [overview]


AREA = Area(Tab("", "Overview"), handlers)

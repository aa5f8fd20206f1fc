"""The web pages: one module per area, on what `serve.pages.site` gives all of them.

A page is an area in `AREAS`: a tab, and handlers that answer with `site.page("template.html", project, "tab", ...)`.
"""

from __future__ import annotations

from typing import Any

from litestar import Router

from serve.api.problems import HANDLERS
from serve.pages import history, home, market, model, monitoring, overview, predict, sign_in
from serve.pages.site import OPT, Area, Site, failed
from serve.service import Service
from stages.projects._base import Project

AREAS: tuple[Area, ...] = (  # in the order of the tabs
    overview.AREA, predict.AREA, market.AREA, model.AREA, history.AREA, monitoring.AREA,
)  # fmt: skip
FAILED: Any = dict.fromkeys(HANDLERS, failed)


def make_site(service: Service, projects: list[Project]) -> Site:
    """The pages of these projects."""
    return Site(service, projects, AREAS)


def page_routes(site: Site) -> list[Any]:
    """Home, sign-in, static files, and the pages of every project."""
    routers = [
        Router(
            f"/{project.name}",
            route_handlers=[handler for area in site.areas for handler in area.handlers(site, project)],
            exception_handlers=FAILED,
            include_in_schema=False,
            opt={**OPT, "project": project.name},
        )
        for project in site.projects
    ]
    shared = Router(
        "/",
        route_handlers=[*home.handlers(site), *sign_in.handlers(site)],
        exception_handlers=FAILED,
        include_in_schema=False,
        opt=OPT,
    )
    return [shared, *routers, *site.assets.routes()]

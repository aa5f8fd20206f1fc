"""What every page is made from: its template, the navigation, and the reports of the model that serves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler
from litestar.plugins.jinja import JinjaTemplateEngine
from litestar.response import Redirect, Template

from serve.api.middleware import HEADERS as API_HEADERS
from serve.api.middleware import identify
from serve.api.prefix import full_path
from serve.api.problems import STATUS, ProblemError, http_response, plain_response, problem_response, unexpected_response
from serve.api.protection import NO_STORE
from serve.api.telemetry import request_id
from serve.models.loader import Model
from serve.models.reports import ReportError, read_report
from serve.pages.assets import CACHEABLE, Assets
from serve.pages.format import FILTERS
from serve.service import Service
from stages.projects._base import Project

HEADERS = [*CACHEABLE, NO_STORE]
OPT = {"page": True, "headers": HEADERS}  # of every handler of a page: it asks for a key and carries these headers
TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class Tab:
    """A page of a project: the last part of its address, and when there is such a page."""

    path: str
    title: str
    shown: Callable[[Site, str], bool] = lambda site, name: True


@dataclass(frozen=True)
class Area:
    """A module of pages: its tab, and its handlers under `/<project>`."""

    tab: Tab
    handlers: Callable[[Site, Project], list[BaseRouteHandler]]


@dataclass(frozen=True)
class Report:
    """What a JSON report says, None where the pipeline made none or it cannot be shown, and then why."""

    content: Any
    fault: str = ""

    @classmethod
    def read(cls, path: Path, model: Model) -> Report:
        try:
            return cls(read_report(path, model.manifest))
        except ReportError as error:
            return cls(None, f"{error}.")


class Site:
    """The pages of one server."""

    def __init__(self, service: Service, projects: list[Project], areas: Sequence[Area]) -> None:
        self.service = service
        self.projects = projects
        self.areas = areas
        self.root = service.settings.root_path
        self.assets = Assets(self.root)
        self._made: dict[tuple[str, str], tuple[Model, Any]] = {}

    def page(
        self, template: str, project: Project | None = None, tab: str = "", status: int = 200, **context: Any
    ) -> Template:
        """A page: its template with what every page shows, the navigation and what is known of the project's model."""
        answerer = self.service.active.get(project.name) if project else None
        shared = {
            "projects": [{"name": other.name, "title": other.title, "href": self.home_of(other)} for other in self.projects],
            "project": project,
            "model": answerer.model if answerer else None,
            "tabs": self.tabs(project) if project else [],
            "tab": tab,
            "keys": bool(self.service.settings.api_keys),
            "notes": answerer.model.faults if answerer else (),
        }
        return Template(template, context=shared | context, status_code=status)

    def tabs(self, project: Project) -> list[dict[str, str]]:
        """The tabs of a project that have something to show."""
        tabs = [area.tab for area in self.areas if area.tab.shown(self, project.name)]
        return [
            {"path": tab.path, "title": tab.title, "href": f"{self.root}/{project.name}/{tab.path}".rstrip("/")}
            for tab in tabs
        ]

    def home_of(self, project: Project) -> str:
        """The address of the first page of a project."""
        return self.tabs(project)[0]["href"]

    def model(self, project: Project) -> Model:
        """The model that serves; ProblemError 503 while there is none."""
        return self.service.answerer(project.name).model

    async def report(self, project: Project, file: str) -> Report:
        """A JSON report about the model that serves."""
        path = self.service.settings.root / "reports" / project.name / file
        found: Report = await self.cached_per_model(project, file, lambda model: Report.read(path, model))
        return found

    async def cached_per_model(self, project: Project, key: str, make: Callable[[Model], Any]) -> Any:
        """The result of `make` for the model that serves, computed in a thread once per loaded model and key."""
        model = self.model(project)
        known = self._made.get((project.name, key))
        if known is None or known[0] is not model:
            known = self._made[project.name, key] = model, await asyncio.to_thread(make, model)
        return known[1]


def failed(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """The response to an error on a page: an error page for a browser, a redirect to the sign-in where a key is missing,
    problem details for every other client.
    """
    if isinstance(error, ProblemError):
        response = problem_response(request, error)
    elif isinstance(error, tuple(STATUS)):
        response = plain_response(request, error)
    elif isinstance(error, HTTPException):
        response = http_response(request, error)
    else:
        response = unexpected_response(request, error)
    if not wants_html(request):
        return response
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        address = full_path(request) + (f"?{request.url.query}" if request.url.query else "")
        return Redirect(f"{request.app.state.settings.root_path}/sign-in?next={quote(address)}", status_code=303)
    problem = msgspec.json.decode(response.content)
    page = request.app.state.site.page("error.html", status=response.status_code, problem=problem)
    page.headers.update({key: value for key, value in response.headers.items() if key.lower() == "retry-after"})
    return page


def not_found(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    """The answer to an unknown path or method. The router gives it before any middleware runs, so what `RequestMiddleware`
    does is done here: headers, an id, counting.
    """
    response = failed(request, error)
    if not request_id.get():
        headers = HEADERS if wants_html(request) else API_HEADERS
        response.headers.update({name.decode(): value.decode() for name, value in headers})
        response.headers["x-request-id"] = identify(request.scope)
        request.app.state.service.metrics.count_request("", "", response.status_code, 0.0)
    return response


def wants_html(request: Request[Any, Any, Any]) -> bool:
    """Whether a browser asks for a page."""
    return "text/html" in request.headers.get("accept", "")


def templates(root: str = "", static: str = "") -> JinjaTemplateEngine:
    """The template engine, with the prefix of all addresses and that of the static files: everything is escaped, and a name
    that is not there is an error.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.globals |= {"root": root, "static": static}
    environment.filters |= FILTERS
    environment.policies["json.dumps_function"] = to_json  # `tojson` escapes the rest: <, >, & and '
    environment.policies["json.dumps_kwargs"] = {}
    return JinjaTemplateEngine.from_environment(environment)


def to_json(value: Any) -> str:
    """JSON for a script block: NaN is null, and there are no line separators, which JavaScript took for ends of lines."""
    return msgspec.json.encode(value).decode().replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")

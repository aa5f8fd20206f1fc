"""The market of a project that estimates prices: asking prices, and the adverts that the model would price differently."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

import msgspec
from litestar import Request, Response, get
from litestar.handlers import BaseRouteHandler
from litestar.response import Template

from serve.api.compression import Compressed
from serve.api.problems import ProblemError
from serve.pages.site import Area, Site, Tab
from stages.projects._base import Project


@dataclass(frozen=True)
class Market:
    """What the page says of market.json, and the adverts as they are sent to the browser, which filters them."""

    total: int
    drawn: int
    coverage: float
    dimensions: list[dict[str, Any]]
    price: dict[str, int]
    adverts: Compressed


def read_market(found: dict[str, Any]) -> Market:
    """The market that market.json describes."""
    dimensions = [
        {key: value for key, value in dimension.items() if key != "values"}
        | ({} if "levels" in dimension else limits(dimension["values"]))
        for dimension in found["dimensions"]
    ]
    adverts = Compressed("application/json", gzip.compress(msgspec.json.encode(found), mtime=0))
    return Market(found["total"], found["drawn"], found["coverage"], dimensions, limits(found["price"]), adverts)


def limits(values: list[float | None]) -> dict[str, int]:
    """Whole numbers that hold the values between them."""
    known = [value for value in values if value is not None]
    return {"least": floor(min(known, default=0)), "greatest": ceil(max(known, default=0))}


def has_market(site: Site, name: str) -> bool:
    """Whether there is a market to show."""
    project = next(project for project in site.projects if project.name == name)
    return bool(project.market) and (site.service.settings.root / "reports" / name / "market.json").exists()


def handlers(site: Site, project: Project) -> list[BaseRouteHandler]:
    """`/<project>/market` and its adverts, for a project that has a market."""

    async def market() -> Market:
        report = await site.report(project, "market.json")
        if report.content is None:
            none = f"{project.title} has no market data: run `dvc repro explain@{project.name}`."
            raise ProblemError(404, report.fault or none)
        found: Market = await site.cached_per_model(project, "market", lambda model: read_market(report.content))
        return found

    @get("/market")
    async def page() -> Template:
        columns = [{"name": column.name, "title": column.title, "unit": column.unit} for column in project.columns]
        return site.page("market.html", project, "market", market=await market(), columns=columns)

    @get("/market/data")
    async def data(request: Request[Any, Any, Any]) -> Response[bytes]:
        return (await market()).adverts.response(request)

    return [page, data] if project.market else []


AREA = Area(Tab("market", "Market", has_market), handlers)

"""The reports of `python -m stages.drift`, and Evidently's pages, which run scripts of their own inside a frame that can
reach neither this site nor the network.
"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from litestar import Request, Response, get
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath
from litestar.response import Redirect, Template

from serve.api.prefix import full_path
from serve.api.problems import ProblemError
from serve.api.protection import security_headers
from serve.pages.site import Site
from stages.projects._base import Project

SHOWN = 20
# The page that holds the frame: as every page, but for the frame.
FRAMING = security_headers(
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; "
    b"form-action 'self'; frame-ancestors 'none'; frame-src 'self'"
)
# What is framed. Sandboxed, it has an origin of its own: no cookies, no access to the page around it. Its scripts are inline
# and compile code, but nothing may be loaded or sent.
FRAMED = [
    (name, value)
    for name, value in security_headers(
        b"default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:; "
        b"font-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; sandbox allow-scripts"
    )
    if name != b"x-frame-options"  # it would also forbid this site to frame the page
]


class Report(NamedTuple):
    """A drift check: the name of its batch, when it was made if the report says so, its verdict and reason, and the page it
    may have.
    """

    batch: str
    time: datetime | None
    verdict: str
    reason: str
    page: Path | None


def read_drift_reports(folder: Path) -> list[Report]:
    """The latest reports in a folder, the newest first; last those that do not say when they were made. The time of a file
    does not tell: in a clone it is that of the clone.
    """
    reports = [read_drift_report(path) for path in sorted(folder.glob("*.json"))]
    return sorted(reports, key=lambda report: report.time or datetime.min.replace(tzinfo=UTC), reverse=True)[:SHOWN]


def read_drift_report(path: Path) -> Report:
    """A report; one that is no JSON says so."""
    try:
        found: Any = json.loads(path.read_bytes())
    except ValueError:
        found = {"reason": "The file is no JSON."}
    said = found if isinstance(found, dict) else {}
    page = path.with_suffix(".html")
    verdict, reason = (str(said.get(key, "")) for key in ("verdict", "reason"))
    return Report(path.stem, read_time(said.get("time")), verdict, reason, page if page.is_file() else None)


def read_time(text: Any) -> datetime | None:
    """A time in ISO form with its zone, None for anything else."""
    try:
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC) if time.tzinfo else None
    except (TypeError, ValueError, OverflowError):
        return None


def page_of(folder: Path, batch: str) -> bytes:
    """Evidently's page on a batch. It is looked up among the existing files: no name leads out of the folder."""
    pages = {path.stem: path for path in folder.glob("*.html") if path.is_file() and not path.is_symlink()}
    if batch not in pages:
        raise ProblemError(404, f"There is no drift report of a batch {batch!r}.")
    return pages[batch].read_bytes()


def report_handlers(site: Site, project: Project) -> list[BaseRouteHandler]:
    """`/<project>/monitoring/drift/<batch>`, and what it frames."""
    folder = site.service.settings.root / "reports" / project.name / "drift"

    @get("/monitoring/drift/{batch:str}", opt={"headers": FRAMING})
    async def report(batch: FromPath[str]) -> Template:
        await asyncio.to_thread(page_of, folder, batch)
        return site.page("drift_report.html", project, "monitoring", batch=batch)

    @get("/monitoring/drift/{batch:str}/page", opt={"headers": FRAMED}, media_type="text/html")
    async def framed(request: Request[Any, Any, Any], batch: FromPath[str]) -> Response[Any]:
        page = await asyncio.to_thread(page_of, folder, batch)
        if request.headers.get("sec-fetch-dest", "iframe") != "iframe":  # opened by itself it could lead elsewhere
            return Redirect(full_path(request).removesuffix("/page"), status_code=303)
        return Response(page, media_type="text/html")

    return [report, framed]

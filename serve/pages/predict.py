"""Predicting one row from a form, asking what if, comparing, and predicting a file."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from litestar import Request, get, post
from litestar.handlers import BaseRouteHandler
from litestar.response import Stream, Template

from serve.api.bodies import read_body, read_file, read_threshold
from serve.api.problems import ProblemError
from serve.api.telemetry import request_id
from serve.models.answers import RISK_BOUNDS, Classified, Valued, encode
from serve.models.files import FileProgress, csv_lines
from serve.models.loader import Model
from serve.pages.form import form_fields, ranges
from serve.pages.site import Area, Site, Tab
from serve.service import UnavailableError
from stages.projects._base import Project

SYNTHETIC = "synthetic.json"


class Tried(msgspec.Struct, omit_defaults=True):
    """What the model says of a row that was tried out: a probability, or a value with its interval."""

    score: float
    lower: float | None = None
    upper: float | None = None


def tried(answer: Classified | Valued) -> Tried:
    """The numbers of an answer."""
    if isinstance(answer, Classified):
        return Tried(answer.probability)
    return Tried(answer.prediction, answer.interval.lower, answer.interval.upper)


def script_data(model: Model, fields: list[dict[str, Any]], samples: dict[str, Any] | None, max_file: int) -> dict[str, Any]:
    """What the page's scripts need to know."""
    project, area = model.project, next((field for field in fields if field["unit"] == "square feet"), None)
    classifies = project.task == "classification"
    labels = [project.labels.get(at, str(at)) for at in (0, 1)] if classifies else []
    outcome = project.record.model_fields[project.target].title or project.target
    return {
        "project": project.name,
        "classifies": classifies,
        "outcome": f"Probability of “{labels[1]}”" if classifies else outcome,
        "unit": project.unit,
        "labels": labels,
        "threshold": model.threshold if classifies else None,
        "risk_bounds": RISK_BOUNDS if project.is_risk else None,
        "fields": [{key: value for key, value in field.items() if key != "known"} for field in fields],
        "ranges": ranges(samples["rows"], fields) if samples else {},
        "percentiles": samples["percentiles"] if samples else [],
        "max_file": max_file,
        "area": area["name"] if area else None,
    }


async def progress_lines(first: FileProgress, parts: AsyncIterator[FileProgress]) -> AsyncIterator[bytes]:
    """The prediction of a file as lines of JSON; the last one says why it stopped early, if it did."""
    yield encode(first) + b"\n"
    try:
        async for part in parts:
            yield encode(part) + b"\n"
    except UnavailableError as error:
        yield encode({"error": str(error)}) + b"\n"


def handlers(site: Site, project: Project) -> list[BaseRouteHandler]:
    """`/<project>/predict`, a made-up row to fill the form with, and answers that are not logged."""

    @get("/predict")
    async def predict() -> Template:
        samples = (await site.report(project, SYNTHETIC)).content
        fields = await site.cached_per_model(project, "form", form_fields)
        data = script_data(site.model(project), fields, samples, site.service.settings.max_file)
        return site.page(
            "predict.html", project, "predict", fields=fields, example=project.example_row, data=data, sampled=bool(samples)
        )

    @get("/predict/sample")
    async def sample() -> dict[str, Any]:
        samples = await site.report(project, SYNTHETIC)
        if not samples.content:
            none = f"There are no rows to draw from: run `dvc repro explain@{project.name}`."
            raise ProblemError(404, samples.fault or none)
        row: dict[str, Any] = random.choice(samples.content["rows"])  # noqa: S311 - not for security
        return row

    @get("/predict/template", media_type="text/csv")
    async def template() -> str:
        names = [column.name for column in project.columns]
        return csv_lines([names, [project.example_row.get(name, "") for name in names]])

    @post("/predict/file", status_code=200)
    async def predict_file(request: Request[Any, Any, Any]) -> Stream:
        threshold, content = read_threshold(request), await read_file(request)
        parts = site.service.predict_file(project.name, content, threshold, request_id.get())
        first = await anext(parts)  # which refuses what is no table, before the response begins
        headers = {"X-Accel-Buffering": "no"}  # nginx is to send on every part when it comes
        return Stream(progress_lines(first, parts), media_type="application/x-ndjson", headers=headers)

    @post("/predict/try", status_code=200)
    async def try_out(request: Request[Any, Any, Any]) -> list[Tried]:
        return [tried(answer) for answer in await site.service.try_rows(project.name, await read_body(request))]

    return [predict, sample, template, predict_file, try_out]


AREA = Area(Tab("predict", "Predict"), handlers)

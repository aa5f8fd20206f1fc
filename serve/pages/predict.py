"""Predicting one row from a form, asking what if, comparing, and predicting a file."""

from __future__ import annotations

import random
from typing import Any

import msgspec
from litestar import Request, get, post
from litestar.handlers import BaseRouteHandler
from litestar.response import Template

from serve.api.problems import ProblemError
from serve.api.routes import read_body
from serve.models.answers import RISK_LEVELS, Classified, Valued
from serve.models.loader import Model
from serve.pages.form import form_fields, ranges
from serve.pages.site import Area, Site, Tab
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


def script_data(
    model: Model, fields: list[dict[str, Any]], samples: dict[str, Any] | None, max_batch: int
) -> dict[str, Any]:
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
        "levels": [limit for limit, _ in RISK_LEVELS[:-1]],
        "fields": [{key: value for key, value in field.items() if key != "known"} for field in fields],
        "ranges": ranges(samples["rows"], fields) if samples else {},
        "percentiles": samples["percentiles"] if samples else [],
        "area": area["name"] if area else None,
        "max_batch": max_batch,
    }


def handlers(site: Site, project: Project) -> list[BaseRouteHandler]:
    """`/<project>/predict`, a made-up row to fill the form with, and answers that are not logged."""
    settings = site.service.settings

    @get("/predict")
    async def predict() -> Template:
        samples = (await site.report(project, SYNTHETIC)).content
        fields = await site.cached_per_model(project, "form", form_fields)
        data = script_data(site.model(project), fields, samples, settings.max_batch)
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

    @post("/predict/try", status_code=200)
    async def try_out(request: Request[Any, Any, Any]) -> list[Tried]:
        return [tried(answer) for answer in await site.service.try_rows(project.name, await read_body(request))]

    return [predict, sample, try_out]


AREA = Area(Tab("predict", "Predict"), handlers)

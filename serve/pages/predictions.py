"""The log of predictions, and a page for each: input, output, explanation, and how to reproduce it."""

from __future__ import annotations

import shlex
from typing import Any

import msgspec
from litestar import Request, get
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath
from litestar.response import Redirect, Template

from serve.api.messages import Logged, logged, logged_page
from serve.api.protection import over_https
from serve.models.errors import InvalidInputError
from serve.pages.charts.specs import Chart, axis, bars
from serve.pages.format import given as written
from serve.pages.ledger import commit_links, is_commit
from serve.pages.site import Site
from serve.service import NotFoundError, UnavailableError
from stages.projects._base import Project
from stages.runtime.wording import number, percent, signed, significant, upper_first

PAGE = 50
SCALES = {"log_odds": "Log-odds", "probability": "Probability", "log": "Logarithm of the value"}
UP, DOWN = "pushes up", "pushes down"


def answer(found: dict[str, Any]) -> str:
    """A logged answer in a few words."""
    if "probability" in found:
        return f"{found.get('label', found.get('prediction'))} ({percent(found['probability'])})"
    return number(found.get("prediction"), str(found.get("unit", "")))


def output_rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    """What was answered, by name."""
    unit = str(found.get("unit", ""))
    rows = []
    if "probability" in found:
        rows += [("Answer", str(found.get("label"))), ("Probability", percent(found["probability"]))]
        rows += [("Threshold", percent(found.get("threshold")))]
        rows += [("Risk level", str(found["risk_level"]))] if "risk_level" in found else []
        rows += [("Confidence", percent(found.get("confidence")))]
    else:
        rows.append(("Value", number(found.get("prediction"), unit)))
        if interval := found.get("interval"):
            bounds = f"{number(interval['lower'], unit)} to {number(interval['upper'], unit)}"
            rows.append((f"Interval that holds {percent(interval['coverage'])} of true values", bounds))
    return rows + [("Warning", text) for text in found.get("warnings", ())]


def outcome(value: float, project: Project) -> str:
    """A reported outcome."""
    return project.labels.get(int(value), str(value)) if project.task == "classification" else number(value, project.unit)


def contributions(explained: dict[str, Any], project: Project) -> Chart:
    """The contribution of each field to the prediction."""
    columns = {column.name: column for column in project.columns}
    found = explained["contributions"]
    scale = SCALES.get(explained["scale"], project.unit)
    named = [f"{upper_first(each['title'])}: {short(written(each['value'], columns.get(each['field'])))}" for each in found]
    rows = [
        {"field": name, "effect": each["contribution"], "pushes": UP if each["contribution"] >= 0 else DOWN}
        for name, each in zip(named, found, strict=True)
    ]
    directions = {"domain": [UP, DOWN], "range": ["var(--up)", "var(--down)"]}
    spec = bars(rows, "field", axis("effect", scale), color={"field": "pushes", "title": None, "scale": directions})
    percents = any(each["percent"] is not None for each in found)
    changes = [[signed(percent(each["percent"] / 100))] if percents else [] for each in found]
    return Chart(
        "contributions", "Contributions to the prediction",
        f"With the base of {significant(explained['base'], 4)} they add up to {significant(explained['output'], 4)}.",
        spec,
        ("Field", "Contribution", *(["Change of the value"] if percents else [])),
        [
            (name, signed(significant(each["contribution"], 4)), *more)
            for name, each, more in zip(named, found, changes, strict=True)
        ],
    )  # fmt: skip


def short(text: str) -> str:
    """A text that fits beside a chart."""
    return text if len(text) <= 40 else f"{text[:39]}…"


def replay_command(request: Request[Any, Any, Any], prediction_id: str) -> str:
    """The command that reproduces a prediction, with the address that the browser used."""
    root = request.app.state.settings.root_path
    url = f"{'https' if over_https(request) else 'http'}://{request.url.netloc}{root}"
    return shlex.join(["python", "-m", "stages.replay", prediction_id, "--url", url])


def prediction_handlers(site: Site, project: Project) -> list[BaseRouteHandler]:
    """`/<project>/predictions`, and `/<project>/predictions/<id>`."""
    service, name = site.service, project.name

    async def explain(found: Logged) -> tuple[Chart | None, list[str], str]:
        """The explanation as a chart and in words, or why there is none."""
        answerer = service.active.get(name)
        if answerer is None or answerer.model.hash != found.hash:
            return None, [], "Another model serves now; only the model that made the prediction can explain it."
        try:
            explained = msgspec.json.decode(await service.explain(name, msgspec.json.encode(found.input)))
        except (InvalidInputError, UnavailableError) as error:
            return None, [], str(error)
        return contributions(explained, project), explained["reasons"], ""

    @get("/predictions")
    async def predictions(request: Request[Any, Any, Any]) -> Template | Redirect:
        wanted, missing = request.query_params.get("id", "").strip(), False
        if wanted:
            try:
                entry, _ = await service.prediction(wanted)
                return Redirect(f"{site.root}/{entry.project}/predictions/{entry.id}", status_code=303)
            except NotFoundError:
                missing = True
        after = request.query_params.get("after")
        page = logged_page(await service.page(name, PAGE, after), PAGE)
        return site.page(
            "predictions.html", project, "monitoring", status=404 if missing else 200, log=page.predictions,
            older=page.after, first=after is None, wanted=wanted, missing=missing, answer=answer,
        )  # fmt: skip

    @get("/predictions/{prediction_id:str}")
    async def prediction(request: Request[Any, Any, Any], prediction_id: FromPath[str]) -> Template:
        found = logged(*await service.prediction(prediction_id))
        if found.project != name:
            raise NotFoundError(f"Prediction {prediction_id!r} is one of {found.project}.")
        chart, reasons, unexplained = await explain(found)
        columns = {column.name: column for column in project.columns}
        given = [
            (columns[key].title if key in columns else key, written(value, columns.get(key)))
            for key, value in found.input.items()
        ]
        return site.page(
            "prediction.html", project, "monitoring", found=found, answer=answer(found.output), given=given,
            output=output_rows(found.output), chart=chart, reasons=reasons, unexplained=unexplained,
            outcomes=[(f"{each.time:%Y-%m-%d %H:%M:%S} UTC", outcome(each.outcome, project)) for each in found.outcomes],
            command=replay_command(request, found.prediction_id), commits=await commit_links(site), is_commit=is_commit,
        )  # fmt: skip

    return [predictions, prediction]

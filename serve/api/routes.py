"""The routes: those of each project, made from its row schema, and those of the server as a whole."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, Router, delete, get, post
from litestar.handlers import BaseRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, Parameter
from litestar.types import ASGIApp, Receive, Scope, Send

from serve.api.bodies import Call, read_body, read_threshold
from serve.api.idempotency import read_key
from serve.api.messages import FeedbackKept, Logged, Page, logged, logged_page, read_feedback
from serve.api.problems import MEDIA_TYPE, Problem, ProblemError
from serve.api.protection import audited, require_admin
from serve.api.telemetry import request_id
from serve.models.answers import Explained, answer_type
from serve.models.history import History
from serve.models.loader import LoadError, Model
from serve.models.stability import Drift
from serve.service import Service
from stages.projects._base import Project

UUID = r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
Limit = Annotated[int, Parameter(ge=1, le=1000, description="How many to return.")]
After = Annotated[str | None, Parameter(pattern=UUID, description="The last id of the previous page.")]


class Health(msgspec.Struct):
    """`degraded` comes with the reasons."""

    status: Literal["healthy", "degraded"]
    reasons: list[str]


class Ready(msgspec.Struct):
    """Whether each project is loaded, predictions can be logged, and the server is about to stop."""

    ready: bool
    log: bool
    stopping: bool
    projects: dict[str, bool]


class ProjectInfo(msgspec.Struct):
    """A project and the model that serves it; `failure` says why the newest artifacts do not."""

    name: str
    title: str
    question: str
    task: str
    target: str
    unit: str
    loaded: bool
    failure: str | None = None
    version: str | None = None
    stage: str | None = None
    revision: str | None = None
    hash: str | None = None
    loaded_at: datetime | None = None
    simulated_data: bool | None = None
    metrics: dict[str, Any] = {}
    manifest: dict[str, Any] = {}


def problems(*statuses: int) -> dict[int, ResponseSpec]:
    """OpenAPI's description of the errors that a route can answer with."""
    return {
        status: ResponseSpec(Problem, description="Problem details", media_type=MEDIA_TYPE, generate_examples=False)
        for status in sorted({*statuses, 401, 422, 429, 503})
    }


BODY_PROBLEMS = problems(400, 413, 415)


def json_bytes(body: bytes) -> ASGIApp:
    """A response whose JSON is encoded already: Litestar's own response would take longer than the prediction."""
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]

    async def respond(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    return respond


def answered(body: Any) -> dict[int, ResponseSpec]:
    """OpenAPI's description of an answer that is sent as bytes."""
    return {200: ResponseSpec(body, description="The answer", generate_examples=False)}


def project_info(service: Service, project: Project, *, whole: bool) -> ProjectInfo:
    """What is known of a project; if `whole`, with the manifest and all metrics."""
    name = project.name
    answerer = service.active.get(name)
    info = ProjectInfo(
        name, project.title, project.question, project.task, project.target, project.unit, answerer is not None,
        failure=service.failures.get(name),
    )  # fmt: skip
    if answerer is not None:
        model: Model = answerer.model
        info.version, info.revision, info.hash = model.version, model.revision, model.hash
        info.stage, info.loaded_at = model.stage, model.loaded_at
        info.simulated_data = model.manifest["data"]["simulated"]
        metrics = model.evaluation.get("metrics", {})
        info.metrics = metrics if whole else {key: metrics[key] for key in [project.primary_metric] if key in metrics}
        info.manifest = model.manifest if whole else {}
    return info


def project_router(project: Project, service: Service) -> Router:
    """All routes of one project."""
    name = project.name
    answer: Any = answer_type(project)
    answers = msgspec.defstruct(f"{answer.__name__}Batch", [("predictions", list[answer])])
    by_hand = {"query": ["threshold"] if project.task == "classification" else []}  # see `read_threshold`

    @post(
        "/predict",
        status_code=200,
        opt=by_hand,
        responses=answered(answer) | BODY_PROBLEMS | problems(409),
        summary=f"{project.title}: predict one row",
    )
    async def predict(request: Call) -> ASGIApp:
        body, threshold = await read_body(request), read_threshold(request)
        return json_bytes(await service.predict(name, body, threshold, request_id.get(), read_key(request, name, body)))

    @post(
        "/predict/batch",
        status_code=200,
        opt=by_hand,
        responses=answered(answers) | BODY_PROBLEMS | problems(409),
        summary=f"{project.title}: predict many rows",
    )
    async def predict_batch(request: Call) -> ASGIApp:
        body, threshold = await read_body(request), read_threshold(request)
        key = read_key(request, name, body)
        return json_bytes(await service.predict_batch(name, body, threshold, request_id.get(), key))

    @post(
        "/explain",
        status_code=200,
        responses=answered(Explained) | BODY_PROBLEMS,
        summary=f"{project.title}: explain one row",
    )
    async def explain(request: Call) -> ASGIApp:
        return json_bytes(await service.explain(name, await read_body(request)))

    @post(
        "/feedback",
        status_code=200,
        responses=BODY_PROBLEMS | problems(404),
        summary="Report the true outcome of a prediction",
    )
    async def feedback(request: Call) -> FeedbackKept:
        given = read_feedback(await read_body(request), project)
        reported = await service.feedback(name, given.prediction_id, given.outcome)
        return FeedbackKept(given.prediction_id, given.outcome, corrections=len(reported) - 1)

    @get("/", responses=problems(), summary=f"{project.title}: the model that serves, its metrics and manifest")
    async def detail() -> ProjectInfo:
        return project_info(service, project, whole=True)

    @get("/card", media_type="text/markdown", responses=problems(404), summary="The model card as Markdown")
    async def card() -> str:
        text = service.answerer(name).model.card
        if not text:
            raise ProblemError(404, f"{name} has no model card: run `dvc repro explain@{name}`.")
        return text

    @get("/history", responses=problems(), summary="Decisions about the models with their reasons, newest first")
    async def history(limit: Limit = 50) -> History:
        return service.history(name, limit)

    @get("/drift", responses=problems(), summary="How far the latest predictions are from the training rows")
    async def drift() -> Drift:
        return await service.drift(name)

    @get("/predictions", responses=problems(), summary="Logged predictions with their outcomes, newest first")
    async def predictions(limit: Limit = 50, after: After = None) -> Page:
        return logged_page(await service.page(name, limit, after), limit)

    @post(
        "/reload",
        status_code=200,
        guards=[require_admin],
        responses=problems(403, 409),
        summary="Load the model that is checked out",
    )
    async def reload(request: Call) -> ProjectInfo:
        with audited(request, f"reload of {name}"):
            try:
                await service.load(name)
            except LoadError as error:
                raise ProblemError(409, f"{error}. What served before still serves.") from None
        return project_info(service, project, whole=False)

    handlers: list[BaseRouteHandler] = [
        predict, predict_batch, explain, feedback, detail, card, history, drift, predictions, reload,
    ]  # fmt: skip
    return Router(f"/{name}", route_handlers=handlers, tags=[project.title], opt={"project": name})


def server_routes(service: Service, projects: list[Project]) -> list[BaseRouteHandler]:
    """The routes under /v1 that belong to no single project."""

    @get("/projects", responses=problems(), summary="The projects and the models that serve them")
    async def list_projects() -> list[ProjectInfo]:
        return [project_info(service, project, whole=False) for project in projects]

    @post(
        "/reload",
        status_code=200,
        guards=[require_admin],
        responses=problems(403, 409),
        summary="Load every model that is checked out",
    )
    async def reload_all(request: Call) -> list[ProjectInfo]:
        failed = []
        with audited(request, "reload of all projects"):
            for project in projects:
                try:
                    await service.load(project.name)
                except LoadError as error:
                    failed.append(f"{project.name}: {error}")
            if failed:
                raise ProblemError(409, f"{'; '.join(failed)}. What served before still serves; the others were reloaded.")
        return [project_info(service, project, whole=False) for project in projects]

    @get("/predictions/{prediction_id:str}", responses=problems(404), summary="One logged prediction with its outcomes")
    async def one_prediction(prediction_id: FromPath[str]) -> Logged:
        return logged(*await service.prediction(prediction_id))

    @delete(
        "/predictions/{prediction_id:str}", status_code=204, guards=[require_admin], responses=problems(403, 404),
        summary="Erase a prediction and its feedback",
    )  # fmt: skip
    async def erase(request: Call, prediction_id: FromPath[str]) -> None:
        with audited(request, f"erasure of prediction {prediction_id!r}"):
            await service.erase(prediction_id)

    return [list_projects, reload_all, one_prediction, erase]


def v1_router(service: Service, projects: list[Project]) -> Router:
    """Everything under /v1."""
    routers = [project_router(project, service) for project in projects]
    return Router("/v1", route_handlers=[*server_routes(service, projects), *routers])


def status_routes(service: Service) -> list[BaseRouteHandler]:
    """Health and readiness: open, so that monitoring needs no key."""

    @get("/health", tags=["Server"], summary="Healthy or degraded, with reasons; always 200")
    async def health() -> Health:
        reasons = service.health()
        return Health("degraded" if reasons else "healthy", reasons)

    @get(
        "/ready",
        tags=["Server"],
        responses={503: ResponseSpec(Ready, generate_examples=False)},
        summary="503 until every model is loaded, while no prediction can be logged, and before a stop",
    )
    async def ready() -> Response[Ready]:
        loaded = {name: name in service.active for name in service.names}
        log = not service.settings.log or service.log.stats().writable
        stopping = service.stopping
        found = Ready(log and all(loaded.values()) and not stopping, log, stopping, loaded)
        return Response(found, status_code=200 if found.ready else 503)

    return [health, ready]


def metrics_route(service: Service) -> BaseRouteHandler:
    """The metrics, open as well."""

    @get("/metrics", media_type="text/plain; version=0.0.4", tags=["Server"], summary="Metrics for Prometheus")
    async def metrics() -> bytes:
        return service.rendered_metrics()

    return metrics

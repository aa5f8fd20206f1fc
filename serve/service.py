"""What the routes do, without HTTP: predict, explain, log, load."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import msgspec

from serve.api.messages import Feedback, FeedbackKept, Logged, Page, Reported, logged
from serve.api.problems import FieldError, ProblemError
from serve.api.telemetry import Metrics
from serve.log.prediction_log import Overloaded, PredictionLog, Unavailable
from serve.models.answers import Answered, Answerer, Classified, TooExtremeError, Valued
from serve.models.fallback import MicroBatcher, PipelineScorer
from serve.models.history import History, read_ledger
from serve.models.loader import LoadError, Model, load_model
from serve.models.rows import MALFORMED, Row, first_error, malformed, wrong_fields
from serve.models.stability import Drift, compare
from serve.settings import Settings
from stages.projects._base import Project, project_names

logger = logging.getLogger("serve")

SLICE = 100  # rows of a batch worked on at a time, between which single rows get their turn
BUSY = {"Retry-After": "1"}
PURGE_EVERY = 3600.0
DRIFT_EVERY = 60.0
DRIFT_FRESH = 2.0  # seconds for which an answer is given again, so that asking often costs nothing


class Service:
    """The models that serve, the log, and the work on requests."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.names = settings.projects or project_names()
        self.active: dict[str, Answerer] = {}
        self.failures: dict[str, str] = {}
        self.log = PredictionLog(
            settings.database_url,
            spill_path=settings.spill_path,
            max_queue=settings.max_queue,
            on_commit=self._observe_commit,
        )
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="batch")
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._tasks: list[asyncio.Task[None]] = []
        self._drift: dict[str, tuple[float, Drift]] = {}
        # Looking up a labelled metric costs more than counting; there are few of each.
        self._request_metrics = lru_cache(1024)(
            lambda project, route, status: (
                self.metrics.requests.labels(project, route, status),
                self.metrics.latency.labels(project, route),
            )
        )
        self._prediction_metrics = lru_cache(1024)(self.metrics.predictions.labels)
        self._score_metrics = lru_cache(64)(
            lambda name, classifies: (self.metrics.scores if classifies else self.metrics.values).labels(name)
        )

    async def start(self) -> None:
        """Load every project, open the log. A project that fails does not keep the others from serving."""
        for name in self.names:
            try:
                await self.load(name)
            except LoadError:
                continue
        if self.settings.log:
            await self.log.start()
        gc.collect()
        gc.freeze()  # what was loaded stays: collections that walk it would stall requests for tens of milliseconds
        if self.settings.log:
            self._tasks.append(asyncio.create_task(self._watch_drift()))
        if self.settings.log and self.settings.retention_days:
            self._tasks.append(asyncio.create_task(self._purge_forever()))

    async def stop(self) -> None:
        """Write what is still queued, then let go of everything."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)  # none may be reading when the log closes: it would hang
        if self.settings.log:
            await self.log.stop(self.settings.drain_seconds)
        self._worker.shutdown()
        self._loader.shutdown()

    async def load(self, name: str) -> Model:
        """Load, verify and try what is checked out, then swap it in. LoadError leaves the old model serving."""
        try:
            model = await asyncio.get_running_loop().run_in_executor(self._loader, load_model, name, self.settings)
        except LoadError as error:
            self.failures[name] = str(error)
            logger.warning("%s: not loaded: %s", name, error)
            raise
        self.failures.pop(name, None)
        self._drift.pop(name, None)
        batcher = None
        if isinstance(model.scorer, PipelineScorer):
            batcher = MicroBatcher(model.scorer, self._worker, self.metrics.micro_batch.observe)
        self.active[name] = Answerer(model, batcher)
        self.metrics.loaded.labels(name).set(1)
        self.metrics.model.labels(name).info({"hash": model.hash, "revision": model.revision, "version": str(model.version)})
        logger.info("%s: serving %s of revision %s", name, model.hash[:12], model.revision[:12])
        return model

    def answerer(self, name: str) -> Answerer:
        """What answers for a project; ProblemError 503 while it has no model."""
        found = self.active.get(name)
        if found is None:
            reason = self.failures.get(name, "it is still loading")
            raise ProblemError(503, f"{name} has no model to serve: {reason}", headers=BUSY)
        return found

    async def predict(self, name: str, body: bytes, threshold: float | None, request_id: str) -> bytes:
        """The answer to one row as JSON, sent only after the log holds it."""
        start = time.perf_counter_ns()
        answerer = self.answerer(name)
        rows = [answerer.model.codec.read_row(body)]
        answers = await self._answer(answerer, rows, threshold, request_id, start, inline=True)
        await self._keep(name, answers)
        return answers[0].body

    async def predict_batch(self, name: str, body: bytes, threshold: float | None, request_id: str) -> bytes:
        """The answers to many rows as JSON, in their order, sent only after the log holds them all."""
        start = time.perf_counter_ns()
        answerer = self.answerer(name)
        rows = answerer.model.codec.read_batch(body)
        answers: list[Answered] = []
        for first in range(0, len(rows), SLICE):
            part = rows[first : first + SLICE]
            try:
                answers += await self._answer(answerer, part, threshold, request_id, start, inline=False)
            except TooExtremeError as error:
                raise TooExtremeError(first + error.row) from None
        await self._keep(name, answers)
        return b'{"predictions":[' + b",".join([answered.body for answered in answers]) + b"]}"

    async def try_rows(self, name: str, body: bytes) -> list[Classified | Valued]:
        """The answers to a few rows that somebody only plays with. They are neither logged nor counted: the log, and what
        watches it, are about what was really asked.
        """
        answerer = self.answerer(name)
        rows = answerer.model.codec.read_batch(body)
        if len(rows) > SLICE:
            raise wrong_fields([FieldError("rows", f"List should have at most {SLICE} items to be tried out")])
        answers = await self._answer(answerer, rows, None, "", time.perf_counter_ns(), inline=False)
        return [answered.answer for answered in answers]

    async def explain(self, name: str, body: bytes) -> bytes:
        """Why the model answers one row as it does, as JSON."""
        answerer = self.answerer(name)
        row = answerer.model.codec.read_row(body)
        answerer.model.codec.fill_date([row], datetime.now(UTC).date())
        if answerer.model.explains_slowly:
            return await asyncio.get_running_loop().run_in_executor(self._worker, answerer.explain, row)
        return answerer.explain(row)

    def read_feedback(self, body: bytes, project: Project) -> Feedback:
        """The feedback in a body; ProblemError 400 or 422, also for an outcome that the project cannot have."""
        try:
            given = msgspec.json.decode(body, type=Feedback)
        except msgspec.ValidationError as error:
            raise wrong_fields([first_error(error)]) from None
        except MALFORMED as error:
            raise malformed(error) from None
        if project.task == "classification" and given.outcome not in (0, 1):
            raise wrong_fields([FieldError("outcome", "Input should be 0 or 1")])
        return given

    async def feedback(self, name: str, given: Feedback) -> FeedbackKept:
        """Record the true outcome of a prediction; ProblemError 404 for one that is not this project's."""
        with self._reading():
            found = await self.log.get(given.prediction_id)
            history = None
            if found is not None and found.project == name:
                history = await self.log.feedback(given.prediction_id, given.outcome, datetime.now(UTC))
        if history is None:
            raise ProblemError(404, f"{name} has made no prediction {given.prediction_id!r}.")
        return FeedbackKept(given.prediction_id, given.outcome, corrections=len(history) - 1)

    def history(self, name: str, limit: int) -> History:
        """The latest decisions about a project's models; ProblemError 503 for a ledger that cannot be read."""
        try:
            return History(read_ledger(self.settings.root, name)[::-1][:limit])
        except ValueError as error:
            raise ProblemError(503, f"{error}.") from None

    async def drift(self, name: str) -> Drift:
        """How far the latest predictions are from the training rows; looked at again after `DRIFT_FRESH` seconds."""
        model = self.answerer(name).model
        seen, found = self._drift.get(name, (0.0, None))
        if found is None or time.monotonic() - seen >= DRIFT_FRESH:
            with self._reading():
                recent = await self.log.recent(name, self.settings.drift_rows)
            found = await asyncio.get_running_loop().run_in_executor(self._worker, compare, model, recent)
            self._drift[name] = time.monotonic(), found
            for shift in [*found.columns, *([found.score] if found.score else [])]:
                self.metrics.drift.labels(name, shift.column).set(shift.index)
        return found

    async def page(self, name: str, limit: int, after: str | None) -> Page:
        """Logged predictions of a project, newest first."""
        with self._reading():
            entries = await self.log.page(name, limit, after)
        return Page([logged(entry) for entry in entries], entries[-1].id if len(entries) == limit else None)

    async def prediction(self, prediction_id: str) -> Logged:
        """One logged prediction with its outcomes; ProblemError 404 for an id the log does not hold."""
        with self._reading():
            entry = await self.log.get(prediction_id)
            history = await self.log.history(prediction_id) if entry else []
        if entry is None:
            raise ProblemError(404, f"The log holds no prediction {prediction_id!r}.")
        return logged(entry, [Reported(float(item.outcome), item.time) for item in history])

    async def erase(self, prediction_id: str) -> None:
        """Delete a prediction and its feedback; ProblemError 404 for an id the log does not hold."""
        with self._reading():
            if not await self.log.delete(prediction_id):
                raise ProblemError(404, f"The log holds no prediction {prediction_id!r}.")

    def drift_state(self, name: str) -> str | None:
        """What the drift of the latest predictions was when it was last looked at, None while too few tell."""
        _, found = self._drift.get(name, (0.0, None))
        return found.state if found and found.state != "unknown" else None

    def count_request(self, project: str, route: str, status: int, seconds: float) -> None:
        """Count and time an answered request."""
        counter, histogram = self._request_metrics(project, route, status)
        counter.inc()
        histogram.observe(seconds)

    def render_metrics(self) -> bytes:
        """The text that Prometheus scrapes."""
        if self.settings.log:
            stats = self.log.stats()
            self.metrics.queue.set(stats.queued)
            self.metrics.spill.set(stats.spill_bytes)
        return self.metrics.render()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Turns what the log cannot do into problem details."""
        if not self.settings.log:
            raise ProblemError(503, "The prediction log is off (SERVE_LOG).")
        try:
            yield
        except Unavailable as error:
            raise ProblemError(503, f"The prediction log cannot be used now: {error}.", headers=BUSY) from None
        except ValueError as error:
            raise ProblemError(422, str(error), [FieldError("after", str(error))]) from None

    def health(self) -> list[str]:
        """Why the server is not all that it should be; empty when it is."""
        reasons = [f"{name}: {reason}" for name, reason in sorted(self.failures.items())]
        stats = self.log.stats() if self.settings.log else None
        if stats is not None and stats.reason:
            reasons.append(f"prediction log: {stats.reason}")
        return reasons

    async def _answer(
        self,
        answerer: Answerer,
        rows: list[Row],
        threshold: float | None,
        request_id: str,
        start: int,
        *,
        inline: bool,
    ) -> list[Answered]:
        codec, loop = answerer.model.codec, asyncio.get_running_loop()
        codec.fill_date(rows, datetime.now(UTC).date())
        if answerer.batcher is not None:
            scores = await answerer.batcher.score(codec.columns(rows))
            return answerer.answer_all(rows, scores, threshold, request_id, start)
        if inline:
            return answerer.score_all(rows, threshold, request_id, start)
        return await loop.run_in_executor(self._worker, answerer.score_all, rows, threshold, request_id, start)

    async def _keep(self, name: str, answers: list[Answered]) -> None:
        if self.settings.log:
            try:
                await self.log.append([answered.entry for answered in answers])
            except Unavailable as error:
                raise ProblemError(503, f"The prediction cannot be logged: {error}.", headers=BUSY) from None
            except Overloaded:
                raise ProblemError(503, "The prediction log cannot keep up; try again shortly.", headers=BUSY) from None
        self._count(name, answers)

    def _count(self, name: str, answers: list[Answered]) -> None:
        classifies = isinstance(answers[0].answer, Classified)
        histogram = self._score_metrics(name, classifies)
        for answer, _, entry in answers:
            kind = (answer.label, answer.risk_level) if isinstance(answer, Classified) else ("", "")
            self._prediction_metrics(name, *kind).inc()
            histogram.observe(entry.score)

    def _observe_commit(self, seconds: float, rows: int) -> None:
        self.metrics.commit_seconds.observe(seconds)
        self.metrics.commit_rows.observe(rows)

    async def _watch_drift(self) -> None:
        while True:
            for name in self.names:
                with suppress(ProblemError):  # no model, or no log to read
                    await self.drift(name)
            await asyncio.sleep(DRIFT_EVERY)

    async def _purge_forever(self) -> None:
        while True:
            try:
                before = datetime.now(UTC) - timedelta(days=self.settings.retention_days)
                if deleted := await self.log.purge(before):
                    logger.info("deleted %d predictions from before %s", deleted, before.date())
            except Unavailable as error:
                logger.warning("old predictions were not deleted: %s", error)
            await asyncio.sleep(PURGE_EVERY)

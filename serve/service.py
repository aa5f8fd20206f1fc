"""What the routes do, without HTTP: predict, explain, log, load."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from msgspec.structs import replace

from serve.ids import ids_of
from serve.log.idempotency import Key
from serve.log.prediction_log import Entry, Feedback, Outcome, Overloaded, PredictionLog, Unavailable
from serve.log.tables import microseconds
from serve.metrics import Metrics
from serve.models.answers import Answered, Answerer, Classified, Valued, encode
from serve.models.errors import FieldError, InvalidInputError, TooExtremeError, wrong_fields
from serve.models.files import FileProgress, RowsFile, begun, progress, read_rows_file, refuse, went_on
from serve.models.history import History, read_history
from serve.models.loader import LoadError, Model, deployed
from serve.models.rows import Row
from serve.models.stability import Drift, drift_of
from serve.models.trial import load_answerer
from serve.settings import Settings
from stages.projects._base import project_names

logger = logging.getLogger("serve")

TRIES, PAUSE = 20, 1.0  # for the log to have room for a part of a file: how often, and seconds between
TOO_EXTREME = "the prediction is no finite number: the values are too extreme together"
SLICE = 25  # rows of a batch worked on at a time, between which other batches and single rows get their turn
FILE_PART = 100  # rows of a file that are answered, logged and sent together
TRIED = 100  # rows that may be tried out at once
BATCHES = 2  # at work at once, so that one is scored while another is logged; the others wait, first come, first served
WATCH_EVERY = 2.0
PURGE_EVERY = 3600.0
DRIFT_EVERY = 60.0
DRIFT_FRESH = 2.0  # seconds for which a result is reused, so that frequent requests are cheap

Result = TypeVar("Result")


class UnavailableError(Exception):
    """The server cannot do this now; while it is `busy`, it soon may."""

    def __init__(self, message: str, *, busy: bool = False) -> None:
        super().__init__(message)
        self.busy = busy


class KeyBusyError(UnavailableError):
    """The first request with an idempotency key is still at work."""


class NotFoundError(LookupError):
    """There is no such prediction."""


class Service:
    """The models that serve, the log, and the work on requests."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics(log=settings.log)
        self.names = settings.projects or project_names()
        self.active: dict[str, Answerer] = {}
        self.failures: dict[str, str] = {}
        self.stopping = False  # a stop was asked for: requests are still answered
        self.faults: dict[str, str] = {}  # of what runs in the background
        self.log = PredictionLog(
            settings.database_url,
            spill_path=settings.spill_path,
            max_spill=settings.max_spill,
            max_queue=settings.max_queue,
            on_commit=self.metrics.count_commit,
        )
        # A thread for each kind of work, so that none of them waits for another kind.
        self._scoring = ThreadPoolExecutor(1, thread_name_prefix="batch")
        self._explaining = ThreadPoolExecutor(1, thread_name_prefix="explain")
        self._background = ThreadPoolExecutor(1, thread_name_prefix="background")  # models are loaded, drift is computed
        self._turns = asyncio.Semaphore(BATCHES)
        self._tasks: list[asyncio.Task[None]] = []
        self._drift: dict[str, tuple[float, Drift]] = {}
        self._deployed: dict[str, tuple[int, bytes] | None] = {}  # what was last loaded, or could not be

    async def start(self) -> None:
        """Load every project, open the log. A project that fails does not keep the others from serving."""
        for name in self.names:
            with suppress(LoadError):
                await self.load(name)
        if self.settings.log:
            await self.log.start()
        gc.collect()
        gc.freeze()  # what was loaded stays: collections that walk it would stall requests for tens of milliseconds
        self._tasks.append(asyncio.create_task(self._watch_deployments(), name="deployments"))
        if self.settings.log:
            self._tasks.append(asyncio.create_task(self._watch_drift(), name="drift"))
            self._tasks.append(asyncio.create_task(self._forget_keys(), name="keys"))
        if self.settings.log and self.settings.retention_days:
            self._tasks.append(asyncio.create_task(self._purge_regularly(), name="retention"))

    async def stop(self) -> None:
        """Write what is still queued, then close everything."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)  # none may read while the log closes: that would hang
        if self.settings.log:
            await self.log.stop(self.settings.drain_seconds)
        for executor in (self._scoring, self._explaining, self._background):
            executor.shutdown()

    async def load(self, name: str) -> Model:
        """Load, verify and try what is checked out, then swap it in. LoadError leaves the old model serving."""
        found = await self._look(name)  # before it is loaded: what is deployed meanwhile is seen the next time
        try:
            answerer = await self._in(self._background, load_answerer, name, self.settings)
        except LoadError as error:
            self._deployed[name] = found
            self.failures[name] = str(error)
            self.metrics.show_failure(name)
            logger.warning("%s: not loaded: %s", name, error)
            raise
        model = answerer.model
        self._deployed[name] = found
        self.metrics.show_model(name, model)
        self.failures.pop(name, None)
        self._drift.pop(name, None)
        self.active[name] = answerer
        for fault in model.faults:
            logger.warning("%s: %s", name, fault)
        logger.info("%s: serving %s of revision %s", name, model.hash[:12], model.revision[:12])
        return model

    def answerer(self, name: str) -> Answerer:
        """What answers for a project; UnavailableError while it has no model."""
        found = self.active.get(name)
        if found is None:
            reason = self.failures.get(name, "it is still loading")
            raise UnavailableError(f"{name} has no model to serve: {reason}", busy=True)
        return found

    async def predict(
        self, name: str, body: bytes, threshold: float | None, request_id: str, key: Key | None = None
    ) -> bytes:
        """The answer to one row as JSON, sent only after the log holds it; for a `key` that was there before, as it was."""
        start = time.perf_counter_ns()
        answerer = self.answerer(name)
        rows = [answerer.model.codec.read_row(body)]
        answered = self._answer(answerer, rows, threshold, request_id, start, inline=True)
        if key is not None:
            return (await self._once(name, key, 1, answered))[0]
        answers, entries = await answered
        await self._record(name, answers, entries)
        return answers[0].body

    async def predict_batch(
        self, name: str, body: bytes, threshold: float | None, request_id: str, key: Key | None = None
    ) -> bytes:
        """The answers to many rows as JSON, in their order, sent only after the log holds them all; for a `key` that was
        there before, as they were.
        """
        start = time.perf_counter_ns()
        answerer = self.answerer(name)
        async with self._turns:
            rows = await self._in(self._scoring, answerer.model.codec.read_batch, body)
            answered = self._answer_slices(answerer, rows, threshold, request_id, start)
            if key is not None:
                bodies = await self._once(name, key, len(rows), answered)
            else:
                answers, entries = await answered
                await self._record(name, answers, entries)
                bodies = [answered.body for answered in answers]
        return b'{"predictions":[' + b",".join(bodies) + b"]}"

    async def _answer_slices(
        self, answerer: Answerer, rows: list[Row], threshold: float | None, request_id: str, start: int
    ) -> tuple[list[Answered], list[Entry]]:
        """`_answer` for many rows, in slices."""
        answers: list[Answered] = []
        entries: list[Entry] = []
        for first in range(0, len(rows), SLICE):
            part = rows[first : first + SLICE]
            try:
                answered, logged = await self._answer(answerer, part, threshold, request_id, start, inline=False)
            except TooExtremeError as error:
                raise TooExtremeError(first + error.row) from None
            answers += answered
            entries += logged
        return answers, entries

    async def _once(
        self, name: str, key: Key, rows: int, answered: Coroutine[Any, Any, tuple[list[Answered], list[Entry]]]
    ) -> list[bytes]:
        """The bodies of the answers to a request with a key: those that were logged for it before, or else those that are
        `answered` now. InvalidInputError for a key that another request had, KeyBusyError while the first is at work.
        """
        with closing(answered):
            with self._reading():
                claim = await self.log.claim(key, datetime.now(UTC))
            if claim.request != key.request:
                raise InvalidInputError("This Idempotency-Key was given with another request before: use a new one.")
            ids = ids_of(bytes.fromhex(key.key), microseconds(claim.time) // 1000, rows)
            if not claim.is_new:
                with self._reading():
                    known = await self.log.outputs(ids)
                    is_free = known is None and await self.log.take_over(key, datetime.now(UTC))
                if known is not None:
                    return known
                if not is_free:
                    message = "The first request with this Idempotency-Key is still at work: try again shortly."
                    raise KeyBusyError(message, busy=True)
            try:
                answers, entries = with_ids(ids, *await answered)
                await self._record(name, answers, entries)
            except Exception:
                with suppress(Unavailable):
                    await self.log.give_up(key)
                raise
            bodies = [answer.body for answer in answers]
            if not claim.is_new:  # a server that was taken to have crashed may have logged its answer first
                with suppress(Unavailable):
                    bodies = await self.log.outputs(ids) or bodies
            return bodies

    async def predict_file(
        self, name: str, content: bytes, threshold: float | None, request_id: str
    ) -> AsyncIterator[FileProgress]:
        """Predict the rows of a file: first what it holds, then the answers part by part, each once the log holds them.
        InvalidInputError for a file that is no table of rows; UnavailableError where the log has no room for long.
        """
        answerer = self.answerer(name)
        file = await asyncio.to_thread(read_rows_file, answerer.model.codec, content, self.settings.max_file)
        yield begun(file)
        places, left_out = list(file.rows), len(file.refused)
        for first in range(0, len(places), FILE_PART):
            part = places[first : first + FILE_PART]
            answers = await self._answer_part(answerer, file, part, threshold, request_id)
            yield went_on(file, first + len(part), answers, preview=not first)
        if len(file.refused) > left_out:
            yield progress(file, len(file.rows))

    async def _answer_part(
        self, answerer: Answerer, file: RowsFile, places: list[int], threshold: float | None, request_id: str
    ) -> dict[int, Answered]:
        """The logged answers to the rows at some places of a file, but for those without a finite prediction."""
        places = [*places]
        answers: list[Answered] = []
        entries: list[Entry] = []
        while places:
            rows, start = [file.rows[place] for place in places], time.perf_counter_ns()
            try:
                answers, entries = await self._answer(answerer, rows, threshold, request_id, start, inline=False)
            except TooExtremeError as error:
                refuse(file, [places.pop(error.row)], TOO_EXTREME)
            else:
                break
        for tries_left in reversed(range(TRIES)):
            try:
                await self._record(answerer.model.project.name, answers, entries)
                break
            except UnavailableError:
                if not tries_left:
                    raise
                await asyncio.sleep(PAUSE)
        return dict(zip(places, answers, strict=True))

    async def try_rows(self, name: str, body: bytes) -> list[Classified | Valued]:
        """Answers to a few rows that are only tried out, neither logged nor counted: the log and the drift index are about
        real requests.
        """
        answerer = self.answerer(name)
        rows = await self._in(self._scoring, answerer.model.codec.read_batch, body)
        if len(rows) > TRIED:
            raise wrong_fields([FieldError("rows", f"List should have at most {TRIED} items to be tried out")])
        answers, _ = await self._answer(answerer, rows, None, "", time.perf_counter_ns(), inline=False)
        return [answered.answer for answered in answers]

    async def explain(self, name: str, body: bytes) -> bytes:
        """Why the model answers one row as it does, as JSON."""
        answerer = self.answerer(name)
        row = answerer.model.codec.read_row(body)
        answerer.model.codec.fill_date([row], datetime.now(UTC).date())
        if answerer.explains_slowly:
            return await self._in(self._explaining, answerer.explain, row)
        return answerer.explain(row)

    async def feedback(self, name: str, prediction_id: str, outcome: Outcome) -> list[Feedback]:
        """Record the true outcome of a prediction and return all that were reported; NotFoundError for a prediction that is
        not this project's.
        """
        with self._reading():
            found = await self.log.get(prediction_id)
            history = None
            if found is not None and found.project == name:
                history = await self.log.feedback(prediction_id, outcome, datetime.now(UTC))
        if history is None:
            raise NotFoundError(f"{name} has made no prediction {prediction_id!r}.")
        return history

    def history(self, name: str, limit: int) -> History:
        """The latest decisions about a project's models; UnavailableError for a ledger that cannot be read."""
        try:
            return History(read_history(name, self.settings.root)[::-1][:limit])
        except ValueError as error:
            raise UnavailableError(f"{error}.") from None

    async def drift(self, name: str) -> Drift:
        """How far the latest predictions are from the training rows; computed again after `DRIFT_FRESH` seconds."""
        model = self.answerer(name).model
        seen, found = self._drift.get(name, (0.0, None))
        if found is None or time.monotonic() - seen >= DRIFT_FRESH:
            with self._reading():
                recent = await self.log.recent(name, self.settings.drift_rows)
            found = await self._in(self._background, drift_of, model, recent)
            self._drift[name] = time.monotonic(), found
            self.metrics.show_drift(name, found)
        return found

    def drift_state(self, name: str) -> str | None:
        """The drift of the latest predictions when it was last computed; None while there are too few."""
        _, found = self._drift.get(name, (0.0, None))
        return found.state if found and found.state != "unknown" else None

    async def page(self, name: str, limit: int, after: str | None) -> list[tuple[Entry, list[Feedback]]]:
        """Logged predictions of a project with their outcomes, newest first, from before the one with the id `after`."""
        with self._reading():
            entries = await self.log.page(name, limit, after)
            return list(zip(entries, await self.log.histories(entries), strict=True))

    async def prediction(self, prediction_id: str) -> tuple[Entry, list[Feedback]]:
        """One logged prediction with its outcomes; NotFoundError for an id that the log does not hold."""
        with self._reading():
            entry = await self.log.get(prediction_id)
            history = await self.log.history(prediction_id) if entry else []
        if entry is None:
            raise NotFoundError(f"The log holds no prediction {prediction_id!r}.")
        return entry, history

    async def erase(self, prediction_id: str) -> None:
        """Delete a prediction and its feedback; NotFoundError for an id that the log does not hold."""
        with self._reading():
            if not await self.log.delete(prediction_id):
                raise NotFoundError(f"The log holds no prediction {prediction_id!r}.")

    def health(self) -> list[str]:
        """The reasons why the server is degraded; empty when it is healthy."""
        reasons = [f"{name}: {reason}" for name, reason in sorted((self.failures | self.faults).items())]
        stats = self.log.stats() if self.settings.log else None
        if stats is not None and stats.reason:
            reasons.append(f"prediction log: {stats.reason}")
        ended = [task for task in self._running() if task.done()]
        return reasons + [f"background task {task.get_name()}: has ended, restart the server" for task in ended]

    def rendered_metrics(self) -> bytes:
        """The text that Prometheus scrapes."""
        tasks = {task.get_name(): not task.done() for task in self._running()}
        return self.metrics.render(self.log.stats() if self.settings.log else None, tasks)

    def _running(self) -> list[asyncio.Task[None]]:
        """The tasks that run until the server stops."""
        return [*self._tasks, *self.log.tasks]

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Turns what the log cannot do into errors of this module."""
        if not self.settings.log:
            raise UnavailableError("The prediction log is off (SERVE_LOG).")
        try:
            yield
        except Unavailable as error:
            raise UnavailableError(f"The prediction log cannot be used now: {error}.", busy=True) from None
        except ValueError as error:
            raise InvalidInputError(str(error), [FieldError("after", str(error))]) from None

    async def _answer(
        self,
        answerer: Answerer,
        rows: list[Row],
        threshold: float | None,
        request_id: str,
        start: int,
        *,
        inline: bool,
    ) -> tuple[list[Answered], list[Entry]]:
        """Answers and what the log keeps of them; `start` is the request's beginning on `time.perf_counter_ns`."""
        codec = answerer.model.codec
        codec.fill_date(rows, datetime.now(UTC).date())

        def work() -> tuple[list[Answered], list[Entry]]:
            answers = answerer.score_all(rows, threshold)
            return answers, log_entries(answers, answerer.model, request_id, start)

        return work() if inline else await self._in(self._scoring, work)

    async def _record(self, name: str, answers: list[Answered], entries: list[Entry]) -> None:
        """Log and count answers; UnavailableError where the log cannot take them."""
        if self.settings.log:
            try:
                await self.log.append(entries)
            except Unavailable as error:
                raise UnavailableError(f"The prediction cannot be logged: {error}.", busy=True) from None
            except Overloaded:
                raise UnavailableError("The prediction log cannot keep up; try again shortly.", busy=True) from None
        if len(answers) == 1:
            self.metrics.count_predictions(name, answers)
        else:
            await self._in(self._scoring, self.metrics.count_predictions, name, answers)

    async def _in(self, executor: ThreadPoolExecutor, work: Callable[..., Result], *arguments: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(executor, work, *arguments)

    async def _look(self, name: str) -> tuple[int, bytes] | None:
        """What is deployed of a project now."""
        return await self._in(self._background, deployed, self.settings.root / "models" / name)

    async def _watch_deployments(self) -> None:
        """Load what is deployed, once: what cannot be loaded is tried again when something else is deployed."""
        while True:
            await asyncio.sleep(WATCH_EVERY)
            for name in self.names:
                task = f"deployment of {name}"
                try:
                    found = await self._look(name)
                    if found is not None and found != self._deployed.get(name):
                        with suppress(LoadError):
                            await self.load(name)
                except Exception as error:  # one project must not end the watch over the others
                    fault = f"{type(error).__name__}: {error}"
                    if self.faults.get(task) != fault:
                        logger.exception("%s: what is deployed cannot be read", name)
                    self.faults[task] = fault
                else:
                    self.faults.pop(task, None)

    async def _watch_drift(self) -> None:
        while True:
            for name in self.names:
                try:
                    await self.drift(name)
                except (UnavailableError, InvalidInputError):  # no model, or no log to read
                    pass
                except Exception as error:  # one project must not end the watch over the others
                    self.faults[f"drift of {name}"] = f"{type(error).__name__}: {error}"
                    logger.exception("%s: the drift index cannot be computed", name)
                else:
                    self.faults.pop(f"drift of {name}", None)
            await asyncio.sleep(DRIFT_EVERY)

    async def _forget_keys(self) -> None:
        while True:
            try:
                await self.log.forget_keys(datetime.now(UTC))
            except Exception as error:  # they do no harm until the next time
                logger.warning("old idempotency keys were not deleted: %s", error)
            await asyncio.sleep(PURGE_EVERY)

    async def _purge_regularly(self) -> None:
        while True:
            try:
                before = datetime.now(UTC) - timedelta(days=self.settings.retention_days)
                if deleted := await self.log.purge(before):
                    logger.info("deleted %d predictions from before %s", deleted, before.date())
                self.faults.pop("retention", None)
            except Unavailable as error:
                logger.warning("old predictions were not deleted: %s", error)
            except Exception as error:  # the next try may succeed
                self.faults["retention"] = f"{type(error).__name__}: {error}"
                logger.exception("old predictions were not deleted")
            await asyncio.sleep(PURGE_EVERY)


def with_ids(ids: list[str], answers: list[Answered], entries: list[Entry]) -> tuple[list[Answered], list[Entry]]:
    """Answers, and what the log keeps of them, with other ids."""
    answers = [
        answered._replace(answer=answer, body=encode(answer))
        for identifier, answered in zip(ids, answers, strict=True)
        for answer in [replace(answered.answer, prediction_id=identifier)]
    ]
    return answers, [
        replace(entry, id=identifier, output=answered.body.decode())
        for identifier, answered, entry in zip(ids, answers, entries, strict=True)
    ]


def log_entries(answers: list[Answered], model: Model, request_id: str, start: int) -> list[Entry]:
    """What the log keeps of answers that are ready now, to a request that began at `start`."""
    latency_us = (time.perf_counter_ns() - start) // 1000
    return [
        Entry(
            id=answered.answer.prediction_id,
            time=answered.answer.timestamp,
            project=model.project.name,
            model_hash=model.hash,
            revision=model.revision,
            version=model.version or "",
            input=answered.row,
            output=answered.body.decode(),
            score=answered.score,
            label=answered.answer.label if isinstance(answered.answer, Classified) else None,
            latency_us=latency_us,
            request_id=request_id,
        )
        for answered in answers
    ]

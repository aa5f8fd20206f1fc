"""The metrics that Prometheus scrapes."""

from __future__ import annotations

from functools import lru_cache

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from serve.log.prediction_log import Stats
from serve.models.answers import Answered, Classified, Rated
from serve.models.loader import Model
from serve.models.stability import Drift

LATENCY = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """All metrics of one server, in a registry of its own so that two servers in one process do not collide. Without a log
    there are none of it, as their zeros would raise alarms.
    """

    def __init__(self, *, log: bool = True) -> None:
        self.registry = registry = CollectorRegistry()
        of_log = registry if log else None
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self.requests = Counter("serve_requests", "Requests answered.", ["project", "route", "status"], registry=registry)
        self.latency = Histogram(
            "serve_request_seconds", "Time to answer.", ["project", "route"], buckets=LATENCY, registry=registry
        )
        self.predictions = Counter(
            "serve_predictions", "Rows predicted.", ["project", "label", "risk_level"], registry=registry
        )
        self.scores = Histogram(
            "serve_score",
            "Probabilities of classifiers.",
            ["project"],
            buckets=[step / 10 for step in range(1, 11)],
            registry=registry,
        )
        self.values = Histogram(
            "serve_value",
            "Values of regressors, in the unit of the project.",
            ["project"],
            buckets=[base * 10**power for power in range(7) for base in (1, 2, 5)],
            registry=registry,
        )
        self.loaded = Gauge("serve_model_loaded", "1 while a model serves.", ["project"], registry=registry)
        self.load_failed = Gauge(
            "serve_model_load_failed",
            "1 while what is checked out or deployed could not be loaded.",
            ["project"],
            registry=registry,
        )
        self.model = Info(
            "serve_model", "The model that serves: hash, revision and version.", ["project"], registry=registry
        )
        self.drift = Gauge(
            "serve_drift_index",
            "Population stability index of the latest predictions.",
            ["project", "column"],
            registry=registry,
        )
        self.task_up = Gauge(
            "serve_background_task_up", "0 where a task that should never end has ended.", ["task"], registry=registry
        )
        self.commit_seconds = Histogram(
            "serve_log_commit_seconds", "Time of one commit of the log.", buckets=LATENCY, registry=of_log
        )
        self.commit_rows = Histogram("serve_log_commit_rows", "Rows of one commit.", buckets=SIZES, registry=of_log)
        self.queue = Gauge("serve_log_queue_rows", "Rows that wait to be logged.", registry=of_log)
        self.healthy = Gauge("serve_log_healthy", "0 while the log is degraded.", registry=of_log)
        self.writable = Gauge(
            "serve_log_writable", "0 while predictions can neither be logged nor spilled.", registry=of_log
        )
        self.spill = Gauge("serve_log_spill_bytes", "Size of the spilled rows that wait to be logged.", registry=of_log)
        self.spill_free = Gauge("serve_log_spill_free_bytes", "Free space on the disk of the spill folder.", registry=of_log)
        self.rejected = Gauge(
            "serve_log_rejected_rows", "Spilled rows that no database takes, in rejected.jsonl.", registry=of_log
        )

        # Looking up a labelled metric costs more than counting; there are few of each.
        self._of_request = lru_cache(1024)(
            lambda project, route, status: (
                self.requests.labels(project, route, status),
                self.latency.labels(project, route),
            )
        )
        self._of_prediction = lru_cache(1024)(self.predictions.labels)
        self._of_score = lru_cache(64)(lambda name, classifies: (self.scores if classifies else self.values).labels(name))

    def count_request(self, project: str, route: str, status: int, seconds: float) -> None:
        """Count and time an answered request."""
        counter, histogram = self._of_request(project, route, status)
        counter.inc()
        histogram.observe(seconds)

    def count_predictions(self, name: str, answers: list[Answered]) -> None:
        """Count rows that a project's model has answered."""
        histogram = self._of_score(name, isinstance(answers[0].answer, Classified))
        for answered in answers:
            answer = answered.answer
            label = answer.label if isinstance(answer, Classified) else ""
            self._of_prediction(name, label, answer.risk_level if isinstance(answer, Rated) else "").inc()
            histogram.observe(answered.score)

    def count_commit(self, seconds: float, rows: int) -> None:
        """Count and time a commit of the log."""
        self.commit_seconds.observe(seconds)
        self.commit_rows.observe(rows)

    def show_model(self, name: str, model: Model) -> None:
        """Say which model serves a project."""
        self.loaded.labels(name).set(1)
        self.load_failed.labels(name).set(0)
        self.model.labels(name).info({"hash": model.hash, "revision": model.revision, "version": str(model.version)})

    def show_failure(self, name: str) -> None:
        """Say that what is checked out or deployed of a project could not be loaded."""
        self.loaded.labels(name)  # 0 where no model has served
        self.load_failed.labels(name).set(1)

    def show_drift(self, name: str, drift: Drift) -> None:
        """Say how far the latest predictions of a project are from the training rows."""
        for shift in [*drift.columns, *([drift.score] if drift.score else [])]:
            self.drift.labels(name, shift.column).set(shift.index)

    def render(self, log: Stats | None, tasks: dict[str, bool]) -> bytes:
        """The text that Prometheus scrapes, with the state of the log if there is one, and of the background tasks."""
        for task, up in tasks.items():
            self.task_up.labels(task).set(up)
        if log is not None:
            self.queue.set(log.queued)
            self.healthy.set(log.state == "healthy")
            self.writable.set(log.writable)
            self.spill.set(log.spill_bytes)
            self.spill_free.set(log.spill_free_bytes)
            self.rejected.set(log.rejected_rows)
        return generate_latest(self.registry)

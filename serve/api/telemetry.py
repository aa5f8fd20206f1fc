"""What can be seen of the server: Prometheus metrics, and logs as JSON lines without bodies."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from datetime import UTC, datetime

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

request_id: ContextVar[str] = ContextVar("request_id", default="")

LATENCY = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """All metrics of one server, in a registry of its own so that two servers in one process do not collide."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
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
        self.model = Info("serve_model", "The model that serves.", ["project"], registry=registry)
        self.drift = Gauge(
            "serve_drift_index",
            "Population stability index of the latest predictions.",
            ["project", "column"],
            registry=registry,
        )
        self.commit_seconds = Histogram(
            "serve_log_commit_seconds", "Time of one commit of the log.", buckets=LATENCY, registry=registry
        )
        self.commit_rows = Histogram("serve_log_commit_rows", "Rows of one commit.", buckets=SIZES, registry=registry)
        self.queue = Gauge("serve_log_queue_rows", "Rows that wait to be logged.", registry=registry)
        self.spill = Gauge("serve_log_spill_bytes", "Size of the spill file.", registry=registry)
        self.micro_batch = Histogram(
            "serve_micro_batch_rows", "Rows of one call of a pipeline.", buckets=SIZES, registry=registry
        )

    def render(self) -> bytes:
        """The text that Prometheus scrapes."""
        return generate_latest(self.registry)


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id.get():
            line["request_id"] = request_id.get()
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def set_up_logging() -> None:
    """Send the server's and uvicorn's own messages to standard error as JSON lines."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    for name in ("serve", "uvicorn", "uvicorn.error", "litestar"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(logging.INFO)

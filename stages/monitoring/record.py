"""A check of a batch from its address to its report, its page and its line in the ledger."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from stages.core.files import Paths, write, write_json
from stages.core.params import load_block, load_seed
from stages.core.schema import coerce
from stages.intake.settings import Ingest
from stages.modeling.scoring import load_scorer
from stages.monitoring.batch import Batch, read_file
from stages.monitoring.check import check_batch
from stages.monitoring.reference import Live, load_live
from stages.monitoring.settings import Drift
from stages.projects._base import load_project
from stages.promotion import ledger
from stages.promotion.git import who
from stages.runtime.wording import count


@dataclass(frozen=True)
class Check:
    """A batch and what the live model and the tests say of it."""

    live: Live
    batch: Batch
    scores: np.ndarray
    report: dict[str, Any]
    settings: Drift

    @property
    def summary(self) -> str:
        """What it was compared with, and the reason of the verdict."""
        model = f"model {(self.live.hash or 'unknown')[:12]} ({self.live.version or 'no version'})"
        name, rows = self.live.project.name, len(self.live.reference)
        return f"{name}: compared with {count(rows, 'row')} that {model} was trained on\n{self.report['reason']}"


def run_check(name: str, address: str) -> Check:
    """Check the batch at an address with the model in models/. Writes nothing. UserError for what cannot be read."""
    project, settings, live, seed = load_project(name), load_block(name, "drift", Drift), load_live(name), load_seed()
    batch = read_file(address, project, live.reference, settings.sample, seed)
    scores = load_scorer(project, Paths(name).model)(coerce(batch.frame, project.columns)[0])
    report = check_batch(live, batch, scores, settings, load_block(name, "ingest", Ingest).max_rejected, seed)
    return Check(live, batch, scores, report | {"time": datetime.now(UTC).isoformat(timespec="seconds")}, settings)


def save_check(check: Check, *, html: bool) -> Path:
    """Write the report, its line in the ledger and, where columns were tested, Evidently's page; the path of the report. An
    earlier one on the same batch is replaced.
    """
    name, report = check.live.project.name, check.report
    path = Paths(name).reports / "drift" / f"{batch_name(check.batch.address, check.batch.sha256)}.json"
    write_json(path, report)
    note_check(name, report)
    if html and report["columns"]:
        from stages.monitoring.evidently import save_html  # which takes seconds to import

        page = partial(save_html, check.live, check.batch.frame, check.scores, report, check.settings.alpha.columns)
        write(path.with_suffix(".html"), page)
    return path


def batch_name(address: str, digest: str | None) -> str:
    """A file name, without suffix, for the report on a batch: that of its file and the beginning of its SHA-256, as the next
    batch may be in a file of the same name. A simulated batch has no SHA-256 and is known by its address.
    """
    path = PurePosixPath(urlsplit(address).path)
    stem = path.stem if path.suffix else address
    name = re.sub(r"[^\w.-]+", "-", stem).strip("-.") or "batch"
    return f"{name}-{digest[:8]}" if digest else name


def note_check(name: str, report: dict[str, Any]) -> None:
    """Write the verdict into the ledger, unless it ends with the same one on the same batch and model."""
    entry: dict[str, Any] = {key: report[key] for key in ("verdict", "reason", "evidence")}
    entry["batch"] = {key: report["batch"][key] for key in ("address", "sha256", "rows", "outcomes")}
    entry["hash"] = report["model"]["hash"]
    last = [line for line in ledger.read(name) if line["event"] == "drift"][-1:]
    if not last or not entry.items() <= last[0].items():
        ledger.append(name, entry | {"event": "drift", "by": who()})

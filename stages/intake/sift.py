"""Raw rows checked against a project's schema: those that satisfy every rule, and those that break one, with the reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from stages.core.cli import UserError
from stages.core.schema import coerce, to_frame, violations
from stages.intake.sources import Source
from stages.projects._base import Column


def check_header(source: Source, columns: tuple[Column, ...]) -> None:
    """UserError for a source without rows or without a required column."""
    missing = [column.name for column in columns if column.required and column.name not in source.frame]
    if missing and len(source.frame.columns) == 1:
        raise UserError(
            f"source {source.address!r}: has a single column {source.frame.columns[0]!r}; is the comma its delimiter?"
        )
    if missing:
        raise UserError(f"source {source.address!r}: lacks the column {', '.join(missing)}")
    if source.frame.empty:
        raise UserError(f"source {source.address!r}: has a header but no rows")


def sift(frame: pd.DataFrame, columns: tuple[Column, ...]) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, int]]:
    """Split raw rows into those that satisfy every rule, cast, and those that break one, as they came with the `reason`; and
    count the rows by reason. Both keep the index of `frame`.
    """
    values, unreadable = coerce(frame, columns)
    broken = violations(values, unreadable, columns)
    reasons = np.full(len(frame), "", dtype=object)
    for reason, mask in broken.items():
        reasons[mask] += np.where(reasons[mask] == "", reason, "; " + reason)
    bad = reasons != ""
    accepted = to_frame(values).set_axis(frame.index)[~bad]
    rejected = frame[bad].astype("str").assign(reason=reasons[bad].astype(str))
    return accepted, rejected, {reason: int(mask.sum()) for reason, mask in broken.items()}


def source_entry(source: Source, columns: tuple[Column, ...], counts: dict[str, int], rejected: int) -> dict[str, Any]:
    """The entry of one source in data.json."""
    known = {column.name for column in columns}
    return {
        "address": source.address,
        "simulated": source.simulated,
        "sha256": source.digest,
        "rows": len(source.frame),
        "rejected": rejected,
        "rejected_by_reason": counts,
        "dropped_columns": [name for name in source.frame.columns if name not in known],
    }


def check_rejected(sources: list[dict[str, Any]], max_rejected: float) -> None:
    """UserError when a larger share of the rows breaks the schema than params allow."""
    rejected = sum(source["rejected"] for source in sources)
    share = rejected / sum(source["rows"] for source in sources)
    if share > max_rejected:
        reasons = [f"{count} x {reason}" for s in sources for reason, count in s["rejected_by_reason"].items()]
        raise UserError(
            f"{rejected} rows ({share:.1%}) break the schema and ingest.max_rejected allows {max_rejected:.1%}: "
            f"{'; '.join(reasons)}"
        )

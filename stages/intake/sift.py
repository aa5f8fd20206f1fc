"""Raw rows checked against a project's schema: those that satisfy every rule, and those that break one, with the reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from stages.core.cli import UserError
from stages.core.objects import copies
from stages.core.schema import coerce, to_frame
from stages.intake.sources import Source
from stages.projects._base import Column, Project
from stages.runtime.values import violations
from stages.runtime.wording import count, percent


def check_header(source: Source, columns: tuple[Column, ...]) -> None:
    """UserError for a source without rows or without a required column."""
    missing = [column.name for column in columns if column.required and column.name not in source.frame]
    if missing and len(source.frame.columns) == 1:
        raise UserError(
            f"source {source.address!r}: has a single column {source.frame.columns[0]!r}; cells are separated by a comma, "
            "a semicolon, a tab or a bar"
        )
    if missing:
        raise UserError(
            f"source {source.address!r}: lacks the column {', '.join(missing)}; it has {', '.join(map(str, source.frame))}"
        )
    if source.frame.empty:
        raise UserError(f"source {source.address!r}: has a header but no rows")


def sift(
    frame: pd.DataFrame, columns: tuple[Column, ...], faults: dict[int, str] | None = None
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, int]]:
    """Split raw rows into those that satisfy every rule, cast, and those that break one, as they came with the `reason`; and
    count the rows by reason. Both keep the index of `frame`. `faults` are those of its source.
    """
    values, unreadable = coerce(frame, columns)
    fault = np.full(len(frame), "", dtype=object)
    fault[[*(faults or {})]] = [*(faults or {}).values()]
    apart = fault == ""
    broken = {reason: fault == reason for reason in pd.unique(fault[~apart])}
    for reason, mask in violations(values, unreadable, columns).items():
        if (mask & apart).any():
            broken[reason] = mask & apart
    reasons = np.full(len(frame), "", dtype=object)
    for reason, mask in broken.items():
        reasons[mask] += np.where(reasons[mask] == "", reason, "; " + reason)
    bad = reasons != ""
    accepted = to_frame(values).set_axis(frame.index)[~bad]
    rejected = frame[bad].astype("str").assign(reason=reasons[bad].astype(str))
    return accepted, rejected, {reason: int(mask.sum()) for reason, mask in broken.items()}


def source_entry(
    source: Source, columns: tuple[Column, ...], counts: dict[str, int], bad: pd.DataFrame, target: str
) -> dict[str, Any]:
    """The entry of one source in data.json. `without_outcome` are the rejected rows whose outcome alone is missing."""
    known = {column.name for column in columns}
    return {
        "address": source.address,
        "simulated": source.simulated,
        "sha256": source.digest,
        "rows": len(source.frame),
        "rejected": len(bad),
        "without_outcome": int((bad["reason"] == f"{target}: is missing").sum()),
        "rejected_by_reason": counts,
        "dropped_columns": [name for name in source.frame.columns if name not in known],
    }


def count_copies(raw: pd.DataFrame, sources: int, project: Project) -> list[dict[str, int]]:
    """Per source of the accepted rows, whose number is in `source`: how many are copies of a row in an earlier source, and
    how many of the others are copies of an earlier row in their own.
    """
    rows = pd.DataFrame({"source": raw["source"].to_numpy(), "copy": copies(raw, project)})
    earlier = rows.groupby("copy")["source"].transform("min") < rows["source"]
    own = rows.duplicated() & ~earlier
    return [
        {"copies": int(own[inside].sum()), "in_earlier_source": int(earlier[inside].sum())}
        for inside in (rows["source"] == source for source in range(sources))
    ]


def count_left_out(raw: pd.DataFrame, sources: int, project: Project) -> list[dict[str, int]]:
    """Per source of the accepted rows, how many are left out of training and test, by reason."""
    why = project.why_left_out(raw)
    return [
        {str(reason): int(rows) for reason, rows in why[(raw["source"] == source) & (why != "")].value_counts().items()}
        for source in range(sources)
    ]


def check_rejected(sources: list[dict[str, Any]], quarantine: pd.DataFrame, max_rejected: float) -> None:
    """UserError when a larger share of the rows breaks the schema than params allow. Rows that lack nothing but their
    outcome are no error: it may not be known yet.
    """
    waiting = sum(source["without_outcome"] for source in sources)
    rejected = sum(source["rejected"] for source in sources) - waiting
    rows = sum(source["rows"] for source in sources) - waiting
    if not rows:
        raise UserError(f"no row has an outcome: all {waiting} lack it, so there is nothing to learn from")
    share = rejected / rows
    if share > max_rejected:
        reasons = [
            f"{count(broken)} x {reason}{example(quarantine, number, reason)}"
            for number, source in enumerate(sources)
            for reason, broken in source["rejected_by_reason"].items()
        ]
        broke = f"of {count(rows, 'row')} {count(rejected)} ({percent(share)}) break the schema"
        raise UserError(
            f"{broke} and ingest.max_rejected allows {percent(max_rejected)}: {'; '.join(reasons)}. "
            "They are in the quarantine"
        )


def example(quarantine: pd.DataFrame, source: int, reason: str) -> str:
    """The first row of a source that was rejected for a reason, and its value, in words."""
    inside = (quarantine["source"] == source) & quarantine["reason"].str.contains(reason, regex=False)
    first, column = quarantine[inside].iloc[0], reason.partition(":")[0]
    value = first.get(column)
    return f" (row {first['row']}{'' if pd.isna(value) else f': {value!r}'})"

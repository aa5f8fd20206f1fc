"""Reads the sources, writes raw.parquet, quarantine.parquet and data.json.

python -m stages.ingest bankchurn
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from stages.command import UserError, run
from stages.files import Paths, write, write_json
from stages.params import load_params
from stages.project import Column, columns_of, load_project
from stages.schema import coerce, to_frame, violations
from stages.sources import Source, read_source


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
    """Split raw rows into those that keep every rule, cast, and those that break one, as they came with the `reason`; and
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


def describe(source: Source, columns: tuple[Column, ...], counts: dict[str, int], rejected: int) -> dict[str, Any]:
    """What data.json says of one source."""
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


def main(name: str) -> None:
    project, params, paths = load_project(name), load_params(name), Paths(name)
    columns = columns_of(project.record)
    accepted, rejected, sources = [], [], []
    for number, address in enumerate(params.ingest.sources):
        source = read_source(address, project, params.base.seed)
        check_header(source, columns)
        good, bad, counts = sift(source.frame, columns)
        accepted.append(good.assign(source=number))
        rejected.append(bad.assign(source=number, row=bad.index))
        sources.append(describe(source, columns, counts, len(bad)))
    check_rejected(sources, params.ingest.max_rejected)
    raw, quarantine = pd.concat(accepted, ignore_index=True), pd.concat(rejected, ignore_index=True)
    write(paths.data / "raw.parquet", raw.to_parquet)
    write(paths.data / "quarantine.parquet", quarantine.to_parquet)
    write_json(paths.reports / "data.json", {"simulated": any(s["simulated"] for s in sources), "sources": sources})
    print(f"{name}: {len(raw)} rows, {len(quarantine)} in quarantine")
    for source_report in sources:
        for reason, count in source_report["rejected_by_reason"].items():
            print(f"    {count} x {reason}")


if __name__ == "__main__":
    run(main)

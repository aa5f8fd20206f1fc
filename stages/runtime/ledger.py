"""Reading the ledger of a project: every decision about its models and the reason, one JSON object a line, kept in Git.

An entry has `time`, `event`, `by` and `reason` (one paragraph of plain words), and what its event is about:

promotion   accepted, version and stage (null when refused), challenger {revision, hash, data, test, estimator} with the
            digests of its training and test rows, champion {version, revision, hash} or null, rules
            [{rule, passed, detail, measured}], metrics {metric: {value, low, high}},
            comparison {metric, value, low, high, rows, left_out} or null
deployment  version, stage, revision, hash, previous {version, hash}, each null where there was none
drift       whatever the check measured
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

KEYS = {
    "promotion": ("accepted", "version", "stage", "challenger", "champion", "rules", "metrics", "comparison"),
    "deployment": ("version", "stage", "revision", "hash", "previous"),
    "drift": (),
}


def ledger_path(project: str) -> Path:
    """The ledger's file, relative to the repository's root."""
    return Path("reports", project, "ledger.jsonl")


def read_ledger(project: str, root: Path = Path()) -> list[dict[str, Any]]:
    """All entries, oldest first; none without a ledger. ValueError names a line that is no entry."""
    path = root / ledger_path(project)
    lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
    entries = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if not isinstance(entry, dict) or entry.get("event") not in KEYS:
            raise ValueError(f"{path}, line {number}, is no entry of a ledger: restore it from `git log -p {path}`")
        entries.append(entry)
    return entries

"""The segments of evaluation.json in the order in which reports show them."""

from __future__ import annotations

from typing import Any

from stages.runtime.metric_names import HIGHER_IS_BETTER, TITLES


def worst_segments(segments: list[dict[str, Any]], primary: str) -> tuple[str, list[dict[str, Any]]]:
    """The metric that segments are ranked by, which is the primary one where segments have it, and those in which it has a
    value, the worst first. There must be a segment.
    """
    metric = next(name for name in (primary, *TITLES) if name in segments[0])
    known = [segment for segment in segments if segment[metric] is not None]
    return metric, sorted(known, key=lambda segment: segment[metric], reverse=metric not in HIGHER_IS_BETTER)

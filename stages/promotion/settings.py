"""The block `promote` of params.yaml."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from stages.core.params import Block, Share


class Promote(Block):
    """What a model must show before it is promoted. `floors` by metric, a ceiling where less is better. A challenger may be
    worse than the champion by `margin`, a share of the champion's primary metric; at 0 it has to be better. It has to be
    so in `confidence` of the paired resamples. Differences between sensitive groups may grow by `fairness_margin`; `max_ece`
    bounds the calibration error of a classifier, `coverage_tolerance` how far the intervals of a regressor may cover more or
    less than they promise; `latency_ms` the median time of one row.
    """

    floors: dict[str, float] = Field(default={})
    margin: Annotated[float, Field(ge=0, lt=1)] = 0.0
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.975
    fairness_margin: Annotated[float, Field(ge=0, le=1)] = 0.05
    max_ece: Share = 0.05
    coverage_tolerance: Share = 0.05
    latency_ms: Annotated[float, Field(gt=0)] = 5.0

"""The block `drift` of params.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from stages.core.params import Block, Share

Evidence = Literal["columns", "joint", "loss", "bias", "pattern"]


class DriftAlpha(Block):
    """How often each kind of evidence may turn up in a batch without drift."""

    columns: Share = 0.01
    joint: Share = 0.003
    dependence: Share = 0.006
    loss: Share = 0.005
    bias: Share = 0.01
    pattern: Share = 0.01


class Drift(Block):
    """When a batch is refused as bad data, and when it is a reason to retrain.

    Refused: more rows that break the schema than `ingest.max_rejected`, missing values that grew by more than `max_gaps` of
    the rows, a number that became constant, one that has its former distribution in another unit, or a share of rows that
    training would leave out which grew by a tenth.
    Retrain: evidence of one of the kinds in `retrain_on`, when its p-value is at most its `alpha` and its size at least that
    given here: `distance` between the distributions of a number or the score (0 to 1), `spread` as a ratio, `shift` between
    shares of categories (Cohen's w), `gaps` as the share of missing values; `auc` of a classifier that tells the batch from
    training, and `dependence` of a number on the others in standard deviations, which both count as `joint`; with outcomes
    `loss`, the share by which it grew, `bias` and `pattern` of the residuals in standard deviations.
    A batch of fewer than `min_rows` is kept, and of a larger one than `sample` as many rows are tested.
    """

    min_rows: Annotated[int, Field(ge=30)] = 100
    sample: Annotated[int, Field(ge=1_000)] = 50_000
    max_gaps: Share = 0.2
    retrain_on: list[Evidence] = Field(default=["columns", "joint", "loss", "bias", "pattern"])
    alpha: DriftAlpha = DriftAlpha()
    distance: Share = 0.05
    spread: Annotated[float, Field(gt=1)] = 1.08
    shift: Share = 0.1
    gaps: Share = 0.03
    auc: Annotated[float, Field(gt=0.5, lt=1)] = 0.54
    dependence: Annotated[float, Field(gt=0)] = 0.1
    loss: Annotated[float, Field(gt=0)] = 0.02
    bias: Annotated[float, Field(gt=0)] = 0.1
    pattern: Annotated[float, Field(gt=0)] = 0.08

"""The block `evaluate` of params.yaml."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from stages.core.params import Block, Share


class Evaluate(Block):
    resamples: Annotated[int, Field(ge=100)] = 1000
    learning_curve: list[Share] = Field(default=[0.1, 0.3])
    backtest_share: Share = 0.2

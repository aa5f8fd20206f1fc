"""The block `explain` of params.yaml."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from stages.core.params import Block


class Explain(Block):
    rows: Annotated[int, Field(ge=20)] = 1000
    repeats: Annotated[int, Field(ge=1)] = 5

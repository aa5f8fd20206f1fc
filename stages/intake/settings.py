"""The blocks `ingest` and `prepare` of params.yaml."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from stages.core.params import Block, Share


class Ingest(Block):
    sources: Annotated[list[str], Field(min_length=1)]
    max_rejected: Annotated[float, Field(ge=0, le=1)]


class Prepare(Block):
    test_size: Share

"""The block `tune` of params.yaml."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, RootModel, model_validator

from stages.core.params import Block
from stages.modeling.families import ESTIMATORS


class Range(Block):
    """Values from `low` to `high`, whole numbers where both are."""

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _is_a_range(self) -> Range:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError("low must be below high, and above 0 on a log scale")
        return self


class Choice(Block):
    """One of these values."""

    choices: Annotated[list[bool | int | float | str], Field(min_length=2)]


class Tune(RootModel[dict[str, dict[str, Range | Choice]]]):
    """Per estimator, what the search may set: a path below `train.<estimator>`, or of a voting's member, to its values."""

    model_config = ConfigDict(frozen=True)
    root: dict[str, dict[str, Range | Choice]] = {}

    @model_validator(mode="after")
    def _spaces_are_of_estimators(self) -> Tune:
        for name in self.root.keys() - set(ESTIMATORS):
            raise ValueError(f"no estimator {name!r}; there are {', '.join(ESTIMATORS)}")
        return self

"""The block `train` of params.yaml."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from stages.core.params import Block, Share
from stages.modeling.families import ESTIMATORS, Settings


class Threshold(Block):
    """What the decision threshold is chosen for: the best F1, the most recall at a precision, or the least cost when a
    missed positive costs `cost_ratio` false alarms (1 is accuracy), but for chance.
    """

    goal: Literal["f1", "recall_at_precision", "cost"]
    precision: Share = 0.5
    cost_ratio: Annotated[float, Field(gt=0)] = 1.0


class Train(Block):
    """`model` is an estimator's name or `best`; `candidates` are compared by cross-validation. The settings of an
    estimator are in the sub-block of its name.
    """

    model: str
    candidates: Annotated[list[str], Field(min_length=1)]
    folds: Annotated[int, Field(ge=2, le=20)]
    target_smooth: Annotated[float, Field(ge=0)] | Literal["auto"] = "auto"
    resampling: Literal["none", "oversample", "undersample", "class_weight"] = "none"
    calibration: Literal["none", "sigmoid", "isotonic"] = "none"
    threshold: Threshold = Threshold(goal="f1")
    coverage: Share = 0.9
    estimators: dict[str, Settings] = Field(default={})

    @model_validator(mode="before")
    @classmethod
    def _gather_estimators(cls, block: Any) -> Any:
        if not isinstance(block, dict):
            return block
        settings = {name: block[name] or {} for name in ESTIMATORS if name in block}
        return {key: value for key, value in block.items() if key not in ESTIMATORS} | {"estimators": settings}

    @model_validator(mode="after")
    def _names_are_known(self) -> Train:
        for name in {*self.candidates, self.model} - {"best"}:
            if name not in ESTIMATORS:
                raise ValueError(f"no estimator {name!r}; there are {', '.join(ESTIMATORS)}")
        return self

    @property
    def compared(self) -> list[str]:
        """The candidates, and the named model where it is not among them."""
        extra = [] if self.model in ("best", *self.candidates) else [self.model]
        return [*self.candidates, *extra]

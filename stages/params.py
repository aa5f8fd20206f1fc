"""The knobs in params.yaml, validated."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML

from stages.command import UserError

Settings = dict[str, Any]
Share = Annotated[float, Field(gt=0, lt=1)]

ESTIMATORS = (
    "logistic_regression",
    "linear_regression",
    "ridge",
    "random_forest",
    "extra_trees",
    "gradient_boosting",
    "hist_gradient_boosting",
    "gaussian_process",
    "voting",
    "lightgbm",
    "catboost",
    "xgboost",
)


class Block(BaseModel):
    """A block of params.yaml. A key that nothing reads is an error, not a silent typo."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Base(Block):
    seed: Annotated[int, Field(ge=0)]


class Ingest(Block):
    sources: Annotated[list[str], Field(min_length=1)]
    max_rejected: Annotated[float, Field(ge=0, le=1)]


class Prepare(Block):
    test_size: Share


class Threshold(Block):
    """What the decision threshold is chosen for: the best F1, the most recall at a precision, or the least cost when a
    missed positive costs `cost_ratio` false alarms (1 is accuracy).
    """

    goal: Literal["f1", "recall_at_precision", "cost"]
    precision: Share = 0.5
    cost_ratio: Annotated[float, Field(gt=0)] = 1.0


class Train(Block):
    """`model` is an estimator's name or `best`; `candidates` are compared by cross-validation. The settings of an
    estimator stand in the sub-block of its name.
    """

    model: str
    candidates: Annotated[list[str], Field(min_length=1)]
    folds: Annotated[int, Field(ge=2, le=20)]
    target_smooth: Annotated[float, Field(ge=0)] | Literal["auto"] = "auto"
    resampling: Literal["none", "oversample", "undersample", "class_weight"] = "none"
    calibration: Literal["none", "sigmoid", "isotonic"] = "none"
    threshold: Threshold = Threshold(goal="f1")
    coverage: Share = 0.9
    estimators: dict[str, Settings] = {}

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


class Evaluate(Block):
    resamples: Annotated[int, Field(ge=100)] = 1000
    learning_curve: list[Share] = [0.1, 0.3]
    backtest_share: Share = 0.2


class Explain(Block):
    rows: Annotated[int, Field(ge=20)] = 1000
    repeats: Annotated[int, Field(ge=1)] = 5


class Params(Block):
    base: Base
    ingest: Ingest
    prepare: Prepare
    train: Train
    evaluate: Evaluate = Evaluate()
    explain: Explain = Explain()


def load_params(project: str, path: Path = Path("params.yaml")) -> Params:
    """The parameters of one project; UserError names the key that is wrong."""
    document = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    if not isinstance(document, dict) or not isinstance(document.get(project), dict):
        raise UserError(f"{path} has no block {project!r}; copy one of another project and adapt it")
    try:
        return Params.model_validate({"base": document.get("base"), **document[project]})
    except ValidationError as error:
        raise UserError(f"{path}: {_describe(project, error)}") from None


def _describe(project: str, error: ValidationError) -> str:
    places = (
        ".".join(map(str, item["loc"] if item["loc"][0] == "base" else (project, *item["loc"])))
        + ": "
        + item["msg"].removeprefix("Value error, ")
        for item in error.errors()
    )
    return "; ".join(places)

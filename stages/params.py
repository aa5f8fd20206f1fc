"""The knobs in params.yaml, validated."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML

from stages.command import UserError

Settings = dict[str, Any]
Evidence = Literal["columns", "joint", "loss", "bias", "pattern"]
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


class Promote(Block):
    """What a model must show before it is promoted. `floors` by metric, a ceiling where less is better. A challenger may be
    worse than the champion by `margin`, a share of the champion's primary metric; at 0 it has to be better. It has to be
    so in `confidence` of the paired resamples. Gaps between sensitive groups may grow by `fairness_margin`; `max_ece` bounds
    the calibration error of a classifier, `coverage_tolerance` how far the intervals of a regressor may cover more or less
    than they promise; `latency_ms` the median time of one row.
    """

    floors: dict[str, float] = {}
    margin: Annotated[float, Field(ge=0, lt=1)] = 0.0
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.975
    fairness_margin: Annotated[float, Field(ge=0, le=1)] = 0.05
    max_ece: Share = 0.05
    coverage_tolerance: Share = 0.05
    latency_ms: Annotated[float, Field(gt=0)] = 5.0


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

    Refused: more rows that break the schema than `ingest.max_rejected`, gaps that grew by more than `max_gaps` of the rows,
    a number that became constant, or one that looks like itself in another unit.
    Retrain: evidence of one of the kinds in `retrain_on`, when it is both surer than its `alpha` and larger than its least
    size: `distance` between the distributions of a number or the score (0 to 1), `spread` as a ratio, `shift` between
    shares of categories (Cohen's w), `gaps` as a share of the rows; `auc` of a classifier that tells the batch from
    training, and `dependence` of a number on the others in standard deviations, which both count as `joint`; with outcomes
    `loss`, the share by which it grew, `bias` and `pattern` of the residuals in standard deviations.
    A batch of fewer than `min_rows` is kept, and of a larger one than `sample` as many rows are tested.
    """

    min_rows: Annotated[int, Field(ge=30)] = 100
    sample: Annotated[int, Field(ge=1_000)] = 50_000
    max_gaps: Share = 0.2
    retrain_on: list[Evidence] = ["columns", "joint", "loss", "bias", "pattern"]
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


class Params(Block):
    base: Base
    ingest: Ingest
    prepare: Prepare
    train: Train
    evaluate: Evaluate = Evaluate()
    explain: Explain = Explain()
    promote: Promote = Promote()
    drift: Drift = Drift()
    tune: dict[str, dict[str, Range | Choice]] = {}

    @model_validator(mode="after")
    def _spaces_are_of_estimators(self) -> Params:
        for name in self.tune.keys() - set(ESTIMATORS):
            raise ValueError(f"tune: no estimator {name!r}; there are {', '.join(ESTIMATORS)}")
        return self


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

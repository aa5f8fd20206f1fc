"""The space that a tuning searches, and its values in params.yaml."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from ruamel.yaml.comments import CommentedMap

from stages.core.cli import UserError
from stages.core.yaml_edit import edited
from stages.modeling.families import ESTIMATORS
from stages.modeling.settings import Train
from stages.tuning.settings import Choice, Range, Tune

Values = dict[str, Any]
Space = dict[str, Range | Choice]

DIGITS = 4  # significant ones of a drawn number, so that what is written down is what was scored


def choose_space(name: str, train: Train, spaces: Tune, model: str | None) -> tuple[str, Space]:
    """The estimator that was asked for, else that of `train.model`, and its space; UserError if it has none."""
    estimator = model or train.model
    if estimator not in spaces.root:
        known = ", ".join(spaces.root) or "none yet"
        raise UserError(f"params.yaml has no {name}.tune.{estimator}: add it, or name one that exists with --model: {known}")
    return estimator, spaces.root[estimator]


def path_of(key: str, estimator: str) -> tuple[str, ...]:
    """Where in `train` a key of an estimator's space leads."""
    parts = tuple(key.split("."))
    return parts if parts[0] in ESTIMATORS else (estimator, *parts)


def current_values(train: Train, estimator: str, space: Space) -> Values:
    """The values that params.yaml has for keys of the space."""
    values = {}
    for key in space:
        value: Any = train.estimators
        for part in path_of(key, estimator):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None:
            values[key] = value
    return values


def with_values(train: Train, estimator: str, values: Values) -> Train:
    """The settings of a training with these values."""
    estimators = deepcopy(train.estimators)
    for key, value in values.items():
        set_value(estimators, path_of(key, estimator), value)
    return train.model_copy(update={"estimators": estimators})


def rewritten(text: str, name: str, estimator: str, values: Values) -> str:
    """The text of params.yaml with these values of a project; comments, order and indentation stay."""

    def change(document: Any) -> None:
        for key, value in reversed(values.items()):
            set_value(document[name]["train"], path_of(key, estimator), value)

    return edited(text, change)


def set_value(tree: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Set a value in nested mappings. In a file a new key comes first: the last one may be followed by a comment on
    what comes next.
    """
    name, *rest = path
    if rest:
        inner = tree[name] if isinstance(tree.get(name), dict) else type(tree)()
        set_value(inner, tuple(rest), value)
        value = inner
    if name not in tree and isinstance(tree, CommentedMap):
        tree.insert(0, name, value)
    else:
        tree[name] = value


def distribution(part: Range | Choice) -> BaseDistribution:
    """What Optuna draws from."""
    if isinstance(part, Choice):
        return CategoricalDistribution(part.choices)
    if isinstance(part.low, int) and isinstance(part.high, int):
        return IntDistribution(part.low, part.high, log=part.log)
    return FloatDistribution(part.low, part.high, log=part.log)


def rounded(value: Any, part: Range | Choice) -> Any:
    """A drawn number with few digits, still inside its range."""
    if isinstance(part, Choice) or isinstance(value, int):
        return value
    return min(max(float(f"{value:.{DIGITS}g}"), part.low), part.high)


def covers(part: Range | Choice, value: Any) -> bool:
    """Whether a value of params.yaml is in the space."""
    if isinstance(part, Choice):
        return value in part.choices
    whole = isinstance(part.low, int) and isinstance(part.high, int)
    return isinstance(value, int if whole else (int, float)) and part.low <= value <= part.high


def lowest(space: Space) -> Values:
    """One value for every key: the low end, or the first choice."""
    return {key: part.choices[0] if isinstance(part, Choice) else part.low for key, part in space.items()}

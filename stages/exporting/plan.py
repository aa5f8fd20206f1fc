"""A fitted encoder as plain values: what `runtime.scorer.Encoder` turns features into columns by."""

from __future__ import annotations

from typing import Any

from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline


def encoder_plan(encoder: ColumnTransformer) -> list[dict[str, Any]]:
    """One entry per feature, in the order of the columns that the encoder makes."""
    plan = []
    for part, transformer, features in encoder.transformers_:
        if part == "remainder":
            continue
        steps = list(transformer.named_steps.values()) if isinstance(transformer, Pipeline) else [transformer]
        for number, feature in enumerate(features):
            plan.append({"feature": feature, "kind": part, **_PLANS[part](steps, features, number)})
    return plan


def _numeric(steps: list[Any], features: list[str], number: int) -> dict[str, Any]:
    feature = features[number]
    if len(steps) == 1:  # missing values are kept
        return {"columns": [feature], "fill": None, "mean": None, "scale": None}
    imputer, scaler = steps
    weights = {
        features[column]: [float(weight), float(imputer.median_[column])]
        for column, weight in zip(imputer.complete_, imputer.weights_[number], strict=True)
        if weight
    }
    fill = {"intercept": float(imputer.intercept_[number]), "weights": weights}
    return {"columns": [feature], "fill": fill, **_scaling(scaler, number)}


def _one_hot(steps: list[Any], features: list[str], number: int) -> dict[str, Any]:
    feature = features[number]
    categories = [str(category) for category in steps[0].categories_[number]]
    return {"columns": [f"{feature}_{category}" for category in categories], "categories": categories}


def _target(steps: list[Any], features: list[str], number: int) -> dict[str, Any]:
    encoder = steps[0]
    return {
        "columns": [features[number]],
        "categories": [str(category) for category in encoder.categories_[number]],
        "encodings": [float(value) for value in encoder.encodings_[number]],
        "default": float(encoder.target_mean_),
        **(_scaling(steps[1], number) if len(steps) > 1 else {"mean": None, "scale": None}),
    }


def _scaling(scaler: Any, number: int) -> dict[str, float]:
    return {"mean": float(scaler.mean_[number]), "scale": float(scaler.scale_[number])}


_PLANS = {"numeric": _numeric, "one_hot": _one_hot, "target_encoded": _target}

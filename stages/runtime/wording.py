"""Identifiers written for people."""

from __future__ import annotations


def words(name: str) -> str:
    """The name of an estimator, a feature or a setting as words: `hist_gradient_boosting` is hist gradient boosting."""
    return name.replace("_", " ")

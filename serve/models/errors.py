"""Why a body gets no answer. `serve.api.problems` says what a client is told."""

from __future__ import annotations

import msgspec


class FieldError(msgspec.Struct, omit_defaults=True):
    """One wrong field: where it is, and what was expected there."""

    field: str
    message: str
    row: int | None = None


class MalformedError(ValueError):
    """A body that is no JSON."""


class InvalidInputError(ValueError):
    """The input is invalid: `errors` lists every wrong field."""

    def __init__(self, message: str, errors: list[FieldError] | None = None) -> None:
        super().__init__(message)
        self.errors = errors or []


class TooExtremeError(InvalidInputError):
    """The prediction of a row, by its number, is infinite or not a number."""

    def __init__(self, row: int) -> None:
        message = f"The prediction of row {row} is no finite number: its values are too extreme."
        super().__init__(message, [FieldError("", "The values are too extreme together", row=row)])
        self.row = row


def wrong_fields(errors: list[FieldError]) -> InvalidInputError:
    """The error of a body with these wrong fields."""
    return InvalidInputError(f"{len(errors)} {'fields are' if len(errors) > 1 else 'field is'} wrong.", errors)

"""Values that a model has not met in training: it answers all the same, and the answer should say so."""

from __future__ import annotations

from stages.projects._base import Column, Columns
from stages.runtime.population import Population

SHOWN = 60  # characters of a text


class Unseen:
    """Finds texts that were not among the training rows, and numbers outside their range."""

    def __init__(self, columns: tuple[Column, ...], population: Population) -> None:
        found = population["columns"]
        titled = [(column.name, column.title, found[column.name]) for column in columns if column.name in found]
        self._ranges = [(name, title, tuple(bins["range"])) for name, title, bins in titled if bins.get("range")]
        self._known = [(name, title, frozenset(bins["known"])) for name, title, bins in titled if "known" in bins]

    def warnings(self, columns: Columns) -> list[list[str]]:
        """A sentence for each such value, row by row; none of a model whose population.json does not tell."""
        found: list[list[str]] = [[] for _ in next(iter(columns.values()))]
        for name, title, (least, greatest) in self._ranges:
            for row, value in enumerate(columns[name].tolist()):
                if value < least or value > greatest:
                    side, bound = ("below the smallest", least) if value < least else ("above the largest", greatest)
                    found[row].append(f"{title}: {value:,.6g} is {side} value in training, {bound:,.6g}.")
        for name, title, known in self._known:
            for row, text in enumerate(columns[name].tolist()):
                if text is not None and text not in known:
                    found[row].append(f"{title}: {text[:SHOWN]!r} is in no training row.")
        return found

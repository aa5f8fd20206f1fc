"""The adverts that a model was trained on: an answer about one of them should say so, as the model has seen its price.

Only for projects that have a market, whose rows are published adverts. For any other the table is empty: an answer must not
reveal whether the row of a person was in training (membership inference).
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path

import numpy as np

from stages.projects._base import Columns, Project, columns_of

FILE = "adverts.npz"
PARTS = {"key": np.uint64, "day": np.int64, "asked": np.float64, "unseen": np.float64}


def adverts_table(project: Project, columns: Columns, asked: np.ndarray, unseen: np.ndarray) -> dict[str, np.ndarray]:
    """What `adverts.npz` holds of the training rows: the key, the day, the price asked, and the price by a model that did
    not see the advert, each of shape (rows,). Without rows for a project that has no market.
    """
    if not project.market:
        return {name: np.empty(0, dtype) for name, dtype in PARTS.items()}
    table = {"key": keys(columns, project), "day": days(columns, project), "asked": asked, "unseen": unseen}
    return {name: np.asarray(table[name], dtype) for name, dtype in PARTS.items()}


def keys(columns: Columns, project: Project) -> list[int]:
    """A hash of each row's inputs without the day of the valuation."""
    rows = zip(*(columns[c.name].tolist() for c in project.columns if c.name != project.time_column), strict=True)
    return [int.from_bytes(blake2b(repr(row).encode(), digest_size=8).digest()) for row in rows]


def days(columns: Columns, project: Project) -> np.ndarray:
    """The day of the valuation as a number, shape (rows,); 0 in a project without one."""
    if project.time_column is None:
        return np.zeros(len(next(iter(columns.values()))), dtype=np.int64)
    return columns[project.time_column].astype("datetime64[D]").astype(np.int64)


class Trained:
    """Finds rows that are adverts from the training data. `model` is the MD5 of the model.joblib that learned from them."""

    def __init__(self, project: Project, table: Mapping[str, np.ndarray]) -> None:
        self.model = str(table["model"])
        self._project = project
        key, self._day, self._asked, self._unseen = (table[name] for name in PARTS)
        self._places: dict[int, list[int]] = {}
        for place, value in enumerate(key.tolist()):
            self._places.setdefault(value, []).append(place)
        self._title = next(column.title for column in columns_of(project.record) if column.name == project.target)

    @classmethod
    def load(cls, project: Project, source: Path | bytes) -> Trained:
        """From `adverts.npz` or its bytes; ValueError for another table."""
        data = source if isinstance(source, bytes) else source.read_bytes()
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            table = dict(file)
        shapes = {table[name].shape if name in table else None for name in PARTS}
        if len(shapes) != 1 or "model" not in table or any(table[name].dtype != dtype for name, dtype in PARTS.items()):
            raise ValueError(f"{FILE} does not hold {', '.join(PARTS)} and model, one value per advert")
        return cls(project, table)

    def warnings(self, columns: Columns) -> list[list[str]]:
        """A sentence for each row that is an advert from the training data, with the price asked and what a model that had
        not seen it says. Of several with these inputs those of the same day, if there are any, and else all.
        """
        found: list[list[str]] = [[] for _ in next(iter(columns.values()))]
        if not self._places:
            return found
        identities = zip(keys(columns, self._project), days(columns, self._project).tolist(), strict=True)
        for row, (key, day) in enumerate(identities):
            if places := self._places.get(key):
                same = [place for place in places if self._day[place] == day]
                found[row].append(self._sentence(same or places))
        return found

    def _sentence(self, places: list[int]) -> str:
        what = "this advert" if len(places) == 1 else f"{len(places)} adverts with these values"
        asked, unseen = self._prices(self._asked[places]), self._prices(self._unseen[places])
        return f"The model was trained on {what}. {self._title}: {asked}. A model that had not seen it says {unseen}."

    def _prices(self, values: np.ndarray) -> str:
        ends = dict.fromkeys(f"{value:,.0f}" for value in (values.min(), values.max()))
        return f"{' to '.join(ends)} {self._project.unit}"

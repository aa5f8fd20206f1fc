"""Reads raw rows as Parquet, writes what the server would give them as Parquet: the column `score`, and `warnings` about
values that training had not met and adverts that the model was trained on.

python -m stages.score bankchurn rows.parquet scores.parquet
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from stages.core.cli import run
from stages.core.files import Paths, read_json, write


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("rows", type=Path, help="Parquet file of raw rows")
    parser.add_argument("scores", type=Path, help="Parquet file to write")


def main(name: str, rows: Path, scores: Path) -> None:
    import pandas as pd

    from stages.modeling.scoring import load_scorer, read_columns
    from stages.projects._base import load_project
    from stages.runtime.trained import FILE, Trained
    from stages.runtime.unseen import Unseen

    project, folder = load_project(name), Paths(name).model
    columns = read_columns(pd.read_parquet(rows), project)
    warnings = Unseen(project.columns, read_json(folder / "population.json")).warnings(columns)
    if (folder / FILE).exists():  # models of older pipelines have none
        for texts, more in zip(warnings, Trained.load(project, folder / FILE).warnings(columns), strict=True):
            texts += more
    score = load_scorer(project, folder)
    found = pd.DataFrame({"score": score(columns), "warnings": [" ".join(texts) for texts in warnings]})
    write(scores, partial(found.to_parquet, index=False))
    print(f"{name}: {len(found)} rows scored")


if __name__ == "__main__":
    run(main, options)

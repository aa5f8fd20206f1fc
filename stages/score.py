"""Reads raw rows as Parquet, writes what the server would give them as Parquet: the column `score`, and `warnings` about
values that training had not met.

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
    from stages.runtime.unseen import Unseen

    project, folder = load_project(name), Paths(name).model
    columns = read_columns(pd.read_parquet(rows), project)
    unseen = Unseen(project.columns, read_json(folder / "population.json")).warnings(columns)
    found = pd.DataFrame({"score": load_scorer(project, folder)(columns), "warnings": [" ".join(texts) for texts in unseen]})
    write(scores, partial(found.to_parquet, index=False))
    print(f"{name}: {len(found)} rows scored")


if __name__ == "__main__":
    run(main, options)

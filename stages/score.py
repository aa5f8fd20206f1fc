"""Reads rows from a CSV or Parquet file, writes what the server would answer to each as Parquet: the column `score`,
`warnings` about values that training had not met and adverts that the model was trained on, and `refused`, the reason why a
row has no score.

python -m stages.score bankchurn rows.csv scores.parquet
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from stages.core.cli import UserError, run
from stages.core.files import Paths, read_json, write


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("rows", help="CSV or Parquet file of rows, at a path, s3:// or https:// address")
    parser.add_argument("scores", type=Path, help="Parquet file to write")


def main(name: str, rows: str, scores: Path) -> None:
    import pandas as pd

    from stages.core.schema import coerce
    from stages.intake.sift import check_header, sift
    from stages.intake.sources import load_file
    from stages.modeling.scoring import load_scorer
    from stages.projects._base import load_project
    from stages.runtime.trained import FILE, Trained
    from stages.runtime.unseen import Unseen
    from stages.runtime.wording import count

    project, folder = load_project(name), Paths(name).model
    source = load_file(rows, project)
    check_header(source, project.columns)
    accepted, rejected, counts = sift(source.frame, project.columns, source.faults)
    reasons = [f"{count(rows)} x {reason}" for reason, rows in counts.items()]
    if accepted.empty:
        raise UserError(f"no row of {rows} can be scored: {'; '.join(reasons)}")
    columns = coerce(accepted, project.columns)[0]
    warnings = Unseen(project.columns, read_json(folder / "population.json")).warnings(columns)
    if (folder / FILE).exists():  # models of older pipelines have none
        for texts, more in zip(warnings, Trained.load(project, folder / FILE).warnings(columns), strict=True):
            texts += more
    scored = pd.DataFrame({"score": load_scorer(project, folder)(columns)}, accepted.index)
    scored["warnings"] = [" ".join(texts) for texts in warnings]
    found = scored.reindex(source.frame.index).fillna({"warnings": ""})
    found["refused"] = rejected["reason"].reindex(found.index).fillna("")
    write(scores, partial(found.to_parquet, index=False))
    print("\n    ".join([f"{name}: {count(len(scored), 'row')} scored, {count(len(rejected))} refused", *reasons]))


if __name__ == "__main__":
    run(main, options)

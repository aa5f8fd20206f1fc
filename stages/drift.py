"""Checks a batch against what the model in models/ was trained on: is it bad data, a reason to retrain, or neither?

python -m stages.drift realestate --batch new.parquet
python -m serve.log dump realestate --hours 24 --output logged.csv && python -m stages.drift realestate --batch logged.csv

The batch may have the target or not. Writes reports/<project>/drift/<file>-<8 digits of its SHA-256>.json, Evidently's
report beside it as HTML, and a line in the ledger. Exit code 0: keep the model. 3: the batch is refused as bad data. 4:
retrain.
"""

from __future__ import annotations

import argparse

from stages.core.cli import run
from stages.review import check_first

CODES: dict[str, int | None] = {"keep": None, "refuse": 3, "retrain": 4}


def options(parser: argparse.ArgumentParser) -> None:
    batch = "a CSV or Parquet file: a path, s3:// or https:// address, or what `python -m serve.log dump` wrote"
    parser.add_argument("--batch", required=True, help=batch)
    parser.add_argument("--no-html", dest="html", action="store_false", help="leave out Evidently's report, to save seconds")
    parser.add_argument("--dry-run", action="store_true", help="write nothing")


def main(name: str, batch: str, html: bool = True, dry_run: bool = False) -> int | None:
    from stages.monitoring.record import run_check, save_check

    check = run_check(name, batch)
    print(check.summary)
    if not dry_run:
        print(f"{name}: the report is {save_check(check, html=html)}")
    return CODES[check.report["verdict"]]


if __name__ == "__main__":
    run(main, options, first=check_first)

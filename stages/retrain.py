"""Checks a batch against what the model was trained on and, where that calls for it, trains a new one: adopts the batch as a
further source, runs the pipeline, commits, lets the gate decide and deploys what it accepts.

python -m stages.retrain realestate --batch new.csv

A batch that is kept or refused changes nothing but the ledger. If the gate refuses the model, retrain reverts it but keeps
the batch for the next training. The command can be interrupted and rerun at any point.
Exit code 0: nothing to do, or promoted. 3: the batch, or the new model, was refused, or the batch has no outcomes to learn
from yet.
"""

from __future__ import annotations

import argparse

from stages.core.cli import run
from stages.review import check_first


def options(parser: argparse.ArgumentParser) -> None:
    batch = "a CSV or Parquet file: a path, s3:// or https:// address, or what `python -m serve.log dump` wrote"
    parser.add_argument("--batch", required=True, help=batch)
    parser.add_argument("--dry-run", action="store_true", help="check the batch and write nothing")
    parser.add_argument("--propose", action="store_true", help="stop before the gate decides, for a pull request")
    parser.add_argument("--push", action="store_true", help="push data, branch and tags")
    parser.add_argument("--server", help="the server that loads what is promoted; see stages.deploy")


def main(
    name: str, batch: str, dry_run: bool = False, propose: bool = False, push: bool = False, server: str | None = None
) -> int | None:
    from stages.monitoring.record import run_check
    from stages.monitoring.retraining import open_batch, retrain
    from stages.promotion import tags
    from stages.promotion.dvc import push_data
    from stages.promotion.git import check_clone

    check_clone(push=push and not dry_run)
    if dry_run:
        check = run_check(name, batch)
        print(check.summary)
        if check.report["verdict"] == "retrain" and not check.report["batch"]["outcomes"]:
            print(f"{name}: the batch has no outcomes to learn from yet, so no model would be trained")
        elif check.report["verdict"] == "retrain":
            print(f"{name}: the batch would be adopted, a model trained with it, and the gate asked")
        return None
    code = retrain(open_batch(name, batch, propose=propose, server=server))
    if push:
        push_data()
        tags.push(name)
    return code


if __name__ == "__main__":
    run(main, options, first=check_first)

"""Compares the model in the workspace with the one in prod by the rules of `promotion.gate`, writes the decision into the
ledger, commits that, and tags a model that is accepted as the next version and as the one in prod.

python -m stages.promote bankchurn

Exit code 0: promoted, or nothing to decide. 3: refused.
"""

from __future__ import annotations

import argparse

from stages.core.cli import run
from stages.review import check_first

REFUSED = 3
VERDICTS = {True: "pass", False: "FAIL", None: "-"}


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="print what would be decided and write nothing")
    parser.add_argument("--push", action="store_true", help="push the branch and the tags to origin, all or nothing")
    parser.add_argument("--by", help="who decides; otherwise the GitHub account or Git's user")


def main(name: str, dry_run: bool = False, push: bool = False, by: str | None = None) -> int | None:
    from stages.promotion import record, tags
    from stages.promotion.git import check_clone

    check_clone(push=push and not dry_run)
    if last := record.interrupted_promotion(name):
        if dry_run:
            print(f"{name}: the promotion of {last['version']} was interrupted; without --dry-run it is finished first")
            return None
        record.carry_out(name, last)
        print(f"{name}: finished the promotion of {last['version']}, which was interrupted")
    outcome = record.promote(name, by, dry_run=dry_run)
    for rule in outcome.rules:
        print(f"{rule.rule:14}{VERDICTS[rule.passed]}")
    print(f"\n{outcome.reason}" if outcome.rules else outcome.reason)
    if push and not dry_run:
        tags.push(name)
    return REFUSED if outcome.refused else None


if __name__ == "__main__":
    run(main, options, first=check_first)

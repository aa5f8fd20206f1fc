"""Compares the experiments on the last commit: what each changed, and what came out.

python -m stages.experiments bankchurn

`dvc exp show` lists the same runs with every column; it shows the metrics of the last commit for a run that failed.
"""

from __future__ import annotations

from stages.core.cli import run


def main(name: str) -> None:
    from stages.promotion.dvc import show_experiments
    from stages.promotion.git import check_clone
    from stages.review.experiments import experiments_table, read_experiments

    check_clone()
    print("\n".join(experiments_table(read_experiments(show_experiments(), name), name)))


if __name__ == "__main__":
    run(main)

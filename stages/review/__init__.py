from __future__ import annotations


def check_first() -> None:
    """`workspace.check_workspace` for the start of a command, imported then, so that `--help` does not wait for it."""
    from stages.review.workspace import check_workspace

    check_workspace()

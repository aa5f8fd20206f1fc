from __future__ import annotations


def check_first() -> None:
    """What a command that decides checks at its start: the workspace, and the webhook's settings. Imported then, so that
    `--help` does not wait for it.
    """
    from stages.promotion.webhook import check_webhook
    from stages.review.workspace import check_workspace

    check_workspace()
    check_webhook()

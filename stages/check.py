"""Checks all projects and the whole of params.yaml, including the blocks that no stage of the DAG reads. Writes nothing.

python -m stages.check
"""

from __future__ import annotations

import sys

from stages.core.cli import UserError
from stages.projects._base import project_names


def main() -> None:
    from stages.review.workspace import check_workspace

    check_workspace()
    print(f"{len(project_names())} projects and their params are valid")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"check: {error}")

"""Checks all projects, their entries in dvc.yaml and the whole of params.yaml, including the blocks that no stage of the DAG
reads, and says where outputs may differ from the committed ones in the last digits. Writes nothing.

python -m stages.check
"""

from __future__ import annotations

from stages.core.cli import run
from stages.projects import project_names


def main() -> None:
    from stages.review.workspace import check_workspace
    from stages.runtime.kernels import deviation

    check_workspace()
    print(f"{len(project_names())} projects and their params are valid")
    if reason := deviation():
        print(f"outputs may differ in the last digits from the committed ones: {reason}")


if __name__ == "__main__":
    run(main, takes_project=False)

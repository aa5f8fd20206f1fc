"""Compares the workspace with a base revision and writes report.md, with its plots in report/, for who reviews the change.

python -m stages.report --base main
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from stages.core.cli import run

REPORT, IMAGES = Path("report.md"), Path("report")


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--base", default="main", help="the branch, tag or commit to compare with; main by default")


def main(base: str) -> None:
    from stages.core.files import write
    from stages.projects._base import load_project, project_names
    from stages.promotion.checkout import tree
    from stages.promotion.dvc import outdated_stages
    from stages.promotion.git import check_clone, head, uncommitted
    from stages.promotion.tags import Version
    from stages.review.changes import examine_project, resolve_base
    from stages.review.snapshots import load_params_yaml
    from stages.review.text import markdown
    from stages.review.workspace import check_workspace

    check_clone()
    revision, projects = resolve_base(base), project_names()
    check_workspace()
    outdated = outdated_stages()
    shutil.rmtree(IMAGES, ignore_errors=True)
    with tree(revision) as folder:
        found = {
            name: examine_project(load_project(name), Version(name, base, revision), folder, outdated, IMAGES)
            for name in projects
        }
        removed = sorted(load_params_yaml(folder).keys() - {"base", *projects})
    text = markdown((base, revision), (head(), uncommitted()), found, removed)
    write(REPORT, lambda path: path.write_text(text, encoding="utf-8"))
    print(f"{REPORT}: {', '.join(name for name in projects if found[name]) or 'no project'} differs from {base}")


if __name__ == "__main__":
    run(main, options, takes_project=False)

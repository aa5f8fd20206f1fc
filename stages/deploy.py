"""Puts the version that holds a stage into models/ and reports/, from where servers load it.

python -m stages.deploy bankchurn
python -m stages.deploy bankchurn --to ../live
python -m stages.deploy bankchurn --to ../live --version v1.1.0 --reason "v1.2.0 is wrong about pensioners"

With --to they are those of another folder, which a server is started on with SERVE_ROOT; without it those of the checkout,
where training writes, too. With --version the stage goes to that version: a rollback. Servers on the folder load the model
within 5 s. The one whose address VERITABLE_SERVER names is asked to at once; VERITABLE_ADMIN_TOKEN holds its admin token,
and VERITABLE_API_KEY a key where it wants one.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from stages.core.cli import run
from stages.review import check_first


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--stage", default="prod", help="default: prod")
    parser.add_argument("--version", help="give the stage to this version first")
    parser.add_argument("--reason", default="", help="why, for the ledger and the tag")
    parser.add_argument("--to", type=Path, metavar="DIR", help="the folder that gets models/ and reports/; default: here")
    parser.add_argument("--push", action="store_true", help="push the branch and the tags to origin")
    parser.add_argument("--server", default=os.environ.get("VERITABLE_SERVER"), help="default: VERITABLE_SERVER")


def main(
    project: str, stage: str, version: str | None, reason: str, push: bool, server: str | None, to: Path | None = None
) -> None:
    from stages.core.files import Paths
    from stages.promotion import tags
    from stages.promotion.git import check_clone
    from stages.promotion.installation import install
    from stages.promotion.server import reload_model
    from stages.promotion.workspace import describe_replaced

    check_clone(push=push)
    installed = install(project, stage, version, reason, to)
    if push:
        tags.push(project)
    state = "is now in" if installed.is_new else "was already in"
    folder = (to or Path()) / Paths(project).model
    print(f"{project}: {installed.version.version} ({installed.hash[:12]}) {state} {folder}")
    if not to and (replaced := describe_replaced(project, installed.before, installed.hash)):
        print(f"{project}: {replaced}")
    if server:
        reload_model(project, server, installed.hash)
        print(f"{project}: {server} serves it")


if __name__ == "__main__":
    run(main, options, first=check_first)

"""Puts the version that holds a stage into models/ and reports/, from where the server loads it, and asks the server to.

python -m stages.deploy bankchurn
python -m stages.deploy bankchurn --version v1.1.0 --reason "v1.2.0 is wrong about pensioners"

With --version the stage goes to that version: a rollback. The server is asked to load the model when VERITABLE_SERVER names
its address; VERITABLE_ADMIN_TOKEN holds its admin token, and VERITABLE_API_KEY a key where it wants one.
"""

from __future__ import annotations

import argparse
import os

from stages.core.cli import run
from stages.review import check_first


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--stage", default="prod", help="default: prod")
    parser.add_argument("--version", help="give the stage to this version first")
    parser.add_argument("--reason", default="", help="why, for the ledger and the tag")
    parser.add_argument("--push", action="store_true", help="push the branch and the tags to origin")
    parser.add_argument("--server", default=os.environ.get("VERITABLE_SERVER"), help="default: VERITABLE_SERVER")


def main(project: str, stage: str, version: str | None, reason: str, push: bool, server: str | None) -> None:
    from stages.core.files import Paths
    from stages.promotion import tags
    from stages.promotion.installation import install
    from stages.promotion.server import reload_model

    installed = install(project, stage, version, reason)
    if push:
        tags.push(project)
    state = "is now in" if installed.is_new else "was already in"
    print(f"{project}: {installed.version.version} ({installed.hash[:12]}) {state} {Paths(project).model}")
    if server:
        reload_model(project, server, installed.hash)
        print(f"{project}: {server} serves it")


if __name__ == "__main__":
    run(main, options, first=check_first)

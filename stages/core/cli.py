"""How every script is called, and how it reports an error that its user can fix."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from stages.projects._base import project_names


class UserError(Exception):
    """Something the user can fix: the message says what was wrong, where, and what to do."""


def run(
    main: Callable[..., int | None],
    options: Callable[[argparse.ArgumentParser], object] | None = None,
    first: Callable[[], object] | None = None,
) -> None:
    """Call `first`, then `main` with the project named on the command line and what `options` adds to it, and exit with the
    code that `main` returns; a `UserError` ends in one line instead of a traceback.
    """
    parser = argparse.ArgumentParser(
        description=sys.modules["__main__"].__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("project", choices=project_names())
    if options:
        options(parser)
    arguments = vars(parser.parse_args())
    project = arguments.pop("project")
    try:
        if first:
            first()
        code = main(project, **arguments)
    except UserError as error:
        sys.exit(f"{project}: {error}")
    if code:
        sys.exit(code)

"""How every script is called, and how it reports an error that its user can fix.

A script imports only light modules at its top and the rest inside `main`, so that `--help` and a mistyped option are
answered before NumPy, pandas or scikit-learn load.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from stages.projects import project_names


class UserError(Exception):
    """Something the user can fix: the message says what was wrong, where, and what to do."""


def run(
    main: Callable[..., int | None],
    options: Callable[[argparse.ArgumentParser], object] | None = None,
    first: Callable[[], object] | None = None,
    *,
    takes_project: bool = True,
) -> None:
    """Call `first`, then `main` with the project named on the command line, unless it takes none, and what `options` adds to
    it. Exit with the code that `main` returns; a `UserError`, or a file that cannot be read or written, ends in one line
    instead of a traceback.
    """
    parser = argparse.ArgumentParser(
        description=sys.modules["__main__"].__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if takes_project:
        parser.add_argument("project", choices=project_names())
    if options:
        options(parser)
    arguments = vars(parser.parse_args())
    positional = [arguments.pop("project")] if takes_project else []
    subject = (positional or [Path(sys.argv[0]).stem])[0]
    try:
        if first:
            first()
        code = main(*positional, **arguments)
    except UserError as error:
        sys.exit(f"{subject}: {error}")
    except OSError as error:
        if error.filename is None:
            raise
        sys.exit(f"{subject}: {error.filename}: {error.strerror}")
    if code:
        sys.exit(code)

"""How every stage is called, and how it says no."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from stages.project import project_names


class UserError(Exception):
    """Something the user can mend: the message says what was wrong, where, and what to do."""


def run(main: Callable[[str], None]) -> None:
    """Call `main` with the project named on the command line; a `UserError` ends in one line instead of a traceback."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("project", choices=project_names())
    project = parser.parse_args().project
    try:
        main(project)
    except UserError as error:
        sys.exit(f"{project}: {error}")

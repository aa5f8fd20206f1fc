"""The projects, one module each. A module whose name begins with `_` is no project."""

from __future__ import annotations

from pkgutil import iter_modules


def project_names() -> list[str]:
    """Names of all project modules, sorted. Imports none of them, so that a command line can list them at once."""
    return sorted(module.name for module in iter_modules(__path__) if not module.name.startswith("_"))

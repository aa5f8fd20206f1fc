"""Imports inside serve/ only go down: app uses pages, pages the API, the API the service, the service models and log."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.samples import ROOT
from tests.stages.test_layers import imported

# From the top down; what is in one layer does not import each other.
LAYERS = (
    ("__main__",),
    ("app",),
    ("pages",),
    ("key",),
    ("api",),
    ("service",),
    ("metrics",),
    ("models", "log"),
    ("ids", "settings"),
)
HEIGHT = {part: len(LAYERS) - number for number, layer in enumerate(LAYERS) for part in layer}
HTTP = {"litestar", "uvicorn", "http"}  # which neither models nor log know


def faults(path: Path, source: str) -> list[str]:
    """What a module of `serve`, at its path below it, must not import but does."""
    own = path.parts[0].removesuffix(".py")
    found = []
    for name in sorted(imported(source)):
        top, *parts = name.split(".")
        if top in HTTP and own in ("models", "log"):
            found.append(f"{path} imports {name}: {own} knows no HTTP")
        if top == "serve" and parts and parts[0] != own and HEIGHT[parts[0]] >= HEIGHT[own]:
            found.append(f"{path} imports {name}: {own} is not above {parts[0]}")
    return found


MODULES = sorted(path.relative_to(ROOT / "serve") for path in (ROOT / "serve").rglob("*.py") if path.name != "__init__.py")


def test_no_module_imports_what_is_above_it() -> None:
    assert {path.parts[0].removesuffix(".py") for path in MODULES} == set(HEIGHT)
    assert [fault for path in MODULES for fault in faults(path, (ROOT / "serve" / path).read_text())] == []


@pytest.mark.parametrize(
    ("path", "line", "words"),
    [
        ("models/rows.py", "from serve.api.problems import ProblemError", "models is not above api"),
        ("models/answers.py", "from serve.log.tables import Entry", "models is not above log"),
        ("models/rows.py", "from litestar import Request", "models knows no HTTP"),
        ("log/queries.py", "from serve.models.loader import Model", "log is not above models"),
        ("api/routes.py", "from serve.pages.site import Site", "api is not above pages"),
        ("service.py", "def f():\n    import serve.api.messages", "service is not above api"),
    ],
)
def test_a_planted_import_is_found(path: str, line: str, words: str) -> None:
    assert [fault.partition(": ")[2] for fault in faults(Path(path), line)] == [words]

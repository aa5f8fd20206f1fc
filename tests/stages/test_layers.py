"""Imports only go down: scripts use the folders, a folder uses those below it, and nobody uses a script."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.samples import ROOT

# From the top down; folders of one layer do not import each other.
LAYERS = (
    ("review",),
    ("monitoring", "tuning"),
    ("promotion",),
    ("explanation", "evaluation"),
    ("exporting",),
    ("modeling", "intake"),
    ("core",),
    ("runtime",),
    ("projects",),
)
HEIGHT = {folder: len(LAYERS) - number for number, layer in enumerate(LAYERS) for folder in layer}
SERVED = {"projects", "runtime"}  # what the server may import of `stages`


def imported(source: str) -> set[str]:
    """The modules that a source imports, at its top or inside a function, or names for `import_module`."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            found |= {str(word.value) for word in node.args if isinstance(word, ast.Constant)}
    return found


def faults(path: Path, source: str) -> list[str]:
    """What a module of `stages` or `serve`, at its path in the repository, must not import but does."""
    package, *inner = path.parts
    found = []
    for name in sorted(imported(source)):
        top, *parts = name.split(".")
        if top == "serve" and package == "stages":
            found.append(f"{path} imports {name}: stages never imports serve")
        if top != "stages" or not parts:
            continue
        if parts[0] not in HEIGHT:
            found.append(f"{path} imports {name}: nobody imports a script")
        elif package == "serve" and parts[0] not in SERVED:
            found.append(f"{path} imports {name}: serve imports only {', '.join(sorted(SERVED))}")
        elif package == "stages" and len(inner) > 1 and inner[0] != parts[0] and HEIGHT[parts[0]] >= HEIGHT[inner[0]]:
            found.append(f"{path} imports {name}: {inner[0]} is not above {parts[0]}")
    return found


MODULES = sorted(path.relative_to(ROOT) for package in ("stages", "serve") for path in (ROOT / package).rglob("*.py"))


def test_every_folder_of_stages_is_in_a_layer() -> None:
    folders = {path.name for path in (ROOT / "stages").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(HEIGHT)


def test_no_module_imports_what_is_above_it() -> None:
    assert [fault for path in MODULES for fault in faults(path, (ROOT / path).read_text())] == []


@pytest.mark.parametrize(
    ("path", "line", "words"),
    [
        ("stages/core/files.py", "from stages.promotion import gate", "core is not above promotion"),
        ("stages/core/files.py", "def f():\n    import stages.modeling.metrics", "core is not above modeling"),
        ("stages/evaluation/curves.py", "from stages.explanation.card import x", "evaluation is not above explanation"),
        ("stages/monitoring/check.py", "from stages.score import x", "nobody imports a script"),
        ("stages/promote.py", "from stages import deploy", "nobody imports a script"),
        ("stages/drift.py", "from serve.log import tables", "stages never imports serve"),
        ("serve/app.py", "from stages.core.files import Paths", "serve imports only projects, runtime"),
        ("serve/app.py", "import_module('stages.modeling.pipeline')", "serve imports only projects, runtime"),
    ],
)
def test_a_planted_import_is_found(path: str, line: str, words: str) -> None:
    assert [fault.partition(": ")[2] for fault in faults(Path(path), line)] == [words]


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("stages/promote.py", "from stages.promotion import gate"),
        ("stages/promotion/gate.py", "from stages.promotion.settings import Promote"),
        ("stages/promotion/evidence.py", "from stages.evaluation.scores import score"),
        ("serve/app.py", "from stages.runtime.scorer import Scorer"),
    ],
)
def test_an_import_of_what_is_below_is_fine(path: str, line: str) -> None:
    assert faults(Path(path), line) == []

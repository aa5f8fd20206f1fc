"""Which code differs between two revisions, by the files themselves: dvc.lock has one hash for a folder of them."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from stages.runtime.identity import locked_stages

LAYOUT = "the layout of the code"
IGNORED = {".md", ".pyc"}  # files below a dependency that change no result, as in .dvcignore


def code_dependencies(lock: bytes, project: str, stages: Collection[str] | None = None) -> set[str]:
    """The files and folders of code that a dvc.lock names as dependencies of a project's stages, or of some of them."""
    deps = set()
    for name, block in locked_stages(lock).items():
        stage, _, owner = name.partition("@")
        if owner == project and (stages is None or stage in stages):
            deps |= {dep["path"] for dep in block.get("deps", [])}
    return {path for path in deps if path.startswith("stages/")}


def read_code(root: Path, dependencies: Iterable[str]) -> dict[str, bytes]:
    """The content by path of all files at or below these dependencies in a tree."""
    found = {}
    for dependency in dependencies:
        path = root / dependency
        for file in path.rglob("*") if path.is_dir() else [path]:
            if file.is_file() and file.suffix not in IGNORED:
                found[file.relative_to(root).as_posix()] = file.read_bytes()
    return found


def changed_code(old: Mapping[str, bytes], new: Mapping[str, bytes]) -> list[str]:
    """The files that differ, by path. Where code moved from files that are gone to files that are new, the move counts once,
    as `LAYOUT`, together with what it changes elsewhere: imports, comments and docstrings. Then a file is named only if a
    statement at its top level, such as a function, is nowhere in the other revision.
    """
    differing = sorted(path for path in old.keys() | new.keys() if old.get(path) != new.get(path))
    gone, came = sorted(old.keys() - new.keys()), sorted(new.keys() - old.keys())
    if not gone or not came:
        return differing
    before, after = ({path: _statements(content) for path, content in side.items()} for side in (old, new))
    everything_before, everything_after = (set().union(*side.values()) for side in (before, after))
    if not any(before[path] & after[other] for path in gone for other in came):
        return differing
    named = {path for path in differing if path in new and after[path] - everything_before}
    for path in differing:
        if before.get(path, set()) - everything_after:  # what a moved file lost counts for the file that has the rest
            heir = max(came, key=lambda other, own=before[path]: len(own & after[other]))  # type: ignore[misc]
            named.add(path if path in new or not before[path] & after[heir] else heir)
    return [LAYOUT, *sorted(named)]


def _statements(content: bytes) -> set[str]:
    """The statements at the top level of a module without imports and docstrings; of what is no Python, the content."""
    try:
        module = _Bare().visit(ast.parse(content))
    except (SyntaxError, ValueError):
        return {content.hex()}
    return {ast.dump(node) for node in module.body if not _starts_script(node)}


def _starts_script(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)


class _Bare(ast.NodeTransformer):
    """Drops imports, docstrings and other constants that are statements."""

    def visit_Import(self, node: ast.Import) -> None:
        return None

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        return None

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        return None if isinstance(node.value, ast.Constant) else node

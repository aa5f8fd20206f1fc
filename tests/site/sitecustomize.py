"""Python runs this at its start in the processes that `tests.toys.known` lets know the toys alone."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

import stages.projects

ROOT = Path(__file__).parents[2]


class Base:
    """Finds what the toys are made of, which is in no folder of theirs."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Where `stages.projects._base` is, None for any other module."""
        return spec_from_file_location(name, ROOT / "stages/projects/_base.py") if name == "stages.projects._base" else None


stages.projects.__path__ = [str(ROOT / "tests" / "projects")]
sys.meta_path.append(Base)

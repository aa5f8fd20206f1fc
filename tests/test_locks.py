"""The lock files against pyproject.toml and each other."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
GROUPS = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
TEXTS = {name: (ROOT / f"{name}.lock").read_text() for name in ("requirements", "requirements-dev", "requirements-serve")}
# A package can have several lines, each for other systems.
PINS = {name: set(re.findall(r"^([a-z0-9-]+)(?:\[.*?\])?==(\S+)", text, re.MULTILINE)) for name, text in TEXTS.items()}
NAMES = {lock: {name for name, _ in pins} for lock, pins in PINS.items()}


@pytest.mark.parametrize(
    ("lock", "groups"),
    [
        ("requirements", ["pipeline", "serve"]),
        ("requirements-dev", ["pipeline", "serve", "dev"]),
        ("requirements-serve", ["serve"]),
    ],
)
def test_a_lock_satisfies_its_groups(lock: str, groups: list[str]) -> None:
    pins = PINS[lock] | (PINS["requirements"] if lock == "requirements-dev" else set())
    for wanted in (Requirement(line) for group in groups for line in GROUPS[group]):
        versions = [version for name, version in pins if name == canonicalize_name(wanted.name)]
        assert versions, f"{wanted} is not in {lock}.lock: run `make lock`"
        assert all(version in wanted.specifier for version in versions), f"{lock}.lock is out of date: run `make lock`"


def test_the_pipeline_needs_no_tool_of_the_tests() -> None:
    tools = {"coverage", "dask", "distributed", "moto", "mypy", "pgserver", "playwright", "pytest", "ruff", "schemathesis"}
    assert tools <= NAMES["requirements-dev"]
    assert tools.isdisjoint(NAMES["requirements"])


def test_the_locks_agree() -> None:
    assert PINS["requirements-serve"] <= PINS["requirements"]
    assert TEXTS["requirements-dev"].startswith("-r requirements.lock\n")
    assert NAMES["requirements-dev"].isdisjoint(NAMES["requirements"])


@pytest.mark.parametrize("lock", TEXTS)
def test_every_package_is_held_to_its_hashes_and_no_index_is_named(lock: str) -> None:
    entries = re.findall(r"^[a-z0-9][^\n]*==.*?(?=^[^ ]|\Z)", TEXTS[lock], re.MULTILINE | re.DOTALL)
    assert len(entries) == len(PINS[lock]) > 40
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []
    assert not re.search(r"://|index-url|find-links", TEXTS[lock])

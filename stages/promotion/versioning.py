"""Which version a model is, and why: the contract of its row, then what it is made by, then the data."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from stages.promotion.checkout import model_hash_at, tree
from stages.promotion.code_changes import changed_code, code_dependencies, read_code
from stages.promotion.git import head
from stages.promotion.lock import lock_at
from stages.promotion.tags import Version, versions
from stages.runtime.identity import model_files, model_hash, outputs
from stages.runtime.wording import listed

MAKING = ("ingest", "prepare", "train", "export")  # the stages whose code shapes a model


def version_part(old: dict[str, Any], new: dict[str, Any], code: Sequence[str]) -> tuple[int, str]:
    """Which part of a version grows from one manifest to the next, 0 for the major one, and why. `code` names what changed
    in the code that makes the model.
    """
    changed = _differing(old, new)
    if contract := [key for key in ("columns", "target", "task") if key in changed]:
        return 0, f"It is a major version, as the {listed(contract)} of the row changed."
    recipe = [
        *(key for key in ("features", "estimator", "libraries") if key in changed),
        *(f"train.{key}" for key in _differing(old["params"], new["params"]) if key != "seed"),
        *code,
    ]
    if recipe:
        shown = recipe if len(recipe) < 5 else [*recipe[:3], f"{len(recipe) - 3} more"]
        return 1, f"It is a minor version, as its code or parameters changed: {listed(shown)}."
    causes = ["data"] * (old["data"] != new["data"]) + ["seed"] * (old["params"]["seed"] != new["params"]["seed"])
    return 2, f"It is a patch version, as {f'only the {listed(causes)}' if causes else 'no code, parameter or row'} changed."


def next_version(last: str, part: int, taken: Collection[str]) -> str:
    """The version after `last` in which the part, 0 to 2, is higher; the first such that is not taken."""
    numbers = [int(number) for number in last[1:].split(".")]
    while (version := f"v{'.'.join(map(str, numbers))}") in taken or version == last:
        numbers = [*numbers[:part], numbers[part] + 1, *[0] * (2 - part)]
    return version


def changed_making_code(project: str, revision: str, lock: bytes) -> list[str]:
    """What differs of the code that makes a project's model between a commit and the workspace, which has this dvc.lock."""
    with tree(revision, "stages") as folder:
        before = read_code(folder, code_dependencies(lock_at(revision), project, MAKING))
    return changed_code(before, read_code(Path(), code_dependencies(lock, project, MAKING)))


def name_version(
    name: str, champion: Version | None, manifests: tuple[dict[str, Any], dict[str, Any]], lock: bytes
) -> tuple[str, str, str]:
    """The version of the workspace's model, its commit, and why it is that one; `manifests`: the champion's, its own."""
    registered, digest = versions(name), model_hash(model_files(outputs(lock), name))
    for known in registered:
        if model_hash_at(name, known.revision) == digest:
            return known.version, known.revision, "It is registered under that name already."
    revision, taken = head(), {known.version for known in registered}
    if champion:
        part, why = version_part(*manifests, changed_making_code(name, champion.revision, lock))
        return next_version(champion.version, part, taken), revision, why
    if registered:
        why = "It is a major version, as no version in prod sets a contract that it could keep."
        return next_version(registered[0].version, 0, taken), revision, why
    return "v1.0.0", revision, "It is the first version."


def _differing(one: dict[str, Any], two: dict[str, Any]) -> list[str]:
    return sorted(key for key in one.keys() | two.keys() if one.get(key) != two.get(key))

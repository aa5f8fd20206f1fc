"""Which version a model is, and why: the contract of its row, then what it is made by, then the data."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import yaml

from stages.promotion import registry
from stages.promotion.gate import listed
from stages.promotion.registry import Version
from stages.runtime.identity import model_files, model_hash, outputs

MAKING = ("ingest", "prepare", "train", "export")  # the stages whose code shapes a model


def difference(
    old: dict[str, Any], new: dict[str, Any], old_code: dict[str, str], new_code: dict[str, str]
) -> tuple[int, str]:
    """Which part of a version grows from one model to the next, 0 for the major one, and why. The code is MD5 by path."""

    def differing(one: dict[str, Any], two: dict[str, Any]) -> list[str]:
        return sorted(key for key in one.keys() | two.keys() if one.get(key) != two.get(key))

    changed = differing(old, new)
    if contract := [key for key in ("columns", "target", "task") if key in changed]:
        return 0, f"It is a major version, as the {listed(contract)} of the row changed."
    recipe = [f"train.{key}" for key in differing(old["params"], new["params"]) if key != "seed"]
    recipe = [
        *(key for key in ("features", "estimator", "libraries") if key in changed),
        *recipe,
        *differing(old_code, new_code),
    ]
    if recipe:
        shown = recipe if len(recipe) < 5 else [*recipe[:3], f"{len(recipe) - 3} more"]
        return 1, f"It is a minor version, as of its code and parameters these changed: {listed(shown)}."
    causes = ["data"] * (old["data"] != new["data"]) + ["seed"] * (old["params"]["seed"] != new["params"]["seed"])
    return 2, f"It is a patch version, as {f'only the {listed(causes)}' if causes else 'no code, parameter or row'} changed."


def next_version(last: str, part: int, taken: Collection[str]) -> str:
    """The version after `last` in which the part, 0 to 2, is higher; the first such that is not taken."""
    numbers = [int(number) for number in last[1:].split(".")]
    while (version := f"v{'.'.join(map(str, numbers))}") in taken or version == last:
        numbers = [*numbers[:part], numbers[part] + 1, *[0] * (2 - part)]
    return version


def making_code(lock: bytes, project: str) -> dict[str, str]:
    """MD5 by path of the modules that made a model, as a dvc.lock records them."""
    stages = yaml.safe_load(lock)["stages"]
    deps = [dep for stage in MAKING for dep in stages.get(f"{stage}@{project}", {}).get("deps", [])]
    return {dep["path"]: dep["md5"] for dep in deps if dep["path"].startswith("stages/")}


def name_version(
    name: str, champion: Version | None, manifests: tuple[dict[str, Any], dict[str, Any]], lock: bytes
) -> tuple[str, str, str]:
    """The version of the workspace's model, its commit, and why it is that one; `manifests`: the champion's, its own."""
    registered, digest = registry.versions(name), model_hash(model_files(outputs(lock), name))
    for known in registered:
        if registry.model_hash_at(name, known.revision) == digest:
            return known.version, known.revision, "It is registered under that name already."
    head, taken = registry.head(), {known.version for known in registered}
    if champion:
        codes = (making_code(each, name) for each in (registry.lock_at(champion.revision), lock))
        part, why = difference(*manifests, *codes)
        return next_version(champion.version, part, taken), head, why
    if registered:
        why = "It is a major version, as none is in prod whose contract it could keep."
        return next_version(registered[0].version, 0, taken), head, why
    return "v1.0.0", head, "It is the first version."

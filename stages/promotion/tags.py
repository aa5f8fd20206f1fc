"""The registry: versions and stages of models as Git tags in GTO's form.

A version is a commit, whose dvc.lock names the model's files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from stages.core.cli import UserError
from stages.promotion.git import git

PROD = "prod"  # the stage that the gate assigns
TAG = re.compile(r"(?P<name>.+?)(@(?P<version>v\d+\.\d+\.\d+)|#(?P<stage>[^#!]+))(?P<undone>!?)(#(?P<number>\d+))?")


@dataclass(frozen=True)
class Version:
    """A registered model: the full hash of the commit whose dvc.lock records it."""

    project: str
    version: str
    revision: str


def versions(project: str) -> list[Version]:
    """The registered versions, newest first."""
    found: dict[str, Version] = {}
    for tag in _tags(project):
        if tag["version"] and tag["undone"]:
            found.pop(tag["version"], None)
        elif tag["version"]:
            found[tag["version"]] = Version(project, tag["version"], tag["revision"])
    return sorted(found.values(), key=lambda known: [int(part) for part in known.version[1:].split(".")], reverse=True)


def in_stage(project: str, stage: str = PROD) -> Version | None:
    """The version that was assigned to a stage last. Tags go by their running number: two may have the same second."""
    known = {version.revision: version for version in versions(project)}
    holders: list[str] = []
    for tag in _tags(project):
        if tag["stage"] == stage:
            holders = [revision for revision in holders if revision != tag["revision"]]
            holders += [] if tag["undone"] else [tag["revision"]]
    return next((known[revision] for revision in reversed(holders) if revision in known), None)


def find(project: str, version: str) -> Version:
    """A registered version by its name; UserError lists the registered ones."""
    known = {found.version: found for found in versions(project)}
    if version not in known:
        raise UserError(f"no version {version!r} is registered; there is {', '.join(known) or 'none yet'}")
    return known[version]


def register(project: str, revision: str, version: str, message: str) -> None:
    """Tag a commit as a version, unless it is; UserError where either of the two is tagged otherwise."""
    if Version(project, version, revision) not in versions(project):
        _gto("register", project, ref=revision, version=version, message=message)


def assign(project: str, version: str, stage: str, message: str) -> None:
    """Tag a version, new or old, as the one that holds a stage from now on, unless it holds it already."""
    if in_stage(project, stage) != find(project, version):
        _gto("assign", project, version=version, stage=stage, message=message, force=True)  # it may have held it before


def is_assigned(project: str, version: str, revision: str, stage: str) -> bool:
    """Whether a commit is registered as this version and was ever assigned to a stage."""
    if Version(project, version, revision) not in versions(project):
        return False
    return bool(git("tag", "--points-at", revision, "--list", f"{project}#{stage}*"))


def push(project: str) -> None:
    """Push the branch and the project's tags to `origin`: all of them or nothing."""
    tags = [f"refs/tags/{project}{mark}*" for mark in "@#"]
    git("push", "--quiet", "--atomic", "origin", "HEAD", *(f"{tag}:{tag}" for tag in tags))


def _tags(project: str) -> list[dict[str, Any]]:
    """The project's annotated tags, the only ones that GTO knows, taken apart, in the order they were made."""
    patterns = [f"refs/tags/{project}@*", f"refs/tags/{project}#*"]
    lines = git("for-each-ref", "--format=%(refname:lstrip=2) %(*objectname)", *patterns).splitlines()
    named = [(TAG.fullmatch(name), revision) for name, _, revision in (line.partition(" ") for line in lines) if revision]
    tags = [found.groupdict() | {"revision": revision} for found, revision in named if found]
    return sorted(tags, key=lambda tag: (int(tag["number"] or 0), tag["undone"]))


def _gto(command: str, project: str, **arguments: Any) -> None:
    import gto.api  # here, as it takes half a second
    from gto.exceptions import GTOException
    from scmrepo.exceptions import SCMError

    try:
        getattr(gto.api, command)(".", project, **arguments)
    except (GTOException, SCMError) as error:
        cause = f" ({error.__cause__})" if error.__cause__ else ""
        raise UserError(f"GTO could not {command} {arguments['version']}: {error}{cause}") from None

"""What dvc.lock records: the hash of every output, and from them the name of a model.

Shared with the server, so it imports neither DVC nor anything that scores.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import yaml


def locked_stages(lock: bytes) -> dict[str, dict[str, Any]]:
    """The stages of a dvc.lock by name, each with its deps, params and outs. Raises what YAML and a wrong layout raise."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the former, where it was built, is ten times as fast
    stages: dict[str, dict[str, Any]] = yaml.load(lock, Loader=loader)["stages"]  # noqa: S506 - both are safe
    return stages


def outputs(lock: bytes) -> dict[str, str]:
    """MD5 by path of all outputs in a dvc.lock; a folder's ends in `.dir`. Raises as `locked_stages`."""
    return {out["path"]: out["md5"] for stage in locked_stages(lock).values() for out in stage.get("outs", [])}


def md5(content: Path | bytes) -> str:
    """Hex digest of a file's bytes, as DVC records it."""
    digest = hashlib.md5(content.read_bytes() if isinstance(content, Path) else content, usedforsecurity=False)
    return digest.hexdigest()


def model_files(recorded: dict[str, str], project: str) -> dict[str, str]:
    """MD5 by file name of everything in `models/<project>`, sorted by name."""
    prefix = f"models/{project}/"
    return {path.removeprefix(prefix): digest for path, digest in sorted(recorded.items()) if path.startswith(prefix)}


def model_hash(files: dict[str, str]) -> str:
    """SHA-256 over names and hashes of a model's files: two models are the same if and only if theirs is."""
    return hashlib.sha256("".join(f"{digest}  {name}\n" for name, digest in sorted(files.items())).encode()).hexdigest()

"""Runs the pipeline in two clean clones under different hash seeds and compares the hash of every output.

python -m tests.verify
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML


def reproduce(clone: Path, hash_seed: int) -> dict[str, str]:
    """Clone the committed state, run the pipeline in it, and return the hash of each output by path."""
    subprocess.run(["git", "clone", "--quiet", ".", str(clone)], check=True)
    (clone / "dvc.lock").unlink(missing_ok=True)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(clone)}
    subprocess.run(["dvc", "repro", "--quiet"], cwd=clone, env=environment, check=True)
    lock: dict[str, Any] = YAML(typ="safe").load((clone / "dvc.lock").read_text())
    return {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]}


def compare(first: dict[str, str], second: dict[str, str]) -> list[str]:
    """The outputs whose hashes differ, or that only one run made."""
    return sorted(path for path in first.keys() | second.keys() if first.get(path) != second.get(path))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        runs = [reproduce(Path(folder, f"clone{seed}"), seed) for seed in (1, 2)]
    different = compare(*runs)
    for path in sorted(runs[0]):
        print(f"{'DIFFERS' if path in different else 'same   '} {runs[0][path]} {path}")
    print(f"{len(runs[0]) - len(different)} of {len(runs[0])} outputs have identical hashes in both clones")
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()

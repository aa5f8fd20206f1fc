"""Runs the pipeline in two clean clones under different hash seeds; the bytes of every output must be those in dvc.lock.

python -m tests.verify
python -m tests.verify --kernels native

Prints the processor and the kernels that computed. Exits with 1 and names what differs: outputs between the clones or from
the committed dvc.lock, files that Git then sees as changed, and operations of tests/battery.py. With `--kernels native` the
libraries choose their kernels, so that a processor with AVX-512 shows that the check can fail.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from stages.runtime import kernels
from stages.runtime.identity import outputs

GOLDEN = Path(__file__).parent / "golden" / "battery.json"


def surroundings(clone: Path, hash_seed: int, native: bool) -> dict[str, str]:
    """The environment of a clone's commands."""
    return {
        **kernels.clean_environment(),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONHASHSEED": str(hash_seed),
        "PYTHONPATH": str(clone),
        **({kernels.SWITCH: "native"} if native else {}),
    }


def battery(folder: Path, environment: dict[str, str], *emulator: str) -> dict[str, Any]:
    """What tests/battery.py prints in a process of its own, in an emulator if one is given."""
    command = [*emulator, sys.executable, "-m", "tests.battery"]
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def reproduce(clone: Path, environment: dict[str, str]) -> tuple[dict[str, str], str]:
    """Run the whole pipeline in a clean clone: the hash of each output by path, and what Git then sees as changed."""
    subprocess.run(["dvc", "repro", "--quiet"], cwd=clone, env=environment, check=True)
    status = subprocess.run(["git", "status", "--porcelain"], cwd=clone, stdout=subprocess.PIPE, text=True, check=True)
    return outputs((clone / "dvc.lock").read_bytes()), status.stdout


def compare(first: dict[str, str], second: dict[str, str]) -> list[str]:
    """The names whose hashes differ, or that only one has."""
    return sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))


def report(title: str, different: list[str]) -> bool:
    """Print what differs; whether anything does."""
    print(f"{title}: {f'{len(different)} DIFFER' if different else 'all the same'}")
    for name in different:
        print(f"  {name}")
    return bool(different)


def main(native: bool) -> int:
    runs: list[tuple[dict[str, str], str]] = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in (1, 2):
            clone = Path(folder, f"clone{seed}")
            subprocess.run(["git", "clone", "--quiet", ".", str(clone)], check=True)
            environment = surroundings(clone, seed, native)
            computed = battery(clone, environment)
            committed = outputs((clone / "dvc.lock").read_bytes())
            if not runs:
                for name, value in computed["machine"].items():
                    print(f"{name}: {json.dumps(value)}", flush=True)
            runs.append(reproduce(clone, environment))
    (first, changed), (second, _) = runs
    print(f"{len(first)} outputs")
    found = [
        report("operations of tests/battery.py", compare(computed["results"], json.loads(GOLDEN.read_text()))),
        report("outputs of the two clones", compare(first, second)),
        report("outputs and the committed dvc.lock", compare(first, committed)),
        report("files that Git sees as changed", changed.splitlines()),
    ]
    return int(any(found))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernels", choices=("fixed", "native"), default="fixed", help="default: %(default)s")
    sys.exit(main(parser.parse_args().kernels == "native"))

"""What fixed kernels cost in time: the pipeline and the scoring of one row, with them and with those of this processor.

python -m tests.benchmarks.bench_kernels

Both run alternately, each in a process of its own. Printed are the medians and the median ratio of the pairs.
On a processor without AVX-512 both use the same kernels, and the ratios show the noise.
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from stages.runtime import kernels
from tests.battery import machine
from tests.samples import ROOT

PROJECTS = ("boston", "bankchurn")
PAIRS = {"train and evaluate": 3, "one row": 9}
ONE_ROW = """
import stages  # before NumPy
import statistics, sys, time
import numpy as np, pandas as pd
from stages.projects._base import load_project
from stages.core.schema import coerce
from stages.modeling.scoring import load_scorer
from pathlib import Path
project = load_project(sys.argv[1])
columns, _ = coerce(pd.read_parquet(f"data/{project.name}/test.parquet").head(1), project.columns)
score, times = load_scorer(project, Path("models", project.name)), []
for _ in range(3000):
    start = time.perf_counter()
    score(columns)
    times.append(time.perf_counter() - start)
print(1e6 * statistics.median(times))
"""


def python(folder: Path, native: bool, *arguments: str) -> str:
    environment = kernels.clean_environment() | {"PYTHONPATH": str(ROOT), kernels.SWITCH: "native" if native else ""}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout


def cpu_seconds(folder: Path, native: bool, name: str) -> float:
    """CPU time of a training and an evaluation."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for stage in ("train", "evaluate"):
        python(folder, native, "-m", f"stages.{stage}", name)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def microseconds(folder: Path, native: bool, name: str) -> float:
    """Median time of scoring one row."""
    return float(python(folder, native, "-c", ONE_ROW, name))


def compare(measure: Callable[[Path, bool, str], float], folder: Path, name: str, pairs: int) -> tuple[float, float, float]:
    """Medians with fixed kernels and with native ones, and the median ratio of the pairs."""
    found = []
    for number in range(pairs):
        order = (False, True) if number % 2 else (True, False)
        measured = {native: measure(folder, native, name) for native in order}
        found.append((measured[False], measured[True], measured[False] / measured[True]))
    fixed, native, ratio = (median(values) for values in zip(*found, strict=True))
    return fixed, native, ratio


def main() -> None:
    print(json.dumps(machine()), flush=True)
    with TemporaryDirectory() as place:
        folder = Path(place)
        shutil.copy(ROOT / "params.yaml", folder)
        for name in PROJECTS:
            for stage in ("ingest", "prepare", "train", "export"):
                python(folder, False, "-m", f"stages.{stage}", name)
            for (what, pairs), measure in zip(PAIRS.items(), (cpu_seconds, microseconds), strict=True):
                fixed, native, ratio = compare(measure, folder, name, pairs)
                unit = "us" if measure is microseconds else "s of CPU"
                print(f"{name}, {what}: {fixed:.1f} {unit} fixed, {native:.1f} native, ratio {ratio:.3f}", flush=True)


if __name__ == "__main__":
    main()

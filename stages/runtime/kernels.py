"""Threads and kernels of the numeric libraries, fixed so that the same inputs give the same bytes on every x86-64 processor.

OpenBLAS and NumPy choose their code by processor: with AVX-512 they sum in another order and round exp and log otherwise.
Here both are held to what every x86-64-v3 processor has (AVX2 and FMA): NumPy to its level X86_V3, and OpenBLAS to its
Haswell kernels. NumPy and SciPy bring an OpenBLAS each; scikit-learn uses SciPy's. Histogram boosting stores OpenMP's thread
count in the fitted model, and BLAS sums in another order with another count, so the counts are fixed as well; work runs side
by side through joblib instead, which does not change a result.

ONNX Runtime has no such setting. Its float64 graphs use the processor's code in matrix products only, and of its results no
output of the pipeline holds more than their order (`explainer.npz` of a model that is explained by sampling).

The settings are environment variables that the libraries read when they load, and child processes inherit them. A value that
the user set stays, VERITABLE_KERNELS=native leaves the choice to the libraries, and so does, on its own, any other processor
or system (`deviation` says why): outputs may then differ from the committed ones in the last digits. Only the standard
library is imported here, as this runs at the first import of `stages` or `serve`.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping

SWITCH = "VERITABLE_KERNELS"
MARK = "VERITABLE_KERNELS_SET"  # what this module set, so that a child process can tell it from what the user set
THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
KERNELS = {
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_ENABLE_CPU_FEATURES": "X86_V3",  # and nothing above, whatever levels a later NumPy adds
}
X86_64_V3 = frozenset(  # as /proc/cpuinfo names what NumPy asks for; OpenBLAS crashes where its kernels do not fit
    ["abm", "avx", "avx2", "bmi1", "bmi2", "cx16", "f16c", "fma", "lahf_lm", "movbe", "popcnt", "sse4_1", "sse4_2", "ssse3"]
)


def fix() -> None:
    """Set the variables. RuntimeWarning where NumPy was imported without them, as then they change nothing in this process;
    ValueError for an unknown value of VERITABLE_KERNELS.
    """
    environment = clean_environment()
    kernels, _ = choose(environment, *processor())
    settings = THREADS | kernels
    late = "numpy" in sys.modules and any(os.environ.get(name) != value for name, value in settings.items())
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update(settings)
    if kernels:
        os.environ[MARK] = " ".join(f"{name}={value}" for name, value in kernels.items())
    if late:
        warnings.warn(
            "NumPy was imported before `stages`, so it and OpenBLAS use the threads and kernels of this machine: results "
            "may differ from the pipeline's in the last digits. Import `stages` first, or start Python with "
            + " ".join(f"{name}={value}" for name, value in settings.items()),
            RuntimeWarning,
            stacklevel=2,
        )


def clean_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment without the kernels that `fix` set in it, here or in a parent process: for code of another revision,
    which sets its own.
    """
    ours = dict(pair.split("=", 1) for pair in environment.get(MARK, "").split())
    return {name: value for name, value in environment.items() if name != MARK and ours.get(name) != value}


def deviation() -> str:
    """Why outputs made here may differ in the last digits from those of other machines; empty where they do not."""
    return choose(clean_environment(), *processor())[1]


def choose(environment: Mapping[str, str], machine: str, flags: frozenset[str] | None) -> tuple[dict[str, str], str]:
    """The kernels to set, and why not all of them are; `flags` are the processor's features, None where they are unknown."""
    mode = environment.get(SWITCH, "")
    if mode not in ("", "native"):
        raise ValueError(f"{SWITCH}={mode} is not known: unset it, or set it to native for the kernels of this processor")
    if mode:
        return {}, f"{SWITCH}={mode} leaves the kernels to the libraries"
    if machine != "x86_64":
        return {}, f"the kernels are fixed on x86-64 only, and this is {machine}"
    if flags is None:
        return {}, "the kernels are fixed on Linux only: elsewhere the processor's features are not known"
    if missing := X86_64_V3 - flags:
        return {}, f"the kernels are fixed on x86-64-v3 only, and this processor lacks {' '.join(sorted(missing))}"
    of_user = {name: environment[name] for name in (*KERNELS, "NPY_DISABLE_CPU_FEATURES") if environment.get(name)}
    kernels = {name: value for name, value in KERNELS.items() if name not in of_user}
    if "NPY_DISABLE_CPU_FEATURES" in of_user:  # NumPy does not load with both
        kernels.pop("NPY_ENABLE_CPU_FEATURES", None)
    others = [f"{name}={value}" for name, value in of_user.items() if KERNELS.get(name) != value]
    return kernels, f"{' '.join(others)} is set in the environment" if others else ""


def processor() -> tuple[str, frozenset[str] | None]:
    """Architecture and features of this processor; None for the features where the system does not tell them."""
    try:
        with open("/proc/cpuinfo") as lines:
            line = next((line for line in lines if line.startswith("flags")), "")
    except OSError:
        return os.uname().machine, None
    return os.uname().machine, frozenset(line.partition(":")[2].split())

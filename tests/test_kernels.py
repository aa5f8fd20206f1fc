"""Whether the kernels of the numeric libraries are fixed, and compute the same bytes on this processor and on others."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stages.promotion.checkout import run_script
from stages.runtime import kernels
from tests.samples import ROOT
from tests.verify import GOLDEN, battery, compare

NEWER = kernels.X86_64_V3 | {"avx512f", "avx512vl", "avx512_fp16"}
FIXED = kernels.KERNELS
INHERITED = {name: value for name, value in kernels.clean_environment().items() if not name.startswith("COV")}
BARE = {name: value for name, value in INHERITED.items() if name not in kernels.THREADS} | {"PYTHONPATH": str(ROOT)}
WHAT_NUMPY_FINDS = """
import os, sys
class Spy:
    def find_spec(self, name, *_):
        if name == "numpy":
            settings = ("OMP_NUM_THREADS", "OPENBLAS_CORETYPE", "NPY_ENABLE_CPU_FEATURES")
            print(*(os.environ.get(name) for name in settings), flush=True)
            os._exit(0)
sys.meta_path.insert(0, Spy())
"""
needs_fixed = pytest.mark.skipif(bool(kernels.deviation()), reason=kernels.deviation())


def python(code: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *options, "-c", code]
    return subprocess.run(command, cwd=ROOT, env={**BARE, **environment}, capture_output=True, text=True)


@pytest.mark.parametrize("flags", [kernels.X86_64_V3, NEWER])
def test_every_processor_from_x86_64_v3_on_gets_the_same_kernels(flags: frozenset[str]) -> None:
    assert kernels.choose({}, "x86_64", flags) == (FIXED, "")


@pytest.mark.parametrize(
    ("machine", "flags", "why"),
    [
        ("aarch64", frozenset({"asimd"}), "this is aarch64"),
        ("arm64", None, "this is arm64"),
        ("x86_64", None, "on Linux only"),
        ("x86_64", kernels.X86_64_V3 - {"avx2", "movbe"}, "this processor lacks avx2 movbe"),
    ],
)
def test_any_other_is_left_alone_and_that_bytes_may_differ_is_told(
    machine: str, flags: frozenset[str] | None, why: str
) -> None:
    settings, reason = kernels.choose({}, machine, flags)
    assert settings == {}
    assert why in reason


def test_they_can_be_switched_off() -> None:
    assert kernels.choose({"VERITABLE_KERNELS": "native"}, "x86_64", NEWER)[0] == {}
    assert python("import stages, os; print(*os.environ)", VERITABLE_KERNELS="native").stdout.find("OPENBLAS_CORETYPE") == -1


def test_an_unknown_switch_is_an_error_that_names_the_known_one() -> None:
    done = python("import stages", VERITABLE_KERNELS="off")
    assert "ValueError: VERITABLE_KERNELS=off is not known: unset it, or set it to native" in done.stderr


@pytest.mark.parametrize(
    ("of_user", "left", "why"),
    [
        ({"OPENBLAS_CORETYPE": "SkylakeX"}, "NPY_ENABLE_CPU_FEATURES", "OPENBLAS_CORETYPE=SkylakeX is set"),
        ({"NPY_DISABLE_CPU_FEATURES": "X86_V4"}, "OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES=X86_V4 is set"),
        ({"NPY_ENABLE_CPU_FEATURES": "X86_V4"}, "OPENBLAS_CORETYPE", "NPY_ENABLE_CPU_FEATURES=X86_V4 is set"),
        ({"OPENBLAS_CORETYPE": "Haswell"}, "NPY_ENABLE_CPU_FEATURES", ""),
    ],
)
def test_what_the_user_set_stays(of_user: dict[str, str], left: str, why: str) -> None:
    settings, reason = kernels.choose(of_user, "x86_64", NEWER)
    assert settings == {left: FIXED[left]}
    assert reason.startswith(why)
    assert bool(reason) == bool(why)


@needs_fixed
@pytest.mark.parametrize(
    "module", ["stages.modeling.pipeline", "stages.runtime.kernels; import numpy", "serve.app", "serve.models.loader"]
)
def test_they_are_set_before_numpy_loads_whichever_module_comes_first(module: str) -> None:
    assert python(f"{WHAT_NUMPY_FINDS}\nimport {module}").stdout == "1 Haswell X86_V3\n"


@pytest.mark.slow
@needs_fixed
def test_every_openblas_and_numpy_use_them() -> None:
    computed = battery(ROOT, BARE)
    assert computed["machine"]["openblas"] == {"numpy.libs": "Haswell", "scipy.libs": "Haswell"}
    assert computed["machine"]["numpy"] == ["X86_V2", "X86_V3"]
    assert compare(computed["results"], json.loads(GOLDEN.read_text())) == [], "python -m tests.battery prints the new ones"


@pytest.mark.slow
@needs_fixed
def test_the_battery_tells_kernels_apart() -> None:
    other = battery(ROOT, BARE | {"OPENBLAS_CORETYPE": "Nehalem", "NPY_ENABLE_CPU_FEATURES": "X86_V2"})
    assert other["machine"]["openblas"] == {"numpy.libs": "Nehalem", "scipy.libs": "Nehalem"}
    assert other["machine"]["numpy"] == ["X86_V2"]
    different = compare(other["results"], json.loads(GOLDEN.read_text()))
    assert {"cholesky", "exp_log_sqrt", "logistic_regression", "matrix_product", "solve"} <= {*different}


@pytest.mark.long
@needs_fixed
@pytest.mark.skipif(not shutil.which("qemu-x86_64"), reason="no qemu-x86_64 here: apt-get install qemu-user")
def test_an_emulated_haswell_computes_the_same_bytes() -> None:
    computed = battery(ROOT, BARE, "qemu-x86_64", "-cpu", "Haswell")
    assert computed["machine"]["numpy"] == ["X86_V2", "X86_V3"]
    assert compare(computed["results"], json.loads(GOLDEN.read_text())) == []


@pytest.mark.slow
def test_importing_numpy_first_warns_unless_the_environment_has_the_settings() -> None:
    late = python("import numpy, stages")
    assert "RuntimeWarning: NumPy was imported before `stages`" in late.stderr
    settings = kernels.THREADS | kernels.choose(BARE, *kernels.processor())[0]
    assert python("import numpy, stages, serve", "-W", "error", **settings).stderr == ""
    assert python("import stages, numpy, serve", "-W", "error").stderr == ""


def test_a_child_process_can_tell_them_from_what_the_user_set() -> None:
    inherited = {
        "HOME": "/",
        "OPENBLAS_CORETYPE": "SkylakeX",
        "NPY_ENABLE_CPU_FEATURES": "X86_V3",
        "VERITABLE_KERNELS_SET": "OPENBLAS_CORETYPE=Haswell NPY_ENABLE_CPU_FEATURES=X86_V3",
    }
    assert kernels.clean_environment(inherited) == {"HOME": "/", "OPENBLAS_CORETYPE": "SkylakeX"}
    assert kernels.clean_environment({"OPENBLAS_CORETYPE": "Haswell"}) == {"OPENBLAS_CORETYPE": "Haswell"}


@needs_fixed
@pytest.mark.parametrize("of_user", [None, "SkylakeX"])
def test_another_revision_runs_without_them(of_user: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*FIXED, kernels.MARK):
        monkeypatch.delenv(name, raising=False)
    if of_user:
        monkeypatch.setenv("OPENBLAS_CORETYPE", of_user)
    with pytest.warns(RuntimeWarning, match="NumPy was imported before"):
        kernels.fix()
    assert os.environ["NPY_ENABLE_CPU_FEATURES"] == "X86_V3"
    (tmp_path / "older.py").write_text("import json, os; json.dump(dict(os.environ), open('found.json', 'w'))")
    run_script(tmp_path, "older")
    found: dict[str, Any] = json.loads((tmp_path / "found.json").read_text())
    assert found.get("OPENBLAS_CORETYPE") == of_user
    assert not {"NPY_ENABLE_CPU_FEATURES", kernels.MARK} & found.keys()

from __future__ import annotations

import subprocess
import sys

import pytest

from stages.core.cli import UserError, run
from stages.projects import project_names
from tests.samples import ROOT


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str, error: Exception | None = None) -> list[str]:
    called: list[str] = []

    def main(name: str) -> None:
        called.append(name)
        if error:
            raise error

    monkeypatch.setattr(sys, "argv", ["stage", *arguments])
    run(main)
    return called


def test_a_stage_is_called_with_the_project_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(monkeypatch, "toy") == ["toy"]


def test_a_mistake_of_the_user_ends_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit) as stop:
        call(monkeypatch, "toy", error=UserError("fix this"))
    assert stop.value.code == "toy: fix this"


def test_a_file_that_cannot_be_opened_ends_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit) as stop:
        call(monkeypatch, "toy", error=PermissionError(13, "Permission denied", "scores.parquet"))
    assert stop.value.code == "toy: scores.parquet: Permission denied"


def test_a_mistake_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError):
        call(monkeypatch, "toy", error=ZeroDivisionError())


@pytest.mark.parametrize("arguments", [[], ["nobody"]])
def test_without_a_known_project_the_known_ones_are_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        call(monkeypatch, *arguments)
    assert stop.value.code == 2
    assert ",".join(project_names()) in capsys.readouterr().err.replace("'", "").replace(", ", ",")


def test_a_command_about_all_projects_takes_none_and_names_itself_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def main() -> None:
        raise UserError("fix this")

    monkeypatch.setattr(sys, "argv", ["stages/check.py"])
    with pytest.raises(SystemExit) as stop:
        run(main, takes_project=False)
    assert stop.value.code == "check: fix this"


def test_what_comes_first_can_refuse_before_the_command_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise UserError("fix this")

    monkeypatch.setattr(sys, "argv", ["stage", "toy"])
    with pytest.raises(SystemExit) as stop:
        run(lambda name: pytest.fail(f"{name} was run"), first=refuse)
    assert stop.value.code == "toy: fix this"


SCRIPTS = sorted(path.stem for path in (ROOT / "stages").glob("*.py") if path.stem != "__init__")
HEAVY = {
    "dvc", "dvclive", "evidently", "fairlearn", "imblearn", "joblib", "numpy", "onnx", "onnxruntime", "optuna", "pandas",
    "pyarrow", "scipy", "shap", "sklearn",
}  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_help_of_a_script_is_printed_before_a_heavy_library_loads(script: str) -> None:
    code = (
        "import atexit, runpy, sys; "
        "atexit.register(lambda: print('loaded:', *{name.partition('.')[0] for name in sys.modules})); "
        f"sys.argv[1:] = ['--help']; runpy.run_module('stages.{script}', run_name='__main__', alter_sys=True)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    said, _, loaded = done.stdout.rpartition("loaded: ")
    assert done.returncode == 0, done.stderr
    assert said.startswith("usage: ")
    assert f"python -m stages.{script}" in said
    assert HEAVY & set(loaded.split()) == set()

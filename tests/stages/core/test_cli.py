from __future__ import annotations

import sys

import pytest

from stages.core.cli import UserError, run
from stages.projects._base import project_names


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
        call(monkeypatch, "toy", error=UserError("mend this"))
    assert stop.value.code == "toy: mend this"


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

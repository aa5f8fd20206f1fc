from __future__ import annotations

from pathlib import Path

import pytest

from stages.projects._base import Project
from stages.runtime.wording import words
from stages.summary import main
from tests.serve.checkout import MODELS


def test_the_summary_shows_each_finished_project_with_its_intervals(
    project: Project, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main()
    printed = capsys.readouterr().out
    assert f"{project.name}: {words(MODELS[project.name]['model'])}, " in printed
    assert "rows of simulated data" in printed
    assert len(printed.splitlines()) == 3 * (1 + 5) + 2

from __future__ import annotations

from pathlib import Path

import pytest

from stages.monitoring.check import check_batch
from stages.monitoring.settings import Drift
from tests.stages.drifting import gathered, live, raw, truth


@pytest.mark.slow
def test_the_page_of_evidently_leaves_out_what_has_no_value_and_takes_what_never_varies(tmp_path: Path) -> None:
    from stages.monitoring.evidently import save_html  # seconds, in every process that collects

    model = live("toy")
    constant = next(column.name for column in model.project.columns if column.kind == "number")
    optional = [column.name for column in model.project.columns if not column.required and column.name != constant]
    frame = raw("toy", 300).assign(**dict.fromkeys(optional, None))
    batch = gathered(model, frame.assign(**{constant: frame[constant].dropna().iloc[0]}))
    scores = truth(model.project, batch.frame)
    save_html(model, batch.frame, scores, check_batch(model, batch, scores, Drift(), 0.02, 0), 0.01, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert constant in page
    assert not [column for column in optional if f"veritable {column}" in page]

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from serve.models.rows import Row, RowCodec
from stages import score
from stages.core.cli import UserError
from stages.core.files import Paths, read_json, write_json
from stages.projects._base import Project
from stages.runtime.scorer import Scorer
from tests.serve.checkout import json_rows

ROWS = 90


def score_rows(name: str, frame: pd.DataFrame, folder: Path) -> np.ndarray:
    frame.to_parquet(folder / "rows.parquet")
    score.main(name, str(folder / "rows.parquet"), folder / "scores.parquet")
    scores = pd.read_parquet(folder / "scores.parquet")
    assert list(scores) == ["score", "warnings", "refused"]
    return scores["score"].to_numpy()


def decoded(project: Project, rows: list[dict[str, object]]) -> tuple[RowCodec, list[Row]]:
    """Rows as the server reads them."""
    codec = RowCodec(project, max_batch=len(rows))
    return codec, codec.read_batch(json.dumps({"rows": rows}).encode())


def test_rows_are_scored_bit_for_bit_as_the_server_scores_them(project: Project, finished: Path, tmp_path: Path) -> None:
    codec, rows = decoded(project, given := json_rows(project.name, ROWS))
    folder = Paths(project.name).model
    scorer = Scorer(project, read_json(folder / "plan.json")["plan"], (folder / "scorer.onnx").read_bytes())
    together = score_rows(project.name, pd.DataFrame(given), tmp_path)
    assert len(set(together)) > 10
    np.testing.assert_array_equal(together, scorer.score(codec.columns(rows)))
    for row, decoded_row in zip(given[:3], rows[:3], strict=True):
        alone = score_rows(project.name, pd.DataFrame([row]), tmp_path)
        np.testing.assert_array_equal(alone, scorer.score(codec.columns([decoded_row])))


def test_a_model_of_an_older_pipeline_without_an_exported_form_is_refused(
    project: Project, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished / "models", tmp_path / "models")
    monkeypatch.chdir(tmp_path)
    write_json(Paths(project.name).model / "plan.json", {"exported": False, "reason": "no such graph", "probe": {}})
    with pytest.raises(UserError, match=r"without an exported form \(no such graph\); only its own code scores it"):
        score_rows(project.name, pd.DataFrame(json_rows(project.name, 3)), tmp_path)


def test_an_advert_that_the_model_was_trained_on_is_marked_as_the_server_marks_it(finished: Path, tmp_path: Path) -> None:
    train = pd.read_parquet(finished / "data/toy_price/train.parquet").head(20)
    score_rows("toy_price", train.assign(size=train["size"].where(train.index > 9, 4_321.5)), tmp_path)
    marked = pd.read_parquet(tmp_path / "scores.parquet")["warnings"].str.contains("The model was trained on")
    assert marked.tolist() == [False] * 10 + [True] * 10

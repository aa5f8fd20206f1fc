from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages.core.cli import UserError
from stages.promotion import checkout
from stages.promotion.git import git
from stages.promotion.lock import lock_at
from stages.runtime.identity import md5, model_files, model_hash, outputs

Revisions = tuple[str, str]
TEST_ROWS = Path("data/toy/test.parquet")


def test_the_model_of_a_commit_is_named_by_the_hash_of_its_files(revisions: Revisions) -> None:
    assert lock_at(revisions[1]) == Path("dvc.lock").read_bytes()
    names = sorted(path.name for path in Path("models/toy").iterdir())
    assert checkout.model_hash_at("toy", revisions[1]) == model_hash({n: md5(Path("models/toy", n)) for n in names})
    assert checkout.model_hash_at("toy", revisions[0]) != checkout.model_hash_at("toy", revisions[1])


def test_a_commit_without_the_model_is_refused(revisions: Revisions) -> None:
    with pytest.raises(UserError, match=f"dvc.lock of {revisions[0][:12]} records no model of toy_plain"):
        checkout.model_hash_at("toy_plain", revisions[0])
    with pytest.raises(UserError, match=r"`git show` failed: fatal: .*dvc.lock"):
        checkout.model_hash_at("toy", f"{revisions[0]}~1")
    with pytest.raises(UserError, match="`git show` failed: fatal: invalid object name"):
        checkout.model_hash_at("toy", "c0ffee" * 6)


def test_exactly_the_model_and_the_reports_of_a_commit_are_fetched(revisions: Revisions, tmp_path: Path) -> None:
    shutil.rmtree("models")  # it must not matter what the workspace holds
    checkout.fetch("toy", revisions[0], tmp_path / "out")
    fetched = {str(p.relative_to(tmp_path / "out")): md5(p) for p in (tmp_path / "out").rglob("*") if p.is_file()}
    recorded = outputs(lock_at(revisions[0]))
    models = {f"models/toy/{name}" for name in model_files(recorded, "toy")}
    plots = {path for path in recorded if path.startswith("reports/toy/plots/")}
    assert set(fetched) == models | plots | {f"reports/toy/{report}" for report in checkout.REPORTS}
    assert len(plots) == 7
    assert {"models/toy/scorer.onnx", "models/toy/model.joblib", "models/toy/manifest.json"} < models
    assert fetched == {path: recorded[path] for path in fetched}


def test_an_older_commit_scores_with_its_own_code_and_model(revisions: Revisions) -> None:
    rows = pd.read_parquet(TEST_ROWS).drop(columns="late")
    before = git("status", "--porcelain")
    with checkout.checkout("toy", revisions[0]) as folder:
        own = checkout.score_rows(folder, "toy", rows)
        shutil.copy("stages/projects/toy.py", folder / "stages" / "projects")
        mixed = checkout.score_rows(folder, "toy", rows)
    assert not folder.exists()
    with checkout.checkout("toy", revisions[1]) as folder:
        new = checkout.score_rows(folder, "toy", rows)
    np.testing.assert_array_equal(checkout.score_rows(Path(), "toy", rows), new)
    assert own.shape == (len(rows),)
    assert 0 < own.min() < own.max() < 1
    assert (own != mixed).any(), "the features differ, so that the test tells one code from the other"
    assert (own != new).any()
    assert git("status", "--porcelain") == before


def test_a_script_that_fails_tells_what_it_said_last(revisions: Revisions) -> None:
    with checkout.tree(revisions[0]) as folder:
        with pytest.raises(UserError, match=r"`python -m stages.nothing` failed with the code in .*: No module named"):
            checkout.run_script(folder, "stages.nothing")
        with pytest.raises(UserError, match=r"lacks? the column|population.json is missing"):
            checkout.score_rows(folder, "toy", pd.read_parquet(TEST_ROWS))

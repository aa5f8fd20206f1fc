"""Every project of this repository through all stages and the server, with the estimators that its params name."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest

from serve.models.loader import load_model
from serve.models.rows import RowCodec
from stages.core.files import Paths, read_json
from stages.core.params import load_block
from stages.modeling.settings import Train
from stages.projects._base import Project
from stages.runtime.wording import words
from stages.summary import main as summarise
from tests.samples import ROOT, STAGES
from tests.serve.checkout import json_rows, pipeline_scores, settings
from tests.serve.test_app import IMPORTS, UNWANTED
from tests.stages.test_dag import outputs

REAL_PROJECTS = True


def test_the_stages_make_what_dvc_expects_with_the_estimator_of_the_params(
    project: Project, trained: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = trained(project.name)
    for stage in STAGES:
        assert [path for path in outputs(project.name, stage) if not (folder / path).exists()] == []
    with chdir(folder):
        made, chosen = read_json(Paths(project.name).model / "manifest.json"), load_block(project.name, "train", Train).model
        market = json.loads((Paths(project.name).reports / "market.json").read_text())
        summarise()
    assert made["estimator"] == chosen or chosen == "best"
    assert (market is not None) == bool(project.market)
    assert f"{project.name}: {words(made['estimator'])}, " in capsys.readouterr().out


def test_the_server_scores_rows_as_the_pipeline_does_and_its_explanations_add_up(project: Project, joined: Path) -> None:
    model = load_model(project.name, settings(joined, joined))
    rows, codec = json_rows(project.name, 60), RowCodec(project, 60)
    columns = codec.columns(codec.read_batch(json.dumps({"rows": rows}).encode()))
    expected = pipeline_scores(joined / "models" / project.name, project, rows)
    assert len(set(expected)) > 5
    np.testing.assert_allclose(model.scorer.score(columns), expected, rtol=1e-9)
    if model.explainer is not None:
        for number in range(3):
            found = model.explainer.explain({name: values[[number]] for name, values in columns.items()})
            total = found.base + sum(found.contributions.values())
            assert total == pytest.approx(found.output, rel=1e-9, abs=1e-9)


def test_the_server_of_all_projects_answers_on_every_route_and_page_without_a_training_library(
    joined: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", IMPORTS, str(joined), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout.splitlines()[-1])) & UNWANTED == set()

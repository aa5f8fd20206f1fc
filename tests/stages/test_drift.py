from __future__ import annotations

import contextlib
import csv
import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from ruamel.yaml import YAML

from stages.core.cli import UserError
from stages.drift import main
from stages.monitoring.record import batch_name
from stages.monitoring.reference import load_live
from stages.projects._base import load_project
from stages.promotion import ledger
from tests.samples import raw_rows, write_params
from tests.stages.conftest import copy_dag
from tests.toys import PYTHONPATH, TOYS


@pytest.mark.parametrize(
    ("address", "digest", "name"),
    [
        ("s3://bucket/in/2024-05.parquet", "0123456789abcdef", "2024-05-01234567"),
        ("data/toy/batches/ab12.csv", "0123456789abcdef", "ab12-01234567"),
        ("simulate?rows=20&shift=concept", None, "simulate-rows-20-shift-concept"),
        ("../../.parquet", None, "parquet"),
    ],
)
def test_a_report_is_named_after_its_batch(address: str, digest: str | None, name: str) -> None:
    assert batch_name(address, digest) == name


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of a toy that was trained on enough rows to know what is usual."""
    folder = tmp_path_factory.mktemp("toy")
    trees = {"max_iter": 60, "max_leaf_nodes": 6}
    train = {"folds": 5, "candidates": ["hist_gradient_boosting"], "hist_gradient_boosting": trees}
    write_params(folder, "toy", ingest={"sources": ["simulate?rows=3000"]}, train=train)
    with contextlib.chdir(folder):
        for stage in ("ingest", "prepare", "train", "export"):
            import_module(f"stages.{stage}").main("toy")
    return folder


@pytest.fixture
def deployed(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the trained model's folder to write in, as the current one."""
    folder = shutil.copytree(trained, tmp_path / "checkout")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GITHUB_ACTOR", "tess")
    return folder


def read_report(stem: str) -> dict[str, Any]:
    """The only report on a batch in a file of this name."""
    (path,) = Path("reports/toy/drift").glob(f"{stem}-????????.json")
    found: dict[str, Any] = json.loads(path.read_text())
    assert path.stem == f"{stem}-{found['batch']['sha256'][:8]}"
    return found


def drift(batch: str, dry_run: bool = False, html: bool = False) -> int | None:
    return main("toy", batch, html, dry_run)


def test_main_leaves_a_report_and_a_line_in_the_ledger_and_ends_with_the_verdict(
    deployed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw_rows("toy", 400, 5).to_parquet("calm.parquet")
    raw_rows("toy", 400, 5, "covariate").to_csv("moved.csv", index=False)
    raw_rows("toy", 400, 5, "broken_sensor").to_csv("broken.csv", index=False)
    assert [drift(f"{name}") for name in ("calm.parquet", "moved.csv", "broken.csv")] == [None, 4, 3]
    entries = ledger.read("toy")
    assert [entry["verdict"] for entry in entries] == ["keep", "retrain", "refuse"]
    written = read_report("moved")
    last = entries[1]
    assert (last["event"], last["by"]) == ("drift", "tess")
    assert last["batch"] == {key: written["batch"][key] for key in ("address", "sha256", "rows", "outcomes")}
    assert last["batch"]["rows"] == 400
    assert (last["reason"], last["evidence"]) == (written["reason"], written["evidence"])
    assert last["hash"] == written["model"]["hash"] == load_live("toy").hash
    said = capsys.readouterr().out
    assert f"toy: compared with {len(load_live('toy').reference):,} rows that model {last['hash'][:12]} (no version)" in said
    assert last["reason"] in said
    assert f"toy: the report is reports/toy/drift/moved-{last['batch']['sha256'][:8]}.json" in said


def test_a_promoted_model_has_its_version_however_it_came_into_the_folder(
    deployed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(load_live("toy").hash)
    ledger.append("toy", {
        "event": "promotion", "by": "tess", "reason": "It is better.", "accepted": True, "version": "v1.2.0",
        "stage": "prod", "challenger": {"hash": model}, "champion": None, "rules": [], "metrics": {}, "comparison": None,
    })  # fmt: skip
    drift("simulate?rows=300", dry_run=True)
    assert f"model {model[:12]} (v1.2.0) was trained on" in capsys.readouterr().out


def test_the_same_batch_checked_again_replaces_its_own_report_and_adds_no_line(deployed: Path) -> None:
    folder, reports = Path("reports/toy/drift"), []
    for seed in (5, 5, 6):
        raw_rows("toy", 300, seed).to_csv("new.csv", index=False)
        drift("new.csv")
        reports.append({path.name: json.loads(path.read_text()) for path in folder.iterdir()})
    first, again, other = reports
    assert first.keys() == again.keys() < other.keys()
    assert [len(found) for found in reports] == [1, 1, 2]
    assert len(ledger.read("toy")) == 2
    one, two = (next(iter(found.values())) for found in (first, again))
    times = [datetime.fromisoformat(found.pop("time")) for found in (one, two)]
    assert one == two
    assert times[0] <= times[1] <= datetime.now(UTC)


def test_a_dry_run_writes_nothing(deployed: Path) -> None:
    before = sorted(deployed.rglob("*"))
    assert drift("simulate?rows=300&shift=covariate", dry_run=True) == 4
    assert sorted(deployed.rglob("*")) == before


def test_the_reference_comes_from_the_training_rows_and_else_from_the_sample_in_the_model(
    deployed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = load_live("toy")
    train = pd.read_parquet("data/toy/train.parquet")
    assert len(whole.reference) == len(train) > 2_000
    assert whole.scores.tolist() == whole.out_of_fold["score"].tolist()
    monkeypatch.setattr("stages.monitoring.reference.REFERENCE_ROWS", 50)
    assert len(load_live("toy").reference) == 50
    train.head(100).to_parquet("data/toy/train.parquet")  # another file than the model was trained on
    sample = load_live("toy")
    assert len(sample.reference) == 2_000
    places = whole.reference.reset_index().merge(sample.reference).drop_duplicates("index")["index"]
    assert len(places) == 2_000
    assert whole.scores[places].tolist() == sample.scores.tolist()
    spoilt = sample.reference.assign(late=1 - sample.reference["late"])
    spoilt.to_parquet("models/toy/reference.parquet")
    with pytest.raises(UserError, match="are of different models"):
        load_live("toy")
    Path("models/toy/out_of_fold.parquet").unlink()
    with pytest.raises(UserError, match=r"models/toy lacks out_of_fold\.parquet"):
        load_live("toy")


def test_the_command_checks_all_projects_first_and_says_what_is_wrong(deployed: Path) -> None:
    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        called = [sys.executable, "-m", "stages.drift", "toy", *arguments]
        environment = {"PYTHONPATH": PYTHONPATH, "PATH": "/usr/bin:/bin"}
        return subprocess.run(called, env=environment, capture_output=True, text=True)

    assert "--batch" in command().stderr
    copy_dag(deployed)
    wrong = command("--batch", "simulate")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr.startswith(
        "toy: params.yaml: toy_plain is missing, copy the entry of another project; toy_price is "
    )
    block = YAML(typ="safe").load(Path("params.yaml"))["toy"]
    write_params(deployed, *TOYS)
    document = YAML(typ="safe").load(Path("params.yaml"))
    YAML(typ="safe").dump({**document, "toy": block}, Path("params.yaml"))
    done = command("--batch", "simulate?rows=300&shift=covariate", "--dry-run")
    assert done.returncode == 4, done.stderr
    assert "Retrain: 300 rows differ from what the model was trained on." in done.stdout


def test_a_file_that_the_server_dumped_gives_the_report_that_its_rows_do(deployed: Path) -> None:
    """A CSV file with the columns of the row and the target, an empty cell for a missing value."""
    frame = raw_rows("toy", 400, 5, "covariate")
    frame["late"] = frame["late"].where(frame.index % 3 > 0)
    frame.to_parquet("raw.parquet")
    project = load_project("toy")
    with Path("logged.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow([*project.row.model_fields, project.target])
        for row in frame.to_dict("records"):
            values = (row[name] for name in (*project.row.model_fields, project.target))
            lines.writerow(
                "" if pd.isna(value) else value.date() if isinstance(value, pd.Timestamp) else value for value in values
            )
    assert drift("raw.parquet") == drift("logged.csv") == 4
    reports = [read_report(name) for name in ("raw", "logged")]
    for report in reports:
        del report["time"], report["batch"]["address"], report["batch"]["sha256"]
    assert reports[0] == reports[1]
    assert reports[0]["outcomes"]["rows"] == frame["late"].notna().sum()


def test_the_page_of_evidently_repeats_the_verdicts_of_the_check(deployed: Path) -> None:
    drift("simulate?rows=300&shift=covariate", html=True)
    report = json.loads(Path("reports/toy/drift/simulate-rows-300-shift-covariate.json").read_text())
    page = Path("reports/toy/drift/simulate-rows-300-shift-covariate.html").read_text()
    drifted = [entry["column"] for entry in report["columns"] if entry["drifted"]]
    assert "distance" in drifted
    assert f'"value": "{len(drifted)}", "label": "Drifted Columns"' in page
    assert "location, spread, shape; corrected p-value and size" in page

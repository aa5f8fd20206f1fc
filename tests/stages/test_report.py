from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from stages import report
from stages.core.cli import UserError
from stages.projects._base import load_project
from stages.promotion import tags
from stages.promotion.gate import Comparison, Decision, Rule
from stages.promotion.proposal import Proposal
from stages.review.changes import Change
from stages.review.snapshots import Snapshot, flatten, kinds_of_change, read_snapshot
from stages.review.tables import code, prose
from stages.review.text import difference, markdown, verdict
from tests import toys
from tests.clones import run
from tests.samples import ROOT

GOLDEN = ROOT / "tests" / "golden" / "report.md"
RULES = (
    Rule("floors", None, "No floors are set.", {}),
    Rule("comparison", False, "It is worse on `a|b` for @someone.", {}),
    Rule("artifact", True, "It works.", {}),
)


def masked(text: str) -> str:
    """The report with `#` for every hash and every number, which differ from machine to machine."""
    text = re.sub(r"\b(?=[a-f]*\d)[0-9a-f]{7,64}\b", "#", text)
    return re.sub(r"(?<![\w.-])[-+−]?\d+([.,]\d+)*(e-\d+)?", "#", text)


def side(**changes: Any) -> Snapshot:
    """What a revision holds of toy."""
    values: dict[str, Any] = {
        "params": {"base.seed": 0},
        "stages": {},
        "outs": {"models/toy/model.joblib": "a"},
        "metrics": {"roc_auc": {"value": 0.8, "low": 0.7, "high": 0.9}},
        "evaluation": {},
        "data": {},
        "manifest": {},
    }
    return Snapshot(**values | changes)


def change(**changes: Any) -> Change:
    """A change of toy to a model that is compared with the base's."""
    values: dict[str, Any] = {
        "project": load_project("toy"),
        "before": side(),
        "after": side(outs={"models/toy/model.joblib": "b"}),
        "kinds": ["model"],
        "code": [],
        "outdated": [],
        "images": {},
        "comparison": gain(0.01, 0.005, 0.02),
        "gate": "It is not committed.",
    }
    return Change(**values | changes)


def gain(value: float, low: float, high: float, left_out: int | None = 3) -> Comparison:
    return Comparison("roc_auc", 0.8 + value, 0.8, value, low, high, 0.975, 0.0, 100, left_out)


def written(*changes: Change, removed: tuple[str, ...] = (), uncommitted: tuple[str, ...] = ()) -> str:
    found = {change.project.name: change for change in changes}
    return markdown(("main", "b" * 40), ("a" * 40, list(uncommitted)), {"toy_plain": None, **found}, list(removed))


@pytest.mark.parametrize(
    ("comparison", "said"),
    [
        (gain(0.01, 0.005, 0.02), "is better: ROC-AUC 0.810 against 0.800 (gain +0.010, 95 % interval +0.005 to +0.020)"),
        (gain(-0.01, -0.02, -0.005), "is worse: ROC-AUC 0.790 against 0.800 (gain −0.010, 95 % interval −0.020 to −0.005)"),
        (gain(0.01, -0.005, 0.02), "differs by no more than noise: ROC-AUC 0.810 against 0.800"),
        (gain(0.01, 0.0, 0.02), "differs by no more than noise: ROC-AUC 0.810 against 0.800"),
        (
            "the remote is away",
            "has ROC-AUC 0.800 (0.700 to 0.900) against 0.800 (0.700 to 0.900); whether that is more than noise",
        ),
    ],
)
def test_the_first_sentence_says_whether_a_difference_is_more_than_noise(comparison: Comparison | str, said: str) -> None:
    assert difference(change(comparison=comparison)).startswith(said)


def test_the_first_sentence_says_on_which_rows_two_models_met() -> None:
    assert difference(change()).endswith("on the same 100 test rows, new to both models")
    unknown = change(comparison=gain(0.01, 0.005, 0.02, left_out=None))
    assert difference(unknown).endswith("on the same 100 test rows, some of which the base's model may have seen")


def test_the_first_sentence_tells_projects_that_are_new_not_run_or_only_measured_otherwise() -> None:
    new = change(before=side(params={}, metrics={}), after=side(params={"base.seed": 0}))
    assert difference(new) == "is new: ROC-AUC 0.800 (0.700 to 0.900)"
    assert "| **ROC-AUC** | – | 0.800 (0.700 to 0.900) | – |" in written(new)
    assert "### Parameters" not in written(new)
    assert difference(change(after=side(metrics={}))) == "has no metrics yet"
    assert difference(change(after=side(), kinds=["code"])) == "keeps its model byte for byte"
    assert difference(change(after=side(), kinds=["code", "metrics"])).endswith(
        "but its measured metrics differ: ROC-AUC 0.800 (0.700 to 0.900)"
    )


def test_an_amount_is_told_with_its_unit() -> None:
    metrics = {"mae": {"value": 2504.4, "low": 2343.0, "high": 2715.0}, "r2": {"value": 0.7, "low": None, "high": None}}
    cars = change(
        project=load_project("toy_price"), before=side(metrics=metrics), after=side(metrics=metrics), kinds=["metrics"]
    )
    assert "MAE 2,504 USD (2,343 to 2,715 USD)" in difference(cars)
    assert "| **MAE** | 2,504 USD (2,343 to 2,715 USD) | 2,504 USD (2,343 to 2,715 USD) | 0 USD |\n" in written(cars)
    assert "| R² | 0.700 | 0.700 | 0.000 |" in written(cars)


def test_the_gate_is_told_rule_by_rule_or_why_it_has_no_verdict() -> None:
    decision = Decision(False, RULES, "Refused.")
    champion = tags.Version("toy", "v1.0.0", "c" * 40)
    refused = change(gate=Proposal(decision, champion, None, {}, "v1.1.0", {}))
    assert verdict(refused) == "The gate would refuse it: comparison"
    text = written(refused)
    assert "The gate would refuse it: comparison. Against v1.0.0, which is in prod." in text
    assert "| floors | does not apply | No floors are set |\n" in text
    assert r"| comparison | **fails** | It is worse on \`a\|b\` for @<!-- -->someone |" in text
    accepted = replace(refused, gate=Proposal(Decision(True, RULES[2:], "Accepted."), None, None, {}, "v1.0.0", {}))
    assert verdict(accepted) == "The gate would promote it as v1.0.0"
    assert "There is no champion yet." in written(accepted)
    assert verdict(change()) == "The gate has no verdict: It is not committed"
    assert "### Gate" not in written(change())


def test_conclusions_come_first_and_what_did_not_change_takes_one_line() -> None:
    text = written(change(), removed=("old|one",), uncommitted=("params.yaml",))
    assert (
        text.index("- **toy** is better")
        < text.index("- `old|one` is no longer there.")
        < text.index("- Unchanged: toy_plain.\n")
    )
    assert text.index("- Unchanged") < text.index("## ")
    assert "`aaaaaaaaaaaa` compared with `main` (`bbbbbbbbbbbb`). Not committed: `params.yaml`." in text
    assert text.count("toy_plain") == 1


def test_no_difference_is_said_in_one_sentence() -> None:
    assert written().endswith(
        "\n\nNothing differs: data, parameters, code, models and metrics of every project are the same.\n"
    )


def test_simulated_data_and_outdated_stages_are_pointed_out() -> None:
    assert "Simulated" not in written(change())
    simulated = change(after=side(data={"simulated": True, "sources": []}), outdated=["train@toy"])
    assert "\n\n> **Simulated data** (toy):" in written(simulated)
    assert "**Out of date: `train@toy`.**" in written(simulated)


def test_values_from_data_are_shown_as_they_are_written() -> None:
    assert code("a_b") == "`a_b`"
    assert code("``x` @me\n<b>") == "``` ``x` @me <b> ```"
    assert code("") == "` `"
    assert prose("See *this*\nand <script> of @me & [link](.git/config).") == (
        r"See \*this\* and \<script\> of @<!-- -->me \& \[link\](.git/config)"
    )
    segments = [{"column": "plan", "segment": "![x](y)|z", "rows": 30, "roc_auc": 0.5}]
    rates = {"rows": 30, "flagged": 0.1, "recall": 0.2, "false_positive_rate": 0.3}
    fair = {"plan": {"groups": {"<img>": rates}, "disparate_impact": None, "recall_gap": 0.1}}
    evaluation = {"by_segment": {"segments": segments}, "fairness": fair}
    source = {"address": "s3://a/[b](c).csv", "rows": 9, "rejected": 1, "sha256": "d" * 64}
    text = written(change(after=side(evaluation=evaluation, data={"simulated": False, "sources": [source]})))
    assert "| `plan = ![x](y)\\|z` | 30 | – | 0.500 |" in text
    assert "| `<img>` | 30 | – → 10.0 % | – → 20.0 % | – → 30.0 % |" in text
    assert "Disparate impact –, difference in recall – → 10.0 percentage points." in text
    assert "`s3://a/[b](c).csv`, 9 rows, 1 of them quarantined, SHA-256 `dddddddddddd`" in text


def test_params_are_compared_key_by_key() -> None:
    assert flatten({"a": {"b": 1, "c": {}}, "d": [1, {"e": 2}]}, "x") == {"x.a.b": 1, "x.d": [1, {"e": 2}]}
    then, now = {"base.seed": 0, "toy.a": 1, "toy.b": "x"}, {"base.seed": 1, "toy.b": "x", "toy.c": [True]}
    text = written(change(before=side(params=then), after=side(params=now)))
    assert "| `base.seed` | `0` | `1` |\n| `toy.a` | `1` | – |\n| `toy.c` | – | `[true]` |\n" in text
    assert "toy.b" not in text


def test_what_differs_is_named() -> None:
    base = side(outs={"models/toy/a": "1", "data/toy/raw.parquet": "1", "reports/toy/x": "1"})

    def kinds(code: tuple[str, ...] = (), **changes: Any) -> list[str]:
        return kinds_of_change("toy", base, replace(base, **changes), list(code))

    assert kinds() == []
    assert kinds(params={"base.seed": 1}) == ["parameters"]
    assert kinds(code=("stages/train.py",)) == ["code"]
    assert kinds(outs=base.outs | {"models/toy/a": "2"}) == ["model"]
    assert kinds(outs=base.outs | {"data/toy/raw.parquet": "2"}) == ["data"]
    assert kinds(outs={key: value for key, value in base.outs.items() if not key.startswith("reports")}) == ["reports"]
    assert kinds(metrics={"roc_auc": {"value": 0.81, "low": None, "high": None}}) == ["metrics"]
    assert kinds(metrics={"roc_auc": {"value": 0.8, "low": None, "high": None}}) == []
    assert kinds(metrics={}) == []
    assert kinds(stages={"train@toy": {"cmd": "other"}}) == ["pipeline"]
    assert kinds_of_change("toy", side(params={}), base, []) == ["everything, as it is new"]


def test_without_evaluation_the_values_in_git_are_shown_without_intervals(workspace: Path) -> None:
    folder = workspace / "reports" / "toy"
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps({"toy": {"roc_auc": 0.8}}))
    (workspace / "params.yaml").write_text("base: {seed: 0}\ntoy: {train: {folds: 3}}\n")
    found = read_snapshot(workspace, "toy")
    assert found.params == {"base.seed": 0, "toy.train.folds": 3}
    assert found.metrics == {"roc_auc": {"value": 0.8, "low": None, "high": None}}
    text = written(change(before=found))
    assert "| **ROC-AUC** | 0.800 | 0.800 (0.700 to 0.900) | 0.000 |" in text
    assert "It is missing before, as the base's `evaluation.json` is neither in DVC's cache nor on a remote." in text
    assert read_snapshot(workspace, "toy_plain").params == {}


@pytest.fixture
def known(repository: Path) -> Iterator[Path]:
    """The repository, whose toy this process knows."""
    with toys.known(repository / "stages" / "projects"):
        yield repository


def change_params(repository: Path, name: str = "toy") -> None:
    """Draw more rows and grow more trees for a project."""
    path = repository / "params.yaml"
    document = YAML(typ="safe").load(path)
    document[name]["ingest"]["sources"] = ["simulate?rows=500"]
    document[name]["train"]["hist_gradient_boosting"]["max_iter"] = 30
    YAML(typ="safe").dump(document, path)


@pytest.mark.long
def test_the_report_of_a_change_is_as_the_example_shows(known: Path, revisions: tuple[str, str]) -> None:
    tags.register("toy", revisions[0], "v1.0.0", "The first.")
    tags.assign("toy", "v1.0.0", "prod", "The first.")
    change_params(known)
    run(known, "dvc", "repro", "explain@toy")
    run(known, "git", "commit", "--quiet", "--all", "--message", "Draw more rows and grow more trees")
    report.main("toy@v1.0.0")
    text = (known / "report.md").read_text()
    assert masked(text) == GOLDEN.read_text(), f"write this into {GOLDEN} if it reads well:\n{masked(text)}"
    images = re.findall(r"\]\((report/toy-\w+\.png)\)", text)
    assert [Path(image).stem for image in images] == ["toy-precision_recall", "toy-calibration", "toy-confusion"]
    assert all((known / image).read_bytes().startswith(b"\x89PNG") for image in images)
    assert run(known, "git", "status", "--porcelain") == ""


def test_a_workspace_that_is_the_base_differs_in_nothing(repository: Path) -> None:
    (repository / "report").mkdir()
    (repository / "report" / "old.png").touch()
    assert run(repository, "python", "-m", "stages.report", "--base", "HEAD") == "report.md: no project differs from HEAD\n"
    assert "Nothing differs:" in (repository / "report.md").read_text()
    assert not (repository / "report").exists()


def test_a_base_whose_files_are_gone_is_shown_by_what_git_has(known: Path, revisions: tuple[str, str]) -> None:
    shutil.rmtree(known / ".dvc" / "cache")
    report.main(revisions[0])
    text = (known / "report.md").read_text()
    assert "whether that is more than noise is unknown: models/toy/" in text
    assert "was not found" in text
    assert re.search(r"\| \*\*ROC-AUC\*\* \| 0\.\d{3} \| 0\.\d{3} \(0\.\d{3} to 0\.\d{3}\) \| [+-]0\.\d{3} \|", text)
    assert "![toy: Calibration](report/toy-calibration.png)" in text


def test_a_fresh_clone_is_reported_from_what_git_has(known: Path, revisions: tuple[str, str]) -> None:
    for folder in ("data", "models"):
        shutil.rmtree(known / folder / "toy")
    (known / "reports" / "toy" / "evaluation.json").unlink()
    report.main(revisions[0])
    text = (known / "report.md").read_text()
    assert "whether that is more than noise is unknown: data/toy/test.parquet is missing. The gate has no verdict: " in text
    assert "**Out of date: `ingest@toy`, " in text
    assert "trained on rows that are not available |" in text


def test_a_pipeline_that_dvc_cannot_read_is_said_to_be_broken(known: Path) -> None:
    with (known / "dvc.yaml").open("a") as file:
        file.write("stages: {}\n")
    with pytest.raises(UserError, match=r"dvc\.yaml is no valid YAML: .*duplicate key"):
        report.main("HEAD")


def test_a_change_that_was_not_run_is_reported_as_out_of_date(known: Path) -> None:
    change_params(known)
    report.main("HEAD")
    text = (known / "report.md").read_text()
    assert "Not committed: `params.yaml`." in text
    assert "- **toy** keeps its model byte for byte." in text
    assert "Differs in parameters.\n\n**Out of date: `ingest@toy`, `train@toy`.**" in text
    assert "![" not in text


def test_a_base_that_there_is_not_is_refused(known: Path) -> None:
    for base in ("nowhere", "--all"):
        with pytest.raises(UserError, match=rf"--base {base}: .*; name a branch, tag or commit that this clone has"):
            report.main(base)
    assert not (known / "report.md").exists()

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from stages.explanation.card import model_card, table
from stages.projects._base import Project
from stages.runtime.metric_names import TITLES, metric_text

PROOF = {"rows": 800, "tolerance": 1e-9}


def material(folder: Path, name: str) -> list[dict[str, Any]]:
    """What a card is made from: manifest, data, evaluation and importance."""
    files = ("models/{}/manifest", "reports/{}/data", "reports/{}/evaluation", "reports/{}/importance")
    return [json.loads((folder / f"{path.format(name)}.json").read_text()) for path in files]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("roc_auc", 0.87654, "0.877"),
        ("median_ape", 0.1234, "12.3%"),
        ("mae", 12345.6, "12,346 USD"),
        ("rmse", 2.345, "2.35 USD"),
        ("r2", None, "-"),
    ],
)
def test_metrics_are_written_for_people(name: str, value: float | None, text: str) -> None:
    assert metric_text(name, value, "USD") == text


def test_a_bar_in_a_cell_does_not_end_it() -> None:
    assert table(["a", "b"], [["x|y", "z"]]).splitlines() == ["| a | b |", "| --- | --- |", "| x\\|y | z |"]


def test_the_card_says_what_the_reports_say(project: Project, finished: Path) -> None:
    card = (finished / "reports" / project.name / "card.md").read_text()
    manifest, data, evaluation, importance = material(finished, project.name)
    proof = json.loads((finished / "models" / project.name / "plan.json").read_text())["proof"]
    assert card == model_card(project, manifest, data, evaluation, importance, proof)
    assert card.startswith(f"# {project.title}\n\n> **Simulated data.**")
    for said in (project.question, project.intended_use, *project.limits, manifest["data"]["sha256"]):
        assert said in card
    for metric, title in TITLES.items():
        assert (f"| {title} |" in card) == (metric in evaluation["metrics"])
    sections = set(re.findall(r"^## (.*)$", card, re.MULTILINE))
    assert ("Fairness" in sections) == bool(project.sensitive)
    assert ("Looking ahead" in sections) == bool(project.time_column)
    assert ("Intervals" in sections) == (project.task == "regression")
    assert importance["ranking"][0]["feature"] in card


def test_every_table_of_a_card_is_even(project: Project, finished: Path) -> None:
    card = (finished / "reports" / project.name / "card.md").read_text()
    tables = [block.splitlines() for block in card.split("\n\n") if block.startswith("|")]
    assert len(tables) >= 4
    for lines in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1


def test_a_card_of_real_data_has_no_banner_and_names_what_was_rejected(project: Project, finished: Path) -> None:
    manifest, data, evaluation, importance = material(finished, project.name)
    source = {**data["sources"][0], "rejected": 3, "rejected_by_reason": {"x: is missing": 3}, "dropped_columns": []}
    source["left_out"] = {"the price is none": 1_234}
    card = model_card(project, manifest, {"simulated": False, "sources": [source]}, evaluation, importance, PROOF)
    assert "Simulated data" not in card
    assert "- 3 x x: is missing" in card
    assert "- 1,234 x left out: the price is none" in card


def test_without_a_segment_that_is_large_enough_the_card_says_so(project: Project, finished: Path) -> None:
    manifest, data, evaluation, importance = material(finished, project.name)
    evaluation["by_segment"]["segments"] = []
    assert "No segment has 30 test rows" in model_card(project, manifest, data, evaluation, importance, PROOF)


def test_what_has_no_value_is_a_dash(project: Project, finished: Path) -> None:
    manifest, data, evaluation, importance = material(finished, project.name)
    evaluation["backtest"] = {
        "from": "2019-01-01",
        "train_rows": 9,
        "test_rows": 9,
        "metrics": {project.primary_metric: None},
    }
    group = {"rows": 40, "flagged": 0.0, "recall": 0.0, "false_positive_rate": 0.0}
    rates = {"groups": {"a": group, "b": group}, "disparate_impact": None, "disparate_impact_flag": False, "recall_gap": 0.0}
    card = model_card(project, manifest, data, {**evaluation, "fairness": {"x": rates}}, importance, PROOF)
    assert re.search(rf"\| {TITLES[project.primary_metric]} \| - \|", card)
    assert "Disparate impact - (" in card

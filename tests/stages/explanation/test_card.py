from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stages.explanation.card import coverage_interval, goal, model_card, table, uncovered
from stages.projects._base import Project
from stages.runtime.metric_names import TITLES
from stages.runtime.wording import upper_first, words

PROOF = {"rows": 800, "tolerance": 1e-9}


def material(folder: Path, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a card is made from: the manifest, and the reports by name."""
    files = {name: f"{name}.json" for name in ("data", "evaluation", "leaderboard", "importance")}
    reports = {report: json.loads((folder / "reports" / name / file).read_text()) for report, file in files.items()}
    return json.loads((folder / "models" / name / "manifest.json").read_text()), reports


def test_a_bar_in_a_cell_does_not_end_it() -> None:
    assert table(["a", "b"], [["x|y", "z"]]).splitlines() == ["| a | b |", "| --- | --- |", "| x\\|y | z |"]


def test_the_card_says_what_the_reports_say(project: Project, finished: Path) -> None:
    card = (finished / "reports" / project.name / "card.md").read_text()
    manifest, reports = material(finished, project.name)
    proof = json.loads((finished / "models" / project.name / "plan.json").read_text())["proof"]
    assert card == model_card(project, manifest, reports, proof)
    assert card.startswith(f"# {project.title}\n\n> **Simulated data.**")
    evaluation, importance = reports["evaluation"], reports["importance"]
    for said in (project.question, project.intended_use, project.contact, *project.limits, manifest["data"]["sha256"]):
        assert said in card
    for metric, title in TITLES.items():
        assert (f"| {title} |" in card) == (metric in evaluation["metrics"])
    sections = set(re.findall(r"^## (.*)$", card, re.MULTILINE))
    assert ("Fairness" in sections) == bool(project.sensitive)
    assert ("Looking ahead" in sections) == bool(project.time_column)
    assert ("Intervals" in sections) == (project.task == "regression")
    assert upper_first(importance["ranking"][0]["feature"]) in card


def test_every_table_of_a_card_is_even(project: Project, finished: Path) -> None:
    card = (finished / "reports" / project.name / "card.md").read_text()
    tables = [block.splitlines() for block in card.split("\n\n") if block.startswith("|")]
    assert len(tables) >= 4
    for lines in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1


def test_a_card_of_real_data_has_no_banner_and_names_what_was_rejected(project: Project, finished: Path) -> None:
    manifest, reports = material(finished, project.name)
    source = {
        **reports["data"]["sources"][0],
        "rejected": 3,
        "rejected_by_reason": {"x: is missing": 3},
        "dropped_columns": [],
    }
    source["left_out"] = {"the price is none": 1_234}
    card = model_card(project, manifest, reports | {"data": {"simulated": False, "sources": [source]}}, PROOF)
    assert "Simulated data" not in card
    assert "| Broke the schema: x: is missing | 3 |" in card
    assert "| Out of scope: the price is none | 1,234 |" in card


def test_a_card_tells_no_segments_from_segments_that_are_too_small(project: Project, finished: Path) -> None:
    manifest, reports = material(finished, project.name)
    reports["evaluation"]["by_segment"] = {"segments": [], "left_out": 4, "min_rows": 30}
    small = model_card(replace(project, segments=("carrier",)), manifest, reports, PROOF)
    assert "None of 4 segments has 30 test rows" in small
    assert "No segments are defined" in model_card(replace(project, segments=()), manifest, reports, PROOF)


def test_a_segment_whose_intervals_hold_too_little_is_named() -> None:
    segments = [
        {"column": "age", "segment": "(missing)", "rows": 100, "interval_coverage": 0.67},
        {"column": "age", "segment": "1 to 2", "rows": 40, "interval_coverage": 0.85},
        {"column": "age", "segment": "2 to 3", "rows": 40, "interval_coverage": 1.0},
    ]
    assert uncovered(segments, 0.9, {"age": "Age"}) == ["Age: (missing) (67.0 % of 100 rows)"]
    low, high = coverage_interval(segments[2])
    assert 0.9 < low < high == pytest.approx(1)


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (
            {"goal": "cost", "cost_ratio": 5.0},
            "costs least, but for chance, where false positives and false negatives cost 1 : 5",
        ),
        ({"goal": "f1"}, "has the highest F1"),
        ({"goal": "recall_at_precision", "precision": 0.8}, "has the highest recall at a precision of at least 80.0 %"),
    ],
)
def test_a_card_says_what_the_threshold_was_chosen_for(choice: dict[str, Any], said: str) -> None:
    assert goal(choice) == said


def test_every_row_that_was_read_is_counted_once(project: Project, finished: Path) -> None:
    card = (finished / "reports" / project.name / "card.md").read_text()
    counted = card.partition("| What became of the rows |")[2].partition("\n\n")[0]
    rows = [int(number.replace(",", "")) for number in re.findall(r"\| ([\d,]+) \|$", counted, re.MULTILINE)]
    data = json.loads((finished / "reports" / project.name / "data.json").read_text())
    assert sum(rows) == sum(source["rows"] for source in data["sources"])


def test_a_card_lists_all_candidates_and_the_settings_of_the_chosen(project: Project, finished: Path) -> None:
    card = (finished / "reports" / project.name / "card.md").read_text()
    manifest, reports = material(finished, project.name)
    for entry in reports["leaderboard"]["candidates"]:
        chosen = entry["candidate"] == manifest["estimator"]
        assert f"| {'**' * chosen}{words(entry['candidate'])}{'**' * chosen} |" in card
    for name, value in manifest["params"]["estimators"].get(manifest["estimator"], {}).items():
        assert name == "members" or f"| {name} | {value} |" in card


def test_prose_for_people_has_neither_identifiers_of_metrics_nor_powers_of_ten(project: Project, finished: Path) -> None:
    card = (finished / "reports" / project.name / "card.md").read_text()
    assert not re.search(r"\b(roc_auc|median_ape|\d(\.\d+)?e[+-]\d\d|1 rows|1,000 USD)\b", card)


def test_what_has_no_value_is_a_dash(project: Project, finished: Path) -> None:
    manifest, reports = material(finished, project.name)
    evaluation = reports["evaluation"]
    evaluation["backtest"] = {
        "from": "2019-01-01",
        "train_rows": 9,
        "test_rows": 9,
        "metrics": {project.primary_metric: None},
    }
    group = {"rows": 40, "flagged": 0.0, "recall": 0.0, "false_positive_rate": 0.0}
    rates = {"groups": {"a": group, "b": group}, "disparate_impact": None, "disparate_impact_flag": False, "recall_gap": 0.0}
    fairness = {project.target: rates}
    card = model_card(project, manifest, reports | {"evaluation": {**evaluation, "fairness": fairness}}, PROOF)
    assert re.search(rf"\| {TITLES[project.primary_metric]} \| – \|", card)
    assert "Nobody is flagged" in card

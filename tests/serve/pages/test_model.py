"""Tests of the page "Model": what it shows of a model's reports, without a browser."""

from __future__ import annotations

import json
import shutil
from html import escape
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from serve.pages.card import card_html
from serve.pages.charts.classifier import calibration, confusion, roc, scores
from serve.pages.charts.files import DRAWN, Drawn, draw, read_csv
from serve.pages.charts.quality import candidates, importance, learning, segments
from serve.pages.charts.regressor import coverage, predicted_actual, residuals
from stages.projects._base import Project, load_project
from stages.runtime.metric_names import TITLES
from stages.runtime.wording import metric, metric_interval, p_value, words
from tests.samples import DAG
from tests.serve.conftest import Client, Serve
from tests.serve.models.test_history import promoted, write_ledger
from tests.serve.pages.test_pages import page


def shown(client: Client, name: str = "toy") -> str:
    answer = client.get(f"/{name}/model", headers={"Accept": "text/html"})
    assert answer.status_code == 200, answer.text
    return answer.text


def model_of(name: str, **evaluation: Any) -> Any:
    """As much of a model as charts look at."""
    manifest = {"interval": {"coverage": 0.9}, "estimator": "ridge"}
    return SimpleNamespace(
        project=load_project(name), evaluation=evaluation, manifest=manifest, threshold=0.5, version="v1.0.0"
    )


def values(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """The data of a chart, of all its layers."""
    own = spec.get("data", {}).get("values", [])
    return own + [row for layer in spec.get("layer", []) for row in values(layer)]


def test_the_page_shows_every_metric_with_its_interval_and_draws_every_plot(
    client: Client, checkout: Path, project: Project
) -> None:
    text = shown(client, project.name)
    evaluation = json.loads((checkout / "reports" / project.name / "evaluation.json").read_text())
    for name, found in evaluation["metrics"].items():
        if name in TITLES:
            row = f'<th scope="row">{TITLES[name]}</th><td class="number">{metric(found["value"], name, project.unit)}</td>'
            assert row in text
            assert metric_interval(found, name, project.unit) in text
    baseline = metric(evaluation["baseline"]["value"], project.primary_metric, project.unit)
    assert f"The baseline, which ignores the row, has a {words(project.primary_metric)} of {baseline}" in text
    assert escape(p_value(evaluation["baseline"]["p_value"])) in text
    figures = {figure["id"] for figure in page(client, f"/{project.name}/model").all("figure")}
    kinds = [
        name.replace("_", "-") for name in DRAWN if (checkout / "reports" / project.name / f"plots/{name}.csv").exists()
    ]
    assert len(kinds) == 5
    assert figures >= {"comparison", "candidates", "learning", "importance", *kinds}
    assert "What it is for, and not for" in text  # the model card


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_every_plot_that_dvc_draws_is_drawn_here(task: str) -> None:
    (plots,) = (each[task] for each in DAG["vars"] if task in each)
    assert len(plots) == 5
    assert {plot["file"] for plot in plots} <= set(DRAWN)


def test_a_model_without_reports_has_a_page_that_says_how_to_make_them(serve: Serve, root: Path) -> None:
    shutil.rmtree(root / "reports" / "toy")
    text = shown(serve(root=root))
    assert "dvc repro evaluate@toy" in text
    assert "<figure" not in text


def test_curves_of_another_model_are_not_shown(serve: Serve, root: Path) -> None:
    path = root / "reports" / "toy" / "plots" / "learning_curve.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-1], lines[-1].split(",")[0] + ",0.123456"]) + "\n")
    text = shown(serve(root=root))
    assert "are missing or belong to another model" in text
    assert 'id="roc"' not in text
    assert 'id="importance"' in text


@pytest.mark.slow
def test_charts_of_a_version_from_before_the_columns_were_renamed_are_left_out_with_a_sentence(
    serve: Serve, root: Path
) -> None:
    plots = root / "reports" / "toy" / "plots"
    rename(plots / "roc.csv", "false_positive_rate,true_positive_rate")
    client = serve(root=root)
    text = shown(client)
    assert "in other columns (roc)" in text
    assert 'id="roc"' not in text
    assert 'id="precision-recall"' in text
    rename(plots / "learning_curve.csv", "rows,score")
    text = shown(serve(root=root))
    assert "in other columns (learning_curve)" in text
    assert 'id="precision-recall"' not in text
    assert 'id="importance"' in text


def rename(path: Path, header: str) -> None:
    """Give a CSV file other columns."""
    path.write_text("\n".join([header, *path.read_text().splitlines()[1:]]) + "\n")


@pytest.mark.slow
def test_the_model_stands_beside_the_champion_it_was_compared_with(serve: Serve, root: Path) -> None:
    digest = serve(root=root).get("/v1/toy").json()["hash"]
    metrics = {"roc_auc": {"value": 0.701, "low": 0.65, "high": 0.75}}
    detail = "On the same 100 test rows the ROC-AUC is 0.8 against 0.7 of v1.0.0 <b>."
    rules = [{"rule": "comparison", "passed": True, "detail": detail}]
    champion = promoted("v1.0.0", "old") | {"metrics": metrics}
    own = promoted("v1.1.0", digest) | {"champion": {"version": "v1.0.0", "hash": "old"}, "rules": rules}
    for entries, said in ([champion, own], True), ([champion], False):
        write_ledger(root, *entries)
        text = shown(serve(root=root))
        assert '<th scope="col" class="number">v1.0.0</th>' in text
        assert '<td class="number">0.650 to 0.750</td>' in text
        assert (escape(detail) in text) == said
    write_ledger(root, champion | {"challenger": {"hash": digest}})
    assert "those of v1.0.0 on its own" not in shown(serve(root=root))  # it is this very model


@pytest.mark.slow
def test_groups_that_are_flagged_at_different_rates_are_marked_by_the_four_fifths_rule(serve: Serve, root: Path) -> None:
    path = root / "reports" / "toy" / "evaluation.json"
    evaluation = json.loads(path.read_text())
    rates = {"rows": 40, "flagged": 0.25, "recall": 0.5, "false_positive_rate": 0.125}
    for impact, said in (
        (0.79, "Fails the four-fifths rule"),
        (0.81, "Meets the four-fifths rule"),
        (None, "Nobody is flagged"),
    ):
        flag = impact is not None and impact < 0.8
        found = {"groups": {"<i>": rates}, "disparate_impact": impact, "disparate_impact_flag": flag, "recall_gap": 0.071}
        path.write_text(json.dumps(evaluation | {"fairness": {"region": found}}))
        text = shown(serve(root=root))
        assert said in text
        assert "Recall differs by 7.1 percentage points" in text
        assert '<th scope="row">&lt;i&gt;</th><td class="number">40</td><td class="number">25.0 %</td>' in text


@pytest.mark.parametrize(("name", "worst"), [("toy", "low"), ("toy_price", "high")])
def test_segments_come_worst_first_whichever_way_the_metric_is_good(name: str, worst: str) -> None:
    primary = load_project(name).primary_metric
    found = [{"column": "x", "segment": segment, "rows": 30, primary: value} for segment, value in
             (("low", 0.1), ("none", None), ("middle", 0.5), ("high", 0.9))]  # fmt: skip
    chart = segments(model_of(name, by_segment={"segments": found}, metrics={primary: {"value": 0.5}}))
    assert chart
    names = [row[0] for row in chart.rows]
    assert names == ([f"X: {each}" for each in ("low", "middle", "high")])[:: 1 if worst == "low" else -1]
    assert segments(model_of(name)) is None


def test_a_curve_is_read_where_people_ask() -> None:
    model = model_of("toy")
    steps = [step / 100 for step in range(101)]
    chart = roc([{"False positive rate": step, "True positive rate": min(1.0, 5 * step)} for step in steps], model)
    assert "50.0 % are found when 10.0 % of the others are flagged too" in chart.text
    assert ("10.0 %", "50.0 %") in chart.rows
    columns = ("Predicted probability", "Observed rate", "Test rows")
    rows = [dict(zip(columns, values, strict=True)) for values in ((0.15, 0.1, 900.0), (0.9, 0.5, 10.0))]
    assert (
        "15.0 % is predicted and 10.0 % observed" in calibration(rows, model).text
    )  # many rows weigh more than a large difference
    histogram = [
        {"Predicted probability": 0.25, "Test rows": 30.0},
        {"Predicted probability": 0.75, "Test rows": 10.0},
    ]
    assert scores(histogram, model).rows == [("0.0 % to 50.0 %", "30"), ("50.0 % to 100.0 %", "10")]


def test_the_confusion_matrix_counts_what_was_found_and_missed() -> None:
    pairs = [("in time", "in time")] * 6 + [("in time", "late")] * 2 + [("late", "in time")] + [("late", "late")] * 3
    chart = confusion([{"Actual": actual, "Predicted": predicted} for actual, predicted in pairs], model_of("toy"))
    assert chart.rows == [("in time", "6", "2"), ("late", "1", "3")]
    assert "“late” found: 3 of 4 test rows; flagged by mistake: 2 of 8 others." in chart.text
    assert [cell["says"] for cell in values(chart.spec)] == ["6 (75.0 %)", "2 (25.0 %)", "1 (25.0 %)", "3 (75.0 %)"]


def test_charts_of_values_say_where_the_model_errs() -> None:
    metrics = {"r2": {"value": 0.8}, "mae": {"value": 1234.5}}
    model = model_of("toy_price", metrics=metrics)
    dots = [{"Actual": 1000.0 * n, "Predicted": 1100.0 * n} for n in range(1, 2001)]
    chart = predicted_actual(dots, model)
    assert "the mean absolute error is 1,234 USD" in chart.text
    assert len(values(chart.spec)) <= 602
    assert (
        "5th percentile -90 USD, median 0 USD, 95th percentile 90 USD"
        in residuals([{"Predicted": 1.0, "Actual minus predicted": float(n)} for n in range(-100, 101)], model).text
    )
    tenths = [
        {"Predicted": 5000.0, "Share inside the interval": 0.7},
        {"Predicted": 9000.0, "Share inside the interval": 0.95},
    ]
    assert "Nominal coverage 90.0 % (dashed). Lowest around 5,000 USD: 70.0 %" in coverage(tenths, model).text


def test_features_keep_their_rank_when_shuffled() -> None:
    ranking = [{"feature": "rooms", "importance": 0.5}, {"feature": "Fuel: gas", "importance": 0.25}]
    shuffled = [{"feature": "Fuel", "importance": 9.0}, {"feature": "rooms", "importance": 1.0}]
    chart = importance({"method": "shap", "ranking": ranking, "permutation": shuffled})
    assert chart
    assert chart.rows == [("Rooms", "0.5", "2"), ("Fuel: gas", "0.25", "1")]
    assert importance({}) is None


def test_what_was_not_reported_makes_no_chart(tmp_path: Path) -> None:
    model = model_of("toy")
    assert (learning(model), candidates(model, []), draw(model, tmp_path), read_csv(tmp_path / "x.csv")) == (
        None,
        None,
        Drawn([], []),
        [],
    )


def test_missing_values_in_a_csv_file_are_none_and_texts_stay_texts(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text('a,b\n1.5,"x, y"\n,\n')
    assert read_csv(tmp_path / "x.csv") == [{"a": 1.5, "b": "x, y"}, {"a": None, "b": None}]


def test_markup_in_a_model_card_shows_as_text() -> None:
    html = card_html("# Title\n\n<script>alert(1)</script> [x](javascript:alert(1))\n\n| a |\n| --- |\n| <b>c</b> |\n")
    assert "<script" not in html
    assert "href" not in html
    assert "&lt;b&gt;c&lt;/b&gt;" in html
    assert "<h2>Title</h2>" in html
    assert '<div class="scroll" tabindex="0"><table>' in html
    assert '<th scope="col">a</th>' in html

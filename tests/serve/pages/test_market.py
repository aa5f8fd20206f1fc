"""The pages Overview and Market as the server sends them."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

import pytest

from serve.pages.profile import correlations, described
from stages.projects._base import Project, columns_of, load_project
from tests.serve.conftest import Client, Serve

MARKETS = ("toy_price",)
BROWSER = {"accept": "text/html"}
HOSTILE = '</script><img src=x onerror="alert(1)">'


def report(root: Path, name: str, file: str) -> Any:
    return json.loads((root / "reports" / name / file).read_text())


def test_the_overview_says_what_a_model_is_for_how_good_it_is_and_what_it_was_trained_on(
    client: Client, checkout: Path, project: Project
) -> None:
    page = client.get(f"/{project.name}", headers=BROWSER)
    text = html.unescape(page.text)
    assert page.status_code == 200
    assert len(page.content) < 400_000
    assert "Simulated data" in text
    for expected in (project.question, project.intended_use, *project.limits):
        assert expected in text
    for column in columns_of(project.record):
        assert f"<h3>{column.title}" in text
        assert f"<code>{column.name}</code>" in text
    rows = report(checkout, project.name, "profile.json")["rows"]
    assert f"<dd>{rows:,}</dd>" in text
    assert "simulate?rows=" in text


def test_the_overview_is_the_first_tab_and_home_leads_there(client: Client, project: Project) -> None:
    assert f'<a href="/{project.name}">{project.title}</a>' in client.get("/").text
    assert f'href="/{project.name}" aria-current="page"' in client.get(f"/{project.name}").text


def test_outcomes_and_flags_have_names() -> None:
    project = load_project("toy")
    columns: dict[str, Any] = {column.name: {"missing": 0, "distinct": 0} for column in columns_of(project.record)}
    shares = [{"value": 0, "share": 0.75}, {"value": 1, "share": 0.25}]
    for name in ("late", "insured"):
        columns[name] = {"missing": 0.5, "distinct": 2, "quantiles": [0] * 7, "frequent": shares}
    found = described(project, {"rows": 4, "columns": columns, "correlations": {"columns": [], "values": []}})
    cards = {card["name"]: card for card in found["columns"]}
    assert cards["late"]["frequent"] == [{"label": "in time", "share": 0.75}, {"label": "late", "share": 0.25}]
    assert cards["insured"]["frequent"] == [{"label": "no", "share": 0.75}, {"label": "yes", "share": 0.25}]
    assert (cards["late"]["role"], cards["insured"]["role"]) == ("outcome", "")
    assert cards["insured"]["kind"] == "choice · 50.0 % missing"
    assert found["outcome"].text == "Of the training rows: in time 75.0 %, late 25.0 %."
    assert found["correlations"] is None


def test_a_text_that_is_nearly_a_name_is_counted_and_not_listed() -> None:
    project = load_project("toy_price")
    columns: dict[str, Any] = {column.name: {"missing": 0, "distinct": 0} for column in columns_of(project.record)}
    columns["price"] = {"missing": 0, "distinct": 1, "quantiles": [5] * 7, "frequent": [{"value": 5, "share": 1}]}
    columns["broker"] = {"missing": 0, "distinct": 1_000, "frequent": [{"value": "1", "share": 0.001}]}
    columns["builder"] = {"missing": 0, "distinct": 10, "frequent": [{"value": "Lund", "share": 0.6}]}
    found = described(project, {"rows": 4, "columns": columns, "correlations": {"columns": [], "values": []}})
    cards = {card["name"]: card for card in found["columns"]}
    assert cards["broker"]["frequent"] == []
    assert cards["broker"]["words"] == ["1,000 different values, each in less than 0.5 %"]
    assert [item["label"] for item in cards["builder"]["frequent"]] == ["Lund", "9 others"]
    assert sum(item["share"] for item in cards["builder"]["frequent"]) == 1


def test_correlations_begin_with_the_outcome_and_name_the_strongest() -> None:
    values = [[1, 0.2, -0.7], [0.2, 1, None], [-0.7, None, 1]]
    found = correlations({"columns": ["price", "cabins", "hours"], "values": values}, load_project("toy_price"))
    assert found is not None
    assert found.text == "Asking price correlates most with Engine hours (−0.70), Cabins (0.20)."
    assert found.rows[1] == ["Cabins", "0.20", "1.00", "–"]
    moved = correlations({"columns": ["hours", "price"], "values": [[1, -0.7], [-0.7, 1]]}, load_project("toy_price"))
    assert moved is not None
    assert moved.head == ["Column", "Asking price", "Engine hours"]


def test_a_version_without_a_profile_says_how_to_make_one(root: Path, serve: Serve) -> None:
    (root / "reports" / "toy" / "profile.json").unlink()
    (root / "reports" / "toy" / "data.json").unlink()
    page = serve(root).get("/toy")
    assert page.status_code == 200
    assert "dvc repro explain@toy" in page.text


@pytest.mark.parametrize("name", MARKETS)
def test_a_market_has_a_filter_and_a_chart_for_everything_it_is_sorted_by(client: Client, checkout: Path, name: str) -> None:
    page = client.get(f"/{name}/market", headers=BROWSER)
    assert page.status_code == 200
    assert len(page.content) < 100_000
    assert f'<a href="/{name}/market" aria-current="page">Market</a>' in page.text
    for dimension in report(checkout, name, "market.json")["dimensions"]:
        assert f'id="by-{dimension["name"]}"' in page.text
        if "levels" in dimension:
            assert all(f"<option>{level}</option>" in page.text for level in dimension["levels"])
        else:
            assert f'name="{dimension["name"]}-from"' in page.text


@pytest.mark.parametrize("name", MARKETS)
def test_the_adverts_are_sent_small_and_not_stored(client: Client, checkout: Path, name: str) -> None:
    answer = client.get(f"/{name}/market/data")
    assert answer.json() == report(checkout, name, "market.json")
    assert answer.headers["content-encoding"] == "gzip"
    assert int(answer.headers["content-length"]) < 400_000
    assert answer.headers.get_list("cache-control") == ["no-store"]


def test_a_project_without_a_market_has_no_such_page(client: Client) -> None:
    assert "/toy/market" not in client.get("/toy").text
    assert client.get("/toy/market", headers=BROWSER).status_code == 404


def test_a_version_without_market_data_has_no_tab_and_says_how_to_make_them(root: Path, serve: Serve) -> None:
    (root / "reports" / "toy_price" / "market.json").unlink()
    opened = serve(root, projects=["toy_price"])
    assert "/toy_price/market" not in opened.get("/toy_price").text
    answer = opened.get("/toy_price/market")
    assert answer.status_code == 404
    assert "dvc repro explain@toy_price" in answer.json()["detail"]


def test_values_of_the_data_stay_text(root: Path, serve: Serve) -> None:
    folder = root / "reports" / "toy_price"
    profile, market, data = (report(root, "toy_price", f"{name}.json") for name in ("profile", "market", "data"))
    profile["columns"]["condition"]["frequent"][0]["value"] = HOSTILE
    market["dimensions"][0]["levels"][0] = HOSTILE
    data["sources"][0]["address"] = HOSTILE
    for name, content in (("profile", profile), ("market", market), ("data", data)):
        (folder / f"{name}.json").write_text(json.dumps(content))
    opened = serve(root, projects=["toy_price"])
    for path in ("/toy_price", "/toy_price/market"):
        page = opened.get(path, headers=BROWSER)
        assert page.status_code == 200
        assert HOSTILE not in page.text
        assert "<img src=x" not in page.text
        assert "&lt;img src=x" in page.text

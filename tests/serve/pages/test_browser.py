"""The pages Home, Predict and Sign-in in a real browser."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from serve.api.protection import digest
from stages.projects._base import Project, load_project
from tests.serve.browser import accessible, accessible_in_both_themes, overflow
from tests.serve.checkout import json_rows
from tests.serve.process import Server
from tests.toys import TOYS

KEY = "a-long-random-key"
HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
REFUSED = "422"  # what the browser itself says in the console of a request that the server refuses


def predictions(site: str, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx.get(f"{site}/v1/{name}/predictions?limit=1000").json()["predictions"]
    return found


def predict(page: Page) -> None:
    page.get_by_role("button", name="Predict", exact=True).click()
    expect(page.locator("#headline .value")).to_be_visible()
    expect(page.locator("#contributions[data-drawn] svg")).to_be_visible()


def upload(page: Page, lines: list[str], folder: Path, name: str = "rows.csv") -> None:
    path = folder / name
    path.write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    page.set_input_files("#csv", path)


def download(page: Page, what: str = "predictions") -> list[dict[str, str]]:
    with page.expect_download() as event:
        page.locator("#outcome button", has_text=what).click()
    return list(csv.DictReader(io.StringIO(Path(event.value.path()).read_text())))


def test_the_filled_form_gives_a_prediction_and_what_if_moves_it(page: Page, site: str, project: Project) -> None:
    page.goto(f"{site}/{project.name}/predict")
    before = len(predictions(site, project.name))
    predict(page)
    made = predictions(site, project.name)
    assert len(made) == before + 1
    score = made[0]["output"].get("probability")
    shown = page.locator("#headline").inner_text()
    assert (f"{100 * score:.1f} %" if score is not None else made[0]["output"]["unit"].split()[-1]) in shown
    assert made[0]["prediction_id"] in page.locator("#picture").inner_text()
    assert page.locator("#reasons li").count() > 0

    answer = page.locator("#what-if-answer")
    answer.scroll_into_view_if_needed()
    expect(answer).to_contain_text("as entered")
    entered = answer.inner_text().split(" (")[0]
    assert entered in shown
    moved = set()
    for end in ("End", "Home"):
        page.locator("#what-if-input").press(end)
        expect(answer).to_contain_text(re.compile(r"\([+−]?\d"))
        page.wait_for_timeout(250)
        moved.add(answer.inner_text().split(" (")[0])
    assert moved != {entered}
    expect(page.locator("#what-if-chart[data-drawn] svg")).to_be_visible()

    values = page.locator("#compare-values input:checked")
    rows = page.locator("#compare-table tbody tr")
    expect(rows).to_have_count(values.count())
    compared = values.count()
    values.last.uncheck()
    expect(rows).to_have_count(compared - 1)
    assert len(predictions(site, project.name)) == before + 1  # trying out is not logged


def test_a_random_row_is_said_to_be_made_up_and_is_a_synthetic_one(page: Page, site: str, checkout: Path) -> None:
    page.goto(f"{site}/toy_price/predict")
    page.get_by_role("button", name="Random made-up row").click()
    expect(page.locator("#headline .value")).to_be_visible()
    rows = json.loads((checkout / "reports" / "toy_price" / "synthetic.json").read_text())["rows"]
    asked = predictions(site, "toy_price")[0]["input"]
    assert any(row.items() <= asked.items() for row in rows)
    page.get_by_role("button", name="Example").click()
    expect(page.locator("#field-builder")).to_have_value("lund river")


def test_another_row_is_compared_for_the_values_that_were_chosen(page: Page, site: str) -> None:
    page.goto(f"{site}/toy_price/predict")
    page.locator("#compare-field").select_option("builder")
    listed, told = page.locator("#compare-values"), page.locator("#compare-chart .canvas")
    listed.get_by_label("moor classic").uncheck()
    page.get_by_label("Another value").fill("ark noah")
    page.get_by_label("Another value").press("Enter")
    expect(listed).to_contain_text("ark noah")
    listed.get_by_label("ark noah").check()
    expect(told).to_have_attribute("aria-label", re.compile("ark noah"))
    before = told.get_attribute("aria-label")
    page.locator("#field-hours").fill("250000")
    expect(told).not_to_have_attribute("aria-label", str(before))
    after = str(told.get_attribute("aria-label"))
    assert "ark noah" in after
    assert "moor classic" not in after
    page.locator("#compare-field").select_option("fuel")
    expect(told).to_have_attribute("aria-label", re.compile("diesel"))
    assert "ark noah" not in listed.inner_text()


def test_what_the_server_refuses_is_said_beside_the_field(page: Page, site: str, expected: list[str]) -> None:
    expected.append(REFUSED)
    page.goto(f"{site}/toy_price/predict")
    page.locator("#field-size").fill("0")  # the browser knows no bound that is itself excluded
    page.get_by_role("button", name="Predict", exact=True).click()
    expect(page.locator("#field-size-error")).to_have_text("is not above 0: 0")
    expect(page.locator("#field-size")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#field-size")).to_be_focused()
    page.locator("#field-size").fill("1000")
    predict(page)
    expect(page.locator("#field-size-error")).to_be_empty()
    expect(page.locator("#picture")).to_contain_text("USD per square foot")


def test_the_threshold_decides_the_answer(page: Page, site: str) -> None:
    page.goto(f"{site}/toy/predict")
    predict(page)
    answer = page.locator("#headline .value")
    badge = page.locator("#headline .badge")
    page.locator("#threshold").press("Home")
    expect(answer).to_have_text("late")
    expect(badge).to_have_text(re.compile("Risk level: (medium|high)"))
    page.locator("#threshold").press("End")
    expect(answer).to_have_text("in time")
    expect(badge).to_have_text(re.compile("Risk level: (low|medium)"))
    page.get_by_role("button", name="Predict", exact=True).click()
    expect(page.locator("#picture")).to_contain_text("Logged")
    assert predictions(site, "toy")[0]["output"]["threshold"] == 1.0


def test_a_file_is_predicted_but_for_its_bad_lines(page: Page, site: str, tmp_path: Path) -> None:
    page.goto(f"{site}/toy_price/predict")
    names = [column.name for column in load_project("toy_price").columns]
    rows = json_rows("toy_price", 450)
    table = [
        [str(number), *("" if row[name] is None else str(row[name]) for name in names)] for number, row in enumerate(rows)
    ]
    table[0][0], table[1][0], table[2][0] = "=1+1", '"quoted"', "@home,\nnext line"
    year, condition = names.index("built") + 1, names.index("condition") + 1
    table[4][year] = "MMXX"
    table[300][condition] = "wrecked"
    table[5].append("one too many")
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows([["note", *names], *table])
    upload(page, [text.getvalue()], tmp_path)
    outcome = page.locator("#outcome")
    expect(outcome).to_contain_text("447 predicted, 3 left out.")
    reasons = outcome.locator("table").first.inner_text()
    assert "built: is no number\t1\tline 7: MMXX" in reasons  # the third row takes two lines
    assert f"line: has {len(names) + 2} values where the header has {len(names) + 1} names\t1\tline 8" in reasons
    assert "condition: is none of fair, good, new\t1\tline 303: wrecked" in reasons
    assert "does not use: note" in outcome.inner_text()
    left_out = download(page, "left out")
    assert [row["note"] for row in left_out] == ["4", "5", "300"]
    assert left_out[0]["left_out_because"] == "built: is no number"

    found = download(page)
    assert [row["note"] for row in found[:3]] == ["'=1+1", '"quoted"', "'@home,\nnext line"]
    assert len(found) == 447
    sent = [row for number, row in enumerate(rows) if number not in (4, 5, 300)]
    answers = httpx.post(f"{site}/v1/toy_price/predict/batch", json={"rows": sent}).json()["predictions"]
    assert [float(row["predicted"]) for row in found] == pytest.approx([answer["prediction"] for answer in answers])
    logged = {entry["prediction_id"] for entry in predictions(site, "toy_price")}
    assert {row["prediction_id"] for row in found} <= logged


def test_a_file_that_is_no_table_of_rows_is_refused_whole(
    page: Page, site: str, tmp_path: Path, expected: list[str]
) -> None:
    expected.append(REFUSED)
    page.goto(f"{site}/toy_plain/predict")
    for lines, complaint in (
        (["noise,rooms,roads", "1,2,3"], "The header lacks tax; it names noise, rooms, roads."),
        (["noise,noise,rooms,roads,tax", "1,1,2,3,4"], "The header names noise more than once."),
        (["noise,rooms,roads,tax"], "The file has a header and no rows."),
        (
            ["noise,rooms,roads,tax", '1,2,"3,4'],
            "The quoting in line 2 is wrong (unexpected end of data).",
        ),
        ([""], "The file is empty."),
    ):
        upload(page, lines, tmp_path)
        expect(page.locator("#file-error")).to_have_text(complaint)
        expect(page.locator("#outcome")).to_be_empty()


def test_the_template_can_be_predicted_as_it_is(page: Page, site: str, tmp_path: Path) -> None:
    page.goto(f"{site}/toy_price/predict")
    with page.expect_download() as event:
        page.get_by_role("link", name="Download a template").click()
    upload(page, Path(event.value.path()).read_text().splitlines(), tmp_path)
    expect(page.locator("#outcome")).to_contain_text("1 predicted, 0 left out.")


def test_hostile_texts_stay_texts(page: Page, site: str, tmp_path: Path, expected: list[str]) -> None:
    expected.append(REFUSED)
    page.goto(f"{site}/toy_price/predict")
    page.locator("#field-builder").fill(HOSTILE)
    predict(page)
    page.locator("#contribution-table summary").click()
    expect(page.locator("#contribution-table")).to_contain_text(HOSTILE)
    page.locator("#compare-field").select_option("builder")
    page.get_by_label("Another value").fill(f"{HOSTILE}2")
    page.get_by_label("Another value").press("Enter")
    expect(page.locator("#compare-values")).to_contain_text(f"{HOSTILE}2")
    page.locator("#compare-chart svg").hover()
    page.locator("#what-if-field").select_option("builder")
    page.wait_for_timeout(500)

    header = [*(column.name for column in load_project("toy_price").columns), HOSTILE]
    empty = [""] * (len(header) - 1)
    row = load_project("toy_price").example_row
    good = [str(row.get(name, "")) for name in header[:-1]]
    text = io.StringIO()
    bad = [HOSTILE if name in ("builder", "condition") else value for name, value in zip(header, good, strict=False)]
    csv.writer(text).writerows([header, [*empty, HOSTILE], [*good, HOSTILE], [*bad, HOSTILE]])
    upload(page, [text.getvalue()], tmp_path, f"{HOSTILE.replace('/', '')}.csv")
    expect(page.locator("#outcome")).to_contain_text("1 predicted, 2 left out.")
    expect(page.locator("#outcome")).to_contain_text(HOSTILE)
    assert page.evaluate("document.querySelectorAll('main script:not([type]), main img').length") == 0
    assert page.locator("script", has_text="alert").count() == 0


def background(page: Page) -> int:
    """How light the page is, 0 to 255."""
    colour: str = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    return int(colour.partition("(")[2].split(",")[0])


def test_the_theme_follows_the_system_until_one_is_chosen(page: Page, site: str) -> None:
    page.emulate_media(color_scheme="dark")
    page.goto(f"{site}/toy/predict")
    assert background(page) < 60
    predict(page)
    label = page.locator("#contributions svg text").first
    dark = label.get_attribute("fill")
    page.get_by_role("button", name="Switch to the light theme").click()
    assert background(page) > 200
    expect(label).not_to_have_attribute("fill", str(dark))
    page.reload()
    assert background(page) > 200
    page.get_by_role("button", name="Switch to the dark theme").click()
    assert background(page) < 60


@pytest.mark.parametrize("name", ["", *TOYS])
def test_a_phone_shows_everything_without_scrolling_sideways(page: Page, site: str, name: str) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(f"{site}/{name}/predict" if name else site)
    if name:
        predict(page)
        page.locator("#compare").scroll_into_view_if_needed()
        page.locator("#compare-table summary").click()
        expect(page.locator("#compare-chart[data-drawn] svg")).to_be_visible()
        expect(page.locator("#what-if-chart[data-drawn] svg")).to_be_visible()
    assert overflow(page) <= 0


@pytest.mark.long
def test_nothing_serious_keeps_people_out(page: Page, site: str, tmp_path: Path, expected: list[str]) -> None:
    expected.append(REFUSED)
    page.goto(site)
    accessible_in_both_themes(page)
    page.goto(f"{site}/toy/predict")
    predict(page)
    row = json_rows("toy", 1)[0]
    upload(page, [",".join(row), ",".join(map(str, row.values())), ",".join(["x"] * len(row))], tmp_path)
    expect(page.locator("#outcome")).to_contain_text("1 predicted, 1 left out.")
    expect(page.locator("#compare-table tbody tr").first).to_be_attached()
    accessible_in_both_themes(page)


def test_the_keyboard_alone_is_enough(page: Page, site: str) -> None:
    page.goto(f"{site}/toy_plain/predict")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.locator("#field-crime")).to_be_focused()
    page.keyboard.type("0.5")
    page.keyboard.press("Enter")
    expect(page.locator("#headline .value")).to_be_visible()


def test_home_leads_to_every_project_and_counts_its_predictions(page: Page, site: str) -> None:
    httpx.post(f"{site}/v1/toy_plain/predict", json=json_rows("toy_plain", 1)[0]).raise_for_status()
    page.goto(site)
    for name in TOYS:
        expect(page.get_by_role("heading", name=load_project(name).title)).to_be_visible()
    card = page.locator(".card", has_text=load_project("toy_plain").title)
    made = httpx.get(f"{site}/v1/toy_plain/predictions?limit=1000").json()["predictions"]
    assert (
        int(card.locator("dt", has_text="Predictions today").locator("+ dd").inner_text().replace(",", "")) == len(made) > 0
    )
    expect(card).to_contain_text("Simulated data")
    card.get_by_role("link").click()
    expect(page.get_by_role("navigation", name=load_project("toy_plain").title)).to_be_visible()


def test_an_address_that_leads_nowhere_is_a_page(page: Page, site: str, expected: list[str]) -> None:
    expected.append("404")
    page.goto(f"{site}/nowhere")
    expect(page.get_by_role("heading", name="Not Found")).to_be_visible()
    accessible(page)


def test_signing_in_opens_the_pages_and_signing_out_closes_them(
    page: Page, checkout: Path, tmp_path: Path, expected: list[str]
) -> None:
    expected.append("401")
    keys = json.dumps([digest(KEY)])
    with Server(checkout, tmp_path, SERVE_API_KEYS=keys, SERVE_PROJECTS='["toy_plain"]') as server:
        page.goto(f"{server.url}/toy_plain/predict")
        expect(page).to_have_url(f"{server.url}/sign-in?next=/toy_plain/predict")
        accessible(page)
        page.get_by_label("API key").fill("wrong")
        page.keyboard.press("Enter")
        expect(page.locator("#key-error")).to_have_text("This is no key that the server accepts.")
        page.get_by_label("API key").fill(KEY)
        page.get_by_role("button", name="Sign in").click()
        expect(page).to_have_url(f"{server.url}/toy_plain/predict")
        page.get_by_role("button", name="Predict", exact=True).click()
        expect(page.locator("#headline .value")).to_be_visible()
        assert page.evaluate("document.cookie") == ""
        page.get_by_role("button", name="Sign out").click()
        page.goto(f"{server.url}/toy_plain/predict")
        expect(page).to_have_url(f"{server.url}/sign-in?next=/toy_plain/predict")
        page.goto("about:blank")  # the server waits for its connections before it stops

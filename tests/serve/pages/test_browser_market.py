"""The pages Overview and Market in a real browser."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from stages.projects._base import Project
from tests.serve.browser import accessible_in_both_themes, overflow

FILTERS = [{"built-from": "2005"}, {"price-to": "80000"}, {"condition": "good"}]  # what a visitor sets, one after another


def market(checkout: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((checkout / "reports" / name / "market.json").read_text())
    return found


def passing(data: dict[str, Any], filters: dict[str, str]) -> list[int]:
    """The places of all adverts that the filters let through."""
    columns = {dimension["name"]: dimension for dimension in data["dimensions"]} | {"price": {"values": data["price"]}}

    def passes(place: int) -> bool:
        for field, given in filters.items():
            name, _, end = field.partition("-")
            value = columns[name]["values"][place]
            if value is None:
                return False
            if end:
                if (value < float(given)) if end == "from" else (value > float(given)):
                    return False
            elif columns[name]["levels"][value] != given:
                return False
        return True

    return [place for place in range(len(data["price"])) if passes(place)]


def set_filters(page: Page, filters: dict[str, str]) -> None:
    for name, value in filters.items():
        field = page.locator(f"#filters [name='{name}']")
        if field.evaluate("field => field.tagName") == "SELECT":
            field.select_option(value)
        else:
            field.fill(value)


def open_market(page: Page, site: str, name: str, query: str = "") -> None:
    page.goto(f"{site}/{name}/market{query}")
    expect(page.locator("figure.chart:not([data-drawn])")).to_have_count(0)


def expect_counted(page: Page, data: dict[str, Any], places: list[int]) -> None:
    """The page counts what the filters let through."""
    drawn = [place for place in places if place < data["drawn"]]
    assert drawn
    expect(page.locator("#count")).to_have_text(f"{len(drawn):,} of {data['drawn']:,} adverts")
    expect(page.locator("#figures dd").first).to_have_text(f"{len(drawn):,}")
    offers = [data["side"][offer["at"]] for offer in data["offers"] if offer["at"] in places]
    expect(page.locator("#bargains")).to_contain_text(f"({offers.count(-1)})")
    expect(page.locator("#expensive")).to_contain_text(f"({offers.count(1)})")


def open_numbers(page: Page) -> None:
    """See every chart and the numbers behind it."""
    for figure in page.locator("figure.chart").all():
        figure.scroll_into_view_if_needed()
        expect(figure.locator("svg")).to_be_visible()
        for summary in figure.locator("summary").all():
            summary.click()


def drawings(page: Page) -> list[str]:
    found: list[str] = page.locator("figure.chart .canvas").evaluate_all("all => all.map((one) => one.innerHTML)")
    return found


def expect_all_drawn_anew(page: Page, before: list[str]) -> None:
    for _ in range(100):
        if all(old != new for old, new in zip(before, drawings(page), strict=True)):
            return
        page.wait_for_timeout(100)
    ids = page.locator("figure.chart").evaluate_all("all => all.map((one) => one.id)")
    unchanged = [name for name, old, new in zip(ids, before, drawings(page), strict=True) if old == new]
    pytest.fail(f"still as they were: {', '.join(unchanged)}")


def test_filters_update_all_charts_and_counts_at_once(page: Page, site: str, checkout: Path) -> None:
    name = "toy_price"
    data = market(checkout, name)
    open_market(page, site, name)
    expect_counted(page, data, passing(data, {}))
    whole = drawings(page)
    assert len(whole) == len(data["dimensions"]) + 2
    filters: dict[str, str] = {}
    for more in FILTERS:
        filters |= more
        set_filters(page, more)
        expect_counted(page, data, passing(data, filters))
    expect_all_drawn_anew(page, whole)
    narrow = drawings(page)
    page.get_by_role("button", name="Show all").click()
    expect_counted(page, data, passing(data, {}))
    expect_all_drawn_anew(page, narrow)
    assert page.url == f"{site}/{name}/market"


def test_a_chart_has_a_text_and_its_numbers(page: Page, site: str, checkout: Path) -> None:
    data = market(checkout, "toy_price")
    open_market(page, site, "toy_price", "?condition=good")
    figure = page.locator("#by-fuel")
    figure.locator("summary").click()
    levels = next(dimension for dimension in data["dimensions"] if dimension["name"] == "fuel")
    (first, *_), rows = figure.locator("tbody tr").all(), passing(data, {"condition": "good"})
    level, count, median = (first.locator("th, td").nth(place).inner_text() for place in range(3))
    code = levels["levels"].index(level)
    prices = [data["price"][place] for place in rows if levels["values"][place] == code and place < data["drawn"]]
    assert int(count) == len(prices)
    assert float(median.replace(",", "")) == pytest.approx(np.median(prices), abs=1)
    assert f"{level} {median} USD" in (figure.locator(".canvas").get_attribute("aria-label") or "")


def test_the_address_keeps_the_filters(page: Page, site: str, checkout: Path) -> None:
    data = market(checkout, "toy_price")
    open_market(page, site, "toy_price")
    set_filters(page, {"condition": "good", "price-from": "5000"})
    places = passing(data, {"condition": "good", "price-from": "5000"})
    expect_counted(page, data, places)
    expect(page).to_have_url(f"{site}/toy_price/market?condition=good&price-from=5000")
    page.reload()
    expect_counted(page, data, places)
    assert page.locator("[name='condition']").input_value() == "good"


def test_offers_are_those_outside_the_interval(page: Page, site: str, checkout: Path) -> None:
    data = market(checkout, "toy_price")
    open_market(page, site, "toy_price")
    rows = page.locator("#offers tbody tr")
    for side, label in ((-1, "Bargains"), (1, "Expensive")):
        page.get_by_label(re.compile(label)).check()
        offers = [offer for offer in data["offers"] if data["side"][offer["at"]] == side]
        expect(rows).to_have_count(min(20, len(offers)))
        expect(rows.first).to_contain_text(offers[0]["row"]["builder"])
        shown = [float(rows.first.locator("td").nth(place).inner_text().replace(",", "")) for place in (1, 4)]
        assert shown == pytest.approx([offers[0]["model"], offers[0]["serves"]], abs=0.5)
        for row in rows.all():
            asked, _, interval, difference, _ = row.locator("td").all_inner_texts()
            low, high = (float(bound.replace(",", "")) for bound in interval.split(" to "))
            value = float(asked.replace(",", ""))
            assert value <= low if side < 0 else value >= high
            assert difference.startswith("−" if side < 0 else "+")
        if len(offers) > 20:
            page.get_by_role("button", name="Show more").click()
            expect(rows).to_have_count(min(40, len(offers)))


def test_filters_that_no_advert_passes_say_so(page: Page, site: str) -> None:
    open_market(page, site, "toy_price")
    set_filters(page, {"price-from": "900000000"})
    expect(page.locator("#count")).to_have_text("No advert is like that: widen the filters.")
    expect(page.locator("#results")).to_be_hidden()
    set_filters(page, {"price-from": ""})
    expect(page.locator("#results")).to_be_visible()


def test_the_overview_draws_the_outcome_and_the_correlations(page: Page, site: str, project: Project) -> None:
    page.goto(f"{site}/{project.name}")
    for name in ("distribution", "correlations"):
        page.locator(f"#{name}").scroll_into_view_if_needed()
        expect(page.locator(f"#{name}[data-drawn] svg")).to_be_visible()


@pytest.mark.parametrize("path", ["toy_price", "toy_plain", "toy_price/market"])
def test_a_phone_shows_everything_without_scrolling_sideways(page: Page, site: str, path: str) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(f"{site}/{path}")
    open_numbers(page)
    assert overflow(page) <= 0


@pytest.mark.long
@pytest.mark.parametrize("path", ["toy", "toy_price/market"])
def test_nothing_serious_keeps_people_out(page: Page, site: str, path: str) -> None:
    page.goto(f"{site}/{path}")
    open_numbers(page)
    accessible_in_both_themes(page)

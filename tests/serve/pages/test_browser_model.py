"""Tests of the pages of model, history, monitoring and a prediction, in a browser."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from stages.projects._base import Project
from tests.serve.browser import accessible, accessible_in_both_themes, overflow
from tests.serve.checkout import example, json_rows
from tests.serve.models.test_history import deployed, write_ledger
from tests.serve.pages.test_history import HOSTILE, compared, decided
from tests.serve.pages.test_monitoring import HOSTILE as MODEL
from tests.serve.process import Server

ADDRESSES = ("model", "history", "monitoring", "monitoring?hours=168", "predictions")
# What a stranger's report might try; each line it writes says how far it came.
SPY = """<!doctype html><title>x</title><body><script>
const say = (text) => document.body.append(Object.assign(document.createElement("p"), {textContent: text}));
new Function("say", "say('it runs')")(say);
try { say("cookie " + document.cookie); } catch { say("no cookies"); }
try { say("page " + parent.document.title); } catch { say("no page around"); }
fetch("/v1/projects").then(() => say("a request went out"), () => say("no request"));
fetch("http://127.0.0.1:9/").catch(() => say("no other server"));
const image = new Image(); image.onload = () => say("an image came"); image.onerror = () => say("no image");
image.src = "/static/0/icon.svg";
</script>"""
BLOCKED = ("Content Security Policy", "Failed to fetch", "violates the following", "sandboxed")


@pytest.fixture(scope="module")
def decisions(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of a project whose ledger refused a model and promoted the one that serves, with predictions and reports."""
    folder = tmp_path_factory.mktemp("decisions")
    root = folder / "checkout"
    for part in ("models", "reports"):
        shutil.copytree(checkout / part, root / part)
    shutil.copy(checkout / "dvc.lock", root)
    drift = root / "reports" / "toy" / "drift"
    drift.mkdir()
    (drift / "batch-7.html").write_text(SPY)
    (drift / "batch-7.json").write_text(json.dumps({"verdict": "retrain", "reason": HOSTILE}))
    with Server(root, folder, SERVE_REVISION="c" * 40, SERVE_ADMIN_TOKEN="letmein-for-tests") as server:
        digest = httpx.get(f"{server.url}/v1/toy").json()["hash"]
        refused = compared(None, "b" * 64, -0.01, "t1") | {"by": HOSTILE}
        refused |= {"reason": f"Refused by the rule comparison. {HOSTILE}"}
        write_ledger(root, decided("v1.0.0", "a" * 64), refused, decided("v1.1.0", digest), deployed("v1.1.0", digest))
        httpx.post(f"{server.url}/v1/toy/reload", headers={"Authorization": "Bearer letmein-for-tests"}).raise_for_status()
        rows = [row | {"distance": row["distance"] + 120} for row in json_rows("toy", 400)]
        httpx.post(f"{server.url}/v1/toy/predict/batch", json={"rows": rows}).raise_for_status()
        yield server


def drawn(page: Page) -> int:
    """How many charts a page has, once all of them are drawn."""
    charts = page.locator("figure.chart")
    for number in range(charts.count()):
        charts.nth(number).scroll_into_view_if_needed()
        expect(charts.nth(number)).to_have_attribute("data-drawn", "")
        expect(charts.nth(number).locator("svg")).to_be_visible()
    return charts.count()


def test_the_page_of_a_model_draws_its_curves_and_folds_its_card(site: str, page: Page, project: Project) -> None:
    page.goto(f"{site}/{project.name}/model")
    assert drawn(page) >= 9
    card = page.locator("#card")
    expect(card.get_by_text("What it is for, and not for")).to_be_hidden()
    page.get_by_role("heading", name="Model card").click()
    expect(card.get_by_text("What it is for, and not for")).to_be_visible()
    page.locator("#learning summary").click()
    expect(page.get_by_role("table", name="Learning curve")).to_be_visible()
    accessible(page)


@pytest.mark.long
@pytest.mark.parametrize("address", ADDRESSES)
def test_pages_fit_a_phone_and_keep_nobody_out_in_either_theme(decisions: Server, page: Page, address: str) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(f"{decisions.url}/toy/{address}")
    drawn(page)
    for summary in page.locator("details:not(#card) > summary").all():
        summary.click()
    assert overflow(page) <= 0
    accessible_in_both_themes(page)


def test_the_history_tells_why_a_model_was_refused_and_how_to_go_back(decisions: Server, page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{decisions.url}/toy/history")
    assert drawn(page) == 1
    refused = page.locator(".timeline li").filter(has_text="Refused")
    expect(refused).to_contain_text(f"Refused by the rule comparison. {HOSTILE}")
    expect(refused.get_by_role("cell", name="fail")).to_be_hidden()
    refused.get_by_text("The rules").click()
    expect(refused.get_by_role("cell", name="fail")).to_be_visible()
    expect(page.locator(".timeline li").first).to_contain_text("Deployed v1.1.0")
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert re.fullmatch(r"python -m stages.deploy toy --to \S+ --version v1\.0\.0 --reason '…'", copied)


def test_a_command_that_may_not_be_copied_is_marked(decisions: Server, page: Page) -> None:
    page.add_init_script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    page.goto(f"{decisions.url}/toy/history")
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Press Ctrl+C")).to_be_visible()
    assert page.evaluate("getSelection().toString()").startswith("python -m stages.deploy")


def test_monitoring_shows_the_shift_and_leads_to_a_prediction(decisions: Server, page: Page) -> None:
    page.goto(f"{decisions.url}/toy/monitoring")
    assert drawn(page) >= 5
    expect(page.locator("#shifts")).to_contain_text("Largest: Distance")
    expect(page.locator("#shares-distance svg")).to_be_visible()
    link = page.get_by_role("table", name="The latest predictions").get_by_role("link").first
    identifier = link.inner_text()
    page.get_by_label("Find a prediction by its id").fill(identifier)
    page.get_by_role("button", name="Find").click()
    expect(page).to_have_url(f"{decisions.url}/toy/predictions/{identifier}")
    assert drawn(page) == 1
    expect(page.locator("#replay")).to_have_text(f"python -m stages.replay {identifier} --url {decisions.url}")
    accessible(page)


def test_what_a_user_wrote_stays_text(decisions: Server, page: Page) -> None:
    row = example("toy_price") | {"builder": MODEL}
    made = httpx.post(f"{decisions.url}/v1/toy_price/predict", json=row).raise_for_status().json()
    page.goto(f"{decisions.url}/toy_price/predictions/{made['prediction_id']}")
    assert drawn(page) == 1
    expect(page.get_by_role("cell", name=MODEL)).to_be_visible()
    page.goto(f"{decisions.url}/toy_price/monitoring")
    drawn(page)


def test_the_page_of_a_drift_report_runs_but_reaches_nothing(decisions: Server, page: Page, expected: list[str]) -> None:
    expected += BLOCKED
    page.context.add_cookies([{"name": "secret", "value": "1", "url": decisions.url}])
    page.goto(f"{decisions.url}/toy/monitoring")
    drawn(page)  # a chart that appears moves the link while it is clicked
    page.get_by_role("link", name="batch-7").click()
    expect(page).to_have_url(f"{decisions.url}/toy/monitoring/drift/batch-7")
    frame = page.frame_locator("iframe")
    for text in ("it runs", "no cookies", "no page around", "no request", "no other server", "no image"):
        expect(frame.get_by_text(text, exact=True)).to_be_visible()
    assert overflow(page) <= 0
    page.goto(f"{decisions.url}/toy/monitoring/drift/batch-7/page")
    expect(page).to_have_url(f"{decisions.url}/toy/monitoring/drift/batch-7")

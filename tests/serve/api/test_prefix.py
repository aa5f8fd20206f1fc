"""Tests of serve/api/prefix.py: the server below a prefix of all addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from litestar.routes import HTTPRoute
from playwright.sync_api import Page as BrowserPage
from playwright.sync_api import expect

from serve.api.protection import COOKIE, digest
from serve.settings import OWN_PATHS
from stages.projects._base import project_names
from tests.serve.checkout import example
from tests.serve.conftest import Client, Serve
from tests.serve.pages.test_pages import BROWSER, OWN, Page
from tests.serve.process import Server

ROOT_PATH = "/veritable"
KEY = "a-long-random-key"


def links(text: str) -> set[str]:
    """The addresses that a page names."""
    elements = Page(text).elements
    found = {
        str(attributes[name]) for _, attributes in elements for name in ("href", "src", "action") if attributes.get(name)
    }
    return {link for link in found if not link.startswith("#")}


def test_every_link_has_the_prefix_and_leads_somewhere_whether_or_not_a_proxy_takes_it_off(serve: Serve) -> None:
    client = serve(root_path=ROOT_PATH, projects=["toy", "toy_price"])
    made = client.post("/v1/toy/predict", json=example("toy")).json()["prediction_id"]
    waiting, seen = {f"{ROOT_PATH}/", f"{ROOT_PATH}/toy/predictions/{made}", f"{ROOT_PATH}/nowhere"}, set[str]()
    while waiting:
        path = waiting.pop()
        seen.add(path)
        found = client.get(path, headers=BROWSER, follow_redirects=False)
        stripped = client.get(path.removeprefix(ROOT_PATH), headers=BROWSER, follow_redirects=False)
        missing = path.endswith("/nowhere")
        assert found.status_code == stripped.status_code == (404 if missing else 405 if "sign-out" in path else 200), path
        if found.headers["content-type"].startswith("text/html"):
            assert links(stripped.text) == links(found.text)
            for link in links(found.text):
                address = urlsplit(urljoin(path, link))
                assert address.path.startswith(f"{ROOT_PATH}/"), (path, link)
                waiting |= {address.path} - seen
    assert {f"{ROOT_PATH}/docs", f"{ROOT_PATH}/toy_price/market", f"{ROOT_PATH}/v1/toy/card"} <= seen
    assert len(seen) > 25


def test_redirects_and_the_cookie_have_the_prefix(serve: Serve) -> None:
    client = serve(root_path=ROOT_PATH, api_keys=[digest(KEY)])
    for path in ("/toy/predict?threshold=0.3", f"{ROOT_PATH}/toy/predict?threshold=0.3"):
        led = client.get(path, headers=BROWSER, follow_redirects=False)
        assert led.headers["location"] == f"{ROOT_PATH}/sign-in?next={ROOT_PATH}/toy/predict%3Fthreshold%3D0.3"
    form = {"key": KEY, "next": f"{ROOT_PATH}/toy/predict"}
    for path, given, led_to in (
        ("/sign-in", form, form["next"]),
        (f"{ROOT_PATH}/sign-in", form, form["next"]),
        ("/sign-in", {"key": KEY}, f"{ROOT_PATH}/"),
        ("/sign-in", {"key": KEY, "next": "/another/server"}, f"{ROOT_PATH}/"),
        ("/sign-in", {"key": KEY, "next": "/veritables"}, f"{ROOT_PATH}/"),
    ):
        response = client.post(path, data=given, headers=OWN, follow_redirects=False)
        assert (response.status_code, response.headers["location"]) == (303, led_to)
        cookie = response.headers["set-cookie"].lower()
        assert cookie.startswith(f"{COOKIE}=")
        assert f"path={ROOT_PATH};" in f"{cookie};"
    assert client.get(f"{ROOT_PATH}/toy/predict").status_code == 200
    assert client.get("/toy/predict").status_code == 401  # a browser sends the cookie below the prefix alone
    out = client.post(f"{ROOT_PATH}/sign-out", headers=OWN, follow_redirects=False)
    assert out.headers["location"] == f"{ROOT_PATH}/sign-in"
    assert client.get(f"{ROOT_PATH}/toy/predict").status_code == 401
    made = serve(root_path=ROOT_PATH)
    number = made.post("/v1/toy/predict", json=example("toy")).json()["prediction_id"]
    found = made.get(f"/toy/predictions?id={number}", follow_redirects=False)
    assert found.headers["location"] == f"{ROOT_PATH}/toy/predictions/{number}"


def test_a_key_is_asked_for_below_the_prefix_too(serve: Serve) -> None:
    client = serve(root_path=ROOT_PATH, api_keys=[digest(KEY)])
    for path in ("/v1/toy", f"{ROOT_PATH}/v1/toy", f"{ROOT_PATH}/toy/predict"):
        assert client.get(path).status_code == 401
        assert client.get(path, headers={"X-API-Key": KEY}).status_code == 200


def test_documents_and_problems_name_addresses_with_the_prefix(serve: Serve) -> None:
    client = serve(root_path=ROOT_PATH)
    assert client.get("/openapi.json").json()["servers"] == [{"url": ROOT_PATH}]
    assert serve().get("/openapi.json").json()["servers"] == [{"url": "/"}]
    for path in ("/nowhere", f"{ROOT_PATH}/nowhere"):
        problem = client.get(path).json()
        assert problem["instance"] == f"{ROOT_PATH}/nowhere"
        assert f"There is nothing at {ROOT_PATH}/nowhere; GET {ROOT_PATH}/v1/projects lists" in problem["detail"]
    start = next(
        src for entry in Page(client.get("/docs").text).all("script") if (src := str(entry["src"])).endswith("start.js")
    )
    assert f'url: "{ROOT_PATH}/openapi.json"' in client.get(start).text


@pytest.mark.parametrize(
    "path", ["/veritables/v1/toy", "/veritablev1/toy", "/x/veritable/v1/toy", "/veritable/veritable/v1/toy"]
)
def test_only_the_prefix_itself_is_taken_off_and_once(serve: Serve, path: str) -> None:
    client = serve(root_path=ROOT_PATH)
    assert client.get(path).status_code == 404
    assert client.get(ROOT_PATH).status_code == 200


def test_no_prefix_can_be_an_address_of_the_server(client: Client) -> None:
    first = {route.path.split("/")[1] for route in client.app.routes if isinstance(route, HTTPRoute)} - {
        "",
        "schema",
    }  # where Litestar would show the document
    assert first == OWN_PATHS | set(project_names())


@pytest.fixture(scope="module", params=["SERVE_ROOT_PATH", "--root-path"])
def server(request: pytest.FixtureRequest, checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server below a prefix in a process of its own, which is told the prefix in either way."""
    by_option = request.param == "--root-path"
    options, chosen = (["--root-path", ROOT_PATH], {}) if by_option else ([], {"SERVE_ROOT_PATH": ROOT_PATH})
    folder = tmp_path_factory.mktemp("prefix")
    with Server(checkout, folder, *options, SERVE_PROJECTS='["toy"]', UVICORN_ROOT_PATH="/elsewhere", **chosen) as started:
        yield started


@pytest.mark.slow
def test_a_process_is_told_its_prefix_by_a_setting_or_an_option(server: Server) -> None:
    for root in ("", ROOT_PATH):
        assert httpx.get(f"{server.url}{root}/openapi.json").json()["servers"] == [{"url": ROOT_PATH}]
        answer = httpx.post(f"{server.url}{root}/v1/toy/predict", json=example("toy"))
        assert answer.status_code == 200
    assert httpx.get(f"{server.url}/elsewhere/v1/toy").status_code == 404


def test_the_form_predicts_below_the_prefix(page: BrowserPage, server: Server) -> None:
    page.goto(f"{server.url}{ROOT_PATH}/")
    page.locator("nav[aria-label=Projects] a").click()
    page.get_by_role("link", name="Predict", exact=True).click()
    page.get_by_role("button", name="Predict", exact=True).click()
    expect(page.locator("figure[data-drawn]").first).to_be_visible()
    page.locator("#picture a").click()
    expect(page).to_have_url(re.compile(rf"{ROOT_PATH}/toy/predictions/[0-9a-f-]+$"))

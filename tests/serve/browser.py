"""Fixtures of the tests in a browser: Debian's Chromium, a server of all toys, and a page that complains."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Request, expect, sync_playwright

from tests.serve.process import Server
from tests.shared import shared_base
from tests.toys import known

NAMES = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
INSTALL = "apt-get update && apt-get install -y chromium"
SERIOUS = ("serious", "critical")
expect.set_options(timeout=60_000)  # the charts' JavaScript is made after the start, which takes seconds


def find_chromium() -> str | None:
    """The browser's program, where there is one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> str:
    """The browser's program, installed by whichever of the test processes comes first."""
    with (shared_base(tmp_path_factory, worker_id) / "chromium.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if find_chromium() is None and os.geteuid() == 0 and shutil.which("apt-get"):
            environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            subprocess.run(["sh", "-c", INSTALL], env=environment, capture_output=True, check=False)
    found = find_chromium()
    if found is None:
        pytest.skip(f"no Chromium for the tests of the pages: run `{INSTALL}` as root")
    return found


@pytest.fixture(scope="module")  # no longer: the loop that Playwright runs keeps asyncio.run() from the tests of others
def browser(chromium: str) -> Iterator[Browser]:
    """The browser, that the tests of a module share."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=OPTIONS)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def site(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of all toys."""
    with ExitStack() as stack:
        with known():  # no longer: modules that know the real projects run while this server does
            server = stack.enter_context(Server(checkout, tmp_path_factory.mktemp("site")))
        yield server.url


@pytest.fixture
def expected() -> list[str]:
    """Parts of complaints that a test puts here are no failure."""
    return []


@pytest.fixture
def page(browser: Browser, expected: list[str]) -> Iterator[Page]:
    """A fresh page. At its end there must have been no error in the console, no script that failed, no question box, which a
    stranger's script would open, and no request to another machine.
    """
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    opened = context.new_page()
    opened.set_default_timeout(15_000)
    complaints = listen(opened)
    yield opened
    shown = opened.locator("body").inner_text()
    context.close()
    assert not any(leak in shown for leak in ("[object", "undefined", "NaN"))
    assert [text for text in complaints if not any(part in text for part in expected)] == []


def listen(page: Page) -> list[str]:
    """What goes wrong on a page from now on."""
    complaints: list[str] = []

    def on_console(message: ConsoleMessage) -> None:
        if message.type == "error":
            complaints.append(message.text)

    def on_dialog(dialog: Dialog) -> None:
        complaints.append(f"a question box: {dialog.message}")
        dialog.dismiss()

    def on_request(request: Request) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            complaints.append(f"a request to {request.url}")

    page.on("console", on_console)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", on_dialog)
    page.on("request", on_request)
    return complaints


def accessible(page: Page) -> None:
    """axe-core finds nothing that keeps people out (https://github.com/dequelabs/axe-core)."""
    found = Axe().run(page).response["violations"]
    serious = {rule["id"]: [node["html"] for node in rule["nodes"]] for rule in found if rule["impact"] in SERIOUS}
    assert serious == {}


def accessible_in_both_themes(page: Page) -> None:
    """It is so in the light and in the dark."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_timeout(300)  # the charts are drawn again
        accessible(page)


def overflow(page: Page) -> int:
    """By how many pixels the page is wider than its window."""
    wider: int = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    return wider

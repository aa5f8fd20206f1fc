"""Takes the pictures of the web pages that the README shows, of models trained on simulated data: `make screenshots`.

In a clone, so that the ledger has something to tell: bankchurn's model is promoted there, a simpler one refused.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
from playwright.sync_api import Page, sync_playwright

from tests.clones import run
from tests.samples import ROOT
from tests.serve.browser import OPTIONS, find_chromium
from tests.serve.checkout import json_rows
from tests.serve.process import Server

FOLDER = ROOT / "serve" / "pages" / "screenshots"
PAGES = {
    "home": "/",
    "overview": "/telecom",
    "predict": "/bankchurn/predict",
    "market": "/carvision/market",
    "model": "/realestate/model",
    "history": "/bankchurn/history",
    "monitoring": "/bankchurn/monitoring",
}


def make_clone(folder: Path) -> None:
    """A clone with the artifacts of this checkout, in which bankchurn was promoted and then challenged."""
    subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
    run(folder, "dvc", "cache", "dir", "--local", str(ROOT / ".dvc" / "cache"))
    run(folder, "dvc", "checkout")
    run(folder, "python", "-m", "stages.promote", "bankchurn", "--by", "Tess Tester")
    run(folder, "dvc", "exp", "run", "-S", "bankchurn.train.model=logistic_regression", "explain@bankchurn")
    run(folder, "git", "commit", "--quiet", "--all", "--message", "Try a logistic regression")
    refused = subprocess.run([sys.executable, "-m", "stages.promote", "bankchurn", "--by", "Tess Tester"], cwd=folder)
    if refused.returncode != 3:
        raise RuntimeError("the simpler model was not refused")
    run(folder, "python", "-m", "stages.deploy", "bankchurn")


def settle(page: Page) -> None:
    """Wait until every chart in sight is drawn."""
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(1_500)


def take(url: str, browser: str) -> None:
    """A picture of every page, and of one on a phone in the dark."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser, args=OPTIONS)
        page = opened.new_page(viewport={"width": 1040, "height": 1250}, device_scale_factor=0.75)
        for name, path in PAGES.items():
            page.goto(url + path)
            if name == "predict":
                page.get_by_role("button", name="Predict").click()
            settle(page)
            page.screenshot(path=FOLDER / f"{name}.png")
        phone = opened.new_page(viewport={"width": 360, "height": 760}, color_scheme="dark")
        phone.goto(f"{url}/carvision/predict")
        phone.get_by_role("button", name="Predict").click()
        settle(phone)
        phone.locator("#answer").evaluate("section => section.scrollIntoView()")
        phone.screenshot(path=FOLDER / "phone.png")
        opened.close()


def main() -> None:
    browser = find_chromium()
    if browser is None:
        sys.exit("Chromium is needed: apt-get install chromium")
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    with TemporaryDirectory() as name:
        clone = Path(name, "clone")
        make_clone(clone)
        with Server(clone, Path(name)) as server:
            for project in ("bankchurn", "carvision"):
                rows = json_rows(project, 900)
                httpx.post(f"{server.url}/v1/{project}/predict/batch", json={"rows": rows}, timeout=60).raise_for_status()
            take(server.url, browser)


if __name__ == "__main__":
    main()

"""That the scripts of the pages write numbers as Python does."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any
from urllib.parse import quote

from playwright.sync_api import Browser

from stages.runtime import wording

SCRIPT = Path("serve/pages/static/format.js")
CALL = """async ([script, cases]) => {
  const own = await import(script);
  return cases.map(([name, ...given]) => own[name](...given));
}"""
EDGES = [0, 1, -1, 0.5, 2.5, 0.125, 1.005, 2.675, 1234.5, 1235.5, 999.95, 99.995, 1e-7, 2018, 10_000, 9999.5, -0.0001, 1e21]
EDGES += [-0.0, -0.4]


def test_the_browser_writes_what_python_writes(browser: Browser) -> None:
    rng = random.Random(0)
    values = EDGES + [rng.uniform(-1, 1) * 10 ** rng.randint(-6, 9) for _ in range(300)]
    values += [round(rng.uniform(-1, 1) * 10 ** rng.randint(-3, 6), rng.randint(0, 5)) for _ in range(300)]
    cases: list[list[Any]] = [["number", value, unit] for value in values for unit in ("", "USD", "1,000 USD")]
    cases += [[name, value] for value in values for name in ("percent", "points")]
    cases += [["signed", getattr(wording, name)(*given)] for name, *given in cases[::3]]
    cases += [["count", rows, *noun] for rows in (0, 1, 2, 1234) for noun in ((), ("row",), ("entry", "entries"))]
    cases += [["between", "2,980 USD", "4,770 USD"], ["between", "10.9 %", "16.0 %"]]
    cases += [["number", None], ["percent", None], ["percent", 0.9, 0]]
    page = browser.new_page()
    found = page.evaluate(CALL, ["data:text/javascript," + quote(SCRIPT.read_text()), cases])
    page.close()
    written = [getattr(wording, name)(*given) for name, *given in cases]
    assert [case for case in zip(cases, found, written, strict=True) if case[1] != case[2]] == []

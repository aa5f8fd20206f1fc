"""Tests of the page "Monitoring", of the log's pages and of the drift reports, without a browser."""

from __future__ import annotations

import asyncio
import json
import os
import re
from datetime import UTC, datetime, timedelta
from html import escape, unescape
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serve.log.prediction_log import Recent, new_id
from serve.log.tables import first_id
from serve.models.loader import load_model
from serve.pages.format import given
from serve.pages.traffic import Hour, TtlCache, aligned, bin_shares, hour_of, spans, traffic
from stages.projects._base import Project, load_project
from stages.runtime.population import summarised
from stages.runtime.wording import number, percent
from tests.serve.checkout import example, json_rows, settings, swap_in_other
from tests.serve.conftest import Client, Serve
from tests.serve.logs import entry, opened
from tests.serve.pages.test_pages import BROWSER, page

HOSTILE = "<img src=x onerror=alert(1)> 'q' \"d\" & </script><script>alert(2)</script>"
TRAVERSALS = (
    "../evaluation",
    "..%2Fevaluation",
    "%2e%2e%2fevaluation",
    "..%5Cevaluation",
    "%2Fetc%2Fpasswd",
    ".",
    "..",
    "a%00",
    "linked",
)


@pytest.fixture(autouse=True)
def _always_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve.service.DRIFT_FRESH", 0.0)
    monkeypatch.setattr("serve.pages.traffic.TTL", -1.0)


def shown(client: Client, address: str = "/toy/monitoring", status: int = 200) -> str:
    answer = client.get(address, headers=BROWSER)
    assert answer.status_code == status, answer.text
    return answer.text


def predict(client: Client, name: str = "toy", **fields: Any) -> dict[str, Any]:
    answer = client.post(f"/v1/{name}/predict", json=example(name) | fields)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def figures(client: Client, address: str) -> dict[str, Any]:
    """The specifications of a page's charts by their id."""
    found = page(client, address)
    scripts = [
        text
        for text, script in zip(found.scripts, found.all("script"), strict=True)
        if script.get("type") == "application/json"
    ]
    return dict(zip([str(figure["id"]) for figure in found.all("figure")], map(json.loads, scripts), strict=True))


def test_predictions_with_ids_ahead_of_the_clock_are_counted(sqlite_url: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        now = datetime.now(UTC)
        async with opened(sqlite_url, tmp_path) as log:
            await log.append([entry(time=now, id=first_id(now + timedelta(hours=3)) + new_id()[13:])])
            found = await traffic(log, "toy_plain", 2)
            assert found.whole.predictions == 1
            assert found.whole.median_ms is not None

    asyncio.run(scenario())


def test_traffic_and_latency_are_shown_by_the_hour(serve: Serve) -> None:
    client = serve()
    assert "latency" not in figures(client, "/toy/monitoring")
    for _ in range(3):
        predict(client)
    for address, hours in ("/toy/monitoring", 24), ("/toy/monitoring?hours=168", 168):
        charts = figures(client, address)
        values = charts["predictions"]["data"]["values"]
        assert [row["predictions"] for row in values] == [0] * (hours - 1) + [3]
        lines = {row["which"]: row["ms"] for row in charts["latency"]["data"]["values"]}
        assert 0 < lines["median"] <= lines["90th percentile"]
    assert figures(client, "/toy/monitoring?hours=1e9").keys() == figures(client, "/toy/monitoring").keys()


def test_shifted_rows_are_seen_on_the_page_beside_the_training_rows_and_on_home(serve: Serve) -> None:
    client = serve()
    assert ": too few; the shift" in shown(client)
    assert "not known yet" in shown(client, "/")
    rows = [row | {"distance": row["distance"] + 120} for row in json_rows("toy", 600)]
    client.post("/v1/toy/predict/batch", json={"rows": rows})
    text = shown(client)
    assert '<span class="badge bad">large</span>' in text
    charts = figures(client, "/toy/monitoring")
    assert charts["shifts"]["data"]["values"][1]["column"] == "Distance"
    assert {"shares-score", "shares-distance"} <= charts.keys()
    age = charts["shares-distance"]["data"]["values"]
    for side in ("training rows", "latest predictions"):
        assert sum(row["share"] for row in age if row["rows"] == side) == pytest.approx(1)
    assert "<dd>large</dd>" in shown(client, "/")


def test_a_prediction_has_a_page_with_all_that_is_known_of_it(client: Client, project: Project) -> None:
    made = predict(client, project.name)
    identifier = made["prediction_id"]
    client.post(f"/v1/{project.name}/feedback", json={"prediction_id": identifier, "outcome": 1})
    text = unescape(shown(client, f"/{project.name}/predictions/{identifier}"))
    for column in project.columns:
        assert f'<th scope="row">{column.title}</th>' in text
        if column.name in example(project.name):
            assert f"<td>{given(example(project.name)[column.name], column)}</td>" in text
    assert (percent(made["probability"]) if "probability" in made else number(made["prediction"], project.unit)) in text
    assert 'id="contributions"' in text
    assert made["model"]["hash"] in text
    assert str(project.labels.get(1, number(1, project.unit))) in text
    assert ">serves now</span>" in text


def test_a_prediction_comes_with_the_command_that_makes_it_again(serve: Serve) -> None:
    client = serve(revision="c" * 40)
    identifier = predict(client)["prediction_id"]
    for headers, scheme in ({}, "http"), ({"X-Forwarded-Proto": "https"}, "https"):
        answer = client.get(f"/toy/predictions/{identifier}", headers=BROWSER | headers)
        assert f"python -m stages.replay {identifier} --url {scheme}://{answer.url.netloc.decode()}<" in answer.text


def test_a_prediction_of_another_model_is_not_explained_by_this_one(serve: Serve, root: Path, checkout: Path) -> None:
    client = serve(root=root, revision="c0ffee-dirty")
    identifier = predict(client)["prediction_id"]
    swap_in_other(root, checkout)
    client.post("/v1/toy/reload", headers={"Authorization": "Bearer letmein-for-tests"})
    text = shown(client, f"/toy/predictions/{identifier}")
    assert "Another model serves now" in text
    assert 'id="contributions"' not in text
    assert "does not serve now" in text
    assert "It cannot be reproduced" in text
    assert "stages.replay" not in text


def test_what_a_user_wrote_shows_as_text(client: Client) -> None:
    fields = {"toy_price": "builder"}
    for name, field in fields.items():
        made = predict(client, name, **{field: HOSTILE})
        for address in (f"/{name}/predictions/{made['prediction_id']}", f"/{name}/predictions", f"/{name}/monitoring"):
            text = shown(client, address)
            assert "<img src=x" not in text
            assert "<script>alert" not in text
        assert escape(HOSTILE).replace("&quot;", "&#34;").replace("&#x27;", "&#39;") in shown(
            client, f"/{name}/predictions/{made['prediction_id']}"
        )
    for address in (f"/toy/predictions?id={HOSTILE}", "/toy/predictions?id=%00"):
        text = shown(client, address, 404)
        assert "The log holds no prediction with this id" in text
        assert "<img src=x" not in text
        assert "<script>alert" not in text


def test_a_prediction_is_found_by_its_id_from_any_project(client: Client) -> None:
    identifier = predict(client, "toy_plain")["prediction_id"]
    found = client.get(f"/toy/predictions?id=%20{identifier.upper()}", headers=BROWSER, follow_redirects=False)
    assert (found.status_code, found.headers["location"]) == (303, f"/toy_plain/predictions/{identifier}")
    assert f"{identifier}" in shown(client, f"/toy_plain/predictions/{identifier}")
    assert "is one of toy_plain" in unescape(shown(client, f"/toy/predictions/{identifier}", 404))
    shown(client, f"/toy_plain/predictions/{new_id()}", 404)
    shown(client, "/toy_plain/predictions/x", 404)


def test_the_log_is_read_page_by_page_without_gap_or_overlap(serve: Serve) -> None:
    client = serve()
    rows = json_rows("toy", 120)
    made = [
        each["prediction_id"] for each in client.post("/v1/toy/predict/batch", json={"rows": rows}).json()["predictions"]
    ]
    address, seen = "/toy/predictions", []
    while address:
        text = shown(client, address)
        seen.append(re.findall(r"<code>([0-9a-f-]{36})</code>", text))
        older = re.search(r'href="(\?after=[^"]+)">Older', text)
        address = f"/toy/predictions{older[1]}" if older else ""
    assert [len(part) for part in seen] == [50, 50, 20]
    assert [identifier for part in seen for identifier in part] == made[::-1]
    shown(client, "/toy/predictions?after=x", 422)


def test_errors_are_counted_by_route_and_status(serve: Serve) -> None:
    client = serve()
    assert "none with an error" in shown(client)
    for _ in range(2):
        client.post("/v1/toy/predict", json={})
    assert '<th scope="row">/v1/toy/predict</th><td>422</td><td class="number">2</td>' in shown(client)


def test_a_database_that_is_down_leaves_the_page_all_the_rest(serve: Serve) -> None:
    client = serve(database_url="postgresql+asyncpg://nobody@127.0.0.1:1/none")
    text = shown(client)
    assert "Degraded" in text
    assert "The prediction log cannot be used now" in text
    assert '<span class="badge warn">degraded</span>' in text
    assert "Drift reports" in text
    assert "<figure" not in text


@pytest.mark.slow
def test_without_a_log_or_a_model_the_page_says_so(serve: Serve, root: Path) -> None:
    assert "The prediction log is off" in shown(serve(log=False))
    assert "The prediction log is off" in shown(serve(log=False), "/toy/predictions", 503)
    (root / "models" / "toy" / "plan.json").unlink()
    text = shown(serve(root=root))
    assert "plan.json" in text
    assert 'id="predictions"' in text


@pytest.mark.slow
def test_drift_reports_are_listed_newest_first_with_verdict_and_reason(serve: Serve, root: Path) -> None:
    folder = root / "reports" / "toy" / "drift"
    assert "None yet" in shown(serve(root=root))
    folder.mkdir()
    written = {
        "new one": json.dumps({"verdict": "retrain", "reason": HOSTILE, "time": "2026-03-02T01:30:00+02:00"}),
        "old": '{"verdict": "keep", "reason": "Nothing moved.", "time": "2026-03-01T12:00:00+00:00"}',
        "list": "[]",
        "torn": "{",
        "undated": '{"verdict": "keep", "reason": "It does not say when.", "time": "yesterday"}',
    }
    for second, (name, text) in enumerate(written.items()):
        (folder / f"{name}.json").write_text(text)
        os.utime(folder / f"{name}.json", (second, second))  # as a clone wrote them, in another order
    (folder / "new one.html").write_text("<p>page</p>")
    text = shown(serve(root=root))
    places = [
        text.index(words) for words in (">new one</a>", "Nothing moved.", ">list</th>", "The file is no JSON.", "not say")
    ]
    assert places == sorted(places)
    listed = text[text.index("The latest checks by") :]
    assert re.findall(r'<td class="whole">(.*?)</td>', listed)[:5] == [
        "2026-03-01 23:30 UTC", "2026-03-01 12:00 UTC", "–", "–", "–",
    ]  # fmt: skip
    assert '<span class="badge warn">retrain</span>' in text
    assert '<a href="/toy/monitoring/drift/new%20one">' in text
    assert "<img src=x" not in text


def test_the_page_of_a_drift_report_runs_in_a_frame_that_can_reach_nothing(serve: Serve, root: Path) -> None:
    folder = root / "reports" / "toy" / "drift"
    folder.mkdir()
    (folder / "batch.html").write_text("<script>alert(1)</script>")
    client = serve(root=root)
    found = page(client, "/toy/monitoring/drift/batch")
    frame = found.all("iframe")[0]
    assert frame["sandbox"] == "allow-scripts"
    framed = client.get(str(frame["src"]), headers=BROWSER)
    assert framed.text == "<script>alert(1)</script>"
    policy = dict(part.strip().split(" ", 1) for part in framed.headers["content-security-policy"].split(";"))
    assert policy["sandbox"] == "allow-scripts"
    assert (policy["default-src"], policy["frame-ancestors"], policy["form-action"]) == ("'none'", "'self'", "'none'")
    assert "connect-src" not in policy
    assert not any("http" in sources or "*" in sources for sources in policy.values())
    assert "x-frame-options" not in framed.headers
    assert framed.headers["x-content-type-options"] == "nosniff"
    alone = client.get(str(frame["src"]), headers=BROWSER | {"Sec-Fetch-Dest": "document"}, follow_redirects=False)
    assert (alone.status_code, alone.headers["location"]) == (303, "/toy/monitoring/drift/batch")


def test_no_name_of_a_report_leads_out_of_its_folder(serve: Serve, root: Path) -> None:
    folder = root / "reports" / "toy" / "drift"
    folder.mkdir()
    (folder / "batch.html").write_text("<p>page</p>")
    secret = root / "reports" / "toy" / "evaluation.html"
    secret.write_text("the secret")
    (folder / "linked.html").symlink_to(secret)
    client = serve(root=root)
    for name, part in product(TRAVERSALS, ("", "/page")):
        answer = client.get(f"/toy/monitoring/drift/{name}{part}", headers=BROWSER)
        assert "the secret" not in answer.text, name
        assert answer.status_code == 404 or str(answer.url).endswith("/monitoring"), name


def test_the_log_pages_ask_for_a_key_where_keys_are_on(serve: Serve, root: Path) -> None:
    (root / "reports" / "toy" / "drift").mkdir()
    (root / "reports" / "toy" / "drift" / "batch.html").write_text("<p>page</p>")
    client = serve(root=root, api_keys=["0" * 64])
    for address in (
        "model",
        "history",
        "monitoring",
        "predictions",
        f"predictions/{new_id()}",
        "monitoring/drift/batch/page",
    ):
        answer = client.get(f"/toy/{address}", headers=BROWSER, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (303, "/sign-in")


def test_those_who_ask_at_once_share_an_answer_and_a_failure_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve.pages.traffic.TTL", 60.0)
    made: list[int] = []

    async def make() -> int:
        made.append(len(made))
        await asyncio.sleep(0.01)
        if made == [0]:
            raise ValueError("not yet")
        return made[-1]

    async def scenario() -> None:
        kept = TtlCache()
        assert [
            type(found) for found in await asyncio.gather(*[kept.get("a", make) for _ in range(3)], return_exceptions=True)
        ] == [ValueError] * 3
        assert await asyncio.gather(*[kept.get("a", make) for _ in range(3)]) == [1, 1, 1]
        assert await kept.get("a", make) == 1
        assert await kept.get("b", make) == 2
        monkeypatch.setattr("serve.pages.traffic.TTL", -1.0)
        assert await kept.get("a", make) == 3

    asyncio.run(scenario())


def test_half_of_an_hour_is_faster_than_its_median_and_nine_in_ten_than_slow() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    assert hour_of(start, 100, [1000 * number for number in range(100, 0, -1)]) == Hour(start, 100, 51.0, 91.0)
    assert hour_of(start, 9, [3]) == Hour(start, 9, 0.003, 0.003)
    assert hour_of(start, 9, []) == Hour(start, 9, None, None)


def test_bins_are_named_and_empty_ones_left_out() -> None:
    assert spans([1.0, 2.0, 5.0], number) == ["up to 1", "2", "2 to 5", "over 5"]
    assert spans([0.017, 0.25], percent) == ["up to 1.7 %", "1.7 % to 25.0 %", "over 25.0 %"]
    assert spans([], number) == ["all"]
    texts = np.array(["a", "a", "b"], dtype=object)
    found = aligned("letter", summarised(texts), np.array(["a", "c"], dtype=object), number)
    assert (found.bins, found.latest) == (["a", "b", "others"], [0.5, 0.0, 0.5])
    assert found.trained == pytest.approx([2 / 3, 1 / 3, 0])


def test_rows_of_another_schema_are_left_out_of_the_comparison(root: Path, tmp_path: Path) -> None:
    model = load_model("toy_plain", settings(root, tmp_path))
    moment = datetime.now(UTC)
    own = Recent(model.hash, json.dumps(example("toy_plain")), 20.0, moment)
    assert bin_shares(model, [Recent(model.hash, '{"other": 1}', 1.0, moment)]) == []
    columns = [each.column for each in bin_shares(model, [own])]
    assert columns[0] == "score"
    assert "score" not in [each.column for each in bin_shares(model, [Recent("x", own.input, 1.0, moment)])]
    assert set(columns[1:]) == {column.name for column in load_project("toy_plain").columns if column.kind != "date"}

"""Tests of serve/pages: what the server answers to a browser, and how signing in works, without a browser."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from serve.api.protection import COOKIE, SIGNED_IN_FOR, digest
from serve.pages.assets import STATIC
from serve.pages.form import form_fields, limits
from serve.pages.format import moment
from serve.pages.site import templates, to_json
from stages.projects._base import Project, load_project, project_names
from stages.runtime.wording import metric, metric_interval, number, percent
from tests.serve.checkout import example, json_rows, swap_in_other
from tests.serve.conftest import Client, Serve

ADMIN = {"Authorization": "Bearer letmein-for-tests"}
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
OWN = {"Sec-Fetch-Site": "same-origin"}
KEY, OTHER = "a-long-random-key", "another-long-random-key"
PREDICT = "/v1/toy/predict"


class Page(HTMLParser):
    """What a page holds: its elements with their attributes, and its script blocks."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self._script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self._script = True
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._script = False

    def handle_data(self, data: str) -> None:
        if self._script:
            self.scripts[-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every element of a kind."""
        return [attributes for found, attributes in self.elements if found == tag]


def page(client: Client, path: str, **headers: str) -> Page:
    response = client.get(path, headers=BROWSER | headers)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    return Page(response.text)


def schema(found: Page) -> dict[str, Any]:
    """The block of the page "Predict" that its scripts read."""
    at = next(at for at, script in enumerate(found.all("script")) if script.get("id") == "schema")
    read: dict[str, Any] = json.loads(found.scripts[at])
    return read


def test_home_has_a_card_with_the_metric_and_health_of_every_project(client: Client, checkout: Path) -> None:
    text = client.get("/").text
    for name in project_names():
        project = load_project(name)
        report = json.loads((checkout / "reports" / name / "evaluation.json").read_text())["metrics"][project.primary_metric]
        assert project.title in text
        assert metric(report["value"], project.primary_metric, project.unit) in text
        assert metric_interval(report, project.primary_metric, project.unit) in text
    assert text.count("Predictions today") == text.count("healthy") == text.count("Drift") == len(project_names())


def test_home_counts_the_predictions_of_today_and_has_a_dash_without_a_log(serve: Serve) -> None:
    client = serve()
    client.post("/v1/toy/predict/batch", json={"rows": [example("toy")] * 1_000})
    client.post(PREDICT, json=example("toy"))
    assert "<dd>1,001</dd>" in client.get("/").text
    assert "<dt>Predictions today</dt><dd>–</dd>" in serve(log=False).get("/").text


def test_home_says_which_project_does_not_serve_and_why(serve: Serve, root: Path) -> None:
    (root / "models" / "toy_plain" / "plan.json").unlink()
    client = serve(root, projects=["toy", "toy_plain"])
    text = client.get("/").text
    assert "Not serving" in text
    assert "lacks plan.json" in text
    response = client.get("/toy_plain/predict", headers=BROWSER)
    assert response.status_code == 503
    assert "lacks plan.json" in response.text
    assert response.headers["content-type"].startswith("text/html")
    assert response.headers["retry-after"]
    assert client.get("/toy_plain/predict").headers["content-type"] == "application/problem+json"
    (root / "models" / "toy" / "plan.json").unlink()
    client.post("/v1/toy/reload", headers=ADMIN)
    assert "Newest model not loaded" in client.get("/").text


@pytest.mark.parametrize("path", ["/", "/{}/predict", "/sign-in", "/nowhere"])
def test_no_page_has_a_script_or_style_of_its_own(serve: Serve, path: str) -> None:
    client = serve(api_keys=[digest(KEY)])
    response = client.get(path.format("toy"), headers=BROWSER | {"X-API-Key": KEY})
    policy = response.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    found = Page(response.text)
    for tag, attributes in found.elements:
        assert tag != "style"
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "action"):
            assert (attributes.get(name) or "/").startswith(("/", "#"))
    assert all("src" in script or script["type"] == "application/json" for script in found.all("script"))


def test_the_form_has_every_field_of_the_row_with_its_example(client: Client, project: Project) -> None:
    found = page(client, f"/{project.name}/predict")
    inputs = {field["name"]: field for field in found.all("input") + found.all("select") if field.get("name")}
    assert set(inputs) == {column.name for column in project.columns}
    shown = example(project.name)
    for column in project.columns:
        field = inputs[column.name]
        if column.choices:
            options = [str(choice) for choice in column.choices]
            own = found.elements[found.elements.index(("select", field)) + 1 :]
            listed = [attributes for tag, attributes in own[: len(options) + 1] if tag == "option"]
            assert [option["value"] for option in listed][-len(options) :] == options or column.required
            assert str(shown[column.name]) in [option["value"] for option in listed if "selected" in option]
        else:
            assert field["value"] == str(shown[column.name])
            assert ("required" in field) == column.required
            assert field["type"] == {"number": "number", "text": "text", "date": "date"}[column.kind]
        assert f'for="{field["id"]}"' in client.get(f"/{project.name}/predict").text


def test_the_scripts_are_told_what_they_need(client: Client, project: Project, checkout: Path) -> None:
    found = schema(page(client, f"/{project.name}/predict"))
    synthetic = json.loads((checkout / "reports" / project.name / "synthetic.json").read_text())
    assert found["percentiles"] == synthetic["percentiles"]
    assert [field["name"] for field in found["fields"]] == [column.name for column in project.columns]
    for column, field in zip(project.columns, found["fields"], strict=True):
        values = [row[column.name] for row in synthetic["rows"] if column.name in row]
        if column.kind == "number" and min(values) < max(values):
            assert found["ranges"][column.name] == [min(values), max(values)]
        rows = [{**example(project.name), column.name: value} for value in field["variants"]]
        if rows:
            assert len(client.post(f"/{project.name}/predict/try", json={"rows": rows}).json()) == len(rows) <= 12
    assert found["area"] == ("size" if project.name == "toy_price" else None)
    assert found["classifies"] == (project.task == "classification")


def test_limits_are_the_bounds_of_the_schema() -> None:
    columns = {column.name: column for name in ("toy", "toy_price") for column in load_project(name).columns}
    assert limits(columns["distance"]) == {"step": 1, "min": 20, "max": 2_000}
    assert limits(columns["size"]) == {"step": "any", "min": 0, "max": 5_000_000}
    assert limits(columns["berth"]) == {"minlength": 5, "maxlength": 5}


def test_known_categories_are_offered_unless_there_are_too_many(client: Client) -> None:
    model = client.app.state.service.answerer("toy_price").model
    few = {"feature": "builder", "categories": ["(missing)", "lund lake", "lund river"]}
    many = {"feature": "builder", "categories": [f"boat {number}" for number in range(600)]}
    offered = {name: form_fields(replace(model, plan=[plan]))[0]["known"] for name, plan in (("few", few), ("many", many))}
    assert offered["few"] == ["lund lake", "lund river"]
    assert offered["many"] == sorted(model.population["columns"]["builder"]["categories"])


def test_a_row_that_is_tried_out_is_answered_and_leaves_no_trace(serve: Serve, project: Project) -> None:
    client = serve(projects=[project.name])
    rows = json_rows(project.name, 20)
    found = client.post(f"/{project.name}/predict/try", json={"rows": rows})
    assert found.status_code == 200
    assert client.get(f"/v1/{project.name}/predictions").json()["predictions"] == []
    assert "serve_predictions_total{" not in client.get("/metrics").text
    answers = client.post(f"/v1/{project.name}/predict/batch", json={"rows": rows}).json()["predictions"]
    expected = [
        {"score": answer["probability"]}
        if project.task == "classification"
        else {"score": answer["prediction"], "lower": answer["interval"]["lower"], "upper": answer["interval"]["upper"]}
        for answer in answers
    ]
    assert found.json() == expected


def test_only_a_few_rows_can_be_tried_out_and_wrong_ones_are_named(client: Client) -> None:
    rows = [example("toy_plain")] * 101
    assert client.post("/toy_plain/predict/try", json={"rows": rows}).status_code == 422
    wrong = client.post("/toy_plain/predict/try", json={"rows": [example("toy_plain"), {"rooms": "six"}]})
    assert wrong.headers["content-type"] == "application/problem+json"
    assert {error["row"] for error in wrong.json()["errors"]} == {1}


def test_a_sample_is_a_row_that_can_be_predicted(client: Client, project: Project) -> None:
    row = client.get(f"/{project.name}/predict/sample").json()
    assert client.post(f"/v1/{project.name}/predict", json=row).status_code == 200


def test_without_synthetic_rows_the_page_does_without_and_never_shows_the_training_rows_of_an_older_version(
    serve: Serve, root: Path
) -> None:
    synthetic = root / "reports" / "toy" / "synthetic.json"
    synthetic.rename(synthetic.with_name("samples.json"))
    client = serve(root)
    found = page(client, "/toy/predict")
    assert schema(found)["ranges"] == {}
    assert "random" not in {button.get("id") for button in found.all("button")}
    response = client.get("/toy/predict/sample")
    assert response.status_code == 404
    assert "dvc repro explain@toy" in response.json()["detail"]


def test_what_a_page_shows_of_a_model_is_renewed_with_the_model(serve: Serve, root: Path, checkout: Path) -> None:
    client = serve(root)
    threshold = schema(page(client, "/toy/predict"))["threshold"]
    synthetic = root / "reports" / "toy" / "synthetic.json"
    other = json.loads((checkout / "other" / "manifest.json").read_text())
    changed = {"percentiles": [0.0, 1.0], "model": other["model"]}
    synthetic.write_text(json.dumps(json.loads(synthetic.read_text()) | changed))
    assert len(schema(page(client, "/toy/predict"))["percentiles"]) == 101
    swap_in_other(root, checkout)
    client.post("/v1/toy/reload", headers=ADMIN).raise_for_status()
    found = schema(page(client, "/toy/predict"))
    assert found["percentiles"] == [0.0, 1.0]
    assert found["threshold"] != threshold


@pytest.mark.parametrize(
    ("file", "paths"),
    [
        ("evaluation.json", ["/toy", "/toy/model", "/toy/predict"]),
        ("profile.json", ["/toy"]),
        ("data.json", ["/toy"]),
        ("leaderboard.json", ["/toy/model"]),
        ("importance.json", ["/toy/model"]),
    ],
)
def test_a_report_that_cannot_be_shown_is_named_where_it_would_be_and_nowhere_else(
    serve: Serve, root: Path, file: str, paths: list[str]
) -> None:
    report, client = root / "reports" / "toy" / file, serve(root)
    of_another_model = json.dumps(json.loads(report.read_text()) | {"model": "0", "simulated": False})
    for content in ("{", "[1]", '{"model": "0"}', of_another_model):
        report.write_text(content)
        client.post("/v1/toy/reload", headers=ADMIN).raise_for_status()
        for path in ("/", "/toy", "/toy/predict", "/toy/model", "/toy/history"):
            response = client.get(path, headers=BROWSER)
            assert response.status_code == 200, response.text
            assert (file in response.text and "A report is left out" in response.text) == (
                path in paths or (file == "evaluation.json" and path.startswith("/toy"))
            ), (content, path)
        for path in ("/v1/projects", "/v1/toy"):
            assert client.get(path).status_code == 200


def test_the_form_is_that_of_the_model_that_serves_whatever_was_written_since(serve: Serve, root: Path) -> None:
    client = serve(root)
    (root / "models" / "toy" / "plan.json").write_text("{")
    assert page(client, "/toy/predict")


def test_pages_are_found_from_any_folder(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    client = serve()
    assert page(client, "/toy/predict")
    assert client.get(f"{client.app.state.site.assets.address}/style.css").status_code == 200


def test_a_first_page_is_small_and_quick(client: Client, project: Project) -> None:
    for path in ("/", f"/{project.name}/predict"):
        client.get(path)
        start = time.perf_counter()
        text = client.get(path).content
        assert time.perf_counter() - start < 0.3
        scripts = sum(file.stat().st_size for file in STATIC.iterdir())
        assert len(text) + scripts < 400_000


@pytest.mark.parametrize("path", ["/nowhere", "/toy/nowhere", "/v1/nowhere", "/static/no/such/file"])
def test_a_browser_gets_a_page_for_an_error_and_everybody_else_problem_details(client: Client, path: str) -> None:
    response = client.get(path, headers=BROWSER)
    assert response.status_code == 404
    assert response.headers["content-type"].startswith("text/html")
    assert "There is nothing at" in response.text
    assert response.headers["x-request-id"]
    for accept in ("application/json", "*/*"):
        plain = client.get(path, headers={"Accept": accept})
        assert plain.headers["content-type"] == "application/problem+json"
        assert plain.status_code == 404


def test_an_address_is_shown_as_text(client: Client) -> None:
    response = client.get("/%3Cscript%3Ealert(1)%3C/script%3E", headers=BROWSER)
    assert response.status_code == 404
    assert "<script>alert" not in response.text
    assert "&lt;script&gt;alert" in response.text


def test_a_fault_of_a_page_tells_nothing_about_itself(serve: Serve) -> None:
    client = serve()
    client.app.state.site.tabs = lambda project: 1 / 0
    response = client.get("/toy/predict")
    assert response.status_code == 500
    assert "ZeroDivision" not in response.text


def test_data_in_a_script_block_cannot_end_it() -> None:
    text = templates().engine.from_string("{{ value|tojson }}").render(value=["</script><!--", "\u2028'&", float("nan")])
    assert not set("<>&'\u2028") & set(text)
    assert json.loads(text) == ["</script><!--", "\u2028'&", None]
    assert to_json({"a": datetime(2026, 1, 2, tzinfo=UTC)}) == '{"a":"2026-01-02T00:00:00Z"}'


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1234.4, "USD", "1,234 USD"),
        (2013, "", "2013"),
        (83_807.86, "", "83,808"),
        (6.214, "", "6.21"),
        (0.53812, "", "0.538"),
        (174.23, "USD", "174.2 USD"),
        (24.1, "1,000 USD", "24,100 USD"),
        (-3.0, "years", "-3 years"),
        (None, "USD", "–"),
        (float("nan"), "USD", "–"),
    ],
)
def test_numbers_are_written_by_their_size_and_unit(value: float | None, unit: str, text: str) -> None:
    assert number(value, unit) == text


def test_shares_metrics_and_times_are_written_for_people() -> None:
    assert percent(0.12345) == "12.3 %"
    assert percent(None) == "–"
    assert metric(0.8834, "roc_auc") == "0.883"
    assert metric(3.891, "rmse", "1,000 USD") == "3,891 USD"
    assert metric_interval({"low": 2061.9, "high": 2295.3}, "mae", "USD") == "2,062 to 2,295 USD"
    assert metric_interval({"low": 0.861, "high": 0.904}, "roc_auc") == "0.861 to 0.904"
    assert moment(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) == "2026-01-02 03:04 UTC"


def cookie_of(response: Any) -> str:
    """The sign-in cookie that an answer sets, with its attributes."""
    return next(text for text in response.headers.get_list("set-cookie") if text.startswith(f"{COOKIE}="))


def session_of(response: Any) -> str:
    """The id that the sign-in cookie holds."""
    return cookie_of(response).partition(";")[0].removeprefix(f"{COOKIE}=")


def sign_in(client: Client, key: str = KEY, **headers: str) -> Any:
    form = {"key": key, "next": "/toy/predict"}
    return client.post("/sign-in", data=form, headers=OWN | headers, follow_redirects=False)


def signed(serve: Serve, **changes: Any) -> Client:
    client = serve(**{"api_keys": [digest(KEY), digest(OTHER)], **changes})
    assert sign_in(client).status_code == 303
    return client


@pytest.mark.parametrize("path", ["/", "/toy/predict"])
def test_without_a_key_a_browser_is_led_to_the_sign_in_and_others_are_refused(serve: Serve, path: str) -> None:
    client = serve(api_keys=[digest(KEY)])
    led = client.get(path, headers=BROWSER, follow_redirects=False)
    assert led.status_code == 303
    assert led.headers["location"] == f"/sign-in?next={path}"
    assert client.get(led.headers["location"], headers=BROWSER).status_code == 200
    assert client.get(path).status_code == 401
    assert client.post("/toy/predict/try", json={"rows": [example("toy")]}).status_code == 401
    assert client.get(path, headers={"X-API-Key": KEY}).status_code == 200


def test_signing_in_sets_a_strict_cookie_and_goes_on_to_the_page(serve: Serve) -> None:
    client = serve(api_keys=[digest(KEY)])
    response = sign_in(client)
    assert response.headers["location"] == "/toy/predict"
    attributes = cookie_of(response).lower()
    for part in ("httponly", "samesite=strict", "path=/", f"max-age={SIGNED_IN_FOR}"):
        assert part in attributes
    assert "secure" not in attributes
    assert page(client, "/toy/predict")
    assert "secure" in cookie_of(sign_in(client, **{"X-Forwarded-Proto": "https"})).lower()


def test_a_wrong_key_is_asked_for_again(serve: Serve) -> None:
    client = serve(api_keys=[digest(KEY)])
    for key in ("", "wrong", KEY.upper(), digest(KEY)):
        response = sign_in(client, key)
        assert response.status_code == 401, key
        assert "no key that the server accepts" in response.text
        assert "set-cookie" not in response.headers


def test_guesses_at_the_sign_in_are_limited(serve: Serve) -> None:
    client = serve(api_keys=[digest(KEY)], max_guesses=2)
    assert [sign_in(client, f"guess {number}").status_code for number in range(3)] == [401, 401, 429]
    assert sign_in(client).status_code == 429
    assert client.get("/toy/predict", headers={"X-API-Key": KEY}).status_code == 429


def test_a_large_form_is_refused_before_it_is_read_into_fields(serve: Serve) -> None:
    client = serve(api_keys=[digest(KEY)])
    for body, status in (("key=" + "a" * 64_000, 413), ("&".join(["key=a"] * 11), 400), (b"key=\xff", 400)):
        assert client.post("/sign-in", content=body, headers=OWN).status_code == status


def test_the_sign_in_leads_nowhere_else(serve: Serve) -> None:
    client = serve(api_keys=[digest(KEY)])
    for address in ("//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "/a\r\nb", ""):
        response = client.post("/sign-in", data={"key": KEY, "next": address}, headers=OWN, follow_redirects=False)
        assert response.headers["location"] == "/", address


def test_the_cookie_opens_the_routes_to_pages_of_this_server_only(serve: Serve) -> None:
    client = signed(serve)
    assert client.get("/v1/toy").status_code == 200
    for headers, status in (
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "http://testserver.local"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://testserver.local"}, 401),
        ({"Sec-Fetch-Site": "same-site"}, 401),
        ({"Origin": "https://evil.example"}, 401),
        ({"Origin": "null"}, 401),
        ({}, 401),
        ({"X-API-Key": KEY}, 200),
        ({"Sec-Fetch-Site": "same-origin", "X-API-Key": "wrong"}, 401),
    ):
        assert client.post(PREDICT, json=example("toy"), headers=headers).status_code == status, headers


def test_a_form_of_another_site_neither_signs_in_nor_out(serve: Serve) -> None:
    client = serve(api_keys=[digest(KEY)])
    for path in ("/sign-in", "/sign-out"):
        for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}, {}):
            response = client.post(path, data={"key": KEY}, headers=headers, follow_redirects=False)
            assert response.status_code == 403
            assert "set-cookie" not in response.headers


def test_signing_out_takes_the_cookie_away(serve: Serve) -> None:
    client = signed(serve)
    response = client.post("/sign-out", headers=OWN, follow_redirects=False)
    assert (response.status_code, response.headers["location"]) == (303, "/sign-in")
    assert "max-age=0" in cookie_of(response).lower()
    assert client.get("/v1/toy").status_code == 401


def try_cookie(client: Client, value: str) -> int:
    client.cookies.clear()
    return client.get("/v1/toy", headers={b"Cookie": f"{COOKIE}={value}".encode()}).status_code


def test_the_cookie_holds_no_key_and_a_new_id_for_every_sign_in(serve: Serve) -> None:
    client = serve(api_keys=[digest(KEY)])
    values = [session_of(sign_in(client)) for _ in range(2)]
    assert len(set(values)) == 2
    for value in values:
        assert KEY not in value
        assert digest(KEY) not in value
        assert len(value) >= 32
        assert try_cookie(client, value) == 200
    for bad in (KEY, digest(KEY), digest(values[0]), values[0][:-1], "9" * 5000, "%ff", "é.é", ""):
        assert try_cookie(client, bad) == 401, bad


def test_a_session_ends_with_the_sign_out_and_no_other_does(serve: Serve) -> None:
    client = serve(api_keys=[digest(KEY)])
    first, second = (session_of(sign_in(client)) for _ in range(2))
    client.post("/sign-out", headers=OWN, follow_redirects=False)
    assert (try_cookie(client, first), try_cookie(client, second)) == (200, 401)


def test_a_session_ends_with_its_key_and_with_the_process(serve: Serve) -> None:
    client = serve(api_keys=[digest(KEY), digest(OTHER)])
    value = session_of(sign_in(client))
    assert try_cookie(serve(api_keys=[digest(KEY)]), value) == 401
    assert try_cookie(client, value) == 200
    del client.app.state.settings.key_names[digest(KEY)]
    assert try_cookie(client, value) == 401


def test_a_budget_is_kept_by_the_key_that_signed_in(serve: Serve) -> None:
    client = signed(serve, rate_limit=3)
    with_key = [client.get("/v1/toy", headers={"X-API-Key": KEY}).status_code for _ in range(2)]
    by_cookie = [client.get("/v1/toy").status_code for _ in range(2)]
    assert with_key + by_cookie == [200, 200, 200, 429]


def test_without_keys_there_is_nothing_to_sign_in_to(serve: Serve) -> None:
    response = serve().get("/sign-in", follow_redirects=False)
    assert (response.status_code, response.headers["location"]) == (303, "/")


def test_pages_are_not_in_the_document_of_the_api(client: Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert all(path.startswith(("/v1", "/health", "/ready", "/metrics")) for path in paths)

from __future__ import annotations

import pytest

from stages.core.cli import UserError
from stages.promotion.server import call
from tests.stages.answers import Answers


def test_the_answer_is_what_the_json_holds(answers: Answers) -> None:
    answers.given["POST /v1/toy_plain/reload"] = (200, {"hash": "ä"})
    assert call(f"{answers.url}/v1/toy_plain/reload", "POST", Authorization="Bearer secret") == {"hash": "ä"}
    ((asked, headers),) = answers.asked
    assert asked == "POST /v1/toy_plain/reload"
    assert headers["Authorization"] == "Bearer secret"
    assert "X-Api-Key" not in headers


def test_a_key_comes_from_the_environment_unless_it_is_given(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    answers.given["GET /"] = (200, None)
    monkeypatch.setenv("VERITABLE_API_KEY", "from the environment")
    call(f"{answers.url}/")
    call(f"{answers.url}/", **{"X-API-Key": "given"})
    assert [headers["X-Api-Key"] for _, headers in answers.asked] == ["from the environment", "given"]


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, {"detail": "A valid key is needed."}, "answered 401: A valid key is needed."),
        (409, {"detail": "models/toy_plain lacks plan.json."}, "answered 409: models/toy_plain lacks plan.json."),
        (502, b"<html>", "answered 502: Bad Gateway"),
        (500, [], "answered 500: Internal Server Error"),
        (200, b"<html>", "gave no answer that can be read"),
    ],
)
def test_a_refusal_is_told_with_the_servers_detail(answers: Answers, status: int, body: object, said: str) -> None:
    answers.given["GET /"] = (status, body)
    with pytest.raises(UserError) as refusal:
        call(f"{answers.url}/")
    assert f"{answers.url}/ {said}" in str(refusal.value)


def test_a_server_that_cannot_be_reached_is_named() -> None:
    with pytest.raises(UserError, match=r"http://127.0.0.1:1/ cannot be reached .*refused.*is the server running there\?"):
        call("http://127.0.0.1:1/")


@pytest.mark.parametrize("address", ["file:///etc/passwd", "127.0.0.1:8000", ""])
def test_only_the_web_is_called(address: str) -> None:
    with pytest.raises(UserError, match="is no address of a server"):
        call(address)


def test_a_key_that_no_header_can_hold_is_refused(answers: Answers) -> None:
    with pytest.raises(UserError, match="gave no answer that can be read"):
        call(f"{answers.url}/", **{"X-API-Key": "two\nlines"})

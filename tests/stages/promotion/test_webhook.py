from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from stages.core.cli import UserError
from stages.promotion import ledger
from stages.promotion.webhook import check_webhook, signature

SECRET = "at-least-16-characters"
DRIFT = {"event": "drift", "by": "tess", "reason": "Nothing changed.", "verdict": "keep"}


@dataclass
class Receiver:
    """A server that keeps what is posted to it and answers with these codes in turn, then with 204."""

    url: str = ""
    codes: list[int] = field(default_factory=list)
    posts: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.posts.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(found.codes.pop(0) if found.codes else 204)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        do_GET = do_POST  # noqa: N815 - a redirect that is followed would come as one

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        found.url = f"http://127.0.0.1:{server.server_port}/hook"
        monkeypatch.setenv("VERITABLE_WEBHOOK", found.url)
        monkeypatch.setenv("VERITABLE_WEBHOOK_SECRET", SECRET)
        monkeypatch.setattr("stages.promotion.webhook.PAUSES", (0.0, 0.0, 0.0))
        yield found
        server.shutdown()


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("checkout"))


def append() -> None:
    """Add a line to the ledger, and wait until it is delivered or given up."""
    ledger.append("toy", DRIFT)
    for thread in threading.enumerate():
        if thread.name == "webhook":
            thread.join()


def test_the_signature_is_that_of_the_specifications_example() -> None:
    secret, identifier = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek"
    found = signature(secret, identifier, 1614265330, b'{"test": 2432232314}')
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_line_of_the_ledger_arrives_signed(receiver: Receiver) -> None:
    append()
    ((headers, body),) = receiver.posts
    assert json.loads(body) == {"project": "toy", **ledger.read("toy")[0]}
    expected = signature(SECRET, headers["webhook-id"], int(headers["webhook-timestamp"]), body)
    assert headers["webhook-signature"] == expected
    assert headers["content-type"] == "application/json"


@pytest.mark.parametrize("code", [500, 302])
def test_it_is_tried_again_under_the_same_id(receiver: Receiver, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    receiver.codes = [code, code]
    append()
    assert len(receiver.posts) == 3
    assert len({headers["webhook-id"] for headers, _ in receiver.posts}) == 1
    assert not capsys.readouterr().err


def test_a_message_that_is_not_taken_is_named_and_the_ledger_has_it(
    receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    receiver.codes = [503] * 3
    append()
    assert (
        "toy: drift was not delivered to VERITABLE_WEBHOOK (it answered 503); the ledger has it" in capsys.readouterr().err
    )
    assert [entry["verdict"] for entry in ledger.read("toy")] == ["keep"]


def test_an_address_where_nobody_listens_fails_nothing(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("VERITABLE_WEBHOOK", f"http://127.0.0.1:{unused.getsockname()[1]}")
        append()
    assert "refused" in capsys.readouterr().err
    assert not receiver.posts


def test_wrong_settings_are_refused_before_anything_is_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VERITABLE_WEBHOOK", raising=False)
    check_webhook()
    monkeypatch.setenv("VERITABLE_WEBHOOK", "example.org")
    with pytest.raises(UserError, match="must start with https://"):
        check_webhook()
    monkeypatch.setenv("VERITABLE_WEBHOOK", "https://example.org")
    monkeypatch.setenv("VERITABLE_WEBHOOK_SECRET", "short")
    with pytest.raises(UserError, match="VERITABLE_WEBHOOK_SECRET must hold at least 16 characters"):
        check_webhook()

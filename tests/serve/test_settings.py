"""Tests of serve/settings.py and of the start in serve/__main__.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from serve.api.protection import digest
from serve.settings import Settings, WrongSettingsError, read_settings
from tests.serve.process import Server

HASH = digest("a-long-random-key")


def test_the_admin_token_shows_in_no_representation_of_the_settings() -> None:
    assert "letmein-for-tests" not in repr(Settings.model_validate({"admin_token": "letmein-for-tests"}))


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVE_PROJECTS", '["toy_plain"]')
    monkeypatch.setenv("SERVE_RATE_LIMIT", "7")
    monkeypatch.setenv("SERVE_ADMIN_TOKEN", "letmein-for-tests")
    found = read_settings()
    assert (found.projects, found.rate_limit) == (["toy_plain"], 7)
    assert found.admin_token is not None
    assert found.admin_token.get_secret_value() == "letmein-for-tests"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("ADMIN_TOKEN", "", "the token is empty"),
        ("ADMIN_TOKEN", "short", "the token has 5 characters, and needs 16 or more"),
        ("ADMIN_TOKEN", "sixteen characters", "a blank or a character that is not ASCII"),
        ("ADMIN_TOKEN", "sixteen-charactérs", "a blank or a character that is not ASCII"),
        ("API_KEYS", '["a-long-random-key"]', "entry 1 is no SHA-256 hash"),
        ("API_KEYS", f'["{HASH}", ""]', "entry 2 is no SHA-256 hash"),
        ("API_KEYS", f'[":{HASH}"]', "entry 1 is no SHA-256 hash"),
        ("API_KEYS", f'["till:{digest("")}"]', "entry 1 is the hash of an empty key"),
        ("API_KEYS", "", "no valid JSON"),
        ("ROOT_PATH", "veritable", "a prefix begins with / and does not end with it"),
        ("ROOT_PATH", "/veritable/", "a prefix begins with / and does not end with it"),
        ("ROOT_PATH", "/a/../b", "a prefix begins with / and does not end with it"),
        ("ROOT_PATH", "/toy", "/toy is an address of the server itself; choose another prefix"),
        ("ROOT_PATH", "/v1/x", "/v1 is an address of the server itself; choose another prefix"),
        ("INTERNAL_ADDRESS", "9100", "an address is a host and a port"),
        ("INTERNAL_ADDRESS", "127.0.0.1:70000", "an address is a host and a port"),
        ("INTERNAL_ADDRESS", "http://127.0.0.1:9100", "an address is a host and a port"),
        ("MAX_BATCH", "0", "greater than or equal to 1"),
    ],
)
def test_a_wrong_setting_is_named_and_its_value_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(f"SERVE_{name}", value)
    with pytest.raises(WrongSettingsError) as caught:
        read_settings()
    message = str(caught.value)
    assert message.startswith(f"SERVE_{name}: ")
    assert words in message
    assert "a-long-random-key" not in message


def test_a_key_without_a_name_is_named_by_its_hash() -> None:
    assert Settings(api_keys=[f"till:{HASH.upper()}", digest("b")]).key_names == {HASH: "till", digest("b"): digest("b")[:8]}


@pytest.mark.slow
def test_the_server_does_not_start_with_an_empty_admin_token(tmp_path: Path) -> None:
    server = Server(tmp_path, tmp_path, SERVE_ADMIN_TOKEN="")
    with pytest.raises(RuntimeError, match="SERVE_ADMIN_TOKEN: the token is empty") as caught, server:
        pass
    assert "Traceback" not in str(caught.value)


@pytest.mark.slow
def test_the_server_does_not_start_where_it_could_spill_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    server = Server(tmp_path, tmp_path, SERVE_SPILL_PATH=str(tmp_path / "file" / "spill"))
    with pytest.raises(RuntimeError, match="SERVE_SPILL_PATH: no file can be written in the folder") as caught, server:
        pass
    assert "Traceback" not in str(caught.value)


def test_the_options_of_uvicorn_are_passed_on() -> None:
    done = subprocess.run([sys.executable, "-m", "serve", "--help"], capture_output=True, text=True, check=True)
    assert "--host" in done.stdout

"""Tests of the page "History", without a browser."""

from __future__ import annotations

import json
import subprocess
from html import escape
from pathlib import Path
from typing import Any

import pytest

from serve.pages.charts.progress import is_older
from serve.pages.history import flat
from serve.pages.ledger import is_commit, repository, web_address
from tests.serve.conftest import Client, Serve
from tests.serve.models.test_history import deployed, entry, promoted, write_ledger

HOSTILE = "<script>alert('by')</script> & \"co\""


def shown(client: Client, address: str = "/toy/history", status: int = 200) -> str:
    answer = client.get(address, headers={"Accept": "text/html"})
    assert answer.status_code == status, answer.text
    return answer.text


def decided(version: str | None, digest: str, **more: Any) -> dict[str, Any]:
    """A promotion, or without a version a refusal, with metrics, rules and a revision."""
    rules = [
        {"rule": "comparison", "passed": bool(version), "detail": "It is <better>.", "measured": {"value": 0.0123456789}},
        {"rule": "floors", "passed": None, "detail": "No floors are set.", "measured": {}},
    ]
    challenger = {"hash": digest, "revision": digest[0] * 40, "estimator": "random_forest", "data": "d" * 64}
    metrics = {"roc_auc": {"value": 0.8, "low": 0.75, "high": 0.85}}
    return promoted(version, digest) | {"challenger": challenger, "rules": rules, "metrics": metrics} | more


def test_refused_and_promoted_models_are_shown_with_reason_rules_and_numbers(serve: Serve, root: Path) -> None:
    refused = decided(None, "b" * 64, by=HOSTILE, reason=f"Refused by the rule comparison. {HOSTILE}")
    write_ledger(
        root, decided("v1.0.0", "a" * 64), refused, entry("drift", verdict="retrain", reason="The distance has moved.")
    )
    text = shown(serve(root=root))
    assert text.index("Drift check: retrain") < text.index(">Refused<") < text.index("Promoted as v1.0.0")
    assert f"Refused by the rule comparison. {escape(HOSTILE, quote=False)[:20]}" in text
    assert "<script>alert" not in text
    assert "It is &lt;better&gt;." in text
    assert [text.count(f">{verdict}</span>") for verdict in ("pass", "fail", "does not apply")] == [1, 1, 2]
    assert "value <b>0.0123457</b>" in text
    assert "random forest, revision <code>bbbbbbbbbbbb</code>" in text
    assert 'id="progress"' not in text  # neither was compared with a champion


@pytest.mark.slow
def test_versions_that_do_not_serve_have_a_command_that_brings_them_back(serve: Serve, root: Path) -> None:
    digest = serve(root=root).get("/v1/toy").json()["hash"]
    write_ledger(root, decided("v1.0.0", "a" * 64), decided("v1.1.0", digest), deployed("v1.1.0", digest))
    text = shown(serve(root=root))
    assert (
        escape(f"python -m stages.deploy toy --to {root} --version v1.0.0 --reason '…'", quote=False).replace("'", "&#39;")
        in text
    )
    assert "--version v1.1.0" not in text
    assert ">serves now</span>" in text
    assert "Another model serves" not in text
    write_ledger(root, decided("v1.0.0", "a" * 64), decided("v1.1.0", digest), deployed("v1.0.0", "a" * 64))
    assert "Another model serves" in shown(serve(root=root))


def compared(version: str | None, digest: str, gain: float, test: str) -> dict[str, Any]:
    """A decision on a model that was compared with v1.0.0 on the test rows of this digest."""
    found = {"metric": "roc_auc", "value": gain, "low": gain - 0.01, "high": gain + 0.01, "confidence": 0.975, "rows": 400}
    found |= {"challenger": 0.8 + gain, "champion": 0.8}
    entry = decided(version, digest)
    return entry | {
        "challenger": entry["challenger"] | {"test": test},
        "champion": {"version": "v1.0.0"},
        "comparison": found,
    }


def chart_of(text: str) -> Any:
    return json.loads(
        text.partition('id="progress"')[2].partition('<script type="application/json">')[2].partition("</script>")[0]
    )


def test_progress_is_the_gain_over_the_champion_with_rollbacks_and_changes_of_the_test_rows(
    serve: Serve, root: Path
) -> None:
    first = decided("v1.0.0", "a" * 64)
    back = deployed("v1.0.0", "a" * 64) | {"previous": {"version": "v1.1.0", "hash": "b" * 64}}
    write_ledger(
        root,
        first | {"challenger": first["challenger"] | {"test": "t1"}},
        compared("v1.1.0", "b" * 64, 0.02, "t1"),
        deployed("v1.1.0", "b" * 64),
        back,
        compared(None, "c" * 64, -0.005, "t2"),
        decided(None, "d" * 64),  # older ledgers do not say which test rows
    )
    text = shown(serve(root=root))
    assert "1 of 2 challengers promoted. The last one, refused, gained −0.005 over v1.0.0" in text
    assert "95 % interval −0.015 to +0.005" in text
    assert '<td class="number">before 2026-01-02 03:04 UTC</td>' in text
    layers = chart_of(text)["layer"]
    assert [row["what"] for row in layers[1]["data"]["values"]] == [
        "deployed v1.1.0", "rolled back to v1.0.0", "other test rows",
    ]  # fmt: skip
    assert [(row["kind"], row["value"]) for row in layers[2]["data"]["values"]] == [("promoted", 0.02), ("refused", -0.005)]


def test_going_back_to_an_older_version_is_called_so(serve: Serve, root: Path) -> None:
    back = deployed("v1.9.0", "a") | {"previous": {"version": "v1.10.0", "hash": "b"}}
    write_ledger(root, deployed("v1.10.0", "b"), back)
    text = shown(serve(root=root))
    assert "Rolled back to v1.9.0" in text
    assert "Deployed v1.10.0" in text
    assert "replacing v1.10.0" in text
    assert not is_older("v1.0.0", None)


def test_many_decisions_come_in_pages(serve: Serve, root: Path) -> None:
    write_ledger(root, *[entry("drift", reason=f"Check number {number}.") for number in range(120)])
    client = serve(root=root)
    pages = [shown(client, f"/toy/history?page={page}") for page in (1, 2, 3)]
    found = [[number for number in range(120) if f"Check number {number}." in text] for text in pages]
    assert found == [list(range(70, 120)), list(range(20, 70)), list(range(20))]
    assert ["Older" in text for text in pages] == [True, True, False]
    for address in ("?page=x", "?page=0", "?page=-1", "?page=99999999999"):
        assert "Check number 119." in shown(client, f"/toy/history{address}")
    assert "Check number" not in shown(client, "/toy/history?page=900000")


def test_a_project_without_decisions_says_how_one_is_made(client: Client) -> None:
    assert "python -m stages.promote toy_plain" in shown(client, "/toy_plain/history")


def test_a_torn_ledger_is_said(serve: Serve, root: Path) -> None:
    client = serve(root=root)
    (root / "reports" / "toy" / "ledger.jsonl").write_text('{"time": ')
    assert "is no entry of a ledger" in shown(client, status=503)


def test_the_history_is_there_while_no_model_is(serve: Serve, root: Path) -> None:
    write_ledger(root, decided("v1.0.0", "a" * 64))
    (root / "models" / "toy" / "plan.json").unlink()
    text = shown(serve(root=root))
    assert "Promoted as v1.0.0" in text
    assert "Not serving" in text
    assert "plan.json" in text


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("https://github.com/me/it.git", "https://github.com/me/it"),
        ("https://me:secret@example.org/group/it/", "https://example.org/group/it"),
        ("http://git.local:8080/it", "http://git.local:8080/it"),
        ("git@github.com:me/it.git", "https://github.com/me/it"),
        ("ssh://git@git.local:2222/me/it.git", "https://git.local/me/it"),
        ('https://example.org/"><script>', "https://example.org/%22%3E%3Cscript%3E"),
        ("/srv/git/it.git", None),
        ("file:///srv/it", None),
        ("javascript:alert(1)", None),
        ("", None),
    ],
)
def test_the_address_of_the_repository_comes_from_its_remote(remote: str, address: str | None) -> None:
    assert web_address(remote) == address


def test_revisions_lead_to_their_commits(serve: Serve, root: Path) -> None:
    subprocess.run(["git", "init", "--quiet", root], check=True)
    subprocess.run(["git", "-C", root, "remote", "add", "origin", "git@example.org:me/it.git"], check=True)
    repository.cache_clear()
    write_ledger(root, decided("v1.0.0", "a" * 64))
    text = shown(serve(root=root, revision="c0ffee-dirty"))
    assert f'<a href="https://example.org/me/it/commit/{"a" * 40}"' in text
    assert "commit/c0ffee" not in text  # what was not committed is nowhere to be seen
    assert not is_commit("unknown")
    assert not is_commit(None)


def test_what_a_rule_measured_is_flattened() -> None:
    measured = {"Gender.recall_gap": {"challenger": 0.1, "champion": None}, "kind": "scorer", "passed": True}
    assert flat(measured) == [
        ("Gender, recall gap, challenger", "0.1"),
        ("Gender, recall gap, champion", "–"),
        ("kind", "scorer"),
        ("passed", "yes"),
    ]

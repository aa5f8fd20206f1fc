"""Tests of what a card says of the version that a model is."""

from __future__ import annotations

from pathlib import Path

from tests.serve.models.test_history import deployed, promoted, write_ledger
from tests.serve.models.test_loader import load


def test_the_card_of_a_promoted_model_says_version_commit_date_person_and_change(root: Path) -> None:
    plain = load(root)
    assert plain.card == (root / "reports" / "toy" / "card.md").read_text()
    comparison = {"rule": "comparison", "passed": True, "detail": "The ROC-AUC is *better*."}
    second = promoted("v1.1.0", plain.hash) | {
        "by": "Ann <ann@example.org>",
        "champion": {"version": "v1.0.0"},
        "rules": [comparison],
    }
    second["challenger"]["revision"] = "c" * 40
    write_ledger(root, promoted("v1.0.0", "a"), second, deployed("v1.1.0", plain.hash), deployed("v1.0.0", "a"))
    card = load(root).card
    section = card.partition("## This version")[2].partition("\n## ")[0]
    assert "| Version | v1.1.0 |" in section
    assert f"| Commit | `{'c' * 40}` |" in section
    assert "| Promoted | 2026-01-02 by Ann \\<ann@example.org\\> |" in section
    assert "| Last deployed | 2026-01-02 by tester |" in section
    assert "Change since v1.0.0. The ROC-AUC is \\*better\\*." in section
    assert card.index("## This version") < card.index("## What it is for")


def test_the_first_version_has_nothing_to_be_compared_with(root: Path) -> None:
    write_ledger(root, promoted("v1.0.0", load(root).hash))
    assert "It is the first version that was promoted." in load(root).card

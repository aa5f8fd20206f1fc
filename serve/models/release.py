"""What the ledger says of the version that a model is, for its card: the pipeline, which writes the card, cannot know it."""

from __future__ import annotations

import re

from serve.models.history import Event


def with_release(card: str, events: list[Event], model_hash: str) -> str:
    """A card with a section on the version in front of the others; the card itself where the model was never promoted."""
    own = [event for event in events if event.event == "promotion" and event.live_hash == model_hash]
    head, mark, rest = card.partition("\n## ")
    return f"{head}\n{release(own[-1], events)}{mark}{rest}" if own and mark else card


def release(promotion: Event, events: list[Event]) -> str:
    """Version, commit, date and person, the change since the version before, and where it was deployed since."""
    details = promotion.details
    facts = {
        "Version": str(promotion.version),
        "Commit": f"`{details['challenger'].get('revision') or 'unknown'}`",
        "Promoted": f"{promotion.time:%Y-%m-%d} by {literal(promotion.by)}",
    }
    moves = [event for event in events if event.event == "deployment" and event.live_hash == promotion.live_hash]
    if moves:
        facts["Last deployed"] = f"{moves[-1].time:%Y-%m-%d} by {literal(moves[-1].by)}"
    before = (details.get("champion") or {}).get("version")
    found = next((rule.get("detail", "") for rule in details.get("rules") or [] if rule["rule"] == "comparison"), "")
    change = f"Change since {before}. {literal(found)}" if before else "It is the first version that was promoted."
    table = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    return f"\n## This version\n\n| What | Value |\n| --- | --- |\n{table}\n\n{change}\n"


def literal(text: str) -> str:
    """Words from outside, on one line, of which nothing is markup."""
    return re.sub(r"([\\`*_{}\[\]<>#|!~&])", r"\\\1", " ".join(text.split()))

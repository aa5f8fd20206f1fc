"""Promoting the model in the workspace: the gate's decision goes into the ledger, into a commit, and into tags.

Each step does nothing where it was done before, so an interrupted promotion is finished by the next one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stages.core.cli import UserError
from stages.promotion import ledger, tags
from stages.promotion.gate import Rule
from stages.promotion.git import who
from stages.promotion.lock import read_lock
from stages.promotion.proposal import check_committed, check_current, ledger_entry, propose, settled
from stages.runtime.identity import model_files, model_hash, outputs


@dataclass(frozen=True)
class Outcome:
    """What the gate said: the reason, every rule's finding, and whether it refused. No rules where there was nothing to
    decide.
    """

    reason: str
    rules: tuple[Rule, ...] = ()
    refused: bool = False


def promotions(name: str) -> list[dict[str, Any]]:
    """The gate's decisions in the ledger, oldest first."""
    return [entry for entry in ledger.read(name) if entry["event"] == "promotion"]


def interrupted_promotion(name: str) -> dict[str, Any] | None:
    """The last decision, if it promoted a model that never got its tags; UserError where this clone lacks all of them."""
    decisions = promotions(name)
    if not decisions or not decisions[-1]["accepted"]:
        return None
    last = decisions[-1]
    if not tags.versions(name) and is_followed(name, decisions):
        raise UserError(f"this clone has none of the tags of {name} that its ledger tells of: run `git fetch --tags`")
    return None if tags.is_assigned(name, last["version"], last["challenger"]["revision"], last["stage"]) else last


def is_followed(name: str, decisions: list[dict[str, Any]]) -> bool:
    """Whether the ledger has something that comes after the tags of its first promotion: another one, or a deployment."""
    accepted = sum(decision["accepted"] for decision in decisions)
    return accepted > 1 or any(entry["event"] == "deployment" for entry in ledger.read(name))


def promote(name: str, by: str | None = None, *, dry_run: bool = False) -> Outcome:
    """Decide on the workspace's model and, unless it is a dry run, write the decision down and carry it out. UserError
    where a stage of the pipeline is out of date or, unless it is a dry run, something is not committed.
    """
    decisions, lock = promotions(name), read_lock()
    if not dry_run:
        check_committed()
    check_current(name)
    if reason := settled(name, decisions, model_hash(model_files(outputs(lock), name))):
        return Outcome(f"{name}: {reason}")
    proposal = propose(name)
    if not dry_run:
        entry = ledger_entry(proposal, by or who())
        if not repeats(entry, decisions[-1] if decisions else None):
            ledger.append(name, entry)
        carry_out(name, entry)
    return Outcome(proposal.decision.reason, proposal.decision.rules, not proposal.decision.accepted)


def carry_out(name: str, entry: dict[str, Any]) -> None:
    """Commit the ledger, and tag what is accepted."""
    what = f"Promote {name} {entry['version']}" if entry["accepted"] else f"Refuse to promote {name}"
    ledger.commit(name, f"{what}\n\n{entry['reason']}")
    if entry["accepted"]:
        tags.register(name, entry["challenger"]["revision"], entry["version"], entry["reason"])
        tags.assign(name, entry["version"], entry["stage"], entry["reason"])


def repeats(entry: dict[str, Any], last: dict[str, Any] | None) -> bool:
    """Whether it refuses the same model against the same champion by the same rules as the last decision did. That needs no
    second line, so a workflow that tries every day does not fill the ledger.
    """

    def gist(decision: dict[str, Any]) -> Any:
        verdicts = [(rule["rule"], rule["passed"]) for rule in decision["rules"]]
        return decision["challenger"]["hash"], decision["champion"], verdicts

    return last is not None and not (entry["accepted"] or last["accepted"]) and gist(entry) == gist(last)

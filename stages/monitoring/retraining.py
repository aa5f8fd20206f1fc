"""From a batch to a new model: what is left to do follows from the ledger, the commits, the tags and the workspace.

`state_of` names the state that a batch is in, as a pure function of facts; each state has one action, after which the facts
are gathered again. So a run that was interrupted anywhere and is started again ends in the same state.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from stages.core.cli import UserError
from stages.intake.sources import fetch
from stages.monitoring.record import run_check, save_check
from stages.promotion import adoption, installation, ledger, record, server
from stages.promotion.git import uncommitted
from stages.promotion.tags import PROD

REFUSED = 3


class State(Enum):
    """What a batch is waiting for, or how it ended."""

    LEARNED = "a later model learned from it; done"
    INTERRUPTED = "an adoption was cut off; it has to be undone"
    UNCHECKED = "it has to be checked against the model that is installed now"
    KEPT = "the check found no reason to retrain; done"
    REJECTED = "the check refused it as bad data; done"
    TRIED = "the gate refused the model that it would give; done"
    UNLABELLED = "the check calls for a new model, and the batch has no outcomes to learn from yet; done"
    DRIFTED = "the check calls for a new model; it has to be adopted"
    PROPOSED = "it is adopted and the gate is left to somebody else; done"
    ADOPTED = "the gate has to decide on the model that was trained with it, or to finish that"
    ACCEPTED = "the model has its tags; it has to be deployed"
    REFUSED = "the gate refused the model; it has to be reverted"


# The states whose action is the last one, with the exit code of the command.
ENDS: dict[State, int | None] = {
    State.LEARNED: None,
    State.KEPT: None,
    State.REJECTED: REFUSED,
    State.TRIED: REFUSED,
    State.UNLABELLED: REFUSED,
    State.PROPOSED: None,
    State.ACCEPTED: None,
    State.REFUSED: REFUSED,
}


@dataclass(frozen=True)
class Request:
    """A batch of a project, by where it came from and its bytes; whether the gate is left to somebody else (`propose`); and
    the server that loads what is promoted.
    """

    project: str
    address: str
    content: bytes
    propose: bool = False
    server: str | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of the batch."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def path(self) -> Path:
        """Where the batch is kept."""
        return adoption.batch_path(self.project, self.address, self.content)


@dataclass(frozen=True)
class Facts:
    """What is known of a batch. `adopted`: the last commit learns from it; `reverted`: the last commit about it, `revision`,
    reverted its model; `pending`: the batches to adopt; `check` and `decision`: its last check in the ledger and the gate's
    decision after that; `tagged`: an accepted model has its tags; `interrupted`: the workspace has the remains of an
    adoption. `done` are the states that this run acted on.
    """

    adopted: bool
    reverted: bool
    revision: str
    pending: list[str]
    check: dict[str, Any]
    decision: dict[str, Any]
    tagged: bool
    interrupted: bool
    propose: bool
    done: frozenset[State]


def gather_facts(request: Request, done: frozenset[State]) -> Facts:
    """The facts as they are now."""
    project, path = request.project, request.path
    check, decision = adoption.last_check(project, request.digest)
    revision, reverted = adoption.last_commit(request.digest)
    pending = adoption.pending_batches(project, path, adoption.committed_sources(project))
    adopted = path.as_posix() not in pending
    return Facts(
        adopted=adopted,
        reverted=reverted,
        revision=revision,
        pending=pending,
        check=check,
        decision=decision,
        tagged=record.interrupted_promotion(project) is None,
        interrupted=not adopted and not decision and adoption.is_interrupted(project, path, pending, check),
        propose=request.propose,
        done=done,
    )


def state_of(facts: Facts) -> State:
    """The state that a batch is in."""
    if facts.adopted:
        if facts.reverted:
            return State.LEARNED
        if facts.propose:
            return State.PROPOSED
        if facts.decision.get("accepted"):
            return State.ACCEPTED if facts.tagged else State.ADOPTED
        # The gate adds no line to the ledger for a model that it refused before, or that had its turn.
        return State.REFUSED if facts.decision or State.ADOPTED in facts.done else State.ADOPTED
    if facts.interrupted:
        return State.INTERRUPTED
    if State.UNCHECKED not in facts.done:
        return State.UNCHECKED
    if facts.check["verdict"] != "retrain":
        return State.KEPT if facts.check["verdict"] == "keep" else State.REJECTED
    if facts.check.get("batch", {}).get("outcomes") == 0:
        return State.UNLABELLED
    return State.TRIED if facts.decision else State.DRIFTED


def retrain(request: Request) -> int | None:
    """Do all that is left to do on a batch; the exit code. UserError where uncommitted work is in the way."""
    done: frozenset[State] = frozenset()
    while True:
        facts = gather_facts(request, done)
        state = state_of(facts)
        if not done and state is not State.LEARNED:
            check_clean(request, state)
        if state in done:
            raise RuntimeError(f"{request.project}: the batch is still in the state {state.name} after its action")
        ACTIONS[state](request, facts)
        if state in ENDS:
            return ENDS[state]
        done |= {state}


def check_clean(request: Request, state: State) -> None:
    """UserError for files that differ from the last commit, other than those that an interrupted step changed."""
    begun = state in (State.INTERRUPTED, State.REFUSED)
    own = adoption.adoption_paths(request.project, request.path) if begun else []
    if changed := [file for file in uncommitted() if file not in own]:
        raise UserError(f"{', '.join(changed)} differ from the last commit: commit or restore them first")


def open_batch(project: str, address: str, *, propose: bool = False, server: str | None = None) -> Request:
    """A batch at a path, `s3://` or `https://` address; UserError where it cannot be read."""
    return Request(project, address, fetch(address), propose, server)


def report_learned(request: Request, facts: Facts) -> None:
    print(f"{request.project}: the model learned from this batch together with a later one")


def undo_adoption(request: Request, facts: Facts) -> None:
    adoption.undo(request.project, request.path)


def check_against_model(request: Request, facts: Facts) -> None:
    check = run_check(request.project, request.address)
    print(check.summary)
    print(f"{request.project}: the report is {save_check(check, html=True)}")
    ledger.commit(request.project, f"Check {request.address} of {request.project}")


def report_tried(request: Request, facts: Facts) -> None:
    print(f"{request.project}: this batch was tried against this model. {facts.decision['reason']}")


def report_unlabelled(request: Request, facts: Facts) -> None:
    print(f"{request.project}: the batch has no outcomes to learn from yet; run the command again when they are known")


def adopt_batch(request: Request, facts: Facts) -> None:
    adoption.adopt(request.project, request.path, request.content, facts.pending, facts.check["reason"])


def ask_gate(request: Request, facts: Facts) -> None:
    if unfinished := record.interrupted_promotion(request.project):
        record.carry_out(request.project, unfinished)
    print(record.promote(request.project).reason)


def deploy_model(request: Request, facts: Facts) -> None:
    installed = installation.install(request.project, PROD, None, "")
    print(f"{request.project}: {installed.version.version} ({installed.hash[:12]}) is deployed")
    if request.server:
        server.reload_model(request.project, request.server, installed.hash)


def revert_model(request: Request, facts: Facts) -> None:
    reason = facts.decision.get("reason", "The gate has decided on this model before.")
    adoption.revert(request.project, request.path, request.digest, facts.revision, reason)


def nothing(request: Request, facts: Facts) -> None:
    """The state needs no action."""


ACTIONS: dict[State, Callable[[Request, Facts], None]] = {
    State.LEARNED: report_learned,
    State.INTERRUPTED: undo_adoption,
    State.UNCHECKED: check_against_model,
    State.KEPT: nothing,
    State.REJECTED: nothing,
    State.TRIED: report_tried,
    State.UNLABELLED: report_unlabelled,
    State.DRIFTED: adopt_batch,
    State.PROPOSED: nothing,
    State.ADOPTED: ask_gate,
    State.ACCEPTED: deploy_model,
    State.REFUSED: revert_model,
}

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.monitoring import retraining
from stages.monitoring.retraining import ACTIONS, ENDS, Facts, Request, State, retrain, state_of

NEW = Facts(
    adopted=False,
    reverted=False,
    revision="",
    pending=["data/toy/batches/a.csv"],
    check={},
    decision={},
    tagged=True,
    interrupted=False,
    propose=False,
    done=frozenset(),
)
CHECKED = frozenset({State.UNCHECKED})
ASKED = frozenset({State.ADOPTED})
ADOPTED = replace(NEW, adopted=True, pending=[], check={"verdict": "retrain"})


def checked(verdict: str, **changes: Any) -> Facts:
    return replace(NEW, check={"verdict": verdict}, done=CHECKED, **changes)


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        (NEW, State.UNCHECKED),
        (replace(NEW, check={"verdict": "retrain"}), State.UNCHECKED),  # by an earlier run, of perhaps another model
        (replace(NEW, check={"verdict": "retrain"}, interrupted=True), State.INTERRUPTED),
        (replace(NEW, reverted=True, check={"verdict": "retrain"}, decision={"accepted": False}), State.UNCHECKED),
        (checked("keep"), State.KEPT),
        (checked("refuse"), State.REJECTED),
        (checked("retrain"), State.DRIFTED),
        (replace(checked("retrain"), check={"verdict": "retrain", "batch": {"outcomes": 0}}), State.UNLABELLED),
        (replace(checked("retrain"), check={"verdict": "retrain", "batch": {"outcomes": 9}}), State.DRIFTED),
        (checked("retrain", decision={"accepted": False}), State.TRIED),
        (ADOPTED, State.ADOPTED),
        (replace(ADOPTED, propose=True), State.PROPOSED),
        (replace(ADOPTED, reverted=True), State.LEARNED),
        (replace(ADOPTED, done=ASKED), State.REFUSED),  # a second refusal adds no line to the ledger
        (replace(ADOPTED, decision={"accepted": False}), State.REFUSED),
        (replace(ADOPTED, decision={"accepted": True}, tagged=False), State.ADOPTED),
        (replace(ADOPTED, decision={"accepted": True}), State.ACCEPTED),
    ],
)
def test_the_state_follows_from_the_facts(facts: Facts, state: State) -> None:
    assert state_of(facts) is state


DECISIONS = st.sampled_from([{}, {"accepted": False}, {"accepted": True}])
DONE = st.sampled_from([frozenset(), CHECKED, ASKED])


@given(st.builds(Facts, check=st.just({"verdict": "retrain"}), decision=DECISIONS, done=DONE))
def test_whatever_the_facts_are_there_is_an_action(facts: Facts) -> None:
    assert state_of(facts) in ACTIONS
    assert set(ACTIONS) == set(State) > set(ENDS)


def test_an_action_that_changes_nothing_is_not_repeated_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(retraining, "gather_facts", lambda request, done: replace(NEW, interrupted=True, done=done))
    monkeypatch.setattr(retraining, "check_clean", lambda request, state: None)
    monkeypatch.setitem(ACTIONS, State.INTERRUPTED, lambda request, facts: asked.append(request))
    with pytest.raises(RuntimeError, match="INTERRUPTED"):
        retrain(Request("toy", "batch.csv", b"rows"))
    assert len(asked) == 1

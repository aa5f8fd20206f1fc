"""What the gate decides on the model in the workspace, and that decision as a line of the ledger. Writes nothing."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from stages.core.cli import UserError
from stages.core.files import Paths, read_json, read_parquet
from stages.projects._base import load_project
from stages.promotion import gate
from stages.promotion.checkout import model_hash_at
from stages.promotion.dvc import outdated_stages
from stages.promotion.evidence import Model, contest, known_rows, load_terms, meet_champion, rows_trained_on, try_artifact
from stages.promotion.gate import Comparison, Decision
from stages.promotion.git import git, uncommitted
from stages.promotion.lock import read_lock
from stages.promotion.tags import PROD, Version, in_stage
from stages.promotion.versioning import name_version
from stages.promotion.workspace import check_model, stages_of
from stages.runtime.identity import model_files, model_hash, outputs


@dataclass(frozen=True)
class Proposal:
    """What the gate decides on the workspace's model. `version` is the one it has, or gets when it is promoted;
    `challenger` and `metrics` are as in the ledger.
    """

    decision: Decision
    champion: Version | None
    comparison: Comparison | None
    metrics: dict[str, dict[str, float]]
    version: str
    challenger: dict[str, Any]


def propose(name: str) -> Proposal:
    """The decision on the workspace's model. UserError where a file is missing, here or for the champion."""
    project, terms, paths = load_project(name), load_terms(name), Paths(name)
    promote = terms.promote
    lock, test = read_lock(), read_parquet(paths.data / "test.parquet")
    manifest, evaluation = read_json(paths.model / "manifest.json"), read_json(paths.reports / "evaluation.json")
    metrics, rows = evaluation["metrics"], len(test)
    scores, artifact = try_artifact(project, paths.model, test)
    champion, label, before = in_stage(name), None, manifest
    compared: Comparison | str = f"There is no version in {PROD} to compare with."
    rates: list[dict[str, Any]] = []
    if champion:
        label, other = champion.version, meet_champion(project, champion, manifest, test)
        before, seen = other.manifest, rows_trained_on(project, champion)
        known = None if seen is None else known_rows(project, seen, test)
        compared, rates = contest(project, terms, (Model(manifest, scores), other), test, known, label)
    version, revision, why = name_version(name, champion, (before, manifest), lock)
    probability = np.zeros(rows) if isinstance(scores, str) else scores
    rules = (
        gate.check_floors(promote, metrics, project.unit),
        gate.check_gain(compared, metrics, rows, project, label),
        gate.check_fairness(rates, promote, label),
        gate.check_calibration(metrics, rows, promote, probability, manifest.get("interval", {}).get("coverage")),
        gate.check_baseline(metrics, evaluation["baseline"], project),
        gate.check_artifact(artifact, promote),
    )
    return Proposal(
        decision=gate.decide_promotion(rules, version, why),
        champion=champion,
        comparison=None if isinstance(compared, str) else compared,
        metrics=metrics,
        version=version,
        challenger={
            "revision": revision,
            "hash": model_hash(model_files(outputs(lock), name)),
            "data": manifest["data"]["sha256"],
            "test": outputs(lock)[str(paths.data / "test.parquet")],
            "estimator": manifest["estimator"],
        },
    )


def ledger_entry(proposal: Proposal, by: str) -> dict[str, Any]:
    """The proposal as a line of the ledger."""
    decision, champion, comparison = proposal.decision, proposal.champion, proposal.comparison
    return {
        "event": "promotion",
        "by": by,
        "reason": decision.reason,
        "accepted": decision.accepted,
        "version": proposal.version if decision.accepted else None,
        "stage": PROD if decision.accepted else None,
        "challenger": proposal.challenger,
        "champion": champion and describe_champion(champion),
        "rules": [asdict(rule) for rule in decision.rules],
        "metrics": proposal.metrics,
        "comparison": comparison and asdict(comparison),
    }


def describe_champion(champion: Version) -> dict[str, str]:
    """A champion as in the ledger."""
    digest = model_hash_at(champion.project, champion.revision)
    return {"version": champion.version, "revision": champion.revision, "hash": digest}


def settled(name: str, promotions: list[dict[str, Any]], digest: str) -> str | None:
    """Why there is nothing to decide on the model with this hash, if so: it was promoted once. If it has been replaced
    since, that had a reason which the gate does not know.
    """
    champion = in_stage(name)
    if champion and model_hash_at(name, champion.revision) == digest:
        return f"this model is {champion.version}, which is in {PROD}: nothing to decide"
    for entry in reversed(promotions):
        if entry["accepted"] and entry["challenger"]["hash"] == digest:
            back = f"python -m stages.deploy {name} --version {entry['version']}"
            return (
                f"this model was promoted as {entry['version']} and replaced: nothing to decide; `{back}` deploys it again"
            )
    return None


def check_committed() -> None:
    """UserError unless the last commit holds the code and the dvc.lock that the workspace has."""
    own = ("stages", "dvc.yaml", "dvc.lock", "params.yaml")
    untracked = git("ls-files", "--others", "--exclude-standard", "--", *own).splitlines()
    if changed := [*uncommitted(), *untracked]:
        raise UserError(f"the last commit, which gets the tag, lacks {', '.join(changed)}: commit or restore what changed")


def check_current(name: str) -> None:
    """UserError unless dvc.lock records the model that the workspace has, as made by the code there."""
    check_model(name)
    if stale := outdated_stages(stages_of(name)):
        raise UserError(f"out of date: {', '.join(stale)}. Run `dvc repro {' '.join(stale)}` and commit what it changed")

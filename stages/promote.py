"""Compares the model in the workspace with the one in prod by the rules of `promotion.gate`, writes the decision into the
ledger, commits that, and tags a model that is accepted as the next version and as the one in prod.

python -m stages.promote bankchurn

Exit code 0: promoted, or nothing to decide. 3: refused.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ruamel.yaml import YAML

from stages.core.cli import UserError, run
from stages.core.files import Paths
from stages.projects._base import load_project
from stages.promotion import gate, ledger, registry
from stages.promotion.evidence import Model, contest, known_rows, load_terms, meet_champion, rows_trained_on, try_artifact
from stages.promotion.gate import Comparison, Decision
from stages.promotion.registry import Version
from stages.promotion.versioning import name_version
from stages.runtime.identity import md5, model_files, model_hash, outputs

STAGE = "prod"
REFUSED = 3
VERDICTS = {True: "pass", False: "FAIL", None: "-"}


@dataclass(frozen=True)
class Proposal:
    """What the gate says of the workspace's model. `version` is the one it has, or gets when it is promoted; `challenger`
    and `metrics` are as in the ledger.
    """

    decision: Decision
    champion: Version | None
    comparison: Comparison | None
    metrics: dict[str, dict[str, float]]
    version: str
    challenger: dict[str, Any]


def consider(name: str) -> Proposal:
    """The decision on the workspace's model. Writes nothing. UserError where a file is missing, here or for the champion."""
    project, terms, paths = load_project(name), load_terms(name), Paths(name)
    promote = terms.promote
    lock = read(Path("dvc.lock"))
    manifest = json.loads(read(paths.model / "manifest.json"))
    evaluation = json.loads(read(paths.reports / "evaluation.json"))
    test = pd.read_parquet(io.BytesIO(read(paths.data / "test.parquet")))
    metrics, rows = evaluation["metrics"], len(test)
    scores, artifact = try_artifact(project, paths.model, test)
    champion, label, before = registry.in_stage(name, STAGE), None, manifest
    compared: Comparison | str = f"There is no version in {STAGE} to compare with."
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
        decision=gate.decide(rules, version, why),
        champion=champion,
        comparison=None if isinstance(compared, str) else compared,
        metrics=metrics,
        version=version,
        challenger={
            "revision": revision,
            "hash": model_hash(model_files(outputs(lock), name)),
            "data": manifest["data"]["sha256"],
            "estimator": manifest["estimator"],
        },
    )


def describe(version: Version) -> dict[str, str]:
    """A champion as in the ledger."""
    digest = registry.model_hash_at(version.project, version.revision)
    return {"version": version.version, "revision": version.revision, "hash": digest}


def ledger_entry(proposal: Proposal, by: str) -> dict[str, Any]:
    """The proposal as a line of the ledger."""
    decision, champion, comparison = proposal.decision, proposal.champion, proposal.comparison
    return {
        "event": "promotion",
        "by": by,
        "reason": decision.reason,
        "accepted": decision.accepted,
        "version": proposal.version if decision.accepted else None,
        "stage": STAGE if decision.accepted else None,
        "challenger": proposal.challenger,
        "champion": champion and describe(champion),
        "rules": [asdict(rule) for rule in decision.rules],
        "metrics": proposal.metrics,
        "comparison": comparison and asdict(comparison),
    }


def repeats(entry: dict[str, Any], last: dict[str, Any] | None) -> bool:
    """Whether it refuses the same model against the same champion by the same rules as the last decision did: that needs no
    second line, so that a workflow which tries every day does not fill the ledger.
    """

    def gist(decision: dict[str, Any]) -> Any:
        verdicts = [(rule["rule"], rule["passed"]) for rule in decision["rules"]]
        return decision["challenger"]["hash"], decision["champion"], verdicts

    return last is not None and not (entry["accepted"] or last["accepted"]) and gist(entry) == gist(last)


def carry_out(name: str, entry: dict[str, Any]) -> None:
    """Commit the ledger, and tag what is accepted. Each step does nothing where it was done, so that all can be repeated."""
    what = f"Promote {name} {entry['version']}" if entry["accepted"] else f"Refuse to promote {name}"
    ledger.commit(name, f"{what}\n\n{entry['reason']}")
    if entry["accepted"]:
        registry.register(name, entry["challenger"]["revision"], entry["version"], entry["reason"])
        registry.assign(name, entry["version"], entry["stage"], entry["reason"])


def is_unfinished(name: str, last: dict[str, Any] | None) -> bool:
    """Whether the last decision promoted a model that never got its tags."""
    if last is None or not last["accepted"]:
        return False
    revision = last["challenger"]["revision"]
    if Version(name, last["version"], revision) not in registry.versions(name):
        return True
    return not registry.git("tag", "--points-at", revision, "--list", f"{name}#{last['stage']}*")


def settled(name: str, promotions: list[dict[str, Any]], digest: str) -> str | None:
    """Why there is nothing to decide on the model with this hash, if so: it was promoted once. One that has been replaced
    since was so for a reason, which the gate knows nothing of.
    """
    champion = registry.in_stage(name, STAGE)
    if champion and registry.model_hash_at(name, champion.revision) == digest:
        return f"this model is {champion.version}, which is in {STAGE}: nothing to decide"
    for entry in reversed(promotions):
        if entry["accepted"] and entry["challenger"]["hash"] == digest:
            back = f"python -m stages.deploy {name} --version {entry['version']}"
            return f"this model was promoted as {entry['version']} and replaced: nothing to decide; `{back}` brings it back"
    return None


def check_workspace(name: str, lock: bytes) -> None:
    """UserError unless the last commit holds the code, and dvc.lock the model, that the workspace has."""
    own = ("stages", "dvc.yaml", "dvc.lock", "params.yaml")
    untracked = registry.git("ls-files", "--others", "--exclude-standard", "--", *own).splitlines()
    if changed := [*registry.uncommitted(), *untracked]:
        raise UserError(f"the last commit, which gets the tag, lacks {', '.join(changed)}: commit or restore what changed")
    for file, digest in model_files(outputs(lock), name).items():
        path = Paths(name).model / file
        if not path.exists() or md5(path) != digest:
            raise UserError(f"{path} is not the file that dvc.lock records: run `dvc checkout {path}`, or `dvc pull {path}`")
    stages = [f"{stage}@{name}" for stage in YAML(typ="safe").load(read(Path("dvc.yaml")))["stages"]]
    done = subprocess.run([sys.executable, "-m", "dvc", "status", "--json", *stages], capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"`dvc status` failed: {(done.stderr.strip().splitlines() or ['it said nothing'])[-1]}")
    if stale := list(json.loads(done.stdout)):
        raise UserError(f"out of date: {', '.join(stale)}. Run `dvc repro {' '.join(stale)}` and commit what it changed")


def read(path: Path) -> bytes:
    """A file of the workspace; UserError where it is not there."""
    if not path.exists():
        raise UserError(f"{path} is missing: run `dvc pull` or `dvc repro`")
    return path.read_bytes()


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="say what would be decided and write nothing")
    parser.add_argument("--push", action="store_true", help="push the branch and the tags to origin, all or nothing")
    parser.add_argument("--by", help="who decides; otherwise the GitHub account or Git's user")


def main(name: str, dry_run: bool = False, push: bool = False, by: str | None = None) -> int | None:
    registry.head()  # before all else, as it says so where there is no Git
    promotions = [entry for entry in ledger.read(name) if entry["event"] == "promotion"]
    last = promotions[-1] if promotions else None
    if last and is_unfinished(name, last):
        if dry_run:
            print(f"{name}: the promotion of {last['version']} was interrupted; without --dry-run it is finished first")
            return None
        carry_out(name, last)
        print(f"{name}: finished the promotion of {last['version']}, which was interrupted")
    lock = read(Path("dvc.lock"))
    check_workspace(name, lock)
    code = None
    if words := settled(name, promotions, model_hash(model_files(outputs(lock), name))):
        print(f"{name}: {words}")
    else:
        proposal = consider(name)
        for rule in proposal.decision.rules:
            print(f"{rule.rule:14}{VERDICTS[rule.passed]}")
        print(f"\n{proposal.decision.reason}")
        code = None if proposal.decision.accepted else REFUSED
        if not dry_run:
            entry = ledger_entry(proposal, by or registry.who())
            if not repeats(entry, last):
                ledger.append(name, entry)
            carry_out(name, entry)
    if push and not dry_run:
        registry.push(name)
    return code


if __name__ == "__main__":
    run(main, options)

"""Retraining by the drift check on a real stream, against never and always retraining.

python -m tests.benchmarks.bench_stream realtor-data.csv

The listings are cut into batches in their published order, which runs from Puerto Rico by the Virgin Islands through New
England to New York. The first trains and promotes a first model; each further batch is predicted by the model that a policy
then has, and only after that learned from: never, always, or by `stages.retrain` in a clone of this repository, with the
settings that are shipped and with `SETTINGS`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
from ruamel.yaml import YAML

from stages.core.files import Paths
from stages.core.schema import coerce
from stages.intake.sift import sift
from stages.modeling.metrics import fold_scores
from stages.modeling.scoring import load_scorer
from stages.monitoring.batch import checked_columns
from stages.projects._base import load_project

NAME = "realestate"
MODEL = Paths(NAME).model
METRICS = ("mae", "median_ape")
# For a stream whose every batch is of other places and comes with its prices: retrain for what other rows do to the model,
# not for their being others, and take a model that is not clearly worse, judged on more rows than a tenth of a batch.
SETTINGS: dict[str, dict[str, Any]] = {
    "prepare": {"test_size": 0.3},
    "drift": {"retrain_on": ["loss", "bias"], "bias": 0.4, "max_gaps": 0.3},
    "promote": {"margin": 0.05, "confidence": 0.8},
}


def call(folder: Path, *command: str, allowed: tuple[int, ...] = (0,)) -> None:
    """Run a Python module in a clone, its output into a log beside it."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(folder)}
    with folder.with_suffix(".log").open("a") as log:
        ended = subprocess.run([sys.executable, "-m", *command], cwd=folder, env=environment, stdout=log, stderr=log)
    if ended.returncode not in allowed:
        raise SystemExit(f"{' '.join(command)} ended with {ended.returncode}; see {log.name}")


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def configure(folder: Path, sources: list[Path], settings: dict[str, dict[str, Any]]) -> None:
    """Let the project learn from these files alone, with these settings."""
    yaml, file = YAML(), folder / "params.yaml"
    document = yaml.load(file)
    document[NAME]["ingest"]["sources"] = [str(source) for source in sources]
    for block, values in settings.items():
        document[NAME].setdefault(block, {}).update(values)
    yaml.dump(document, file)


def start(folder: Path, first: Path, settings: dict[str, dict[str, Any]]) -> Path:
    """A clone of this repository whose first model is trained on the first batch and in prod."""
    subprocess.run(["git", "clone", "--quiet", ".", str(folder)], check=True)
    git(folder, "config", "user.name", "stream")
    git(folder, "config", "user.email", "stream@localhost")
    configure(folder, [first], settings)
    call(folder, "dvc", "repro", f"explain@{NAME}")
    git(folder, "commit", "--quiet", "--all", "--message", "The first batch")
    call(folder, "stages.promote", NAME)
    return folder


def errors(model: Path, batch: Path) -> dict[str, float]:
    """The errors of the model in a folder on a batch."""
    project = load_project(NAME)
    rows = project.clean(sift(pd.read_csv(batch), checked_columns(project))[0])
    scores = load_scorer(project, model)(coerce(rows, project.columns)[0])
    found = fold_scores(rows[project.target].to_numpy(), scores, project.task)
    return {"rows": len(rows)} | {metric: found[metric] for metric in METRICS}


def step(folder: Path, batch: Path) -> dict[str, Any]:
    """What the loop made of a batch: the check's verdict and the evidence that counts, and the gate's decision if asked."""
    counted = YAML(typ="safe").load(folder / "params.yaml")[NAME]["drift"].get("retrain_on")
    file = folder / Paths(NAME).reports / "ledger.jsonl"
    before = len(file.read_text().splitlines())  # one line an entry
    call(folder, "stages.retrain", NAME, "--batch", str(batch), allowed=(0, 3))
    entries = {entry["event"]: entry for entry in map(json.loads, file.read_text().splitlines()[before:])}
    promotion = entries.get("promotion", {})
    return {
        "verdict": entries["drift"]["verdict"],
        "evidence": ", ".join(kind for kind in entries["drift"]["evidence"] if counted is None or kind in counted),
        "promoted": promotion["version"] if promotion.get("accepted") else "refused" if promotion else "",
        "reason": entries["drift"]["reason"],
        "decision": promotion.get("reason", ""),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--rows", type=int, default=500, help="of a batch")
    arguments = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="stream-"))
    frame = pd.read_csv(arguments.file)
    batches = []
    for number, place in enumerate(range(0, len(frame), arguments.rows)):
        batches.append(root / f"batch-{number:02}.csv")
        frame.iloc[place : place + arguments.rows].to_csv(batches[-1], index=False)

    policies = {"shipped": start(root / "shipped", batches[0], {}), "set for it": start(root / "set", batches[0], SETTINGS)}
    loops = tuple(policies)
    for name in ("never", "always"):
        policies[name] = shutil.copytree(root / "set", root / name, symlinks=True)
    results = []
    for number, batch in enumerate(batches[1:], 1):
        entry: dict[str, Any] = {"batch": number}
        for policy, folder in policies.items():
            entry |= {f"{policy}: {key}": value for key, value in errors(folder / MODEL, batch).items()}
        for policy in loops:
            if (root / f"{policy}: before").exists():  # the model that the last batch replaced
                entry[f"{policy}: before"] = errors(root / f"{policy}: before", batch)["mae"]
                shutil.rmtree(root / f"{policy}: before")
            shutil.copytree(policies[policy] / MODEL, root / f"{policy}: before")
            entry |= {f"{policy}: {key}": value for key, value in step(policies[policy], batch).items()}
            if not entry[f"{policy}: promoted"].startswith("v"):
                shutil.rmtree(root / f"{policy}: before")
            print(number, policy, entry[f"{policy}: reason"], entry[f"{policy}: decision"], sep=" | ", flush=True)
        configure(policies["always"], batches[: number + 1], {})
        call(policies["always"], "dvc", "repro", f"export@{NAME}")
        results.append(entry)
    found = pd.DataFrame(results)
    for policy in loops:
        shown = ["never: mae", f"{policy}: before", f"{policy}: mae", "always: mae"]
        shown += [f"{policy}: {key}" for key in ("verdict", "evidence", "promoted")]
        print(found[["batch", *shown]].to_markdown(index=False, floatfmt=",.0f"))
    for policy in policies:
        rows = found[f"{policy}: rows"]
        mae, ape = ((found[f"{policy}: {metric}"] * rows).sum() / rows.sum() for metric in METRICS)
        trained = {"never": 0, "always": len(found)}.get(policy)
        if trained is None:
            trained = int((found[f"{policy}: verdict"] == "retrain").sum())
        print(f"{policy}: {trained} trainings, mean MAE {mae:,.0f}, mean of the median APE {ape:.1%}")


if __name__ == "__main__":
    main()

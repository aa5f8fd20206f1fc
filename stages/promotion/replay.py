"""Making a logged prediction again from the revision that made it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel, ValidationError

from stages.core.cli import UserError
from stages.core.files import read_json
from stages.promotion.cache import fetch_files
from stages.promotion.checkout import checkout, model_hash_at, run_script, score_rows, tree
from stages.promotion.lock import lock_at
from stages.runtime.identity import md5, outputs


class Output(BaseModel):
    """The part of an answer that replaying needs."""

    prediction: float
    probability: float | None = None

    @property
    def score(self) -> float:
        """What the model gave: the probability of class 1, or the value."""
        return self.prediction if self.probability is None else self.probability


class Logged(BaseModel):
    """A prediction as the server's log shows it."""

    prediction_id: str
    time: str
    project: str
    version: str | None
    revision: str
    hash: str
    input: dict[str, Any]
    output: Output


def read_logged(answer: Any, source: str) -> Logged:
    """A logged prediction; UserError if it is none, or has no commit to go back to."""
    try:
        logged = Logged.model_validate(answer)
    except ValidationError as error:
        wrong = ", ".join(".".join(map(str, item["loc"])) or "all" for item in error.errors())
        raise UserError(f"{source} holds no prediction as GET /v1/predictions/{{id}} answers; wrong is {wrong}") from None
    if not re.fullmatch("[0-9a-f]{7,64}", logged.revision):
        raise UserError(
            f"prediction {logged.prediction_id} was made at revision {logged.revision!r}, which is no commit: code that was "
            "not committed cannot be restored"
        )
    return logged


def retrain_model(project: str, revision: str, folder: Path) -> None:
    """Train the model of a commit again in its tree, on its training data or, where that is lost, from its sources;
    UserError unless each file comes out as the commit's dvc.lock records it.
    """
    recorded = outputs(lock_at(revision))
    inputs = [f"data/{project}/train.parquet", f"data/{project}/test.parquet", f"reports/{project}/data.json"]
    scripts = ["train", "export"]
    try:
        fetch_files({path: recorded[path] for path in inputs}, folder)
    except UserError as lost:
        print(f"{lost}. The data is made again from its sources")
        scripts = ["ingest", "prepare", *scripts]
    for script in scripts:
        print(f"python -m stages.{script} {project}", flush=True)
        run_script(folder, f"stages.{script}", project)
    made = {path: digest for path, digest in recorded.items() if path in inputs or path.startswith(f"models/{project}/")}
    if changed := [path for path, digest in made.items() if md5(folder / path) != digest]:
        raise UserError(f"{', '.join(changed)} came out different from what dvc.lock of {revision[:12]} records")


def replay_prediction(logged: Logged, *, retrain: bool = False) -> tuple[dict[str, Any], float]:
    """The manifest of the model that made a prediction, and the score that it gives now; the model is fetched, or trained
    again. UserError where the model of the revision is not the one that made the prediction.
    """
    project, revision = logged.project, logged.revision
    if (found := model_hash_at(project, revision)) != logged.hash:
        raise UserError(f"the model of {revision[:12]} has the hash {found}, the one that predicted has {logged.hash}")
    with tree(revision) if retrain else checkout(project, revision) as folder:
        if retrain:
            retrain_model(project, revision, folder)
        score = score_rows(folder, project, pd.DataFrame([logged.input]))[0]
        return read_json(folder / "models" / project / "manifest.json"), float(score)


def describe_replay(logged: Logged, manifest: dict[str, Any], score: float) -> str:
    """What made the prediction, and whether it came out the same."""
    data, difference = manifest["data"], score - logged.output.score
    return f"""\
prediction  {logged.prediction_id} of {logged.project}, version {logged.version}, {logged.time}
data        {data["sha256"]} (SHA-256 of train.parquet{", simulated" if data["simulated"] else ""})
code        {logged.revision}
parameters  {json.dumps(manifest["params"], sort_keys=True)}
model       {logged.hash} ({manifest["estimator"]})
logged      {logged.output.score!r}
replayed    {score!r}
{f"different by {difference!r}" if difference else "identical"}"""

"""Makes a logged prediction again, with the code, the model and the row that made it, and compares the scores bit for bit.

python -m stages.replay 0199b2c4-5e0f-7d1a-8c3e-2f6a1b9d4e70 --url http://127.0.0.1:8000
python -m stages.replay --file prediction.json --retrain

--file holds what GET /v1/predictions/{id} answered. The model is fetched by its revision, or with --retrain trained again on
the data of that revision; either must come to the hash that was logged. Exits with 1 where the score differs.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
from pydantic import BaseModel, ValidationError

from stages.core.cli import UserError
from stages.core.files import read_json
from stages.promotion import registry
from stages.promotion.cache import fetch_files
from stages.promotion.server import call
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
    """A logged prediction; UserError for what is none, or has no commit to go back to."""
    try:
        logged = Logged.model_validate(answer)
    except ValidationError as error:
        wrong = ", ".join(".".join(map(str, item["loc"])) or "all" for item in error.errors())
        raise UserError(f"{source} holds no prediction as GET /v1/predictions/{{id}} answers; wrong is {wrong}") from None
    if not re.fullmatch("[0-9a-f]{7,64}", logged.revision):
        raise UserError(
            f"prediction {logged.prediction_id} was made at revision {logged.revision!r}, which is no commit: what was not "
            "committed cannot be brought back"
        )
    return logged


def retrain(project: str, revision: str, folder: Path) -> None:
    """Make the model of a commit anew in its tree, on its training data or, where that is lost, from its sources; UserError
    unless each file comes out as the commit's dvc.lock records it.
    """
    recorded = outputs(registry.lock_at(revision))
    inputs = [f"data/{project}/train.parquet", f"data/{project}/test.parquet", f"reports/{project}/data.json"]
    scripts = ["train", "export"]
    try:
        fetch_files({path: recorded[path] for path in inputs}, folder)
    except UserError as lost:
        print(f"{lost}. So the data is made anew as well")
        scripts = ["ingest", "prepare", *scripts]
    for script in scripts:
        print(f"python -m stages.{script} {project}", flush=True)
        registry.run_script(folder, f"stages.{script}", project)
    made = {path: digest for path, digest in recorded.items() if path in inputs or path.startswith(f"models/{project}/")}
    if changed := [path for path, digest in made.items() if md5(folder / path) != digest]:
        raise UserError(f"made anew, {', '.join(changed)} came out other than dvc.lock of {revision[:12]} records")


def replay(logged: Logged, anew: bool) -> tuple[dict[str, Any], float]:
    """The manifest of the model that made a prediction, and the score that it gives now; UserError where the model of the
    revision is not the one that made it.
    """
    project, revision = logged.project, logged.revision
    if (found := registry.model_hash_at(project, revision)) != logged.hash:
        raise UserError(f"the model of {revision[:12]} has the hash {found}, the one that predicted has {logged.hash}")
    with registry.tree(revision) if anew else registry.checkout(project, revision) as folder:
        if anew:
            retrain(project, revision, folder)
        score = registry.score_rows(folder, project, pd.DataFrame([logged.input]))[0]
        return read_json(folder / "models" / project / "manifest.json"), float(score)


def describe(logged: Logged, manifest: dict[str, Any], score: float) -> str:
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


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("prediction_id", nargs="?", help="the id of a logged prediction")
    which.add_argument("--file", type=Path, help="a logged prediction as JSON")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the server that logged it; default: %(default)s")
    parser.add_argument("--key", help="its API key; default: VERITABLE_API_KEY")
    parser.add_argument("--retrain", action="store_true", help="train the model again instead of fetching it")
    return parser.parse_args()


def main(prediction_id: str | None, file: Path | None, url: str, key: str | None, retrain: bool) -> int:
    if file:
        try:
            answer = read_json(file)
        except (OSError, ValueError) as error:
            raise UserError(f"{file} cannot be read: {error}") from None
    else:
        address = f"{url.rstrip('/')}/v1/predictions/{quote(str(prediction_id), safe='')}"
        answer = call(address, **({"X-API-Key": key} if key else {}))
    logged = read_logged(answer, str(file or url))
    manifest, score = replay(logged, retrain)
    print(describe(logged, manifest, score))
    return int(score != logged.output.score)


if __name__ == "__main__":
    try:
        sys.exit(main(**vars(parse())))
    except UserError as error:
        sys.exit(f"replay: {error}")

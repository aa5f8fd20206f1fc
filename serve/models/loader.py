"""Loading a project's artifacts: verified against their hashes and tested on a known row."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import yaml

from serve.models.fallback import PipelineScorer
from serve.models.history import read_history, version_of
from serve.models.rows import RowCodec
from serve.settings import Settings
from stages.projects._base import Columns, Project, load_project
from stages.runtime.identity import md5, model_files, model_hash, outputs
from stages.runtime.population import Population
from stages.runtime.probe import agrees
from stages.runtime.scorer import Scorer
from stages.runtime.shapley import Explainer

FILES = ("manifest.json", "plan.json", "population.json", "scorer.onnx", "explainer.npz")
SLOW = 0.002  # seconds; a longer explanation is computed in a thread, so that predictions need not wait for it


class LoadError(Exception):
    """A project's artifacts cannot be served: the message says why and what to do."""


@dataclass(frozen=True)
class Model:
    """A loaded model. It never changes, so a request that began with it ends with it."""

    project: Project
    codec: RowCodec
    scorer: Scorer | PipelineScorer
    explainer: Explainer | None
    manifest: dict[str, Any]
    population: Population
    evaluation: dict[str, Any]
    card: str
    hash: str
    revision: str
    version: str | None
    stage: str | None
    loaded_at: datetime
    explains_slowly: bool

    @property
    def threshold(self) -> float:
        """The probability from which on a row counts as positive."""
        return float(self.manifest["threshold"])


def load_model(name: str, settings: Settings) -> Model:
    """The model in `models/<name>`; LoadError where a file is missing or altered, or the known row gets another score."""
    folder = settings.root / "models" / name
    try:
        return read_model(load_project(name), folder, settings)
    except LoadError:
        raise
    except Exception as error:  # whatever a library makes of a broken file
        raise LoadError(f"{folder}: cannot be loaded ({type(error).__name__}: {error})") from error


def read_model(project: Project, folder: Path, settings: Settings) -> Model:
    """The model in a folder, verified and tried."""
    reports = settings.root / "reports" / project.name
    content = read_files(folder, project.name)
    deployment = matching_deployment(folder, content)
    expected = deployment["files"] if deployment else expected_hashes(settings.root, project.name)
    verify(content, expected, folder)
    identity = model_hash(expected)
    try:
        version, stage = version_of(read_history(project.name, settings.root), identity)
    except ValueError:  # the history page reports it; predicting needs no ledger
        version = stage = None
    manifest, plan = json.loads(content["manifest.json"]), json.loads(content["plan.json"])
    needed = {"data", "threshold" if project.task == "classification" else "interval"}
    if missing := needed - manifest.keys():
        raise LoadError(f"{folder / 'manifest.json'} lacks {', '.join(sorted(missing))}: run `dvc repro`")
    scorer = build_scorer(project, plan, content["scorer.onnx"], folder, expected)
    explainer = Explainer.load(project, scorer, content["explainer.npz"]) if isinstance(scorer, Scorer) else None
    codec = RowCodec(project, settings.max_batch)
    columns = try_probe(codec, scorer, plan["probe"], folder)
    start = time.perf_counter()
    if explainer is not None:
        explainer.explain(columns)
    return Model(
        project=project,
        codec=codec,
        scorer=scorer,
        explainer=explainer,
        manifest=manifest,
        population=msgspec.json.decode(content["population.json"], type=Population),
        evaluation=read_report(reports / "evaluation.json", {}),
        card=(reports / "card.md").read_text(encoding="utf-8") if (reports / "card.md").exists() else "",
        hash=identity,
        revision=deployment["revision"] if deployment else settings.revision or git_revision(settings.root),
        version=deployment["version"] if deployment else version,
        stage=stage,
        loaded_at=datetime.now(UTC),
        explains_slowly=time.perf_counter() - start > SLOW,
    )


def read_files(folder: Path, name: str, files: tuple[str, ...] = FILES) -> dict[str, bytes]:
    """The artifacts' bytes by file name."""
    missing = [file for file in files if not (folder / file).is_file()]
    if missing:
        raise LoadError(
            f"{folder} lacks {', '.join(missing)}: run `dvc repro export@{name}` or `dvc pull`, or deploy a version there"
        )
    return {file: (folder / file).read_bytes() for file in files}


def expected_hashes(root: Path, name: str) -> dict[str, str]:
    """MD5 by file name, as dvc.lock records them; LoadError without it."""
    path = root / "dvc.lock"
    if not path.exists():
        raise LoadError(
            f"there is no {path} to verify the model against: run `dvc repro`, or, where `stages.deploy` wrote {root}, "
            f"`python -m stages.deploy {name} --to {root}` in the checkout"
        )
    try:
        return model_files(recorded(path.read_bytes()), name)
    except (yaml.YAMLError, LookupError, TypeError, AttributeError) as error:
        raise LoadError(f"{path} is not what DVC writes ({type(error).__name__}): run `git checkout dvc.lock`") from error


recorded = lru_cache(1)(outputs)  # once for all projects, as YAML is slow


def matching_deployment(folder: Path, content: dict[str, bytes]) -> dict[str, Any] | None:
    """What `stages.deploy` recorded about the version it installed; None without a record, or for another model."""
    path = folder / "deployment.json"
    if not path.exists():
        return None
    deployment: dict[str, Any] = json.loads(path.read_bytes())
    return deployment if all(deployment["files"].get(file) == md5(data) for file, data in content.items()) else None


def verify(content: dict[str, bytes], expected: dict[str, str], folder: Path) -> None:
    """LoadError for a file that is not the one the pipeline made."""
    for file, data in content.items():
        if expected.get(file) != md5(data):
            raise LoadError(
                f"{folder / file} is not the file that dvc.lock records ({md5(data)} instead of {expected.get(file)}): "
                "run `dvc checkout`, or `dvc repro` if the change is meant"
            )


def build_scorer(
    project: Project, plan: dict[str, Any], graph: bytes, folder: Path, expected: dict[str, str]
) -> Scorer | PipelineScorer:
    """The exported scorer, or the pipeline itself, verified before it is unpickled, for a model that has none."""
    if plan["exported"]:
        return Scorer(project, plan["plan"], graph)
    pickled = read_files(folder, project.name, ("model.joblib",))
    verify(pickled, expected, folder)
    try:
        return PipelineScorer(project, pickled["model.joblib"], plan["reason"])
    except ImportError as error:
        raise LoadError(f"{folder}: {plan['reason']}, and the pipeline needs {error.name}, which is not installed") from None


def try_probe(codec: RowCodec, scorer: Scorer | PipelineScorer, probe: dict[str, Any], folder: Path) -> Columns:
    """The columns of a known row; LoadError unless its score is that of the pipeline. Warms the scorer up."""
    columns = codec.columns([codec.read_row(json.dumps(probe["row"]).encode())])
    found = float(scorer.score(columns)[0])
    if not agrees(found, probe["score"]):
        raise LoadError(f"{folder}: scores a known row {found!r} instead of {probe['score']!r}")
    return columns


def read_report(path: Path, default: Any) -> Any:
    """A JSON report, or the default where it was not made."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else default


def git_revision(root: Path) -> str:
    """The commit that is checked out, marked `-dirty` where what makes a model differs from it; `unknown` outside Git."""
    commands = ("rev-parse", "HEAD"), ("status", "--porcelain", "--", "dvc.lock", "dvc.yaml", "params.yaml", "stages")
    try:
        head, changed = (
            subprocess.run(["git", *command], cwd=root, capture_output=True, text=True, check=True).stdout.strip()
            for command in commands
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head}-dirty" if changed else head

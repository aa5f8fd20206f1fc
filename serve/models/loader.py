"""Loading a project's artifacts: verified against their hashes, checked to be of one model, and tried."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from serve.models.artifacts import Deployment, InvalidFileError, Plan, read_manifest, read_population, read_typed
from serve.models.history import read_history, version_of
from serve.models.release import with_release
from serve.models.reports import ReportError, read_card, read_report
from serve.models.rows import RowCodec
from serve.settings import Settings
from stages.projects._base import Project, load_project
from stages.runtime.identity import md5, model_files, model_hash, outputs
from stages.runtime.population import Population
from stages.runtime.scorer import Scorer
from stages.runtime.shapley import Explainer
from stages.runtime.trained import FILE as ADVERTS
from stages.runtime.trained import Trained

FILES = ("manifest.json", "plan.json", "population.json", "scorer.onnx", "explainer.npz")


class LoadError(Exception):
    """A project's artifacts cannot be served: the message says why and what to do."""


@dataclass(frozen=True)
class Model:
    """A loaded model. It never changes, so a request that began with it ends with it. `plan` says how a row is
    encoded, `probe` is the known row with its score, `trained` knows the adverts that it was trained on (None for a model of
    an older pipeline), `faults` say which of the model's reports cannot be shown.
    """

    project: Project
    codec: RowCodec
    scorer: Scorer
    explainer: Explainer
    manifest: dict[str, Any]
    population: Population
    plan: list[dict[str, Any]]
    probe: dict[str, Any]
    trained: Trained | None
    evaluation: dict[str, Any]
    card: str
    faults: tuple[str, ...]
    hash: str
    revision: str
    version: str | None
    stage: str | None
    loaded_at: datetime

    @property
    def threshold(self) -> float:
        """The probability from which on a row counts as positive."""
        return float(self.manifest["threshold"])


def load_model(name: str, settings: Settings) -> Model:
    """The model in `models/<name>`, whose files are verified and of one model; LoadError says why it cannot be."""
    folder = settings.root / "models" / name
    try:
        return read_model(load_project(name), folder, settings)
    except LoadError:
        raise
    except InvalidFileError as error:
        raise LoadError(f"{error}: run `dvc checkout`, or `dvc repro explain@{name}`") from None
    except Exception as error:  # whatever a library makes of a broken file
        raise LoadError(f"{folder}: cannot be loaded ({type(error).__name__}: {error})") from error


def read_model(project: Project, folder: Path, settings: Settings) -> Model:
    """The model in a folder."""
    content = read_files(folder, project.name, FILES)
    deployment = matching_deployment(folder, content)
    expected = deployment["files"] if deployment else expected_hashes(settings.root, project.name)
    if ADVERTS in expected:
        content |= read_files(folder, project.name, (ADVERTS,))
    verify(content, expected, folder)
    manifest = read_manifest(content["manifest.json"], folder / "manifest.json", project)
    population = read_population(content["population.json"], folder / "population.json", project)
    plan = read_plan(content["plan.json"], folder / "plan.json")
    scorer = Scorer(project, plan["plan"], content["scorer.onnx"])
    explainer = Explainer.load(project, scorer, content["explainer.npz"])
    trained = Trained.load(project, content[ADVERTS]) if ADVERTS in content else None
    named = {
        "manifest.json": manifest.get("model"), "population.json": population.get("model"), "plan.json": plan.get("model"),
        "scorer.onnx": scorer.model, "explainer.npz": explainer.model,
    } | ({ADVERTS: trained.model} if trained else {})  # fmt: skip
    if deployment is None or any(named.values()):  # an old version names none, and was deployed as one commit records it
        check_one_model(named, expected.get("model.joblib"), folder)
    identity = model_hash(expected)
    try:
        events = read_history(project.name, settings.root)
    except ValueError:  # the history page reports it; predicting needs no ledger
        events = []
    version, stage = version_of(events, identity)
    evaluation, card, faults = read_reports(settings.root / "reports" / project.name, manifest)
    return Model(
        project=project,
        codec=RowCodec(project, settings.max_batch),
        scorer=scorer,
        explainer=explainer,
        manifest=manifest,
        population=population,
        plan=plan["plan"],
        probe=plan["probe"],
        trained=trained,
        evaluation=evaluation,
        card=with_release(card, events, identity),
        faults=faults,
        hash=identity,
        revision=deployment["revision"] if deployment else settings.revision or making_revision(settings.root, expected),
        version=deployment["version"] if deployment else version,
        stage=stage,
        loaded_at=datetime.now(UTC),
    )


def read_plan(content: bytes, path: Path) -> dict[str, Any]:
    """The plan; LoadError for a model that has no exported form, which only a pickle could score."""
    found: dict[str, Any] = read_typed(content, dict[str, Any], path)
    if found.get("exported", True) is not True:
        reason = found.get("reason")
        raise LoadError(
            f"{path.parent}: the model could not be exported ({reason}), and the server never unpickles one: train an "
            f"estimator that can be exported (stages/README.md), then run `dvc repro explain@{path.parent.name}`"
        )
    plan: dict[str, Any] = read_typed(content, Plan, path)
    return plan


def check_one_model(named: dict[str, str | None], digest: str | None, folder: Path) -> None:
    """LoadError unless every file names the same model.joblib, the one that is recorded."""
    if others := [file for file, name in named.items() if name is None or name != digest]:
        raise LoadError(
            f"{folder}: {', '.join(others)} {'were' if len(others) > 1 else 'was'} not made from the model.joblib that is "
            f"recorded ({digest}): run `dvc repro explain@{folder.name}`, which makes all files of a model"
        )


def read_reports(folder: Path, manifest: dict[str, Any]) -> tuple[dict[str, Any], str, tuple[str, ...]]:
    """The evaluation and the card, empty where there is none, and why one that there is cannot be shown."""
    evaluation: dict[str, Any] = {}
    card, faults = "", []
    try:
        evaluation = read_report(folder / "evaluation.json", manifest) or {}
    except ReportError as error:
        faults.append(f"{error}.")
    try:
        card = read_card(folder / "card.md", manifest)
    except ReportError as error:
        faults.append(f"{error}.")
    return evaluation, card, tuple(faults)


def read_files(folder: Path, name: str, files: tuple[str, ...]) -> dict[str, bytes]:
    """The artifacts' bytes by file name."""
    missing = [file for file in files if not (folder / file).is_file()]
    if missing:
        raise LoadError(
            f"{folder} lacks {', '.join(missing)}: run `dvc repro explain@{name}` or `dvc pull`, or deploy a version there"
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


def deployed(folder: Path) -> tuple[int, bytes] | None:
    """Time and content of deployment.json, which change with every deployment into a folder; None without one, as for a
    moment while a deployment swaps the folder.
    """
    path = folder / "deployment.json"
    try:
        return path.stat().st_mtime_ns, path.read_bytes()
    except FileNotFoundError:
        return None


def matching_deployment(folder: Path, content: dict[str, bytes]) -> dict[str, Any] | None:
    """What `stages.deploy` recorded about the version it installed; None without a record, or for another model."""
    path = folder / "deployment.json"
    if not path.exists():
        return None
    deployment: dict[str, Any] = read_typed(path.read_bytes(), Deployment, path)
    return deployment if all(deployment["files"].get(file) == md5(data) for file, data in content.items()) else None


def verify(content: dict[str, bytes], expected: dict[str, str], folder: Path) -> None:
    """LoadError for a file that is not the one the pipeline made."""
    for file, data in content.items():
        if expected.get(file) != md5(data):
            raise LoadError(
                f"{folder / file} is not the file that dvc.lock records ({md5(data)} instead of {expected.get(file)}): "
                "run `dvc checkout`, or `dvc repro` if the change is meant"
            )


def making_revision(root: Path, files: dict[str, str]) -> str:
    """The commit that recorded these files, MD5 by name, in dvc.lock. The one that is checked out, marked `-dirty`, where
    what makes a model differs from it, as dvc.lock does after a training that was not committed; `unknown` outside Git.
    """
    try:
        if git(root, "status", "--porcelain", "--", "dvc.lock", "dvc.yaml", "params.yaml", "stages"):
            return f"{git(root, 'rev-parse', 'HEAD')}-dirty"
        # The last commit that added or removed one of the hashes; since then dvc.lock has held them all.
        made = git(root, "log", "-1", "--format=%H", "--extended-regexp", "-G", "|".join(files.values()), "--", "dvc.lock")
        return made or git(root, "rev-parse", "HEAD")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def git(root: Path, *arguments: str) -> str:
    """What a Git command prints."""
    return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout.strip()

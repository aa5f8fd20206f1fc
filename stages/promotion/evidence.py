"""What the gate judges by: how the files of the workspace's model behave, and both models' scores of the same test rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import joblib
import numpy as np
import pandas as pd

from stages.core.cli import UserError
from stages.core.files import Paths, read_json, read_parquet
from stages.core.params import load_block, load_seed
from stages.core.schema import coerce, to_frame
from stages.evaluation.scores import score
from stages.evaluation.segments import MIN_ROWS, fairness
from stages.evaluation.settings import Evaluate
from stages.exporting.proof import largest_difference
from stages.modeling.metrics import bootstrap
from stages.projects._base import Project, columns_of
from stages.promotion.cache import fetch_files
from stages.promotion.checkout import checkout, score_rows
from stages.promotion.gate import Artifact, Comparison, compare_models
from stages.promotion.lock import lock_at
from stages.promotion.settings import Promote
from stages.promotion.tags import Version
from stages.runtime.identity import outputs
from stages.runtime.probe import relative_difference
from stages.runtime.scorer import Scorer
from stages.runtime.wording import count, listed

TIMED_ROWS = 50


@dataclass(frozen=True)
class Model:
    """A model as the gate sees it: its manifest, and its scores of the test rows, shape (rows,), or why it gives none."""

    manifest: dict[str, Any]
    scores: np.ndarray | str


def try_artifact(project: Project, folder: Path, test: pd.DataFrame) -> tuple[np.ndarray | str, Artifact]:
    """The scores that the files in a folder give the test rows, or that they give none, and how they behaved. Unpickles the
    model: only for one that the code of the workspace made.
    """
    try:
        model, plan = joblib.load(folder / "model.joblib"), read_json(folder / "plan.json")
        probe = plan["probe"]
        known = pd.DataFrame([probe["row"]])
        picks = [number % len(test) for number in range(TIMED_ROWS + 1)]
        scorer = Scorer(project, plan["plan"], (folder / "scorer.onnx").read_bytes())
        columns = coerce(test, project.columns)[0]
        scores, found = scorer.score(columns), scorer.score(coerce(known, project.columns)[0])
        difference = largest_difference(scorer, model, test, project)
        latency = median_ms(scorer.score, [{key: array[[pick]] for key, array in columns.items()} for pick in picks])
        if not np.isfinite([*scores, *found]).all():
            raise ValueError("it gives scores that are no numbers")
    except Exception as error:  # whatever a library makes of a broken file
        nothing = "It gives no scores that could be compared with the champion's."
        return nothing, Artifact(str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}")
    return scores, Artifact("", difference, relative_difference(found[0], probe["score"]), latency)


def median_ms(score_row: Callable[[Any], Any], rows: list[Any]) -> float:
    """The median time of scoring one row, in milliseconds; the first row only warms up."""
    times = []
    for row in rows:
        start = time.perf_counter()
        score_row(row)
        times.append(time.perf_counter() - start)
    return float(1000 * np.median(times[1:]))


def meet_champion(project: Project, version: Version, manifest: dict[str, Any], test: pd.DataFrame) -> Model:
    """The champion and its scores by its own code, for a challenger with this manifest; UserError where a file of it is not
    found. The scores of another target, or from rows that lack a column, could not be compared.
    """
    with checkout(project.name, version.revision) as folder:
        its = read_json(folder / Paths(project.name).model / "manifest.json")
        if other := [key for key in ("task", "target") if its[key] != manifest[key]]:
            reason = f"as its {listed(other)} is another"
        elif lacking := [column["name"] for column in its["columns"] if column["name"] not in test]:
            reason = f"as it takes {listed(lacking)}, which the rows no longer have"
        else:
            return Model(its, score_rows(folder, project.name, test.drop(columns=project.target)))
    name, command = version.version, f"gto deprecate {project.name} {version.version} prod"
    advice = f"`{command}` withdraws that one, so that this is judged as the first."
    return Model(its, f"It cannot be compared with {name}, {reason}; {advice}")


def rows_trained_on(project: Project, version: Version) -> pd.DataFrame | None:
    """The champion's training rows, from the cache or the remote; None where they are in neither."""
    path = str(Paths(project.name).data / "train.parquet")
    with TemporaryDirectory(prefix="train.") as folder:
        try:
            fetch_files({path: outputs(lock_at(version.revision))[path]}, Path(folder))
        except UserError:
            return None
        return read_parquet(Path(folder, path))


def known_rows(project: Project, seen: pd.DataFrame, test: pd.DataFrame) -> np.ndarray:
    """Mask of the test rows, shape (rows,), that are among the rows `seen`, or about the same object as one of them."""
    columns = tuple(column for column in columns_of(project.record) if column.name in seen and column.name in test)
    old, new = (to_frame(coerce(frame, columns)[0]) for frame in (seen, test))
    old_hashes, new_hashes = (pd.util.hash_pandas_object(frame, index=False).to_numpy() for frame in (old, new))
    known = np.isin(new_hashes, old_hashes)
    if project.groups and len(columns) == len(project.record.model_fields):
        groups = project.groups(pd.concat([old, new], ignore_index=True))
        known |= groups[len(old) :].isin(groups[: len(old)]).to_numpy()
    return known


@dataclass(frozen=True)
class Terms:
    """What the params say of comparing two models."""

    promote: Promote
    resamples: int
    seed: int


def load_terms(project: str) -> Terms:
    """The terms in params.yaml."""
    return Terms(load_block(project, "promote", Promote), load_block(project, "evaluate", Evaluate).resamples, load_seed())


def contest(
    project: Project, terms: Terms, models: tuple[Model, Model], test: pd.DataFrame, known: np.ndarray | None, version: str
) -> tuple[Comparison | str, list[dict[str, Any]]]:
    """Challenger and champion on the test rows that are not `known` to the champion, None where that is unknown, and of
    each what `stages.evaluation.segments.fairness` says by sensitive column; or why they cannot be compared. Rows that
    one of them refuses, whose score is NaN, are left out.
    """
    kept = np.ones(len(test), dtype=bool) if known is None else ~known
    scored: list[tuple[dict[str, Any], np.ndarray]] = []
    for model in models:
        if isinstance(model.scores, str):
            return model.scores, []
        scored.append((model.manifest, model.scores))
        kept &= ~np.isnan(model.scores)
    rows, target = test[kept], test[project.target].to_numpy()[kept]
    if len(rows) < MIN_ROWS or (project.task == "classification" and len(np.unique(target)) < 2):
        few = f"{count(len(rows))} of the {count(len(test), 'test row')} are left to judge by"
        return f"It cannot be compared with {version}: without the rows that this was trained on or refuses, {few}.", []
    measured, rates = [], []
    for manifest, scores in ((manifest, scores[kept]) for manifest, scores in scored):
        metrics = partial(score, project, manifest, target, scores)
        point, draws = bootstrap(metrics, len(rows), terms.resamples, terms.seed)
        measured.append((point[project.primary_metric], draws[project.primary_metric]))
        flagged = scores >= manifest.get("threshold", np.inf)
        rates.append({column: fairness(target, flagged, rows[column]) for column in project.sensitive})
    left_out = None if known is None else int(known.sum())
    return compare_models(project.primary_metric, measured, terms.promote, len(rows), left_out), rates

"""The live model as a check sees it: what it was trained on, how it did on rows it had not seen, what a batch does to it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import ttest_ind

from stages.core.cli import UserError
from stages.core.files import Paths, read_json, sha256
from stages.core.schema import coerce, to_frame
from stages.deploy import lying
from stages.evaluation.scores import score
from stages.modeling.metrics import bootstrap, interval
from stages.monitoring.batch import one_of_each
from stages.monitoring.tests_of_drift import encode, pattern_test
from stages.projects._base import Columns, Project, columns_of, load_project
from stages.runtime.population import shift_index, summarised

REFERENCE_ROWS = 10_000  # training rows compared with at most
RESAMPLES = 200
MEASURED_ROWS = 10_000  # rows at most that an interval is resampled from
ROBUST = 2.0  # standard deviations, by the median, beyond which a residual counts no more


@dataclass(frozen=True)
class Live:
    """The model that lies in models/ and what it learned from. `reference` holds training rows, one of each object, and
    `scores` what a model that had not seen them gave them; `out_of_fold` has target and score of every training row.
    `importance` orders the columns, the most important first.
    """

    project: Project
    manifest: dict[str, Any]
    reference: pd.DataFrame
    scores: np.ndarray
    out_of_fold: pd.DataFrame
    performance: dict[str, float]
    importance: list[str]
    version: str | None
    hash: str | None


def load_live(name: str) -> Live:
    """The model in models/<name>. It is compared with up to `REFERENCE_ROWS` of its training rows where data/ has the file
    it was trained on, and else with the sample in its folder. UserError when the folder lacks a file.
    """
    project, paths = load_project(name), Paths(name)
    files = ("manifest.json", "reference.parquet", "out_of_fold.parquet", "plan.json")
    if lacking := [file for file in files if not (paths.model / file).exists()]:
        raise UserError(f"{paths.model} lacks {', '.join(lacking)}: run `dvc pull`, `dvc repro` or `stages.deploy`")
    manifest, sample = read_json(paths.model / "manifest.json"), pd.read_parquet(paths.model / "reference.parquet")
    out_of_fold, train = pd.read_parquet(paths.model / "out_of_fold.parquet"), paths.data / "train.parquet"
    seed = manifest["params"]["seed"]
    positions = pd.Series(range(len(out_of_fold))).sample(len(sample), random_state=seed).sort_index().to_numpy()
    if train.exists() and sha256(train) == manifest["data"]["sha256"]:
        positions = np.sort(np.random.default_rng(seed).permutation(len(out_of_fold))[:REFERENCE_ROWS])
        sample = pd.read_parquet(train).iloc[positions]
    if not np.array_equal(sample[project.target].to_numpy(), out_of_fold["target"].to_numpy()[positions]):
        raise UserError(f"{paths.model}: reference.parquet and out_of_fold.parquet are of different models; run `dvc repro`")
    reference = to_frame(coerce(sample.reset_index(drop=True), columns_of(project.record))[0])
    single = one_of_each(reference, project)
    scores = out_of_fold["score"].to_numpy()
    performance = measure(project, manifest, out_of_fold["target"].to_numpy(), scores, seed)
    ranking = paths.reports / "importance.json"
    return Live(
        project=project,
        manifest=manifest,
        reference=single.reset_index(drop=True),
        scores=scores[positions][single.index],
        out_of_fold=out_of_fold,
        performance=performance,
        importance=ranked_columns(project, read_json(ranking)["ranking"] if ranking.exists() else []),
        **lying(paths.model),
    )


def ranked_columns(project: Project, ranking: list[dict[str, Any]]) -> list[str]:
    """The row's columns by what the features made of them weigh together; in the row's order where nothing is known."""
    titles = {column.name: column.title for column in project.columns}
    weights = dict.fromkeys(titles, 0.0)
    for feature in project.feature_names:
        title = titles.get(feature, feature.replace("_", " "))
        field = project.derived_from.get(feature, feature)
        if field in weights:  # else nothing tells which field the feature speaks for
            own = (e for e in ranking if e["feature"] == title or e["feature"].startswith(f"{title}: "))
            weights[field] += sum(e["importance"] for e in own)
    return sorted(weights, key=lambda name: -weights[name])


def tested_columns(project: Project, frame: pd.DataFrame) -> Columns:
    """The columns of the row but for the one that only tells the time, which is another in every batch."""
    columns = tuple(column for column in project.columns if column.name != project.time_column)
    return coerce(frame, columns)[0]


def residuals(project: Project, target: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """What the model missed on the scale it learned on: differences of logs for a log target; for a classifier Pearson's."""
    if project.task == "classification":
        return np.asarray((target - scores) / np.sqrt(np.clip(scores * (1 - scores), 1e-6, None)))
    return np.asarray(np.log(target) - np.log(np.maximum(scores, 1e-9)) if project.log_target else target - scores)


def losses(project: Project, target: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The loss of each row: log-loss, or the absolute residual."""
    if project.task == "classification":
        return np.asarray(-np.log(np.clip(np.where(target == 1, scores, 1 - scores), 1e-15, None)))
    return np.abs(residuals(project, target, scores))


def compare_losses(live: Live, target: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """Welch's one-sided test for a larger mean loss than on unseen training rows; the size is the share by which it grew."""
    usual = losses(live.project, live.out_of_fold["target"].to_numpy(), live.out_of_fold["score"].to_numpy())
    now = losses(live.project, target, scores)
    p = float(ttest_ind(now, usual, equal_var=False, alternative="greater").pvalue)
    return {
        "p": p,
        "size": float(now.mean() / usual.mean() - 1),
        "batch": float(now.mean()),
        "reference": float(usual.mean()),
    }


def compare_errors(live: Live, labelled: pd.DataFrame, scores: np.ndarray) -> tuple[dict[str, Any], dict[str, Any]]:
    """Whether the model errs to one side as it did not on unseen training rows, by Welch's test with the size in standard
    deviations of the residual; and `pattern_test`. Residuals are cut off where they are unusual, so that a few absurd
    targets decide nothing.
    """
    project, target = live.project, live.project.target
    everything = residuals(project, live.out_of_fold["target"].to_numpy(), live.out_of_fold["score"].to_numpy())
    usual = residuals(project, live.reference[target].to_numpy(), live.scores)
    now = residuals(project, labelled[target].to_numpy(), scores)
    limit = ROBUST * (1.4826 * np.median(np.abs(everything - np.median(everything))) if project.task == "regression" else 1)
    everything, usual, now = (np.clip(side, -limit, limit) for side in (everything, usual, now))
    p = float(ttest_ind(now, everything, equal_var=False).pvalue)
    bias = {"p": p, "size": float((now.mean() - everything.mean()) / everything.std())}
    sides = [
        tested_columns(project, frame) | {"the score": values}
        for frame, values in ((live.reference, live.scores), (labelled, scores))
    ]
    rows, categorical = encode(*sides)
    inside = np.arange(len(rows)) >= len(usual)
    return bias, pattern_test(rows, list(sides[0]), categorical, np.concatenate([usual, now]), inside)


def measure(
    project: Project, manifest: dict[str, Any], target: np.ndarray, scores: np.ndarray, seed: int
) -> dict[str, float]:
    """The primary metric of these predictions with its 95 % bootstrap interval, resampled from `MEASURED_ROWS` at most."""
    metric = project.primary_metric
    point = score(project, manifest, target, scores, np.ones((1, len(target))))[metric][0]
    picks = np.random.default_rng(seed).permutation(len(target))[:MEASURED_ROWS]
    scorer = partial(score, project, manifest, target[picks], scores[picks])
    centre, draws = bootstrap(scorer, len(picks), RESAMPLES, seed)
    low, high = (point + (edge - centre[metric]) * np.sqrt(len(picks) / len(target)) for edge in interval(draws[metric]))
    return {"value": float(point), "low": float(low), "high": float(high)}


def expect(project: Project, manifest: dict[str, Any], scores: np.ndarray, seed: int) -> dict[str, float]:
    """The primary metric to expect of a classifier on rows without outcomes, with its 95 % interval: each row counts as
    positive with its probability and as negative with the rest. That is confidence-based performance estimation (NannyML's
    CBPE; Guillory et al., ICCV 2021, for accuracy). It is right as long as the probabilities are calibrated on the batch
    too, so it sees what other rows do to the metric, and never that outcomes changed for the same rows.
    """
    rng = np.random.default_rng(seed)
    picks = rng.permutation(len(scores))[:MEASURED_ROWS]
    values = scores[picks]
    counts = rng.multinomial(len(values), np.full(len(values), 1 / len(values)), RESAMPLES).astype(float)
    positive = rng.random(counts.shape) < values
    certain = np.concatenate([values, 1 - values])[None]
    weights = np.vstack([certain, np.hstack([counts * positive, counts * ~positive])])
    target = np.repeat([1, 0], len(values))
    found = score(project, manifest, target, np.tile(values, 2), weights)[project.primary_metric]
    low, high = interval(found[1:])
    return {"value": float(found[0]), "low": low, "high": high}


def stability(reference: np.ndarray, batch: np.ndarray) -> float:
    """Population stability index of a batch's scores, as the server measures it; above 0.25 is commonly a large shift."""
    return shift_index(summarised(reference), batch, len(reference))

"""The live model as a check sees it: what it was trained on, and its scores of those rows when it had not seen them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stages.core.cli import UserError
from stages.core.files import Paths, read_json, read_parquet, sha256
from stages.core.schema import coerce, to_frame
from stages.monitoring.batch import one_of_each
from stages.projects._base import Columns, Project, columns_of, load_project
from stages.promotion.workspace import installed_model
from stages.runtime.population import Population

REFERENCE_ROWS = 10_000  # training rows compared with at most


@dataclass(frozen=True)
class Live:
    """The model in models/ and what it learned from. `reference` holds training rows, one of each object, and `scores`,
    shape (rows,), what a model that had not seen them gave them; `out_of_fold` has target and score of every training row,
    `population` their bins. `importance` orders the columns, the most important first. `left_out` is the share of the rows
    that training was given and left out, None where the reports do not tell; `trained` are the training rows that are at
    hand.
    """

    project: Project
    manifest: dict[str, Any]
    reference: pd.DataFrame
    scores: np.ndarray
    out_of_fold: pd.DataFrame
    population: Population
    importance: list[str]
    left_out: float | None
    trained: pd.DataFrame
    version: str | None
    hash: str | None


def load_live(name: str) -> Live:
    """The model in models/<name>. It is compared with up to `REFERENCE_ROWS` of its training rows where data/ has the file
    it was trained on, and else with the sample in its folder. UserError when the folder lacks a file.
    """
    project, paths = load_project(name), Paths(name)
    files = ("manifest.json", "reference.parquet", "out_of_fold.parquet", "plan.json", "population.json")
    if missing := [file for file in files if not (paths.model / file).exists()]:
        raise UserError(f"{paths.model} lacks {', '.join(missing)}: run `dvc pull`, `dvc repro` or `stages.deploy`")
    manifest, sample = read_json(paths.model / "manifest.json"), read_parquet(paths.model / "reference.parquet")
    out_of_fold, train = read_parquet(paths.model / "out_of_fold.parquet"), paths.data / "train.parquet"
    seed = manifest["params"]["seed"]
    positions = pd.Series(range(len(out_of_fold))).sample(len(sample), random_state=seed).sort_index().to_numpy()
    trained = sample
    if train.exists() and sha256(train) == manifest["data"]["sha256"]:
        positions = np.sort(np.random.default_rng(seed).permutation(len(out_of_fold))[:REFERENCE_ROWS])
        trained = read_parquet(train)
        sample = trained.iloc[positions]
    if not np.array_equal(sample[project.target].to_numpy(), out_of_fold["target"].to_numpy()[positions]):
        raise UserError(f"{paths.model}: reference.parquet and out_of_fold.parquet are of different models; run `dvc repro`")
    columns = columns_of(project.record)
    reference = to_frame(coerce(sample.reset_index(drop=True), columns)[0])
    single = one_of_each(reference, project)
    scores = out_of_fold["score"].to_numpy()
    ranking = paths.reports / "importance.json"
    return Live(
        project=project,
        manifest=manifest,
        reference=single.reset_index(drop=True),
        scores=scores[positions][single.index],
        out_of_fold=out_of_fold,
        population=read_json(paths.model / "population.json"),
        importance=ranked_columns(project, read_json(ranking)["ranking"] if ranking.exists() else []),
        left_out=left_out_share(manifest, paths.reports),
        trained=to_frame(coerce(trained, columns)[0]),
        **installed_model(paths.model),
    )


def left_out_share(manifest: dict[str, Any], reports: Path) -> float | None:
    """The share of the accepted rows that were neither trained nor tested on."""
    data, evaluation = reports / "data.json", reports / "evaluation.json"
    if not (data.exists() and evaluation.exists()):
        return None
    given = sum(source["rows"] - source["rejected"] for source in read_json(data)["sources"])
    return 1 - (manifest["rows"] + read_json(evaluation)["rows"]) / given


def ranked_columns(project: Project, ranking: list[dict[str, Any]]) -> list[str]:
    """The row's columns by the total importance of the features made of them; in the row's order where none is known."""
    titles = {column.name: column.title for column in project.columns}
    weights = dict.fromkeys(titles, 0.0)
    for feature in project.feature_names:
        title = titles.get(feature, feature.replace("_", " "))
        field = project.derived_from.get(feature, feature)
        if field in weights:  # else it is unknown which field the feature is made of
            own = (e for e in ranking if e["feature"] == title or e["feature"].startswith(f"{title}: "))
            weights[field] += sum(e["importance"] for e in own)
    return sorted(weights, key=lambda name: -weights[name])


def tested_columns(project: Project, frame: pd.DataFrame) -> Columns:
    """The columns of the row without the time column, which differs in every batch."""
    columns = tuple(column for column in project.columns if column.name != project.time_column)
    return coerce(frame, columns)[0]

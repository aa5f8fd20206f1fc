"""Reads train.parquet and data.json, writes model.joblib, manifest.json, out_of_fold.parquet (target and score of every
training row by a model that did not see it), a reference sample, population.json and the leaderboard of the candidates.

python -m stages.train bankchurn
"""

from __future__ import annotations

from functools import partial

from stages.core.cli import run
from stages.core.files import Paths, new_folder, read_json, read_parquet, sha256, write, write_json

REFERENCE_ROWS = 2_000


def main(name: str) -> None:
    import joblib
    import pandas as pd
    from dvclive.live import Live

    from stages.core.params import load_block, load_seed
    from stages.core.schema import coerce
    from stages.modeling.crossval import leaderboard, out_of_fold
    from stages.modeling.pipeline import RowFeatures, assemble, make_folds
    from stages.modeling.settings import Train
    from stages.modeling.training import build_manifest, compare_candidates, fit_model, leaderboard_lines
    from stages.projects._base import load_project
    from stages.runtime.identity import md5
    from stages.runtime.population import summarise

    project, train, paths = load_project(name), load_block(name, "train", Train), Paths(name)
    seed = load_seed()
    frame = read_parquet(paths.data / "train.parquet")
    features, target = RowFeatures(name).transform(frame), frame[project.target].to_numpy()
    report = paths.reports / "data.json"
    data = {
        "sha256": sha256(paths.data / "train.parquet"),
        "report": md5(report),
        "simulated": read_json(report)["simulated"],
    }

    folds = make_folds(project, frame, train.folds, seed)
    with new_folder(paths.reports / "live") as folder:
        with Live(str(folder), dvcyaml=None, save_dvc_exp=False, report=None) as live:
            results = compare_candidates(project, train, features, target, folds, seed, live)
        board = leaderboard(results, project.primary_metric)
        chosen = board[0]["candidate"] if train.model == "best" else train.model
        unseen = out_of_fold([result for result in results if result.name == chosen], folds, len(frame))
        model, scores, decision = fit_model(project, chosen, train, features, target, unseen, seed)
    manifest = build_manifest(project, train, seed, chosen, board, len(frame), data) | decision

    reference = frame.sample(min(REFERENCE_ROWS, len(frame)), random_state=seed).sort_index()
    scored = pd.DataFrame({"target": target, "score": scores})
    write(paths.model / "model.joblib", partial(joblib.dump, assemble(project, model), compress=3))
    write(paths.model / "reference.parquet", partial(reference.to_parquet, index=False))
    write(paths.model / "out_of_fold.parquet", partial(scored.to_parquet, index=False))
    digest = {"model": md5(paths.model / "model.joblib")}  # which every file made from the model repeats
    population = summarise(coerce(frame, project.columns)[0], project.columns, scores)
    write_json(paths.model / "population.json", digest | population)
    write_json(paths.model / "manifest.json", digest | manifest)
    write_json(paths.reports / "leaderboard.json", digest | {"candidates": board})
    print("\n".join(leaderboard_lines(board, results, project.primary_metric, chosen)))


if __name__ == "__main__":
    run(main)

"""Reads the model, train.parquet and test.parquet, writes metrics.json (the main metrics), evaluation.json (all of them)
and the data of the plots.

python -m stages.evaluate bankchurn
"""

from __future__ import annotations

from functools import partial

from stages.core.cli import run
from stages.core.files import Paths, read_json, read_parquet, read_pickle, write, write_json


def main(name: str) -> None:
    from stages.core.params import load_block, load_seed
    from stages.evaluation.curves import plot_frames
    from stages.evaluation.report import build_evaluation
    from stages.evaluation.settings import Evaluate
    from stages.modeling.pipeline import predict_scores
    from stages.projects._base import load_project
    from stages.runtime.metric_names import main_metrics
    from stages.runtime.wording import metric, metric_interval, words

    project, settings, paths = load_project(name), load_block(name, "evaluate", Evaluate), Paths(name)
    model, manifest = read_pickle(paths.model / "model.joblib"), read_json(paths.model / "manifest.json")
    train, test = (read_parquet(paths.data / f"{side}.parquet") for side in ("train", "test"))
    values = predict_scores(model, test, project)
    evaluation = build_evaluation(project, manifest, model, train, test, values, settings, load_seed())
    main = main_metrics(project.task, project.primary_metric)

    for plot, frame in plot_frames(project, manifest, test[project.target].to_numpy(), values, evaluation).items():
        write(paths.reports / "plots" / f"{plot}.csv", partial(frame.to_csv, index=False, float_format="%.6g"))
    write_json(paths.reports / "evaluation.json", {"model": manifest["model"], **evaluation})
    write_json(paths.reports / "metrics.json", {name: {key: evaluation["metrics"][key]["value"] for key in main}})
    primary, unit = project.primary_metric, project.unit
    found, baseline = evaluation["metrics"][primary], metric(evaluation["baseline"]["value"], primary, unit)
    value, interval = metric(found["value"], primary, unit), metric_interval(found, primary, unit)
    print(f"{name}: {words(primary)} {value} (95 % interval {interval}), without looking at the row {baseline}")


if __name__ == "__main__":
    run(main)

"""Plots of two revisions side by side as PNG, drawn by the templates of `dvc plots` and no browser."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import vl_convert
from dvc_render.vega import VegaRenderer  # type: ignore[import-untyped]

from stages.core.files import Paths, write
from stages.core.params import read_params
from stages.projects._base import Project

# Of the plots that dvc.yaml lists for a task, those that a reviewer needs.
SHOWN = {
    "classification": ("precision_recall", "calibration", "confusion"),
    "regression": ("predicted_actual", "error_distribution", "coverage"),
}
CONFIG = {"legend": {"disable": True}, "header": {"title": None}}  # the panels are named already


def draw_plots(project: Project, base: Path, folder: Path) -> dict[str, Path]:
    """Draw those plots of the workspace into `folder` that are not the same in the tree `base`; their paths by title."""
    images = {}
    for plot in plot_definitions(read_params(Path("dvc.yaml")), project):
        path = Paths(project.name).reports / "plots" / f"{plot['file']}.csv"
        files = {side: root / path for side, root in (("before", base), ("after", Path())) if (root / path).exists()}
        if "after" not in files or len({file.read_bytes() for file in files.values()}) < len(files):
            continue
        image = folder / f"{project.name}-{plot['file']}.png"
        frames = {side: pd.read_csv(file) for side, file in files.items()}
        png = draw(plot, {side: frame for side, frame in frames.items() if {plot["x"], plot["y"]} <= set(frame)})
        write(image, partial(Path.write_bytes, data=png))
        images[plot["title"]] = image
    return images


def plot_definitions(dag: dict[str, Any], project: Project) -> list[dict[str, str]]:
    """What dvc.yaml says of the plots shown: `file`, `title`, `template`, `x` and `y` of each."""
    projects = next(block["projects"] for block in dag["vars"] if "projects" in block)
    return [plot for plot in projects[project.name] if plot["file"] in SHOWN[project.task]]


def draw(plot: dict[str, str], sides: dict[str, pd.DataFrame]) -> bytes:
    """A PNG of one plot with a panel per side, all on the same axes."""
    points = [{**row, "rev": side} for side, frame in sides.items() for row in frame.to_dict("records")]
    properties = {key: value for key, value in plot.items() if key != "file"}
    return vl_convert.vegalite_to_png(_panels(VegaRenderer(points, plot["file"], **properties)), config=CONFIG)


def _panels(renderer: VegaRenderer) -> dict[str, Any]:
    spec: dict[str, Any] = renderer.get_filled_template()
    if "facet" in spec:  # the confusion template has a panel per revision, and hides the counts until they are asked for
        return {**spec, "params": [{"name": "showValues", "value": True}]}
    outer = {key: spec.pop(key) for key in ("$schema", "data", "title", "params")}
    return {**outer, "facet": {"column": {"field": "rev", "sort": []}}, "spec": spec}

"""Scoring rows with the model in a folder, exactly as the server does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from stages.core.cli import UserError
from stages.core.files import read_json
from stages.projects._base import Columns, Project
from stages.runtime.scorer import Scorer


def load_scorer(project: Project, folder: Path) -> Callable[[Columns], np.ndarray]:
    """The exported scorer in a folder; UserError for a model that an older pipeline could not export."""
    plan = read_json(folder / "plan.json")
    if "reason" in plan:
        raise UserError(f"{folder} holds a model without an exported form ({plan['reason']}); only its own code scores it")
    return Scorer(project, plan["plan"], (folder / "scorer.onnx").read_bytes()).score

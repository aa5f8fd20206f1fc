"""The whole of a project's block in params.yaml, whose parts are each read beside the code that they steer."""

from __future__ import annotations

from stages.core.params import Block
from stages.evaluation.settings import Evaluate
from stages.explanation.settings import Explain
from stages.intake.settings import Ingest, Prepare
from stages.modeling.settings import Train
from stages.monitoring.settings import Drift
from stages.promotion.settings import Promote
from stages.tuning.settings import Tune


class Params(Block):
    """All blocks of a project."""

    ingest: Ingest
    prepare: Prepare
    train: Train
    evaluate: Evaluate
    explain: Explain
    promote: Promote = Promote()
    drift: Drift = Drift()
    tune: Tune = Tune()

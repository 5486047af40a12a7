"""How good a world model is, measured on held-out episodes: every figure beside copy-last and constant velocity.

:func:`evaluate` cuts windows, rolls the model out in chunks and hands each chunk to the measures of the ``metrics``
seam; a measure keeps sums and never a rollout, so a horizon of 10,000 steps takes the memory of one chunk. Sums are
kept by episode, and every interval is over episodes. Only the protocols of core are seen, never a model's own code.
"""

from worldgate.evidence.evaluation.measures import (
    EvaluateConfig,
    FigureInfo,
    Measure,
    NotMeasured,
    Reading,
    Setup,
    Watcher,
)
from worldgate.evidence.evaluation.report import Evaluation, Row
from worldgate.evidence.evaluation.run import evaluate

__all__ = [
    "EvaluateConfig",
    "Evaluation",
    "FigureInfo",
    "Measure",
    "NotMeasured",
    "Reading",
    "Row",
    "Setup",
    "Watcher",
    "evaluate",
]

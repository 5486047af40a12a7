"""Did the run succeed? Conditions over named signals that must hold at its end, and for a while before.

Notable choice: success that was reached and lost again is no success. The default is what environments tell as the fact
``success``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.core.errors import ConfigError
from worldgate.evidence.judged import Judged, Outcome
from worldgate.evidence.oracles._reading import Condition, NotMeasured, holds, not_measured
from worldgate.evidence.runs import Run

CARD = {
    "line": "conditions over named signals hold at the end of the run, and for hold_s before it",
    "inputs": "facts such as success, or channels of streams with unit and frame",
    "source": "written success criteria: Kress-Gazit et al., arXiv:2409.09491",
}
KIND = "success"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What success is."""

    conditions: tuple[Condition, ...] = (Condition(signal="success"),)
    """All must hold."""
    hold_s: float = 0.0
    """How long before the end they must have held already, s."""

    def __post_init__(self) -> None:
        if not self.conditions or not 0 <= self.hold_s < np.inf:
            raise ConfigError("success needs conditions and a time to hold", got=f"{self.hold_s} s", where="success")


def reads(config: Config) -> tuple[str, ...]:
    """Signals that are needed."""
    return tuple(c.signal for c in config.conditions)


def judge(config: Config, run: Run) -> Judged:
    """Met where the conditions hold at every row of the last ``hold_s``."""
    try:
        good, known = holds(run, config.conditions)
    except NotMeasured as error:
        return not_measured("success", error)
    last = run.times_s >= run.times_s[-1] - config.hold_s - 1e-9
    if not known[last].all():
        return not_measured("success", NotMeasured(f"{' and '.join(reads(config))} not measured at the end"))
    if run.times_s[-1] - run.times_s[0] + run.step_s < config.hold_s - 1e-9:
        return Judged(oracle="success", outcome=Outcome.BROKEN)
    return Judged(oracle="success", outcome=Outcome.MET if good[last].all() else Outcome.BROKEN)

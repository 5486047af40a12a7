"""Was it fast enough? The time after which the success conditions hold to the end of the run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.core.errors import ConfigError
from worldgate.evidence.judged import Judged, Outcome
from worldgate.evidence.oracles._reading import Condition, NotMeasured, holds, not_measured
from worldgate.evidence.runs import Run

CARD = {
    "line": "the time until success that lasts is at most a limit in s",
    "inputs": "conditions over facts or channels of streams",
    "source": "time to completion beside success: Kress-Gazit et al., arXiv:2409.09491",
}
KIND = "time"
METRIC = "until_success_s"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """The limit."""

    limit_s: float
    """Longest time, s from the start of the run."""
    until: tuple[Condition, ...] = (Condition(signal="success"),)
    """What must hold from then on."""

    def __post_init__(self) -> None:
        if not self.until or not 0 < self.limit_s < np.inf:
            raise ConfigError("a time limit is positive and waits for conditions", got=self.limit_s, where="time")


def reads(config: Config) -> tuple[str, ...]:
    """Signals that are needed."""
    return tuple(c.signal for c in config.until)


def judge(config: Config, run: Run) -> Judged:
    """Met where the conditions hold from some time within the limit to the end."""
    try:
        good, known = holds(run, config.until)
        whole = any(run.traces[name].whole for name in reads(config))
    except NotMeasured as error:
        return not_measured("time", error)
    if whole:
        return not_measured("time", NotMeasured("a fact of the whole run does not say when"))
    if not known.all():
        return not_measured("time", NotMeasured(f"{' and '.join(reads(config))} not measured throughout"))
    if not good[-1]:
        return Judged(oracle="time", outcome=Outcome.BROKEN)
    first = len(good) - int(np.argmin(good[::-1])) if not good.all() else 0
    took = float(run.times_s[first])
    outcome = Outcome.MET if took <= config.limit_s + 1e-9 else Outcome.BROKEN
    return Judged(oracle="time", outcome=outcome, metric=METRIC, extreme=took, at_s=took)

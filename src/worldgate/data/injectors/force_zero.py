"""Force sensors whose zero is wrong: not tared after a tool change, or warming up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import NUMERIC, Log
from worldgate.data.injectors._wrap import Fault, Injected, choose, injected, units, with_values

CARD = {"line": "a force sensor's zero stands off or wanders", "inputs": "a stream in N"}

_SWEEP = (0.05, 0.2, 1.0, 3.0)
FAULTS = (
    Fault(name="offset", line="never tared", unit="N", least=1.0, sweep=_SWEEP),
    Fault(
        name="warming",
        line="the zero wanders with temperature, by so much at the end",
        unit="N",
        least=1.0,
        sweep=_SWEEP,
    ),
    Fault(name="step", line="a knock on the sensor moves its zero once", unit="N", least=1.0, sweep=_SWEEP),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How far the zero is off."""

    variant: str = "offset"
    magnitude: float = 1.0
    """Newtons."""
    stream: str = ""
    """The stream; empty: the first in N."""


def inject(log: Log, config: Config, seed: int) -> Injected:
    """The log with that zero, on one axis by the seed."""
    names = [i.name for i in log.streams() if i.kind in NUMERIC and config.stream in ("", i.name)]
    held = choose([s for s in map(log.read, names) if "N" in units(s)], "stream in N")[0]
    values = np.array(held.array, dtype=np.float64)
    forces = [c for c, unit in enumerate(units(held)) if unit == "N"]
    draw, share = np.random.default_rng(seed), np.linspace(0, 1, len(values))
    shape = {"offset": np.ones(len(values)), "warming": share, "step": (share > 0.5).astype(np.float64)}[config.variant]
    values[:, int(draw.choice(forces))] += config.magnitude * draw.choice([-1.0, 1.0]) * shape
    return injected(log, [with_values(held, values)])

"""Numbers in another unit than declared: the classic of every import script."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import NUMERIC, Kind, Log
from worldgate.data.injectors._wrap import Fault, Injected, choose, injected, units, with_values

CARD = {"line": "degrees in rad, millimetres in m, percent in a fraction", "inputs": "streams that declare units"}

FAULTS = (
    Fault(name="degrees", line="every channel in rad holds degrees", unit="streams", least=1.0, sweep=(1.0,)),
    Fault(name="millimetres", line="every channel in m holds millimetres", unit="streams", least=1.0, sweep=(1.0,)),
    Fault(name="percent", line="every channel in 1 holds percent", unit="streams", least=1.0, sweep=(1.0,)),
    Fault(name="centimetres", line="every channel in m holds centimetres", unit="streams", least=1.0, sweep=(1.0,)),
)

_FACTOR = {
    "degrees": ("rad", 180 / np.pi),
    "millimetres": ("m", 1000.0),
    "percent": ("1", 100.0),
    "centimetres": ("m", 100.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Which unit is mistaken, in how many streams."""

    variant: str = "degrees"
    magnitude: float = 1.0
    """Streams."""
    stream: str = ""
    """The stream; empty: by the seed, of those that have the unit."""


def inject(log: Log, config: Config, seed: int) -> Injected:
    """The log with these channels scaled and their declared unit kept."""
    unit, factor = _FACTOR[config.variant]
    names = [i.name for i in log.streams() if i.kind in NUMERIC - {Kind.POSE} and config.stream in ("", i.name)]
    fit = choose([s for s in map(log.read, names) if unit in units(s) and s.array.ndim == 2], f"stream in {unit}")
    wanted = np.random.default_rng(seed).permutation(len(fit))[: max(1, round(config.magnitude))]
    hurt = []
    for held in (fit[i] for i in wanted):
        values = np.array(held.array, dtype=np.float64)
        values[:, [u == unit for u in units(held)]] *= factor
        hurt.append(with_values(held, values))
    return injected(log, hurt)

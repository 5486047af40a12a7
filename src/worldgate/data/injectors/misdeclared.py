"""Metadata that lies about numbers: a rate from a configuration that was not in force, a list from another robot."""

from __future__ import annotations

from dataclasses import dataclass, replace

from worldgate.core.streams import Log
from worldgate.data.injectors._wrap import Fault, Injected, choose, injected, numbers, rate_of

CARD = {"line": "declared rates, shapes, names and durations that are not true", "inputs": "any log"}

FAULTS = (
    Fault(
        name="rate",
        line="the declared rate is so many times the true one",
        unit="times",
        least=1.5,
        sweep=(1.02, 1.1, 1.5, 3.0),
    ),
    Fault(name="width", line="more channels are declared than there are", unit="channels", least=1.0, sweep=(1.0, 4.0)),
    Fault(name="names", line="more channels are named than there are", unit="names", least=1.0, sweep=(1.0, 3.0)),
    Fault(
        name="duration",
        line="the stated duration is so many times the true one",
        unit="times",
        least=1.5,
        sweep=(1.1, 1.5, 3.0),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What is wrong, and how wrong."""

    variant: str = "rate"
    magnitude: float = 1.5
    """Times the truth, channels, or names."""
    stream: str = ""
    """The stream; empty: the joint states."""


def inject(log: Log, config: Config, seed: int) -> Injected:
    """The log with other declarations; its messages stay."""
    if config.variant == "duration":
        stated = choose([k for k, v in log.facts.items() if k == "duration_s" and isinstance(v, float)], "duration")
        return injected(log, [], stated={key: float(log.facts[key]) * config.magnitude for key in stated})
    held = numbers(log, config.stream, seed)
    info, extra = held.info, round(config.magnitude)
    width = int(held.array.shape[1])
    if config.variant == "rate":
        info = replace(info, rate_hz=rate_of(held) * config.magnitude)
    elif config.variant == "width":
        info = replace(info, shape=(width + extra,))
    else:
        names = info.names or tuple(f"joint_{i}" for i in range(width))
        info = replace(info, names=(*names, *(f"spare_{i}" for i in range(extra))))
    return injected(log, [replace(held, info=info)])

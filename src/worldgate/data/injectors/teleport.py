"""States that leap: an encoder loses its index, two recordings are joined, an angle is wrapped on the way.

A leap stays, unlike a spike, which comes back. Its size is the speed at which the joint would have had to move from one
message to the next: joints of arms reach about 3 rad/s, so that what is a leap at 100 Hz can be a motion at 4 Hz.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.core.errors import NotFound
from worldgate.core.streams import Log, Stream
from worldgate.data.injectors._wrap import (
    Fault,
    Injected,
    choose,
    counted,
    injected,
    liveliest,
    numbers,
    positions,
    rate_of,
    taken,
    units,
    with_values,
)

CARD = {"line": "joint angles that leap and stay there", "inputs": "states with a channel in rad"}

FAULTS = (
    Fault(
        name="encoder",
        line="one encoder loses its index and counts on from elsewhere",
        unit="rad/s",
        least=10.0,
        sweep=(1.0, 2.0, 5.0, 10.0, 20.0),
    ),
    Fault(
        name="splice",
        line="a stretch is missing and the stamps were closed up over it",
        unit="rad/s",
        least=10.0,
        sweep=(2.0, 5.0, 10.0, 20.0),
    ),
    Fault(
        name="wrapped",
        line="a joint's angle is written without so many turns",
        unit="turns",
        least=1.0,
        sweep=(1.0, 2.0),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How far the state leaps."""

    variant: str = "encoder"
    magnitude: float = 10.0
    """Radians a second from one message to the next, or turns."""
    stream: str = ""
    """The stream; empty: the joint states."""


def inject(log: Log, config: Config, seed: int) -> Injected:
    """The log with one leap in it."""
    held, draw = numbers(log, config.stream, seed), np.random.default_rng(seed)
    if config.variant == "splice":
        return _spliced(log, held, config.magnitude / rate_of(held))
    channel = liveliest(held, "rad")
    at = int(draw.integers(len(held) // 4, 3 * len(held) // 4))
    values = np.array(held.array, dtype=np.float64)
    leap = config.magnitude * (2 * np.pi if config.variant == "wrapped" else 1 / rate_of(held))
    values[at:, channel] += leap * draw.choice([-1.0, 1.0])
    return injected(log, [with_values(held, values)], spans=_around(held, at))


def _spliced(log: Log, held: Stream, least: float) -> Injected:
    """The shortest stretch across which a joint moves so far, left out; later messages take the earlier stamps."""
    angles = [int(c) for c in positions(held) if units(held)[c] == "rad"]
    values = np.asarray(held.array, dtype=np.float64)[:, choose(angles, "channel in rad")]
    count = len(values)
    for length in range(1, count // 2):
        far = np.abs(values[length:] - values[:-length]).max(axis=1)
        inside = np.flatnonzero(far >= least)
        inside = inside[(inside > count // 10) & (inside + length < count - count // 10)]
        if len(inside):
            at = int(inside[0])
            kept = np.r_[: at + 1, at + length : count]
            short = taken(held, np.arange(len(kept)))
            return injected(log, [counted(with_values(short, held.array[kept]))], spans=_around(held, at + 1))
    raise NotFound("a fault that cannot befall this log", got=f"no joint moves {least:g} rad", where=log.name)


def _around(held: Stream, at: int) -> tuple[tuple[int, int], ...]:
    return ((int(held.times_ns[at - 1]), int(held.times_ns[at]) + 1),)

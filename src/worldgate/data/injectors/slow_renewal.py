"""A camera that gives fewer pictures than it declares: the driver fills up with repeats."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import Log
from worldgate.data.injectors._wrap import Codec, Fault, Injected, camera, injected, pictures, with_pictures

CARD = {"line": "pictures renew at a fraction of the declared rate", "inputs": "a camera"}

_SWEEP = (1.1, 1.5, 2.0, 3.0)
FAULTS = (
    Fault(
        name="exact",
        line="repeats are equal to the byte, without a codec",
        unit="times slower",
        least=1.5,
        sweep=_SWEEP,
    ),
    Fault(
        name="coded", line="as H.264 with a keyframe every other frame", unit="times slower", least=1.5, sweep=_SWEEP
    ),
    Fault(
        name="av1",
        line="as AV1 with a keyframe every other frame, LeRobot's default",
        unit="times slower",
        least=1.5,
        sweep=_SWEEP,
    ),
)

_CODEC: dict[str, Codec] = {"exact": "none", "coded": "h264", "av1": "av1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How slow."""

    variant: str = "exact"
    magnitude: float = 2.0
    """Messages for each new picture, on average."""
    stream: str = ""
    """The camera; empty: one by the seed."""


def inject(log: Log, config: Config, seed: int) -> Injected:
    """The log with that camera renewed too rarely, from start to end."""
    held = camera(log, config.stream, seed)
    rows = np.arange(len(held))
    shown = np.ceil(np.floor(rows / config.magnitude) * config.magnitude - 1e-9).astype(np.int64)
    return injected(log, [with_pictures(held, pictures(held)[shown], _CODEC[config.variant], gop=2)])

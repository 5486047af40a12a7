"""A camera that shows an old picture while its messages go on: a driver that hangs with its buffer full."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import Log
from worldgate.data.injectors._wrap import (
    Codec,
    Fault,
    Injected,
    camera,
    injected,
    moving_stretch,
    pictures,
    span_of,
    with_pictures,
)

CARD = {"line": "the picture repeats while the robot moves", "inputs": "a camera, and states that move"}

_SWEEP = (0.5, 1.0, 2.0, 3.0)
FAULTS = (
    Fault(
        name="exact",
        line="the last picture is repeated to the byte, without a codec",
        unit="s",
        least=2.0,
        sweep=_SWEEP,
    ),
    Fault(
        name="coded",
        line="the last picture is repeated and encoded as H.264, so that repeats differ by the codec",
        unit="s",
        least=2.0,
        sweep=_SWEEP,
    ),
    Fault(
        name="ring",
        line="the last three pictures of a ring of buffers are shown over and over, as H.264",
        unit="s",
        least=2.0,
        sweep=_SWEEP,
    ),
    Fault(
        name="double",
        line="the last two pictures of a double buffer are shown in turn, as H.264",
        unit="s",
        least=2.0,
        sweep=_SWEEP,
    ),
    Fault(
        name="av1",
        line="the last picture is repeated and encoded as AV1 with a keyframe every other frame",
        unit="s",
        least=2.0,
        sweep=_SWEEP,
    ),
)

_CODEC: dict[str, Codec] = {"exact": "none", "coded": "h264", "ring": "h264", "double": "h264", "av1": "av1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """For how long."""

    variant: str = "exact"
    magnitude: float = 2.0
    """Seconds."""
    stream: str = ""
    """The camera; empty: one by the seed."""


def inject(log: Log, config: Config, seed: int) -> Injected:
    """The log with that camera frozen where the robot moves most."""
    held = camera(log, config.stream, seed)
    frozen = moving_stretch(log, held, config.magnitude)
    pixels, rows = pictures(held), np.flatnonzero(frozen)
    depth = {"ring": 3, "double": 2}.get(config.variant, 1)
    first = max(int(rows[0]), depth)
    rows = rows[rows >= first]
    pixels[rows] = pixels[first - depth + (rows - first) % depth]
    changed = with_pictures(held, pixels, _CODEC[config.variant], gop=2 if config.variant == "av1" else 16)
    return injected(log, [changed], spans=span_of(held, rows))

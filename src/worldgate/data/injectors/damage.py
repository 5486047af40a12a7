"""Damaged pictures: bytes of a file that were overwritten, packets lost on the way, buffers read while written."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import Log
from worldgate.data.injectors._wrap import Fault, Injected, camera, injected, pictures, span_of, with_pictures
from worldgate.data.logs._video import VideoFrames

CARD = {"line": "frames that are torn or do not decode", "inputs": "a camera"}

_SWEEP = (1.0, 3.0, 10.0)
FAULTS = (
    Fault(
        name="bytes",
        line="a tenth of a frame's bytes is overwritten in the file",
        unit="frames",
        least=3.0,
        sweep=_SWEEP,
    ),
    Fault(name="torn", line="the lower half of a frame is noise for one frame", unit="frames", least=3.0, sweep=_SWEEP),
    Fault(
        name="rolled",
        line="the lower half of a frame is shifted by a third of its width for one frame",
        unit="frames",
        least=3.0,
        sweep=_SWEEP,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How many frames."""

    variant: str = "bytes"
    magnitude: float = 3.0
    """Frames."""
    stream: str = ""
    """The camera; empty: one by the seed."""


def inject(log: Log, config: Config, seed: int) -> Injected:
    """The log with these frames damaged, in a video of H.264."""
    held, draw = camera(log, config.stream, seed), np.random.default_rng(seed)
    inner = np.arange(2, len(held) - 2, 3)
    rows = np.sort(draw.choice(inner, size=min(max(1, round(config.magnitude)), len(inner)), replace=False))
    pixels = pictures(held)
    half = pixels.shape[1] // 2
    if config.variant == "torn":
        pixels[rows, half:] = draw.integers(0, 256, pixels[rows, half:].shape, dtype=np.uint8)
    elif config.variant == "rolled":
        pixels[rows, half:] = np.roll(pixels[rows, half:], pixels.shape[2] // 3, axis=2)
    changed = with_pictures(held, pixels, "h264")
    if config.variant == "bytes":
        _overwrite(changed.values, rows.tolist(), draw)
    return injected(log, [changed], spans=span_of(held, rows))


def _overwrite(frames: object, rows: list[int], draw: np.random.Generator) -> None:
    """Write random bytes over the end of the slices of these packets; their headers and the file's index stay."""
    assert isinstance(frames, VideoFrames)
    packets = frames.index.packets
    with frames.path.open("r+b") as file:
        for row in rows:
            size = int(packets.size[row])
            file.seek(int(packets.at[row]) + size // 2)
            file.write(draw.integers(0, 256, max(1, size // 10), dtype=np.uint8).tobytes())

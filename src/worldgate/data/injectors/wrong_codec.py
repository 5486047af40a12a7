"""Metadata that lies about a video: written from the configuration that was wished for, not from the file."""

from __future__ import annotations

from dataclasses import dataclass, replace

from worldgate.core.streams import Log
from worldgate.data.injectors._wrap import Fault, Injected, camera, injected, pictures, rate_of, with_pictures
from worldgate.data.logs._video import VideoFrames

CARD = {"line": "declared codec, size or rate of a video that its file contradicts", "inputs": "a camera"}

FAULTS = (
    Fault(name="codec", line="another codec is declared", unit="cameras", least=1.0, sweep=(1.0,)),
    Fault(
        name="rate",
        line="the declared rate is so many times the video's",
        unit="times",
        least=1.5,
        sweep=(1.01, 1.1, 1.5, 2.0),
    ),
    Fault(
        name="size",
        line="the declared width is so many times the video's",
        unit="times",
        least=1.5,
        sweep=(1.1, 1.5, 2.0),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What is declared."""

    variant: str = "codec"
    magnitude: float = 1.0
    """Times the truth."""
    stream: str = ""
    """The camera; empty: one by the seed."""


def inject(log: Log, config: Config, seed: int) -> Injected:
    """The log with a video of H.264 whose metadata is wrong in one thing and right in the others."""
    held = camera(log, config.stream, seed)
    pixels = pictures(held)
    changed = with_pictures(held, pixels, "h264")
    assert isinstance(changed.values, VideoFrames)
    truth: dict[str, str | float] = {"codec": "h264", "rate_hz": rate_of(held), "width": float(pixels.shape[2])}
    wrong: dict[str, dict[str, str | float]] = {
        "codec": {"codec": "av1"},
        "rate": {"rate_hz": rate_of(held) * config.magnitude},
        "size": {"width": float(round(pixels.shape[2] * config.magnitude))},
    }
    return injected(
        log, [replace(changed, values=replace(changed.values, declared={**truth, **wrong[config.variant]}))]
    )

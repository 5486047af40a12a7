"""Scene attributes: what may be unusual about a run. Each is physical or in a sensor, none is painted over the picture.

Every attribute draws from a random stream of its own, so that switching one on changes what it should and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from worldgate.core.choices import settle
from worldgate.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class CameraFault:
    """A span during which a camera delivers no new picture although its messages go on."""

    camera: str
    """Name of the camera, ``front`` or ``top``."""
    mode: Literal["freeze", "black"]
    """``freeze`` repeats the last good picture to the byte, ``black`` sends zeros."""
    start_s: float
    """From when, in seconds of the run."""
    end_s: float
    """Until when, exclusive."""

    def __post_init__(self) -> None:
        settle(self)
        if not 0.0 <= self.start_s < self.end_s:
            raise ConfigError("a camera fault needs 0 <= start_s < end_s", got=f"[{self.start_s}, {self.end_s})")


@dataclass(frozen=True, kw_only=True, slots=True)
class Attributes:
    """Everything unusual about one run; the defaults are an ordinary day."""

    spill: float = 0.0
    """Radius in metres of a puddle: it lowers the friction under the object, looks dark and reflects; 0 is none."""
    glare: float = 0.0
    """Strength 0..1 of a second lamp whose mirror image on the table lies in the front camera's view."""
    dim: float = 0.0
    """0..1: how much of the site's light is missing; the camera raises its gain and with it the noise."""
    clutter: int = 0
    """Loose things on the table, 0 to 5; they can be pushed."""
    person: bool = False
    """Whether a person reaches into the cell during the run."""
    occluded_camera: str = ""
    """Name of a camera before which something hangs; empty: none."""
    camera_faults: tuple[CameraFault, ...] = ()
    """Spans of frozen or black pictures."""
    clock_drift_ppm: float = 0.0
    """Drift of the drifting sensor's own clock, in parts per million: visible in ``publish_time``, not ``log_time``."""
    clock_offset_ms: float = 0.0
    """Constant error of the same clock."""
    drifting_sensor: str = "observation.images.front"
    """Stream whose clock drifts."""
    dropped_frames: float = 0.0
    """Fraction 0..0.9 of camera messages that never arrive."""

    def __post_init__(self) -> None:
        for name, value, top in (
            ("spill", self.spill, 0.3), ("glare", self.glare, 1.0), ("dim", self.dim, 1.0),
            ("clutter", self.clutter, 5), ("dropped_frames", self.dropped_frames, 0.9),
        ):  # fmt: skip
            if not 0 <= value <= top:
                raise ConfigError(f"attribute {name} is outside its range", got=value, hint=f"0 to {top}")

    def summary(self) -> str:
        """The attributes that are switched on, for people and for the facts of a log; empty on an ordinary day."""
        parts = [name for name in ("spill", "glare", "dim", "clutter", "person") if getattr(self, name)]
        parts += [f"occluded_camera={self.occluded_camera}"] if self.occluded_camera else []
        parts += [f"{f.mode} {f.camera} {f.start_s:g}-{f.end_s:g}s" for f in self.camera_faults]
        parts += ["clock_drift"] if self.clock_drift_ppm or self.clock_offset_ms else []
        parts += ["dropped_frames"] if self.dropped_frames else []
        return ", ".join(parts)


PRESETS: Mapping[str, Attributes] = {
    "none": Attributes(),
    "spill": Attributes(spill=0.11),
    "glare": Attributes(glare=0.8),
    "dim": Attributes(dim=0.85),
    "clutter": Attributes(clutter=4),
    "person": Attributes(person=True),
    "occluded-camera": Attributes(occluded_camera="front"),
    "failing-camera": Attributes(
        camera_faults=(
            CameraFault(camera="front", mode="freeze", start_s=1.5, end_s=3.0),
            CameraFault(camera="front", mode="black", start_s=3.0, end_s=3.8),
        )
    ),
    "clock-drift": Attributes(clock_drift_ppm=20_000.0, clock_offset_ms=15.0),
    "dropped-frames": Attributes(dropped_frames=0.3),
}
"""One ready set of attributes for each thing that can be unusual, by the name that commands take."""

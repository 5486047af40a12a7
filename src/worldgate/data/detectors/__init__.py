"""Detectors: each file finds one thing in a camera's pictures that privacy asks to hide, and answers with boxes.

The seam's signature is ``detector(camera: Stream, config: Config) -> Detect``, beside a frozen ``Config`` whose every
field has a default. It is called once a camera, so a detector may learn what the camera always sees; what it returns
takes an (H, W, 3) uint8 RGB picture and gives (K, 4) boxes ``x0, y0, x1, y1`` in pixels, half-open. Any package may add
a detector of its own by an entry point in the group ``worldgate.detectors``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from worldgate.core.config import decode
from worldgate.core.seams import load
from worldgate.core.streams import Stream
from worldgate.data.detectors._boxes import Detect

__all__ = ["Detect", "prepare"]


def prepare(
    name: str, params: Mapping[str, Any] | None = None, *, where: str = "detectors"
) -> Callable[[Stream], Detect]:
    """A detector with its configuration, to be given a camera.

    Raises:
        NotFound: no such detector; the hint is the nearest name.
        ConfigError: a parameter that its ``Config`` does not have.
    """
    module = load("detectors", name)
    config = decode(module.Config, params or {}, where=where)

    def build(camera: Stream) -> Detect:
        made: Detect = module.detector(camera, config)
        return made

    return build

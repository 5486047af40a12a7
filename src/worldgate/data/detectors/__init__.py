"""Detectors: each file finds one thing in a picture that privacy asks to hide, and answers with boxes.

The seam's signature is ``detect(image: ByteArray, config: Config) -> IntArray``: an (H, W, 3) uint8 RGB picture to
(K, 4) boxes ``x0, y0, x1, y1`` in pixels, half-open, beside a frozen ``Config`` whose every field has a default. Any
package may add a detector of its own by an entry point in the group ``worldgate.detectors``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from worldgate.core.config import decode
from worldgate.core.seams import load
from worldgate.core.streams import ByteArray, IntArray

Detect: TypeAlias = Callable[[ByteArray], IntArray]


def prepare(name: str, params: Mapping[str, Any] | None = None, *, where: str = "detectors") -> Detect:
    """A detector with its configuration.

    Raises:
        NotFound: no such detector; the hint is the nearest name.
        ConfigError: a parameter that its ``Config`` does not have.
    """
    module = load("detectors", name)
    config = decode(module.Config, params or {}, where=where)

    def detect(image: ByteArray) -> IntArray:
        found: IntArray = module.detect(image, config)
        return found

    return detect

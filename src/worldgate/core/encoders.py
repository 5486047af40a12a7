"""Encoders: pictures to vectors that lie close where two pictures show alike things; anybody's model, no torch here.

Shape legend: N pictures, H x W pixels, D vector length.
"""

from __future__ import annotations

from typing import Protocol

from worldgate.core.streams import ByteArray, FloatArray


class Encoder(Protocol):
    """Pictures to vectors. Search compares them by cosine, after each camera's own mean was taken off."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    @property
    def digest(self) -> str:
        """Identity of its weights and code: what it encoded is kept under this."""
        ...

    def encode(self, images_NHW3: ByteArray) -> FloatArray:
        """(N, H, W, 3) uint8 RGB of any size to (N, D) float32."""
        ...

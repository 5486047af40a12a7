"""Perception by name: networks that say of a picture what each pixel is and where the object lies.

The seam: each file is trained by the loop that trains world models (``Config``, ``debug()``, ``create(...)`` as in
:mod:`worldgate.worlds.family`), and what it makes is a :class:`Perceiver`. Pictures carry the origin of their episode:
a mix says how often each origin is drawn, what was drawn is counted and kept in the checkpoint, and figures on held-out
episodes are told by origin and site, never pooled over origins.

Shape legend: N pictures, S pixels a side.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from worldgate.core.errors import WeightsRefused
from worldgate.core.streams import ByteArray, FloatArray, IntArray
from worldgate.worlds import checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is said of N pictures."""

    classes: IntArray
    """(N, S, S) class of each pixel."""
    pose: FloatArray
    """(N, 3) x and y in m, yaw in rad up to the object's symmetry."""


class Perceiver(Protocol):
    """What a file of this seam trains."""

    turns: int
    """Turns of the object that look alike: 4 for a square block."""

    def see(self, pictures: ByteArray) -> Seen:
        """Classes and pose of (N, S, S, 3) uint8 pictures.

        Raises:
            UsageError: pictures of another size.
        """
        ...

    def drawn(self) -> dict[str, int]:
        """Origin -> samples that training drew from it."""
        ...


def load(folder: Path, *, expect: str | None = None) -> Perceiver:
    """A trained network from its checkpoint.

    Raises:
        NotFound: no checkpoint there.
        WeightsRefused: damaged, not the digest that was promised, or trained for something else.
    """
    _, model, _ = checkpoint.restore(folder, expect=expect)
    if not hasattr(model, "see"):
        raise WeightsRefused("this checkpoint holds no perception", where=folder, hint="worldgate list perception")
    return cast(Perceiver, model)

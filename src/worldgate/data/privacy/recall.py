"""How much of a person masking hides, measured where a log knows where its people are: against its segmentation.

A figure for one detector on one kind of scene, and no promise for another: a simulated forearm is not a visitor's face.

Shape legend: N frames, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from worldgate.core.errors import DataRefused
from worldgate.core.streams import Kind, Log
from worldgate.data.privacy.masks import find
from worldgate.data.privacy.rules import MaskRule

ENOUGH = 0.95
"""Share of a person's pixels that must be hidden for a frame to count as masked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """What a rule hid in one camera of one log."""

    log: str
    frames: int
    shown: int
    """Frames in which a person is seen."""
    masked: int
    """Of these, frames in which nearly all of the person is hidden."""
    pixels: int
    """A person's pixels over all frames."""
    hidden: int
    """Of these, hidden ones."""
    elsewhere: int
    """Pixels that show no person."""
    wasted: int
    """Of these, hidden ones."""


def measure(log: Log, rule: MaskRule, *, camera: str, segmentation: str, classes: Sequence[int]) -> Recall:
    """Compare what a rule hides with where the people are.

    Args:
        log: which has both streams, frame by frame at the same stamps.
        rule: detectors, margin and hold.
        camera: the colour camera.
        segmentation: class ids of the same picture.
        classes: ids of what must be hidden.

    Raises:
        DataRefused: streams that do not belong together.
    """
    colour, truth = log.read(camera), log.read(segmentation)
    if truth.info.kind is not Kind.SEGMENTATION or not np.array_equal(colour.times_ns, truth.times_ns):
        raise DataRefused("a camera and a segmentation with other stamps", got=segmentation, where=log.name)
    counts = np.zeros(6, np.int64)
    for index, boxes in enumerate(find(colour, rule)):
        held, place = truth.values, np.array([index])
        labels = held[place] if isinstance(held, np.ndarray) else held.read(place)
        person = np.isin(labels[0], classes)
        painted = np.zeros_like(person)
        for x0, y0, x1, y1 in boxes:
            painted[y0:y1, x0:x1] = True
        size, hidden = int(person.sum()), int((person & painted).sum())
        enough = size > 0 and hidden >= ENOUGH * size
        counts += (size > 0, enough, size, hidden, person.size - size, int(painted.sum()) - hidden)
    shown, masked, pixels, hidden, elsewhere, wasted = counts.tolist()
    return Recall(
        log=log.name,
        frames=len(colour),
        shown=shown,
        masked=masked,
        pixels=pixels,
        hidden=hidden,
        elsewhere=elsewhere,
        wasted=wasted,
    )

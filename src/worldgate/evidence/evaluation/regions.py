"""Errors where the real video moves, along a window: the region grows with every step, however the window is cut.

Shape legend: B samples, K steps ahead, H x W pixels, 3 colours.
"""

from __future__ import annotations

import numpy as np

from worldgate.core.streams import BoolArray
from worldgate.evidence.evaluation.measures import (
    Chunk,
    Direction,
    FigureInfo,
    NotMeasured,
    Reading,
    Setup,
    Watcher,
    Window,
)
from worldgate.evidence.evaluation.pointwise import colour_cameras
from worldgate.evidence.moving import region, squares


class Moving:
    """The squared error over the moving region of every colour camera, under one reduction."""

    def __init__(self, setup: Setup, suffix: str, *, unit: str, better: Direction, reduction: str) -> None:
        self.cameras, self.horizons, self.suffix = colour_cameras(setup), setup.horizons, suffix
        if not self.cameras:
            raise NotMeasured("the model gives no colour pictures")
        self.figures = tuple(
            FigureInfo(name=f"{c}/{suffix}", unit=unit, better=better, reduction=reduction, stream=c)
            for c in self.cameras
        )

    def watch(self, window: Window) -> Watcher:
        """The region grows along the window."""
        return _Watch(self, window)


class _Watch:
    def __init__(self, measure: Moving, window: Window) -> None:
        self.measure, self.window = measure, window
        self.moved: dict[str, BoolArray] = {}

    def see(self, chunk: Chunk) -> list[Reading]:
        out = []
        for camera in self.measure.cameras:
            real = chunk.views["real"].frames[camera][0]
            mask = region(real, self.window.known_frames(camera)[-1], self.moved.get(camera))
            self.moved[camera] = mask[-1]
            for step, k in chunk.at(self.measure.horizons):
                for who in ("model", "hold", "other"):
                    if who not in chunk.views:
                        continue
                    shown = chunk.views[who].frames[camera][:, k]
                    total, count = squares(shown, real[k], np.broadcast_to(mask[k], shown.shape[:3]))
                    sums = (float(total.sum()), float(count.sum()))
                    out.append(Reading(figure=f"{camera}/{self.measure.suffix}", contender=who, sums=sums, step=step))
        return out

    def close(self) -> list[Reading]:
        return []

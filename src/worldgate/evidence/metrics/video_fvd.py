"""Frechet distance of clips over features of clips that you bring: FVD with I3D's, or any other network's.

The first frames of every window, as many as the extractor wants (``frames``), of the real video, of one future of the
model and of the last frame repeated; the distance is that of ``frechet``. Worldgate ships no network for clips: in
Python give ``evaluate(..., clip_features=...)``, else this is not measured. Only the clip of the window at hand is
held. Biased upwards for few windows, so compare on the same windows only.

Source: Unterthiner et al., arXiv 1812.01717.

Shape legend: N clips, K frames, H x W pixels, F features.
"""

from __future__ import annotations

import numpy as np

from worldgate.core.streams import Array, FloatArray
from worldgate.evidence.evaluation.distributions import frechet
from worldgate.evidence.evaluation.embedding import require
from worldgate.evidence.evaluation.measures import (
    WHOLE,
    Chunk,
    ClipExtractor,
    FigureInfo,
    Reading,
    Setup,
    Verdict,
    Watcher,
    Window,
)
from worldgate.evidence.evaluation.pointwise import colour_cameras

CARD = {
    "line": "Frechet distance of clips over features of clips that you bring: FVD",
    "inputs": "frames; clip_features in Python",
    "source": "Unterthiner et al., arXiv 1812.01717",
}
CONTENDERS = ("real", "model", "hold")


def build(setup: Setup) -> Fvd:
    """For every colour camera.

    Raises:
        NotMeasured: no features of clips, no pictures, or windows shorter than a clip.
    """
    features, cameras = setup.clip_features, colour_cameras(setup)
    require(features is not None, "needs features of clips: evaluate(..., clip_features=...) in Python")
    require(bool(cameras), "the model gives no colour pictures")
    assert features is not None
    require(features.frames <= setup.horizons[-1], f"a clip of {features.frames} frames is longer than the horizon")
    return Fvd(cameras, features)


class Fvd:
    """The measure."""

    def __init__(self, cameras: tuple[str, ...], features: ClipExtractor) -> None:
        self.cameras, self.extract = cameras, features
        note = f"over {features.name}, {features.frames} frames; biased for few windows"
        self.figures = tuple(
            FigureInfo(name=f"{c}/fvd", unit="1", better="lower", stream=c, note=note) for c in cameras
        )
        self.held: dict[tuple[str, str], list[FloatArray]] = {}
        self.episodes: set[int] = set()

    def watch(self, window: Window) -> Watcher:
        """Gathers the first frames."""
        return _Watch(self, window)

    def conclude(self) -> list[Verdict]:
        """The distance of every camera, of model and copy-last."""
        out = []
        for camera in self.cameras:
            real = np.stack(self.held[camera, "real"])
            for who in CONTENDERS[1:]:
                value = frechet(real, np.stack(self.held[camera, who]))
                count = len(self.episodes)
                out.append(Verdict(figure=f"{camera}/fvd", step=WHOLE, contender=who, value=value, episodes=count))
        return out


class _Watch:
    def __init__(self, measure: Fvd, window: Window) -> None:
        self.measure, self.window = measure, window
        self.clips: dict[tuple[str, str], list[Array]] = {}

    def see(self, chunk: Chunk) -> list[Reading]:
        wanted = self.measure.extract.frames - chunk.first
        if wanted > 0:
            for camera in self.measure.cameras:
                for who in CONTENDERS:
                    shown = chunk.views[who].frames[camera][0, :wanted]
                    self.clips.setdefault((camera, who), []).append(shown)
        return []

    def close(self) -> list[Reading]:
        for key, parts in self.clips.items():
            clip = np.concatenate(parts)[None]
            self.measure.held.setdefault(key, []).append(np.asarray(self.measure.extract(clip), np.float64)[0])
        self.measure.episodes.add(self.window.episode)
        return []

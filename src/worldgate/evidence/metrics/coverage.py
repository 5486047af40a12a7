"""Calibration: how often the truth lies where a model says it does.

Of each number the probability integral transform u is taken: of B samples the rank of the truth among them with ties
and steps filled at random, ``u = (below + U (equal + 1)) / (B + 1)``, which is exactly uniform if the truth is one
more draw; of a claimed normal ``Phi((y - m) / s)``. Central coverage at level c is the share with ``|u - 1/2| <=
c/2``; the calibration error is the mean distance of the distribution of u from the uniform one at its deciles.
Channels of a stream are pooled; the interval is over episodes. A model that claims no spread is not measured: it
claims nothing.

Sources: Dawid, JRSS A 147 (1984); Gneiting, Balabdaoui and Raftery, JRSS B 69 (2007); Czado, Gneiting and Held,
Biometrics 65 (2009) for the randomised transform.

Shape legend: B samples, K steps, D channels.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from worldgate.core.streams import FloatArray
from worldgate.core.worlds import Capability
from worldgate.evidence.baselines import wrap
from worldgate.evidence.bootstrap import GOLDEN, splitmix
from worldgate.evidence.evaluation.measures import (
    Chunk,
    FigureInfo,
    NotMeasured,
    PerStep,
    Reading,
    Setup,
    Watcher,
    Window,
)

CARD = {
    "line": "coverage of central intervals and calibration of drawn futures and of the claimed deviation",
    "inputs": "states; samples or uncertainty",
    "source": "Gneiting, Balabdaoui and Raftery, JRSS B 69 (2007)",
}
LEVELS = (50, 80, 90)
BINS = 10


def build(setup: Setup) -> Coverage:
    """For every state stream, of what spread the model gives.

    Raises:
        NotMeasured: no states, or neither several futures nor an uncertainty.
    """
    if not setup.spec.states:
        raise NotMeasured("the model gives no states")
    kinds = (["drawn"] if setup.samples > 1 else []) + (
        ["claimed"] if Capability.UNCERTAINTY in setup.capabilities else []
    )
    if not kinds:
        raise NotMeasured("the model gives neither several futures nor an uncertainty: it claims no spread")
    return Coverage(setup, tuple(kinds))


def transform_samples(samples_BD: FloatArray, uniform_D: FloatArray) -> FloatArray:
    """(D,) randomised transform of a truth of 0 among samples."""
    below = (samples_BD < 0).sum(axis=0)
    equal = (samples_BD == 0).sum(axis=0)
    return np.asarray((below + uniform_D * (equal + 1)) / (len(samples_BD) + 1))


class Coverage:
    """The measure."""

    def __init__(self, setup: Setup, kinds: tuple[str, ...]) -> None:
        self.setup, self.kinds = setup, kinds
        figures = []
        for stream in (s.name for s in setup.spec.states):
            for kind in self._kinds(stream):
                figures += [
                    FigureInfo(
                        name=f"{stream}/coverage_{level}_{kind}",
                        unit="1",
                        better="target",
                        target=level / 100,
                        stream=stream,
                        detail=level != max(LEVELS),
                    )
                    for level in LEVELS
                ]
                figures.append(
                    FigureInfo(
                        name=f"{stream}/calibration_{kind}",
                        unit="1",
                        better="lower",
                        reduction="uniformity",
                        stream=stream,
                        note="mean distance from uniform; 0.25 is a spread of nothing",
                    )
                )
        self.figures = tuple(figures)

    def _kinds(self, stream: str) -> tuple[str, ...]:
        """What is read out is never drawn: it is the mean of what may be, with a deviation."""
        return tuple(k for k in self.kinds if k == "claimed" or stream not in self.setup.read_out)

    def watch(self, window: Window) -> Watcher:
        """Each horizon by itself."""

        def read(step: int, k: int, chunk: Chunk) -> list[Reading]:
            out = []
            for stream, scale in window.scales.items():
                said, real = chunk.views["model"], chunk.views["real"].states[stream][0, k]
                apart = wrap(np.asarray(said.states[stream], np.float64)[:, k] - real, window.circular[stream])
                apart = apart[:, scale.moves]
                if "drawn" in self._kinds(stream):
                    u = transform_samples(apart, _uniform(window.seed, step, stream, apart.shape[1]))
                    out += _readings(stream, "drawn", step, u)
                point = chunk.views["point"]
                if "claimed" in self.kinds and stream in point.uncertainty:
                    middle = wrap(np.asarray(point.states[stream], np.float64)[0, k] - real, window.circular[stream])
                    spread = np.asarray(point.uncertainty[stream], np.float64)[0, k]
                    u = ndtr(-middle / np.maximum(spread, 1e-12))[scale.moves]
                    out += _readings(stream, "claimed", step, u)
            return out

        return PerStep(self.setup.horizons, read)


def _uniform(seed: int, step: int, stream: str, count: int) -> FloatArray:
    """(count,) numbers in [0, 1) that depend on nothing but where they are used."""
    start = (seed * 1_000_003 + step * 7919 + sum(stream.encode())) & ((1 << 63) - 1)
    counter = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(GOLDEN) + np.uint64(start)
    return np.asarray((splitmix(counter) >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def _readings(stream: str, kind: str, step: int, u_D: FloatArray) -> list[Reading]:
    finite = np.isfinite(u_D)
    bins = np.bincount(np.minimum((u_D[finite] * BINS).astype(np.int64), BINS - 1), minlength=BINS)
    out = [
        Reading(
            figure=f"{stream}/coverage_{level}_{kind}",
            contender="model",
            sums=(float((np.abs(u_D - 0.5) <= level / 200).sum()), float(len(u_D))),
            step=step,
        )
        for level in LEVELS
    ]
    sums = tuple(float(v) for v in bins)
    return [*out, Reading(figure=f"{stream}/calibration_{kind}", contender="model", sums=sums, step=step)]

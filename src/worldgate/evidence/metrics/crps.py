"""Continuous ranked probability score of each number: of the futures a model draws, and of the deviation it claims.

Of B samples, the fair form ``mean_i |x_i - y| - 1/2 mean_{i != j} |x_i - x_j|``; of a claimed normal with mean m and
deviation s, closed: ``s [z (2 Phi(z) - 1) + 2 phi(z) - 1/sqrt(pi)]`` with ``z = (y - m) / s``, m and s as the model
says them when it is asked for one future. A single future scores its absolute error, and so do the baselines.
Channels that share a unit are averaged in that unit; each channel alone stands in the JSON.

Sources: Gneiting and Raftery, JASA 102 (2007), equations 20 and 21; Gneiting et al., Monthly Weather Review 133
(2005), equation 5.

Shape legend: B samples, K steps, D channels of one unit.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from worldgate.core.streams import FloatArray
from worldgate.evidence.baselines import wrap
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
from worldgate.evidence.evaluation.pointwise import Group, groups

CARD = {
    "line": "continuous ranked probability score of drawn futures and of the claimed deviation, in the channels' unit",
    "inputs": "states; samples or uncertainty",
    "source": "Gneiting and Raftery, JASA 102 (2007)",
}


def build(setup: Setup) -> Crps:
    """For every group of channels that share a unit.

    Raises:
        NotMeasured: the model gives no states.
    """
    if not setup.spec.states:
        raise NotMeasured("the model gives no states")
    return Crps(setup)


def of_samples(samples_BD: FloatArray) -> FloatArray:
    """(D,) score of samples whose truth is 0."""
    near = np.abs(samples_BD).mean(axis=0)
    count = len(samples_BD)
    if count < 2:
        return np.asarray(near)
    ordered = np.sort(samples_BD, axis=0)
    weights = 2.0 * np.arange(1, count + 1) - count - 1.0
    return np.asarray(near - (weights @ ordered) / (count * (count - 1)))


def of_normal(mean_D: FloatArray, deviation_D: FloatArray) -> FloatArray:
    """(D,) score of normals whose truth is 0."""
    safe = np.maximum(deviation_D, 1e-12)
    z = -mean_D / safe
    density = np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi)
    return np.asarray(safe * (z * (2.0 * ndtr(z) - 1.0) + 2.0 * density - 1.0 / np.sqrt(np.pi)))


class Crps:
    """The measure."""

    def __init__(self, setup: Setup) -> None:
        self.horizons, self.groups = setup.horizons, groups(setup)
        names = {s.name: s.names for s in setup.spec.states}
        self.channels = {g.name: [self._name(names[g.stream], c, g) for c in g.channels] for g in self.groups}
        figures = []
        for group in self.groups:
            for end, note in (("crps", ""), ("crps_claimed", "of the model's own deviation, as a normal")):
                figures.append(self._info(f"{group.name}/{end}", group, note, detail=bool(note)))
            figures += [
                self._info(f"{group.stream}/{channel}/crps", group, "", detail=True)
                for channel in self.channels[group.name]
            ]
        self.figures = tuple(figures)

    @staticmethod
    def _name(names: tuple[str, ...], channel: int, group: Group) -> str:
        del group
        return names[channel] if channel < len(names) else str(channel)

    @staticmethod
    def _info(name: str, group: Group, note: str, *, detail: bool) -> FigureInfo:
        return FigureInfo(name=name, unit=group.unit, better="lower", stream=group.stream, note=note, detail=detail)

    def watch(self, window: Window) -> Watcher:
        """Each horizon by itself."""

        def read(step: int, k: int, chunk: Chunk) -> list[Reading]:
            return [r for group in self.groups for r in self._read(group, window, step, k, chunk)]

        return PerStep(self.horizons, read)

    def _read(self, group: Group, window: Window, step: int, k: int, chunk: Chunk) -> list[Reading]:
        channels, stream = list(group.channels), group.stream
        turning = window.circular[stream][channels]
        real = np.asarray(chunk.views["real"].states[stream], np.float64)[0, k, channels]
        out = []
        for who in ("model", "hold", "velocity"):
            said = np.asarray(chunk.views[who].states[stream], np.float64)[:, k, channels]
            scores = of_samples(wrap(said - real, turning))
            out.append(Reading(figure=f"{group.name}/crps", contender=who, sums=(float(scores.mean()), 1.0), step=step))
            out += [
                Reading(figure=f"{stream}/{channel}/crps", contender=who, sums=(float(score), 1.0), step=step)
                for channel, score in zip(self.channels[group.name], scores, strict=True)
            ]
            point = chunk.views["point"]
            if stream in point.uncertainty:
                value = float(scores.mean())
                if who == "model":
                    middle = wrap(np.asarray(point.states[stream], np.float64)[0, k, channels] - real, turning)
                    spread = np.asarray(point.uncertainty[stream], np.float64)[0, k, channels]
                    value = float(of_normal(middle, spread).mean())
                out.append(Reading(figure=f"{group.name}/crps_claimed", contender=who, sums=(value, 1.0), step=step))
        return out

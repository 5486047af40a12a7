"""Refinement: where pictures alone speak, they are laid over each other to a fraction of a cell and of a tick.

An arm that does one task again moves nearly alike: over two seconds what changes in a camera can correlate by 0.95 with
another run. A copy can be laid over its original exactly; a repetition cannot, and the longer it is looked at the less.
So scale and shift of each axis and the offset are moved to where what changes correlates best, and the part that stays
unexplained may be small only, the smaller the less motion there is to tell by. Both are blurred by 0.7 cells first:
what is left between cells by codecs and resampling fades, where a thing moved to another place does not.

Shape legend: K ticks, G cells a side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Final

import numpy as np

from worldgate.core.streams import Array, FloatArray, IntArray
from worldgate.data.duplicates.rules import MatchConfig
from worldgate.data.duplicates.sketches import SIDE, TICK_NS, Film
from worldgate.data.duplicates.vectors import change
from worldgate.data.duplicates.verify import SHORTEST, Overlay, at, correlation, energy, local, overlap

UNEXPLAINED: Final = 0.05
"""Most that may stay unexplained (1 - correlation) of a copy's motion."""
AMPLE: Final = 36
"""Ticks of motion from which ``UNEXPLAINED`` holds; of less, proportionally less may stay."""
_SIGMA: Final = 0.7
_FAINTER: Final = 0.8
"""What blurring leaves of the energy of something small that moves."""
_ROUNDS: Final = 5
_HOPE: Final = 0.8
"""Correlation below which a finer look cannot help."""
_STEPS: Final = (0.025, 0.025, 0.5, 0.5, 0.5)
"""First steps of scale down and right, shift down and right in cells, and offset in ticks; halved each round."""
_LEAST, _MOST = 0.7, 1.1
_WORTH: Final = 0.25
"""Coverage and, from below, correlation of a coarse overlay that is worth refining."""


def worth(coarse: Overlay) -> bool:
    """Whether a coarse overlay may become a sure one."""
    return coarse.coverage >= _WORTH and coarse.error <= _WORTH


def refine(first: Film, second: Film, coarse: Overlay, config: MatchConfig) -> Overlay:
    """The overlay of two cameras, from a coarse one, as exact as their sketches allow."""
    fit = _Fit(first, second, turned=coarse.scale > 1)
    scale, lag = min(coarse.scale, 1 / coarse.scale), (first.start_ns + coarse.offset_ns - second.start_ns) / TICK_NS
    down, right = (s * SIDE for s in coarse.shift)
    starts = (np.array([scale, scale, down, right, lag]), np.array([1.0, 1.0, down, right, lag]))
    place = fit.climb(max(starts, key=fit.score))
    a, b, ticks, other = fit.laid(place)
    least = _FAINTER * config.floor
    moves_a, moves_b = energy(fit.a) > least, energy(fit.b) > least
    both = moves_a[ticks] & moves_b[np.rint(other).astype(np.int64).clip(0, len(fit.b) - 1)]
    good = np.zeros(len(fit.a), dtype=np.bool_)
    good[ticks] = both & (local(a, b) > config.pictures)
    found = float(np.sqrt(place[0] * place[1]))
    return replace(
        coarse,
        offset_ns=round(second.start_ns - first.start_ns + place[4] * TICK_NS),
        good=good,
        coverage=min(1.0, float(good.sum()) / max(1, min(int(moves_a.sum()), int(moves_b.sum())))),
        moving=int(both.sum()),
        error=1.0 - correlation(a, b),
        scale=1 / found if fit.turned else found,
        shift=(float(place[2]) / SIDE, float(place[3]) / SIDE),
    )


def sure(overlays: Sequence[Overlay], share: float = 1.0) -> bool:
    """Whether the cameras of two logs, taken together, show one event and no repetition.

    Args:
        overlays: of every camera that moves in both.
        share: of ``UNEXPLAINED`` that may stay.
    """
    moving = float(np.mean([o.moving for o in overlays]))
    return float(np.mean([o.error for o in overlays])) <= share * UNEXPLAINED * min(1.0, moving / AMPLE)


class _Fit:
    """Two films, one of which is scaled and moved; ``place`` is (scale, scale, down, right, lag)."""

    def __init__(self, first: Film, second: Film, *, turned: bool) -> None:
        self.turned = turned
        blur = _blur()
        self._raw = change(second if turned else first)
        self.a, self.b = (blur @ change(film) @ blur.T for film in (first, second))

    def laid(self, place: FloatArray) -> tuple[Array, Array, IntArray, FloatArray]:
        """Both over their overlap, its ticks in the first, and where those lie in the second."""
        ticks, other = overlap(len(self.a), len(self.b), float(place[4]))
        rows, columns = (_cubic(float(s), float(m)) @ _blur() for s, m in zip(place[:2], place[2:4], strict=True))
        if self.turned:
            return self.a[ticks], rows @ at(self._raw, other) @ columns.T, ticks, other
        return rows @ self._raw[ticks] @ columns.T, at(self.b, other), ticks, other

    def score(self, place: FloatArray) -> float:
        """Correlation, -1 where they overlap too little."""
        a, b, ticks, _ = self.laid(place)
        return correlation(a, b) if len(ticks) >= SHORTEST else -1.0

    def climb(self, place: FloatArray) -> FloatArray:
        """The best place near this one, by one coordinate after the other."""
        best, steps = self.score(place), np.array(_STEPS)
        for _ in range(_ROUNDS):
            for axis in range(len(steps)):
                for step in (-steps[axis], steps[axis]):
                    tried = place.copy()
                    tried[axis] += step
                    if not _LEAST < min(tried[:2]) <= max(tried[:2]) < _MOST:
                        continue
                    score = self.score(tried)
                    if score > best:
                        best, place = score, tried
            if best < _HOPE:
                break
            steps /= 2
        return place


@cache
def _blur() -> FloatArray:
    """(G, G) Gaussian over a row of cells."""
    apart = np.subtract.outer(np.arange(SIDE), np.arange(SIDE))
    weights = np.exp(-0.5 * (apart / _SIGMA) ** 2)
    blur: FloatArray = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return blur


def _cubic(scale: float, shift: float) -> FloatArray:
    """(G, G) like :func:`worldgate.data.duplicates.vectors.sampling`, by cubic convolution (Keys 1981)."""
    place = ((np.arange(SIDE) - (SIDE - 1) / 2) * scale + (SIDE - 1) / 2 + shift).clip(0, SIDE - 1)
    low = np.floor(place).astype(np.int64)
    t = place - low
    weights = (
        -0.5 * t + t**2 - 0.5 * t**3,
        1 - 2.5 * t**2 + 1.5 * t**3,
        0.5 * t + 2 * t**2 - 1.5 * t**3,
        -0.5 * t**2 + 0.5 * t**3,
    )
    matrix = np.zeros((SIDE, SIDE), dtype=np.float32)
    for step, weight in zip((-1, 0, 1, 2), weights, strict=True):
        np.add.at(matrix, (np.arange(SIDE), (low + step).clip(0, SIDE - 1)), weight.astype(np.float32))
    return matrix

"""Distances between what happened and what was imagined as two sets of points, with a p value by relabelling episodes.

Windows of an episode depend on each other, so the null that imagined and real are exchangeable is tested by swapping
the labels of whole episodes: each of R times every episode's real and imagined points change places with probability
1/2. ``p = (1 + #{statistic >= observed}) / (1 + R)`` is valid for any number of episodes; with few it cannot be small
(at best about ``2^(1-E)``), because the statistic does not change when all labels do.

Source: Phipson and Smyth, Statistical Applications in Genetics 9 (2010), for the p value; Winkler et al., NeuroImage
123 (2015), for blocks.

Shape legend: N points a side, F features, E episodes, R relabellings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from worldgate.core.streams import BoolArray, FloatArray, IntArray
from worldgate.evidence.evaluation.measures import Chunk, FigureInfo, PerStep, Reading, Setup, Verdict, Watcher, Window

MOST = 600
"""Points a side, evenly thinned; distances of all pairs are held."""

Kernel = Callable[[FloatArray], FloatArray]
"""(2N, 2N) distances -> (2N, 2N) k with the statistic ``s' k s / N^2`` for labels s of +-1."""


def distances(points: FloatArray) -> FloatArray:
    """(M, M) Euclidean."""
    square = (points**2).sum(axis=1)
    apart = np.sqrt(np.maximum(square[:, None] + square - 2.0 * points @ points.T, 0.0))
    np.fill_diagonal(apart, 0.0)
    return np.asarray(apart)


def relabelled(
    real_NF: FloatArray, imagined_NF: FloatArray, episode_N: IntArray, kernel: Kernel, *, relabellings: int, seed: int
) -> tuple[float, float]:
    """The statistic and its p value under swaps of whole episodes."""
    count = len(real_NF)
    form = kernel(distances(np.concatenate([real_NF, imagined_NF])))
    labels = np.concatenate([np.ones(count), -np.ones(count)])
    observed = float(labels @ form @ labels) / count**2
    names, place = np.unique(episode_N, return_inverse=True)
    swaps = np.random.default_rng(seed).integers(0, 2, (relabellings, len(names))) * 2.0 - 1.0
    signs = swaps[:, place]
    several = np.concatenate([signs, -signs], axis=1)
    values = ((several @ form) * several).sum(axis=1) / count**2
    slack = 1e-9 * max(abs(observed), 1e-300)
    return observed, float(1 + (values >= observed - slack).sum()) / (1 + relabellings)


@dataclass(slots=True)
class Points:
    """Features of the real and the imagined rows at each horizon, kept until the end."""

    setup: Setup
    suffix: str
    statistic: Callable[[FloatArray, FloatArray, IntArray], tuple[float, float | None]]
    """(real, imagined, episode of each) -> value and p."""
    note: str = ""
    detail: bool = False
    held: dict[tuple[str, int, str], list[FloatArray]] = field(default_factory=dict)
    episodes: dict[tuple[str, int], list[int]] = field(default_factory=dict)

    @property
    def figures(self) -> tuple[FigureInfo, ...]:
        """One a state stream and camera."""
        spec = self.setup.spec
        return tuple(
            FigureInfo(
                name=f"{s.name}/{self.suffix}",
                unit="1",
                better="lower",
                stream=s.name,
                note=self.note,
                detail=self.detail,
            )
            for s in (*spec.states, *spec.cameras)
        )

    def watch(self, window: Window) -> Watcher:
        """One future a window is kept: futures of one window are no independent points."""

        def read(step: int, k: int, chunk: Chunk) -> list[Reading]:
            for who in ("real", "model", "hold"):
                for stream, row in self._rows(window, chunk, who, k).items():
                    self.held.setdefault((stream, step, who), []).append(row)
                    if who == "real":
                        self.episodes.setdefault((stream, step), []).append(window.episode)
            return []

        return PerStep(self.setup.horizons, read)

    def _rows(self, window: Window, chunk: Chunk, who: str, k: int) -> Mapping[str, FloatArray]:
        view, out = chunk.views[who], {}
        for stream, scale in window.scales.items():
            row = np.asarray(view.states[stream], np.float64)[0, k]
            out[stream] = _unrolled(row, scale.std, scale.circular, scale.moves)
        for camera in window.tracks.frames:
            out[camera] = self.setup.features(view.frames[camera][:1, k])[0]
        return out

    def conclude(self) -> list[Verdict]:
        """The statistic of every stream at every horizon."""
        out = []
        for (stream, step, who), rows in self.held.items():
            if who == "real":
                continue
            real = np.stack(self.held[stream, step, "real"])
            said = np.stack(rows)
            episode = np.array(self.episodes[stream, step])
            keep = np.isfinite(said).all(axis=1)
            if not keep.all():
                continue
            thin = slice(None, None, max(1, -(-len(real) // MOST)))
            spread = real.std(axis=0)
            scale = np.where(spread > 1e-9, spread, 1.0)
            value, p = self.statistic((real / scale)[thin], (said / scale)[thin], episode[thin])
            out.append(
                Verdict(
                    figure=f"{stream}/{self.suffix}",
                    step=step,
                    contender=who,
                    value=value,
                    p=p,
                    episodes=len(set(episode.tolist())),
                )
            )
        return out


def _unrolled(row_D: FloatArray, std_D: FloatArray, circular_D: BoolArray, moves_D: BoolArray) -> FloatArray:
    """A row of states as a point: angles as sine and cosine, the rest in training deviations."""
    turning = circular_D
    plain = moves_D & ~turning
    return np.concatenate([(row_D / std_D)[plain], np.sin(row_D[turning]), np.cos(row_D[turning])])


def frechet(one_NF: FloatArray, two_NF: FloatArray) -> float:
    """Squared Frechet distance of normals fitted to two sets.

    The trace of the root is taken from the eigenvalues of ``C1^{1/2} C2 C1^{1/2}``.
    """
    apart = ((one_NF.mean(axis=0) - two_NF.mean(axis=0)) ** 2).sum()
    first, second = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (one_NF, two_NF))
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    cross = np.linalg.eigvalsh(root @ second @ root)
    return float(apart + np.trace(first) + np.trace(second) - 2.0 * np.sqrt(np.maximum(cross, 0.0)).sum())

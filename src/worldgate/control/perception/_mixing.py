"""Which picture comes next: origins by weight, rows of an origin alike, each sample knowing where it is from.

Shape legend: B samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from worldgate.core.errors import ConfigError, DataRefused
from worldgate.core.streams import IntArray, Origin
from worldgate.worlds.tracks import Track

ORIGINS = tuple(Origin)


class Mix:
    """Rows of tracks by origin.

    Args:
        tracks: what there is.
        weights: origin -> how often it is drawn beside the others; empty: as often as it has rows.

    Raises:
        ConfigError: a weight below zero, none above it, for an origin that no episode has, or an origin without one.
        DataRefused: no row to draw.
    """

    def __init__(self, tracks: Sequence[Track], weights: Mapping[str, float]) -> None:
        self.tracks = tracks
        rows: dict[str, list[IntArray]] = {}
        for number, track in enumerate(tracks):
            valid = np.flatnonzero(track.valid_T)
            rows.setdefault(origin_of(track), []).append(np.stack([np.full(len(valid), number), valid], axis=1))
        self.rows = {origin: np.concatenate(parts) for origin, parts in rows.items()}
        if any(not len(held) for held in self.rows.values()):
            raise DataRefused("an origin has no row without a gap", got=min(self.rows, key=lambda o: len(self.rows[o])))
        self.counts = {origin: len(held) for origin, held in sorted(self.rows.items())}
        if not weights:
            weights = {origin: float(count) for origin, count in self.counts.items()}
        wrong = set(weights) ^ set(self.rows)
        if wrong or min(weights.values(), default=0.0) < 0 or sum(weights.values()) <= 0:
            got = ", ".join(f"{name} {value:g}" for name, value in sorted(weights.items()))
            hint = f"a weight of 0 or more for each of {', '.join(self.counts)}"
            raise ConfigError("a mix names every origin there is, and no other", got=got, where="mix", hint=hint)
        total = sum(weights.values())
        self.shares = {origin: weights[origin] / total for origin in self.counts}

    def draw(self, rng: np.random.Generator, count: int) -> tuple[IntArray, IntArray]:
        """(B, 2) track and row of each sample, and (B,) its origin as a place in :data:`ORIGINS`."""
        names = list(self.shares)
        picked = rng.choice(len(names), size=count, p=list(self.shares.values()))
        places = np.zeros((count, 2), np.int64)
        for number, name in enumerate(names):
            mine = np.flatnonzero(picked == number)
            held = self.rows[name]
            places[mine] = held[rng.integers(len(held), size=len(mine))]
        of = np.array([ORIGINS.index(Origin(name)) for name in names])
        return places, of[picked]


def origin_of(track: Track) -> str:
    """Real, simulated or imagined."""
    assert track.episode is not None
    return track.episode.origin.value

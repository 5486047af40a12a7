"""Other actions for the same beginning: stretches of training episodes that began like a window and went on otherwise.

Among the nearest beginnings (last known row and its change, in training deviations) the one whose actions differ most
is taken. What its episode then did is a real pair for what the model says: same beginning, other actions.

Shape legend: M stretches, K steps, A action channels.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from worldgate.core.streams import FloatArray
from worldgate.evidence.evaluation.measures import Donor
from worldgate.evidence.evaluation.readouts import shrink
from worldgate.evidence.evaluation.references import References, Scale
from worldgate.evidence.windows import LEAST_CONTEXT, Tracks

NEAREST = 12
MOST = 4000


class Donors:
    """The pool of stretches."""

    def __init__(self, references: References, scales: Mapping[str, Scale], steps: int) -> None:
        self._tracks, self._scales, self._steps = references.tracks, scales, steps
        commanded = [t.actions[t.good] for t in references.tracks if t.actions is not None]
        self._deviation = np.maximum(np.concatenate(commanded).std(axis=0), 1e-9) if commanded else np.ones(1)
        places: list[tuple[int, int]] = []
        for number, tracks in enumerate(references.tracks):
            bad = np.concatenate([[0], np.cumsum(~tracks.good)])
            last = len(tracks.good) - 1 - steps
            rows = np.arange(LEAST_CONTEXT - 1, last + 1)
            clear = [int(t) for t in rows if bad[t + steps + 1] == bad[t - LEAST_CONTEXT + 1]]
            places += [(number, t) for t in clear]
        self._places = places[:: max(1, len(places) // MOST)]
        self._known = np.stack([self._beginning(self._tracks[n], t) for n, t in self._places]) if self._places else None

    def pick(self, tracks: Tracks, start: int) -> Donor | None:
        """A stretch for the window at ``start``; None where the pool is empty."""
        if self._known is None or tracks.actions is None:
            return None
        apart = np.abs(self._known - self._beginning(tracks, start)).mean(axis=1)
        own = tracks.episode.id
        order = [
            i
            for i in np.argsort(apart, kind="stable")[: 4 * NEAREST]
            if self._tracks[self._places[i][0]].episode.id != own
        ]
        if not order:
            return None
        actions = tracks.actions[start : start + self._steps]
        best = max(order[:NEAREST], key=lambda i: self._different(i, actions))
        number, row = self._places[best]
        source = self._tracks[number]
        assert source.actions is not None
        return Donor(
            states={name: np.asarray(v[row : row + self._steps + 1], np.float64) for name, v in source.states.items()},
            actions=source.actions[row : row + self._steps],
        )

    def _different(self, index: int, actions_KA: FloatArray) -> float:
        number, row = self._places[index]
        other = self._tracks[number].actions
        assert other is not None
        return float(np.abs((other[row : row + self._steps] - actions_KA) / self._deviation).mean())

    def _beginning(self, tracks: Tracks, row: int) -> FloatArray:
        """Where it is and how it moves; without states, what the pictures show and what was last commanded."""
        parts: list[FloatArray] = []
        for name, scale in self._scales.items():
            values = tracks.states[name]
            now, before = (np.asarray(values[r], np.float64)[scale.moves] for r in (row, row - 1))
            parts += [now / scale.std[scale.moves], (now - before) / scale.std[scale.moves]]
        if not parts:
            assert tracks.actions is not None
            seen: list[FloatArray] = [
                shrink(frames[row : row + 1], 4).ravel() / 32.0 for frames in tracks.frames.values()
            ]
            parts = [np.asarray(tracks.actions[row - 1] / self._deviation, np.float64), *seen]
        return np.asarray(np.concatenate(parts))

"""Energy score of several futures: how far they are from what happened, less half of how far they are from each other.

``ES = mean_i |x_i - y| - 1/2 mean_{i != j} |x_i - x_j|``, the fair form, whose expectation is least for the true
distribution whatever the number of futures. States: Euclidean over all moving channels in training deviations, angles
wrapped around the truth. Pictures: over the features of the evaluation, each in its training deviations. With one
future it is the plain distance, which is also what the baselines get.

Sources: Gneiting and Raftery, JASA 102 (2007), section 4.3; Ferro, QJRMS 140 (2014) for the fair form.

Shape legend: B samples, K steps, D state channels, F features.
"""

from __future__ import annotations

import numpy as np

from worldgate.core.streams import Array, FloatArray
from worldgate.core.worlds import Frame
from worldgate.evidence.baselines import wrap
from worldgate.evidence.evaluation.measures import Chunk, FigureInfo, PerStep, Reading, Setup, Watcher, Window
from worldgate.evidence.evaluation.scores import energy_score

CARD = {
    "line": "energy score of several futures, states in training deviations and pictures as features",
    "inputs": "states or frames; several samples where the model has them",
    "source": "Gneiting and Raftery, JASA 102 (2007)",
}
CONTENDERS = ("model", "hold", "velocity", "other")


def build(setup: Setup) -> Energy:
    """For every state stream and camera."""
    return Energy(setup)


class Energy:
    """The measure."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.deviation = {c.name: self._spread(c.name) for c in setup.spec.cameras}
        streams = [*(s.name for s in setup.spec.states), *self.deviation]
        self.figures = tuple(
            FigureInfo(name=f"{s}/energy", unit="1", better="lower", stream=s, note="in training deviations")
            for s in streams
        )

    def _spread(self, camera: str) -> FloatArray:
        """(F,) deviation of the features over real pictures."""
        held = [t.frames[camera] for t in self.setup.references.tracks]
        rows = [f[:: max(1, len(f) // 16)] for f in held]
        spread = np.concatenate([self.setup.features(r) for r in rows]).std(axis=0)
        return np.asarray(np.where(spread > 1e-9, spread, 1.0))

    def watch(self, window: Window) -> Watcher:
        """Each horizon by itself."""

        def read(step: int, k: int, chunk: Chunk) -> list[Reading]:
            out = []
            for who in CONTENDERS:
                if who in chunk.views:
                    scores = self._scores(window, chunk.views[who], chunk.views["real"], k)
                    out += [Reading(figure=f"{s}/energy", contender=who, sums=(v, 1.0), step=step) for s, v in scores]
            return out

        return PerStep(self.setup.horizons, read)

    def _scores(self, window: Window, said: Frame, real: Frame, k: int) -> list[tuple[str, float]]:
        out = []
        for name, values in said.states.items():
            if name not in window.scales:
                continue
            scale = window.scales[name]
            apart = wrap(np.asarray(values[:, k], np.float64) - real.states[name][0, k], window.circular[name])
            unit = (apart / scale.std)[:, scale.moves]
            out.append((name, energy_score(unit, np.zeros(unit.shape[1]))))
        for camera, spread in self.deviation.items():
            if camera in said.frames:
                shown: Array = np.concatenate([real.frames[camera][:, k], said.frames[camera][:, k]])
                seen = self.setup.features(shown) / spread
                out.append((camera, energy_score(seen[1:], seen[0])))
        return out

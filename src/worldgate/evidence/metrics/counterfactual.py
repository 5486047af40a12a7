"""Whether other actions change the outcome as they do in reality.

From one prompt the model is rolled out under the recorded actions and under those of a real training stretch that
began alike. Its change of outcome, ``(x_b - x_a)``, is held against the real one, ``(y_b - y_b0) - (y_a - y_a0)``:
the two real stretches' displacements from their own beginnings. State channels in training deviations, mean of the
futures.

* ``counterfactual_error``: size of the difference of the two changes. ``hold`` says that nothing changes, ever.
* ``counterfactual_gain``: slope of the imagined change on the real one; 1 is right, 0 ignores its actions, above 1
  exaggerates.
* ``counterfactual_change``: size of the imagined change alone, beside that of the ``real`` one.
* ``counterfactual_mismatch``: distance of the two beginnings: what of the error may not be the model's.

Beginnings are alike, never equal, so even a perfect model keeps some error and a gain below 1: least squares on a
regressor with noise is attenuated (Fuller, Measurement Error Models, 1987). Where actions are places, the first steps
also make up for where the other stretch stood. Read it between models, and at later steps.

Source: governance of the gap, W3 (counterfactual sensitivity against the real local response); the matching is ours.

Shape legend: B samples, K steps, D state channels.
"""

from __future__ import annotations

import numpy as np

from worldgate.core.streams import FloatArray
from worldgate.evidence.baselines import wrap
from worldgate.evidence.evaluation.embedding import require
from worldgate.evidence.evaluation.measures import Chunk, FigureInfo, PerStep, Reading, Setup, Watcher, Window

CARD = {
    "line": "change of outcome under other actions, against real stretches that began alike",
    "inputs": "actions; states; training episodes",
    "source": "governance of the gap, W3",
}


def build(setup: Setup) -> Counterfactual:
    """For every state stream.

    Raises:
        NotMeasured: no actions, no states, no training episodes, or other actions are switched off.
    """
    require(setup.spec.action is not None and setup.spec.action.shape != (0,), "the model takes no actions")
    require(bool(setup.spec.states), "the model gives no states; action_following looks at pictures")
    require(setup.config.other_actions, "other actions are switched off")
    setup.need_references()
    return Counterfactual(setup)


class Counterfactual:
    """The measure."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.figures = tuple(info for s in setup.spec.states for info in _infos(s.name))

    def watch(self, window: Window) -> Watcher:
        """Each horizon by itself."""

        def read(step: int, k: int, chunk: Chunk) -> list[Reading]:
            if window.donor is None or "other" not in chunk.views:
                return []
            return [r for stream in window.scales for r in _readings(window, stream, step, k, chunk)]

        return PerStep(self.setup.horizons, read)


def _infos(stream: str) -> list[FigureInfo]:
    note = "in training deviations"
    return [
        FigureInfo(name=f"{stream}/counterfactual_error", unit="1", better="lower", stream=stream, note=note),
        FigureInfo(
            name=f"{stream}/counterfactual_gain",
            unit="1",
            better="target",
            target=1.0,
            reduction="slope",
            stream=stream,
        ),
        FigureInfo(
            name=f"{stream}/counterfactual_change", unit="1", better="target", stream=stream, note=note, detail=True
        ),
        FigureInfo(
            name=f"{stream}/counterfactual_mismatch", unit="1", better="target", stream=stream, note=note, detail=True
        ),
    ]


def _readings(window: Window, stream: str, step: int, k: int, chunk: Chunk) -> list[Reading]:
    assert window.donor is not None
    scale, turning = window.scales[stream], window.circular[stream]

    def unit(difference: FloatArray) -> FloatArray:
        return np.asarray((wrap(difference, turning) / scale.std)[..., scale.moves])

    own = chunk.views["model"].states[stream][:, k]
    said = unit(np.asarray(chunk.views["other"].states[stream][:, k] - own, np.float64)).mean(axis=0)
    lent = window.donor.states[stream]
    real = unit(lent[step] - lent[0]) - unit(chunk.views["real"].states[stream][0, k] - window.known(stream)[-1])
    mismatch = float(np.linalg.norm(unit(lent[0] - window.known(stream)[-1])))
    sizes = {"model": np.linalg.norm(said), "real": np.linalg.norm(real)}
    name = f"{stream}/counterfactual"
    return [
        Reading(figure=f"{name}_mismatch", contender="real", sums=(mismatch, 1.0), step=step),
        Reading(figure=f"{name}_error", contender="model", sums=(float(np.linalg.norm(said - real)), 1.0), step=step),
        Reading(figure=f"{name}_error", contender="hold", sums=(float(sizes["real"]), 1.0), step=step),
        Reading(figure=f"{name}_gain", contender="model", sums=(float(real @ real), float(real @ said)), step=step),
        *(
            Reading(figure=f"{name}_change", contender=who, sums=(float(size), 1.0), step=step)
            for who, size in sizes.items()
        ),
    ]

"""Whether a model sees a limit of the site being crossed: force above, distance to a person below.

For each window and each future: did the recorded measurement cross the limit at any step, and did the imagined one?

* ``force_crossings``: size of the recorded force on the tool against ``force_limit_n``; imagined from a predicted
  force.
* ``clearance_crossings``: distance of tool and person's hand, in the plane, against ``clearance_limit_m``; imagined
  from predicted ``tool.x``, ``tool.y``, ``person.x``, ``person.y``.

Sums, of windows: crossed and said so, said but not crossed (false alarm), crossed but missed, neither. The figure is
F1. Of several futures, one that crosses says so: a warning is missed only if no future gives it.

Source: governance of the gap, W8 (missed violations first, false alarms second).

Shape legend: B samples, K steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import FloatArray
from worldgate.evidence.evaluation.embedding import require
from worldgate.evidence.evaluation.measures import Chunk, FigureInfo, Reading, Setup, Watcher, Window

CARD = {
    "line": "whether imagined force and distance cross the site's limits in the windows in which the real ones do",
    "inputs": "limits; states with a force, or with the places of tool and person",
    "source": "governance of the gap, W8",
}
PLACES = ("tool.x", "tool.y", "person.x", "person.y")


def build(setup: Setup) -> Envelope:
    """Of the limits that were given and that the model can cross.

    Raises:
        NotMeasured: no limit, or nothing that tells whether it is crossed.
    """
    limits = (setup.config.force_limit_n, setup.config.clearance_limit_m)
    require(any(limits), "no limit of the site was given: --set force_limit_n=40 or --set clearance_limit_m=0.1")
    found: list[Limit] = []
    for signal in setup.spec.states:
        rows = setup.streams.get(signal.name)
        names = signal.names or (rows.info.names if rows is not None else ())
        unit = signal.unit or (rows.info.unit if rows is not None else "")
        if limits[0] and unit == "N" and signal.shape == (3,):
            found.append(Limit("force_crossings", signal.name, (0, 1, 2), limits[0]))
        if limits[1] and set(PLACES) <= set(names):
            found.append(Limit("clearance_crossings", signal.name, tuple(names.index(n) for n in PLACES), limits[1]))
    require(bool(found), "the model predicts neither a force nor the places of tool and person in one stream")
    return Envelope(setup, found)


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit and what is held against it."""

    figure: str
    stream: str
    columns: tuple[int, ...]
    limit: float

    def crossed(self, rows_BKD: FloatArray) -> float:
        """1 if any future crosses at any step, else 0; NaN if something is not finite, which says neither."""
        held = rows_BKD[..., list(self.columns)]
        if not np.isfinite(held).all():
            return np.nan
        if self.figure == "force_crossings":
            return float((np.linalg.norm(held, axis=-1) > self.limit).any())
        return float((np.linalg.norm(held[..., :2] - held[..., 2:], axis=-1) < self.limit).any())


class Envelope:
    """The measure."""

    def __init__(self, setup: Setup, limits: list[Limit]) -> None:
        self.setup, self.limits = setup, limits
        self.figures = tuple(
            FigureInfo(name=f"{limit.stream}/{limit.figure}", unit="1", better="higher", reduction="f1",
                       note=f"of windows that cross {limit.limit:g}")
            for limit in limits
        )  # fmt: skip

    def watch(self, window: Window) -> Watcher:
        """Follows the window to its end."""
        return _Watch(self, window)


class _Watch:
    def __init__(self, measure: Envelope, window: Window) -> None:
        self.measure = measure
        self.crossed: dict[tuple[str, str], float] = {}

    def see(self, chunk: Chunk) -> list[Reading]:
        for limit in self.measure.limits:
            for who in ("model", "hold", "real"):
                said = limit.crossed(np.asarray(chunk.views[who].states[limit.stream], np.float64))
                key = (limit.figure, who)
                self.crossed[key] = float(np.maximum(self.crossed.get(key, 0.0), said))
        return []

    def close(self) -> list[Reading]:
        out = []
        for limit in self.measure.limits:
            real = self.crossed[limit.figure, "real"]
            for who in ("model", "hold"):
                said = self.crossed[limit.figure, who]
                told = (real * said, (1.0 - real) * said, real * (1.0 - said), (1.0 - real) * (1.0 - said))
                out.append(Reading(figure=f"{limit.stream}/{limit.figure}", contender=who, sums=told))
        return out

"""Whether the room that a model imagines is the room of the site: occupied and free cells, and lengths of ways.

The scan that a model predicts is laid onto the grid of the site's layout (``worldgate.evidence.layout``), at each
horizon, in cells that the real scan saw at the same moment.

* ``occupied_iou`` and ``free_iou``: cells that both call so, of those that either does. ``real``: the real scan against
  the layout, the ceiling: what moves about stands in no layout.
* ``path_error``: steps by which the layout's routes differ on the imagined grid, of the steps they have.

Source: governance of the gap, W10.

Shape legend: B samples, K steps, N beams.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from worldgate.evidence.evaluation.embedding import require
from worldgate.evidence.evaluation.measures import Chunk, FigureInfo, PerStep, Reading, Setup, Watcher, Window
from worldgate.evidence.layout import Layout, compare, load, rasterise

CARD = {
    "line": "occupied and free cells and lengths of ways that an imagined scan gives, against the site's layout",
    "inputs": "a layout of the site; states with the ranges of its scanner",
    "source": "governance of the gap, W10; occupancy grids, Elfes 1989",
}


def build(setup: Setup) -> RoomLayout:
    """Of the scanner that the layout names.

    Raises:
        NotMeasured: no layout was given, or the model does not predict the scan.
    """
    require(bool(setup.config.layout), "no layout of the site was given: --set layout=site.json")
    layout = load(Path(setup.config.layout))
    known = any(s.name == layout.scanner.stream for s in setup.spec.states)
    require(known, f"the model does not predict {layout.scanner.stream}")
    return RoomLayout(setup, layout)


class RoomLayout:
    """The measure."""

    def __init__(self, setup: Setup, layout: Layout) -> None:
        self.setup, self.layout = setup, layout
        stream = layout.scanner.stream
        self.figures = (
            FigureInfo(name=f"{stream}/occupied_iou", unit="1", better="higher", note="of the site's layout"),
            FigureInfo(name=f"{stream}/free_iou", unit="1", better="higher", note="of the site's layout"),
            FigureInfo(name=f"{stream}/path_error", unit="1", better="lower", note="of the layout's routes"),
        )

    def watch(self, window: Window) -> Watcher:
        """Each horizon by itself."""
        stream = self.layout.scanner.stream

        def read(step: int, k: int, chunk: Chunk) -> list[Reading]:
            real = rasterise(np.asarray(chunk.views["real"].states[stream])[0, k], self.layout)
            out = []
            for who in ("model", "hold", "real"):
                for ranges in np.asarray(chunk.views[who].states[stream], np.float64)[:, k]:
                    found = compare(self.layout, imagined=rasterise(ranges, self.layout), real=real)
                    for name, pair in (
                        ("occupied_iou", found.occupied),
                        ("free_iou", found.free),
                        ("path_error", found.path),
                    ):
                        sums = tuple(float(v) for v in pair)
                        out.append(Reading(figure=f"{stream}/{name}", contender=who, sums=sums, step=step))
            return out

        return PerStep(self.setup.horizons, read)

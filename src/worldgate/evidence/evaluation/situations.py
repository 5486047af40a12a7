"""Special situations of a window, told from the recorded truth: the steps at which each holds.

* ``occluded``: from the first step at which the object, which the camera had seen, is hidden: less than a quarter of
  the area it shows in the median row of its episode, or of the best row if it is mostly hidden. Object permanence.
* ``contact_forming`` / ``contact_breaking``: from the step at which a contact begins that was not there at the last
  known row, or one ends that was.
* ``person_entering``: from the step at which a hand that lay still at the last known row has come ``PERSON_M``
  nearer. That it comes cannot be known from the past; what is measured is what a model makes of it, and whether it
  carries the movement on once it is under way (the prompts of later windows hold its beginning).
* ``person``: steps at which the hand is over the table.
* ``sensor_drift``: steps at which a sensor's clock is wrong by more than half a row.

Windows spread evenly over an episode rarely meet these, so some more are cut where one is about to begin
(:func:`places`); they count for their situations alone, never for the figures over all windows.

Shape legend: K steps, T rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from worldgate.core.streams import BoolArray
from worldgate.evidence.evaluation.measures import EvaluateConfig
from worldgate.evidence.evaluation.truth import Truth

PERSON_M = 0.03
OVER_TABLE_M = 0.60
"""A hand nearer than this is over the table or about to be; parked it is at 0.95 m."""

NAMES = ("occluded", "contact_forming", "contact_breaking", "person_entering", "person", "sensor_drift")


def find(truth: Truth, start: int, steps: int, rate_hz: float, config: EvaluateConfig) -> Mapping[str, BoolArray]:
    """Situation -> (K,) steps at which it holds; those that never hold are left out."""
    rows = slice(start + 1, start + 1 + steps)
    found: dict[str, BoolArray] = {}
    hidden = truth.hidden
    if hidden is not None and not hidden[start]:
        found["occluded"] = np.logical_or.accumulate(hidden[rows])
    touch = truth.touch(config.contact_n, round(config.contact_pause_s * rate_hz))
    if touch is not None:
        if touch[start]:
            found["contact_breaking"] = np.logical_or.accumulate(~touch[rows])
        else:
            found["contact_forming"] = np.logical_or.accumulate(touch[rows])
    found |= _person(truth, start, rows)
    if truth.clock_error_s is not None:
        found["sensor_drift"] = np.asarray(np.abs(truth.clock_error_s[rows]) > 0.5 / rate_hz)
    return {name: mask for name, mask in found.items() if mask.any()}


def places(truth: Truth, rows: Sequence[int], steps: int, rate_hz: float, config: EvaluateConfig) -> frozenset[int]:
    """Rows of windows in which something special begins soon: as many a situation as the configuration wants.

    Args:
        truth: of the episode.
        rows: at which a window may stand.
        steps: of a window.
        rate_hz: of the rows.
        config: how many.
    """
    if not config.situation_windows or not rows:
        return frozenset()
    lead = max(1, min(steps // 4, round(0.3 * rate_hz)))
    picked: set[int] = set()
    for name in ("occluded", "contact_forming", "contact_breaking", "person_entering"):
        fitting = [t for t in rows if _begins(truth, name, t, lead, rate_hz, config)]
        count = min(config.situation_windows, len(fitting))
        picked |= {fitting[(i * (len(fitting) - 1)) // max(count - 1, 1)] for i in range(count)}
    return frozenset(picked)


def _begins(truth: Truth, name: str, start: int, lead: int, rate_hz: float, config: EvaluateConfig) -> bool:
    """Whether a situation begins exactly ``lead`` steps after a row, and not before."""
    mask = find(truth, start, lead, rate_hz, config).get(name)
    return mask is not None and bool(mask[-1]) and int(mask.sum()) == 1


def _person(truth: Truth, start: int, rows: slice) -> dict[str, BoolArray]:
    if truth.person_xy is None or start < 1:
        return {}
    before, now = truth.person_xy[start - 1], truth.person_xy[start]
    path = truth.person_xy[rows]
    out = {"person": np.asarray(path[:, 0] < OVER_TABLE_M)}
    if np.linalg.norm(now - before) < 0.1 * PERSON_M:
        nearer = now[0] - path[:, 0] > PERSON_M
        out["person_entering"] = np.logical_or.accumulate(nearer)
    return out

"""Contact: the tool touches something, from the force on it.

A tool that pushes bounces: in the cell a push of two seconds is some sixty touches of 10 to 100 ms. So pauses shorter
than ``pause_s`` belong to the contact, and it is contacts in this sense that are measured. The force is taken as it is,
without tare: a sensor with a bias above ``least_n`` labels everything, which the contract's ranges should catch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import Log
from worldgate.core.times import SECOND
from worldgate.data.labellers._signals import find_force, read
from worldgate.data.labelling.sets import Label
from worldgate.data.labelling.spans import closed, runs

CARD = {
    "line": "spans in which the tool touches something",
    "inputs": "force on the tool, N",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What counts as a touch."""

    least_n: float = 0.15
    """Force below this is noise, N: five standard deviations of the cell's sensor."""
    pause_s: float = 0.2
    """Pauses up to this are part of a contact, s."""


def reads(log: Log, config: Config) -> tuple[str, ...]:
    """The force, where there is one."""
    del config
    force = find_force(log)
    return (force.stream,) if force is not None else ()


def label(log: Log, config: Config) -> tuple[Label, ...]:
    """Spans of contact."""
    channels = find_force(log)
    assert channels is not None
    force = read(log, channels)
    if not len(force.times_ns):
        return ()
    touching = np.linalg.norm(force.values, axis=1) > config.least_n
    spans = closed(runs(touching, force.times_ns, force.end_ns), round(config.pause_s * SECOND))
    return tuple(Label(label="contact", start_ns=start, end_ns=end) for start, end in spans)

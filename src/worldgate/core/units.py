"""Units of streams: a small closed table. A mismatch is found and refused; nothing here converts a value silently.

A unit text is one symbol for all channels (``rad``) or one a channel, joined by commas (``m,m,rad``); empty means
unknown, which equals nothing, itself included. Source: the SI brochure, 9th edition; symbols written in ASCII as UCUM
does. Notable choice: ``rad`` and ``deg`` are an angle of their own, not the dimensionless 1 of the SI, because mixing
them with plain ratios is the mistake worth catching.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass

from worldgate.core.errors import UsageError


@dataclass(frozen=True, slots=True)
class Unit:
    """A symbol, what it measures, and how many of the dimension's base unit it is."""

    symbol: str
    dimension: str
    factor: float


_TABLE = (
    ("1", "ratio", 1.0),
    ("%", "ratio", 0.01),
    ("rad", "angle", 1.0),
    ("deg", "angle", math.pi / 180),
    ("m", "length", 1.0),
    ("cm", "length", 0.01),
    ("mm", "length", 0.001),
    ("m^2", "area", 1.0),
    ("s", "time", 1.0),
    ("ms", "time", 1e-3),
    ("us", "time", 1e-6),
    ("ns", "time", 1e-9),
    ("Hz", "frequency", 1.0),
    ("kg", "mass", 1.0),
    ("g", "mass", 0.001),
    ("N", "force", 1.0),
    ("N*m", "torque", 1.0),
    ("m/s", "speed", 1.0),
    ("mm/s", "speed", 0.001),
    ("rad/s", "angular speed", 1.0),
    ("deg/s", "angular speed", math.pi / 180),
    ("m/s^2", "acceleration", 1.0),
    ("rad/s^2", "angular acceleration", 1.0),
    ("A", "current", 1.0),
    ("mA", "current", 0.001),
    ("C", "charge", 1.0),
    ("A*h", "charge", 3600.0),
    ("V", "voltage", 1.0),
    ("T", "magnetic flux density", 1.0),
    ("uT", "magnetic flux density", 1e-6),
    ("W", "power", 1.0),
    ("Pa", "pressure", 1.0),
    ("degC", "temperature", 1.0),
    ("px", "pixels", 1.0),
    ("lx", "illuminance", 1.0),
)
UNITS = {symbol: Unit(symbol, dimension, factor) for symbol, dimension, factor in _TABLE}


def check_unit(text: str, *, channels: int | None = None) -> tuple[Unit, ...]:
    """Read a unit text: one unit, or one a channel.

    Args:
        text: ``rad`` or ``m,m,rad``; empty means unknown and gives an empty tuple.
        channels: how many channels the stream has; a list must have as many.

    Raises:
        UsageError: a symbol that is not in the table (with the nearest that is), or another number of units.
    """
    if not text:
        return ()
    found = []
    for symbol in text.split(","):
        unit = UNITS.get(symbol)
        if unit is None:
            near = difflib.get_close_matches(symbol.strip(), UNITS, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]}?" if near else f"one of {' '.join(UNITS)}"
            raise UsageError("not a known unit", got=repr(symbol), where=repr(text), hint=hint)
        found.append(unit)
    if channels is not None and len(found) not in (1, channels):
        raise UsageError("as many units as channels, or one for all", got=f"{len(found)} for {channels} channels")
    return tuple(found)


def same_unit(a: str, b: str) -> bool:
    """Whether two unit texts mean the same for every channel. Unknown is the same as nothing.

    Raises:
        UsageError: a symbol that is not in the table.
    """
    left, right = check_unit(a), check_unit(b)
    if not left or not right:
        return False
    width = max(len(left), len(right))
    return _spread(left, width) == _spread(right, width)


def _spread(units: tuple[Unit, ...], width: int) -> tuple[Unit, ...]:
    return units * width if len(units) == 1 else units

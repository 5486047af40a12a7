"""Clocks that were set while they ran: steps and resets in (log time minus stamp), each at its message.

Two passes. Leaps far beyond any delay, such as a reset to 1970, are taken off exactly. In what is left, the median
of the messages after an instant is held against the median before it (moving sums: Eichinger and Kirch, Bernoulli
2018, here with medians, which short bursts of delay do not lift); a drift gives the same difference everywhere and
is taken off with the median of all. A level that changes says only that stamp and arrival part; which of the two
clocks was set shows in their own steps at that message: a stamp that leaps while messages arrive evenly was set,
messages that come late while their stamps run on were only delayed.

Shape legend: N messages, in recorded order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from worldgate.core.streams import FloatArray, IntArray
from worldgate.core.times import MILLISECOND, SECOND

_LEAP_NS = 10 * SECOND
"""No delay changes by this much from one message to the next and stays there."""
_DAY_NS = 86_400 * SECOND
_WINDOW = (5, 25)
_SURE = 7.0
"""Standard errors that a change of level must reach."""
_NEAR = 2
"""Messages by which noise may misplace a step."""
_MOST = 16
"""Steps looked for; a clock with more has no model worth the name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Stamps and arrivals part by another amount from this message on."""

    message: int
    """Recorded position of the first message after it."""
    offset_ns: int
    """What must be added to the stamps from here on."""
    error_ns: int
    """95 % half width."""
    who: Literal["stamp", "log", "either"]
    """Whose steps show it: the sensor's clock, the recorder's clock or the way between, or neither clearly."""


def changes(stamps_ns: IntArray, log_ns: IntArray, *, least_ns: int = 5 * MILLISECOND) -> tuple[Change, ...]:
    """Find where one of two clocks was set.

    Args:
        stamps_ns: (N,) by the sensor's clock, in recorded order.
        log_ns: (N,) by the recorder's.
        least_ns: smaller changes are not looked for.
    """
    if len(stamps_ns) < 2 * _WINDOW[0]:
        return ()
    delay = log_ns - stamps_ns
    leaps = _leaps(delay)
    rest = delay.copy()
    for message, size in leaps:
        rest[message:] -= size
    width = _window(len(delay))
    series = (rest - int(np.median(rest))).astype(np.float64)
    score = _score(series, width)
    usual = float(np.median(score))  # what a drift makes of every window
    error = _error(score - usual, series, width)
    places = {message for message, _ in leaps}
    for message in _places(series, score - usual, width, max(float(least_ns), _SURE * error)):
        if not any(abs(message - place) <= 2 for place in places):
            places.add(message)
    found = {}
    for message in sorted(places):
        size = _size(delay, message, width) - round(usual)
        who = _who(stamps_ns, log_ns, message, size)
        found[message] = Change(message=message, offset_ns=size, error_ns=max(1, round(2.0 * error)), who=who)
    for step in _shown(stamps_ns, delay, usual / width, error, float(least_ns), width):
        near = [m for m in found if abs(m - step.message) <= width // 2]
        for m in near:
            if found[m].who != "log" and abs(found[m].offset_ns - step.offset_ns) < 4.0 * error:
                del found[m]
        if not any(abs(m - step.message) <= width // 2 for m in found):
            found[step.message] = step
    return tuple(found[message] for message in sorted(found))


def _shown(stamps: IntArray, delay: IntArray, slope: float, error: float, least: float, width: int) -> Iterator[Change]:
    """Steps that the stamps themselves show: one leaps out of an even clock, and the delay changes by just as much.

    A leap that comes with an equal gap in the arrivals is a pause or a loss. Because leaps are few, less evidence from
    the delays is enough than where every message might be the place.
    """
    steps = np.diff(stamps)
    usual = int(np.median(steps))
    spread = 1.4826 * float(np.median(np.abs(steps - usual)))
    leaps = np.flatnonzero(np.abs(steps - usual) > max(least, 5.0 * spread)) + 1
    if len(leaps) > 4 * _MOST:
        return
    for at in leaps.tolist():
        stray = int(steps[at - 1]) - usual
        before, after = min(at, width), min(len(stamps) - at, width)
        if min(before, after) < 3:
            continue
        wide = error * float(np.sqrt(width / 2 * (1 / before + 1 / after)))
        size = _size(delay, at, width) - round(slope * (before + after) / 2)
        if abs(size) > max(4.0 * wide, least) and abs(size + stray) < 3.0 * wide + 3.0 * spread:
            yield Change(message=at, offset_ns=-stray, error_ns=max(1, round(3.0 * spread)), who="stamp")


def _leaps(delay: IntArray) -> list[tuple[int, int]]:
    """Message and size of each leap; a single stray stamp leaps twice and is no change of level."""
    found: list[tuple[int, int]] = []
    rest = delay.copy()
    width = _WINDOW[0]
    for at in np.flatnonzero(np.abs(np.diff(delay)) > _LEAP_NS)[: 4 * _MOST] + 1:
        before, after = rest[max(0, at - width) : at], rest[at : at + width]
        size = int(np.median(after)) - int(np.median(before))
        if abs(size) > _LEAP_NS // 2:
            found.append((int(at), size))
            rest[at:] -= size
    return found[:_MOST]


def _window(count: int) -> int:
    return int(np.clip(count // 10, *_WINDOW))


def _score(series: FloatArray, width: int) -> FloatArray:
    """Median of the window from message k + width on, minus that of the window before it, for every k."""
    medians = np.median(sliding_window_view(series, width), axis=1)
    return np.asarray(medians[width:] - medians[:-width])


def _error(score: FloatArray, series: FloatArray, width: int) -> float:
    """Standard error of a score: as it strays over the log, or as single messages' noise makes it, the greater."""
    usual = 1.4826 * float(np.median(np.abs(score)))
    return max(usual, 1.2533 * _noise(series) * float(np.sqrt(2.0 / width)), 1.0)


def _places(series: FloatArray, score: FloatArray, width: int, least: float) -> list[int]:
    """The message of each change of level of at least this size."""
    found: list[int] = []
    left = np.where(np.abs(score) >= least, np.abs(score), 0.0)
    while len(found) < _MOST and left.max(initial=0.0) > 0.0:
        peak = int(left.argmax())
        found.append(_place(series, peak, width))
        left[max(0, peak - width) : peak + width] = 0.0
    return found


def _size(delay: IntArray, message: int, width: int) -> int:
    """Change of level at a message, exact however large."""
    before, after = delay[max(0, message - width) : message], delay[message : message + width]
    base = int(before[-1])
    step = int(after[0]) - base
    return step + round(float(np.median(after - int(after[0]))) - float(np.median(before - base)))


def _place(series: FloatArray, peak: int, width: int) -> int:
    """The message that splits the neighbourhood into two levels with the least sum of distances."""
    low, high = max(0, peak - width // 2), min(len(series), peak + 2 * width + width // 2)
    part = series[low:high]
    before, after = np.median(series[peak : peak + width]), np.median(series[peak + width : peak + 2 * width])
    cost = np.cumsum(np.abs(part - before) - np.abs(part - after))
    return min(low + int(cost.argmin()) + 1, len(series) - 1)


def _noise(series: FloatArray) -> float:
    """Standard deviation of single messages around their level, from neighbours, so that no level counts."""
    return float(1.4826 / np.sqrt(2.0) * np.median(np.abs(np.diff(series)))) if len(series) > 1 else 0.0


def _who(stamps: IntArray, log: IntArray, message: int, size: int) -> Literal["stamp", "log", "either"]:
    """A clock whose steps around the message are even was not set there."""
    (own, own_tells), (others, others_tell) = (_stray(times, message, size) for times in (stamps, log))
    if own_tells and others_tell and own == others:
        return "either"
    if own_tells:
        return "stamp" if own else "log"
    if others_tell:
        return "log" if others else "stamp"
    return "either"


def _stray(times: IntArray, message: int, size: int) -> tuple[bool, bool]:
    """Whether a clock's steps around the message stray by the size of the change, and whether they are even enough."""
    steps = np.diff(times)
    usual = int(np.median(steps))
    spread = 1.4826 * float(np.median(np.abs(steps - usual)))
    around = steps[max(0, message - 1 - _NEAR) : message + _NEAR] - usual
    return abs(int(around.sum())) >= abs(size) / 2, 4.0 * spread < abs(size)


def set_back(stamps_ns: IntArray) -> tuple[Change, ...]:
    """Where a clock without a recorder's stamps beside it was set: it ran backwards, or leapt by more than any pause.

    A leap forward of less than a day may be a pause and is left alone; the size is known to the spread of the steps.
    """
    if len(stamps_ns) < 2 * _WINDOW[0]:
        return ()
    steps = np.diff(stamps_ns)
    usual = int(np.median(steps))
    spread = 1.4826 * float(np.median(np.abs(steps - usual)))
    places = np.flatnonzero((steps < min(0, usual - 10 * spread)) | (steps > _DAY_NS)) + 1
    found: list[Change] = []
    rest = stamps_ns.copy()
    for at in places[:_MOST].tolist():
        size = usual - int(rest[at] - rest[at - 1])
        rest[at:] += size
        found.append(Change(message=at, offset_ns=size, error_ns=max(1, round(2.0 * spread)), who="stamp"))
    return tuple(_lasting(found))


def _lasting(found: list[Change]) -> list[Change]:
    """A stray stamp leaps there and back at once and sets no clock."""
    kept: list[Change] = []
    for change in found:
        if (
            kept
            and change.message - kept[-1].message <= _NEAR
            and abs(change.offset_ns + kept[-1].offset_ns) <= (change.error_ns + kept[-1].error_ns)
        ):
            kept.pop()
        else:
            kept.append(change)
    return kept

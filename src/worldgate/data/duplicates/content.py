"""Exact: the digest of what a stream says, whatever it is called, wherever it lies and whenever it began.

Names, units and labels are left out, and times count from the stream's first message. Numbers of any type are compared
as float64, so a container that widens them changes nothing; one that narrows them does, and is found as near.
Cameras are compared by their encoded packets.
"""

from __future__ import annotations

import numpy as np

from worldgate.core.digest import sha256
from worldgate.core.streams import IMAGE_LIKE, NUMERIC, Array, Stream

_TICK_NS = 1000


def says_something(stream: Stream) -> bool:
    """Whether a stream is evidence: a camera, or numbers that change."""
    if stream.info.kind in IMAGE_LIKE:
        return len(stream) > 0
    return stream.info.kind in NUMERIC and len(stream) > 1 and bool((stream.array != stream.array[:1]).any())


def content(stream: Stream) -> str:
    """Digest of a stream's values or packets, and of its times from the first message on, in microseconds."""
    times = stream.times_ns - stream.times_ns[0] if len(stream) else stream.times_ns
    ticks = np.ascontiguousarray((times + _TICK_NS // 2) // _TICK_NS, dtype="<i8").tobytes()
    values = stream.values
    return sha256(
        ticks, b"\n", values.content_digest().encode() if not isinstance(values, np.ndarray) else _body(values)
    )


def _body(values: Array) -> bytes:
    numbers = np.ascontiguousarray(values.reshape(len(values), -1), dtype="<f8")
    return f"{numbers.shape}".encode() + numbers.tobytes()

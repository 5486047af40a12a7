"""Messages between a benchmark and LeWM's process: a line of JSON, then the bytes of its arrays; nothing is unpickled.

Both ends import this file, so it needs numpy alone. A message is ``{"told": {…}, "arrays": [[name, type, shape], …]}``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

TYPES = ("uint8", "float32", "float64")
LONGEST = 1 << 28
"""Bytes of an array."""


class Broken(Exception):
    """The other end is gone, or speaks otherwise."""


def send(stream: BinaryIO, told: Mapping[str, Any], arrays: Mapping[str, Any] | None = None) -> None:
    """Write one message."""
    held = {name: np.ascontiguousarray(values) for name, values in (arrays or {}).items()}
    about = [[name, values.dtype.name, list(values.shape)] for name, values in held.items()]
    stream.write(json.dumps({"told": dict(told), "arrays": about}).encode() + b"\n")
    for values in held.values():
        stream.write(values.tobytes())
    stream.flush()


def receive(stream: BinaryIO) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read one message.

    Raises:
        EOFError: the other end closed, between two messages.
        Broken: what came is no message, or ends within one.
    """
    line = stream.readline()
    if not line:
        raise EOFError
    try:
        message = json.loads(line)
        told, about = dict(message["told"]), [(str(n), str(t), tuple(map(int, s))) for n, t, s in message["arrays"]]
    except (ValueError, TypeError, KeyError) as error:
        raise Broken(f"no message: {line[:80]!r}") from error
    return told, {name: _array(stream, name, kind, shape) for name, kind, shape in about}


def _array(stream: BinaryIO, name: str, kind: str, shape: tuple[int, ...]) -> np.ndarray:
    if kind not in TYPES or min(shape, default=0) < 0 or math.prod(shape) * np.dtype(kind).itemsize > LONGEST:
        raise Broken(f"not an array that is sent here: {name}, {kind}, {shape}")
    wanted = math.prod(shape) * np.dtype(kind).itemsize
    data = stream.read(wanted)
    if len(data) != wanted:
        raise Broken(f"{name} ends after {len(data)} of {wanted} bytes")
    return np.frombuffer(data, kind).reshape(shape)

"""MessagePack with arrays, as openpi's client and server exchange them.

An array is a map with the keys ``__ndarray__``, ``data``, ``dtype`` and ``shape``, a scalar one with ``__npgeneric__``,
``data`` and ``dtype``, all of them bytes. Numbers alone are taken; a map that claims another size than its bytes have
is refused.
"""

from __future__ import annotations

import math
from typing import Any

import msgpack
import numpy as np

from worldgate.core.errors import DataRefused

_KINDS = "biuf"
"""Booleans, integers and floats."""


def pack(tree: Any) -> bytes:
    """A tree of maps, lists, text, numbers and arrays."""
    data: bytes = msgpack.packb(tree, default=_packed)
    return data


def unpack(data: bytes, *, where: str) -> Any:
    """The way back; nothing is executed.

    Raises:
        DataRefused: not MessagePack, or an array that is none.
    """
    try:
        return msgpack.unpackb(data, object_hook=_unpacked, strict_map_key=False)
    except (ValueError, TypeError, KeyError, msgpack.UnpackException) as error:
        raise DataRefused("not a message of this protocol", got=str(error)[:80], where=where) from error


def _packed(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.kind in _KINDS:
        return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}
    if isinstance(value, np.generic) and value.dtype.kind in _KINDS:
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    raise TypeError(f"{type(value).__name__} is not sent")


def _unpacked(tree: dict[Any, Any]) -> Any:
    if b"__ndarray__" not in tree and b"__npgeneric__" not in tree:
        return tree
    dtype = np.dtype(str(tree[b"dtype"]))
    if dtype.kind not in _KINDS:
        raise ValueError(f"an array of {dtype}")
    if b"__npgeneric__" in tree:
        return dtype.type(tree[b"data"])
    shape = tuple(int(n) for n in tree[b"shape"])
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(tree[b"data"]):
        raise ValueError(f"{len(tree[b'data'])} bytes for an array of {shape}")
    return np.frombuffer(tree[b"data"], dtype).reshape(shape)

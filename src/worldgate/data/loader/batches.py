"""Clips and batches of clips: what training reads, and the block of memory that a batch lies in.

A batch is one block with every array at a fixed place, so it can lie in memory that processes share or that a device
reads from, and is filled again and again. ``torch.from_numpy`` takes each array as it is.

Shape legend: B clips, T frames, H x W pixels, D values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np

from worldgate.core.streams import Array, BoolArray, ByteArray, FloatArray

Allocate: TypeAlias = Callable[[int], ByteArray]
"""Makes the memory that batches lie in: (N,) uint8, writable; pinned, where a device is to read it."""

RECEIPT: Final = np.dtype([("episode", "<u4"), ("row", "<u4"), ("first", "<i4"), ("last", "<i4")])
"""A sample's 16 bytes: episode (place in the table), first row, first and last source frame of the lead stream."""

_ALIGN: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """T frames of one episode, as every camera and signal saw them."""

    frames: Mapping[str, Array]
    """Camera -> (T, H, W, 3) uint8 RGB; depth (T, H, W) float32 metres; segmentation (T, H, W) class ids."""
    numbers: Mapping[str, FloatArray]
    """Stream -> (T, D) float32, in the stream's unit."""
    receipt: np.void
    """:data:`RECEIPT`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """B clips; the arrays are filled again by a later batch, so keep a copy of what must last."""

    epoch: int
    index: int
    """Place among this rank's batches of the epoch."""
    frames: Mapping[str, Array]
    """Camera -> (B, T, H, W, 3) uint8 RGB; depth (B, T, H, W) float32 metres; segmentation (B, T, H, W) class ids."""
    numbers: Mapping[str, FloatArray]
    """Stream -> (B, T, D) float32, in the stream's unit."""
    receipts: Array
    """(B,) :data:`RECEIPT`."""
    repeated: BoolArray
    """(B,) clips that only fill up the last batch and were served before in this epoch."""

    def __len__(self) -> int:
        return len(self.receipts)

    def clip(self, place: int) -> Clip:
        """One of its clips; the same memory."""
        return Clip(
            frames={name: array[place] for name, array in self.frames.items()},
            numbers={name: array[place] for name, array in self.numbers.items()},
            receipt=self.receipts[place],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where each array of a batch lies in its block."""

    frames: Mapping[str, tuple[tuple[int, ...], str]]
    """Camera -> shape with B and T, type."""
    numbers: Mapping[str, tuple[tuple[int, ...], str]]
    _places: dict[str, int] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        at = 0
        for name, (shape, dtype) in {**self.frames, **self.numbers}.items():
            self._places[name] = at
            at += -(-int(np.prod(shape)) * np.dtype(dtype).itemsize // _ALIGN) * _ALIGN
        self._places[""] = at

    @property
    def nbytes(self) -> int:
        """Bytes of a block."""
        return self._places[""]

    @property
    def row_bytes(self) -> int:
        """Bytes of one frame from every camera."""
        return sum(int(np.prod(shape[2:])) * np.dtype(dtype).itemsize for shape, dtype in self.frames.values())

    def views(self, block: ByteArray) -> Arrays:
        """The arrays that lie in a block."""

        def view(name: str, shape: tuple[int, ...], dtype: str) -> Array:
            start = self._places[name]
            count = int(np.prod(shape)) * np.dtype(dtype).itemsize
            return block[start : start + count].view(dtype).reshape(shape)

        return Arrays(
            frames={name: view(name, *about) for name, about in self.frames.items()},
            numbers={name: view(name, *about) for name, about in self.numbers.items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrays:
    """The arrays of one block."""

    frames: Mapping[str, Array]
    numbers: Mapping[str, Any]


def plain(nbytes: int) -> ByteArray:
    """Ordinary memory."""
    return np.zeros(nbytes, np.uint8)

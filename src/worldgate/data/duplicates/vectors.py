"""Windows of a sketch as unit vectors that stand close where the same motion is seen.

A window is 1.2 s, every 0.2 s. *Numbers*: each channel centred and divided by its own deviation in the window, with a
twentieth of its range over the stream as the least, so that a channel that only trembles says little; then a fixed
random projection to 32 (Johnson-Lindenstrauss). *Pictures*: three changes over 0.4 s, each as its 6 x 6 lowest DCT
coefficients but the mean (perceptual hashing's, kept as numbers): the background, its brightness and what is finer
than five cells drop out. A change over time needs no median of the log, which a cut would shift. Crops of the middle
are made in the coefficients. Windows in which nothing moves give no vector.

Shape legend: K ticks, W windows, D width, G cells a side, F vector length.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np

from worldgate.core.streams import FloatArray, IntArray
from worldgate.data.duplicates.sketches import SIDE, TICK_NS, Film, Numbers, projection

WINDOW: Final = 12
"""Ticks of a window."""
STRIDE: Final = 2
LAG: Final = 4
"""Ticks over which a picture changes."""
LENGTH: Final = 32
_LOW: Final = 6
CROPS: Final = (1.0, 0.95, 0.9, 0.85)
"""Shares of a picture's side that are left, at which a log asks for copies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """What moves in a stream, piece by piece."""

    starts_ns: IntArray
    """(W,) on the log's own clock."""
    vectors: FloatArray
    """(W, F) float32, of length 1."""


def of_numbers(held: Numbers) -> Windows:
    """(W, 32): the windows in which a stream moves."""
    values = held.values.astype(np.float64)
    starts = np.arange(0, len(values) - WINDOW + 1, STRIDE)
    if not len(starts):
        return _none(LENGTH)
    windows_WDT = np.lib.stride_tricks.sliding_window_view(values, WINDOW, axis=0)[::STRIDE]
    least_D = 0.05 * np.ptp(values, axis=0) + 1e-12
    centred = windows_WDT - windows_WDT.mean(axis=2, keepdims=True)
    spread_WD = centred.std(axis=2)
    moving = (spread_WD > least_D).any(axis=1)
    scaled = centred / np.sqrt(spread_WD**2 + least_D**2)[..., None]
    flat = scaled.reshape(len(scaled), -1)[moving]
    vectors = _unit((flat @ projection(flat.shape[1], LENGTH)).astype(np.float32))
    return Windows(starts_ns=held.start_ns + starts[moving] * TICK_NS, vectors=vectors)


def of_film(film: Film, *, floor: float, crop: float = 1.0) -> Windows:
    """(W, 105): the windows in which a camera sees something move.

    Args:
        film: of the camera.
        floor: least RMS change of a picture, grey levels.
        crop: share of the side that is left of each picture, around the middle.
    """
    changes_KGG = change(film)
    starts = np.arange(0, len(changes_KGG) - 2 * LAG, STRIDE)
    if not len(starts):
        return _none(3 * (_LOW**2 - 1))
    low = lowest(changes_KGG, crop)
    energy = np.sqrt((changes_KGG**2).mean(axis=(1, 2)))
    parts = [starts, starts + LAG, starts + 2 * LAG]
    moving = np.mean([energy[p] for p in parts], axis=0) > floor
    vectors = _unit(np.concatenate([low[p[moving]] for p in parts], axis=1).astype(np.float32))
    return Windows(starts_ns=film.start_ns + starts[moving] * TICK_NS, vectors=vectors)


def lowest(changes_KGG: FloatArray, crop: float) -> FloatArray:
    """(K, 35) the lowest DCT coefficients but the mean, of the middle of each change."""
    matrix = _low_of_middle(crop)
    low: FloatArray = (matrix @ changes_KGG @ matrix.T).reshape(len(changes_KGG), -1)[:, 1:]
    return low


def change(film: Film) -> FloatArray:
    """(K - 4, G, G) what each picture became over the next 0.4 s, without what all cells share."""
    cells = film.cells.astype(np.float32)
    apart = cells[LAG:] - cells[:-LAG]
    centred: FloatArray = apart - apart.mean(axis=(1, 2), keepdims=True)
    return centred


@cache
def sampling(scale: float, shift: float) -> FloatArray:
    """(G, G) matrix that reads a row of cells around its middle, ``scale`` of it, moved by ``shift`` cells; linear."""
    place = (np.arange(SIDE) - (SIDE - 1) / 2) * scale + (SIDE - 1) / 2 + shift
    place = place.clip(0, SIDE - 1)
    low = np.minimum(np.floor(place).astype(np.int64), SIDE - 2)
    matrix = np.zeros((SIDE, SIDE), dtype=np.float32)
    matrix[np.arange(SIDE), low] = 1 - (place - low)
    matrix[np.arange(SIDE), low + 1] = place - low
    return matrix


@cache
def _low_of_middle(crop: float) -> FloatArray:
    """(6, G) lowest DCT-II rows over the middle of a row of cells."""
    n, k = np.arange(SIDE), np.arange(_LOW)[:, None]
    cosines = np.cos(np.pi * (n + 0.5) * k / SIDE) * np.sqrt(np.where(k == 0, 1.0, 2.0) / SIDE)
    return (cosines @ sampling(crop, 0.0)).astype(np.float32)


def _unit(vectors: FloatArray) -> FloatArray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: FloatArray = vectors / np.maximum(lengths, 1e-9)
    return unit


def _none(length: int) -> Windows:
    return Windows(starts_ns=np.zeros(0, dtype=np.int64), vectors=np.zeros((0, length), dtype=np.float32))

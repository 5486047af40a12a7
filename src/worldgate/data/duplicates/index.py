"""Nearest vectors of other logs by cosine: exact in numpy, or usearch's graph where it is installed and there are many.

Source: Malkov and Yashunin 2018 (HNSW), as in usearch. Below ``EXACT`` vectors the product of two matrices is faster
than building a graph, and exact. A graph cannot leave out a log's own windows, which lie nearest: it is asked for more.

Shape legend: N vectors of the base, M asked for, F length, C neighbours.
"""

from __future__ import annotations

import importlib.util
from typing import Final

import numpy as np

from worldgate.core.streams import FloatArray, IntArray

EXACT: Final = 20_000
_BLOCK: Final = 1024
_MORE: Final = 4


def nearest(
    base_NF: FloatArray,
    owner_N: IntArray,
    asked_MF: FloatArray,
    asker_M: IntArray,
    count: int,
    *,
    graph: bool | None = None,
) -> tuple[IntArray, FloatArray]:
    """The nearest rows of ``base`` that another log owns, best first.

    Args:
        base_NF: unit vectors.
        owner_N: the log of each.
        asked_MF: unit vectors.
        asker_M: the log of each.
        count: neighbours C.
        graph: by usearch's approximate graph; None: where it is installed and the base is large.

    Returns:
        (M, C) rows of the base, -1 where there are no more, and (M, C) cosines, 0 there.
    """
    if not len(base_NF) or not len(asked_MF):
        return np.full((len(asked_MF), count), -1, dtype=np.int64), np.zeros((len(asked_MF), count), dtype=np.float32)
    if graph is None:
        graph = len(base_NF) > EXACT and importlib.util.find_spec("usearch") is not None
    return (_by_graph if graph else _by_product)(base_NF, owner_N, asked_MF, asker_M, count)


def _by_product(
    base_NF: FloatArray, owner_N: IntArray, asked_MF: FloatArray, asker_M: IntArray, count: int
) -> tuple[IntArray, FloatArray]:
    rows = np.full((len(asked_MF), count), -1, dtype=np.int64)
    cosines = np.zeros((len(asked_MF), count), dtype=np.float32)
    most = min(count, len(base_NF))
    for at in range(0, len(asked_MF), _BLOCK):
        part = slice(at, at + _BLOCK)
        scores = asked_MF[part] @ base_NF.T
        scores[asker_M[part, None] == owner_N[None]] = -np.inf
        some = np.argpartition(-scores, most - 1, axis=1)[:, :most]
        held = np.take_along_axis(scores, some, axis=1)
        order = np.lexsort((some, -held), axis=1)
        some, held = np.take_along_axis(some, order, axis=1), np.take_along_axis(held, order, axis=1)
        there = np.isfinite(held)
        rows[part, :most] = np.where(there, some, -1)
        cosines[part, :most] = np.where(there, held, 0.0)
    return rows, cosines


def _by_graph(
    base_NF: FloatArray, owner_N: IntArray, asked_MF: FloatArray, asker_M: IntArray, count: int
) -> tuple[IntArray, FloatArray]:
    from usearch.index import Index

    index = Index(ndim=base_NF.shape[1], metric="cos", dtype="f32", connectivity=32, expansion_search=128)
    index.add(np.arange(len(base_NF), dtype=np.uint64), np.ascontiguousarray(base_NF), threads=1)
    most = min(_MORE * count, len(base_NF))
    found = index.search(np.ascontiguousarray(asked_MF), most, threads=1)
    keys = np.asarray(found.keys).reshape(len(asked_MF), most).astype(np.int64)
    cosine = 1.0 - np.asarray(found.distances, dtype=np.float32).reshape(len(asked_MF), most)
    other = owner_N[keys] != asker_M[:, None]
    order = np.argsort(~other, axis=1, kind="stable")[:, :count]
    there = np.take_along_axis(other, order, axis=1)
    rows = np.full((len(asked_MF), count), -1, dtype=np.int64)
    cosines = np.zeros((len(asked_MF), count), dtype=np.float32)
    rows[:, : order.shape[1]] = np.where(there, np.take_along_axis(keys, order, axis=1), -1)
    cosines[:, : order.shape[1]] = np.where(there, np.take_along_axis(cosine, order, axis=1), 0.0)
    return rows, cosines

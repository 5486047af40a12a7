"""Search by an encoder: like pictures are near, and what was encoded once is not encoded again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from worldgate.core.streams import ByteArray, FloatArray
from worldgate.data.ingest import Shelf, ingest
from worldgate.data.search.by_example import Example, search
from worldgate.data.search.embeddings import embed
from worldgate.data.search.pixels import PixelEncoder
from worldgate.record.workspace import Workspace

SECOND = 1_000_000_000


class Counting:
    """The pixel encoder, counting what it is asked."""

    name, digest = "counting", "c" * 64

    def __init__(self) -> None:
        self.asked = 0

    def encode(self, images_NHW3: ByteArray) -> FloatArray:
        self.asked += len(images_NHW3)
        return PixelEncoder().encode(images_NHW3)


def test_pixels_tell_pictures_apart_and_not_their_exposure() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(40, 200, (3, 48, 64, 3), dtype=np.uint8)
    first, second, other = PixelEncoder().encode(np.stack([images[0], images[0] + 20, images[1]]))

    def cosine(a: FloatArray, b: FloatArray) -> float:
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    assert cosine(first, second) > 0.99
    assert abs(cosine(first, other)) < 0.5


def test_what_was_encoded_is_kept_and_search_goes_by_it(workspace: Workspace, record_log: Callable[..., Path]) -> None:
    for seed in range(2):
        ingest(workspace, record_log(seed))
    shelf, encoder = Shelf(workspace), Counting()
    first, second = shelf.records
    held = embed(shelf, first, encoder)["observation.images.front"]
    assert np.linalg.norm(held.vectors, axis=1) == pytest.approx(1.0, abs=1e-5)
    asked = encoder.asked
    assert asked > 0
    embed(shelf, first, encoder)
    assert encoder.asked == asked
    start, end = shelf.record(first).span_ns
    example = Example(log=first, span_ns=(start, end), numbers=False)
    (hit,) = search(workspace, example, encoder=encoder)
    assert hit.log == second
    assert -1 <= hit.score <= 1

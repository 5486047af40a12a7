"""Block order: clips are drawn at random from a few stretches of episodes at a time, so that a frame is decoded once.

Clips that begin at every row overlap, and a loader that decodes each for itself decodes a frame as often as a clip is
long. Here consecutive clips of an episode are bundled into spans, as long as memory allows; spans come in random order,
B of them are open at once, and clips are drawn from all open ones. A span is decoded from its first row to its last
when its first clip is drawn; only the rows that two neighbouring spans share are decoded twice.

Span j of an epoch is open from time j - B + 1 to time j + 1 and each of its clips has a time in between, by a hash;
clips come by their times. So never more than B spans are open, one opens as one closes, and a place in the epoch is a
function of seed, epoch and content: nothing is drawn along the way, and resuming needs no buffer to be restored. Where
all spans fit into memory at once they are all open from first to last, and the order is as random as the uniform one.

Source: FFCV's quasi-random order (arXiv 2306.12517), a shuffle buffer of spans.

Shape legend: W clips, S spans.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from worldgate.core.errors import UsageError
from worldgate.core.streams import IntArray
from worldgate.data.loader.memory import SpanMemory
from worldgate.data.loader.sampler import Windows, edges, mix, salted


@dataclass(frozen=True, slots=True, kw_only=True)
class Spans:
    """How clips are bundled."""

    of: IntArray
    """(W,) the span of each clip."""
    start: IntArray
    """(S + 1,) first clip of each span, and the number of clips."""
    nbytes: IntArray
    """(S,) bytes that a span's frames take at most."""
    open: int
    """B, spans that are open at once."""

    def __len__(self) -> int:
        return len(self.nbytes)

    @property
    def held(self) -> int:
        """Bytes that any ``open`` spans take at most."""
        return int(np.sort(self.nbytes)[::-1][: self.open].sum())


def cut(windows: Windows, *, frames: int, stride: int, frame_bytes: int, memory: int, least: int) -> Spans:
    """Bundle consecutive clips of an episode into spans, as long as ``least`` of them fit into memory.

    Args:
        windows: the clips, episode by episode and row by row.
        frames: of a clip.
        stride: rows from one frame of a clip to the next.
        frame_bytes: of one row of all cameras, decoded.
        memory: bytes that open spans may take.
        least: spans that must be open at once; where spans are short more are.

    Raises:
        UsageError: memory for less than a clip of each span.
    """
    most = memory // (least * max(frame_bytes, 1))
    if most < frames:
        raise UsageError(
            "too little memory for the block order",
            got=f"{memory / 1e9:.3g} GB for {least} spans",
            hint=f"memory_gb of {4 * frames * least * frame_bytes / 1e9:.2g} or so; fewer spans, or smaller pictures",
        )
    reach = (frames - 1) * stride + 1
    firsts = [*np.flatnonzero(np.diff(windows.episode, prepend=-1)).tolist(), len(windows)]
    start = [0]
    for first, end in pairwise(firsts):
        row = windows.row[first:end]
        many = len(_stretches(row, most - reach, most // frames, len(row)))
        even = _stretches(row, most - reach, most // frames, -(-len(row) // many))
        start += [first + last for last in even]
    bounds = np.asarray(start, np.int64)
    count = np.diff(bounds)
    rows = np.minimum(windows.row[bounds[1:] - 1] - windows.row[bounds[:-1]] + reach, count * frames)
    nbytes = rows * frame_bytes
    together = int(np.searchsorted(np.cumsum(np.sort(nbytes)[::-1]), memory, side="right"))
    return Spans(of=np.repeat(np.arange(len(count)), count), start=bounds, nbytes=nbytes, open=max(together, 1))


def _stretches(row: IntArray, far: int, fit: int, most: int) -> list[int]:
    """Where each stretch of an episode's clips ends: rows at most ``far`` apart, or ``fit`` clips; at most ``most``."""
    ends, first = [], 0
    while first < len(row):
        near = int(np.searchsorted(row[first:], row[first] + far, side="right"))
        first = min(len(row), first + min(most, max(near, fit)))
        ends.append(first)
    return ends


class Blocks:
    """The block order.

    Args:
        windows: the clips, as they were cut.
        spans: how.
        seed: of the run.
        ranks: each takes a part of the spans, so that none is decoded on two but at the edges of the parts.
    """

    def __init__(self, windows: Windows, spans: Spans, *, seed: int, ranks: int) -> None:
        self._windows, self.spans = windows, spans
        self._seed, self._ranks = seed, ranks
        self._made = lru_cache(maxsize=2)(self._make)

    def epoch(self, epoch: int) -> IntArray:
        """(W,) clips in the order of this epoch, rank after rank."""
        return self._made(epoch)[0]

    def turns(self, epoch: int) -> IntArray:
        """(W,) how many-th its span is opened, by place; of two open spans the one with the smaller closes first."""
        return self._made(epoch)[1]

    def memory(self, reach: IntArray, *, workers: int) -> SpanMemory:
        """Room for the open spans, in one process; with workers each has its share, and one span more.

        Args:
            reach: (T,) rows of a clip, counted from its first.
            workers: processes.
        """
        held, largest = self.spans.held, int(self.spans.nbytes.max())
        limit = held if workers < 2 else -(-held // workers) + largest
        return SpanMemory(self._windows.row, self.spans.start, reach, limit)

    def _make(self, epoch: int) -> tuple[IntArray, IntArray]:
        spans, salt = self.spans, salted(self._seed, epoch)
        turn = np.empty(len(spans), np.int64)
        turn[np.argsort(mix(self._windows.key[spans.start[:-1]] ^ salt), kind="stable")] = np.arange(len(spans))
        line = np.argsort(turn[spans.of], kind="stable")
        parts = [line[first:last] for first, last in edges(len(line), self._ranks)]
        order = np.concatenate([self._drawn(part, turn[spans.of[part]], mix(salt)) for part in parts])
        if len(spans) <= spans.open:  # all stay open: in the next epoch, too
            return order, spans.of[order]
        return order, turn[spans.of[order]] + epoch * len(spans)

    def _drawn(self, clips: IntArray, turn: IntArray, salt: np.ndarray) -> IntArray:
        """Clips of one rank, whose spans come one after the other, by their times."""
        if not len(clips):
            return clips
        number, together = turn - turn[0], self.spans.open
        low = np.maximum(number - together + 1, 0)
        high = np.minimum(number + 1, max(int(number[-1]) - together + 2, 1))
        share = mix(self._windows.key[clips] ^ salt)
        time = (low.astype(np.uint64) << np.uint64(32)) + (high - low).astype(np.uint64) * (share >> np.uint64(32))
        drawn: IntArray = clips[np.lexsort((share, time))]
        return drawn

"""What tokenizers of motion share: ranges between recorded quantiles, refusals by name, a fit in one go.

Motion is any stream of numbers: actions, or the states that go with them. A tokenizer is fitted, not descended to: its
phase has no parameters.

Shape legend: T rows, H rows of a chunk, A channels, L codes, N chunks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from worldgate.core.errors import DataRefused, UsageError
from worldgate.core.normalisers import Normaliser
from worldgate.core.streams import FloatArray, IntArray
from worldgate.core.worlds import Signal
from worldgate.worlds.batches import Batch
from worldgate.worlds.family import Phase
from worldgate.worlds.tracks import Layout, Track
from worldgate.worlds.train.config import PhaseConfig

_STOP, _DWELL = 1e-6, 0.02
"""Rows stop at an end where more than this share of them is within this part of the range from it."""
_CHUNKS = 4000
"""Most chunks that are learned from or judged on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeConfig:
    """Which values have a code of their own; all beyond become the nearest end.

    Most of the error on unseen episodes comes from values beyond the range, not from the steps within it: see the rows
    of motion in ``benchmarks/tokenizer_rate.py``.
    """

    low: float = 0.001
    """Quantile of the recorded rows at the lower end."""
    high: float = 0.999
    """Quantile at the upper end."""
    margin: float = 0.1
    """Part of the range that is added at each end, unless the rows stop there, as a gripper does."""
    least: float = 0.2
    """Part of the widest range of its unit that every channel which moves at all is given."""


class MotionTokenizer(nn.Module):
    """Rows of numbers to codes and back; a file of the seam says how."""

    context = 1
    rows = 1
    """H, rows of a chunk; 1: any number of rows."""

    def __init__(self, ranges: RangeConfig, layout: Layout, normaliser: Normaliser) -> None:
        super().__init__()
        if not layout.action.name:
            raise UsageError("a tokenizer of motion needs a stream", hint="--set inputs.action=action")
        if not 0 <= ranges.low < ranges.high <= 1:
            raise UsageError("quantiles from 0 to 1, the lower one first", got=f"{ranges.low}, {ranges.high}")
        self.ranges, self.layout, self.normaliser = ranges, layout, normaliser
        self.register_buffer("low_A", torch.zeros(self.width, dtype=torch.float64))
        self.register_buffer("high_A", torch.ones(self.width, dtype=torch.float64))

    low_A: Tensor
    high_A: Tensor

    @property
    def signal(self) -> Signal:
        """The stream it encodes."""
        return self.layout.action

    @property
    def width(self) -> int:
        """A."""
        return self.layout.action_width

    @property
    def ends(self) -> tuple[FloatArray, FloatArray]:
        """(A,) lower and (A,) upper end of every channel's range, in the stream's unit."""
        return self.low_A.cpu().numpy(), self.high_A.cpu().numpy()

    @property
    def vocabulary(self) -> int:
        """Codes run from 0 to one less than this."""
        raise NotImplementedError

    def encode(self, motion_TA: FloatArray) -> IntArray:
        """(T, A) in the stream's unit to (L,) codes; values beyond the range become its end.

        Raises:
            UsageError: another width, or another number of rows than a chunk has.
            DataRefused: NaN or infinity.
        """
        raise NotImplementedError

    def decode(self, codes_L: IntArray) -> FloatArray:
        """(L,) codes back to (T, A).

        Raises:
            UsageError: a code outside the vocabulary, or a sequence that is no whole chunk.
        """
        raise NotImplementedError

    def chunks(self, motion_TA: FloatArray) -> list[FloatArray]:
        """Cut rows into what :meth:`encode` takes; the last chunk is filled up with its last row."""
        return [held_to(motion_TA[at : at + self.rows], self.rows) for at in range(0, len(motion_TA), self.rows)]

    def learn(self, chunks_NHA: Sequence[FloatArray]) -> None:
        """Learn more than ranges from training chunks, where there is more to learn."""

    def fit(self, tracks: Sequence[Track]) -> None:
        """Learn ranges, and what :meth:`learn` adds.

        Raises:
            DataRefused: no valid row, or no whole chunk.
        """
        held = [track.actions_TA[track.valid_T] for track in tracks if self.signal.name not in track.lacks]
        rows_TA = np.concatenate([np.zeros((0, self.width)), *held]).astype(np.float64)
        if not len(rows_TA):
            raise DataRefused("no valid row to fit a tokenizer on", got=self.signal.name, hint="worldgate check")
        low, high = self._ends(rows_TA)
        self.low_A.copy_(torch.from_numpy(low))
        self.high_A.copy_(torch.from_numpy(high))
        self.learn(whole_chunks(tracks, self.rows))

    def _ends(self, rows_TA: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Lower and upper end of every channel."""
        low, high = (np.quantile(rows_TA, q, axis=0) for q in (self.ranges.low, self.ranges.high))
        # A gripper that closes for under a thousandth of the time still has two places.
        still = low == high
        low, high = np.where(still, rows_TA.min(axis=0), low), np.where(still, rows_TA.max(axis=0), high)
        reach = high - low
        near = _STOP * reach
        stops = [((rows_TA <= low + near).mean(axis=0) > _DWELL), ((rows_TA >= high - near).mean(axis=0) > _DWELL)]
        low, high = (end + sign * ~stop * self.ranges.margin * reach
                     for end, sign, stop in zip((low, high), (-1, 1), stops, strict=True))  # fmt: skip
        units = np.array(self.signal.unit.split(",") if "," in self.signal.unit else [self.signal.unit] * self.width)
        widest = np.array([reach[units == unit].max() for unit in units])
        short = np.where(reach > 0, np.maximum(0.0, self.ranges.least * widest - (high - low)), 0.0)
        return low - short / 2, high + short / 2

    def phases(self, train: Sequence[Track], held_out: Sequence[Track]) -> list[Phase]:
        """One, without parameters."""
        return [FitPhase(self, train, held_out)]

    def bounded(self, motion_TA: FloatArray) -> FloatArray:
        """Rows brought to -1 at the low end of each channel and 1 at the high one; 0 where there is no range."""
        rows_TA = self._checked(motion_TA)
        low, high = self.ends
        apart = np.where(high > low, high - low, 1.0)
        out: FloatArray = np.where(high > low, 2 * (np.clip(rows_TA, low, high) - low) / apart - 1, 0.0)
        return out

    def unbounded(self, bounded_TA: FloatArray) -> FloatArray:
        """The way back of :meth:`bounded`."""
        low, high = self.ends
        out: FloatArray = low + (np.clip(bounded_TA, -1, 1) + 1) / 2 * (high - low)
        return out

    def _checked(self, motion_TA: FloatArray) -> FloatArray:
        rows_TA = np.asarray(motion_TA, np.float64)
        if rows_TA.ndim != 2 or rows_TA.shape[1] != self.width:
            hint = f"(rows, {self.width}), as {self.signal.name} was when the tokenizer was fitted"
            raise UsageError("motion of another width", got=rows_TA.shape, hint=hint)
        if not len(rows_TA) or (self.rows > 1 and len(rows_TA) != self.rows):
            hint = f"{self.rows} rows" if self.rows > 1 else "at least one row"
            raise UsageError("a chunk of another length", got=f"{len(rows_TA)} rows", hint=hint)
        if not np.isfinite(rows_TA).all():
            row, channel = np.argwhere(~np.isfinite(rows_TA))[0]
            got, hint = rows_TA[row, channel], "worldgate check names the spans"
            raise DataRefused("motion that is not finite", got=got, where=f"row {row}, channel {channel}", hint=hint)
        return rows_TA

    def _checked_codes(self, codes_L: IntArray) -> IntArray:
        codes = np.asarray(codes_L)
        if codes.ndim != 1 or codes.dtype.kind not in "iu":
            raise UsageError("codes are one row of whole numbers", got=f"{codes.shape} {codes.dtype}")
        if not len(codes):
            refuse_length(0, "one chunk")
        if codes.min() < 0 or codes.max() >= self.vocabulary:
            got = int(codes.min()) if codes.min() < 0 else int(codes.max())
            raise UsageError("a code outside the vocabulary", got=got, hint=f"0 to {self.vocabulary - 1}")
        return codes.astype(np.int64)


def refuse_length(got: int, wanted: str) -> NoReturn:
    """A sequence that was cut off, or runs on."""
    raise UsageError("codes that are no whole chunk", got=f"{got} numbers", hint=f"{wanted}: the sequence is cut off")


def held_to(rows_TA: FloatArray, count: int) -> FloatArray:
    """At least so many rows, the last one held."""
    short = max(0, count - len(rows_TA))
    return np.concatenate([rows_TA, np.repeat(rows_TA[-1:], short, axis=0)]) if short else rows_TA


def whole_chunks(tracks: Sequence[Track], rows: int) -> list[FloatArray]:
    """Chunks (H, A) of valid rows of these tracks, evenly spread if there are too many.

    Raises:
        DataRefused: not one.
    """
    places = [(track, start) for track in tracks for start in track.starts(1, rows - 1).tolist()]
    if not places:
        raise DataRefused("no chunk without a gap", got=f"under {rows} valid rows in a row", hint="--set chunk_s=0.5")
    places = places[:: -(-len(places) // _CHUNKS)]
    return [track.actions_TA[start : start + rows].astype(np.float64) for track, start in places]


class FitPhase:
    """A fit that needs no steps."""

    name = "fit"
    config = PhaseConfig(steps=0)

    def __init__(self, model: MotionTokenizer, train: Sequence[Track], held_out: Sequence[Track]) -> None:
        self.model, self.train, self.held_out = model, train, held_out

    def parameters(self) -> list[nn.Parameter]:
        """None: :meth:`prepare` is the whole training."""
        return []

    def prepare(self) -> None:
        """Fit."""
        self.model.fit(self.train)

    def draw(self, rng: np.random.Generator) -> Batch:
        """Nothing is drawn."""
        raise AssertionError("a fit takes no steps")

    def loss(self, batch: Batch) -> Tensor:
        """Nothing is descended."""
        raise AssertionError("a fit takes no steps")

    def evaluate(self) -> dict[str, float]:
        """Error on held-out episodes, relative to each channel's range, beside tokens a second of motion."""
        tracks = [track for track in self.held_out if len(track.starts(1, self.model.rows - 1))]
        if not tracks:
            return {}
        chunks, model = whole_chunks(tracks, self.model.rows), self.model
        codes = [model.encode(chunk) for chunk in chunks]
        low, high = model.ends
        reach = np.maximum(high - low, 1e-12)
        apart = np.concatenate([(model.decode(c) - chunk) / reach for c, chunk in zip(codes, chunks, strict=True)])
        moving = high > low
        rows_TA = np.concatenate(chunks)
        beyond = (rows_TA < low) | (rows_TA > high)
        seconds = len(chunks) * model.rows / model.layout.rate_hz
        return {
            "error_of_range": float(np.sqrt((apart[:, moving] ** 2).mean())) if moving.any() else 0.0,
            "clipped": float(beyond.mean()),
            "tokens_per_second": sum(map(len, codes)) / seconds,
            "vocabulary": float(model.vocabulary),
        }

    def finish(self) -> None:
        """Nothing is left to do."""

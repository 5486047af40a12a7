"""Bins: uniform levels a channel between recorded quantiles, one code a number; for actions and states.

Source: RT-2, arXiv 2307.15818, and OpenVLA, arXiv 2406.09246. Notable choices: the ends of the range are levels
themselves, so an open or closed gripper comes back exactly; all channels share one range of codes.

Shape legend: T rows, A channels.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from worldgate.core.errors import UsageError
from worldgate.core.normalisers import Normaliser
from worldgate.core.streams import FloatArray, IntArray
from worldgate.worlds.tokenizers._motion import MotionTokenizer, RangeConfig, refuse_length
from worldgate.worlds.tracks import Inputs, Layout
from worldgate.worlds.train.config import LoopConfig

CARD = {
    "line": "discrete: uniform bins a channel between recorded quantiles, for actions and states; fitted in seconds",
    "inputs": "motion",
    "needs": "models",
    "source": "RT-2, arXiv 2307.15818",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Configuration of the ``bins`` tokenizer."""

    inputs: Inputs = field(default_factory=lambda: Inputs(states=(), action="action"))
    """Its ``action`` is the stream to encode; a state stream may stand there too."""
    bins: tuple[int, ...] = (256,)
    """Levels of every channel, or one number for all."""
    ranges: RangeConfig = field(default_factory=RangeConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)


def debug() -> Config:
    """Fitting takes no longer with the defaults."""
    return Config()


def create(config: Config, layout: Layout, normaliser: Normaliser) -> Bins:
    """A tokenizer without ranges."""
    return Bins(config, layout, normaliser)


class Bins(MotionTokenizer):
    """One code a number, row by row."""

    def __init__(self, config: Config, layout: Layout, normaliser: Normaliser) -> None:
        super().__init__(config.ranges, layout, normaliser)
        counts = config.bins * self.width if len(config.bins) == 1 else config.bins
        if len(counts) != self.width or min(counts) < 2:
            hint = f"one number of bins, or {self.width}, of 2 and more"
            raise UsageError("bins that do not fit the channels", got=config.bins, hint=hint)
        self.counts_A = np.array(counts, np.int64)

    @property
    def vocabulary(self) -> int:
        """As many as the finest channel has."""
        return int(self.counts_A.max())

    @property
    def half_bin_A(self) -> FloatArray:
        """(A,) the largest error of a value within the range, in the stream's unit."""
        low, high = self.ends
        out: FloatArray = (high - low) / (self.counts_A - 1) / 2
        return out

    def encode(self, motion_TA: FloatArray) -> IntArray:
        """Row by row, channel by channel."""
        levels = (self.bounded(motion_TA) + 1) / 2 * (self.counts_A - 1)
        return np.rint(levels).astype(np.int64).flatten()

    def decode(self, codes_L: IntArray) -> FloatArray:
        """Any number of whole rows."""
        codes = self._checked_codes(codes_L)
        if len(codes) % self.width:
            refuse_length(len(codes), f"{self.width} a row")
        codes_TA = codes.reshape(-1, self.width)
        over = codes_TA >= self.counts_A
        if over.any():
            channel = int(np.argwhere(over)[0, 1])
            hint = f"0 to {self.counts_A[channel] - 1} in channel {channel}"
            raise UsageError("a code outside the vocabulary", got=int(codes_TA[over][0]), hint=hint)
        return self.unbounded(2 * codes_TA / (self.counts_A - 1) - 1)

"""Dct: a chunk of actions as rounded frequencies, joined to few codes by byte pairs.

Source: FAST, arXiv 2501.09747; pairs by the library ``tokenizers``. Notable choices: after clipping to the range no
frequency can exceed a known number, so every chunk has a code; pairs stand in the checkpoint as numbers, in the order
they were learned, and codes are numbered by that: frequencies first, from the least, then pairs.

Shape legend: H rows of a chunk, A channels, L codes, N chunks, M pairs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from scipy.fft import dct, idct
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from torch import Tensor

from worldgate.core.errors import UsageError
from worldgate.core.normalisers import Normaliser
from worldgate.core.streams import FloatArray, IntArray
from worldgate.worlds.tokenizers._motion import MotionTokenizer, RangeConfig, refuse_length
from worldgate.worlds.tracks import Inputs, Layout
from worldgate.worlds.train.config import LoopConfig

CARD = {
    "line": "discrete: chunks of actions by cosine transform and byte pairs, fewer codes than bins; fitted in seconds",
    "inputs": "motion",
    "needs": "tokens",
    "source": "FAST, arXiv 2501.09747",
}

_FIRST = 0x4E00
"""Frequencies are written as characters from here on, of which none is a space or a mark."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Configuration of the ``dct`` tokenizer."""

    inputs: Inputs = field(default_factory=lambda: Inputs(states=(), action="action"))
    """Its ``action`` is the stream to encode."""
    chunk_s: float = 1.0
    """Seconds of a chunk."""
    scale: float = 10.0
    """Steps of a frequency for each unit of half the range: more is finer and longer."""
    vocabulary: int = 1024
    """Most codes, pairs included."""
    ranges: RangeConfig = field(default_factory=RangeConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)


def debug() -> Config:
    """Few pairs."""
    return Config(vocabulary=256)


def create(config: Config, layout: Layout, normaliser: Normaliser) -> Dct:
    """A tokenizer without ranges and pairs."""
    return Dct(config, layout, normaliser)


class Dct(MotionTokenizer):
    """One chunk at a time."""

    def __init__(self, config: Config, layout: Layout, normaliser: Normaliser) -> None:
        super().__init__(config.ranges, layout, normaliser)
        self.config = config
        self.rows = max(2, round(config.chunk_s * layout.rate_hz))
        if not 0 < config.scale < 1e4:
            raise UsageError("a scale above 0 and below 10000", got=config.scale, hint="--set scale=10")
        # By Parseval no frequency of H values within -1 to 1 is larger than their root sum of squares.
        self.reach = math.ceil(config.scale * math.sqrt(self.rows))
        self.alphabet = 2 * self.reach + 1
        if config.vocabulary < self.alphabet:
            hint = f"--set vocabulary={2 * self.alphabet}, or a smaller scale"
            raise UsageError("a vocabulary smaller than its frequencies", got=config.vocabulary, hint=hint)
        self.register_buffer("pairs_M2", torch.full((config.vocabulary - self.alphabet, 2), -1, dtype=torch.int64))

    pairs_M2: Tensor

    @property
    def vocabulary(self) -> int:
        """Frequencies and learned pairs."""
        return self.alphabet + len(self._pairs)

    @property
    def rounding(self) -> float:
        """The largest root mean square error of a channel over a chunk within the range, as a share of the range."""
        return 0.25 / self.config.scale

    @property
    def _pairs(self) -> tuple[tuple[int, int], ...]:
        return tuple((a, b) for a, b in self.pairs_M2.tolist() if a >= 0)

    def learn(self, chunks_NHA: Sequence[FloatArray]) -> None:
        """Which codes to join, from what chunks hold."""
        trainer = BpeTrainer(
            vocab_size=self.config.vocabulary,
            initial_alphabet=[chr(_FIRST + i) for i in range(self.alphabet)],
            show_progress=False,
        )
        model = Tokenizer(BPE())
        model.train_from_iterator((self._text(chunk) for chunk in chunks_NHA), trainer=trainer)
        ids: dict[str, int] = {chr(_FIRST + i): i for i in range(self.alphabet)}
        self.pairs_M2.fill_(-1)
        for place, (a, b) in enumerate(json.loads(model.to_str())["model"]["merges"]):
            self.pairs_M2[place] = torch.tensor([ids[a], ids[b]])
            ids[a + b] = self.alphabet + place

    def encode(self, motion_TA: FloatArray) -> IntArray:
        """One chunk."""
        found = _model(self.alphabet, self._pairs).encode(self._text(motion_TA))
        return np.array(found.ids, np.int64)

    def decode(self, codes_L: IntArray) -> FloatArray:
        """One chunk."""
        codes = self._checked_codes(codes_L)
        words = _words(self.alphabet, self._pairs)
        steps = np.concatenate([words[code] for code in codes.tolist()]) - self.reach
        if len(steps) != self.rows * self.width:
            refuse_length(len(steps), f"{self.rows * self.width} for {self.rows} rows of {self.width}")
        frequencies_HA = steps.reshape(self.rows, self.width) / self.config.scale
        return self.unbounded(idct(frequencies_HA, axis=0, norm="ortho"))

    def _text(self, motion_HA: FloatArray) -> str:
        """Rounded frequencies as characters, the lowest of all channels first."""
        frequencies_HA = dct(self.bounded(motion_HA), axis=0, norm="ortho")
        steps = np.rint(frequencies_HA * self.config.scale).astype(np.int64).flatten()
        return "".join(chr(_FIRST + self.reach + step) for step in steps.tolist())


@lru_cache(maxsize=4)
def _words(alphabet: int, pairs: tuple[tuple[int, int], ...]) -> list[IntArray]:
    """The frequencies that each code stands for."""
    words = [np.array([i], np.int64) for i in range(alphabet)]
    for a, b in pairs:
        words.append(np.concatenate([words[a], words[b]]))
    return words


@lru_cache(maxsize=4)
def _model(alphabet: int, pairs: tuple[tuple[int, int], ...]) -> Tokenizer:
    texts = ["".join(chr(_FIRST + i) for i in word.tolist()) for word in _words(alphabet, pairs)]
    vocabulary = {text: code for code, text in enumerate(texts)}
    return Tokenizer(BPE(vocab=vocabulary, merges=[(texts[a], texts[b]) for a, b in pairs]))

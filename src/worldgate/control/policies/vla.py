"""A small vision-language-action policy: instruction, numbers and pictures in as tokens, the codes of a chunk out.

Source: RT-2, arXiv 2307.15818, OpenVLA, arXiv 2406.09246, and its parallel decoding, arXiv 2502.19645. The instruction
is a fact of the recorded episode (``inputs.text``), and at work it must be told: a policy that was not told, or is told
a word that no training instruction held, refuses. Words, bins and their ranges are in the weights, and their digest in
the release. :mod:`worldgate.control.policies._vla_tokens` says how tokens are made and
:mod:`worldgate.control.policies._vla_net` what reads them.

Shape legend: B batch, L tokens, K actions of a chunk, A action channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from worldgate.control.policies import _chunks
from worldgate.control.policies._acting import ChunkPolicy, built
from worldgate.control.policies._chunks import ChunkConfig, Cloned, ClonePhase, Windows, sight_of
from worldgate.control.policies._nets import NetConfig, Sight
from worldgate.control.policies._release import WEIGHTS, Fitted
from worldgate.control.policies._vla_net import Transformer, likeliest, surprise
from worldgate.control.policies._vla_tokens import Codes, Lexicon
from worldgate.core.digest import digest_json
from worldgate.core.errors import UsageError, WeightsRefused
from worldgate.core.normalisers import Normaliser
from worldgate.core.streams import IntArray
from worldgate.core.worlds import Observation
from worldgate.fleet.releases import Release, Setting
from worldgate.worlds.family import Phase
from worldgate.worlds.sizes import Size
from worldgate.worlds.tracks import Inputs, Layout, Track
from worldgate.worlds.train.config import PhaseConfig

CARD = {
    "line": "does what a sentence says: words, numbers and pictures as tokens in, codes of an action chunk out",
    "inputs": "an instruction, states, colour cameras",
    "needs": "models",
    "source": "OpenVLA, arXiv 2406.09246; parallel decoding, arXiv 2502.19645",
}

_SAID = "instruction"
"""Key of the words among what a batch holds."""
_TEXT, _VOCABULARY = "text", "vocabulary"
_FITTED = 4000
"""Rows that bins are fitted on, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(ChunkConfig):
    """Configuration of ``vla``."""

    inputs: Inputs = field(default_factory=lambda: Inputs(text=("task",)))
    """What it sees; ``inputs.text`` are facts of an episode that make its instruction, empty: it is told nothing."""
    chunk: int = 12
    execute: int = 4
    bins: int = 128
    """Codes of every number."""
    spread: float = 1.0
    """Codes by which the target is spread over its neighbours; 0: not at all."""
    words: int = 64
    """Most different words that the training instructions may hold."""
    net: NetConfig = field(default_factory=lambda: NetConfig(width=96, encoder=3))
    """``net.encoder`` layers read all tokens; there is no decoder."""
    phase: PhaseConfig = field(
        default_factory=lambda: PhaseConfig(steps=4000, batch=64, rate=3e-3, decay=1e-2, warmup=100, ema=0.99)
    )


class Vla(nn.Module):
    """Fulfils :class:`worldgate.control.policies._chunks.Head`."""

    def __init__(self, sight: Sight, net: NetConfig, *, words: int, bins: int, spread: float = 0.0) -> None:
        super().__init__()
        self.spread = spread
        self.codes = Codes(sight, bins)
        self.lexicon = Lexicon(words) if words else None
        self.net = Transformer(sight, net, words, bins)

    def vocabulary(self, rate_hz: float) -> str:
        """Digest of all that its ids stand for."""
        words = () if self.lexicon is None else self.lexicon.words
        return digest_json({"tokens": self.codes.vocabulary(rate_hz), "words": words})

    def loss(self, chunk_BKA: Tensor, there_BK: Tensor, seen: dict[str, Tensor]) -> Tensor:
        """Cross-entropy with the codes of the chunk."""
        codes = self.codes.told(chunk_BKA).to(chunk_BKA.device)
        return surprise(self._logits(seen), codes, there_BK, self.spread)

    def sample(self, seen: dict[str, Tensor], random: torch.Generator) -> Tensor:
        """The likeliest of everything; chance is not asked."""
        return self.codes.chunk_of(likeliest(self._logits(seen)))

    def _logits(self, seen: dict[str, Tensor]) -> Tensor:
        pictures = [seen[name] for name in self.net.cameras]
        codes = [held.to(self.net.query_QW.device) for held in self.codes.read(seen)]
        rows = len((codes or pictures)[0])
        logits: Tensor = self.net(seen.get(_SAID, torch.zeros(rows, 0, dtype=torch.int64)), codes, pictures)
        return logits


class Told(Windows):
    """Windows with the instruction of their recording."""

    def __init__(self, tracks: Sequence[Track], model: Cloned) -> None:
        super().__init__(tracks, model)
        lexicon = cast(Vla, model.head).lexicon
        self.said = None if lexicon is None else [lexicon.ids(track.text) for track in tracks]

    def gather(self, rows_N3: IntArray, rng: np.random.Generator) -> dict[str, Tensor]:
        """See :meth:`Windows.gather`."""
        held = super().gather(rows_N3, rng)
        if self.said is not None:
            held[_SAID] = torch.from_numpy(np.stack([self.said[i] for i in rows_N3[:, 0]]))
        return held


class Instructed(Cloned):
    """The policy while it learns."""

    @property
    def windows(self) -> type[Windows]:
        """With the instruction of each recording."""
        return Told

    def phases(self, train: Sequence[Track], held_out: Sequence[Track]) -> list[Phase]:
        """One; words and bins are those of the training episodes."""
        head = cast(Vla, self.head)
        if head.lexicon is not None:
            head.lexicon.fit([track.text for track in train])
            # what no training word says cannot be judged, only refused
            held_out = [track for track in held_out if head.lexicon.knows(track.text)]
        (cloning,) = super().phases(train, held_out)
        windows = cast(ClonePhase, cloning).windows
        chosen = np.random.default_rng(0).permutation(len(windows.rows_N3))[:_FITTED]
        head.codes.fit(windows.gather(windows.rows_N3[np.sort(chosen)], np.random.default_rng(0)))
        return [cloning]

    def fitted(self) -> Fitted:
        """Ready to become a release, whose identity holds its words and the digest of its vocabulary."""
        head, made = cast(Vla, self.head), super().fitted()
        pre: dict[str, Setting] = {**made.pre, _VOCABULARY: head.vocabulary(self.layout.rate_hz)}
        if head.lexicon is not None:
            pre |= {_TEXT: ",".join(self.layout.text), "words": " ".join(head.lexicon.words)}
        return replace(made, pre=pre)


class VlaPolicy(ChunkPolicy):
    """Fulfils :class:`worldgate.core.tasks.InstructedPolicy`."""

    def __init__(self, release: Release, head: Vla, lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self._said: Tensor | None = None
        super().__init__(release, head)

    def reset(self, *, seed: int) -> None:
        """Forget instruction and plans."""
        self._said = None
        super().reset(seed=seed)

    def tell(self, text: str) -> None:
        """See :class:`worldgate.core.tasks.InstructedPolicy`.

        Raises:
            UsageError: a word that it never learned, no word, or too many.
        """
        self._queue.clear()  # what was planned followed other words
        self._plans.clear()
        self._said = torch.from_numpy(self._lexicon.ids(text))[None]

    def _seen(self, observation: Observation) -> dict[str, Tensor]:
        seen = super()._seen(observation)
        if self._said is None:
            raise UsageError(
                "this release was not told what to do", got="no instruction", hint="tell(text) before act()"
            )
        return {**seen, _SAID: self._said}


def debug() -> Config:
    """Trains in seconds."""
    return _chunks.tiny(Config(bins=32))


def sized(size: Size) -> Config:
    """The configuration of a size."""
    return _chunks.sized(Config(), size)


def create(config: Config, layout: Layout, normaliser: Normaliser) -> Instructed:
    """An untrained policy.

    Raises:
        UsageError: a goal, too few bins, or nothing to look at.
    """
    if config.goal:
        raise UsageError("this policy is told in words where to go", got=config.goal, where="goal", hint="policy act")
    words = config.words if layout.text else 0
    head = Vla(sight_of(config, layout), config.net, words=words, bins=config.bins, spread=config.spread)
    about = {"words": words, "bins": config.bins}
    return Instructed("vla", config, layout, normaliser, head, about=about, post={})


def build(release: Release, weights: Mapping[str, bytes]) -> ChunkPolicy:
    """See :class:`worldgate.control.policies.PolicyModule`."""
    return built(release, weights, _make, _acting)


def _make(sight: Sight, net: NetConfig, about: Mapping[str, Any], release: Release) -> Vla:
    return Vla(sight, net, words=int(about["words"]), bins=int(about["bins"]))


def _acting(release: Release, head: nn.Module) -> ChunkPolicy:
    assert isinstance(head, Vla)
    found = head.vocabulary(release.controller.rate_hz)
    if found != release.pre.get(_VOCABULARY):
        raise WeightsRefused("words or bins that are not the release's", got=found[:12], where=WEIGHTS)
    return ChunkPolicy(release, head) if head.lexicon is None else VlaPolicy(release, head, head.lexicon)

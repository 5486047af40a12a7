"""The token families as one: a tokenizer, a transformer over its tokens, and the phases that fit both.

Shape legend: N windows, T frames, S streams, A action channels, K steps, V cameras, P pixels a side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from worldgate.core.errors import DataRefused
from worldgate.core.normalisers import Normaliser
from worldgate.core.worlds import ModelSpec, WorldModel
from worldgate.worlds.batches import Batch
from worldgate.worlds.devices import sent
from worldgate.worlds.family import Phase
from worldgate.worlds.heads.net import Heads, HeadsConfig
from worldgate.worlds.models._codec import Codec
from worldgate.worlds.models._dream import Denoiser
from worldgate.worlds.models._reading import HeadsPhase, parted
from worldgate.worlds.models._rolling import judge
from worldgate.worlds.models._tape import Tape, Windows
from worldgate.worlds.models._world import TokenWorld
from worldgate.worlds.nn.streams import Guidance, NetConfig
from worldgate.worlds.sizes import Size, slower, wider
from worldgate.worlds.texts import Frozen, TextConfig, TextReader, reader
from worldgate.worlds.tokenizers import fsq, kl
from worldgate.worlds.tracks import Inputs, Track
from worldgate.worlds.train.config import LoopConfig, PhaseConfig

_NETS = {
    Size.NANO: NetConfig(width=32, depth=1, heads=2, near=16),
    Size.SMALL: NetConfig(),
    Size.BASE: NetConfig(width=512, depth=12, heads=8, patch=1, near=128),
    Size.LARGE: NetConfig(width=1024, depth=16, heads=16, patch=1, near=192),
}
"""The larger two are made for a GPU; their weights are counted in `docs/how-to/train.md`."""
_LED = 0.5
"""Share of training windows that know the action before their first frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorConfig:
    """What both families are configured by."""

    inputs: Inputs = field(default_factory=lambda: Inputs(cameras=("observation.images.front",)))
    tokenizer: kl.Settings | fsq.Settings
    net: NetConfig = field(default_factory=NetConfig)
    text_width: int = 64
    text: TextConfig = field(default_factory=TextConfig)
    """Who reads the texts that ``inputs.text`` makes."""
    window: int = 6
    """Frames of a training window, and those that are remembered in use."""
    context: int = 3
    """Rows of a prompt that is cut from an episode; prompts may hold fewer, or none."""
    blind: float = 0.1
    """Share of training windows whose actions, and of those whose text, are hidden."""
    ahead: float = 0.3
    """Share of batches that know one frame ahead."""
    phase: PhaseConfig = field(
        default_factory=lambda: PhaseConfig(steps=3000, batch=16, rate=4e-3, ema=0.98, share=2.0)
    )
    """Of a short run twice the time of the tokenizer's, which is soon as good as it gets."""
    heads: HeadsConfig = field(default_factory=HeadsConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)


Made = TypeVar("Made", bound=GeneratorConfig)


def at_size(small: Made, size: Size) -> Made:
    """The configuration of a size, from the default one; the tokenizer's rate in bits is the same at all of them."""
    net, tokenizer = _NETS[size], small.tokenizer
    phase = replace(small.phase, rate=small.phase.rate * small.net.width / net.width)
    made = replace(small, net=net, phase=phase)
    if size not in {Size.BASE, Size.LARGE}:
        return made
    conv = replace(tokenizer.net, coarse=wider(tokenizer.net.coarse, size), fine=wider(tokenizer.net.fine, size))
    grown = replace(tokenizer, net=conv, phase=slower(tokenizer.phase, size))
    return replace(made, tokenizer=grown, window=16)


class TokenModel(Denoiser, Protocol):
    """One family's network."""

    def fit(self, tape: Tape) -> None:
        """Learn from the training tokens what needs no gradient."""
        ...

    def loss(self, windows: Windows, guidance: Guidance, ahead: int | None) -> Tensor:
        """Of windows of clean tokens; ``ahead`` is the frame that is known before all others."""
        ...


class Generator(nn.Module):
    """Tokenizer, text encoder and network: what a run trains and a checkpoint holds."""

    def __init__(self, config: GeneratorConfig, codec: Codec, model: TokenModel) -> None:
        super().__init__()
        self.config, self.codec, self.model = config, codec, cast(nn.Module, model)
        words = reader(config.text, config.text_width) if codec.layout.text else None
        self.words = cast(nn.Module | None, words)
        reads = codec.layout.reads
        self.heads = Heads(config.heads, codec.layout, codec.normaliser, codec.view_shapes) if reads else None
        self.layout, self.context = codec.layout, config.context
        actions = [] if not self.layout.action.name else [codec.normaliser.statistics(self.layout.action.name)]
        mean = np.asarray(actions[0].mean if actions else ())
        std = np.asarray(actions[0].std if actions else ())
        self.register_buffer("action_mean_A", torch.tensor(mean, dtype=torch.float32), persistent=False)
        self.register_buffer("action_std_A", torch.tensor(std, dtype=torch.float32), persistent=False)

    action_mean_A: Tensor
    action_std_A: Tensor

    @property
    def net(self) -> TokenModel:
        """The family's network."""
        return cast(TokenModel, self.model)

    @property
    def normaliser(self) -> Normaliser:
        """Of states and actions."""
        return self.codec.normaliser

    def phases(self, train: Sequence[Track], held_out: Sequence[Track]) -> list[Phase]:
        """The tokenizer, where there are cameras, the transformer on frozen tokens, and what reads states out."""
        tokenizer = self.codec.tokenizer
        seen = [t for t in train if t.frames]
        first = tokenizer.phases(seen, [t for t in held_out if t.frames]) if tokenizer is not None else []
        if self.heads is None:
            return [*first, TokensPhase(self, train, held_out)]
        learn, left = parted(train, self.config.heads)
        return [*first, TokensPhase(self, learn, held_out), HeadsPhase(self, learn, left, held_out)]

    def tape(self, tracks: Sequence[Track], tokens: list[list[Tensor | None]]) -> Tape:
        """Tracks with their tokens, as windows are cut from."""
        action = self.layout.action.name
        actions = [self.command(sent(t.actions_TA, self.action_mean_A.device)).cpu() for t in tracks]
        acts = [bool(action) and action not in t.lacks for t in tracks]
        return Tape(tracks, tokens, actions, acts, self.texts([t.text for t in tracks]), self.codec.blank())

    def blocks(self) -> list[nn.Module]:
        """The transformer's layers, which a GPU compiles, recomputes and shares out."""
        return list(self.net.backbone.stack.blocks)

    def command(self, actions: Tensor) -> Tensor:
        """Actions in their unit, normalised."""
        return (actions - self.action_mean_A) / self.action_std_A

    def guidance(self, windows: Windows, actions_NTA: Tensor, acted_NT: Tensor) -> Guidance:
        """What windows are told, under these actions, normalised."""
        text_NE = self.read(windows.text_NW)
        return Guidance(actions_NTA=actions_NTA, acted_NT=acted_NT, text_NE=text_NE, told_N=windows.told_N)

    def texts(self, texts: Sequence[str]) -> Tensor:
        """(N, W) of N texts, as :meth:`read` takes them; on the CPU."""
        if self.words is None:
            return torch.zeros(len(texts), 0)
        return cast(TextReader, self.words).inputs(texts)

    def borrowed(self) -> dict[str, str]:
        """The text encoder that somebody else trained, where there is one."""
        return self.words.borrowed() if isinstance(self.words, Frozen) else {}

    def read(self, text_NW: Tensor) -> Tensor:
        """Texts (N, E) of :meth:`texts`; E is 0 for a model that reads none."""
        if self.words is None:
            return self.action_mean_A.new_zeros(len(text_NW), 0)
        out: Tensor = self.words(text_NW)
        return out

    def said(self, text: str) -> Tensor:
        """(1, E) one text, read where the weights are."""
        return self.read(sent(self.texts([text]), self.action_mean_A.device))

    def world(self, spec: ModelSpec) -> WorldModel:
        """Behind the protocol."""
        return TokenWorld(self, spec)


class TokensPhase:
    """Fits the transformer to windows of frozen tokens."""

    name = "dynamics"
    anywhere = True

    def __init__(self, model: Generator, train: Sequence[Track], held_out: Sequence[Track]) -> None:
        self.model, self.config = model, model.config.phase
        self.train, self.held_out = train, held_out
        self.tape: Tape | None = None
        self.unseen: Tape | None = None

    def parameters(self) -> list[nn.Parameter]:
        """The transformer and the text encoder; tokenizers stay as they are."""
        words = self.model.words
        return [*self.model.model.parameters(), *(words.parameters() if words is not None else ())]

    def prepare(self) -> None:
        """Turn every track into tokens, once."""
        self._prepare(self.train)

    def taste(self) -> float:
        """As :meth:`prepare`, of as few training tracks as show every camera and hold a batch of windows."""
        few, unseen, windows = [], set(self.model.codec.cameras), 0
        for track in self.train:
            if windows < self.config.batch or unseen & set(track.frames):
                few.append(track)
                unseen -= set(track.frames)
                windows += len(track.starts(1, self.model.config.window - 1))
        self._prepare(few)
        judged = sum(map(len, self.held_out))
        return (sum(map(len, few)) + judged) / (sum(map(len, self.train)) + judged)

    def _prepare(self, tracks: Sequence[Track]) -> None:
        codec = self.model.codec
        codec.train(False)
        self.tape = self.model.tape(tracks, codec.fit(tracks))
        self.model.net.fit(self.tape)
        self.starts = self.tape.by_length(self.model.config.window)
        if not self.starts:
            longest = max((len(t) for t in tracks), default=0)
            got = f"{longest} rows in the longest, and no two of them in a row"
            raise DataRefused("episodes are too short to train on", got=got, hint="align at a higher rate")
        rows = np.array([len(held) * (1 if n == self.model.config.window else n) for n, held in self.starts.items()])
        self.shares = rows / rows.sum()
        self.unseen = self.model.tape(self.held_out, codec.encode(self.held_out)) if self.held_out else None

    def draw(self, rng: np.random.Generator) -> Batch:
        """Windows at random, some of them without actions or text, at times with a frame known ahead.

        All of a batch are of one length, which is that of a short run as often as such runs hold rows: nothing is
        padded, and no window holds two episodes that would have to be kept apart.
        """
        assert self.tape is not None
        config, lengths = self.model.config, list(self.starts)
        length = lengths[int(rng.choice(len(lengths), p=self.shares))] if len(lengths) > 1 else lengths[0]
        chosen = self.starts[length][rng.integers(len(self.starts[length]), size=self.config.batch)]
        windows = self.tape.windows(chosen, length)
        mute, silent = (torch.as_tensor(rng.random(len(chosen)) < config.blind) for _ in range(2))
        # A prompt of actions alone knows the one before the first frame; one that holds frames does not.
        led = self.tape.led(chosen) & torch.as_tensor(rng.random(len(chosen)) < _LED)
        led_NT = torch.cat([led.unsqueeze(1), windows.acted_NT[:, 1:]], dim=1)
        acted, told = led_NT & ~mute.unsqueeze(1), windows.told_N & ~silent
        ahead = int(rng.integers(1, length)) if rng.random() < config.ahead else -1
        hidden = replace(windows, acted_NT=acted, told_N=told)
        return hidden.batch(int(rng.integers(2**31)), ahead=ahead)

    def loss(self, batch: Batch) -> Tensor:
        """The network's."""
        windows, ahead = Windows.of(batch), batch.numbers["ahead"]
        actions, acted = windows.actions_NTA, windows.acted_NT
        if ahead >= 0:
            actions = torch.cat([torch.zeros_like(actions[:, :1]), actions], dim=1)
            acted = torch.cat([torch.zeros_like(acted[:, :1]), acted], dim=1)
        guidance = self.model.guidance(windows, actions, acted)
        return self.model.net.loss(windows, guidance, ahead if ahead >= 0 else None)

    def evaluate(self) -> dict[str, float]:
        """Skill over standing still at 0.5 s and 1 s, and action sensitivity, held out."""
        if self.unseen is None:
            return {}
        return judge(self.model, self.unseen)

    def finish(self) -> None:
        """Nothing is left to do."""

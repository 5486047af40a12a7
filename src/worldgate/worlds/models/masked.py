"""Masked: video and telemetry from discrete tokens by the same transformer, filled in a few steps or one by one.

Source: MaskGIT (arXiv 2202.04200) over frames in a row as in Genie (arXiv 2402.15391). Notable choices: every code
starts as likely as it is near the code that stood there before, in the tokenizer's own geometry, or near a linear guess
of a number, so that training starts from "nothing moves" or better; remembered frames are slightly corrupted in
training, against drift.

Shape legend: N sequences, T frames, S streams, G tokens of a stream, E entries (codes) of a token, D width, V codes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from worldgate.core.choices import settle
from worldgate.core.normalisers import Normaliser
from worldgate.worlds.models._codec import Codec
from worldgate.worlds.models._dream import Before
from worldgate.worlds.models._generator import Generator, GeneratorConfig, at_size
from worldgate.worlds.models._prior import Prior
from worldgate.worlds.models._tape import Tape, Windows
from worldgate.worlds.nn.attention import Past
from worldgate.worlds.nn.autoencoders import ConvConfig
from worldgate.worlds.nn.streams import Backbone, Guidance, NetConfig
from worldgate.worlds.sizes import Size
from worldgate.worlds.tokenizers import fsq
from worldgate.worlds.tokenizers._video import Context, VideoConfig
from worldgate.worlds.tracks import Inputs, Layout
from worldgate.worlds.train.config import LoopConfig, PhaseConfig

CARD = {
    "line": "video and states from discrete tokens: the same transformer, masked or autoregressive, every prompt",
    "inputs": "frames, states, actions, text",
    "needs": "models",
    "source": "MaskGIT, arXiv 2202.04200; Genie, arXiv 2402.15391",
}


class Order(StrEnum):
    """In which order the codes of a frame are filled in."""

    SURE = "sure"
    """The surest first, ever more at once: MaskGIT's cosine schedule."""
    RASTER = "raster"
    """One after the other, row by row: autoregressive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskConfig:
    """How codes are hidden in training and filled in use."""

    bins: int = 256
    """Codes of a number."""
    embedding: int = 32
    """Channels of a code."""
    steps: int = 8
    """Steps a frame takes in use; ``raster`` takes one for every code of its largest stream."""
    order: Order = Order.SURE
    temperature: float = 1.0
    """Of the draws; 0 takes the likeliest code."""
    memory: float = 0.1
    """Largest part of wrong codes in frames that are remembered."""
    clean: float = 0.5
    """Share of training frames at the state of remembered ones."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(GeneratorConfig):
    """Configuration of the ``masked`` family."""

    tokenizer: fsq.Settings = field(
        default_factory=lambda: fsq.Settings(video=VideoConfig(context=Context.BACKGROUND), levels=(8, 8, 8))
    )
    mask: MaskConfig = field(default_factory=MaskConfig)


def debug() -> Config:
    """Trains in seconds."""
    return Config(
        inputs=Inputs(cameras=("observation.images.front",), size=32),
        tokenizer=fsq.Settings(
            video=VideoConfig(context=Context.BACKGROUND),
            net=ConvConfig(coarse=16, fine=16),
            levels=(5, 5),
            phase=PhaseConfig(steps=20, batch=8, rate=2e-3, warmup=5),
        ),
        net=NetConfig(width=32, depth=2, heads=2),
        window=6,
        phase=PhaseConfig(steps=100, batch=16, rate=4e-3, warmup=5, ema=0.95),
        mask=MaskConfig(bins=64, steps=4),
        loop=LoopConfig(checkpoint_every=50, evaluate_every=100),
    )


def sized(size: Size) -> Config:
    """The configuration of a size."""
    return at_size(Config(), size)


def create(config: Config, layout: Layout, normaliser: Normaliser) -> Generator:
    """An untrained model."""
    tokenizer = fsq.create(config.tokenizer, layout, normaliser) if layout.cameras else None
    codec = Codec(tokenizer, layout, normaliser, patch=config.net.patch, bins=config.mask.bins)
    return Generator(config, codec, MaskedNet(config, codec))


class Coded(nn.Module):
    """One stream: codes to tokens, and what comes back to how likely every code is."""

    def __init__(self, width: int, channels: int, entries: int, places_VC: Tensor) -> None:
        super().__init__()
        self.count = len(places_VC)
        self.embed = nn.Embedding(self.count + 1, channels)
        self.enter = nn.Linear(2 * entries * channels, width)
        self.leave = nn.Linear(width, entries * channels)
        self.bias_V = nn.Parameter(torch.zeros(self.count))
        self.stay = nn.Parameter(torch.tensor(2.0))
        self.near = nn.Parameter(torch.tensor(1.0))
        apart_VV = torch.cdist(places_VC, places_VC, p=1)
        apart_VV = apart_VV / apart_VV[apart_VV > 0].min()
        self.register_buffer("apart_VV", functional.pad(apart_VV, (0, 0, 0, 1)), persistent=False)

    apart_VV: Tensor

    @property
    def hidden(self) -> int:
        """The code that stands for one that is not known."""
        return self.count

    def numbers(self, codes: Tensor) -> Tensor:
        """The middles of the bins of a number, from -1 to 1; 0 of a hidden one."""
        return torch.where(codes == self.hidden, 0.0, 2 * (codes + 0.5) / self.count - 1)

    def tokens(self, codes_NTGE: Tensor, before_NTGE: Tensor) -> Tensor:
        """(N, T, G, D)."""
        both = torch.cat([self.embed(codes_NTGE), self.embed(before_NTGE)], dim=-2)
        out: Tensor = self.enter(both.flatten(-2))
        return out

    def logits(self, hidden_NTGD: Tensor, before_NTGE: Tensor, guess: tuple[Tensor, Tensor] | None) -> Tensor:
        """(N, T, G, E, V), near the guess of a number, or else near the code that stood there before."""
        features = torch.unflatten(self.leave(hidden_NTGD), -1, (before_NTGE.shape[-1], -1))
        drawn = features @ self.embed.weight[: self.count].T + self.bias_V
        if guess is not None:
            mean, spread = guess[0], guess[1].sqrt().clamp(min=2 / self.count)
            middles_V = self.numbers(torch.arange(self.count, device=mean.device))
            return (
                drawn - functional.softplus(self.near) * ((middles_V - mean.unsqueeze(-1)) / spread.unsqueeze(-1)).abs()
            )
        known = (before_NTGE != self.hidden).unsqueeze(-1)
        apart = self.apart_VV[before_NTGE]
        return drawn + known * (self.stay * (apart == 0) - functional.softplus(self.near) * apart)


class MaskedNet(nn.Module):
    """Predicts hidden codes."""

    def __init__(self, config: Config, codec: Codec) -> None:
        super().__init__()
        self.mask, self.entries = config.mask, codec.entries
        text = config.text_width if codec.layout.text else 0
        self.backbone = Backbone(config.net, codec.shapes, codec.layout.action_width, text)
        self.coded = nn.ModuleList(
            Coded(config.net.width, config.mask.embedding, entries, places)
            for entries, places in zip(codec.entries, codec.geometry(), strict=True)
        )
        self.first = len(codec.cameras)
        numbers = codec.entries[self.first :]
        self.prior = Prior(numbers, [1] * len(numbers), [True] * len(numbers), codec.layout.action_width)

    @property
    def streams(self) -> list[Coded]:
        """One for every stream."""
        return [cast(Coded, held) for held in self.coded]

    def forward(
        self,
        codes: Sequence[Tensor],
        before: Before,
        guidance: Guidance,
        *,
        times_T: Tensor | None = None,
        past: Sequence[Past] | None = None,
    ) -> list[Tensor]:
        """Logits (N, T, G, E, V) of every stream, from codes of which some are hidden."""
        tokens = [s.tokens(c, b) for s, c, b in zip(self.streams, codes, before.tokens, strict=True)]
        hidden = self.backbone(tokens, guidance, times_T=times_T, past=past)
        guesses = [*([None] * self.first), *self._guesses(before, guidance)]
        return [s.logits(h, b, g) for s, h, b, g in zip(self.streams, hidden, before.tokens, guesses, strict=True)]

    def _guesses(self, before: Before, guidance: Guidance) -> list[tuple[Tensor, Tensor]]:
        """Of every number, by the numbers before and the action."""
        mine = list(zip(self.streams, before.tokens, strict=True))[self.first :]
        if not mine:
            return []
        known = torch.stack([(codes != s.hidden).flatten(2).all(dim=2).float() for s, codes in mine], dim=-1)
        held = Before(tokens=tuple(s.numbers(codes) for s, codes in mine), level_NTS=known)
        guesses: list[tuple[Tensor, Tensor]] = self.prior(held, guidance)
        return guesses

    def fit(self, tape: Tape) -> None:
        """Learn the guess that the numbers start from."""
        mine = list(zip(self.streams, tape.tokens, strict=True))[self.first :]
        if mine:
            self.prior.fit(tape, [s.numbers(codes) for s, codes in mine])

    def loss(self, windows: Windows, guidance: Guidance, ahead: int | None) -> Tensor:
        """Cross-entropy of hidden codes in nats.

        Args:
            windows: codes.
            guidance: of their frames.
            ahead: a frame that is put before all others, as one that is known ahead; None: none.
        """
        true, present_NS, times = windows.tokens, windows.present_NS, None
        count, frames = true[0].shape[:2]
        hide_NTS, kept_NT = self._hidden(count, frames, true[0].device)
        if ahead is not None:
            true = tuple(torch.cat([c[:, ahead : ahead + 1], c], dim=1) for c in true)
            times = torch.cat([torch.tensor([ahead]), torch.arange(frames)]).to(true[0].device)
            first = hide_NTS.new_zeros(count, 1, len(true))
            first[:, :, [shape.side == 1 for shape in self.backbone.shapes]] = 1.0
            hide_NTS = torch.cat([first, hide_NTS], dim=1)
            kept_NT = torch.cat([kept_NT.new_ones(count, 1), kept_NT], dim=1)
        shown, asked = [], []
        for s, (stream, codes) in enumerate(zip(self.streams, true, strict=True)):
            mask = torch.rand(codes.shape, device=codes.device) < hide_NTS[:, :, s, None, None]
            mask |= ~present_NS[:, s, None, None, None]
            wrong = torch.rand(count, 1, 1, 1, device=codes.device) * self.mask.memory * kept_NT[..., None, None]
            odd = torch.rand(codes.shape, device=codes.device) < wrong
            seen = torch.where(odd, torch.randint_like(codes, stream.count), codes)
            shown.append(torch.where(mask, stream.hidden, seen))
            asked.append(mask & present_NS[:, s, None, None, None] & ~kept_NT[..., None, None])
        before = self._shifted(shown, ahead is not None)
        losses = []
        for logits, codes, mask in zip(self(shown, before, guidance, times_T=times), true, asked, strict=True):
            nats = functional.cross_entropy(logits.flatten(0, -2).float(), codes.flatten(), reduction="none")
            losses.append((nats * mask.flatten()).sum() / mask.sum().clamp(min=1))
        return torch.stack(losses).mean()

    def _hidden(self, count: int, frames: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Share of hidden codes (N, T, S), and which frames are as remembered ones (N, T)."""
        draw = torch.rand(count, frames, len(self.entries), device=device)
        alone = torch.rand(count, 1, 1, device=device) < 0.2
        share = torch.cos(math.pi / 2 * torch.where(alone, draw, draw[..., :1]))
        kept = torch.rand(count, frames, device=device) < self.mask.clean
        return torch.where(kept.unsqueeze(-1), 0.0, share), kept

    def _shifted(self, shown: Sequence[Tensor], prefixed: bool) -> Before:
        """What stands before each frame; nothing before the first, nor beside one that is known ahead."""
        out = []
        for stream, codes in zip(self.streams, shown, strict=True):
            held = torch.cat([torch.full_like(codes[:, :1], stream.hidden), codes[:, :-1]], dim=1)
            if prefixed:
                held[:, 1] = stream.hidden
            out.append(held)
        return Before(tokens=tuple(out))

    def nothing(self, count: int) -> Before:
        """Hidden codes alone."""
        each = zip(self.streams, self.backbone.shapes, self.entries, strict=True)
        return Before(tokens=tuple(torch.full((count, 1, shape.tokens, e), s.hidden) for s, shape, e in each))

    def fill(
        self,
        known: Sequence[Tensor | None],
        before: Before,
        guidance: Guidance,
        time: Tensor,
        past: Sequence[Past],
        rng: torch.Generator,
    ) -> list[Tensor]:
        """Draw what is hidden, some codes at each step."""
        blank = self.nothing(len(before.tokens[0])).tokens
        codes = [b if k is None else k for b, k in zip(blank, known, strict=True)]
        steps = self.mask.steps
        if self.mask.order is Order.RASTER:
            steps = max(b[0].numel() for b, k in zip(blank, known, strict=True) if k is None)
        for i in range(steps):
            answers = self(codes, before, guidance, times_T=time, past=past)
            for s, logits in enumerate(answers):
                if known[s] is None:
                    codes[s] = self._reveal(self.streams[s], codes[s], logits, (i + 1) / steps, rng)
        return codes

    def _reveal(self, stream: Coded, codes: Tensor, logits: Tensor, done: float, rng: torch.Generator) -> Tensor:
        """Codes with as many known as should be by now: those known before, and new draws."""
        flat, total = codes.flatten(1), codes[0].numel()
        logits = logits.flatten(1, -2).float()
        if self.mask.temperature > 0:
            chances = (logits / self.mask.temperature).softmax(dim=-1)
            drawn = torch.multinomial(chances.flatten(0, 1), 1, generator=rng).view_as(flat)
        else:
            chances = logits.softmax(dim=-1)
            drawn = chances.argmax(dim=-1)
        if self.mask.order is Order.RASTER:
            left, rank = total - math.ceil(total * done - 1e-9), -torch.arange(total).expand_as(flat).float()
        else:
            left = int(total * math.cos(math.pi / 2 * done) + 1e-9)
            sure = chances.gather(-1, drawn.unsqueeze(-1)).squeeze(-1).clamp(min=1e-9).log()
            luck = -torch.rand(flat.shape, generator=rng).clamp(1e-9, 1 - 1e-7).log()
            rank = sure - (1 - done) * luck.log()
        was = flat != stream.hidden
        rank = rank.masked_fill(was, torch.inf)
        show = rank.argsort(dim=1, descending=True).argsort(dim=1) < total - left
        return torch.where(was | ~show, flat, drawn).view_as(codes)

    def keep(
        self,
        tokens: Sequence[Tensor | None],
        before: Before,
        guidance: Guidance,
        time: Tensor,
        past: Sequence[Past],
        rng: torch.Generator,
    ) -> Before:
        """Remember a frame."""
        blank = self.nothing(len(before.tokens[0])).tokens
        held = tuple(b if t is None else t for b, t in zip(blank, tokens, strict=True))
        self(held, before, guidance, times_T=time, past=past)
        return Before(tokens=held)

"""Masked: video and telemetry from discrete tokens by the same transformer, filled in a few steps or one by one.

Source: MaskGIT (arXiv 2202.04200) over frames in a row as in Genie (arXiv 2402.15391). Notable choices: a place's code
is drawn digit by digit, and each starts as likely as it was counted to follow the one that stood there before, or as it
is near a linear guess of a number, so that training starts from what usually happens; remembered frames are slightly
corrupted in training, against drift.

Shape legend: N sequences, T frames, S streams, G tokens of a stream, E entries (codes) of a token, D width, V codes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from worldgate.core.choices import settle
from worldgate.core.normalisers import Normaliser
from worldgate.worlds.devices import Draws
from worldgate.worlds.models._codec import Codec
from worldgate.worlds.models._dream import Before, Earlier
from worldgate.worlds.models._generator import Generator, GeneratorConfig, at_size
from worldgate.worlds.models._prior import Habits, Prior, told
from worldgate.worlds.models._tape import Tape, Windows, remembered, turns
from worldgate.worlds.nn.attention import Past
from worldgate.worlds.nn.autoencoders import ConvConfig
from worldgate.worlds.nn.local import Around, around
from worldgate.worlds.nn.streams import Backbone, Guidance, NetConfig, StreamShape
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


_UNASKED = -100
"""In place of a code that the loss leaves out: to pick out the others, a device would be asked how many there are."""


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
    """Channels of the code of a place, shared by its digits, and of a number."""
    steps: int = 4
    """Steps a frame takes in use; ``raster`` takes one for every code of its largest stream."""
    order: Order = Order.SURE
    temperature: float = 1.0
    """Of the draws; 0 takes the likeliest code."""
    memory: float = 0.05
    """Largest part of wrong codes in pictures that are remembered. Numbers have none: a wrong one is a leap."""
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
        net=NetConfig(width=32, depth=2, heads=2, near=16),
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
    """One stream: codes to maps, and what comes back to how likely every code is.

    Args:
        net: sizes.
        shape: of the stream.
        channels: of what the code of a place, or a number, is turned into; its digits share them.
        entries: E.
        numbers: what is told of all state streams.
        levels_C: codes of each digit of a place, or of a number; entries take turns.
    """

    def __init__(
        self, net: NetConfig, shape: StreamShape, channels: int, entries: int, numbers: int, levels_C: Tensor
    ) -> None:
        super().__init__()
        self.count, digits, each = int(levels_C.max()), len(levels_C), -(-channels // len(levels_C))
        digit_E, levels_E = (held.repeat(entries // digits) for held in (torch.arange(digits), levels_C))
        self.register_buffer("digit_E", digit_E, persistent=False)
        self.register_buffer("levels_E", levels_E, persistent=False)
        self.register_buffer("none_EV", torch.arange(self.count) >= levels_E[:, None], persistent=False)
        self.embed_CVL = nn.Parameter(torch.randn(digits, self.count + 1, each))
        self.bias_CV = nn.Parameter(torch.zeros(digits, self.count))
        self.around = around(shape, net, enter=2 * each * entries, leave=each * entries, numbers=numbers)
        self.habits = Habits(shape.tokens, digit_E, self.count) if shape.side > 1 else None
        self.near = nn.Parameter(torch.tensor(1.0)) if self.habits is None else None

    digit_E: Tensor
    levels_E: Tensor
    none_EV: Tensor

    @property
    def way(self) -> Around:
        """Into the transformer and out of it."""
        return cast(Around, self.around)

    @property
    def hidden(self) -> int:
        """The code that stands for one that is not known."""
        return self.count

    def numbers(self, codes: Tensor) -> Tensor:
        """The middles of the bins of a number, from -1 to 1; 0 of a hidden one."""
        return torch.where(codes == self.hidden, 0.0, 2 * (codes + 0.5) / self.count - 1)

    def maps(self, codes_NTGE: Tensor) -> Tensor:
        """(N, T, G, X)."""
        return self.embed_CVL[self.digit_E, codes_NTGE].flatten(-2)

    def wrong(self, codes_NTGE: Tensor) -> Tensor:
        """Codes of the same shape, at random."""
        return (torch.rand(codes_NTGE.shape, device=codes_NTGE.device) * self.levels_E).long()

    def logits(self, maps_NTGX: Tensor, before_NTGE: Tensor, guess: tuple[Tensor, Tensor] | None) -> Tensor:
        """(N, T, G, E, V), beside the guess of a number, or else what usually follows the code that stood there."""
        features = torch.unflatten(maps_NTGX, -1, (before_NTGE.shape[-1], -1))
        table_EVL = self.embed_CVL[self.digit_E, : self.count]
        said = torch.einsum("ntgel,evl->ntgev", features, table_EVL) + self.bias_CV[self.digit_E]
        if self.habits is not None:
            usual: Tensor = self.habits(before_NTGE)
            return (said + usual).masked_fill(self.none_EV, -torch.inf)
        assert guess is not None and self.near is not None
        mean, spread = guess[0].unsqueeze(-1), guess[1].sqrt().unsqueeze(-1)
        middles_V = self.numbers(torch.arange(self.count, device=said.device))
        return said - functional.softplus(self.near) * ((middles_V - mean) / spread).abs()


class MaskedNet(nn.Module):
    """Predicts hidden codes."""

    def __init__(self, config: Config, codec: Codec) -> None:
        super().__init__()
        self.mask, self.entries = config.mask, codec.entries
        self.plain = [shape.side == 1 for shape in codec.shapes]
        self.register_buffer("plain_S", torch.tensor(self.plain), persistent=False)
        text = config.text_width if codec.layout.text else 0
        self.backbone = Backbone(config.net, codec.shapes, codec.layout.action_width, text)
        self.first = len(codec.cameras)
        numbers = codec.entries[self.first :]
        self.coded = nn.ModuleList(
            Coded(config.net, shape, config.mask.embedding, entries, 3 * sum(numbers), levels)
            for shape, entries, levels in zip(codec.shapes, codec.entries, codec.levels(), strict=True)
        )
        self.prior = Prior(numbers, [1] * len(numbers), [True] * len(numbers), codec.layout.action_width)

    plain_S: Tensor

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
        told_NTD, guesses = self.backbone.told(guidance), self._guesses(before, guidance)
        numbers_NTI = self._numbers(codes, before, guesses) if guesses else told_NTD[..., :0]
        tokens, kept = [], []
        for stream, now, was in zip(self.streams, codes, before.tokens, strict=True):
            near, token = stream.way.stem([stream.maps(now), stream.maps(was)], numbers_NTI, told_NTD)
            tokens.append(token)
            kept.append(near)
        hidden = self.backbone(tokens, told_NTD, times_T=times_T, past=past)
        out = []
        both = zip(self.streams, before.tokens, [*([None] * self.first), *guesses], strict=True)
        for (stream, was, guess), near, h in zip(both, kept, hidden, strict=True):
            out.append(stream.logits(stream.way.head(near, h, numbers_NTI, told_NTD), was, guess))
        return out

    def _numbers(self, codes: Sequence[Tensor], before: Before, guesses: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """What is known of a frame's numbers, (N, T, I)."""
        now, was = [], []
        mine = zip(self.streams, codes, before.tokens, strict=True)
        for (stream, held, old), (mean, _) in zip(list(mine)[self.first :], guesses, strict=True):
            now.append(torch.where(held == stream.hidden, mean, stream.numbers(held)))
            was.append(stream.numbers(old))
        return torch.cat(told(now, was, guesses), dim=-1).squeeze(2)

    def _guesses(self, before: Before, guidance: Guidance) -> list[tuple[Tensor, Tensor]]:
        """Mean and variance of every number, by the numbers before and the action; no surer than a bin is wide."""
        mine = list(zip(self.streams, before.tokens, strict=True))[self.first :]
        if not mine:
            return []
        known = self._whole(before.tokens).float()
        held = Before(tokens=self._numbers_of(before.tokens), level_NTS=known, earlier=before.earlier)
        out = zip(mine, self.prior(held, guidance), strict=True)
        return [(mean, variance.clamp(min=(2 / s.count) ** 2)) for (s, _), (mean, variance) in out]

    def _whole(self, codes: Sequence[Tensor]) -> Tensor:
        """(N, T, S) where no code is hidden, of every stream of numbers."""
        each = zip(self.streams, codes, strict=True)
        return torch.stack([(held != s.hidden).flatten(2).all(dim=2) for s, held in each], dim=-1)[..., self.first :]

    def _numbers_of(self, codes: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Of every stream of numbers."""
        return tuple(s.numbers(held) for s, held in list(zip(self.streams, codes, strict=True))[self.first :])

    def fit(self, tape: Tape) -> None:
        """Learn the guesses that codes start from."""
        now, after, track = tape.pairs()
        for s, (stream, tokens) in enumerate(zip(self.streams, tape.tokens, strict=True)):
            seen = tape.present[track, s]
            if stream.habits is not None:
                stream.habits.fit(tokens[now[seen]], tokens[after[seen]])
        self.prior.fit(tape, self._numbers_of(tape.tokens))

    def loss(self, windows: Windows, guidance: Guidance, ahead: int | None) -> Tensor:
        """Cross-entropy of hidden codes in nats.

        Args:
            windows: codes.
            guidance: of their frames.
            ahead: a frame that is put before all others, as one that is known ahead; None: none.
        """
        true, present_NS, times = windows.tokens, windows.present_NS, None
        count, frames = true[0].shape[:2]
        hide_NTS, asked_NTS = self._hidden(count, frames, true[0].device)
        if ahead is not None:
            true = tuple(torch.cat([c[:, ahead : ahead + 1], c], dim=1) for c in true)
            when = torch.full((1,), ahead, device=hide_NTS.device)
            times = torch.cat([when, torch.arange(frames, device=hide_NTS.device)])
            first = self.plain_S.to(hide_NTS.dtype).expand(count, 1, -1)
            hide_NTS = torch.cat([first, hide_NTS], dim=1)
            asked_NTS = torch.cat([torch.zeros_like(first, dtype=torch.bool), asked_NTS], dim=1)
        asked_NTS = asked_NTS & present_NS.unsqueeze(1)
        shown, asked, recalled = [], [], []
        for s, (stream, codes) in enumerate(zip(self.streams, true, strict=True)):
            mask = torch.rand(codes.shape, device=codes.device) < hide_NTS[:, :, s, None, None]
            mask |= ~present_NS[:, s, None, None, None]
            mine = asked_NTS[:, :, s, None, None]
            memory = 0.0 if self.plain[s] else self.mask.memory
            wrong = torch.rand(count, 1, 1, 1, device=codes.device) * memory * ~mine
            odd = torch.rand(codes.shape, device=codes.device) < wrong
            seen = torch.where(odd, stream.wrong(codes), codes)
            recalled.append(seen)
            shown.append(torch.where(mask, stream.hidden, seen))
            asked.append(mask & mine)
        before = self._shifted(shown, ahead is not None)
        known_NT = self._whole(before.tokens).all(dim=-1)
        earlier = Earlier.of(self._numbers_of(recalled), known_NT, guidance, prefixed=ahead is not None)
        before = replace(before, earlier=earlier)
        losses = []
        for logits, codes, mask in zip(self(shown, before, guidance, times_T=times), true, asked, strict=True):
            wanted = codes.masked_fill(~mask, _UNASKED).flatten()
            nats = functional.cross_entropy(
                logits.flatten(0, -2).float(), wanted, ignore_index=_UNASKED, reduction="sum"
            )
            losses.append(nats / mask.sum().clamp(min=1))
        return torch.stack(losses).mean()

    def _hidden(self, count: int, frames: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Share of hidden codes, and where they are asked for, (N, T, S) each; other frames are as remembered ones.

        Pictures wait while numbers are asked for, and are asked for, too, of nothing.
        """
        plain_S = self.plain_S
        kept_NT1 = remembered(count, frames, self.mask.clean, device).unsqueeze(-1)
        turn, seen = turns(count, frames, self.plain, device)
        waiting = turn & ~plain_S & ~seen
        asked = ((plain_S == turn) | waiting) & ~kept_NT1
        drawn = torch.cos(math.pi / 2 * torch.rand(count, frames, len(self.entries), device=device))
        return torch.where(waiting, 1.0, drawn) * asked, asked

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
        device = self.plain_S.device
        blank = (torch.full((count, 1, shape.tokens, e), s.hidden, device=device) for s, shape, e in each)
        return Before(tokens=tuple(blank))

    def fill(
        self,
        known: Sequence[Tensor | None],
        before: Before,
        guidance: Guidance,
        time: Tensor,
        past: Sequence[Past],
        draws: Draws,
    ) -> list[Tensor]:
        """Draw what is hidden, some codes at each step: first the numbers, then the pictures that show them."""
        blank = self.nothing(len(before.tokens[0])).tokens
        codes = [b if k is None else k for b, k in zip(blank, known, strict=True)]
        for turn in (True, False):
            mine = [s for s, k in enumerate(known) if k is None and self.plain[s] is turn]
            raster = self.mask.order is Order.RASTER
            steps = max((blank[s][0].numel() if raster else self.mask.steps for s in mine), default=0)
            for i in range(steps):
                answers = self(codes, before, guidance, times_T=time, past=past)
                for s in mine:
                    codes[s] = self._reveal(self.streams[s], codes[s], answers[s], (i + 1) / steps, draws)
        return codes

    def _reveal(self, stream: Coded, codes: Tensor, logits: Tensor, done: float, draws: Draws) -> Tensor:
        """Codes with as many known as should be by now: those known before, and new draws."""
        flat, total = codes.flatten(1), codes[0].numel()
        logits = logits.flatten(1, -2).float()
        if self.mask.temperature > 0:
            chances = (logits / self.mask.temperature).softmax(dim=-1)
            drawn = draws.one_of(chances.flatten(0, 1)).view_as(flat)
        else:
            chances = logits.softmax(dim=-1)
            drawn = chances.argmax(dim=-1)
        if self.mask.order is Order.RASTER:
            left = total - math.ceil(total * done - 1e-9)
            rank = -torch.arange(total, device=flat.device).expand_as(flat).float()
        else:
            left = int(total * math.cos(math.pi / 2 * done) + 1e-9)
            sure = chances.gather(-1, drawn.unsqueeze(-1)).squeeze(-1).clamp(min=1e-9).log()
            luck = -draws.uniform(flat.shape).clamp(1e-9, 1 - 1e-7).log()
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
        draws: Draws,
    ) -> Before:
        """Remember a frame."""
        blank = self.nothing(len(before.tokens[0])).tokens
        held = tuple(b if t is None else t for b, t in zip(blank, tokens, strict=True))
        self(held, before, guidance, times_T=time, past=past)
        earlier = Earlier(
            numbers=self._numbers_of(before.tokens),
            known_NT=(self._whole(before.tokens) & self._whole(held)).all(dim=-1),
            actions_NTA=guidance.actions_NTA,
        )
        return Before(tokens=held, earlier=earlier)

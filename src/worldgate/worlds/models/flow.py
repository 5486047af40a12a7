"""Flow: video and telemetry from continuous tokens by a block-causal transformer, in a few large denoising steps.

Source: diffusion forcing (arXiv 2407.01392), shortcut models (arXiv 2410.12557) and their union in Dreamer 4 (arXiv
2509.24527): every frame and stream has its own noise level, the network predicts clean tokens, and learns to take
steps of any power-of-two size by agreeing with two of its own half steps. Notable choices: what the noisy token and
the frame before say by themselves (the mean of two Gaussians) is added to the network's answer, so that training
starts from "nothing moves" and learns what does; remembered frames are slightly noised, against drift.

Shape legend: N sequences, T frames, S streams, G tokens of a stream, E entries of a token, D width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import torch
from torch import Tensor, nn

from worldgate.core.errors import UsageError
from worldgate.core.normalisers import Normaliser
from worldgate.worlds.devices import Draws
from worldgate.worlds.models._codec import Codec
from worldgate.worlds.models._dream import Before, Earlier
from worldgate.worlds.models._generator import Generator, GeneratorConfig, at_size
from worldgate.worlds.models._prior import Prior, posterior, told
from worldgate.worlds.models._tape import Tape, Windows, remembered, turns
from worldgate.worlds.nn.attention import Past
from worldgate.worlds.nn.autoencoders import ConvConfig
from worldgate.worlds.nn.local import Around, around
from worldgate.worlds.nn.streams import Backbone, Guidance, NetConfig
from worldgate.worlds.sizes import Size
from worldgate.worlds.tokenizers import kl
from worldgate.worlds.tokenizers._video import Context, VideoConfig
from worldgate.worlds.tracks import Inputs, Layout
from worldgate.worlds.train.config import LoopConfig, PhaseConfig

CARD = {
    "line": "video and states from continuous tokens: block-causal transformer, shortcut forcing, every prompt",
    "inputs": "frames, states, actions, text",
    "needs": "models",
    "source": "diffusion forcing, arXiv 2407.01392; shortcut forcing, arXiv 2509.24527",
}


_LEAST = 1e-6
"""Least variance that errors are held against."""
_SMALL = 0.1
"""Deviation of what a token is first told of its noise: less than of what it says itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseConfig:
    """How tokens are noised in training and denoised in use."""

    levels: int = 8
    """Finest steps from noise to clean, a power of two."""
    steps: int = 2
    """Steps a frame takes in use, a power of two up to ``levels``; more of them pay once a model had hours to learn."""
    memory: float = 0.06
    """Part of noise in pictures that are remembered."""
    exact: float = 0.01
    """The same of numbers, whose changes are a small part of their spread."""
    temperature: float = 1.0
    """Deviation of the noise that a frame starts from; 0 gives the mean of what may come, and one future only."""
    clean: float = 0.5
    """Share of training frames at the level of remembered ones."""
    shortcut: float = 0.125
    """Share of a batch that learns larger steps from two half ones; 0: all steps are as small as can be, which is what
    few steps of training learn best."""

    def __post_init__(self) -> None:
        for name, count in (("levels", self.levels), ("steps", self.steps)):
            if count < 1 or count & (count - 1) or count > self.levels:
                hint = f"1, 2, 4, ... up to levels ({self.levels})"
                raise UsageError("a number of denoising steps is a power of two", got=f"{name}={count}", hint=hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(GeneratorConfig):
    """Configuration of the ``flow`` family."""

    tokenizer: kl.Settings = field(default_factory=lambda: kl.Settings(video=VideoConfig(context=Context.BACKGROUND)))
    noise: NoiseConfig = field(default_factory=NoiseConfig)


def debug() -> Config:
    """Trains in seconds."""
    return Config(
        inputs=Inputs(cameras=("observation.images.front",), size=32),
        tokenizer=kl.Settings(
            video=VideoConfig(context=Context.BACKGROUND),
            net=ConvConfig(coarse=16, fine=16),
            channels=4,
            phase=PhaseConfig(steps=20, batch=8, rate=2e-3, warmup=5),
        ),
        net=NetConfig(width=32, depth=2, heads=2, near=16),
        window=6,
        phase=PhaseConfig(steps=100, batch=16, rate=4e-3, warmup=5, ema=0.95),
        loop=LoopConfig(checkpoint_every=50, evaluate_every=100),
    )


def sized(size: Size) -> Config:
    """The configuration of a size."""
    made = at_size(Config(), size)
    if size not in {Size.BASE, Size.LARGE}:
        return made
    return replace(made, noise=replace(made.noise, levels=64, steps=4, shortcut=0.25))


def create(config: Config, layout: Layout, normaliser: Normaliser) -> Generator:
    """An untrained model."""
    tokenizer = kl.create(config.tokenizer, layout, normaliser) if layout.cameras else None
    codec = Codec(tokenizer, layout, normaliser, patch=config.net.patch, bins=0)
    return Generator(config, codec, FlowNet(config, codec))


class FlowNet(nn.Module):
    """Predicts clean tokens from noised ones."""

    def __init__(self, config: Config, codec: Codec) -> None:
        super().__init__()
        width, self.noise = config.net.width, config.noise
        self.entries = codec.entries
        text = config.text_width if codec.layout.text else 0
        self.backbone = Backbone(config.net, codec.shapes, codec.layout.action_width, text)
        self.plain = [shape.side == 1 for shape in codec.shapes]
        sure = [1 - (self.noise.exact if plain else self.noise.memory) for plain in self.plain]
        self.register_buffer("sure_S", torch.tensor(sure), persistent=False)
        self.register_buffer("plain_S", torch.tensor(self.plain), persistent=False)
        numbers = 3 * sum(e for e, plain in zip(codec.entries, self.plain, strict=True) if plain)
        self.around = nn.ModuleList(
            around(shape, config.net, enter=(2 if plain else 3) * e, leave=e, numbers=numbers)
            for shape, e, plain in zip(codec.shapes, codec.entries, self.plain, strict=True)
        )
        self.prior = Prior(
            codec.entries, [shape.tokens for shape in codec.shapes], self.plain, codec.layout.action_width
        )
        self.cameras = len(codec.cameras)
        for s, state in enumerate(codec.states_of, start=self.cameras):
            for name, bound_E in zip(("low", "high"), state.bounds(), strict=True):
                self.register_buffer(f"{name}_{s}", bound_E, persistent=False)
        self.level = nn.Embedding(config.noise.levels + 1, width)
        self.level_before = nn.Embedding(config.noise.levels + 1, width)
        self.size = nn.Embedding(int(math.log2(config.noise.levels)) + 1, width)
        for table in (self.level, self.level_before, self.size):
            nn.init.normal_(table.weight, std=_SMALL)

    sure_S: Tensor
    plain_S: Tensor

    def forward(
        self,
        noisy: Sequence[Tensor],
        level_NTS: Tensor,
        size_NT: Tensor,
        before: Before,
        guidance: Guidance,
        *,
        times_T: Tensor | None = None,
        past: Sequence[Past] | None = None,
        priors: Sequence[tuple[Tensor, Tensor]] | None = None,
    ) -> list[Tensor]:
        """Clean tokens (N, T, G, E) of every stream.

        Args:
            noisy: ``level * clean + (1 - level) * noise``.
            level_NTS: how clean each stream of each frame is, 0 to 1.
            size_NT: the step that will be taken, as log2 of finest steps.
            before: the frames before, as noisy as they are.
            guidance: actions and text.
            times_T: when each frame is.
            past: caches.
            priors: of these frames, where they are known already.
        """
        most = self.noise.levels
        levels_NTSD = self.level((level_NTS * most).round().long())
        levels_NTSD = levels_NTSD + self.level_before((before.level_NTS * most).round().long())
        size_NTD, told_NTD = self.size(size_NT), self.backbone.told(guidance)
        priors = self.prior(before, guidance) if priors is None else priors
        known = [posterior(p, x, level_NTS[..., s]) for s, (p, x) in enumerate(zip(priors, noisy, strict=True))]
        mine = [s for s, plain in enumerate(self.plain) if plain]
        said = told([known[s][0] for s in mine], [before.tokens[s] for s in mine], [priors[s] for s in mine])
        numbers_NTI = torch.cat(said, dim=-1).squeeze(2) if said else told_NTD[..., :0]
        every = [told_NTD + size_NTD + levels_NTD for levels_NTD in levels_NTSD.unbind(dim=2)]
        tokens, kept = [], []
        for s, (x, y) in enumerate(zip(noisy, before.tokens, strict=True)):
            maps = [x, y] if self.plain[s] else [x, y, known[s][0] - y]
            near, token = self._around[s].stem(maps, numbers_NTI, every[s])
            tokens.append(token + levels_NTSD[:, :, s].unsqueeze(2))
            kept.append(near)
        hidden = self.backbone(tokens, told_NTD, norms_NTD=size_NTD, times_T=times_T, past=past)
        out = []
        for s, (h, (mean, spread)) in enumerate(zip(hidden, known, strict=True)):
            out.append(mean + spread * self._around[s].head(kept[s], h, numbers_NTI, every[s]))
        return out

    @property
    def _around(self) -> list[Around]:
        return [cast(Around, held) for held in self.around]

    def fit(self, tape: Tape) -> None:
        """Learn the guess that the network starts from."""
        self.prior.fit(tape, tape.tokens)

    def loss(self, windows: Windows, guidance: Guidance, ahead: int | None) -> Tensor:
        """Squared error of clean tokens at random noise levels, as a share of what a linear guess leaves open.

        Args:
            windows: clean tokens.
            guidance: of their frames.
            ahead: a frame that is put before all others, as one that is known ahead; None: none.
        """
        clean, present, times = windows.tokens, windows.present_NS, None
        count, frames = clean[0].shape[:2]
        device = clean[0].device
        level, size, moves, asked = self._levels(count, frames, device)
        if ahead is not None:
            clean = tuple(torch.cat([c[:, ahead : ahead + 1], c], dim=1) for c in clean)
            times = torch.cat([torch.full((1,), ahead, device=device), torch.arange(frames, device=device)])
            first = (self.sure_S * ~self.plain_S).repeat(count, 1, 1)
            level = torch.cat([first, level], dim=1)
            size = torch.cat([size.new_zeros(count, 1), size], dim=1)
            moves, asked = (torch.cat([torch.zeros_like(m[:, :1]), m], dim=1) for m in (moves, asked))
        level = level * present.unsqueeze(1)
        noise = [torch.randn_like(c) for c in clean]
        noisy = [level[..., s, None, None] * c + (1 - level[..., s, None, None]) * n
                 for s, (c, n) in enumerate(zip(clean, noise, strict=True))]  # fmt: skip
        before = _shifted(noisy, level, ahead is not None)
        before = replace(before, earlier=self._earlier(clean, before.level_NTS, guidance, ahead is not None))
        target = self._targets(clean, noisy, level, size, moves & present.unsqueeze(1), before, guidance, times)
        priors = self.prior(before, guidance)
        out = self(noisy, level, size, before, guidance, times_T=times, priors=priors)
        asked = (present.unsqueeze(1) & asked).float()
        losses = []
        for s, (x, y) in enumerate(zip(out, target, strict=True)):
            _, spread = posterior(priors[s], noisy[s], level[..., s])
            error_NT = (x - y).square().mean(dim=(2, 3)) / spread.square().mean(dim=(2, 3)).clamp(min=_LEAST)
            losses.append((error_NT * asked[..., s]).sum() / asked[..., s].sum().clamp(min=1))
        return torch.stack(losses).mean()

    def _levels(self, count: int, frames: int, device: torch.device) -> tuple[Tensor, ...]:
        """Noise levels (N, T, S), step sizes (N, T), what takes such a step and what is asked for (N, T, S each).

        A new frame stands where it does in use: pictures wait while its numbers are denoised, and then know them;
        those that wait are asked for, too, of nothing but noise. The first sequences take larger steps.
        """
        most, streams = self.noise.levels, len(self.entries)
        large = round(self.noise.shortcut * count)
        size = torch.zeros(count, frames, dtype=torch.long, device=device)
        size[:large] = torch.randint(1, int(math.log2(most)) + 1, (large, 1), device=device)
        stride_NT1 = (2**size).unsqueeze(-1)
        level = (torch.rand(count, frames, streams, device=device) * (most // stride_NT1)).floor() * stride_NT1 / most
        kept = remembered(count, frames, self.noise.clean, device).unsqueeze(-1)
        numbers_S = self.plain_S
        turn, seen = turns(count, frames, self.plain, device)
        known = kept | (numbers_S & ~turn)
        level = torch.where(known, self.sure_S, torch.where(turn & ~numbers_S, self.sure_S * seen, level))
        moves = (numbers_S == turn) & ~known
        waits = turn & ~numbers_S & ~seen & ~kept & (size == 0).unsqueeze(-1)
        return level, torch.where(kept.squeeze(-1), 0, size), moves, moves | waits

    @torch.no_grad()
    def _targets(
        self,
        clean: Sequence[Tensor],
        noisy: Sequence[Tensor],
        level: Tensor,
        size: Tensor,
        moves: Tensor,
        before: Before,
        guidance: Guidance,
        times: Tensor | None,
    ) -> list[Tensor]:
        """Clean tokens, and where a larger step is asked for, where two half steps of the model lead."""
        out = [c.clone() for c in clean]
        mine = slice(0, round(self.noise.shortcut * len(size)))
        if not mine.stop:
            return out
        size, level, moves = size[mine], level[mine], moves[mine] & (size[mine] > 0).unsqueeze(-1)
        half = (size - 1).clamp(min=0)
        stride = torch.where(moves, (2.0**half / self.noise.levels).unsqueeze(-1), 0.0)
        told = _part(guidance, mine)
        was = before.rows(mine)
        x = [n[mine] for n in noisy]
        one = self._toward(x, level, self(x, level, half, was, told, times_T=times))
        middle = [a + stride[..., s, None, None] * v for s, (a, v) in enumerate(zip(x, one, strict=True))]
        later = level + stride
        was = replace(_shifted(middle, later, times is not None), earlier=was.earlier)
        two = self._toward(middle, later, self(middle, later, half, was, told, times_T=times))
        for s, held in enumerate(out):
            aim = x[s] + (1 - level[..., s, None, None]) * (one[s] + two[s]) / 2
            held[mine] = torch.where(moves[..., s, None, None], aim, held[mine])
        return out

    @staticmethod
    def _toward(x: Sequence[Tensor], level: Tensor, clean: Sequence[Tensor]) -> list[Tensor]:
        """Velocities from noise to clean."""
        left = (1 - level).clamp(min=1e-3)
        return [(c - a) / left[..., s, None, None] for s, (a, c) in enumerate(zip(x, clean, strict=True))]

    def _earlier(self, clean: Sequence[Tensor], was_NTS: Tensor, guidance: Guidance, prefixed: bool) -> Earlier:
        """What preceded the frames before, as it is remembered in use."""
        mine = [s for s, plain in enumerate(self.plain) if plain]
        numbers = [self.sure_S[s] * clean[s] + (1 - self.sure_S[s]) * torch.randn_like(clean[s]) for s in mine]
        known_NT = ((was_NTS == self.sure_S) | ~self.plain_S).all(dim=-1)
        return Earlier.of(numbers, known_NT, guidance, prefixed=prefixed)

    def _within(self, stream: int, clean: Tensor) -> Tensor:
        """Numbers where training has seen them: what has left is a guess on guesses, and would go on leaving."""
        if stream < self.cameras:
            return clean
        return clean.clamp(self.get_buffer(f"low_{stream}"), self.get_buffer(f"high_{stream}"))

    def _given(self, tokens: Sequence[Tensor | None]) -> Tensor:
        """(S,) 1 where there are some, else 0; copied to nowhere."""
        return torch.stack([torch.full_like(self.sure_S[0], float(held is not None)) for held in tokens])

    def nothing(self, count: int) -> Before:
        """Zeros of which nothing is known."""
        shapes = zip(self.backbone.shapes, self.entries, strict=True)
        tokens = tuple(self.sure_S.new_zeros(count, 1, shape.tokens, e) for shape, e in shapes)
        return Before(tokens=tokens, level_NTS=self.sure_S.new_zeros(count, 1, len(self.entries)))

    def fill(
        self,
        known: Sequence[Tensor | None],
        before: Before,
        guidance: Guidance,
        time: Tensor,
        past: Sequence[Past],
        draws: Draws,
    ) -> list[Tensor]:
        """Denoise what is unknown in a few equal steps: first the numbers, then the pictures that show them."""
        steps = self.noise.steps
        noise = [draws.normal(t.shape) for t in before.tokens]
        x = [
            self.noise.temperature * n if k is None else sure * k + (1 - sure) * n
            for n, k, sure in zip(noise, known, self.sure_S, strict=True)
        ]
        out = list(x)
        large = int(math.log2(self.noise.levels // steps)) if self.noise.shortcut else 0
        size = torch.full(before.level_NTS.shape[:2], large, device=draws.device)
        level = list((self.sure_S * self._given(known)).unbind())
        for turn in (True, False):
            mine = [s for s, k in enumerate(known) if k is None and self.plain[s] is turn]
            for i in range(steps if mine else 0):
                for s in mine:
                    level[s] = torch.full_like(level[s], i / steps)
                now = torch.stack(level).expand_as(before.level_NTS)
                clean = self(x, now, size, before, guidance, times_T=time, past=past)
                for s in mine:
                    x[s] = x[s] + (self._within(s, clean[s]) - x[s]) / (steps - i)
            done = [x[s] for s in mine]
            for s, held in zip(mine, done, strict=True):
                out[s], sure = held, self.sure_S[s]
                level[s], x[s] = sure, sure * held + (1 - sure) * noise[s]
        return [a if k is None else k for a, k in zip(out, known, strict=True)]

    def keep(
        self,
        tokens: Sequence[Tensor | None],
        before: Before,
        guidance: Guidance,
        time: Tensor,
        past: Sequence[Past],
        draws: Draws,
    ) -> Before:
        """Remember a frame, slightly noised."""
        level = (self.sure_S * self._given(tokens)).expand_as(before.level_NTS)
        noise = [draws.normal(t.shape) for t in before.tokens]
        held = [
            n if t is None else sure * t + (1 - sure) * n for n, t, sure in zip(noise, tokens, self.sure_S, strict=True)
        ]
        size = torch.zeros(level.shape[:2], dtype=torch.long, device=level.device)
        self(held, level, size, before, guidance, times_T=time, past=past)
        mine = [s for s, plain in enumerate(self.plain) if plain]
        earlier = Earlier(
            numbers=tuple(before.tokens[s] for s in mine),
            known_NT=((before.level_NTS > 0) & (level > 0) | ~self.plain_S).all(dim=-1),
            actions_NTA=guidance.actions_NTA,
        )
        return Before(tokens=tuple(held), level_NTS=level, earlier=earlier)


def _part(guidance: Guidance, rows: slice) -> Guidance:
    return Guidance(
        actions_NTA=guidance.actions_NTA[rows],
        acted_NT=guidance.acted_NT[rows],
        text_NE=guidance.text_NE[rows],
        told_N=guidance.told_N[rows],
    )


def _shifted(noisy: Sequence[Tensor], level_NTS: Tensor, prefixed: bool) -> Before:
    """What stands before each frame; nothing before the first, nor before or after one that is known ahead."""

    def shift(held: Tensor) -> Tensor:
        out = torch.cat([torch.zeros_like(held[:, :1]), held[:, :-1]], dim=1)
        if prefixed:
            out[:, 1] = 0
        return out

    return Before(tokens=tuple(shift(x) for x in noisy), level_NTS=shift(level_NTS))

"""The heads: a small recurrent reader of a token world's frames, known and imagined ones.

It looks at each frame's clean tokens, whichever network made them, and remembers: what is hidden in this frame, or
older than the transformer's window, is known from frames before. Notable choices: a camera's places become a few
points (the means of softmax maps, arXiv 1509.06113) beside a plain projection, because a place in the picture is what a
pose and a touch hang on; where a stream is both imagined and read out, the reading starts from what was imagined.

Shape legend: N sequences, T frames, S streams, P places of a camera, C channels of a place, A action channels, E
entries of a target, D its channels, F features, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from worldgate.core.normalisers import Normaliser
from worldgate.core.worlds import CONTACT
from worldgate.worlds.heads.calibration import Calibration
from worldgate.worlds.heads.targets import Target
from worldgate.worlds.nn.attention import grid_positions
from worldgate.worlds.tracks import Layout
from worldgate.worlds.train.config import PhaseConfig

_FLAT = 32
"""Numbers of a camera's plain projection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadsConfig:
    """How states are read out; it only matters where ``inputs.read`` names streams."""

    width: int = 96
    """Of the memory."""
    points: int = 12
    """Places that a camera's picture is summed up in."""
    history: int = 16
    """Known rows before what is imagined in training, at most."""
    horizon: int = 24
    """Steps ahead up to which imagined frames are learned from and calibrated."""
    rollouts: int = 192
    """Imagined futures that are learned from."""
    left_out: float = 0.2
    """Share of training episodes that neither the dynamics nor the heads learn from: the heads are calibrated there."""
    unseen: float = 0.25
    """Share of training sequences in which a stream goes unseen for a while, so that memory is worth something."""
    contact_n: float = 0.3
    """Force from which the tool counts as touching, N."""
    contact_pause_s: float = 0.2
    """Pauses up to this are part of a contact."""
    phase: PhaseConfig = field(default_factory=lambda: PhaseConfig(steps=600, batch=16, rate=2e-3, ema=0.98, share=0.5))


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the heads are shown."""

    views: tuple[Tensor, ...]
    """(N, T, P, C) of every camera and (N, T, 1, C) of every state stream."""
    seen_NTS: Tensor
    """False where a frame has not this stream."""
    actions_NTA: Tensor
    """In force just before each frame, normalised."""
    acted_NT: Tensor
    """Where there is one."""
    since_NT: Tensor
    """Steps since the last known row; 0 for the known ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What the heads say of frames, not calibrated."""

    means: tuple[Tensor, ...]
    """(N, T, E) of every target."""
    logs: tuple[Tensor, ...]
    """(N, T, D) logarithm of the deviation."""
    touch_NT: Tensor
    """Logit of contact."""


class _Eye(nn.Module):
    """One camera's places to features."""

    def __init__(self, side: int, channels: int, points: int) -> None:
        super().__init__()
        self.side, self.features = side, 3 * points + _FLAT
        self.look = nn.Sequential(
            nn.Conv2d(channels, 32, 3, padding=1), nn.SiLU(), nn.Conv2d(32, 32, 3, padding=1), nn.SiLU()
        )
        self.maps = nn.Conv2d(32, points, 1)
        self.flat = nn.Linear(32 * side**2, _FLAT)
        where_P2 = grid_positions(side, side).float()
        self.register_buffer("where_P2", 2 * where_P2 / max(side - 1, 1) - 1, persistent=False)

    where_P2: Tensor

    def forward(self, view_NTPC: Tensor) -> Tensor:
        """(N, T, F)."""
        count, frames = view_NTPC.shape[:2]
        grid = torch.unflatten(view_NTPC.flatten(0, 1), 1, (self.side, self.side)).permute(0, 3, 1, 2)
        seen = self.look(grid)
        maps = self.maps(seen).flatten(2)
        points = (maps.softmax(dim=-1) @ self.where_P2).flatten(1)
        strength = maps.logsumexp(dim=-1)
        held = torch.cat([points, strength, self.flat(seen.flatten(1))], dim=1)
        return held.view(count, frames, -1)


class Heads(nn.Module):
    """All targets, and contact where a force is among them.

    Args:
        config: sizes.
        layout: the streams.
        normaliser: statistics of what is read out.
        shapes: places a side and channels of every camera, and (0, entries) of every state stream.
    """

    def __init__(
        self, config: HeadsConfig, layout: Layout, normaliser: Normaliser, shapes: Sequence[tuple[int, int]]
    ) -> None:
        super().__init__()
        self.config, self.contact = config, bool(layout.force)
        self.targets = nn.ModuleList(Target(s, normaliser.statistics(s.name)) for s in layout.reads)
        names = [signal.name for signal in layout.states]
        first = len(shapes) - len(names)
        self.start = [first + names.index(t.name) if t.name in names else -1 for t in self.of]
        self.eyes = nn.ModuleList(_Eye(side, channels, config.points) for side, channels in shapes if side)
        numbers = sum(channels for side, channels in shapes if not side)
        told = sum(cast(_Eye, eye).features for eye in self.eyes) + numbers + len(shapes) + layout.action_width + 3
        self.enter = nn.Sequential(nn.Linear(told, config.width), nn.SiLU())
        self.memory = nn.GRUCell(config.width, config.width)
        gives = sum(t.entries + t.width for t in self.of) + 1
        self.leave = nn.Sequential(nn.Linear(2 * config.width, config.width), nn.SiLU(), nn.Linear(config.width, gives))
        last = cast(nn.Linear, self.leave[-1])
        nn.init.normal_(last.weight, std=0.01)
        nn.init.zeros_(last.bias)
        self.calibration = Calibration(self.of, config.horizon)

    @property
    def of(self) -> list[Target]:
        """Every target."""
        return [cast(Target, held) for held in self.targets]

    def blank(self, count: int) -> Tensor:
        """(N, W) memory of nothing."""
        return self.memory.weight_hh.new_zeros(count, self.config.width)

    def forward(self, look: Look, memory_NW: Tensor, begin_N: Tensor | None = None) -> tuple[Said, Tensor]:
        """What is said of every frame, and the memory after the last.

        Args:
            look: frames in a row.
            memory_NW: of the frames before.
            begin_N: frames before this one are not remembered.
        """
        told_NTW = self.enter(self._features(look))
        held = []
        for t in range(told_NTW.shape[1]):
            after = self.memory(told_NTW[:, t], memory_NW)
            memory_NW = after if begin_N is None else torch.where((t >= begin_N).unsqueeze(1), after, memory_NW)
            held.append(memory_NW)
        out = self.leave(torch.cat([told_NTW, torch.stack(held, dim=1)], dim=-1))
        sizes = [size for t in self.of for size in (t.entries, t.width)]
        parts = list(out.split([*sizes, 1], dim=-1))
        means = tuple(self._from(i, mean, look) for i, mean in enumerate(parts[:-1:2]))
        return Said(means=means, logs=tuple(parts[1:-1:2]), touch_NT=parts[-1].squeeze(-1)), memory_NW

    def _features(self, look: Look) -> Tensor:
        seen = look.seen_NTS.float()
        parts = [
            cast(Tensor, eye(view)) * seen[..., s, None]
            for s, (eye, view) in enumerate(zip(self.eyes, look.views, strict=False))
        ]
        first = len(self.eyes)
        parts += [view.squeeze(2) * seen[..., first + s, None] for s, view in enumerate(look.views[first:])]
        acted = look.acted_NT.float().unsqueeze(-1)
        far = torch.tensor(float(self.config.horizon)).log1p()
        since = look.since_NT.float().unsqueeze(-1)
        when = [(since == 0).float(), (since.log1p() / far).clamp(max=1)]
        return torch.cat([*parts, seen, look.actions_NTA * acted, acted, *when], dim=-1)

    def _from(self, target: int, mean_NTE: Tensor, look: Look) -> Tensor:
        """What the network adds to what was imagined, where this stream was."""
        at = self.start[target]
        if at < 0:
            return mean_NTE
        imagined = look.views[at].squeeze(2) * look.seen_NTS[..., at, None].float()
        cosines = mean_NTE.shape[-1] - self.of[target].width
        if cosines:
            imagined = torch.cat([imagined[..., :-cosines], imagined[..., -cosines:] - 1], dim=-1)
        return mean_NTE + imagined

    def loss(self, said: Said, truths: Sequence[Tensor], touch_NT: Tensor) -> Tensor:
        """Of all targets and of contact, in nats; NaN in the truth is not learned from."""
        parts = [t.loss(m, g, y) for t, m, g, y in zip(self.of, said.means, said.logs, truths, strict=True)]
        if self.contact:
            known = torch.isfinite(touch_NT)
            nats = functional.binary_cross_entropy_with_logits(
                said.touch_NT, torch.nan_to_num(touch_NT), reduction="none"
            )
            parts.append(torch.where(known, nats, 0.0).sum() / known.sum().clamp(min=1))
        return torch.stack(parts).sum()

    def read(self, said: Said, since_NT: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Values of every stream (N, T, D) with contact's probability (N, T, 1), and calibrated deviations."""
        values, deviations = {}, {}
        for i, (target, mean, log) in enumerate(zip(self.of, said.means, said.logs, strict=True)):
            values[target.name] = target.value(mean)
            deviations[target.name] = self.calibration.deviation(i, target.deviation(log), since_NT)
        if self.contact:
            values[CONTACT] = self.calibration.probability(said.touch_NT, since_NT).unsqueeze(-1)
        return values, deviations

    @torch.no_grad()
    def calibrate(self, said: Said, truths: Sequence[Tensor], touch_NT: Tensor, since_NT: Tensor) -> None:
        """On episodes that nothing was learned from."""
        since_R = since_NT.flatten()
        for i, (target, truth) in enumerate(zip(self.of, truths, strict=True)):
            apart = target.apart(target.value(said.means[i]), truth)
            self.calibration.fit(i, (apart / target.deviation(said.logs[i])).flatten(0, 1), since_R)
        if self.contact:
            self.calibration.fit_contact(said.touch_NT.flatten(), touch_NT.flatten(), since_R)

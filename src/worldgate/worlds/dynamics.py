"""Training and judging latent video dynamics: windows of frozen tokens, unrolled open loop.

Shape legend: R rows, W windows, N windows of a batch, K steps, V cameras, C latent channels, L places, S pixels a side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from worldgate.core.errors import DataRefused
from worldgate.core.streams import IntArray
from worldgate.worlds import skill
from worldgate.worlds.batches import Batch
from worldgate.worlds.nn.ensemble import Ensemble
from worldgate.worlds.nn.rolling import Rolling
from worldgate.worlds.pictures import Pictures
from worldgate.worlds.pixels import to_signed
from worldgate.worlds.tokenizers.background import BackgroundTokenizer
from worldgate.worlds.tracks import Layout
from worldgate.worlds.train.config import PhaseConfig
from worldgate.worlds.windows import Bank

_LOOSE_STRIDE = 4
"""Rows between the windows of a track whose background is unknown: each needs tokens of its own."""
_JUDGED = 64


class VideoModel(Protocol):
    """What this phase needs of a family."""

    layout: Layout
    ensemble: Ensemble
    tokenizer: BackgroundTokenizer

    @property
    def stepper(self) -> nn.Module: ...

    context: int
    center_C11: Tensor
    scale_C11: Tensor

    def encode(self, frames_NV3SS: Tensor, background_NV3SS: Tensor) -> Tensor:
        """Pictures in [-1, 1] to joined latents of unit spread, (N, C, L, L)."""
        ...

    def decode(self, latent_NCLL: Tensor, background_NV3SS: Tensor) -> Tensor:
        """The way back."""
        ...

    def imagine(self, now_NCLL: Tensor, before_NCLL: Tensor, states_NTD: Tensor, actions_NKA: Tensor) -> Tensor:
        """Latents (N, K, C, L, L) along states (N, K + 1, D) and actions."""
        ...


class DynamicsPhase:
    """Fits the convolution to open-loop latents over a few steps, along states that the telemetry ensemble predicts."""

    name = "dynamics"

    def __init__(
        self, model: VideoModel, config: PhaseConfig, unroll: int, train: Pictures, held_out: Pictures | None
    ) -> None:
        self.model, self.config, self.unroll = model, config, unroll
        self.train, self.held_out = train, held_out
        self.bank = Bank(train.tracks)
        self.rows = self.bank.rows(model.context, unroll)
        if not len(self.rows):
            raise DataRefused(
                "episodes are too short to train on", got=f"under {model.context + unroll} rows without gaps"
            )

    def parameters(self) -> list[nn.Parameter]:
        """The convolution; tokens and telemetry stay as they are."""
        return list(self.model.stepper.parameters())

    @torch.no_grad()
    def prepare(self) -> None:
        """Encode every window once and fix the spread of the latents."""
        model = self.model
        self.train.settle(model.tokenizer)
        model.center_C11.zero_()
        model.scale_C11.fill_(1.0)
        loose = ~np.asarray(self.train.known)[self.train.track_of(self.rows)]
        self.rows = np.concatenate([self.rows[~loose], self.rows[loose][::_LOOSE_STRIDE]])
        self.tokens, self.index_WK = self._encode()
        model.center_C11.copy_(self.tokens.mean(dim=(0, 2, 3))[:, None, None])
        model.scale_C11.copy_(self.tokens.std(dim=(0, 2, 3)).clamp(min=1e-3)[:, None, None])
        self.tokens = (self.tokens - model.center_C11) / model.scale_C11
        folds = model.ensemble.folds(len(self.train.tracks))
        blind = [next((m for m, seen in enumerate(folds) if t not in seen), 0) for t in range(len(self.train.tracks))]
        self.member = torch.as_tensor(np.asarray(blind)[self.train.track_of(self.rows)])

    def _encode(self) -> tuple[Tensor, IntArray]:
        """Tokens, and for each window the places of those from the row before now to the last."""
        frames, tokens, index, count = self.train.frames_RV3SS, [], np.zeros((len(self.rows), self.unroll + 2), int), 0
        reach = np.arange(-1, self.unroll + 1)
        track = self.train.track_of(self.rows)
        for t, known in enumerate(self.train.known):
            mine = np.flatnonzero(track == t)
            first, last = int(self.train.offsets[t]), int(self.train.offsets[t + 1])
            if known:
                tokens.append(self._batch(frames[first:last], self.train.backgrounds[t]))
                index[mine] = self.rows[mine, None] + reach - first + count
                count += last - first
                continue
            for w in mine:
                tokens.append(self._batch(frames[self.rows[w] + reach], frames[self.rows[w]]))
                index[w] = count + np.arange(len(reach))
                count += len(reach)
        return torch.cat(tokens), index

    def _batch(self, frames_NV3SS: Tensor, background_V3SS: Tensor) -> Tensor:
        against = to_signed(background_V3SS)
        parts = [self.model.encode(f, against.expand_as(f)) for f in map(to_signed, torch.split(frames_NV3SS, 64))]
        return torch.cat(parts)

    def draw(self, rng: np.random.Generator) -> Batch:
        """Windows at random, with the tokens of their frames."""
        chosen = rng.integers(len(self.rows), size=self.config.batch)
        states_NCD, actions_NTA, _ = self.bank.take(self.rows[chosen], self.model.context, self.unroll)
        tokens, member = self.tokens[self.index_WK[chosen]], self.member[chosen]
        return Batch(tensors={"states": states_NCD, "actions": actions_NTA, "member": member, "tokens": tokens})

    def loss(self, batch: Batch) -> Tensor:
        """Squared error of open-loop latents, in their spread."""
        model, tokens, actions_NTA = self.model, batch["tokens"], batch["actions"]
        with torch.no_grad():
            path_NKD = self._states(batch["states"], actions_NTA, batch["member"])
        out = model.imagine(tokens[:, 1], tokens[:, 0], path_NKD, actions_NTA[:, model.context - 1 :])
        return (out.float() - tokens[:, 2:]).square().mean()

    def _states(self, states_NCD: Tensor, actions_NTA: Tensor, member_N: Tensor) -> Tensor:
        """(N, K + 1, D) states from now on, as predicted by the member that never saw the track."""
        rolling = Rolling(self.model.ensemble, states_NCD, actions_NTA[:, : self.model.context - 1])
        path, each = [states_NCD[:, -1]], torch.arange(len(member_N), device=member_N.device)
        for k in range(self.unroll):
            path.append(rolling.step(actions_NTA[:, self.model.context - 1 + k])[0][member_N, each])
        return torch.stack(path, dim=1)

    def evaluate(self) -> dict[str, float]:
        """Skill over copy-last on the moving region at 0.5 s and 1 s, and action sensitivity, held out."""
        if self.held_out is None:
            return {}
        self.held_out.settle(self.model.tokenizer)
        return video_skill(self.model, self.held_out, self.model.layout.rate_hz)

    def finish(self) -> None:
        """Nothing is left to do."""


@torch.no_grad()
def video_skill(
    model: VideoModel, pictures: Pictures, rate_hz: float, seconds: Sequence[float] = (0.5, 1.0)
) -> dict[str, float]:
    """Skill over copy-last where pixels changed, and action sensitivity."""
    horizons = {f"{s:g}s": max(1, round(s * rate_hz)) for s in seconds}
    steps, context = max(horizons.values()), model.context
    bank = Bank(pictures.tracks)
    rows = bank.rows(context, steps)
    rows = rows[:: -(-len(rows) // _JUDGED)] if len(rows) else rows
    if not len(rows):
        return {}
    states_NCD, actions_NTA, _ = bank.take(rows, context, steps)
    frames = to_signed(pictures.frames_RV3SS[rows[:, None] + np.arange(-1, steps + 1)])
    known = [pictures.known[t] for t in pictures.track_of(rows)]
    places = [pictures.backgrounds[t] for t in pictures.track_of(rows)]
    background = torch.stack([to_signed(p) if k else f for k, p, f in zip(known, places, frames[:, 1], strict=True)])
    wrong_NTA = actions_NTA.roll(max(1, len(rows) // 2), dims=0)
    ours, wrong = (_imagine(model, frames, background, states_NCD, drive) for drive in (actions_NTA, wrong_NTA))
    real = _intensities(frames)
    return skill.pictures(_intensities(ours), _intensities(wrong), real[:, 1], real[:, 2:], horizons)


def _imagine(model: VideoModel, frames: Tensor, background: Tensor, states_NCD: Tensor, actions_NTA: Tensor) -> Tensor:
    """(N, K, V, 3, S, S) pictures after the first two frames."""
    drive_NKA = actions_NTA[:, model.context - 1 :]
    rolling = Rolling(model.ensemble, states_NCD, actions_NTA[:, : model.context - 1])
    means = [rolling.mean_step(drive_NKA[:, k])[0] for k in range(drive_NKA.shape[1])]
    path = torch.stack([states_NCD[:, -1], *means], dim=1)
    before, now = (model.encode(frames[:, i], background) for i in (0, 1))
    latents = model.imagine(now, before, path, drive_NKA)
    return torch.stack([model.decode(latents[:, k], background) for k in range(latents.shape[1])], dim=1)


def _intensities(frames_NTV3SS: Tensor) -> Tensor:
    """(N, T, V, S, S, 3) from 0 to 1."""
    return (frames_NTV3SS.movedim(3, -1) + 1) / 2

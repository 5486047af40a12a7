"""Training and judging latents: clips of known rows, rows ahead and a goal, a later row of the same run of valid rows.

The loss is the squared error of predicted latents, with gradients through both sides; SIGReg keeps them from
collapsing. Heads learn from latents that they do not change, except those that ``shaped_by`` names.

Shape legend: N samples, H known rows, L rows ahead, K of them that are looked at, V cameras, S pixels a side, D latent,
A action channels, M members, J directions, G = K + 2 looked-at rows: now, those ahead and the goal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from worldgate.core.errors import DataRefused
from worldgate.core.streams import Array
from worldgate.worlds.batches import Batch
from worldgate.worlds.devices import home
from worldgate.worlds.heads.goals import InverseDynamics, Reach
from worldgate.worlds.heads.probe import Probe
from worldgate.worlds.latent_clips import Clips
from worldgate.worlds.latent_figures import Tally
from worldgate.worlds.latents import LatentConfig, Shaper
from worldgate.worlds.nn.foresight import Foresight
from worldgate.worlds.nn.sigreg import directions, sigreg
from worldgate.worlds.nn.standard import Standard
from worldgate.worlds.pixels import to_signed
from worldgate.worlds.tracks import Layout, Track
from worldgate.worlds.train.config import PhaseConfig

_JUDGED = 512
"""Clips that figures are made of."""
_MEASURED, _AT_ONCE = 1024, 128
"""Pictures that the projectors' statistics are measured on, and how many at once."""


class LatentModel(Protocol):
    """What this phase needs of a family."""

    layout: Layout
    context: int
    latent: int
    body: Standard
    drive: Standard
    foresight: Foresight
    inverse: InverseDynamics | None
    reach: Reach | None
    probe: Probe | None

    @property
    def parts(self) -> dict[str, slice]: ...

    def parameters(self) -> Iterator[nn.Parameter]: ...

    def train(self, mode: bool = True) -> nn.Module: ...

    def see(self, frames: Sequence[Tensor], states_ND: Tensor) -> Tensor:
        """(N, D) latents."""
        ...

    def measure(self, pictures: Sequence[Sequence[Tensor]]) -> None:
        """Fix what is normalised by."""
        ...


class LatentPhase:
    """Everything that a latent model learns, at once."""

    name = "latents"

    def __init__(
        self,
        model: LatentModel,
        learn: LatentConfig,
        config: PhaseConfig,
        train: Sequence[Track],
        held_out: Sequence[Track],
    ) -> None:
        self.model, self.learn, self.config = model, learn, config
        self.train, self.held_out = self._clips(train), self._clips(held_out)
        if not len(self.train.places_R4):
            got = f"under {self.train.reach + 1} rows without gaps"
            raise DataRefused("episodes are too short to train on", got=got, hint="fewer learn.steps or learn.every")

    def _clips(self, tracks: Sequence[Track], latents_RD: Array | None = None) -> Clips:
        model = self.model
        chunk = model.inverse.chunk if model.inverse is not None else 1
        return Clips(tracks, model.layout, self.learn, model.context, chunk, latents_RD)

    def parameters(self) -> list[nn.Parameter]:
        """All of them."""
        return list(self.model.parameters())

    def prepare(self) -> None:
        """Nothing is prepared: what the projectors normalise by in training is the batch."""

    def draw(self, rng: np.random.Generator) -> Batch:
        """Clips at random."""
        return self.train.draw(rng, self.config.batch)

    def loss(self, batch: Batch) -> Tensor:
        """Of prediction, SIGReg and heads."""
        # Evaluation left the projectors with what it measured.
        self.model.train()
        learn, z_NFD = self.learn, self._see(batch)
        loss = self._told(batch, z_NFD)
        for part in self._free() if learn.sigreg else ():
            free_TND = z_NFD[:, self.model.context - 1 : -1, part].transpose(0, 1)
            along = directions(free_TND.shape[-1], learn.projections, free_TND.device)
            loss = loss + learn.sigreg * sigreg(free_TND, along)
        if learn.straighten:
            path = z_NFD[:, self.model.context - 1 : -1].diff(dim=1)
            loss = (
                loss + learn.straighten * (1 - functional.cosine_similarity(path[:, 1:], path[:, :-1], dim=-1)).mean()
            )
        return loss

    def _free(self) -> list[slice]:
        """Latents that could collapse: those of pictures."""
        return [self.model.parts[camera.name] for camera in self.model.layout.cameras]

    def _told(self, batch: Batch, z_NFD: Tensor) -> Tensor:
        """Loss of prediction and heads, given latents."""
        model = self.model
        known, ahead_NKD = z_NFD[:, : model.context], z_NFD[:, model.context : -1]
        predicted_MNKD = model.foresight(known, model.drive(batch["actions"]), self._ahead(batch))
        out: Tensor = (predicted_MNKD - ahead_NKD).square().mean() + self._heads(batch, z_NFD, predicted_MNKD)
        return out

    def _ahead(self, batch: Batch) -> list[int]:
        return [batch.numbers[f"ahead.{k}"] for k in range(self.learn.steps)]

    def _see(self, batch: Batch) -> Tensor:
        """(N, F, D) latents of all looked-at rows."""
        states = batch["states"]
        frames = [batch[f"frames.{camera.name}"].flatten(0, 1) for camera in self.model.layout.cameras]
        signed = [to_signed(held.permute(0, 3, 1, 2)) for held in frames]
        return torch.unflatten(self.model.see(signed, states.flatten(0, 1)), 0, states.shape[:2])

    def _heads(self, batch: Batch, z_NFD: Tensor, predicted_MNKD: Tensor) -> Tensor:
        model, fixed = self.model, z_NFD.detach()
        loss = z_NFD.new_zeros(())
        if model.inverse is not None:
            now, goal, left = self._pairs(batch, z_NFD if Shaper.INVERSE in self.learn.shaped_by else fixed)
            truth = model.drive(batch["chunks"]).flatten(0, 1)
            loss = loss + model.inverse.loss(model.inverse(now, goal, left), truth, left)
        now, goal, left = self._pairs(batch, fixed)
        if model.reach is not None:
            limit, other = batch["limit"].flatten().float(), goal.roll(len(goal) // 2 + 1, dims=0)
            there = model.reach(now, goal, limit)
            nats = functional.binary_cross_entropy_with_logits(there, (left <= limit).float(), reduction="none")
            away = functional.softplus(model.reach(now, other, limit)).mean()
            loss = loss + (nats * (left > 0)).sum() / (left > 0).sum().clamp(min=1) + away
        if model.probe is not None:
            truths = {**self._split(batch["states"])}
            truths |= {signal.name: batch[f"reads.{signal.name}"] for signal in model.layout.reads}
            loss = loss + model.probe.loss(z_NFD if Shaper.PROBE in self.learn.shaped_by else fixed, truths)
            # What is predicted is read out, too; the probe learns how far that can be trusted.
            later = {name: held[:, model.context : -1] for name, held in truths.items()}
            loss = loss + model.probe.loss(predicted_MNKD.detach().mean(dim=0), later)
        return loss

    def _pairs(self, batch: Batch, z_NFD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Latents of looked-at rows, of their goals, and how many rows lie between; 0 and less: the goal is past."""
        now = z_NFD[:, self.model.context - 1 : -1]
        return now.flatten(0, 1), z_NFD[:, -1:].expand_as(now).flatten(0, 1), batch["left"].flatten()

    def _split(self, states_NFD: Tensor) -> dict[str, Tensor]:
        widths = [signal.shape[0] for signal in self.model.layout.states]
        names = [signal.name for signal in self.model.layout.states]
        return dict(zip(names, torch.split(states_NFD, widths, dim=-1), strict=True)) if names else {}

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Held-out errors beside those of doing nothing, see :class:`worldgate.worlds.latent_figures.Tally`."""
        self._measure()
        if not len(self.held_out.places_R4):
            return {}
        return self._figures(self._batches(self.held_out, _JUDGED))

    def _figures(self, batches: Sequence[Batch]) -> dict[str, float]:
        """Errors of predicted latents against copying the last, under true and foreign actions, and of the heads."""
        model, tally = self.model, Tally()
        for batch in batches:
            z_NFD = self._see(batch)
            known, ahead_NKD = z_NFD[:, : model.context], z_NFD[:, model.context : -1]
            actions = model.drive(batch["actions"])
            ours, wrong = (
                model.foresight(known, held, self._ahead(batch))
                for held in (actions, actions.roll(len(actions) // 2 + 1, dims=0))
            )
            tally.predicted(ours, wrong, known[:, -1:], ahead_NKD)
            now, goal, left = self._pairs(batch, z_NFD)
            if model.inverse is not None:
                tally.acted(model.inverse(now, goal, left), model.drive(batch["chunks"]).flatten(0, 1), left)
            if model.reach is not None:
                limit = batch["limit"].flatten().float()
                tally.reached(model.reach(now, goal, limit), left, limit)
            if model.probe is not None:
                values, _ = model.probe.read(z_NFD[:, model.context - 1])
                truths = self._split(batch["states"])
                truths |= {signal.name: batch[f"reads.{signal.name}"] for signal in model.layout.reads}
                for target in model.probe.of:
                    truth = truths[target.name][:, model.context - 1]
                    tally.told(target.name, target.apart(values[target.name], truth) / target.std_D)
        return tally.figures()

    def finish(self) -> None:
        """Measure what the projectors normalise by."""
        self._measure()

    @torch.no_grad()
    def latents(self) -> Tensor | None:
        """(N, D) of held-out rows."""
        if not len(self.held_out.places_R4):
            return None
        return torch.cat(
            [self._see(batch)[:, self.model.context - 1] for batch in self._batches(self.held_out, _JUDGED)]
        )

    def _measure(self) -> None:
        cameras = self.model.layout.cameras
        batches = self._batches(self.train, _MEASURED) if cameras else []
        frames = [[batch[f"frames.{camera.name}"][:, 0] for camera in cameras] for batch in batches]
        self.model.measure([[to_signed(held.permute(0, 3, 1, 2)) for held in views] for views in frames])

    @staticmethod
    def _batches(clips: Clips, most: int) -> list[Batch]:
        """Clips spread evenly over all rows, the same each time."""
        places = clips.places_R4[:: -(-len(clips.places_R4) // most)]
        rng = np.random.default_rng(0)
        return [clips.take(places[i : i + _AT_ONCE], rng) for i in range(0, len(places), _AT_ONCE)]


class HeadsPhase(LatentPhase):
    """Prediction and heads alone, from latents that stay as they are: in batches that pictures would be too many for.

    Source: GC-IDM, whose inverse dynamics learns on frozen latents.
    """

    name = "heads"

    def parameters(self) -> list[nn.Parameter]:
        """All but the eyes'."""
        model = self.model
        parts = [part for part in (model.foresight, model.inverse, model.reach, model.probe) if part is not None]
        return [weight for part in parts for weight in part.parameters()]

    def prepare(self) -> None:
        """See every row once."""
        self.model.train(False)
        self.train = self._clips(self.train.tracks, self._seen(self.train.tracks))
        self.held_out = self._clips(self.held_out.tracks, self._seen(self.held_out.tracks))

    @torch.no_grad()
    def _seen(self, tracks: Sequence[Track]) -> Array:
        """(R, D) latents of all rows."""
        model, out = self.model, [np.zeros((0, self.model.latent), np.float32)]
        for track in tracks:
            for first in range(0, len(track), _AT_ONCE):
                rows = slice(first, first + _AT_ONCE)
                # Copied, since a recording's rows may be read-only, which torch warns about.
                pictures = [torch.as_tensor(np.array(track.frames[c.name][rows])) for c in model.layout.cameras]
                signed = [to_signed(held.permute(0, 3, 1, 2)) for held in pictures]
                out.append(home(model.see(signed, torch.as_tensor(np.array(track.states_TD[rows])))))
        return np.concatenate(out)

    def loss(self, batch: Batch) -> Tensor:
        """Of prediction and heads."""
        return self._told(batch, self._see(batch))

    def _see(self, batch: Batch) -> Tensor:
        return batch["latents"]

    def _measure(self) -> None:
        """What the projectors normalise by stays as it is, too."""

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
from worldgate.core.streams import Array, IntArray
from worldgate.worlds.batches import Batch
from worldgate.worlds.heads.goals import InverseDynamics, Reach
from worldgate.worlds.heads.probe import Probe
from worldgate.worlds.latent_figures import Tally
from worldgate.worlds.latents import LatentConfig, Shaper
from worldgate.worlds.nn.foresight import Foresight
from worldgate.worlds.nn.sigreg import directions, sigreg
from worldgate.worlds.nn.standard import Standard
from worldgate.worlds.pixels import to_signed
from worldgate.worlds.tracks import Layout, Track, complete, runs
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

    def see(self, frames: Sequence[Tensor], states_ND: Tensor) -> Tensor:
        """(N, D) latents."""
        ...

    def measure(self, pictures: Sequence[Sequence[Tensor]]) -> None:
        """Fix what is normalised by."""
        ...


class Clips:
    """Rows of many tracks, drawn as clips."""

    def __init__(self, tracks: Sequence[Track], layout: Layout, config: LatentConfig, context: int, chunk: int) -> None:
        self.tracks, self.layout, self.config, self.context, self.chunk = (
            complete(tracks),
            layout,
            config,
            context,
            chunk,
        )
        self.reach = config.steps * config.every
        places = [self._places(i, track) for i, track in enumerate(tracks)]
        self.places_R4 = np.concatenate([np.zeros((0, 4), np.int64), *places])

    def _places(self, index: int, track: Track) -> IntArray:
        """(R, 4) track, row, first and last row of its run, of rows with enough rows after them."""
        out = [np.zeros((0, 4), np.int64)]
        for first, after in runs(track.valid_T):
            rows = np.arange(first, after - self.reach)
            out.append(np.stack([np.full_like(rows, index), rows, np.full_like(rows, first),
                                 np.full_like(rows, after - 1)], axis=1))  # fmt: skip
        return np.concatenate(out)

    def draw(self, rng: np.random.Generator, count: int) -> Batch:
        """Clips at random, and random directions."""
        chosen = self.places_R4[rng.integers(len(self.places_R4), size=count)]
        return self.take(chosen, rng)

    def take(self, chosen_N4: IntArray, rng: np.random.Generator) -> Batch:
        """Clips at these places; the rows ahead are the same for all, the goals are not."""
        config, count = self.config, len(chosen_N4)
        track, now, first, last = chosen_N4.T
        ahead_K = np.sort(1 + rng.permutation(self.reach)[: config.steps])
        ahead_K[-1] = self.reach
        left = 1 + np.floor(rng.random(count) * np.minimum(config.span, last - now)).astype(np.int64)
        known_NH = np.maximum(now[:, None] + np.arange(1 - self.context, 1), first[:, None])
        rows_NF = np.concatenate([known_NH, now[:, None] + ahead_K, (now + left)[:, None]], axis=1)
        drive_NL = now[:, None] + np.arange(self.reach)
        looked_NG = np.concatenate([np.zeros((count, 1), np.int64), np.broadcast_to(ahead_K, (count, len(ahead_K)))], 1)
        chunk_NGC = np.minimum((now[:, None] + looked_NG)[..., None] + np.arange(self.chunk), last[:, None, None])
        tensors = {
            "states": self._gather([t.states_TD for t in self.tracks], track, rows_NF),
            "actions": self._gather([t.actions_TA for t in self.tracks], track, drive_NL),
            "chunks": self._gather([t.actions_TA for t in self.tracks], track, chunk_NGC),
            "left": torch.as_tensor(left[:, None] - looked_NG),
            "limit": torch.as_tensor(np.exp(rng.uniform(0, np.log(1.5 * config.span), looked_NG.shape))),
        }
        for camera in self.layout.cameras:
            tensors[f"frames.{camera.name}"] = self._gather(
                [t.frames[camera.name] for t in self.tracks], track, rows_NF
            )
        for signal in self.layout.reads:
            tensors[f"reads.{signal.name}"] = self._reads(signal.name, signal.shape[0], track, rows_NF)
        numbers = {f"ahead.{k}": int(row) - 1 for k, row in enumerate(ahead_K)}
        return Batch(tensors=tensors, numbers=numbers, seed=int(rng.integers(2**31)))

    @staticmethod
    def _gather(arrays: Sequence[Array], track_N: IntArray, rows_NF: IntArray) -> Tensor:
        picked = [np.asarray(arrays[t][rows]) for t, rows in zip(track_N, rows_NF, strict=True)]
        return torch.as_tensor(np.stack(picked))

    def _reads(self, name: str, width: int, track_N: IntArray, rows_NF: IntArray) -> Tensor:
        """NaN where an episode does not tell this stream."""
        held = [t.reads.get(name) for t in self.tracks]
        blank = np.full((1, width), np.nan, np.float32)
        arrays = [blank if values is None else values for values in held]
        known = np.array([values is not None for values in held])
        return self._gather(arrays, track_N, rows_NF * known[track_N][:, None])


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
        chunk = model.inverse.chunk if model.inverse is not None else 1
        self.train = Clips(train, model.layout, learn, model.context, chunk)
        self.held_out = Clips(held_out, model.layout, learn, model.context, chunk)
        if not len(self.train.places_R4):
            got = f"under {self.train.reach + 1} rows without gaps"
            raise DataRefused("episodes are too short to train on", got=got, hint="fewer learn.steps or learn.every")

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
        model, learn = self.model, self.learn
        z_NFD = self._see(batch)
        known, ahead_NKD = z_NFD[:, : model.context], z_NFD[:, model.context : -1]
        predicted_MNKD = model.foresight(known, model.drive(batch["actions"]), self._ahead(batch))
        loss = (predicted_MNKD - ahead_NKD).square().mean()
        for camera in model.layout.cameras if learn.sigreg else ():
            free_TND = z_NFD[:, model.context - 1 : -1, model.parts[camera.name]].transpose(0, 1)
            along = directions(free_TND.shape[-1], learn.projections, free_TND.device)
            loss = loss + learn.sigreg * sigreg(free_TND, along)
        if learn.straighten:
            path = z_NFD[:, model.context - 1 : -1].diff(dim=1)
            loss = (
                loss + learn.straighten * (1 - functional.cosine_similarity(path[:, 1:], path[:, :-1], dim=-1)).mean()
            )
        out: Tensor = loss + self._heads(batch, z_NFD, predicted_MNKD)
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

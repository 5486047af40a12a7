"""Clips for latent models: known rows, rows ahead and a goal, a later row of the same run of valid rows.

Shape legend: N clips, H known rows, L rows ahead, K of them that are looked at, F = H + K + 1 rows of a clip, R rows of
all tracks, D channels, A action channels, C rows of a chunk, G = K + 1 rows that goals are told at.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from worldgate.core.streams import Array, FloatArray, IntArray
from worldgate.worlds.batches import Batch
from worldgate.worlds.latents import LatentConfig
from worldgate.worlds.tracks import Layout, Track, complete, runs


class Clips:
    """Rows of many tracks, drawn as clips.

    Args:
        tracks: whose rows; every stream of each but those that are read out.
        layout: which streams.
        config: how far ahead.
        context: H.
        chunk: rows of actions towards a goal.
        latents_RD: of all rows of all tracks, one track after the other; clips then hold these and no pictures.
    """

    def __init__(
        self,
        tracks: Sequence[Track],
        layout: Layout,
        config: LatentConfig,
        context: int,
        chunk: int,
        latents_RD: Array | None = None,
    ) -> None:
        self.tracks, self.layout, self.config = complete(tracks), layout, config
        self.context, self.chunk, self.latents_RD = context, chunk, latents_RD
        self.reach = config.steps * config.every
        self.first_R = np.cumsum([0, *(len(track) for track in tracks)])
        self.states_RD = _joined([track.states_TD for track in tracks])
        self.actions_RA = _joined([track.actions_TA for track in tracks])
        self.reads = {s.name: _joined([_read(t, s.name, s.shape[0]) for t in tracks]) for s in layout.reads}
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
        base_N1 = self.first_R[track][:, None]
        tensors = {
            "states": torch.as_tensor(self.states_RD[base_N1 + rows_NF]),
            "actions": torch.as_tensor(self.actions_RA[base_N1 + drive_NL]),
            "chunks": torch.as_tensor(self.actions_RA[base_N1[..., None] + chunk_NGC]),
            "left": torch.as_tensor(left[:, None] - looked_NG),
            "limit": torch.as_tensor(np.exp(rng.uniform(0, np.log(1.5 * config.span), looked_NG.shape))),
        }
        tensors |= {f"reads.{name}": torch.as_tensor(held[base_N1 + rows_NF]) for name, held in self.reads.items()}
        if self.latents_RD is not None:
            tensors["latents"] = torch.as_tensor(self.latents_RD[base_N1 + rows_NF])
        else:
            for camera in self.layout.cameras:
                tensors[f"frames.{camera.name}"] = self._frames(camera.name, track, rows_NF)
        numbers = {f"ahead.{k}": int(row) - 1 for k, row in enumerate(ahead_K)}
        return Batch(tensors=tensors, numbers=numbers, seed=int(rng.integers(2**31)))

    def _frames(self, camera: str, track_N: IntArray, rows_NF: IntArray) -> Tensor:
        picked = [np.asarray(self.tracks[t].frames[camera][rows]) for t, rows in zip(track_N, rows_NF, strict=True)]
        return torch.as_tensor(np.stack(picked))


def _joined(values: Sequence[FloatArray]) -> FloatArray:
    return np.concatenate(values) if values else np.zeros((0, 0), np.float32)


def _read(track: Track, name: str, width: int) -> FloatArray:
    """(T, D) of a stream that is read out; NaN where an episode does not tell it."""
    blank = np.full((len(track), width), np.nan, np.float32)
    return track.reads.get(name, blank)

"""Training and judging a recurrent world model: sequences of many tracks, filtered, and imagined from where they end.

Shape legend: R rows over all tracks, N sequences, T rows of one, C context rows, K steps, D state channels, A actions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from worldgate.core.errors import DataRefused
from worldgate.core.streams import IntArray
from worldgate.worlds import skill
from worldgate.worlds.batches import Batch
from worldgate.worlds.nn.rssm import State, by_chance, likeliest
from worldgate.worlds.nn.rssm_net import RssmNet, Sequences
from worldgate.worlds.pixels import to_signed
from worldgate.worlds.tracks import Layout, Track, runs
from worldgate.worlds.train.config import PhaseConfig

_JUDGED = 64
_SECONDS = (0.5, 1.0)


class Sequencer:
    """Rows of tracks, cut into sequences that cross no gap; those shorter than asked for are filled up and marked.

    Args:
        tracks: what to cut.
        layout: streams.
        length: rows of a sequence.
        least: rows that a run without gaps must have.
    """

    def __init__(self, tracks: Sequence[Track], layout: Layout, length: int, least: int) -> None:
        self.length = length
        lacking = sorted({name for track in tracks for name in track.lacks})
        if lacking:
            hint = "the families flow and masked learn from what is there"
            raise DataRefused("this model needs every stream in every episode", got=lacking[0], hint=hint)
        offsets = np.concatenate([[0], np.cumsum([len(t) for t in tracks])]).astype(np.int64)
        found = [(o + a, o + b) for o, t in zip(offsets, tracks, strict=False) for a, b in runs(t.valid_T)]
        self.runs = np.array([(a, b) for a, b in found if b - a >= least], np.int64).reshape(-1, 2)
        if not len(self.runs):
            raise DataRefused("episodes are too short to train on", got=f"none has {least} rows without gaps")
        self.states_RD = torch.cat([torch.as_tensor(t.states_TD) for t in tracks])
        self.actions_RA = torch.cat([torch.as_tensor(t.actions_TA) for t in tracks])
        unknown = [np.full((len(t), len(layout.reads)), np.nan, np.float32) for t in tracks]
        for track, held in zip(tracks, unknown, strict=True):
            for place, signal in enumerate(layout.reads):
                if signal.name in track.reads:
                    held[:, place] = track.reads[signal.name][:, 0]
        self.reads_RR = torch.as_tensor(np.concatenate(unknown))
        self.frames_RV3SS: Tensor | None = None
        if layout.cameras:
            views = [torch.cat([torch.as_tensor(np.array(t.frames[c.name])) for t in tracks]) for c in layout.cameras]
            self.frames_RV3SS = torch.stack(views, dim=1).permute(0, 1, 4, 2, 3).contiguous()
        lengths = np.maximum(1, self.runs[:, 1] - self.runs[:, 0] - length + 1)
        self._begins = np.concatenate([np.arange(a, a + n) for (a, _), n in zip(self.runs, lengths, strict=True)])
        self._ends = np.repeat(self.runs[:, 1], lengths)

    def draw(self, rng: np.random.Generator, count: int) -> dict[str, Tensor]:
        """Sequences at random, every beginning as likely as another."""
        chosen = rng.integers(len(self._begins), size=count)
        return self.take(self._begins[chosen], self._ends[chosen])

    def every(self, length: int, most: int) -> IntArray:
        """First rows of up to ``most`` whole sequences of this length, spread evenly."""
        rows = [np.arange(a, b - length + 1) for a, b in self.runs]
        begins = np.concatenate([np.zeros(0, np.int64), *rows])
        return begins[:: -(-len(begins) // most)] if len(begins) else begins

    def begun(self, rows: IntArray) -> IntArray:
        """First rows of the runs that these rows lie in."""
        out: IntArray = self.runs[np.searchsorted(self.runs[:, 0], rows, side="right") - 1, 0]
        return out

    def take(self, begins: IntArray, ends: IntArray | None = None, length: int = 0) -> dict[str, Tensor]:
        """Sequences by their first rows; where a run ends before one does, its last row stands in, marked.

        A row's actions and read-outs are those of the row before: of the step that led to it.
        """
        rows_NT = begins[:, None] + np.arange(length or self.length)
        there = np.ones(rows_NT.shape, bool) if ends is None else rows_NT < ends[:, None]
        if ends is not None:
            rows_NT = np.minimum(rows_NT, ends[:, None] - 1)
        before_NT = np.maximum(rows_NT - 1, 0)
        told = self.reads_RR[before_NT]
        out = {
            "states": self.states_RD[rows_NT],
            "actions": self.actions_RA[before_NT],
            "there": torch.as_tensor(there.astype(np.float32)),
            "reads": torch.where(torch.as_tensor(rows_NT > self.begun(begins)[:, None])[..., None], told, torch.nan),
        }
        return out if self.frames_RV3SS is None else out | {"frames": self.frames_RV3SS[rows_NT]}


def sequences(tensors: dict[str, Tensor]) -> Sequences:
    """What a sequencer gave, as the network reads it."""
    first = torch.zeros_like(tensors["there"])
    first[:, 0] = 1
    return Sequences(
        states_NTD=tensors["states"],
        actions_NTA=tensors["actions"],
        first_NT=first,
        there_NT=tensors["there"],
        reads_NTR=tensors["reads"],
        frames_NTV3SS=tensors.get("frames"),
    )


class RecurrentPhase:
    """Fits all weights at once, by DreamerV3's loss."""

    name = "world"

    def __init__(
        self,
        net: RssmNet,
        config: PhaseConfig,
        layout: Layout,
        lengths: tuple[int, int],
        train: Sequence[Track],
        held_out: Sequence[Track],
    ) -> None:
        self.net, self.config, self.layout = net, config, layout
        self.context, length = lengths
        self.train = Sequencer(train, layout, length, self.context + 1)
        self.held_out = held_out

    def parameters(self) -> list[nn.Parameter]:
        """Everything."""
        return list(self.net.parameters())

    def prepare(self) -> None:
        """Nothing to do."""

    def draw(self, rng: np.random.Generator) -> Batch:
        """Sequences at random, and a seed for the classes that are drawn on the way."""
        return Batch(tensors=self.train.draw(rng, self.config.batch), seed=int(rng.integers(2**31)))

    def loss(self, batch: Batch) -> Tensor:
        """See :meth:`RssmNet.loss`."""
        return self.net.loss(sequences(dict(batch.tensors)), by_chance)[0]

    def evaluate(self) -> dict[str, float]:
        """Skill over hold-last and action sensitivity of imagined states and pictures, and what of a reward is told."""
        steps = max(1, round(max(_SECONDS) * self.layout.rate_hz))
        try:
            held = Sequencer(self.held_out, self.layout, self.context + steps, self.context + steps)
        except DataRefused:
            return {}
        rows = held.every(self.context + steps, _JUDGED)
        return judged(self.net, self.layout, held.take(rows), self.context)

    def finish(self) -> None:
        """Nothing is left to do."""


@torch.no_grad()
def judged(net: RssmNet, layout: Layout, tensors: dict[str, Tensor], context: int) -> dict[str, float]:
    """Figures of imagined states after ``context`` rows of sequences (N, T), by horizon."""
    net.train(False)
    steps = tensors["states"].shape[1] - context
    ours, pictures = _imagined(net, tensors, context, tensors["actions"][:, context:])
    turned = tensors["actions"][:, context:].roll(max(1, len(ours) // 2), dims=0)
    wrong, wrong_pictures = _imagined(net, tensors, context, turned)
    horizons = {f"{s:g}s": k for s in _SECONDS if (k := max(1, round(s * layout.rate_hz))) <= steps}
    enter = net.scaling.enter
    real, now = tensors["states"][:, context:], tensors["states"][:, context - 1]
    out = skill.states(enter(net.states(ours)), enter(net.states(wrong)), enter(now), enter(real), horizons)
    if pictures is not None and wrong_pictures is not None:
        seen = ((to_signed(tensors["frames"]) + 1) / 2).movedim(3, -1)
        out |= skill.pictures(pictures, wrong_pictures, seen[:, context - 1], seen[:, context:], horizons)
    for place, name in enumerate(net.reads):
        true = tensors["reads"][:, context:, place]
        known = torch.isfinite(true)
        if known.any():
            square = (net.read(name, ours) - true)[known].square().mean()
            out[f"{name}_explained"] = float(1 - square / true[known].var(unbiased=False).clamp(min=1e-8))
    return out


def _imagined(
    net: RssmNet, tensors: dict[str, Tensor], context: int, actions_NKA: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Features (N, K, F) and pictures (N, K, V, S, S, 3) of the likeliest futures."""
    known = {name: held[:, :context] for name, held in tensors.items()}
    along, _, _ = net.follow(sequences(known), likeliest)
    state = State(along.deter_ND[:, -1], along.stoch_NX[:, -1])
    features = []
    for action_NA in net.scaling.command(actions_NKA).unbind(1):
        state = net.rssm.imagine(state, action_NA, likeliest)
        features.append(state.features)
    features_NKF = torch.stack(features, dim=1)
    if net.painting is None:
        return features_NKF, None
    painted = torch.unflatten(net.paint(features_NKF.flatten(0, 1)), 0, features_NKF.shape[:2])
    return features_NKF, ((painted + 1) / 2).clamp(0, 1).movedim(3, -1)

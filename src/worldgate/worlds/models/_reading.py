"""Training the state heads: on real rows, and on futures that the trained world imagined itself, against what happened.

So a deviation says how far the truth is from a reading where it is used: in imagination, so many steps ahead. The heads
are calibrated on episodes that neither they nor the dynamics learned from; their figures are of held-out ones.

Shape legend: R rows over all tracks, M imagined futures, H steps ahead, L frames of a sequence, N sequences, S streams,
P places, C channels of a place, A action channels, D channels of a target.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from worldgate.core.errors import DataRefused
from worldgate.core.streams import FloatArray, IntArray
from worldgate.evidence.evaluation.truth import touching
from worldgate.worlds.batches import Batch
from worldgate.worlds.devices import device_of, sent
from worldgate.worlds.heads.net import Heads, HeadsConfig, Look, Said
from worldgate.worlds.models._rolling import roll
from worldgate.worlds.models._tape import Tape
from worldgate.worlds.tracks import Layout, Track, runs

if TYPE_CHECKING:
    from worldgate.worlds.models._generator import Generator

_AT_ONCE = 64
"""Futures that are imagined together."""
_FEWEST = 3
"""Episodes from which some are left out."""

_logger = logging.getLogger(__name__)


def parted(tracks: Sequence[Track], config: HeadsConfig) -> tuple[list[Track], list[Track]]:
    """Tracks to learn from, and those that are left out to calibrate on; too few tracks serve for both.

    A stream that some episodes lack is never left out whole: what nobody learned could be calibrated, and would then
    be told as if it were known.
    """
    every = max(2, round(1 / config.left_out))
    usual = [i for i in range(len(tracks)) if i % every == min(every, len(tracks)) - 1]
    has = _streams(tracks)
    learned = Counter(name for names in has for name in names)
    left: set[int] = set()
    for i in dict.fromkeys((*usual, *range(len(tracks)))):
        if len(left) < len(usual) and all(learned[name] > 1 for name in has[i]):
            left.add(i)
            learned.subtract(has[i])
    if len(tracks) < _FEWEST or not left:
        _logger.warning("%d episodes: the heads are calibrated on what they learned from", len(tracks))
        return list(tracks), list(tracks)
    for name in sorted(set(learned).difference(*(has[i] for i in left))):
        _logger.warning("no episode that is left out has %s: its deviations are not calibrated", name)
    return [t for i, t in enumerate(tracks) if i not in left], [tracks[i] for i in sorted(left)]


def _streams(tracks: Sequence[Track]) -> list[frozenset[str]]:
    """Of every track, which it has of the streams that some lack, and which read-outs it knows at any row."""
    some = frozenset[str]().union(*(t.lacks for t in tracks))
    read = [frozenset(n for n, values in t.reads.items() if np.isfinite(values).any()) for t in tracks]
    return [(some - track.lacks) | known for track, known in zip(tracks, read, strict=True)]


class Reel:
    """Real rows of some tracks, futures imagined from them, and what was true."""

    @torch.no_grad()
    def __init__(self, model: Generator, tracks: Sequence[Track], tape: Tape, futures: int) -> None:
        heads = model.heads
        assert heads is not None
        config, layout = heads.config, model.layout
        self.tape, self.tracks = tape, tracks
        longest = max((b - a for t in tracks for a, b in runs(t.valid_T)), default=0)
        self.horizon = min(config.horizon, longest - model.context)
        if self.horizon < 1:
            got, hint = f"{longest} rows in the longest", f"{model.context + 1} rows without a gap"
            raise DataRefused("episodes are too short to read states out", got=got, hint=hint)
        self.history = max(model.context, min(config.history, longest - self.horizon))
        device = device_of(model)
        self.views = [held[0].cpu() for held in model.codec.views([sent(t, device).unsqueeze(0) for t in tape.tokens])]
        self.truths = [_joined(tracks, s.name, s.shape[0]) for s in layout.reads]
        self.touch = torch.cat([_touch(t, layout, config) for t in tracks])
        self.valid = torch.cat([torch.as_tensor(np.asarray(t.valid_T)) for t in tracks])
        self.real = self._starts(self.history + self.horizon - 1, 1, whole=False)
        nows = self._starts(self.history, self.horizon, whole=True)
        # By their place in the episode, so that two recordings of one run are rolled from the same instants.
        self.nows = nows[(nows - tape.offsets[tape.track_of(nows)]) % max(1, -(-len(nows) // futures)) == 0]
        self.futures = self._imagined(model)

    def _starts(self, before: int, after: int, *, whole: bool) -> IntArray:
        """Rows with so many valid ones before and after them, themselves among those before."""
        parts = [
            track.starts(before, after) + first
            for track, first, present in zip(self.tracks, self.tape.offsets, self.tape.present, strict=False)
            if not whole or bool(present.all())
        ]
        return np.concatenate([np.zeros(0, np.int64), *parts])

    def _imagined(self, model: Generator) -> list[Tensor]:
        """(M, H, P, C) of every stream."""
        parts: list[list[Tensor]] = []
        for first in range(0, len(self.nows), _AT_ONCE):
            begin = self.nows[first : first + _AT_ONCE] - model.context + 1
            windows = self.tape.windows(begin, model.context + self.horizon).to(device_of(model))
            views = model.codec.views(roll(model, windows, model.context, windows.actions_NTA))
            parts.append([held.cpu() for held in views])
        return [torch.cat(held) for held in zip(*parts, strict=True)] if parts else []

    def sequences(self, real: IntArray, imagined: IntArray) -> Batch:
        """Sequences of known rows alone, by number of :attr:`real`, and of futures, by number of :attr:`nows`."""
        length = self.history + self.horizon
        firsts = np.concatenate([self.real[real], self.nows[imagined]]) - np.repeat(
            [self.history + self.horizon - 2, self.history - 1], [len(real), len(imagined)]
        )
        rows = torch.as_tensor(firsts[:, None] + np.arange(length))
        track = torch.as_tensor(self.tape.track_of(firsts))
        views = {}
        for s, held in enumerate(self.views):
            shown = held[rows]
            if len(imagined):
                shown[len(real) :, self.history :] = self.futures[s][torch.as_tensor(imagined)]
            views[f"view_{s}"] = shown
        since = torch.zeros(len(rows), length, dtype=torch.long)
        since[len(real) :, self.history :] = torch.arange(1, self.horizon + 1)
        truths = {f"truth_{i}": held[rows] for i, held in enumerate(self.truths)}
        more = {
            "seen_NTS": self.tape.present[track].unsqueeze(1).repeat(1, length, 1),
            "actions_NTA": self.tape.actions_RA[(rows - 1).clamp(min=0)],
            "acted_NT": self.tape.acts[track].unsqueeze(1) & (torch.arange(length) > 0),
            "since_NT": since,
            "touch_NT": self.touch[rows],
        }
        return Batch(tensors=views | truths | more)

    def everything(self) -> Batch:
        """All futures, and as many sequences of known rows, evenly spread."""
        count = min(len(self.real), max(len(self.nows), 8))
        spread = (np.arange(count) * max(len(self.real) - 1, 0)) // max(count - 1, 1)
        return self.sequences(spread, np.arange(len(self.nows)))


def _joined(tracks: Sequence[Track], name: str, width: int) -> Tensor:
    """(R, D) of one stream over all tracks, NaN where it is not known."""
    none = [np.full((len(t), width), np.nan, np.float32) for t in tracks]
    return torch.as_tensor(np.concatenate([t.reads.get(name, n) for t, n in zip(tracks, none, strict=True)]))


def _touch(track: Track, layout: Layout, config: HeadsConfig) -> Tensor:
    """(T,) 1 where the tool touches, NaN where nobody knows."""
    if layout.force not in track.reads:
        return torch.full((len(track),), torch.nan)
    size: FloatArray = np.linalg.norm(track.reads[layout.force], axis=1)
    found = touching(np.nan_to_num(size), config.contact_n, round(config.contact_pause_s * layout.rate_hz))
    return torch.as_tensor(np.where(np.isfinite(size), found, np.nan), dtype=torch.float32)


def look_of(batch: Batch) -> Look:
    """What a batch shows."""
    count = sum(name.startswith("view_") for name in batch.tensors)
    return Look(
        views=tuple(batch[f"view_{s}"] for s in range(count)),
        seen_NTS=batch["seen_NTS"],
        actions_NTA=batch["actions_NTA"],
        acted_NT=batch["acted_NT"],
        since_NT=batch["since_NT"],
    )


def truths_of(batch: Batch) -> list[Tensor]:
    """What was true, of every target."""
    count = sum(name.startswith("truth_") for name in batch.tensors)
    return [batch[f"truth_{i}"] for i in range(count)]


class HeadsPhase:
    """Fits the heads to what the frozen world shows and imagines."""

    name, anywhere = "heads", True

    def __init__(
        self, model: Generator, learn: Sequence[Track], left: Sequence[Track], held_out: Sequence[Track]
    ) -> None:
        assert model.heads is not None
        self.model, self.heads, self.config = model, model.heads, model.heads.config.phase
        self.learn, self.left, self.held_out = learn, left, held_out

    def parameters(self) -> list[nn.Parameter]:
        """The heads'."""
        return list(self.heads.parameters())

    def prepare(self) -> None:
        """Tokens of every track, and the futures imagined from them."""
        config = self.heads.config
        self.reel = self._reel(self.learn, config.rollouts)
        if not len(self.reel.real):
            raise DataRefused("episodes are too short to read states out", hint="--set heads.history=3 heads.horizon=4")
        beside = max(32, config.rollouts // 3)
        self.aside = self._reel(self.left, beside)
        self.unseen = self._reel(self.held_out, beside) if self.held_out else None

    def _reel(self, tracks: Sequence[Track], futures: int) -> Reel:
        self.model.codec.train(False)
        tape = self.model.tape(tracks, self.model.codec.encode(tracks))
        return Reel(self.model, tracks, tape, futures)

    def draw(self, rng: np.random.Generator) -> Batch:
        """As many known sequences as futures; some begin late, in some a stream goes unseen for a while."""
        reel, config = self.reel, self.heads.config
        futures = self.config.batch // 2 if len(reel.nows) else 0
        known = rng.integers(len(reel.real), size=self.config.batch - futures)
        batch = reel.sequences(known, rng.integers(max(len(reel.nows), 1), size=futures))
        count = self.config.batch
        seen = batch["seen_NTS"].clone()
        for n in np.flatnonzero(rng.random(count) < config.unseen):
            first, last = np.sort(rng.integers(1, seen.shape[1] + 1, size=2))
            seen[n, int(first) : int(last), int(rng.integers(seen.shape[2]))] = False
        begin = torch.as_tensor(rng.integers(0, reel.history, size=count))
        mute = torch.as_tensor(rng.random(count) < self.model.config.blind).unsqueeze(1)
        acted = batch["acted_NT"] & (torch.arange(seen.shape[1]) > begin.unsqueeze(1)) & ~mute
        return Batch(tensors={**batch.tensors, "seen_NTS": seen, "acted_NT": acted, "begin_N": begin})

    def loss(self, batch: Batch) -> Tensor:
        """Of what is said of every frame that is remembered."""
        begin = batch["begin_N"]
        said, _ = self.heads(look_of(batch), self.heads.blank(len(begin)), begin)
        kept = torch.arange(batch["since_NT"].shape[1], device=begin.device) >= begin.unsqueeze(1)
        truths = [torch.where(kept.unsqueeze(-1), truth, torch.nan) for truth in truths_of(batch)]
        return self.heads.loss(said, truths, torch.where(kept, batch["touch_NT"], torch.nan))

    @torch.no_grad()
    def _say(self, reel: Reel) -> tuple[Said, Batch]:
        """Of known rows once a few have passed, and of all futures."""
        batch = reel.everything().to(device_of(self.model))
        said, _ = self.heads(look_of(batch), self.heads.blank(len(batch["since_NT"])))
        return said, batch

    def _calibrate(self) -> None:
        said, batch = self._say(self.aside)
        self.heads.calibrate(said, truths_of(batch), batch["touch_NT"], batch["since_NT"])

    def evaluate(self) -> dict[str, float]:
        """Error of futures against the last known truth held, and how often it lies within 90 %, held out."""
        self._calibrate()
        if self.unseen is None or not len(self.unseen.nows):
            return {}
        said, batch = self._say(self.unseen)
        return figures(self.heads, said, batch, self.unseen, self.model.layout.rate_hz)

    def finish(self) -> None:
        """Calibrate what was learned."""
        self._calibrate()


@torch.no_grad()
def figures(heads: Heads, said: Said, batch: Batch, reel: Reel, rate_hz: float) -> dict[str, float]:
    """Skill over holding the last true row, coverage of 90 % intervals, and F1 of contact, over the first second."""
    values, deviations = heads.read(said, batch["since_NT"])
    mine = slice(len(batch["since_NT"]) - len(reel.nows), None)
    last = reel.history - 1
    ahead = slice(reel.history, reel.history + max(1, min(reel.horizon, round(rate_hz))))
    out: dict[str, float] = {}
    for target, truth in zip(heads.of, truths_of(batch), strict=True):
        real, held = truth[mine, ahead], truth[mine, last : last + 1]
        ours = target.apart(values[target.name][mine, ahead], real)[..., target.moves_D]
        still = target.apart(held, real)[..., target.moves_D]
        known = torch.isfinite(ours) & torch.isfinite(still)
        if not bool(known.any()):
            continue
        scale = target.std_D[target.moves_D]
        error, hold = (torch.where(known, e / scale, 0.0).square().sum() for e in (ours, still))
        within = (ours.abs() < 1.645 * deviations[target.name][mine, ahead][..., target.moves_D])[known]
        out[f"{target.name}/skill"] = float(1 - (error / hold.clamp(min=1e-12)).sqrt())
        out[f"{target.name}/coverage_90"] = float(within.float().mean())
    if heads.contact:
        touch = batch["touch_NT"][mine, ahead]
        told = values["contact"][mine, ahead, 0] >= 0.5
        hits, wrong = (told & (touch == 1)).sum(), (told & (touch == 0)).sum() + (~told & (touch == 1)).sum()
        out["contact/f1"] = float(2 * hits / (2 * hits + wrong).clamp(min=1))
    return out

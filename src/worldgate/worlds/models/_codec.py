"""What the token families make of pictures and numbers: tokens of every stream, as vectors or as codes, and back.

A camera's tokenizer is trained first and then frozen. Numbers need no training: as vectors they are normalised, angles
as sine and cosine; as codes every channel falls into equal bins over its recorded range.

Shape legend: X any leading axes, N clips, T frames, P places, C channels of a place, G tokens of a stream, E entries of
a token, D channels of a state stream, S pixels a side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn

from worldgate.core.errors import UsageError
from worldgate.core.normalisers import Normaliser, Statistics
from worldgate.core.streams import Array
from worldgate.worlds.devices import device_of, sent
from worldgate.worlds.nn.bottlenecks import Fsq
from worldgate.worlds.nn.streams import StreamShape, patched, unpatched
from worldgate.worlds.tokenizers._training import TrainedTokenizer
from worldgate.worlds.tokenizers._video import Context, VideoTokenizer
from worldgate.worlds.tracks import Layout, Track

_AT_ONCE = 64
_MARGIN = 0.1
"""Part of a channel's recorded range by which its bins reach beyond it on each side."""


class Pictures(Protocol):
    """How one camera's values become entries of tokens."""

    entries: int
    """Of one place."""

    def fit(self, values_NTPC: Tensor) -> None:
        """Learn from training values."""
        ...

    def entries_of(self, values_NTPC: Tensor) -> Tensor:
        """(N, T, P, entries)."""
        ...

    def values_of(self, entries_NTPE: Tensor) -> Tensor:
        """The way back."""
        ...


class Scaled(nn.Module):
    """Vectors of unit spread."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.entries = channels
        self.register_buffer("center_C", torch.zeros(channels))
        self.register_buffer("scale_C", torch.ones(channels))

    center_C: Tensor
    scale_C: Tensor

    @torch.no_grad()
    def fit(self, values_NTPC: Tensor) -> None:
        """Mean and deviation of every channel."""
        self.center_C.copy_(values_NTPC.mean(dim=(0, 1, 2)))
        self.scale_C.copy_(values_NTPC.std(dim=(0, 1, 2)).clamp(min=1e-3))

    def entries_of(self, values_NTPC: Tensor) -> Tensor:
        """Of mean 0 and deviation 1."""
        return (values_NTPC - self.center_C) / self.scale_C

    def values_of(self, entries_NTPE: Tensor) -> Tensor:
        """The way back."""
        return entries_NTPE * self.scale_C + self.center_C


class Numbered(nn.Module):
    """The digits of every place's code: 512 codes of three digits are drawn as three of 8, each near its neighbours."""

    def __init__(self, squeeze: Fsq) -> None:
        super().__init__()
        self.squeeze, self.entries = squeeze, squeeze.channels

    def fit(self, values_NTPC: Tensor) -> None:
        """Nothing to learn."""

    def entries_of(self, values_NTPC: Tensor) -> Tensor:
        """Digits (N, T, P, C)."""
        return self.squeeze.digits(values_NTPC)

    def values_of(self, entries_NTPE: Tensor) -> Tensor:
        """The way back."""
        return self.squeeze.of_digits(entries_NTPE)


class Numbers(nn.Module):
    """One state stream."""

    def __init__(self, statistics: Statistics) -> None:
        super().__init__()
        turns = np.asarray(statistics.circular, bool)
        low, high = np.asarray(statistics.min, np.float64), np.asarray(statistics.max, np.float64)
        reach = np.maximum(high - low, 1e-6)
        low, high = np.where(turns, -np.pi, low - _MARGIN * reach), np.where(turns, np.pi, high + _MARGIN * reach)
        for name, values in (("mean", statistics.mean), ("std", statistics.std), ("low", low), ("high", high)):
            self.register_buffer(f"{name}_D", torch.tensor(np.asarray(values), dtype=torch.float32), persistent=False)
        self.register_buffer("turns_D", torch.as_tensor(turns), persistent=False)
        self.register_buffer("angles_A", torch.as_tensor(np.flatnonzero(turns)), persistent=False)
        self.width = len(turns)
        self.entries = self.width + int(turns.sum())

    mean_D: Tensor
    std_D: Tensor
    low_D: Tensor
    high_D: Tensor
    turns_D: Tensor
    angles_A: Tensor
    """Which channels turn, by number: a device would be asked how many of a mask's entries are true."""

    def vectors(self, raw_XD: Tensor) -> Tensor:
        """(X, entries): numbers normalised and angles as sines, then the angles' cosines."""
        plain = torch.where(self.turns_D, raw_XD.sin(), (raw_XD - self.mean_D) / self.std_D)
        return torch.cat([plain, raw_XD[..., self.angles_A].cos()], dim=-1)

    def of_vectors(self, held_XE: Tensor) -> Tensor:
        """The way back."""
        plain, cosines = held_XE[..., : self.width], held_XE[..., self.width :]
        out = plain * self.std_D + self.mean_D
        out[..., self.angles_A] = torch.atan2(plain[..., self.angles_A], cosines)
        return out

    def bounds(self) -> tuple[Tensor, Tensor]:
        """(entries,) each: the least and the most of a vector, a margin beyond what training has seen."""
        low, high = ((x - self.mean_D) / self.std_D for x in (self.low_D, self.high_D))
        one = torch.ones_like(low[self.angles_A])
        low, high = torch.where(self.turns_D, -1.0, low), torch.where(self.turns_D, 1.0, high)
        return torch.cat([low, -one]), torch.cat([high, one])

    def codes(self, raw_XD: Tensor, bins: int) -> Tensor:
        """(X, D) the bin of every number; what lies outside falls into the outermost."""
        share = (raw_XD - self.low_D) / (self.high_D - self.low_D)
        return (share * bins).floor().clamp(0, bins - 1).long()

    def of_codes(self, codes_XD: Tensor, bins: int) -> Tensor:
        """The middles of the bins."""
        return self.low_D + (codes_XD + 0.5) / bins * (self.high_D - self.low_D)


class Codec(nn.Module):
    """All streams of a layout: cameras first, in their order, then states.

    Args:
        tokenizer: of the cameras; None where there is none.
        layout: the streams.
        normaliser: statistics of the states.
        patch: places a side that join one token.
        bins: of the numbers, where tokens are codes; 0: tokens are vectors.
    """

    def __init__(
        self, tokenizer: TrainedTokenizer | None, layout: Layout, normaliser: Normaliser, *, patch: int, bins: int
    ) -> None:
        super().__init__()
        self.tokenizer, self.layout, self.normaliser, self.bins = tokenizer, layout, normaliser, bins
        self.cameras = [signal.name for signal in layout.cameras]
        self.numbers = nn.ModuleList(Numbers(normaliser.statistics(s.name)) for s in layout.states)
        self.looks = nn.ModuleList()
        shapes, entries = [], []
        for camera in self.cameras:
            part = self._video.part(camera)
            side = round(part.places**0.5)
            if side**2 != part.places or side % patch:
                hint = f"--set net.patch=1, or another size; got {part.places} places"
                raise UsageError("places of this tokenizer make no grid of whole tokens", got=side, hint=hint)
            look = Numbered(cast(Fsq, part.squeeze)) if bins else Scaled(part.channels)
            self.looks.append(look)
            shapes.append(StreamShape(name=camera, side=side, patch=patch))
            entries.append(patch**2 * look.entries)
        for signal, numbers in zip(layout.states, self.states_of, strict=True):
            shapes.append(StreamShape(name=signal.name, side=1))
            entries.append(numbers.width if bins else numbers.entries)
        if not shapes:
            raise UsageError("a world model needs a camera or a state stream", hint="--set inputs.cameras=[...]")
        self.shapes, self.entries = tuple(shapes), tuple(entries)

    @property
    def _video(self) -> VideoTokenizer:
        assert self.tokenizer is not None
        return self.tokenizer.tokenizer

    @property
    def states_of(self) -> list[Numbers]:
        """Of every state stream."""
        return [cast(Numbers, held) for held in self.numbers]

    @property
    def _looks(self) -> list[Pictures]:
        return [cast(Pictures, held) for held in self.looks]

    def levels(self) -> list[Tensor]:
        """How many levels each digit of a place, or a number, of every stream has; where tokens are codes."""
        cameras = [cast(Numbered, look).squeeze.levels_C for look in self.looks]
        return [*cameras, *(torch.tensor([self.bins]) for _ in self.states_of)]

    def against(self, frames: Mapping[str, Array], place: int = 0) -> dict[str, Tensor] | None:
        """What these first frames are seen against, camera -> (S, S, ...); without frames the empty scene of a place.

        Args:
            frames: camera -> (T, S, S, ...), those that are known.
            place: number of a known place, where no frame tells.
        """
        if self.tokenizer is None or self._video.config.context is Context.NONE:
            return None
        scenes = self.tokenizer.scenes
        if not set(self.cameras) <= set(frames):
            empty = {c: scenes.scene(c)[place % len(scenes.scene(c))] for c in self.cameras}
            return empty | {c: sent(np.asarray(held[0]), scenes.device) for c, held in frames.items()}
        first = {camera: np.asarray(held[:1]) for camera, held in frames.items()}
        if self._video.config.context is Context.FIRST:
            return {camera: sent(held[0], scenes.device) for camera, held in first.items()}
        return dict(scenes.find(first)[0])

    def look(self, frames: Mapping[str, Tensor], against: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
        """Values camera -> (N, T, P, C) of raw clips, camera -> (N, T, S, S, ...)."""
        parts: dict[str, list[Tensor]] = {camera: [] for camera in frames}
        for camera, raw in frames.items():
            known = None if against is None else {camera: against[camera]}
            for first in range(0, raw.shape[1], _AT_ONCE):
                clip = {camera: raw[:, first : first + _AT_ONCE]}
                parts[camera].append(self._video.encode(clip, known)[camera])
        return {camera: torch.cat(held, dim=1) for camera, held in parts.items()}

    def tokens(
        self,
        frames: Mapping[str, Tensor],
        against: Mapping[str, Tensor] | None,
        states: Mapping[str, Tensor],
    ) -> list[Tensor | None]:
        """Tokens (N, T, G, E) of every stream; None where nothing is given.

        Args:
            frames: camera -> (N, T, S, S, ...), raw.
            against: of :meth:`against`, with a leading N.
            states: stream -> (N, T, D), in the stream's unit.
        """
        values = self.look(frames, against)
        out: list[Tensor | None] = []
        for camera, shape, look in zip(self.cameras, self.shapes, self._looks, strict=False):
            out.append(patched(look.entries_of(values[camera]), shape) if camera in values else None)
        for signal, numbers in zip(self.layout.states, self.states_of, strict=True):
            raw = states.get(signal.name)
            if raw is None:
                out.append(None)
                continue
            out.append((numbers.codes(raw, self.bins) if self.bins else numbers.vectors(raw)).unsqueeze(-2))
        return out

    def blank(self) -> list[Tensor]:
        """No token (0, G, E) of every stream, on the CPU."""
        kind = torch.long if self.bins else torch.float32
        return [torch.zeros(0, s.tokens, e, dtype=kind) for s, e in zip(self.shapes, self.entries, strict=True)]

    @property
    def view_shapes(self) -> list[tuple[int, int]]:
        """Of :meth:`views`: places a side and channels of every camera, (0, entries) of every state stream."""
        cameras = zip(self.cameras, self.shapes, strict=False)
        return [
            *((shape.side, self._video.part(camera).channels) for camera, shape in cameras),
            *((0, numbers.entries) for numbers in self.states_of),
        ]

    def views(self, tokens: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Tokens of every stream as numbers of about unit spread, whatever tokens are: what reads states out looks at.

        Returns:
            (N, T, P, C) of every camera; (N, T, 1, entries) of every state stream, angles as sine and cosine.
        """
        cameras = []
        for shape, look, held in zip(self.shapes, self._looks, tokens, strict=False):
            entries = unpatched(held, shape)
            cameras.append(look.values_of(entries) if self.bins else entries)
        states = self.states(tokens)
        numbers = [n.vectors(states[s.name]) for s, n in zip(self.layout.states, self.states_of, strict=True)]
        return (*cameras, *(held.unsqueeze(2) for held in numbers))

    def frames(self, tokens: Sequence[Tensor], against: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
        """Raw pictures camera -> (N, T, S, S, ...) of tokens."""
        out: dict[str, Tensor] = {}
        for camera, shape, look, held in zip(self.cameras, self.shapes, self._looks, tokens, strict=False):
            values = look.values_of(unpatched(held, shape))
            known = None if against is None else {camera: against[camera]}
            out |= self._video.decode({camera: values}, known)
        return out

    def states(self, tokens: Sequence[Tensor]) -> dict[str, Tensor]:
        """Numbers stream -> (N, T, D) of tokens."""
        out = {}
        mine = tokens[len(self.cameras) :]
        for signal, numbers, held in zip(self.layout.states, self.states_of, mine, strict=True):
            flat = held.squeeze(-2)
            out[signal.name] = numbers.of_codes(flat, self.bins) if self.bins else numbers.of_vectors(flat)
        return out

    @torch.no_grad()
    def fit(self, tracks: Sequence[Track]) -> list[list[Tensor | None]]:
        """Learn the spread of values and return the tokens of every track, each (T, G, E), on the CPU."""
        held = [self._values(track) for track in tracks]
        for camera, look in zip(self.cameras, self._looks, strict=True):
            mine = [values[camera] for values in held if camera in values]
            look.fit(torch.cat(mine, dim=1))
        return [self._of_track(track, values) for track, values in zip(tracks, held, strict=True)]

    @torch.no_grad()
    def encode(self, tracks: Sequence[Track]) -> list[list[Tensor | None]]:
        """Tokens of every track, each (T, G, E), by what was learned before, on the CPU."""
        return [self._of_track(track, self._values(track)) for track in tracks]

    def _values(self, track: Track) -> dict[str, Tensor]:
        if not track.frames:
            return {}
        against = self.against(track.frames)
        known = None if against is None else {camera: held.unsqueeze(0) for camera, held in against.items()}
        device = device_of(self)
        frames = {camera: sent(np.asarray(held), device).unsqueeze(0) for camera, held in track.frames.items()}
        return {camera: held.cpu() for camera, held in self.look(frames, known).items()}

    def _of_track(self, track: Track, values: Mapping[str, Tensor]) -> list[Tensor | None]:
        out: list[Tensor | None] = []
        device = device_of(self)
        for camera, shape, look in zip(self.cameras, self.shapes, self._looks, strict=False):
            mine = sent(values[camera], device) if camera in values else None
            out.append(None if mine is None else patched(look.entries_of(mine), shape)[0].cpu())
        raw = self.layout.split(track.states_TD)
        numbers = {s.name: sent(raw[s.name], device) for s in self.layout.states if s.name not in track.lacks}
        coded = self.tokens({}, None, {name: held.unsqueeze(0) for name, held in numbers.items()})
        out += [None if held is None else held[0].cpu() for held in coded[len(self.cameras) :]]
        return out

"""The tokenizers behind a vocabulary: rows of an episode to blocks of codes, and blocks back to pictures and motion.

Shape legend: R rows of a sequence, T rows with the end held on, S pixels a side, P places, A channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch

from worldgate.core.episodes import Episode
from worldgate.core.errors import CapabilityMissing, DataRefused, UsageError, WeightsRefused
from worldgate.core.streams import Array, BoolArray, FloatArray, IntArray
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace
from worldgate.worlds import checkpoint
from worldgate.worlds.family import Trainable
from worldgate.worlds.nn.bottlenecks import Fsq
from worldgate.worlds.tokenizers._motion import MotionTokenizer
from worldgate.worlds.tokenizers._training import TrainedTokenizer
from worldgate.worlds.tokenizers._video import Context
from worldgate.worlds.tokens.vocabulary import Role, Vocabulary
from worldgate.worlds.tracks import Inputs, Layout, Track, make_tracks, resolve_layout
from worldgate.worlds.train import stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """What a sequence of R rows stands for."""

    frames: Mapping[str, Array] = field(default_factory=dict)
    """camera -> (R, S, S, ...), raw pictures."""
    motion: Mapping[str, FloatArray] = field(default_factory=dict)
    """stream -> (R, A) in its unit; of a state stream only the rows at which a state stands, (K, A)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """An episode as all tokenizers see it."""

    pictures: Track | None
    motion: Mapping[str, Track]
    valid_T: BoolArray
    place: int
    """Number of the empty scene that its pictures are encoded against; -1: none is needed."""
    known: bool
    """Whether that scene fits."""


class Codecs:
    """A discrete tokenizer of pictures, one of actions and one of states; each may be missing."""

    def __init__(self, pictures: Trainable | None, actions: Trainable | None, states: Trainable | None) -> None:
        if pictures is None and actions is None and states is None:
            raise UsageError("tokens need a tokenizer", hint="--pictures, --actions or --states NAME")
        self.pictures = None if pictures is None else _of_pictures(pictures)
        self.motion: dict[Role, MotionTokenizer] = {}
        for role, model in ((Role.STATE, states), (Role.ACTION, actions)):
            if model is not None:
                self.motion[role] = _of_motion(model, role)
        if len({model.signal.name for model in self.motion.values()}) < len(self.motion):
            raise UsageError("one stream twice, as state and as action", hint="--set inputs.action=observation.state")

    @classmethod
    def load(cls, ws: Workspace, pictures: Ref | None, actions: Ref | None, states: Ref | None) -> Codecs:
        """From recorded tokenizers.

        Raises:
            CapabilityMissing: one that has no codes, or is no tokenizer of this kind.
            UsageError: none at all, or one whose codes cannot be decoded from tokens alone.
        """
        return cls(*(None if ref is None else _restore(ws, ref.digest) for ref in (pictures, actions, states)))

    @classmethod
    def of(cls, ws: Workspace, vocabulary: Vocabulary) -> Codecs:
        """The tokenizers that a vocabulary names.

        Raises:
            NotFound: the workspace does not hold one of them.
            WeightsRefused: one that has other streams or codes than the vocabulary says.
        """
        found = {role: {held.tokenizer for held in vocabulary.of(role)} for role in Role}
        parts = [next((_restore(ws, d) for d in found[r]), None) for r in (Role.PICTURE, Role.ACTION, Role.STATE)]
        codecs = cls(*parts)
        said = {(h.stream, h.role, h.count, h.block, h.rows) for h in vocabulary.ranges}
        have = {(s["stream"], s["role"], s["count"], s["block"], s["rows"]) for s in codecs.streams({})}
        if said != have:
            raise WeightsRefused("tokenizers that do not fit the vocabulary", got=sorted(said ^ have)[0][0])
        return codecs

    def streams(self, digests: Mapping[Role, str]) -> Iterator[dict[str, Any]]:
        """Fields of each stream's range, for :func:`worldgate.worlds.tokens.vocabulary.lay_out`."""
        for role, model in self.motion.items():
            fixed = model.width if model.rows == 1 else 0
            yield {"stream": model.signal.name, "role": role, "count": model.vocabulary, "block": fixed} | {
                "rows": model.rows, "tokenizer": digests.get(role, "")
            }  # fmt: skip
        if self.pictures is not None:
            tokenizer = self.pictures.tokenizer
            for camera in tokenizer.cameras:
                part = tokenizer.part(camera)
                yield {"stream": camera, "role": Role.PICTURE, "count": cast(Fsq, part.squeeze).size} | {
                    "block": part.places, "rows": max(1, tokenizer.config.time),
                    "tokenizer": digests.get(Role.PICTURE, ""),
                }  # fmt: skip

    def see(self, episode: Episode) -> Seen:
        """Gather what the tokenizers read of an episode.

        Raises:
            NotFound: it lacks a stream.
            DataRefused: another rate, width or unit than a tokenizer was trained on.
        """
        pictures, place, known = None, -1, True
        if self.pictures is not None:
            pictures = _track(episode, self.pictures.layout)
            if self.pictures.tokenizer.config.context is Context.BACKGROUND:
                place, known = self.pictures.scenes.nearest(pictures.frames)
        motion = {model.signal.name: _track(episode, model.layout) for model in self.motion.values()}
        tracks = [*motion.values(), *([] if pictures is None else [pictures])]
        valid_T = np.logical_and.reduce([track.valid_T for track in tracks])
        return Seen(pictures=pictures, motion=motion, valid_T=valid_T, place=place, known=known)

    @torch.inference_mode()
    def encode(self, vocabulary: Vocabulary, seen: Seen, first: int, rows: int) -> dict[str, list[IntArray]]:
        """Rows of an episode to the blocks of every stream."""
        blocks: dict[str, list[IntArray]] = {}
        for held, covers in vocabulary.plan(rows):
            if held.role is not Role.PICTURE:
                track = seen.motion[held.stream].actions_TA[first : first + rows]
                (chunk,) = self.motion[held.role].chunks(track[covers : covers + held.rows].astype(np.float64))
                blocks.setdefault(held.stream, []).append(self.motion[held.role].encode(chunk))
        if self.pictures is not None and seen.pictures is not None:
            frames = {c: held[first : first + rows] for c, held in seen.pictures.frames.items()}
            blocks |= self._codes(frames, seen.place)
        return blocks

    def _codes(self, frames: Mapping[str, Array], place: int) -> dict[str, list[IntArray]]:
        assert self.pictures is not None
        tokenizer = self.pictures.tokenizer
        clips = {camera: torch.as_tensor(self._held(held))[None] for camera, held in frames.items()}
        values = tokenizer.encode(clips, self._against(place))
        codes = {c: cast(Fsq, tokenizer.part(c).squeeze).codes(held)[0] for c, held in values.items()}
        return {camera: list(held.numpy()) for camera, held in codes.items()}

    def _held(self, frames: Array) -> Array:
        """Frames that divide into latents, the last one held on."""
        time = max(1, self.pictures.tokenizer.config.time) if self.pictures is not None else 1
        short = -(len(frames) - 1) % time
        return np.concatenate([frames, np.repeat(frames[-1:], short, axis=0)])

    def _against(self, place: int) -> dict[str, torch.Tensor] | None:
        if self.pictures is None or place < 0:
            return None
        return {camera: held[None] for camera, held in self.pictures.scenes.at(place).items()}

    @torch.inference_mode()
    def decode(self, blocks: Mapping[str, Sequence[IntArray]], rows: int, place: int) -> Decoded:
        """Blocks of R rows back to pictures and motion.

        Raises:
            DataRefused: a place that the tokenizer of pictures does not know.
            UsageError: codes that are no whole chunk.
        """
        motion: dict[str, FloatArray] = {}
        for role, model in self.motion.items():
            held = [model.decode(codes) for codes in blocks[model.signal.name]]
            motion[model.signal.name] = np.concatenate(held)[: rows if role is Role.ACTION else None]
        if self.pictures is None:
            return Decoded(motion=motion)
        scenes, tokenizer = self.pictures.scenes, self.pictures.tokenizer
        wanted = tokenizer.config.context is Context.BACKGROUND
        if wanted != (place >= 0) or place >= scenes.places:
            raise DataRefused("pictures of a place that the tokenizer does not know", got=f"place {place}")
        values = {
            camera: cast(Fsq, tokenizer.part(camera).squeeze).values(torch.as_tensor(np.stack(blocks[camera]))[None])
            for camera in tokenizer.cameras
        }
        shown = tokenizer.decode(values, self._against(place))
        return Decoded(frames={camera: held[0, :rows].numpy() for camera, held in shown.items()}, motion=motion)


def _restore(ws: Workspace, digest: str) -> Trainable:
    return checkpoint.restore(stage.checkout(ws, digest), expect=digest)[1]


def _of_pictures(model: Trainable) -> TrainedTokenizer:
    if not isinstance(model, TrainedTokenizer):
        raise CapabilityMissing(
            "this is no tokenizer of pictures", got=type(model).__name__, hint="worldgate train fsq"
        )
    tokenizer = model.tokenizer
    if not all(isinstance(tokenizer.part(camera).squeeze, Fsq) for camera in tokenizer.cameras):
        raise CapabilityMissing("a continuous tokenizer has no codes", got="vectors", hint="worldgate train fsq")
    if tokenizer.config.context is Context.FIRST:
        hint = "--set video.context=background, or none"
        raise UsageError("pictures against their clip's first frame, which no token holds", got="first", hint=hint)
    tokenizer.train(False)
    return model


def _of_motion(model: Trainable, role: Role) -> MotionTokenizer:
    if not isinstance(model, MotionTokenizer):
        raise CapabilityMissing("this is no tokenizer of motion", got=type(model).__name__, hint="worldgate train bins")
    if role is Role.STATE and model.rows > 1:
        raise CapabilityMissing("a state is one row", got=f"chunks of {model.rows} rows", hint="worldgate train bins")
    return model


def _track(episode: Episode, layout: Layout) -> Track:
    """One episode under a tokenizer's layout, which must be its own."""
    size = layout.cameras[0].shape[0] if layout.cameras else 64
    names = {"states": tuple(s.name for s in layout.states), "cameras": tuple(c.name for c in layout.cameras)}
    found = resolve_layout([episode], Inputs(action=layout.action.name, size=size, **names))
    if not np.isclose(found.rate_hz, layout.rate_hz, rtol=1e-3):
        got, hint = f"{found.rate_hz:g} Hz", f"the tokenizer was trained at {layout.rate_hz:g} Hz"
        raise DataRefused("rows at another rate", got=got, where=episode.name, hint=hint)
    for mine, theirs in zip((found.action, *found.cameras), (layout.action, *layout.cameras), strict=True):
        if (mine.shape, mine.unit, mine.kind) != (theirs.shape, theirs.unit, theirs.kind):
            got = f"{mine.name} {mine.shape} [{mine.unit}], not {theirs.shape} [{theirs.unit}]"
            raise DataRefused("a stream that is not the tokenizer's", got=got, where=episode.name)
    return make_tracks([episode], layout)[0]

"""Windows of held-out episodes: what a model is shown, what it must predict, under which actions.

A window stands at row t: context rows t-C+1 to t, K rows to predict, actions of rows t to t+K-1. Windows that touch a
gap of alignment or a value that is not finite are left out and counted.

Shape legend: T rows, C context rows, K steps ahead, D state channels, A action channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from worldgate.core.episodes import Episode
from worldgate.core.errors import DataRefused, NotFound
from worldgate.core.streams import Array, BoolArray, FloatArray
from worldgate.core.worlds import ModelSpec, Prompt, Signal

FrameReader = Callable[[Episode, str, tuple[int, int]], Array]
"""(episode, camera, (H, W)) -> (T, H, W, 3), or (T, H, W) of depth and class ids."""

LEAST_CONTEXT = 2
"""Rows needed for a constant velocity, whatever the model asks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracks:
    """One episode's arrays as a model spec names them."""

    episode: Episode
    states: Mapping[str, FloatArray]
    """stream -> (T, D) float32."""
    frames: Mapping[str, Array]
    """camera -> (T, H, W, 3), or (T, H, W) of depth and class ids."""
    actions: FloatArray | None
    """(T, A) float32."""
    good: BoolArray
    """(T,) no gap and every value finite."""

    def starts(self, spec: ModelSpec, steps: int, limit: int) -> tuple[list[int], int]:
        """Rows t of at most ``limit`` good windows, evenly spread, and how many of those tried were left out."""
        before = max(spec.context, LEAST_CONTEXT)
        last = len(self.good) - 1 - steps
        rows = np.arange(before - 1, last + 1, dtype=np.int64)
        if not len(rows):
            return [], 0
        count = min(limit, len(rows))
        picked = rows[(np.arange(count) * (len(rows) - 1)) // max(count - 1, 1)]
        good = [int(t) for t in picked if self.good[t - before + 1 : t + steps + 1].all()]
        return good, count - len(good)

    def windows(self, spec: ModelSpec, steps: int) -> list[int]:
        """Every row t at which a good window stands."""
        before = max(spec.context, LEAST_CONTEXT)
        bad = np.concatenate([[0], np.cumsum(~self.good)])
        rows = np.arange(before - 1, len(self.good) - steps, dtype=np.int64)
        return [int(t) for t in rows if bad[t + steps + 1] == bad[t - before + 1]]

    def prompt(self, spec: ModelSpec, t: int) -> Prompt:
        """The context that ends at row t."""
        rows = slice(t - spec.context + 1, t + 1)
        return Prompt(
            states={s.name: self.states[s.name][rows] for s in spec.states},
            frames={c.name: self.frames[c.name][rows] for c in spec.cameras},
            actions=None if self.actions is None else self.actions[rows],
            source=f"{self.episode.id}@{t}",
        )


def read_tracks(episode: Episode, spec: ModelSpec, read_frames: FrameReader) -> Tracks:
    """Take from an episode what a model is fed; a mismatch refuses, nothing is converted.

    Raises:
        NotFound: the episode lacks a stream.
        DataRefused: another rate, width, unit or channel name than the model was made for.
    """
    if abs(episode.rate_hz - spec.rate_hz) > 1e-6 * spec.rate_hz:
        raise DataRefused(
            "the episode's rate is not the model's",
            got=f"{episode.rate_hz:g} Hz, model {spec.rate_hz:g} Hz",
            where=episode.name,
        )
    good = np.ones(len(episode), dtype=np.bool_)
    states: dict[str, FloatArray] = {}
    for signal in (*spec.states, *([spec.action] if spec.action else [])):
        values = _numbers(episode, signal)
        states[signal.name] = values
        good &= ~episode.streams[signal.name].gap & np.isfinite(values).all(axis=1)
    frames: dict[str, Array] = {}
    for camera in spec.cameras:
        _stream(episode, camera.name)
        frames[camera.name] = read_frames(episode, camera.name, (camera.shape[0], camera.shape[1]))
        good &= ~episode.streams[camera.name].gap
    actions = states.pop(spec.action.name) if spec.action else None
    return Tracks(episode=episode, states=states, frames=frames, actions=actions, good=good)


def _stream(episode: Episode, name: str) -> None:
    if name not in episode.streams:
        raise NotFound("the episode has no such stream", got=name, where=episode.name, hint=", ".join(episode.streams))


def _numbers(episode: Episode, signal: Signal) -> FloatArray:
    _stream(episode, signal.name)
    info = episode.streams[signal.name].info
    values: FloatArray = episode.array(signal.name).astype(np.float32).reshape(len(episode), -1)
    width = signal.shape[0] if signal.shape else len(signal.names)
    if width and values.shape[1] != width:
        raise DataRefused("a stream of another width", got=f"{values.shape[1]}, model {width}", where=signal.name)
    if info.unit and signal.unit and info.unit != signal.unit:
        raise DataRefused("a stream in another unit", got=f"{info.unit}, model {signal.unit}", where=signal.name)
    if info.names and signal.names and tuple(info.names) != tuple(signal.names):
        raise DataRefused("channels of other names", got=", ".join(info.names)[:80], where=signal.name)
    return values


def circular(tracks: Sequence[FloatArray], unit: str) -> tuple[bool, ...]:
    """Which channels turn around: in rad or unit unknown, jumping by about 2 pi between rows within one turn."""
    width: int = tracks[0].shape[1]
    if unit not in {"", "rad"}:
        return (False,) * width
    out = np.zeros(width, dtype=np.bool_)
    with np.errstate(invalid="ignore"):
        for values in tracks:
            if len(values) > 1:
                jumps: FloatArray = np.nanmax(np.abs(np.diff(values, axis=0)), axis=0, initial=0.0)
                span: FloatArray = np.nanmax(np.abs(values), axis=0, initial=0.0)
                out |= (jumps > 1.6 * np.pi) & (span < np.pi + 0.01)
    return tuple(bool(turns) for turns in out.tolist())

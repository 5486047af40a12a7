"""Imagine from an episode: cut the prompt that ends at a row, roll forward under recorded or other actions.

Shape legend: K steps, A action channels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from worldgate.core.episodes import Episode
from worldgate.core.errors import CapabilityMissing, UsageError
from worldgate.core.streams import ByteArray, FloatArray
from worldgate.core.worlds import Prompt, Rollout, WorldModel, rollout
from worldgate.data import clips
from worldgate.evidence.windows import Tracks, read_tracks


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What of an episode a model is shown before it imagines; the default is all that its context holds."""

    rows: int | None = None
    """Rows up to now that are known: 1 is one image, 0 nothing; None as many as the model's context."""
    states: bool = True
    """Whether the state streams of those rows are known; the pictures always are."""
    ahead: tuple[int, ...] = ()
    """Steps after now whose recorded pictures are known, such as the last one."""
    text: str = ""
    actions: bool = True
    """Whether it is told the actions of the future and of the known rows."""


def imagine(
    model: WorldModel,
    episode: Episode,
    row: int,
    horizon: int,
    actions: FloatArray | None = None,
    *,
    asked: Asked | None = None,
    samples: int = 1,
    seed: int = 0,
) -> Rollout:
    """Roll a model forward from a row of an episode.

    Args:
        model: any world model.
        episode: where the prompt is cut; its streams must fit the model's.
        row: the last known row, "now".
        horizon: K, steps to imagine.
        actions: (K, A); None: the recorded ones of rows ``row`` to ``row + K - 1``.
        asked: what else it is shown or told, or not.
        samples: futures, for models that have more than one.
        seed: of the samples.

    Raises:
        UsageError: a row without context, with a gap, or beyond the recorded actions or pictures.
        DataRefused: streams that do not fit the model.
        NotFound: a stream that the episode lacks.
        CapabilityMissing: a prompt that the model cannot take.
    """
    tracks, wanted = read_tracks(episode, model.spec, _look), asked or Asked()
    prompt = _asked(tracks, model, row, wanted)
    if not wanted.actions:
        return rollout(model, prompt, None, samples=samples, seed=seed, horizon=horizon)
    drive = _recorded(tracks, row, horizon) if actions is None else np.asarray(actions, np.float32)[:horizon]
    if len(drive) != horizon:
        raise UsageError("fewer actions than steps to imagine", got=f"{len(drive)} of {horizon}", where=episode.name)
    return rollout(model, prompt, drive, samples=samples, seed=seed)


def prompt_at(model: WorldModel, episode: Episode, row: int, asked: Asked | None = None) -> Prompt:
    """The prompt whose last row is ``row``.

    Raises:
        UsageError: a row without context or with a gap in it.
    """
    return _asked(read_tracks(episode, model.spec, _look), model, row, asked or Asked())


def recorded_actions(model: WorldModel, episode: Episode, row: int, horizon: int) -> FloatArray:
    """(K, A) the actions recorded from ``row`` on.

    Raises:
        UsageError: the episode ends before.
    """
    return _recorded(read_tracks(episode, model.spec, _look), row, horizon)


def _look(episode: Episode, camera: str, size: tuple[int, int]) -> ByteArray:
    return cast(ByteArray, clips.pictures(episode, camera, size))


def _asked(tracks: Tracks, model: WorldModel, row: int, asked: Asked) -> Prompt:
    whole = _prompt(tracks, model, row)
    if asked == Asked():
        return whole
    count = model.spec.context if asked.rows is None else asked.rows
    if count > model.spec.context:
        got, hint = f"{count} rows", f"at most {model.spec.context} are read"
        raise UsageError("more known rows than the model's context", got=got, hint=hint)
    if any(not 1 <= step < len(tracks.good) - row for step in asked.ahead):
        hint = f"1 to {len(tracks.good) - 1 - row}"
        raise UsageError("no picture is recorded so far ahead", got=asked.ahead, where=tracks.episode.name, hint=hint)
    known = slice(model.spec.context - count, None)
    later = [row + step for step in asked.ahead]
    return replace(
        whole,
        states={name: held[known] for name, held in whole.states.items()} if asked.states and count else {},
        frames={name: held[known] for name, held in whole.frames.items()} if count else {},
        actions=whole.actions[known] if whole.actions is not None and asked.actions and count else None,
        ahead={name: held[later] for name, held in tracks.frames.items()} if later else {},
        ahead_steps=asked.ahead,
        text=asked.text,
    )


def _prompt(tracks: Tracks, model: WorldModel, row: int) -> Prompt:
    context, name = model.spec.context, tracks.episode.name
    if not context - 1 <= row < len(tracks.good):
        hint = f"a row from {context - 1} to {len(tracks.good) - 1}"
        raise UsageError("no prompt can be cut at this row", got=row, where=name, hint=hint)
    if not tracks.good[row - context + 1 : row + 1].all():
        raise UsageError("the context of this row has a gap", got=row, where=name, hint="another row")
    return tracks.prompt(model.spec, row)


def _recorded(tracks: Tracks, row: int, horizon: int) -> FloatArray:
    if tracks.actions is None:
        raise CapabilityMissing("a model without actions has none recorded", where=tracks.episode.name)
    actions: FloatArray = tracks.actions[row : row + horizon]
    if horizon < 1 or len(actions) < horizon or not np.isfinite(actions).all():
        got = f"{len(actions)} of {horizon} from row {row}"
        raise UsageError("fewer recorded actions than steps to imagine", got=got, where=tracks.episode.name)
    return actions

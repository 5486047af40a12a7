"""Imagine from an episode: cut the prompt that ends at a row, roll forward under recorded or other actions.

Shape legend: K steps, A action channels.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from worldgate.core.episodes import Episode
from worldgate.core.errors import UsageError
from worldgate.core.streams import ByteArray, FloatArray
from worldgate.core.worlds import Prompt, Rollout, WorldModel, rollout
from worldgate.data import clips
from worldgate.evidence.prompts import Asked, cut, recorded
from worldgate.evidence.windows import read_tracks

__all__ = ["Asked", "imagine", "prompt_at", "recorded_actions"]


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
    prompt = cut(tracks, model.spec, row, wanted)
    if not wanted.actions or (model.spec.action is None and actions is None):
        return rollout(model, prompt, None, samples=samples, seed=seed, horizon=horizon)
    drive = recorded(tracks, row, horizon) if actions is None else np.asarray(actions, np.float32)[:horizon]
    if len(drive) != horizon:
        raise UsageError("fewer actions than steps to imagine", got=f"{len(drive)} of {horizon}", where=episode.name)
    return rollout(model, prompt, drive, samples=samples, seed=seed)


def prompt_at(model: WorldModel, episode: Episode, row: int, asked: Asked | None = None) -> Prompt:
    """The prompt whose last row is ``row``.

    Raises:
        UsageError: a row without context or with a gap in it.
    """
    return cut(read_tracks(episode, model.spec, _look), model.spec, row, asked or Asked())


def recorded_actions(model: WorldModel, episode: Episode, row: int, horizon: int) -> FloatArray:
    """(K, A) the actions recorded from ``row`` on.

    Raises:
        UsageError: the episode ends before.
    """
    return recorded(read_tracks(episode, model.spec, _look), row, horizon)


def _look(episode: Episode, camera: str, size: tuple[int, int]) -> ByteArray:
    return cast(ByteArray, clips.pictures(episode, camera, size))

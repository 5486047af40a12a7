"""Imagine from an episode: cut the prompt that ends at a row, roll forward under recorded or other actions.

Shape legend: K steps, A action channels.
"""

from __future__ import annotations

import numpy as np

from worldgate.core.episodes import Episode
from worldgate.core.errors import CapabilityMissing, UsageError
from worldgate.core.streams import FloatArray
from worldgate.core.worlds import Prompt, Rollout, WorldModel, rollout
from worldgate.data import clips
from worldgate.evidence.windows import Tracks, read_tracks


def imagine(
    model: WorldModel,
    episode: Episode,
    row: int,
    horizon: int,
    actions: FloatArray | None = None,
    *,
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
        samples: futures, for models that have more than one.
        seed: of the samples.

    Raises:
        UsageError: a row without context, with a gap, or beyond the recorded actions.
        DataRefused: streams that do not fit the model.
        NotFound: a stream that the episode lacks.
    """
    tracks = read_tracks(episode, model.spec, clips.frames)
    prompt = _prompt(tracks, model, row)
    drive = _recorded(tracks, row, horizon) if actions is None else np.asarray(actions, np.float32)[:horizon]
    if len(drive) != horizon:
        raise UsageError("fewer actions than steps to imagine", got=f"{len(drive)} of {horizon}", where=episode.name)
    return rollout(model, prompt, drive, samples=samples, seed=seed)


def prompt_at(model: WorldModel, episode: Episode, row: int) -> Prompt:
    """The prompt whose last row is ``row``.

    Raises:
        UsageError: a row without context or with a gap in it.
    """
    return _prompt(read_tracks(episode, model.spec, clips.frames), model, row)


def recorded_actions(model: WorldModel, episode: Episode, row: int, horizon: int) -> FloatArray:
    """(K, A) the actions recorded from ``row`` on.

    Raises:
        UsageError: the episode ends before.
    """
    return _recorded(read_tracks(episode, model.spec, clips.frames), row, horizon)


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

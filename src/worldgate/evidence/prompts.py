"""Prompts cut from an episode: which of its rows, streams, later frames, words and actions a model is shown.

Shape legend: T rows, K steps ahead, A action channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from worldgate.core.errors import CapabilityMissing, UsageError
from worldgate.core.streams import FloatArray
from worldgate.core.worlds import ModelSpec, Prompt
from worldgate.evidence.windows import Tracks


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


def text_of(facts: Mapping[str, object], names: Sequence[str]) -> str:
    """An episode's text: those of these facts that it has, with commas between them."""
    return ", ".join(str(facts[name]) for name in names if facts.get(name))


def cut(tracks: Tracks, spec: ModelSpec, row: int, asked: Asked) -> Prompt:
    """The prompt whose last row is ``row``.

    Raises:
        UsageError: a row without context or with a gap in it, more rows than the context, or no picture so far ahead.
    """
    whole = _whole(tracks, spec, row)
    if asked == Asked():
        return whole
    count = spec.context if asked.rows is None else asked.rows
    if count > spec.context:
        got, hint = f"{count} rows", f"at most {spec.context} are read"
        raise UsageError("more known rows than the model's context", got=got, hint=hint)
    if any(not 1 <= step < len(tracks.good) - row for step in asked.ahead):
        hint = f"1 to {len(tracks.good) - 1 - row}"
        raise UsageError("no picture is recorded so far ahead", got=asked.ahead, where=tracks.episode.name, hint=hint)
    known = slice(spec.context - count, None)
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


def _whole(tracks: Tracks, spec: ModelSpec, row: int) -> Prompt:
    context, name = spec.context, tracks.episode.name
    if not context - 1 <= row < len(tracks.good):
        hint = f"a row from {context - 1} to {len(tracks.good) - 1}"
        raise UsageError("no prompt can be cut at this row", got=row, where=name, hint=hint)
    if not tracks.good[row - context + 1 : row + 1].all():
        raise UsageError("the context of this row has a gap", got=row, where=name, hint="another row")
    return tracks.prompt(spec, row)


def recorded(tracks: Tracks, row: int, horizon: int) -> FloatArray:
    """(K, A) the actions recorded from ``row`` on.

    Raises:
        CapabilityMissing: a model without actions.
        UsageError: the episode ends before.
    """
    if tracks.actions is None:
        raise CapabilityMissing("a model without actions has none recorded", where=tracks.episode.name)
    actions: FloatArray = tracks.actions[row : row + horizon]
    if horizon < 1 or len(actions) < horizon or not np.isfinite(actions).all():
        got = f"{len(actions)} of {horizon} from row {row}"
        raise UsageError("fewer recorded actions than steps to imagine", got=got, where=tracks.episode.name)
    return actions

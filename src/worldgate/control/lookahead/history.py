"""What a policy has seen, as the prompt of a model.

Shape legend: T rows, A action channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from worldgate.control.lookahead import Seen
from worldgate.core.errors import DataRefused
from worldgate.core.streams import Array
from worldgate.core.worlds import ModelSpec, Prompt, Signal


def prompt_of(spec: ModelSpec, seen: Seen) -> Prompt:
    """The last rows as a model wants them; before the first row stands the first row.

    Raises:
        DataRefused: what was observed lacks a stream, or holds another size.
    """
    missing = max(0, spec.context - len(seen.observations))
    rows = [*seen.observations[:1]] * missing + list(seen.observations[-spec.context :])
    states = {signal.name: _stack(signal, [row.get(signal.name) for row in rows]) for signal in spec.states}
    frames = {signal.name: _stack(signal, [row.get(signal.name) for row in rows]) for signal in spec.cameras}
    actions = None
    if spec.action is not None:
        still = np.zeros(spec.action.shape)
        done = ([still] * (spec.context - 1) + list(seen.actions))[-(spec.context - 1) :] if spec.context > 1 else []
        actions = np.stack([*done, still])
    return Prompt(states=states, frames=frames, actions=actions)


def _stack(signal: Signal, rows: Sequence[Array | None]) -> Array:
    for row in rows:
        if row is None or np.shape(row) != signal.shape:
            got = "nothing" if row is None else np.shape(row)
            raise DataRefused("not what the model sees", got=got, where=signal.name, hint=f"shape {signal.shape}")
    return np.stack([np.asarray(row) for row in rows])

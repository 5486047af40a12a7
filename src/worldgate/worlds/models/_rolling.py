"""Rolling a token family forward over windows of recorded tokens, and judging what comes beside what happened.

Shape legend: N windows, T frames, K steps, S streams, G tokens of a stream, E entries of a token, A action channels, V
cameras, P pixels a side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from worldgate.core.streams import IntArray, Kind
from worldgate.worlds import skill
from worldgate.worlds.devices import Draws, device_of
from worldgate.worlds.models._dream import Dream
from worldgate.worlds.models._tape import Tape, Windows

if TYPE_CHECKING:
    from worldgate.worlds.models._generator import Generator

_JUDGED = 48
"""Most windows of held-out episodes that are rolled forward."""


@torch.no_grad()
def judge(model: Generator, tape: Tape) -> dict[str, float]:
    """Held-out windows rolled forward from a few frames, beside standing still, with their own and other actions."""
    rate, context = model.layout.rate_hz, model.context
    horizons = {f"{s:g}s": max(1, round(s * rate)) for s in (0.5, 1.0)}
    steps = max(horizons.values())
    starts = tape.starts(context + steps, whole=True)
    if not len(starts):
        return {}
    starts = starts[:: -(-len(starts) // _JUDGED)]
    windows = tape.windows(starts, context + steps).to(device_of(model))
    other = windows.actions_NTA.roll(max(1, len(starts) // 2), dims=0)
    ours, wrong = (roll(model, windows, context, actions) for actions in (windows.actions_NTA, other))
    return _pictures(model, tape, starts, ours, wrong, horizons) | _states(model, windows, ours, wrong, horizons)


def _pictures(
    model: Generator, tape: Tape, starts: IntArray, ours: list[Tensor], wrong: list[Tensor], horizons: dict[str, int]
) -> dict[str, float]:
    codec = model.codec
    colour = [camera.name for camera in model.layout.cameras if camera.kind is Kind.IMAGE]
    if not colour:
        return {}
    places = [codec.against(tape.tracks[t].frames) for t in tape.track_of(starts)]
    against = {c: torch.stack([p[c] for p in places if p is not None]) for c in places[0]} if places[0] else None
    one, two = (torch.stack([codec.frames(t, against)[c] for c in colour], dim=2).cpu() / 255 for t in (ours, wrong))
    rows = starts[:, None] + np.arange(model.context - 1, model.context + max(horizons.values()))
    real = torch.stack([frames_of(tape, c, rows) for c in colour], dim=2) / 255
    return skill.pictures(one, two, real[:, 0], real[:, 1:], horizons)


def _states(
    model: Generator, windows: Windows, ours: list[Tensor], wrong: list[Tensor], horizons: dict[str, int]
) -> dict[str, float]:
    if not model.layout.states:
        return {}
    spread = torch.cat([numbers.std_D for numbers in model.codec.states_of])

    def joined(tokens: Sequence[Tensor]) -> Tensor:
        return (torch.cat(list(model.codec.states(tokens).values()), dim=-1) / spread).cpu()

    real = joined(windows.tokens)
    first = model.context
    return skill.states(joined(ours), joined(wrong), real[:, first - 1], real[:, first:], horizons)


def roll(model: Generator, windows: Windows, context: int, actions_NTA: Tensor) -> list[Tensor]:
    """Imagined tokens (N, K, G, E) of every stream after the first ``context`` frames of windows, where these are."""
    dream = Dream(model.net, len(windows), window=model.config.window, draws=Draws(0, device_of(model)))
    out = []
    for t in range(actions_NTA.shape[1]):
        told = model.guidance(windows, actions_NTA[:, t : t + 1], windows.acted_NT[:, t : t + 1])
        known = [held[:, t : t + 1] for held in windows.tokens] if t < context else []
        frame = dream.advance(told, known)
        if t >= context:
            out.append(frame)
    return [torch.cat(held, dim=1) for held in zip(*out, strict=True)]


def frames_of(tape: Tape, camera: str, rows: IntArray) -> Tensor:
    """Raw pictures (N, T, P, P, ...) of a camera at these rows of a tape."""
    parts = []
    for mine in rows:
        t = int(tape.track_of(mine[:1])[0])
        parts.append(torch.as_tensor(np.asarray(tape.tracks[t].frames[camera][mine - tape.offsets[t]])))
    return torch.stack(parts)

"""A trained token family as the other rooms see it: every prompt in, frames and states of several samples out.

Shape legend: B samples, K steps, T prompt rows, H x W pixels, D state channels, A action channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from worldgate.core.errors import CapabilityMissing
from worldgate.core.streams import Array, FloatArray, Kind
from worldgate.core.worlds import Capability, Frame, ModelSpec, Prompt
from worldgate.worlds.devices import Draws, device_of, home, sent
from worldgate.worlds.models._dream import Dream
from worldgate.worlds.models._reader import Reader
from worldgate.worlds.nn.streams import Guidance
from worldgate.worlds.prompts import check_actions, check_partial

if TYPE_CHECKING:
    from worldgate.worlds.models._generator import Generator


class _Shown(NamedTuple):
    """One step or row of all samples, where the model is."""

    frames: Mapping[str, Tensor]
    states: Mapping[str, Tensor]
    uncertainty: Mapping[str, Tensor]


def capabilities_of(model: Generator) -> frozenset[Capability]:
    """What a model with these streams can be asked for."""
    layout = model.layout
    kinds = {camera.kind for camera in layout.cameras}
    out = {Capability.PARTIAL}
    for asked, there in (
        (Capability.ACTIONS, bool(layout.action.name)),
        (Capability.TEXT, bool(layout.text)),
        (Capability.STATE, bool(layout.states or layout.reads)),
        (Capability.UNCERTAINTY, bool(layout.reads)),
        (Capability.CONTACT, bool(layout.force)),
        (Capability.FRAMES, bool(kinds)),
        (Capability.AHEAD, bool(kinds)),
        (Capability.DEPTH, Kind.DEPTH in kinds),
        (Capability.SEGMENTATION, Kind.SEGMENTATION in kinds),
    ):
        if there:
            out.add(asked)
    return frozenset(out)


class TokenWorld:
    """Fulfils :class:`worldgate.core.worlds.WorldModel`."""

    def __init__(self, family: Generator, spec: ModelSpec) -> None:
        self.family, self.spec = family, spec
        self.capabilities = capabilities_of(family)

    def open(self, prompt: Prompt, *, samples: int = 1, seed: int) -> TokenUnrolling:
        """Start unrolling from whatever the prompt holds.

        Raises:
            CapabilityMissing: text, frames or frames ahead for a model that takes none.
            UsageError: streams or shapes that do not fit the model.
        """
        check_partial(prompt, self.spec, self.capabilities)
        return TokenUnrolling(self.family, prompt, samples, seed)

    @torch.inference_mode()
    def watch(self, prompt: Prompt) -> Frame:
        """Read states out of what is known: of each row, from it and all rows before it, (1, T, D).

        Args:
            prompt: a recording, or a part of one, of any length.

        Raises:
            CapabilityMissing: a model that reads nothing out.
            UsageError: streams or shapes that do not fit the model.
        """
        family = self.family
        if family.heads is None:
            hint = "train with --set 'inputs.read=[\"observation.force\"]'"
            raise CapabilityMissing("this model reads no states out", got=self.spec.digest[:12], hint=hint)
        check_partial(prompt, self.spec, self.capabilities)
        against, silent = family.codec.against(prompt.frames), family.said("")
        known = None if against is None else {c: held.unsqueeze(0) for c, held in against.items()}
        rows = _rows(family, prompt, known)
        actions = _driven(family, prompt, len(rows))
        reader, parts = Reader(family, 1), []
        unspoken = torch.zeros(1, dtype=torch.bool, device=silent.device)
        for t, held in enumerate(rows):
            action = None if actions is None or t == 0 else actions[t - 1]
            values, deviations = reader.known(held, _guidance(family, action, silent, unspoken))
            parts.append(_Shown({}, values, deviations))
        return _together(parts)


class TokenUnrolling:
    """One unrolling: its samples' tokens in the cache, and what their pictures are painted over."""

    @torch.inference_mode()
    def __init__(self, family: Generator, prompt: Prompt, samples: int, seed: int) -> None:
        self.family, self.samples, self.device = family, samples, device_of(family)
        config, self.text_NE = family.config, family.said(prompt.text)
        self.told_N = torch.full((1,), bool(prompt.text), device=self.device)
        self.dream = Dream(family.net, samples, window=config.window, draws=Draws(seed, self.device))
        self.against = family.codec.against(prompt.frames or prompt.ahead, place=seed)
        self.reader = Reader(family, samples) if family.heads is not None else None
        rows = _rows(family, prompt, self._known_against())
        before = max(0, len(rows) - config.window)
        self._pin(prompt, len(rows) - before)
        actions = _driven(family, prompt, len(rows))
        for t, known in enumerate(rows):
            action = None if actions is None or t == 0 else actions[t - 1]
            held = [_many(one, samples) for one in known]
            if t >= before:
                self.dream.advance(self._guidance(action if t > before else None), held)
            if self.reader is not None:
                self.reader.known(held, self._guidance(action))

    def _known_against(self) -> dict[str, Tensor] | None:
        return None if self.against is None else {c: held.unsqueeze(0) for c, held in self.against.items()}

    def _pin(self, prompt: Prompt, rows: int) -> None:
        """Put the frames that are known ahead before all others, and keep them for when they are reached."""
        self.ahead: dict[int, list[Tensor | None]] = {}
        for number, step in enumerate(prompt.ahead_steps):
            frames = {c: sent(np.asarray(f[number]), self.device)[None, None] for c, f in prompt.ahead.items()}
            tokens = self.family.codec.tokens(frames, self._known_against(), {})
            held = [_many(one, self.samples) for one in tokens]
            when = rows - 1 + step
            self.ahead[when] = held
            self.dream.pin(held, self._guidance(None), when)

    def _guidance(self, action: Tensor | None) -> Guidance:
        """For one frame: ``action`` (A,) or (B, A) in the stream's unit."""
        told = _guidance(self.family, action, self.text_NE, self.told_N)
        return told.expand(self.samples)

    @torch.inference_mode()
    def step(self, actions_BKA: FloatArray | None) -> Frame:
        """Advance K steps, or one without an action: pictures and states of every sample.

        Raises:
            UsageError: actions of another shape.
        """
        if actions_BKA is None:
            drive: list[Tensor | None] = [None]
        else:
            checked = sent(check_actions(actions_BKA, self.samples, self.family.layout.action_width), self.device)
            drive = list(checked.unbind(dim=1))
        return _together([self._one(action) for action in drive])

    def _one(self, action: Tensor | None) -> _Shown:
        codec, known = self.family.codec, self.ahead.get(self.dream.time, [])
        guidance = self._guidance(action)
        tokens = self.dream.advance(guidance, known)
        against = None
        if self.against is not None:
            against = {c: held.expand(self.samples, *held.shape) for c, held in self.against.items()}
        frames, states = codec.frames(tokens, against), codec.states(tokens)
        if self.reader is None:
            return _Shown(frames, states, {})
        values, deviations = self.reader.imagined(tokens, guidance)
        # Of several futures, a stream that was drawn is given as drawn; of one, what is to be expected.
        drawn = states if self.samples > 1 else {}
        sure = {name: held for name, held in deviations.items() if name not in drawn}
        return _Shown(frames, {**states, **values, **drawn}, sure)


def _guidance(family: Generator, action: Tensor | None, text_NE: Tensor, told_N: Tensor) -> Guidance:
    width = family.layout.action_width
    if action is None:
        actions = text_NE.new_zeros(1, 1, width)
        acted = torch.zeros(1, 1, dtype=torch.bool, device=actions.device)
    else:
        actions = family.command(action).reshape(-1, 1, width)
        acted = torch.ones(len(actions), 1, dtype=torch.bool, device=actions.device)
    return Guidance(actions_NTA=actions, acted_NT=acted, text_NE=text_NE, told_N=told_N)


def _together(parts: Sequence[_Shown]) -> Frame:
    """Steps one after the other, brought home at once."""

    def join(held: Sequence[Mapping[str, Tensor]]) -> dict[str, Array]:
        return {name: home(torch.cat([one[name] for one in held], dim=1)) for name in (held[0] if held else {})}

    def exact(held: Mapping[str, Array]) -> dict[str, Array]:
        return {name: one.astype(np.float64) for name, one in held.items()}

    return Frame(
        frames=join([part.frames for part in parts]),
        states=exact(join([part.states for part in parts])),
        uncertainty=exact(join([part.uncertainty for part in parts])),
    )


def _many(held: Tensor | None, samples: int) -> Tensor | None:
    return None if held is None else held.expand(samples, *held.shape[1:])


def _rows(family: Generator, prompt: Prompt, against: Mapping[str, Tensor] | None) -> list[list[Tensor | None]]:
    """Known tokens (1, 1, G, E) of every stream, a list a row, oldest first; None where a row lacks the stream."""
    device = device_of(family)
    frames = {camera: sent(held, device).unsqueeze(0) for camera, held in prompt.frames.items()}
    states = {n: sent(np.asarray(held, np.float32), device).unsqueeze(0) for n, held in prompt.states.items()}
    tokens = family.codec.tokens(frames, against, states)
    rows = max((held.shape[1] for held in tokens if held is not None), default=0)
    keep = rows if family.heads is not None else min(rows, family.config.window)
    return [[_row(held, t - keep) for held in tokens] for t in range(keep)]


def _row(held: Tensor | None, from_end: int) -> Tensor | None:
    if held is None or held.shape[1] < -from_end:
        return None
    first = held.shape[1] + from_end
    return held[:, first : first + 1]


def _driven(family: Generator, prompt: Prompt, rows: int) -> Tensor | None:
    """(T, A) the actions of the last rows; those before the first known one repeat it."""
    if prompt.actions is None:
        return None
    actions_TA = np.asarray(prompt.actions, np.float32)
    short = max(0, rows - len(actions_TA))
    whole = np.concatenate([actions_TA[:1].repeat(short, axis=0), actions_TA])[-rows:] if rows else actions_TA[:0]
    return sent(whole, device_of(family))

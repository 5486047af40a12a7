"""A trained token family as the other rooms see it: every prompt in, frames and states of several samples out.

Shape legend: B samples, K steps, T prompt rows, H x W pixels, D state channels, A action channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from worldgate.core.errors import CapabilityMissing
from worldgate.core.streams import FloatArray, Kind
from worldgate.core.worlds import Capability, Frame, ModelSpec, Prompt, joined
from worldgate.worlds.family import seeded
from worldgate.worlds.models._dream import Dream
from worldgate.worlds.models._reader import Reader, Reading
from worldgate.worlds.nn.streams import Guidance
from worldgate.worlds.prompts import check_actions, check_partial

if TYPE_CHECKING:
    from worldgate.worlds.models._generator import Generator


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
        against, silent = family.codec.against(prompt.frames), family.read(family.texts([""]))
        known = None if against is None else {c: held.unsqueeze(0) for c, held in against.items()}
        rows = _rows(family, prompt, known)
        actions = None if prompt.actions is None else _drive(np.asarray(prompt.actions, np.float32), len(rows))
        reader, parts = Reader(family, 1), []
        for t, held in enumerate(rows):
            action = None if actions is None or t == 0 else torch.as_tensor(actions[t - 1])
            parts.append(_read(reader.known(held, _guidance(family, action, silent, torch.zeros(1, dtype=torch.bool)))))
        return joined(parts)


class TokenUnrolling:
    """One unrolling: its samples' tokens in the cache, and what their pictures are painted over."""

    @torch.inference_mode()
    def __init__(self, family: Generator, prompt: Prompt, samples: int, seed: int) -> None:
        self.family, self.samples = family, samples
        config, self.text_NE = family.config, family.read(family.texts([prompt.text]))
        self.told_N = torch.tensor([bool(prompt.text)])
        self.dream = Dream(family.net, samples, window=config.window, rng=seeded(seed))
        self.against = family.codec.against(prompt.frames or prompt.ahead, place=seed)
        self.reader = Reader(family, samples) if family.heads is not None else None
        rows = _rows(family, prompt, self._known_against())
        before = max(0, len(rows) - config.window)
        self._pin(prompt, len(rows) - before)
        actions = None if prompt.actions is None else _drive(np.asarray(prompt.actions, np.float32), len(rows))
        for t, known in enumerate(rows):
            action = None if actions is None or t == 0 else torch.as_tensor(actions[t - 1])
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
            frames = {c: torch.tensor(np.asarray(f))[None, number : number + 1] for c, f in prompt.ahead.items()}
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
            checked = torch.tensor(check_actions(actions_BKA, self.samples, self.family.layout.action_width))
            drive = list(checked.unbind(dim=1))
        steps = [self._one(action) for action in drive]
        return joined(steps)

    def _one(self, action: Tensor | None) -> Frame:
        codec, known = self.family.codec, self.ahead.get(self.dream.time, [])
        guidance = self._guidance(action)
        tokens = self.dream.advance(guidance, known)
        against = None
        if self.against is not None:
            against = {c: held.expand(self.samples, *held.shape) for c, held in self.against.items()}
        frames = {camera: held.numpy() for camera, held in codec.frames(tokens, against).items()}
        states = {name: held.double().numpy() for name, held in codec.states(tokens).items()}
        if self.reader is None:
            return Frame(states=states, frames=frames)
        read = _read(self.reader.imagined(tokens, guidance))
        # Of several futures, a stream that was drawn is given as drawn; of one, what is to be expected.
        drawn = states if self.samples > 1 else {}
        sure = {name: held for name, held in read.uncertainty.items() if name not in drawn}
        return Frame(states={**states, **read.states, **drawn}, frames=frames, uncertainty=sure)


def _guidance(family: Generator, action: Tensor | None, text_NE: Tensor, told_N: Tensor) -> Guidance:
    width = family.layout.action_width
    if action is None:
        actions, acted = torch.zeros(1, 1, width), torch.zeros(1, 1, dtype=torch.bool)
    else:
        actions = family.command(action).reshape(-1, 1, width)
        acted = torch.ones(len(actions), 1, dtype=torch.bool)
    return Guidance(actions_NTA=actions, acted_NT=acted, text_NE=text_NE, told_N=told_N)


def _read(reading: Reading) -> Frame:
    values, deviations = ({n: held.double().numpy() for n, held in part.items()} for part in reading)
    return Frame(states=values, uncertainty=deviations)


def _many(held: Tensor | None, samples: int) -> Tensor | None:
    return None if held is None else held.expand(samples, *held.shape[1:])


def _rows(family: Generator, prompt: Prompt, against: Mapping[str, Tensor] | None) -> list[list[Tensor | None]]:
    """Known tokens (1, 1, G, E) of every stream, a list a row, oldest first; None where a row lacks the stream."""
    frames = {camera: torch.tensor(np.asarray(held)).unsqueeze(0) for camera, held in prompt.frames.items()}
    states = {n: torch.tensor(np.asarray(held, np.float32)).unsqueeze(0) for n, held in prompt.states.items()}
    tokens = family.codec.tokens(frames, against, states)
    rows = max((held.shape[1] for held in tokens if held is not None), default=0)
    keep = rows if family.heads is not None else min(rows, family.config.window)
    return [[_row(held, t - keep) for held in tokens] for t in range(keep)]


def _row(held: Tensor | None, from_end: int) -> Tensor | None:
    if held is None or held.shape[1] < -from_end:
        return None
    first = held.shape[1] + from_end
    return held[:, first : first + 1]


def _drive(actions_TA: FloatArray, rows: int) -> FloatArray:
    """The actions of the last rows; those before the first known one repeat it."""
    short = max(0, rows - len(actions_TA))
    return np.concatenate([actions_TA[:1].repeat(short, axis=0), actions_TA])[-rows:] if rows else actions_TA[:0]

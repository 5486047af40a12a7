"""Prompts as families check them: the streams a model knows, of the right width and length, and nothing it cannot take.

Shape legend: B samples, K steps, T prompt rows, C context rows, D state channels, A action channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from worldgate.core.errors import CapabilityMissing, UsageError
from worldgate.core.streams import Array, FloatArray
from worldgate.core.worlds import Capability, ModelSpec, Prompt, Signal
from worldgate.worlds.tracks import Layout


def check_prompt(prompt: Prompt, spec: ModelSpec, capabilities: frozenset[Capability]) -> None:
    """Refuse a prompt that asks for what a model lacks, or that does not fit its streams.

    Raises:
        CapabilityMissing: text or frames for a model that takes none.
        UsageError: a missing or unknown stream, a wrong width, too few rows, no past actions.
    """
    if prompt.text and Capability.TEXT not in capabilities:
        raise CapabilityMissing(f"a {spec.family} model takes no text", got=prompt.text[:40], hint="drop the text")
    if prompt.frames and not spec.cameras:
        got = ", ".join(sorted(prompt.frames))
        raise CapabilityMissing(f"a {spec.family} model takes no frames", got=got, hint="the family conv takes them")
    if prompt.ahead_steps and Capability.AHEAD not in capabilities:
        got = f"steps {', '.join(map(str, prompt.ahead_steps))}"
        raise CapabilityMissing(f"a {spec.family} model takes no frames ahead", got=got, hint="the family flow does")
    _names("state stream", set(prompt.states), {s.name for s in spec.states})
    _names("camera", set(prompt.frames), {s.name for s in spec.cameras})
    for signal in spec.states:
        _rows(signal.name, prompt.states[signal.name].shape, signal.shape, spec.context)
    for signal in spec.cameras:
        _rows(signal.name, prompt.frames[signal.name].shape, signal.shape, spec.context)
    if spec.action is None:
        if prompt.actions is not None:
            raise CapabilityMissing(f"this {spec.family} model takes no actions", got="actions", hint="leave them out")
        return
    if prompt.actions is None:
        raise UsageError("this model needs the actions of its context", hint=f"{spec.context} rows of Prompt.actions")
    _rows(spec.action.name, prompt.actions.shape, spec.action.shape, spec.context)


def check_partial(prompt: Prompt, spec: ModelSpec, capabilities: frozenset[Capability]) -> None:
    """Refuse what a model that takes partial prompts cannot take: unknown streams, other shapes, odd frames ahead.

    Raises:
        CapabilityMissing: text, frames or frames ahead for a model that takes none.
        UsageError: an unknown stream, a wrong width, values that are not finite, or frames ahead without their steps.
    """
    for asked, what, given, have in (
        (Capability.TEXT, "text", prompt.text[:40], "a model trained with --set 'inputs.text=[\"task\"]'"),
        (Capability.FRAMES, "frames", ", ".join(sorted(prompt.frames)), "a model with cameras"),
        (Capability.AHEAD, "frames ahead", ", ".join(sorted(prompt.ahead)), "a model with cameras"),
        (
            Capability.ACTIONS,
            "actions",
            "actions" if prompt.actions is not None else "",
            "a model with an action stream",
        ),
    ):
        if given and asked not in capabilities:
            raise CapabilityMissing(f"this {spec.family} model takes no {what}", got=given, hint=have)
    _known("state stream", prompt.states, spec.states)
    _known("camera", prompt.frames, spec.cameras)
    _known("camera", prompt.ahead, spec.cameras)
    for name, held in prompt.states.items():
        _finite(np.asarray(held, np.float32), name)
    if prompt.actions is not None:
        assert spec.action is not None
        _known("action", {spec.action.name: prompt.actions}, (spec.action,))
        _finite(np.asarray(prompt.actions, np.float32), spec.action.name)
    counts = {len(held) for held in prompt.ahead.values()}
    if counts - {len(prompt.ahead_steps)} or any(step < 1 for step in prompt.ahead_steps):
        got = f"{sorted(counts)} frames at steps {prompt.ahead_steps}"
        raise UsageError("every frame ahead needs its step, from 1", got=got, hint="Prompt.ahead_steps=(8,)")


def _known(what: str, given: Mapping[str, Array], signals: Sequence[Signal]) -> None:
    wanted = {signal.name: signal.shape for signal in signals}
    for name, held in given.items():
        if name not in wanted:
            hint = f"the model knows {', '.join(sorted(wanted)) or 'none'}"
            raise UsageError(f"a {what} of the prompt is unknown", got=name, hint=hint)
        _rows(name, np.shape(held), wanted[name], 1)


def _names(what: str, got: set[str], wanted: set[str]) -> None:
    if got != wanted:
        odd = sorted(got ^ wanted)[0]
        state = "unknown" if odd in got else "missing"
        raise UsageError(
            f"a {what} of the prompt is {state}",
            got=odd,
            hint=f"the model knows {', '.join(sorted(wanted))}; prompts of some streams alone: flow and masked",
        )


def _rows(name: str, got: tuple[int, ...], row: tuple[int, ...], context: int) -> None:
    if got[1:] != row or got[0] < context:
        raise UsageError("a prompt stream of another shape", got=f"{got}", where=name, hint=f"({context}+, {row})")


def joined_states(prompt: Prompt, layout: Layout, context: int) -> FloatArray:
    """(C, D) float32 states of the last rows, all streams joined."""
    parts = [np.asarray(prompt.states[s.name], np.float32)[-context:] for s in layout.states]
    return _finite(np.concatenate(parts, axis=1), "states")


def measured_states(prompt: Prompt, layout: Layout, context: int) -> FloatArray:
    """The same with NaN where nothing was measured, at least one number a channel.

    Raises:
        UsageError: infinity, or a channel without any number.
    """
    parts = [np.asarray(prompt.states[s.name], np.float32)[-context:] for s in layout.states]
    states = np.concatenate(parts, axis=1)
    if np.isinf(states).any() or np.isnan(states).all(axis=0).any():
        got = "infinity" if np.isinf(states).any() else "a channel that is NaN in every row"
        raise UsageError("values that are not finite in a prompt", got=got, where="states")
    return states


def past_actions(prompt: Prompt, context: int) -> FloatArray:
    """(C - 1, A) float32 actions of the context rows before now; A is 0 for a model without actions."""
    if prompt.actions is None:
        return np.zeros((context - 1, 0), np.float32)
    return _finite(np.asarray(prompt.actions, np.float32)[-context:][: context - 1], "actions")


def check_actions(actions_BKA: FloatArray | None, samples: int, width: int) -> FloatArray:
    """(B, K, A) float32 actions of a step.

    Raises:
        CapabilityMissing: no actions for a model that needs them.
        UsageError: another shape, or values that are not finite.
    """
    if actions_BKA is None:
        raise CapabilityMissing("this model rolls forward under actions only", got="no action", hint="give (B, K, A)")
    actions = np.asarray(actions_BKA, np.float32)
    if actions.ndim != 3 or actions.shape[0] != samples or actions.shape[2] != width or actions.shape[1] < 1:
        raise UsageError("actions of another shape", got=f"{actions.shape}", hint=f"({samples}, K, {width})")
    return _finite(actions, "actions")


def _finite(values: FloatArray, where: str) -> FloatArray:
    if not np.isfinite(values).all():
        raise UsageError("values that are not finite in a prompt", got="NaN or infinity", where=where)
    return values

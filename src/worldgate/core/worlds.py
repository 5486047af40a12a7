"""World models, policies and environments as every room sees them: numpy in, numpy out, no torch.

Shape legend: B samples of one prompt, K steps, T context rows, H x W pixels, A action channels, D state channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, TypeAlias

import numpy as np

from worldgate.core.digest import Json, canonical, digest_array, sha256, to_json
from worldgate.core.errors import CapabilityMissing
from worldgate.core.streams import Array, ByteArray, FloatArray, Kind, Origin

CONTACT = "contact"
"""The read-out that is a probability, (B, K, 1): that the tool touches."""


class Capability(StrEnum):
    """What a world model can be asked for."""

    ACTIONS = "actions"
    TEXT = "text"
    FRAMES = "frames"
    """It draws pictures; what it sees in prompts stands in :attr:`ModelSpec.cameras`."""
    STATE = "state"
    CONTACT = "contact"
    REWARD = "reward"
    UNCERTAINTY = "uncertainty"
    DEPTH = "depth"
    SEGMENTATION = "segmentation"
    PREFIX = "prefix"
    PARTIAL = "partial"
    """Prompts of any known streams and rows, none at all included, and steps without actions."""
    AHEAD = "ahead"
    """Frames known ahead of time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """One stream as a model or policy expects it: name, width, unit. A mismatch refuses, it never converts silently."""

    name: str
    unit: str = ""
    names: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    frame: str = ""
    """Coordinate frame, where one applies."""
    kind: Kind = Kind.VECTOR


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """What identifies a world model and what it must be fed."""

    family: str
    digest: str
    """Digest of the checkpoint: weights, normaliser, configuration."""
    normaliser: str
    """Digest of the resolved normaliser statistics."""
    rate_hz: float
    context: int
    """Context rows T that a prompt must hold."""
    states: tuple[Signal, ...] = ()
    cameras: tuple[Signal, ...] = ()
    action: Signal | None = None
    dataset: str = ""
    """Digest of the dataset it was trained on."""
    text: tuple[str, ...] = ()
    """Facts of an episode that made the texts it was trained on, such as ``task``; empty: none."""
    reads: tuple[Signal, ...] = ()
    """Streams that it tells besides, and that no prompt holds: an object's pose, a force, whether there is contact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What a generation starts from: the last T rows that are known, and frames known ahead.

    Every model takes the rows its spec asks for. One with the capability ``partial`` takes any: streams may be left
    out or hold fewer rows, down to none at all.
    """

    states: Mapping[str, FloatArray] = field(default_factory=dict)
    """stream -> (T, D), oldest first; the last row is now."""
    frames: Mapping[str, ByteArray] = field(default_factory=dict)
    """camera -> (T, H, W, 3) uint8 RGB."""
    actions: FloatArray | None = None
    """(T, A); row t is the action in force from row t to t+1. The last row is overridden by the first step's action."""
    text: str = ""
    ahead: Mapping[str, ByteArray] = field(default_factory=dict)
    """camera -> (M, H, W, 3) frames known ahead, such as the last one of a move, for models that take them."""
    ahead_steps: tuple[int, ...] = ()
    """(M,) when they are: steps after now, the last known row; 1 is the first imagined one."""
    source: str = ""
    """Episode id and row it was cut from, or empty."""

    def digest(self) -> str:
        """Identity of the prompt's content."""
        parts = {f"state:{k}": digest_array(v) for k, v in self.states.items()}
        parts |= {f"frames:{k}": digest_array(v) for k, v in self.frames.items()}
        if self.actions is not None:
            parts["actions"] = digest_array(self.actions)
        parts |= {f"ahead:{k}": digest_array(v) for k, v in self.ahead.items()}
        tree: dict[str, Json] = {"parts": to_json(parts), "text": self.text, "source": self.source}
        if self.ahead_steps:
            tree["ahead_steps"] = to_json(self.ahead_steps)
        return sha256(canonical(tree))


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What K steps of an unrolling gave, for B samples. Always imagined."""

    states: Mapping[str, FloatArray] = field(default_factory=dict)
    """stream -> (B, K, D), what is read out among them; :data:`CONTACT` is a probability."""
    frames: Mapping[str, ByteArray] = field(default_factory=dict)
    """camera -> (B, K, H, W, 3) uint8 RGB; a depth stream (B, K, H, W) metres, a segmentation's class ids."""
    uncertainty: Mapping[str, FloatArray] = field(default_factory=dict)
    """stream -> (B, K, D) standard deviation in the stream's unit, where the model has one."""


class Unrolling(Protocol):
    """A world model at work: holds latents and caches, streams any horizon."""

    def step(self, actions_BKA: FloatArray | None) -> Frame:
        """Advance K steps under K actions; ``None`` is one step without an action, where the model allows it."""
        ...


class WorldModel(Protocol):
    """Given a prompt and, where it takes them, actions, rolls plausible futures forward."""

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def capabilities(self) -> frozenset[Capability]: ...

    def open(self, prompt: Prompt, *, samples: int = 1, seed: int) -> Unrolling:
        """Start unrolling from a prompt.

        Raises:
            CapabilityMissing: the prompt asks for what this model lacks.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """An imagined future with what made it."""

    model: str
    prompt: str
    seed: int
    rate_hz: float
    actions: FloatArray
    """(K, A) the actions it was rolled under; (K, 0) without any."""
    frame: Frame
    source: str = ""
    origin: Origin = Origin.IMAGINED

    @property
    def horizon(self) -> int:
        """Steps imagined."""
        return len(self.actions)


def rollout(
    model: WorldModel,
    prompt: Prompt,
    actions_KA: FloatArray | None,
    *,
    samples: int = 1,
    seed: int,
    horizon: int = 0,
) -> Rollout:
    """Collect an unrolling over a whole action sequence: (K, A), the same for every sample.

    ``None`` rolls ``horizon`` steps without actions, where the model allows it.
    """
    opened = model.open(prompt, samples=samples, seed=seed)
    if actions_KA is None:
        frame = joined([opened.step(None) for _ in range(horizon)])
        actions_KA = np.zeros((horizon, 0), np.float32)
    else:
        frame = opened.step(np.broadcast_to(actions_KA, (samples, *actions_KA.shape)))
    return Rollout(
        model=model.spec.digest,
        prompt=prompt.digest(),
        seed=seed,
        rate_hz=model.spec.rate_hz,
        actions=np.asarray(actions_KA),
        frame=frame,
        source=prompt.source,
    )


def joined(parts: Sequence[Frame]) -> Frame:
    """Frames one after the other as one."""

    def join(held: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
        return {name: np.concatenate([one[name] for one in held], axis=1) for name in (held[0] if held else {})}

    return Frame(
        states=join([part.states for part in parts]),
        frames=join([part.frames for part in parts]),
        uncertainty=join([part.uncertainty for part in parts]),
    )


def require(model: WorldModel, capability: Capability, *, have: str) -> None:
    """Fail closed when a model lacks a capability.

    Args:
        model: the model asked.
        capability: what is needed.
        have: the families that have it, for the hint.

    Raises:
        CapabilityMissing: the model lacks it.
    """
    if capability not in model.capabilities:
        raise CapabilityMissing(
            f"a {model.spec.family} model cannot do this", got=capability.value, hint=f"one of the families {have}"
        )


Observation: TypeAlias = Mapping[str, Array]
"""stream -> one row: (D,) numbers or (H, W, 3) uint8."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """What an environment answers to one action."""

    observation: Observation
    done: bool
    facts: Mapping[str, float] = field(default_factory=dict)
    """Measured by the site, not by the policy: ``success`` 0/1, ``clearance_m``, ``force_n``."""


class Environment(Protocol):
    """Where a policy acts: the simulator, a world model or a robot; a policy cannot tell which."""

    origin: Origin
    rate_hz: float

    def reset(self, *, seed: int) -> Observation: ...

    def step(self, action: FloatArray) -> Transition: ...


class Policy(Protocol):
    """Maps observations to actions at a fixed rate."""

    @property
    def digest(self) -> str:
        """Digest of the release, or of the configuration for a scripted one."""
        ...

    def reset(self, *, seed: int) -> None: ...

    def act(self, observation: Observation) -> FloatArray:
        """(A,) the action for this row."""
        ...

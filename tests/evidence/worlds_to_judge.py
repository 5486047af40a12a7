"""A small world whose truth is known, and models of it that are good, lazy, boastful or broken.

A tool goes where its action says; an object is carried along while the tool is near it; a force tells contact; two
cameras draw both, and one of them has class ids. Everything is cheap, so that whole evaluations run in a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from worldgate.core.digest import sha256
from worldgate.core.episodes import Episode, Rows
from worldgate.core.streams import Array, FloatArray, Kind, Origin, StreamInfo
from worldgate.core.worlds import Capability, Frame, ModelSpec, Prompt, Signal

RATE_HZ, STEP_NS = 10.0, 100_000_000
STATE, FORCE, ACTION, POSE = "observation.state", "observation.force", "action", "observation.object"
FRONT, TOP, DEPTH = "observation.images.front", "observation.images.top", "observation.depth.front"
CLASSES = "observation.segmentation.front"
NAMES = ("tool.x", "tool.y", "tool.z", "object.x", "object.y", "goal.x", "goal.y", "person.x", "person.y")
SIDE = 32
REACH = 0.06
PARKED = (0.95, 0.0)


def rows(name: str, kind: Kind, values: Array, unit: str = "", names: tuple[str, ...] = ()) -> Rows:
    index = np.arange(len(values), dtype=np.int64)
    zeros = np.zeros(len(values), np.int64)
    info = StreamInfo(name=name, kind=kind, count=len(values), shape=values.shape[1:], unit=unit, names=names)
    return Rows(
        info=info,
        values=values,
        index=index,
        source_ns=index * STEP_NS,
        skew_ns=zeros,
        staleness_ns=zeros,
        gap=np.zeros(len(values), np.bool_),
    )


def move(state_D: FloatArray, action_A: FloatArray, gain: float = 1.0) -> FloatArray:
    """One step: the tool moves, the object goes with it while it is near."""
    after = state_D.copy()
    after[:2] = np.clip(state_D[:2] + gain * action_A, -0.3, 0.3)
    if np.linalg.norm(state_D[:2] - state_D[3:5]) < REACH:
        after[3:5] = state_D[3:5] + (after[:2] - state_D[:2])
    return after


def turned(states_XD: FloatArray, sign: FloatArray | float = 1.0) -> FloatArray:
    """(X, 7) pose of the object, which turns about z as it goes along x, 0.1 m to 90 degrees."""
    half = states_XD[..., 3] / 0.1 * np.pi / 4
    none = 0 * half
    quaternion = np.stack([none, none, np.sin(half), np.cos(half)], axis=-1)
    return np.concatenate([states_XD[..., 3:5], none[..., None], quaternion * np.asarray(sign)], axis=-1)


def draw(states_TD: FloatArray, *, top: bool = False) -> Array:
    """(T, 32, 32, 3): a red object and a blue tool on grey; the top camera is turned by a right angle."""
    out = np.full((len(states_TD), SIDE, SIDE, 3), 120, np.uint8)
    for t, state in enumerate(states_TD):
        for place, colour, half in ((state[3:5], (220, 30, 20), 2), (state[:2], (30, 40, 220), 1)):
            i, j = (round(SIDE / 2 + 45 * float(v)) for v in place)
            out[t, max(i - half, 0) : i + half + 1, max(j - half, 0) : j + half + 1] = colour
    return np.rot90(out, axes=(1, 2)).copy() if top else out


def measure_depth(states_TD: FloatArray) -> Array:
    """(T, 32, 32) m of the front camera: the table at 2 m, the object at 1.5 m."""
    red = (draw(states_TD) == (220, 30, 20)).all(axis=3)
    return np.where(red, 1.5, 2.0).astype(np.float32)


def classes(states_TD: FloatArray) -> Array:
    """(T, 32, 32) class ids of the front camera: 4 the object, 1 the rest."""
    return np.where((draw(states_TD) == (220, 30, 20)).all(axis=3), 4, 1).astype(np.uint8)


def episode(
    seed: int,
    *,
    length: int = 60,
    origin: Origin = Origin.REAL,
    hidden: bool = False,
    facts: Mapping[str, Any] | None = None,
) -> Episode:
    rng = np.random.default_rng(seed)
    states = np.zeros((length, len(NAMES)))
    states[0] = [*rng.uniform(-0.2, 0.2, 2), 0.01, *rng.uniform(-0.15, 0.15, 2), 0.2, 0.2, *PARKED]
    actions = np.repeat(rng.normal(0, 0.02, (length // 5 + 1, 2)), 5, axis=0)[:length]
    comes = int(rng.integers(length // 3, length)) if seed % 2 else length
    for t in range(1, length):
        if rng.random() < 0.7:  # the tool seeks the object, so that there are contacts
            actions[t - 1] += 0.06 * np.clip(states[t - 1, 3:5] - states[t - 1, :2], -0.3, 0.3)
        states[t] = move(states[t - 1], actions[t - 1])
        states[t, 7] = PARKED[0] - 0.1 * max(0, min(t - comes, 6))
    force = np.where(np.linalg.norm(states[:, :2] - states[:, 3:5], axis=1) < REACH, 2.0, 0.0)
    pictures = draw(states)
    ids = classes(states)
    if hidden:
        ids[length // 2 :] = 1
        pictures[length // 2 :] = 120
    streams = {
        STATE: rows(STATE, Kind.VECTOR, states, "m", NAMES),
        FORCE: rows(FORCE, Kind.VECTOR, np.stack([force, 0 * force, 0 * force], axis=1), "N", ("x", "y", "z")),
        POSE: rows(POSE, Kind.POSE, turned(states, rng.choice([-1.0, 1.0], (length, 1))), "m,m,m,1,1,1,1"),
        ACTION: rows(ACTION, Kind.ACTION, actions, "m", ("x", "y")),
        FRONT: rows(FRONT, Kind.IMAGE, pictures),
        DEPTH: rows(DEPTH, Kind.DEPTH, measure_depth(states), "m"),
        TOP: rows(TOP, Kind.IMAGE, draw(states, top=True)),
        CLASSES: rows(CLASSES, Kind.SEGMENTATION, ids.repeat(2, axis=1).repeat(2, axis=2)),
    }
    name = f"episode_{seed:06d}"
    return Episode(
        id=sha256(name.encode()),
        log=sha256(f"log{name}".encode()),
        name=name,
        alignment=sha256(b"grid"),
        origin=origin,
        rate_hz=RATE_HZ,
        times_ns=np.arange(length, dtype=np.int64) * STEP_NS,
        streams=streams,
        facts={"site": "bench", **(facts or {})},
    )


def read_frames(held: Episode, camera: str, size: tuple[int, int]) -> Array:
    values = held.array(camera)
    assert values.shape[1:3] == size
    return values


def _camera(name: str) -> Signal:
    if name == DEPTH:
        return Signal(name=name, shape=(SIDE, SIDE), unit="m", kind=Kind.DEPTH)
    if name == CLASSES:
        return Signal(name=name, shape=(2 * SIDE, 2 * SIDE), kind=Kind.SEGMENTATION)
    return Signal(name=name, shape=(SIDE, SIDE, 3), kind=Kind.IMAGE)


def spec(
    *, states: bool = True, force: bool = False, cameras: tuple[str, ...] = (), pose: bool = False, **changes: Any
) -> ModelSpec:
    known = [Signal(name=STATE, unit="m", names=NAMES, shape=(len(NAMES),))] if states else []
    known += [Signal(name=FORCE, unit="N", names=("x", "y", "z"), shape=(3,))] if force else []
    fields: dict[str, Any] = {
        "family": "fake",
        "digest": sha256(b"model"),
        "normaliser": sha256(b"normaliser"),
        "rate_hz": RATE_HZ,
        "context": 2,
        "states": tuple(known),
        "cameras": tuple(_camera(c) for c in cameras),
        "action": Signal(name=ACTION, unit="m", shape=(2,)),
        "reads": (Signal(name=POSE, unit="m,m,m,1,1,1,1", shape=(7,), kind=Kind.POSE),) if pose else (),
    }
    return ModelSpec(**{**fields, **changes})


@dataclass
class Model:
    """Knows the world; its knobs make it worse in one way each."""

    spec: ModelSpec = field(default_factory=spec)
    gain: float = 1.0
    """Of its actions; 0 ignores them."""
    noise: float = 0.0
    """Of each step, drawn by future."""
    claims: float | None = None
    """The deviation that it claims; None: none."""
    copies: bool = False
    """Repeats the last frame and row."""
    loses: bool = False
    """Draws no object."""
    depth_shift: float = 0.0
    """How far the object stands off in depth pictures, m."""
    broken: bool = False
    forgets_seed: bool = False
    largest: int = 0
    """Most steps that were asked for at once."""
    calls: int = 0

    @property
    def capabilities(self) -> frozenset[Capability]:
        own = {Capability.ACTIONS, Capability.STATE, Capability.FRAMES}
        return frozenset(own | ({Capability.UNCERTAINTY} if self.claims is not None else set()))

    def open(self, prompt: Prompt, *, samples: int = 1, seed: int) -> _Unrolling:
        self.calls += 1
        rng = np.random.default_rng(seed + (self.calls if self.forgets_seed else 0))
        return _Unrolling(self, prompt, samples, rng)


class _Unrolling:
    def __init__(self, model: Model, prompt: Prompt, samples: int, rng: np.random.Generator) -> None:
        self.model, self.prompt, self.rng, self.done = model, prompt, rng, 0
        last = np.zeros(len(NAMES)) if STATE not in prompt.states else prompt.states[STATE][-1].astype(np.float64)
        self.states_BD = np.repeat(last[None], samples, axis=0)

    def step(self, actions_BKA: FloatArray | None) -> Frame:
        assert actions_BKA is not None
        model, (samples, steps, _) = self.model, actions_BKA.shape
        model.largest = max(model.largest, steps)
        out = np.zeros((samples, steps, len(NAMES)))
        for k in range(steps):
            for b in range(samples):
                if not model.copies:
                    self.states_BD[b] = move(self.states_BD[b], actions_BKA[b, k].astype(np.float64), model.gain)
                    self.states_BD[b, :2] += self.rng.normal(0, 1, 2) * model.noise
                out[b, k] = self.states_BD[b]
        if model.broken:
            out *= np.nan
        states = {s.name: out if s.name == STATE else _force(out) for s in model.spec.states}
        states |= {s.name: turned(out) for s in model.spec.reads if s.name == POSE}
        frames = {c.name: self._frames(c.name, out) for c in model.spec.cameras}
        self.done += steps
        spread = {} if model.claims is None else {s: np.full(v.shape, model.claims) for s, v in states.items()}
        return Frame(states=states, frames=frames, uncertainty=spread)

    def _frames(self, camera: str, states_BKD: FloatArray) -> Array:
        if self.model.copies:
            last = self.prompt.frames[camera][-1]
            return np.broadcast_to(last, (*states_BKD.shape[:2], *last.shape)).copy()
        hidden = states_BKD.copy()
        if self.model.loses:
            hidden[..., 3:5] = 9.0
        if camera == DEPTH:
            hidden[..., 3:5] += self.model.depth_shift
            return np.stack([measure_depth(s) for s in hidden])
        if camera == CLASSES:
            return np.stack([classes(s).repeat(2, axis=1).repeat(2, axis=2) for s in hidden])
        return np.stack([draw(np.nan_to_num(s), top=camera == TOP) for s in hidden])


def _force(states_BKD: FloatArray) -> FloatArray:
    near = np.linalg.norm(states_BKD[..., :2] - states_BKD[..., 3:5], axis=-1) < REACH
    out = np.zeros((*states_BKD.shape[:2], 3))
    out[..., 0] = np.where(near, 2.0, 0.0)
    return out


def with_facts(held: Episode, **facts: Any) -> Episode:
    return replace(held, facts={**held.facts, **facts})


def tiny_weights(seed: int = 0) -> dict[str, FloatArray]:
    """Random weights of LPIPS's names and strides with few channels."""
    rng = np.random.default_rng(seed)
    sizes = ((0, 6, 3, 11), (3, 7, 6, 5), (6, 8, 7, 3), (8, 5, 8, 3), (10, 4, 5, 3))
    out = {}
    for place, (index, width, before, kernel) in enumerate(sizes):
        out[f"features.{index}.weight"] = rng.normal(0, 0.1, (width, before, kernel, kernel)).astype(np.float32)
        out[f"features.{index}.bias"] = rng.normal(0, 0.1, width).astype(np.float32)
        out[f"lin{place}.model.1.weight"] = rng.random((1, width, 1, 1)).astype(np.float32)
    return out

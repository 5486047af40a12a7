"""Replay of an incident: what happened, beside what each release would have done in a world model. Closed loop.

From one row of the frozen window the models imagine on, each under its own policy: the policy acts on what is imagined,
never on what was recorded. Several models may be unrolled together under the same actions, one for states and one for
pictures. What the release on the arm does in imagination, against what really happened, shows how far the replay can be
trusted; and beyond the valid horizon H(ε) of its admission a frame is not evidence.

Exogenous channels (a person's hand) may be held to what was recorded: whom the arm nearly touched did not move because
of the other release. They replace what the model imagined, for the policies and in the result alike.

Shape legend: T recorded rows, K steps after ``start``, D state channels, A action channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from worldgate.core.digest import digest_array, short
from worldgate.core.episodes import Episode
from worldgate.core.errors import DataRefused, NotFound, UsageError
from worldgate.core.streams import Array, ByteArray, FloatArray, Origin
from worldgate.core.worlds import Capability, Observation, Policy, Prompt, Signal, WorldModel, require
from worldgate.data import clips
from worldgate.data.alignment import AlignmentSpec
from worldgate.fleet import incidents
from worldgate.record.events import Event, Ref
from worldgate.record.workspace import Workspace

REPLAYED = "incident.replayed"
ACTION = "action"
_HAVE = "state, conv, flow"

Measure = Callable[[Observation], Mapping[str, float]]
"""What the site measures on one row, for example the clearance to a person, in SI units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayConfig:
    """Where a replay starts and how far it goes."""

    start: int
    """Row of the episode from which is imagined: the last one that is given."""
    steps: int
    """Steps K."""
    seed: int = 0
    """Of the unrollings and the policies."""
    exogenous: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Stream -> channel names held to what was recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One course of events after the start: the recorded one or an imagined one."""

    name: str
    origin: Origin
    release: str
    """Digest of the release that acted; empty where that is not known."""
    states: Mapping[str, FloatArray]
    """stream -> (K, D)."""
    frames: Mapping[str, ByteArray]
    """camera -> (K, H, W, 3)."""
    actions: FloatArray
    """(K, A)."""
    facts: Mapping[str, FloatArray] = field(default_factory=dict)
    """name -> (K,), as measured on the states."""

    def __len__(self) -> int:
        return len(self.actions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What happened and what would have; compared row by row."""

    config: ReplayConfig
    rate_hz: float
    episode: str
    models: tuple[str, ...]
    recorded: Branch
    """Shorter than K where the recording ends before."""
    imagined: tuple[Branch, ...]
    horizons: Mapping[str, int]
    """stream or camera -> steps up to which it was admitted as evidence; 0 where it was not."""

    def branch(self, name: str) -> Branch:
        """An imagined branch.

        Raises:
            NotFound: no such branch.
        """
        for branch in self.imagined:
            if branch.name == name:
                return branch
        raise NotFound("no such branch", got=name, hint=", ".join(b.name for b in self.imagined))

    def valid(self, *streams: str) -> int:
        """Steps up to which all of these streams are evidence."""
        return min((self.horizons.get(stream, 0) for stream in streams), default=0)

    def error(self, name: str, stream: str) -> FloatArray:
        """(K',) distance of an imagined state from the recorded one, in the stream's units, over the rows of both."""
        imagined, recorded = self.branch(name).states[stream], self.recorded.states[stream]
        length = min(len(imagined), len(recorded))
        return np.asarray(np.linalg.norm(imagined[:length] - recorded[:length], axis=1))

    def difference(self, a: str, b: str, camera: str) -> ByteArray:
        """(K, H, W) absolute difference of two imagined pictures, the largest over the colours."""
        left, right = self.branch(a).frames[camera], self.branch(b).frames[camera]
        return np.asarray(np.abs(left.astype(np.int16) - right.astype(np.int16)).max(axis=-1), dtype=np.uint8)

    def summary(self) -> dict[str, Any]:
        """Plain JSON: what was unrolled, digests of what came out, and least and largest of each fact within H."""
        valid = self.valid(*self.recorded.states)
        return {
            "episode": self.episode,
            "start": self.config.start,
            "steps": self.config.steps,
            "seed": self.config.seed,
            "exogenous": self.config.exogenous,
            "models": self.models,
            "horizons": self.horizons,
            "branches": [_summary(branch, valid) for branch in (self.recorded, *self.imagined)],
        }


def _summary(branch: Branch, valid: int) -> dict[str, Any]:
    arrays = {**branch.states, **branch.frames, ACTION: branch.actions}
    inside = {name: values[:valid] for name, values in branch.facts.items() if len(values[:valid])}
    return {
        "name": branch.name,
        "origin": branch.origin,
        "release": branch.release,
        "arrays": {name: digest_array(values) for name, values in arrays.items()},
        "facts_within_horizon": {n: {"min": float(v.min()), "max": float(v.max())} for n, v in inside.items()},
    }


def replay(
    ws: Workspace,
    incident: Ref,
    spec: AlignmentSpec,
    models: Sequence[WorldModel],
    policies: Mapping[str, Policy],
    config: ReplayConfig,
    *,
    horizons: Mapping[str, int],
    measure: Measure | None = None,
    log: str = "",
) -> Replay:
    """Replay a frozen incident and record ``incident.replayed``.

    Args:
        ws: the workspace.
        incident: an incident of this ledger.
        spec: how to align its window; the models' rate.
        models: unrolled together; each stream comes from the first model that has it.
        policies: name -> policy; the release that was on the arm first, then candidates.
        config: where it starts and how far it goes.
        horizons: stream or camera -> admitted steps; see :func:`admitted_steps`.
        measure: what the site measures on a row.
        log: digest of the log to replay, where several touch the window.

    Raises:
        NotFound: nothing was recorded in the window.
        DataRefused: models and recording differ in rate, unit, names or shape.
        UsageError: a start without enough context, or no steps.
    """
    frozen = incidents.load(ws, incident.digest)
    episode = incidents.episode(ws, frozen, spec, log=log)
    happened = frozen.release if frozen.known["headline"]["certainty"] == "CERTAIN" else ""
    made = replay_episode(episode, models, policies, config, horizons=horizons, measure=measure, release=happened)
    _record(ws, incident, made)
    return made


def _record(ws: Workspace, incident: Ref, made: Replay) -> Event:
    body = {"incident": incident.digest, **made.summary()}
    worlds = [Ref("world_model", digest) for digest in made.models]
    releases = [Ref("release", branch.release, branch.name) for branch in made.imagined]
    out = Ref("report", ws.put_json(body), f"replay-{short(incident.digest)}")
    return ws.record(REPLAYED, body=body, inputs=(incident, *worlds, *releases), outputs=(out,))


def replay_episode(
    episode: Episode,
    models: Sequence[WorldModel],
    policies: Mapping[str, Policy],
    config: ReplayConfig,
    *,
    horizons: Mapping[str, int],
    measure: Measure | None = None,
    release: str = "",
) -> Replay:
    """Replay from a row of an episode; see :func:`replay`. ``release`` is what acted when it was recorded."""
    _check(episode, models, config)
    world = _World(episode, models, config)
    recorded = world.recorded(measure, release)
    imagined = tuple(world.unroll(name, policy, recorded, measure) for name, policy in policies.items())
    streams = (*recorded.states, *recorded.frames)
    return Replay(
        config=config,
        rate_hz=episode.rate_hz,
        episode=episode.id,
        models=tuple(model.spec.digest for model in models),
        recorded=recorded,
        imagined=imagined,
        horizons={stream: int(horizons.get(stream, 0)) for stream in streams},
    )


def admitted_steps(admission: Mapping[str, Any]) -> dict[str, int]:
    """Steps for each stream or camera, from an admission decision's payload: the least over the signals of a stream.

    A stream that no signal speaks of is missing, and so not evidence.
    """
    found: dict[str, int] = {}
    for entry in admission["admitted"]:
        stream = str(entry["signal"]).split("[")[0].split("/")[0]
        found[stream] = min(found.get(stream, int(entry["steps"])), int(entry["steps"]))
    return found


def _check(episode: Episode, models: Sequence[WorldModel], config: ReplayConfig) -> None:
    if not models or config.steps < 1:
        raise UsageError("nothing to imagine", got=f"{len(models)} models, {config.steps} steps", where="replay")
    for model in models:
        require(model, Capability.ACTIONS, have=_HAVE)
        spec = model.spec
        if abs(spec.rate_hz - episode.rate_hz) > 1e-6 * episode.rate_hz:
            raise DataRefused("the model has another rate", got=f"{spec.rate_hz} Hz", where=episode.name)
        if not spec.context - 1 <= config.start < len(episode):
            raise UsageError("not enough context before the start", got=config.start, hint=f"row {spec.context - 1} on")
        for signal in (*spec.states, *((spec.action,) if spec.action else ())):
            _same_schema(episode, signal)
        for camera in spec.cameras:
            if camera.name not in episode.streams:
                raise DataRefused("the recording lacks a camera of the model", got=camera.name, where=episode.name)


def _same_schema(episode: Episode, signal: Signal) -> None:
    if signal.name not in episode.streams:
        raise DataRefused("the recording lacks a stream of the model", got=signal.name, where=episode.name)
    info = episode.streams[signal.name].info
    for what in ("unit", "names", "shape"):
        got, wanted = getattr(info, what), getattr(signal, what)
        if wanted and got != wanted:
            raise DataRefused(f"the recording has another {what}", got=got, where=signal.name, hint=f"{wanted}")


def _facts(states: Mapping[str, FloatArray], length: int, measure: Measure | None) -> dict[str, FloatArray]:
    if measure is None or not length:
        return {}
    rows = [measure({name: values[k] for name, values in states.items()}) for k in range(length)]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


class _World:
    """Models that are unrolled together from one row."""

    def __init__(self, episode: Episode, models: Sequence[WorldModel], config: ReplayConfig) -> None:
        self.episode, self.models, self.config = episode, models, config
        names = {signal.name for model in models for signal in model.spec.states}
        self.states = {name: np.asarray(episode.array(name), float) for name in sorted(names)}
        self.actions = np.asarray(episode.array(ACTION), float)
        sizes = {c.name: (c.shape[0], c.shape[1]) for model in reversed(models) for c in model.spec.cameras}
        self.frames = {name: clips.frames(episode, name, size) for name, size in sorted(sizes.items())}
        for stream, channels in config.exogenous.items():
            known = episode.streams[stream].info.names if stream in self.states else ()
            if not set(channels) <= set(known):
                raise UsageError("exogenous channels that are not there", got=", ".join(channels), where=stream)

    def recorded(self, measure: Measure | None, release: str) -> Branch:
        """The rows after the start, as they were."""
        start = self.config.start
        rows = slice(start + 1, start + 1 + self.config.steps)
        states = {name: values[rows] for name, values in self.states.items()}
        length = len(self.episode.times_ns[rows])
        return Branch(
            name="recorded",
            origin=self.episode.origin,
            release=release,
            states=states,
            frames={name: values[rows] for name, values in self.frames.items()},
            actions=self.actions[start : start + length],
            facts=_facts(states, length, measure),
        )

    def prompt(self, model: WorldModel) -> Prompt:
        """The rows that the model is given."""
        spec, start = model.spec, self.config.start
        rows = slice(start + 1 - spec.context, start + 1)
        return Prompt(
            states={signal.name: self.states[signal.name][rows] for signal in spec.states},
            frames={camera.name: self.frames[camera.name][rows] for camera in spec.cameras},
            actions=self.actions[rows],
            source=f"{self.episode.id}:{start}",
        )

    def unroll(self, name: str, policy: Policy, recorded: Branch, measure: Measure | None) -> Branch:
        """One policy in the loop."""
        unrollings = [model.open(self.prompt(model), samples=1, seed=self.config.seed) for model in self.models]
        policy.reset(seed=self.config.seed)
        now = self.config.start
        observation: dict[str, Array] = {name: v[now] for name, v in (*self.states.items(), *self.frames.items())}
        rows: dict[str, list[Array]] = {stream: [] for stream in observation}
        actions = []
        for k in range(self.config.steps):
            action_A = np.asarray(policy.act(observation), float)
            actions.append(action_A)
            seen: dict[str, Array] = {}
            for unrolling in unrollings:
                frame = unrolling.step(action_A[None, None])
                seen = {n: v[0, -1] for n, v in (*frame.states.items(), *frame.frames.items())} | seen
            self._hold(seen, recorded, k)
            observation = {stream: seen[stream] for stream in rows}
            for stream, values in rows.items():
                values.append(observation[stream])
        stacked = {stream: np.stack(values) for stream, values in rows.items()}
        states = {stream: values for stream, values in stacked.items() if stream in recorded.states}
        return Branch(
            name=name,
            origin=Origin.IMAGINED,
            release=policy.digest,
            states=states,
            frames={stream: values for stream, values in stacked.items() if stream in recorded.frames},
            actions=np.stack(actions),
            facts=_facts(states, self.config.steps, measure),
        )

    def _hold(self, seen: dict[str, Array], recorded: Branch, k: int) -> None:
        """Set exogenous channels to what was recorded, as far as it was."""
        for stream, names in self.config.exogenous.items():
            if k < len(recorded.states[stream]):
                channels = [self.episode.streams[stream].info.names.index(name) for name in names]
                seen[stream] = seen[stream].copy()
                seen[stream][channels] = recorded.states[stream][k][channels]

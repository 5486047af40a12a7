"""Any Gymnasium environment, recorded as logs marked ``simulated``, and as a place where any policy acts.

What is recorded is named by paths into what the environment hands out: ``observation`` and its keys, ``info.KEY``,
``reward``, ``render``. Truth that the environment tells in ``info`` (poses, contacts) becomes a stream beside what the
policy sees. Between two steps there is nothing to measure, so every stream has one message a step, stamped with the
simulation's own time; only its arrival at the recorder is later. Row t holds what was seen and the action that then
followed. Source: Gymnasium 1.x, https://gymnasium.farama.org/api/env/.
"""

from __future__ import annotations

import importlib
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from worldgate.core.choices import settle
from worldgate.core.errors import MissingExtra, NotFound, UsageError
from worldgate.core.streams import Array, FloatArray, Kind, Origin, StreamInfo
from worldgate.core.worlds import Environment, Observation, Policy, Transition
from worldgate.sim.recorder import START_NS
from worldgate.sim.steps import StepRecorder

if TYPE_CHECKING:
    import gymnasium

Act: TypeAlias = Callable[[Observation], FloatArray]
GymEnv: TypeAlias = "gymnasium.Env[Any, Any]"

_log = logging.getLogger(__name__)
_SUCCESS = ("is_success", "success")


@dataclass(frozen=True, kw_only=True, slots=True)
class GymStream:
    """One stream and where its values come from."""

    source: str
    """``observation``, ``observation.KEY``, ``info.KEY``, ``reward`` or ``render``."""
    name: str
    """Of the stream: ``observation.state``, ``observation.images.top``."""
    names: tuple[str, ...] = ()
    """Of its channels."""
    unit: str = ""
    """Of its values, as in :class:`StreamInfo`."""
    frame: str = ""
    """Coordinate frame."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GymConfig:
    """What is recorded of a Gymnasium environment."""

    streams: tuple[GymStream, ...] = ()
    """Without any: each part of the observation, the reward, and what it renders where no part is a picture."""
    rate_hz: float = 0.0
    """Steps a second; 0: the environment's own ``render_fps``."""
    action: GymStream = GymStream(source="action", name="action")
    """Name, channels and unit of the actions."""
    task: str = ""
    """What the robot is asked to do; the environment's id without."""
    max_steps: int = 1000
    """Longest run, steps; messages are kept in memory until it ends."""
    keep: bool = True
    """Whether messages are kept to be saved; who only acts needs none."""

    def __post_init__(self) -> None:
        settle(self)


def open_gym(name: str, **options: Any) -> GymEnv:
    """Make an environment by its id, with pictures where it can render them.

    Args:
        name: ``CartPole-v1``, or ``module:ID`` where a module must be imported first.
        **options: of the environment's own.

    Raises:
        NotFound: no such environment, or what it needs is not installed.
        MissingExtra: Gymnasium is not installed.
    """
    gymnasium = _gymnasium()
    try:
        env: GymEnv = gymnasium.make(name, disable_env_checker=True, **options)
        if "render_mode" not in options and "rgb_array" in env.metadata.get("render_modes", ()):
            plain = env
            env = gymnasium.make(name, disable_env_checker=True, render_mode="rgb_array", **options)
            env = env if _renders(env) else plain
    except (gymnasium.error.Error, ModuleNotFoundError) as error:
        hint = "a registered id, or module:ID; install the package that brings it"
        raise NotFound("no such Gymnasium environment", got=f"{name}: {error}", hint=hint) from error
    return env


def _renders(env: GymEnv) -> bool:
    """Whether what it draws with is installed."""
    try:
        env.reset(seed=0)
        env.render()
    except _gymnasium().error.DependencyNotInstalled as error:
        _log.warning("no pictures: %s", error)
        return False
    return True


class GymEnvironment(Environment):
    """A Gymnasium environment behind the ``Environment`` protocol, recorded as it goes.

    Args:
        env: the environment; it is not closed here.
        config: what is recorded.

    Raises:
        UsageError: no rate is known, or its actions are neither numbers nor choices.
    """

    origin: Origin = Origin.SIMULATED

    def __init__(self, env: GymEnv, config: GymConfig | None = None) -> None:
        self.env, self.config = env, config or GymConfig()
        self.rate_hz = float(self.config.rate_hz or env.metadata.get("render_fps") or 0.0)
        self.name = env.spec.id if env.spec is not None else type(env.unwrapped).__name__
        if not (math.isfinite(self.rate_hz) and self.rate_hz > 0):
            raise UsageError("how many steps a second?", got=self.rate_hz, where=self.name, hint="GymConfig(rate_hz=…)")
        self._recorder: StepRecorder | None = None
        self.action = self._action_info()

    def reset(self, *, seed: int) -> Observation:
        """Start a run.

        Raises:
            UsageError: a stream that is not there, or neither a vector nor a colour picture.
        """
        observation, info = self.env.reset(seed=seed)
        self.seed, self._ends = seed, ""
        self._success, self._return = 0.0, 0.0
        self._recorder = StepRecorder(self.rate_hz, seed=seed, steps=self.config.max_steps)
        given = {"observation": observation, "info": info}
        self._streams = self.config.streams or tuple(self._derived(observation))
        self._infos: dict[str, StreamInfo] = {}
        return self._take(given)

    def step(self, action: FloatArray) -> Transition:
        """Do one step.

        Args:
            action: (A,) numbers, or the number of a choice.

        Raises:
            UsageError: an action of another width, or outside a choice.
        """
        recorder = self._running()
        values = np.asarray(action, np.float64).reshape(-1)
        native = self._native(values)
        if self.config.keep:
            recorder.add(self.action.name, Kind.ACTION, values)
        observation, reward, terminated, truncated, info = self.env.step(native)
        recorder.advance()
        self._return += float(reward)
        self._success = max((float(info[key]) for key in _SUCCESS if key in info), default=self._success)
        last = recorder.count >= self.config.max_steps
        self._ends = "terminated" if terminated else "truncated" if truncated or last else ""
        row = self._take({"observation": observation, "info": info, "reward": float(reward)})
        return Transition(observation=row, done=bool(self._ends), facts={"success": self._success})

    @property
    def ended(self) -> str:
        """Why the run is over: ``terminated`` by the environment, ``truncated`` by its length; empty: it is not."""
        return self._ends

    def outcome(self) -> Mapping[str, float]:
        """Of the run so far: ``success`` 0/1 as the environment says, sum of rewards, steps."""
        return {"success": self._success, "return": self._return, "steps": float(self._running().count)}

    def save(
        self,
        path: Path,
        *,
        facts: Mapping[str, str | float | bool] | None = None,
        start_ns: int = START_NS,
        profile: Literal["foxglove", "ros2"] = "foxglove",
    ) -> Path:
        """Write what was recorded since the last reset as MCAP, marked ``simulated``.

        Args:
            path: the file to make.
            facts: what else is known of the run: who acted.
            start_ns: time of the start of the run, ns UTC.
            profile: family of MCAP schemas.

        Raises:
            AlreadyExists: ``path`` exists.
        """
        assert self.config.keep, "nothing was kept; GymConfig(keep=True)"
        own: dict[str, str | float | bool] = {
            "task": self.config.task or self.name,
            "environment": self.name,
            "seed": self.seed,
            "success": bool(self._success),
            "return": self._return,
            "ended": self._ends or "stopped",
        }
        infos = (*self._infos.values(), self.action)
        return self._running().write(path, infos, facts=own | dict(facts or {}), start_ns=start_ns, profile=profile)

    def _running(self) -> StepRecorder:
        assert self._recorder is not None, "reset the environment first"
        return self._recorder

    def _derived(self, observation: Any) -> Iterator[GymStream]:
        """Streams of an environment about which nothing was said."""
        pictures = 0
        for path, value in _leaves(observation):
            picture = _is_picture(value)
            pictures += picture
            name = f"observation.images.{path or 'camera'}" if picture else f"observation.{path or 'state'}"
            yield GymStream(source=f"observation.{path}" if path else "observation", name=name)
        if not pictures and self.env.render_mode == "rgb_array":
            yield GymStream(source="render", name="observation.images.camera")
        yield GymStream(source="reward", name="reward")

    def _take(self, given: Mapping[str, Any]) -> Observation:
        """Record one message a stream; those that the environment does not give yet are left out."""
        row: dict[str, Array] = {}
        for stream in self._streams:
            if stream.source == "render":
                value = self.env.render() if self.env.render_mode == "rgb_array" else None
            else:
                value = _find(given, stream.source)
            if value is None:
                self._expect(stream, given)
                continue
            row[stream.name] = self._value(stream, value)
            if self.config.keep:
                self._running().add(stream.name, self._infos[stream.name].kind, row[stream.name])
        return row

    def _expect(self, stream: GymStream, given: Mapping[str, Any]) -> None:
        """Some facts are known only after a step; one that is missing even then does not exist."""
        if "reward" not in given and (stream.source == "reward" or stream.source.startswith("info.")):
            return
        have = [f"{part}.{key}" for part in ("observation", "info") for key, _ in _leaves(given[part]) if key]
        what = (
            "this environment renders no colour picture"
            if stream.source == "render"
            else "nothing of this name is given"
        )
        raise UsageError(what, got=stream.source, where=self.name, hint=f"one of {', '.join(have) or 'observation'}")

    def _value(self, stream: GymStream, value: Any) -> Array:
        picture = _is_picture(value)
        array = np.asarray(value)
        if not picture and (array.dtype.kind not in "biuf" or array.ndim > 1):
            got = f"{array.dtype} of shape {array.shape}"
            hint = "name what to record in GymConfig(streams=…), or flatten it with a wrapper"
            raise UsageError("neither a vector nor a colour picture", got=got, where=stream.source, hint=hint)
        array = np.array(array if picture else array.astype(np.float64).reshape(-1))
        known = self._infos.get(stream.name)
        if known is None:
            self._infos[stream.name] = StreamInfo(
                name=stream.name, kind=Kind.IMAGE if picture else Kind.VECTOR, count=-1, shape=array.shape,
                names=stream.names, unit=stream.unit, frame=stream.frame, clock="header", rate_hz=self.rate_hz,
            )  # fmt: skip
        elif known.shape != array.shape:
            raise UsageError("a stream changed its shape on the way", got=array.shape, where=stream.source)
        return array

    def _action_info(self) -> StreamInfo:
        space, spaces = self.env.action_space, _gymnasium().spaces
        if not isinstance(space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
            hint = "wrap it so that its actions are a Box, Discrete, MultiDiscrete or MultiBinary space"
            raise UsageError("its actions are neither numbers nor choices", got=space, where=self.name, hint=hint)
        given = self.config.action
        return StreamInfo(
            name=given.name, kind=Kind.ACTION, count=-1, shape=(max(1, math.prod(space.shape or (1,))),),
            names=given.names, unit=given.unit, frame=given.frame, clock="header", rate_hz=self.rate_hz,
        )  # fmt: skip

    def _native(self, values: FloatArray) -> Any:
        """The action as the environment takes it."""
        space, spaces = self.env.action_space, _gymnasium().spaces
        if values.shape != self.action.shape:
            got = f"{values.shape[0]} numbers"
            raise UsageError("an action of another width", got=got, where=self.name, hint=f"{self.action.shape[0]}")
        if isinstance(space, spaces.Box):
            return values.astype(space.dtype).reshape(space.shape)
        whole = np.rint(values).astype(np.int64)
        native = whole[0] if isinstance(space, spaces.Discrete) else whole.astype(space.dtype).reshape(space.shape)
        if not space.contains(native):
            raise UsageError("not among its choices", got=values.tolist(), where=self.name, hint=str(space))
        return native


class RandomPolicy(Policy):
    """Draws every action from an action space."""

    digest = "random"

    def __init__(self, space: gymnasium.Space[Any]) -> None:
        self._space = space

    def reset(self, *, seed: int) -> None:
        self._space.seed(seed)

    def act(self, observation: Observation) -> FloatArray:
        return np.asarray(self._space.sample(), np.float64).reshape(-1)


def find_policy(name: str) -> Policy | Act | None:
    """Who acts: ``random`` is None; ``module:name`` a policy or a function of the user's own.

    Raises:
        NotFound: no such module, or nothing in it of this name that acts.
    """
    if name == "random":
        return None
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute, None) if attribute else None
    except ModuleNotFoundError as error:
        hint = "random, or module:name where Python finds the module (PYTHONPATH)"
        raise NotFound("no such policy", got=name, where=error, hint=hint) from error
    if found is None or not (callable(found) or hasattr(found, "act")):
        raise NotFound("no such policy", got=name, hint="random, or module:name of a policy or a function")
    acting: Policy | Act = found
    return acting


def record_gym(
    path: Path,
    env: GymEnv,
    policy: Policy | Act | None = None,
    *,
    seed: int = 0,
    config: GymConfig | None = None,
    facts: Mapping[str, str | float | bool] | None = None,
    start_ns: int = START_NS,
) -> Path:
    """Run one episode of a Gymnasium environment and write its log.

    Args:
        path: the MCAP file to make.
        env: the environment.
        policy: a policy, or a function from observation (stream -> row) to action; random actions without.
        seed: of environment and policy.
        config: what is recorded.
        facts: what else is known of the run.
        start_ns: time of its start, ns UTC.

    Raises:
        UsageError: what the environment gives or takes cannot be recorded.
        AlreadyExists: ``path`` exists.
    """
    place = GymEnvironment(env, config)
    policy = policy or RandomPolicy(env.action_space)
    if callable(policy):
        act, who = policy, f"{policy.__module__}:{getattr(policy, '__qualname__', type(policy).__name__)}"
    else:
        policy.reset(seed=seed)
        act, who = policy.act, policy.digest
    observation, done = place.reset(seed=seed), False
    while not done:
        transition = place.step(act(observation))
        observation, done = transition.observation, transition.done
    return place.save(path, facts={"policy": who, **(facts or {})}, start_ns=start_ns)


def _gymnasium() -> Any:
    """The package, loaded when it is used: the other rooms start without it."""
    try:
        return importlib.import_module("gymnasium")
    except ModuleNotFoundError as error:
        raise MissingExtra(
            "a Gymnasium environment needs a package that is not installed",
            got="gymnasium",
            hint='pip install "worldgate[models]"',
        ) from error


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Each part of nested dicts and tuples with its path."""
    if isinstance(value, Mapping | tuple):
        pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, part in pairs:
            yield from _leaves(part, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _find(given: Mapping[str, Any], path: str) -> Any:
    """What lies at a path, None where nothing does."""
    found: Any = given
    for key in path.split("."):
        if isinstance(found, tuple):
            found = dict(enumerate(found)).get(int(key)) if key.isdecimal() else None
        else:
            found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _is_picture(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == 3 and value.shape[-1] == 3

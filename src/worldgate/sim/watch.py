"""Watching somebody act in a task: as an episode in memory, or recorded as a log marked ``simulated``.

Both hold the same rows: what was seen, the whole state of the simulator (:data:`~worldgate.core.tasks.TRUTH`), the
action that followed, and the reward of the step that begins there; the observation after the last action is in no row.
An episode in memory also holds ``success`` of each step. A log says only in its facts whether the run succeeded: that
stream would be the same in two runs of one length, and the same evidence on two sides of a split is refused.

Shape legend: T rows, S numbers of the truth, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from worldgate.core.episodes import Episode, in_memory
from worldgate.core.errors import CapabilityMissing, UsageError
from worldgate.core.streams import FloatArray, Kind, StreamInfo
from worldgate.core.tasks import Task, TaskSpec
from worldgate.core.worlds import Observation, Policy, Transition
from worldgate.sim.recorder import START_NS
from worldgate.sim.steps import StepRecorder
from worldgate.sim.tasks import open_actor, open_task

REWARD, SUCCESS = "reward", "success"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What was seen, what was done then, and what came of it."""

    observation: Observation
    action: FloatArray
    transition: Transition


def watch(task: Task, actor: Policy, *, seed: int, steps: int = 0) -> Iterator[Step]:
    """Let somebody act from a drawn start until the task is done.

    Who takes goals is told the task's own, who follows words is told the run's instruction.

    Args:
        task: where.
        actor: who.
        seed: of both.
        steps: longest run; 0: the task's own.

    Raises:
        UsageError: an action outside the task's bounds.
    """
    observation = task.reset(seed=seed)
    actor.reset(seed=seed)
    steps = steps or task.spec.steps
    aim = getattr(actor, "aim", None)
    if aim is not None and task.spec.takes_goals:
        try:
            goal = task.goal()
        except CapabilityMissing:  # it takes goals and has none of its own
            pass
        else:
            aim(goal, steps=steps)
    tell = getattr(actor, "tell", None)
    if tell is not None and task.spec.text:
        tell(task.text)
    for _ in range(steps):
        action = np.asarray(actor.act(observation), np.float64)
        transition = task.step(action)
        yield Step(observation=observation, action=action, transition=transition)
        observation = transition.observation
        if transition.done:
            return


def streams(spec: TaskSpec) -> tuple[StreamInfo, ...]:
    """The streams of a task's rows: what is seen, the truth, the action and the reward."""
    signals = (*spec.states, *spec.cameras, spec.truth, spec.action)
    infos = tuple(
        StreamInfo(
            name=signal.name, kind=signal.kind, count=-1, shape=signal.shape, names=signal.names,
            unit="" if signal.kind is Kind.IMAGE else signal.unit, frame=signal.frame, clock="header",
            rate_hz=spec.rate_hz,
        )
        for signal in signals
    )  # fmt: skip
    return (*infos, _earned(REWARD, spec.rate_hz))


def _earned(name: str, rate_hz: float) -> StreamInfo:
    return StreamInfo(
        name=name, kind=Kind.VECTOR, count=-1, shape=(1,), names=(name,), unit="1", clock="header", rate_hz=rate_hz
    )


def contract_text(spec: TaskSpec) -> str:
    """A contract, as TOML, that recorded runs of a task keep: its streams on its own grid, a fifth held out."""
    lines = [
        f"# Recorded runs of the task {spec.name}.",
        f'name = "{spec.name}"',
        "version = 1",
        'origins = ["simulated"]',
    ]
    for info in streams(spec):
        lines += ["", f'[streams."{info.name}"]', f'kind = "{info.kind.value}"']
        lines += [] if info.kind is Kind.IMAGE else [f"width = {info.shape[0]}", f'unit = "{info.unit}"']
    lines += [
        "",
        "[alignment]",
        f"rate_hz = {spec.rate_hz}",
        "causal = true",
        f'default = {{ policy = "hold", tolerance_ns = {round(1e9 / spec.rate_hz)} }}',
        "",
        "[checks.counts]",
        "[checks.stamps]",
        "[checks.finite]",
        "",
        "[splits]",
        "fractions = { train = 0.8, val = 0.2 }",
    ]
    return "\n".join(lines) + "\n"


def _row(spec: TaskSpec, step: Step) -> dict[str, Any]:
    seen = {name: step.observation[name] for name in (s.name for s in (*spec.states, *spec.cameras, spec.truth))}
    return seen | {spec.action.name: step.action, REWARD: np.array([float(step.transition.facts[REWARD])])}


class _Outcome:
    """What a run came to, as facts."""

    def __init__(self, task: Task, actor: Policy, seed: int) -> None:
        self._task, self._actor, self._seed = task, actor.digest, float(seed)
        self._success, self._return, self._done = False, 0.0, False

    def add(self, transition: Transition) -> None:
        self._success |= bool(transition.facts[SUCCESS])
        self._return += float(transition.facts[REWARD])
        self._done = transition.done

    def facts(self) -> dict[str, str | float | bool]:
        name = self._task.spec.name
        return {
            "task": self._task.text if self._task.spec.text else name,
            "environment": name,
            "policy": self._actor,
            "seed": self._seed,
            "success": self._success,
            "return": self._return,
            "ended": "terminated" if self._done else "truncated",
        }


def collect(task: Task, actor: Policy, *, seed: int, steps: int = 0) -> Episode:
    """Watch one run and keep it in memory, with pictures, numbers, truth, actions, reward and success.

    Args:
        task: where.
        actor: who acts.
        seed: of the run; the same seed gives the same episode.
        steps: longest run; 0: the task's own.

    Raises:
        UsageError: an action outside the task's bounds.
        DataRefused: the task shows something else than it says.
    """
    outcome = _Outcome(task, actor, seed)
    infos = (*streams(task.spec), _earned(SUCCESS, task.rate_hz))
    rows: dict[str, list[Any]] = {info.name: [] for info in infos}
    for step in watch(task, actor, seed=seed, steps=steps):
        outcome.add(step.transition)
        for name, value in _row(task.spec, step).items():
            rows[name].append(value)
        rows[SUCCESS].append(np.array([float(step.transition.facts[SUCCESS])]))
    return in_memory(
        infos,
        rows,
        name=f"{task.spec.name}_{seed}",
        origin=task.origin,
        rate_hz=task.rate_hz,
        facts=outcome.facts(),
    )


def record_task(
    path: Path,
    name: str,
    *,
    options: Mapping[str, Any] | None = None,
    actor: str = "scripted",
    seed: int = 0,
    steps: int = 0,
    facts: Mapping[str, str | float | bool] | None = None,
    start_ns: int = START_NS,
    profile: Literal["foxglove", "ros2"] = "foxglove",
) -> Path:
    """Watch one run and write its log, marked ``simulated``.

    Args:
        path: the MCAP file to make.
        name: of the task.
        options: of its ``Config``.
        actor: who acts, by the name that the task knows.
        seed: of the run; the same seed writes the same bytes.
        steps: longest run; 0: the task's own.
        facts: what else is known of the run.
        start_ns: time of its start, ns UTC.
        profile: family of MCAP schemas.

    Raises:
        NotFound: no such task, or none of this name acts in it.
        ConfigError: an option it does not have.
        AlreadyExists: ``path`` exists.
    """
    task, policy = open_task(name, options), open_actor(actor, name, options)
    if steps < 0:
        raise UsageError("a run of how many steps?", got=steps, hint="0 for as many as the task lasts")
    infos, outcome = streams(task.spec), _Outcome(task, policy, seed)
    kinds = {info.name: info.kind for info in infos}
    recorder = StepRecorder(task.rate_hz, seed=seed, steps=steps or task.spec.steps)
    for step in watch(task, policy, seed=seed, steps=steps):
        outcome.add(step.transition)
        for stream, value in _row(task.spec, step).items():
            recorder.add(stream, kinds[stream], value)
        recorder.advance()
    told = {"actor": actor, **outcome.facts(), **(facts or {})}
    return recorder.write(path, infos, facts=told, start_ns=start_ns, profile=profile)

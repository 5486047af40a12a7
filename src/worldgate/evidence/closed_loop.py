"""A policy in closed loop: how often it succeeds in a task, and where it ends in a world model.

In a task each run starts as the task draws it from a seed of its own, the same seeds for everyone who is tried, and
success is the task's own, at the run's end; the intervals are exact. In a world model each run starts at a row of a
recorded episode, and what is told is how far the imagined end lies from what was recorded that many periods later,
beside two controls in the same model: the recorded actions, which bound what the model itself gets wrong, and the
action before, held. An imagined end is no success, and a model can be wrong where no recording went.

Shape legend: A action channels, D state channels, K periods.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from worldgate.core.episodes import Episode
from worldgate.core.errors import CapabilityMissing, DataRefused
from worldgate.core.streams import Array, FloatArray
from worldgate.core.tasks import GoalPolicy, InstructedPolicy, Task
from worldgate.core.worlds import Policy, Prompt, WorldModel
from worldgate.data import clips
from worldgate.evidence.statistics import binomial_interval
from worldgate.evidence.windows import FrameReader, read_tracks

Progress: TypeAlias = Callable[[int, int], None]
"""(runs done, runs in all)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What came of one who acted in a task."""

    who: str
    runs: int
    successes: int
    low: str
    """Exact lower bound of the success rate; both together hold at 95 %."""
    high: str
    reward: float
    """Sum over a run, mean over runs."""
    distance: float | None
    """To the goal at the end, in the task's unit, mean over runs; None for a task without goals."""
    clipped: float
    """Share of periods in which an action beyond the bounds was brought back to them."""


def try_in_task(
    task: Task,
    policy: Policy,
    *,
    who: str,
    runs: int,
    seed: int,
    aimed: bool,
    told: bool = False,
    progress: Progress | None = None,
) -> Tried:
    """Let a policy act in a task.

    Args:
        task: where.
        policy: who acts.
        who: what it is called.
        runs: how many; run i begins at seed + i.
        seed: of the first run.
        aimed: whether it is shown the goal.
        told: whether it is told the run's instruction.
        progress: called after each run.
    """
    low, high = np.asarray(task.spec.low), np.asarray(task.spec.high)
    successes, rewards, distances, clipped = 0, [], [], []
    for run in range(runs):
        observation = task.reset(seed=seed + run)
        policy.reset(seed=seed + run)
        if aimed:
            aiming: GoalPolicy = policy  # type: ignore[assignment]  # a policy that takes goals
            aiming.aim(task.goal(), steps=task.spec.steps)
        if told:
            following: InstructedPolicy = policy  # type: ignore[assignment]  # a policy that follows words
            following.tell(task.text)
        reward = 0.0
        for _ in range(task.spec.steps):
            asked_A = np.asarray(policy.act(observation), np.float64)
            if not np.isfinite(asked_A).all():
                raise DataRefused("an action that is not finite", got=asked_A.tolist(), where=f"run {run}")
            action_A = np.clip(asked_A, low, high)
            clipped.append(bool((action_A != asked_A).any()))
            transition = task.step(action_A)
            observation = transition.observation
            reward += transition.facts["reward"]
            if transition.done:
                break
        successes += bool(transition.facts["success"])
        rewards.append(reward)
        distances += [transition.facts["distance"]] if "distance" in transition.facts else []
        if progress is not None:
            progress(run + 1, runs)
    bottom, top = binomial_interval(successes, runs, "0.05")
    return Tried(
        who=who,
        runs=runs,
        successes=successes,
        low=bottom,
        high=top,
        reward=float(np.mean(rewards)),
        distance=float(np.mean(distances)) if distances else None,
        clipped=float(np.mean(clipped)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How far an imagined end lies from the recorded one, one stream of numbers."""

    stream: str
    policy: float
    """Root mean square over channels, each in its own recorded spread; mean over runs."""
    recorded: float
    """Of the recorded actions, in the same model."""
    held: float
    """Of the action before, held, in the same model."""
    runs: int
    nearer: int
    """Runs in which the policy ends nearer than the held action."""


def try_in_model(
    model: WorldModel,
    policy: Policy,
    episodes: Sequence[Episode],
    goals: Sequence[str] = (),
    *,
    steps: int,
    windows: int,
    seed: int,
    told: bool = False,
    progress: Progress | None = None,
    read_frames: FrameReader = clips.pictures,
) -> list[Ended]:
    """Let a policy act in a world model from recorded rows.

    Args:
        model: where.
        policy: who acts.
        episodes: whose rows.
        goals: streams that the policy must be shown as they are at a goal, which is the row ``steps`` later.
        steps: periods a run takes.
        windows: runs of each episode at most.
        seed: of model and policy.
        told: whether it is told each episode's instruction, its fact ``task``.
        progress: called after each episode.
        read_frames: how frames of a camera are read and resized.

    Raises:
        CapabilityMissing: a model that tells no numbers, or takes no actions.
        DataRefused: no episode is long enough.
    """
    spec = model.spec
    if not spec.states or spec.action is None:
        raise CapabilityMissing("a model that takes actions and tells states is needed", got=spec.family)
    tracks = [read_tracks(episode, spec, read_frames) for episode in episodes]
    spreads = {s.name: np.nanstd(np.concatenate([t.states[s.name] for t in tracks]), axis=0) for s in spec.states}
    errors: dict[str, list[FloatArray]] = {s.name: [] for s in spec.states}
    for number, (episode, track) in enumerate(zip(episodes, tracks, strict=True), 1):
        text = str(episode.facts.get("task", "")) if told else None
        assert track.actions is not None
        for t in track.starts(spec, steps, windows)[0]:
            goal = {
                n: rows[t + steps] for held in (track.states, track.frames) for n, rows in held.items() if n in goals
            }
            ends = (
                _acted(model, policy, track.prompt(spec, t), goal, text, steps, seed),
                _rolled(model, track.prompt(spec, t), track.actions[t : t + steps], seed),
                _rolled(model, track.prompt(spec, t), np.repeat(track.actions[t - 1 : t], steps, axis=0), seed),
            )
            for name, spread_D in spreads.items():
                unit_D = np.where(spread_D > 0, spread_D, 1.0)
                away = [np.sqrt(np.square((end[name] - track.states[name][t + steps]) / unit_D).mean()) for end in ends]
                errors[name].append(np.asarray(away))
        if progress is not None:
            progress(number, len(tracks))
    if not any(errors.values()):
        raise DataRefused("no episode is long enough for a run in this model", got=f"{steps} periods")
    return [_ended(name, np.stack(rows)) for name, rows in errors.items()]


def _acted(
    model: WorldModel, policy: Policy, prompt: Prompt, goal: dict[str, Array], text: str | None, steps: int, seed: int
) -> dict[str, FloatArray]:
    """(D,) of each stream after a policy acted so long."""
    unrolling = model.open(prompt, samples=1, seed=seed)
    seen: dict[str, Array] = {name: rows[-1] for held in (prompt.states, prompt.frames) for name, rows in held.items()}
    policy.reset(seed=seed)
    if goal:
        aiming: GoalPolicy = policy  # type: ignore[assignment]  # a policy that takes goals
        aiming.aim(goal, steps=steps)
    if text is not None:
        following: InstructedPolicy = policy  # type: ignore[assignment]  # a policy that follows words
        following.tell(text)
    for _ in range(steps):
        frame = unrolling.step(np.asarray(policy.act(seen), np.float32)[None, None])
        seen = {name: rows[0, -1] for held in (frame.states, frame.frames) for name, rows in held.items()}
    return {signal.name: seen[signal.name] for signal in model.spec.states}


def _rolled(model: WorldModel, prompt: Prompt, actions_KA: FloatArray, seed: int) -> dict[str, FloatArray]:
    """(D,) of each stream after these actions."""
    frame = model.open(prompt, samples=1, seed=seed).step(np.asarray(actions_KA, np.float32)[None])
    return {signal.name: frame.states[signal.name][0, -1] for signal in model.spec.states}


def _ended(name: str, away_N3: FloatArray) -> Ended:
    policy, recorded, held = away_N3.mean(axis=0)
    return Ended(
        stream=name,
        policy=float(policy),
        recorded=float(recorded),
        held=float(held),
        runs=len(away_N3),
        nearer=int((away_N3[:, 0] < away_N3[:, 2]).sum()),
    )

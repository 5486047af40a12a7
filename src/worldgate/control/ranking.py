"""Rank policies in a world model and where it counts, from the same starts.

A *start* is made in the true environment: someone aimless acts for as many rows as the model's context holds, so that
arm and object are where logs have them. The world model is prompted with those rows; the environment is brought there
again by its seed and the same actions. From there on the policy acts, on both sides by the same rule: a run ends when
success has held for ``hold`` steps or after ``steps``. What counts as success in imagination is read off the predicted
observation by a judge; the true environment's own facts count on the other side.

Runs in imagination go as far as the task asks, mostly beyond the model's valid horizon: the figure says what the order
is worth all the same, and no such run counts as a trial.

Shape legend: T context rows, A action channels, K policies, N starts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from worldgate.core.errors import DataRefused, UsageError
from worldgate.core.progress import Progress, silent
from worldgate.core.streams import FloatArray
from worldgate.core.worlds import Environment, ModelSpec, Observation, Policy, Prompt, WorldModel
from worldgate.evidence.rank_report import PolicyRuns
from worldgate.worlds.imagine.environment import ImaginedEnvironment, Judge

SUCCESS = "success"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What policies are ranked on."""

    task: str
    make: Callable[[], Environment]
    """The true environment: the same seed and actions bring it to the same state."""
    starter: Policy
    """Acts for the first rows of every start."""
    judge: Judge
    """Facts of an imagined observation."""
    steps: int
    """Longest run after the start, in control periods."""
    hold: int = 5
    """Steps that success must hold for a run to end before; 0: it never does."""
    outcome: str = SUCCESS
    """Fact that is ranked by: success as it stands at the end, or the largest value of any other."""
    unit: str = "1"
    low: tuple[float, ...] = ()
    """(A,) bounds that actions are held to on both sides, as a robot's driver does; empty: none."""
    high: tuple[float, ...] = ()

    def held(self, action: FloatArray) -> FloatArray:
        """(A,) within the bounds."""
        values = np.asarray(action, np.float64)
        return np.clip(values, self.low, self.high) if self.low else values


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where runs begin, on both sides."""

    seed: int
    actions: FloatArray
    """(T - 1, A) that lead from the environment's reset to the last row of the prompt."""
    prompt: Prompt


def starts(ground: Ground, spec: ModelSpec, seeds: Sequence[int]) -> list[Start]:
    """One start a seed.

    Raises:
        DataRefused: an environment that does not observe what the model is prompted with.
        UsageError: a model without actions, no seeds, or one twice.
    """
    if spec.action is None:
        raise UsageError("policies act, and this world model takes no actions", got=spec.family)
    if not seeds or len(set(seeds)) < len(seeds):
        raise UsageError("starts need seeds, each once", got=f"{len(seeds)} seeds, {len(set(seeds))} different")
    world, found = ground.make(), []
    for seed in seeds:
        observation = world.reset(seed=seed)
        ground.starter.reset(seed=seed)
        rows, actions = [observation], []
        while len(rows) < spec.context:
            action = ground.held(ground.starter.act(rows[-1]))
            actions.append(action)
            rows.append(world.step(action).observation)
        width = spec.action.shape[0]
        led = np.asarray(actions, np.float64).reshape(len(actions), width)
        found.append(Start(seed=seed, actions=led, prompt=_prompt(spec, rows, led, f"{ground.task} seed {seed}")))
    return found


def _prompt(spec: ModelSpec, rows: Sequence[Observation], led: FloatArray, source: str) -> Prompt:
    missing = [s.name for s in (*spec.states, *spec.cameras) if s.name not in rows[0]]
    if missing:
        hint = f"it observes {', '.join(sorted(rows[0]))}"
        raise DataRefused("the environment does not observe what the model needs", got=missing[0], hint=hint)
    for signal in (*spec.states, *spec.cameras):
        shape = np.asarray(rows[0][signal.name]).shape
        if signal.shape and shape != signal.shape:
            raise DataRefused("the environment observes another size than the model", got=shape, where=signal.name)
    last = np.zeros((1, led.shape[1]))  # overridden by the first action of whoever acts
    return Prompt(
        states={s.name: np.stack([np.asarray(r[s.name], np.float32) for r in rows]) for s in spec.states},
        frames={c.name: np.stack([np.asarray(r[c.name], np.uint8) for r in rows]) for c in spec.cameras},
        actions=np.concatenate([led, last]).astype(np.float32),
        source=source,
    )


def run(
    ground: Ground,
    world: Environment,
    policy: Policy,
    start: Start,
    *,
    imagined: bool,
) -> float:
    """The outcome of one run from a start.

    Raises:
        DataRefused: a world that does not tell the fact that is ranked by.
    """
    observation = world.reset(seed=start.seed)
    if not imagined:
        for action in start.actions:
            observation = world.step(action).observation
    policy.reset(seed=start.seed)
    held, last, best = 0, 0.0, -np.inf
    for _ in range(ground.steps):
        moved = world.step(ground.held(policy.act(observation)))
        observation, facts = moved.observation, moved.facts
        if ground.outcome not in facts:
            raise DataRefused("nothing tells the fact that is ranked by", got=ground.outcome, where=ground.task)
        last, best = float(facts[ground.outcome]), max(best, float(facts[ground.outcome]))
        held = held + 1 if facts.get(SUCCESS) else 0
        if ground.hold and held >= ground.hold:
            break
    return last if ground.outcome == SUCCESS else best


def compare(
    ground: Ground,
    model: WorldModel,
    policies: Mapping[str, Policy],
    begun: Sequence[Start],
    *,
    known: Mapping[str, Sequence[float]] | None = None,
    progress: Progress = silent,
) -> tuple[PolicyRuns, ...]:
    """Run every policy from every start, imagined and true.

    Args:
        ground: the task.
        model: where policies are ranked.
        policies: name -> policy; names are what the table says.
        begun: from :func:`starts` with this model.
        known: name -> true outcomes from these very starts, where they were measured before.
        progress: called after each run.

    Raises:
        UsageError: no policy or start.
        DataRefused: a policy that does not find its streams in what the model predicts.
    """
    if not policies or not begun:
        raise UsageError("ranking needs policies and starts", got=f"{len(policies)} policies, {len(begun)} starts")
    known = known or {}
    total, done, out = len(policies) * len(begun), 0, []
    for name, policy in policies.items():
        true, said = list(known.get(name, ())), []
        for start in begun:
            dream = ImaginedEnvironment(model, [start.prompt], horizon=ground.steps, judge=ground.judge)
            said.append(run(ground, dream, policy, start, imagined=True))
            if name not in known:
                true.append(run(ground, ground.make(), policy, start, imagined=False))
            done += 1
            progress(done, total, name)
        out.append(PolicyRuns(name=name, release=policy.digest, true=tuple(true), imagined=tuple(said)))
    return tuple(out)

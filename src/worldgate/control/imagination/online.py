"""Learning in a task through imagination: collect with the actor, learn the world, learn to act in it, look again.

Source: DreamerV3 (Hafner et al. 2025, arXiv 2301.04104). A run's folder holds ``config.json``, ``metrics.jsonl`` (one
line an evaluation: steps in the task, updates, returns of the actor in the task itself), ``snapshots/`` and ``latest``;
a run that is started again in its folder goes on from there, between two runs in the task, and gives what it would
have given. Notable choices: whole runs are collected, then learned from; the actor that collects is numpy; model and
actor-critic learn from the same sequences by two AdamW.

Shape legend: N sequences, T rows, D state channels, A action channels.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor

from worldgate.control.imagination.acting import Acting
from worldgate.control.imagination.actor_critic import ActorCritic, BehaviourConfig
from worldgate.control.imagination.replay import Replay, Run
from worldgate.core.atomic import write_atomic
from worldgate.core.digest import canonical, sha256
from worldgate.core.errors import UsageError
from worldgate.core.normalisers import Normaliser, Statistics, fit
from worldgate.core.streams import Array, FloatArray
from worldgate.core.tasks import Task
from worldgate.core.worlds import Observation, Signal
from worldgate.worlds.nn.rssm import State, by_chance
from worldgate.worlds.nn.rssm_net import NetConfig, RssmNet
from worldgate.worlds.tracks import Layout
from worldgate.worlds.train import snapshots

READS = ("reward", "terminal")
_EVALUATION = 1_000_000
"""Seeds of runs that judge begin here; those of runs to learn from below."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineConfig:
    """How long to learn, how often, and how it is judged."""

    steps: int = 100_000
    """Control periods in the task."""
    random: int = 2500
    """Of them, how many are acted at random first; statistics are measured on these."""
    ratio: float = 128.0
    """Rows that are learned from for each row collected."""
    batch: int = 16
    """N."""
    window: int = 64
    """T."""
    model_rate: float = 6e-4
    behaviour_rate: float = 3e-4
    clip: float = 10.0
    """Largest norm of a gradient."""
    every: int = 5000
    """Control periods between evaluations."""
    runs: int = 5
    """In the task, by which an evaluation judges the likeliest action."""
    net: NetConfig = field(default_factory=NetConfig)
    behaviour: BehaviourConfig = field(default_factory=BehaviourConfig)
    seed: int = 0


Act: TypeAlias = Callable[[Observation], FloatArray]
"""An observation to an action from -1 to 1."""


def normaliser_of(task: Task, runs: list[Run]) -> Normaliser:
    """Statistics of what was seen; actions by their bounds."""
    rows, start = np.concatenate([run.states_TD for run in runs]), 0
    streams: dict[str, Statistics] = {}
    for signal in task.spec.states:
        streams[signal.name] = fit([rows[:, start : start + signal.shape[0]]], unit=signal.unit)
        start += signal.shape[0]
    low, high = np.asarray(task.spec.low), np.asarray(task.spec.high)
    middle, half = (low + high) / 2, (high - low) / 2
    action = task.spec.action
    streams[action.name] = Statistics(mean=tuple(middle.tolist()), std=tuple(half.tolist()), unit=action.unit)
    return Normaliser(streams=streams)


def layout_of(task: Task) -> Layout:
    """The task's numbers and what is read out, as a model is built for them."""
    reads = tuple(Signal(name=name, shape=(1,)) for name in READS)
    return Layout(rate_hz=task.spec.rate_hz, states=task.spec.states, action=task.spec.action, reads=reads)


def acting_tensors(net: RssmNet, behaviour: ActorCritic) -> dict[str, Array]:
    """A copy of what acting needs of both: encoder, dynamics and actor."""
    held: dict[str, Array] = {}
    for name, tensor in net.state_dict().items():
        if name.startswith(("encoder.", "rssm.")) and not name.startswith("rssm.prior_head."):
            held[name] = tensor.detach().numpy().copy()
    for name, tensor in behaviour.actor.state_dict().items():
        held[f"actor.{name}"] = tensor.detach().numpy().copy()
    return held


def acting_of(net: RssmNet, behaviour: ActorCritic) -> Acting:
    """The actor as it is now, in numpy."""
    rssm, held = net.config.rssm, acting_tensors(net, behaviour)
    turning = tuple(bool(v) for v in net.scaling.circular_D)
    return Acting(held, classes=rssm.classes, uniform=rssm.uniform, turning=turning)


def joined(observation: Observation, task: Task) -> FloatArray:
    """(D,) numbers that a policy may see, in the task's order."""
    return np.concatenate([np.asarray(observation[signal.name], np.float64) for signal in task.spec.states])


def collect(task: Task, act: Act, *, seed: int) -> Run:
    """One run in the task under actions from -1 to 1."""
    low, high = np.asarray(task.spec.low), np.asarray(task.spec.high)
    observation = task.reset(seed=seed)
    states, actions = [joined(observation, task)], [np.zeros(len(low))]
    rewards, ends, success = [0.0], [0.0], 0.0
    for _ in range(task.spec.steps):
        action = low + (np.clip(act(observation), -1, 1) + 1) / 2 * (high - low)
        step = task.step(action)
        observation = step.observation
        states.append(joined(observation, task))
        actions.append(action)
        rewards.append(float(step.facts["reward"]))
        ends.append(0.0)
        success = float(step.facts["success"])
        if step.done:
            ends[-1] = float(len(rewards) <= task.spec.steps)
            break
    return Run(
        states_TD=np.stack(states),
        actions_TA=np.stack(actions),
        reward_T=np.array(rewards),
        terminal_T=np.array(ends),
        success=success,
    )


class Online:
    """A run of learning in a task.

    Args:
        task: where it acts.
        about: what names the task, kept in the folder.
        config: how it learns.
        folder: the run's; it is made, or gone on from.

    Raises:
        UsageError: the folder is of another task or configuration.
    """

    def __init__(self, task: Task, about: Mapping[str, Any], config: OnlineConfig, folder: Path) -> None:
        self.task, self.config, self.folder = task, config, folder
        described = canonical({"task": dict(about), "config": dataclasses.asdict(config)})
        self.digest = sha256(described)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "config.json").exists():
            write_atomic(folder / "config.json", described)
        elif (folder / "config.json").read_bytes() != described:
            raise UsageError("this folder holds another run", where=folder, hint="choose another folder")
        self.rng = np.random.default_rng(config.seed)
        spec = task.spec
        widths = sum(signal.shape[0] for signal in spec.states), spec.action.shape[0]
        self.replay = Replay(*widths, rows=2 * (config.steps + spec.steps + config.random))
        self.steps = self.updates = self.collected = 0
        self.owed, self.seconds = 0.0, 0.0
        first = [self._random_run() for _ in range(-(-config.random // spec.steps))]
        torch.manual_seed(config.seed)
        self.normaliser = normaliser_of(task, first)
        self.net = RssmNet(config.net, layout_of(task), self.normaliser, "reward")
        self.behaviour = ActorCritic(config.behaviour, self.net.rssm.features, widths[1], config.net.bins)
        self.model_learner = torch.optim.AdamW(self.net.parameters(), config.model_rate, weight_decay=1e-3, fused=True)
        self.behaviour_learner = torch.optim.AdamW(
            self.behaviour.learners(), config.behaviour_rate, weight_decay=0.0, fused=True
        )
        if (folder / "latest").exists():
            self._restore()

    def _random_run(self) -> Run:
        draw = np.random.default_rng([self.config.seed, self.collected])
        width = self.task.spec.action.shape[0]
        return self._take(lambda _: draw.uniform(-1, 1, width))

    def _take(self, act: Act) -> Run:
        run = collect(self.task, act, seed=self.config.seed * 10_000 + self.collected)
        self.replay.add(run)
        self.collected += 1
        self.steps += len(run.reward_T) - 1
        return run

    def acting_tensors(self) -> dict[str, Array]:
        """The actor's weights as they are now, with those it needs to see by."""
        return acting_tensors(self.net, self.behaviour)

    def _acting(self, *, seed: int, explore: bool) -> Act:
        acting = acting_of(self.net, self.behaviour)
        acting.reset(seed=seed)
        names = [signal.name for signal in self.task.spec.states]

        def act(observation: Observation) -> FloatArray:
            seen = np.concatenate([self.normaliser.apply(name, np.asarray(observation[name])) for name in names])
            return acting.act(seen, joined(observation, self.task), explore=explore)

        return act

    def go(self, *, until: int = 0, say: Callable[[Mapping[str, float]], None] | None = None) -> None:
        """Learn until so many control periods have been taken; 0: all.

        Args:
            until: where to stop, at the next evaluation.
            say: told every line of ``metrics.jsonl``.
        """
        begun, config = time.monotonic() - self.seconds, self.config
        while self.steps < (until or config.steps):
            due = self.steps // config.every
            run = self._take(self._acting(seed=self.collected, explore=True))
            self.owed += config.ratio * len(run.reward_T) / (config.batch * config.window)
            facts: dict[str, float] = {}
            while self.owed >= 1:
                facts = self.learn()
                self.owed -= 1
            if self.steps // config.every > due:
                self.seconds = time.monotonic() - begun
                line = {"step": self.steps, "updates": self.updates, "seconds": round(self.seconds, 1), **facts}
                line |= self.judge()
                with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
                self._snapshot()
                if say is not None:
                    say(line)

    def learn(self) -> dict[str, float]:
        """One update of the model, and one of actor and critic in it."""
        config = self.config
        sequences = self.replay.draw(self.rng, config.batch, config.window, READS)
        loss, parts, states = self.net.loss(sequences, by_chance)
        _update(self.model_learner, loss, config.clip)
        flat = State(*(part.detach().flatten(0, 1) for part in states))
        if config.behaviour.starts:
            chosen = torch.as_tensor(self.rng.permutation(len(flat.deter_ND))[: config.behaviour.starts])
            flat = State(*(part[chosen] for part in flat))
        acting, facts = self.behaviour.loss(self.net, flat)
        _update(self.behaviour_learner, acting, config.clip)
        self.behaviour.follow()
        self.updates += 1
        return {f"loss_{name}": round(float(part.detach()), 4) for name, part in parts.items()} | facts

    def judge(self) -> dict[str, Any]:
        """Returns of the likeliest actions in the task, over runs that nothing was learned from."""
        runs = [
            collect(self.task, self._acting(seed=0, explore=False), seed=_EVALUATION + i)
            for i in range(self.config.runs)
        ]
        totals = [run.total for run in runs]
        return {
            "returns": totals,
            "return": float(np.mean(totals)),
            "success": float(np.mean([r.success for r in runs])),
        }

    # ------------------------------------------------------------------ going on

    def _learners(self) -> dict[str, torch.optim.Optimizer]:
        return {"model": self.model_learner, "behaviour": self.behaviour_learner}

    def _snapshot(self) -> None:
        state = {f"replay.{name}": held for name, held in self.replay.state().items()}
        for learner, optimiser in self._learners().items():
            for i, moments in optimiser.state_dict()["state"].items():
                state |= {f"adam.{learner}.{i}.{name}": torch.as_tensor(v) for name, v in moments.items()}
        numbers = [self.steps, self.updates, self.collected, self.owed]
        weights = {f"net.{name}": held for name, held in self.net.state_dict().items()}
        weights |= {f"behaviour.{name}": held for name, held in self.behaviour.state_dict().items()}
        snapshot = snapshots.Snapshot(
            phase=0,
            step=self.steps,
            seconds=self.seconds,
            weights=weights,
            optimiser=state | {"numbers": torch.tensor(numbers, dtype=torch.float64)},
            rng=(cast(dict[str, Any], self.rng.bit_generator.state),),
            digests={"run": self.digest},
        )
        snapshots.save(self.folder, snapshot)

    def _restore(self) -> None:
        snapshot = snapshots.load(self.folder)
        held = snapshot.optimiser
        self.seconds = snapshot.seconds
        *counts, self.owed = held["numbers"].tolist()
        self.steps, self.updates, self.collected = map(int, counts)
        self.replay.restore(_under("replay.", held))
        self.net.load_state_dict(_under("net.", snapshot.weights))
        self.behaviour.load_state_dict(_under("behaviour.", snapshot.weights))
        for learner, optimiser in self._learners().items():
            moments: dict[int, dict[str, Tensor]] = {}
            for name, value in _under(f"adam.{learner}.", held).items():
                index, field_name = name.split(".")
                moments.setdefault(int(index), {})[field_name] = value
            optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})
        self.rng.bit_generator.state = snapshot.rng[0]


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): held for name, held in tensors.items() if name.startswith(prefix)}


def _update(learner: torch.optim.Optimizer, loss: Tensor, clip: float) -> None:
    learner.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_([p for group in learner.param_groups for p in group["params"]], clip)
    learner.step()

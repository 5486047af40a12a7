"""Improving a cloned policy inside any world model, and seeing in the true environment whether it became better.

From recorded situations the policy, with some noise, imagines several futures each; heads fitted to true outcomes say
what they give; futures of one situation are compared with each other, and what was better than their mean is made more
likely, what was worse less: by sign alone (PMPO: Abdolmaleki et al. 2024, arXiv 2410.04166; as in Dreamer 4, arXiv
2509.24527). The policy is held near the cloned one by the divergence of the two, and pays for going where the members
of the model disagree. A model sees numpy and nothing else, so every family can serve.

Shape legend: P situations, B futures of one, K steps, D observed channels, A action channels, C context rows.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from worldgate.control.imagination.checking import Check
from worldgate.control.imagination.outcomes import Fitted as FittedOutcomes
from worldgate.control.imagination.outcomes import OutcomeConfig, Outcomes, to_go
from worldgate.control.imagination.replay import Run
from worldgate.core.errors import CapabilityMissing, DataRefused
from worldgate.core.normalisers import Normaliser
from worldgate.core.streams import Array, FloatArray
from worldgate.core.tasks import TRUTH, Task
from worldgate.core.worlds import Frame, Observation, Prompt, Signal, WorldModel

_UNSEEN = 2_000_000
"""Seeds of the runs whose situations the check begins in; those of runs to learn from begin at the config's seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImproveConfig:
    """How a policy is improved."""

    runs: int = 60
    """Runs of the cloned policy in the task, half of them with noise: what the heads learn, and where futures begin."""
    rounds: int = 60
    """Times that futures are imagined and learned from."""
    situations: int = 16
    """P of a round."""
    futures: int = 8
    """B."""
    horizon: int = 12
    """K."""
    noise: float = 0.3
    """Standard deviation of the policy's actions, in those of the normaliser."""
    discount: float = 0.98
    near: float = 0.3
    """Weight of the divergence from the cloned policy."""
    caution: float = 0.1
    """What a step costs for each standard deviation that members disagree by, in spreads of the reward."""
    passes: int = 4
    """Gradient steps on the futures of a round."""
    rate: float = 3e-4
    check: int = 40
    """Situations and runs of the check."""
    outcomes: OutcomeConfig = field(default_factory=OutcomeConfig)
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloned:
    """A policy without memory, as it can learn: normalised rows to normalised actions."""

    layers: tuple[tuple[FloatArray, FloatArray], ...]
    """Weights (O, I) and biases (O,), SiLU in between."""
    normaliser: Normaliser
    observation: tuple[Signal, ...]
    action: Signal
    reference: tuple[int, ...] = ()
    """Channels of the joined observation that are added to the action; none: it is absolute."""

    def network(self) -> nn.Sequential:
        """The same in torch."""
        parts: list[nn.Module] = []
        for weight, bias in self.layers:
            linear = nn.Linear(weight.shape[1], weight.shape[0])
            with torch.no_grad():
                linear.weight.copy_(torch.as_tensor(weight))
                linear.bias.copy_(torch.as_tensor(bias))
            parts += [linear, nn.SiLU()]
        return nn.Sequential(*parts[:-1])

    def tensors(self, net: nn.Sequential) -> dict[str, Array]:
        """Weights as the release holds them."""
        linears = [part for part in net if isinstance(part, nn.Linear)]
        return {
            f"{i}.{n}": p.detach().numpy().copy() for i, one in enumerate(linears) for n, p in one.named_parameters()
        }

    def joined(self, rows: Mapping[str, Array]) -> FloatArray:
        """(..., D) what it observes, in the streams' units."""
        return np.concatenate([np.asarray(rows[signal.name], np.float64) for signal in self.observation], axis=-1)

    def enter(self, seen_ND: FloatArray) -> Tensor:
        """(N, D) normalised."""
        parts, start = [], 0
        for signal in self.observation:
            width = signal.shape[0]
            parts.append(self.normaliser.apply(signal.name, seen_ND[:, start : start + width]))
            start += width
        return torch.as_tensor(np.concatenate(parts, axis=1)).float()

    def leave(self, drawn_NA: FloatArray, seen_ND: FloatArray) -> FloatArray:
        """(N, A) actions in the task's unit."""
        actions = self.normaliser.invert(self.action.name, drawn_NA)
        return actions + seen_ND[:, list(self.reference)] if self.reference else actions


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A run in the task with what prompts and repetitions need."""

    rows: tuple[Observation, ...]
    actions_TA: FloatArray
    """In force from each row on; one fewer than rows."""
    run: Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Improved:
    """What came out."""

    tensors: Mapping[str, Array]
    check: Check
    moved: float
    """Root mean square distance of the new policy's actions from the cloned one's, in the normaliser's units."""
    uncertain: bool
    """Whether the model told how sure it was."""


def run_once(
    task: Task, cloned: Cloned, net: nn.Module, *, seed: int, noise: float = 0.0, start: FloatArray | None = None
) -> Seen:
    """One run in the true environment, from a drawn situation or from a row of :data:`TRUTH`."""
    draw = np.random.default_rng([seed, 1])
    low, high = np.asarray(task.spec.low), np.asarray(task.spec.high)
    row = task.reset(seed=seed) if start is None else task.begin(start, seed=seed)
    rows, actions, rewards, success = [row], [], [0.0], 0.0
    for _ in range(task.spec.steps):
        seen = cloned.joined(row)[None]
        with torch.no_grad():
            drawn = net(cloned.enter(seen)).double().numpy()
        action = np.clip(cloned.leave(drawn + noise * draw.standard_normal(drawn.shape), seen)[0], low, high)
        step = task.step(action)
        row = step.observation
        rows.append(row)
        actions.append(action)
        rewards.append(float(step.facts["reward"]))
        success = float(step.facts["success"])
        if step.done:
            break
    ended = np.zeros(len(rewards))
    ended[-1] = float(step.done and len(actions) < task.spec.steps)
    run = Run(
        states_TD=np.stack([cloned.joined(one) for one in rows]),
        actions_TA=np.stack([np.zeros(len(low)), *actions]),
        reward_T=np.array(rewards),
        terminal_T=ended,
        success=success,
    )
    return Seen(rows=tuple(rows), actions_TA=np.stack(actions), run=run)


def prompt_of(model: WorldModel, seen: Seen, row: int) -> Prompt:
    """The last rows before a situation, as a model takes them."""
    spec = model.spec
    known = seen.rows[row + 1 - spec.context : row + 1]
    frames = {c.name: np.stack([np.asarray(one[c.name], np.uint8) for one in known]) for c in spec.cameras}
    return Prompt(
        states={s.name: np.stack([np.asarray(one[s.name], np.float32) for one in known]) for s in spec.states},
        frames=frames,
        actions=seen.actions_TA[row + 1 - spec.context : row + 1].astype(np.float32),
    )


def check_fits(model: WorldModel, cloned: Cloned, task: Task) -> None:
    """Refuse a model or task that cannot show the policy what it observes, at the rate it acts at.

    Raises:
        CapabilityMissing: the model does not predict a stream that the policy observes.
        DataRefused: the task runs at another rate than the model, or lacks a stream that the model is prompted with.
    """
    told = {signal.name for signal in model.spec.states}
    lacking = [signal.name for signal in cloned.observation if signal.name not in told]
    if lacking:
        hint = f"train one with --set 'inputs.states={sorted(told | set(lacking))}'"
        raise CapabilityMissing("this model does not predict what the policy observes", got=lacking[0], hint=hint)
    if not np.isclose(model.spec.rate_hz, task.spec.rate_hz):
        got = f"{model.spec.rate_hz:g} Hz, and the task {task.spec.rate_hz:g} Hz"
        raise DataRefused("model and task run at different rates", got=got, hint="train a model at the task's rate")
    shown = {signal.name: signal.shape for signal in (*task.spec.states, *task.spec.cameras)}
    for signal in (*model.spec.states, *model.spec.cameras):
        if shown.get(signal.name) != signal.shape:
            got = f"{signal.name} {shown.get(signal.name, 'missing')}, not {signal.shape}"
            raise DataRefused("the task does not show what the model is prompted with", got=got, where=task.spec.name)


class _Futures:
    """Imagined futures of many situations, joined."""

    def __init__(self) -> None:
        self.seen: list[FloatArray] = []
        self.drawn: list[FloatArray] = []
        self.better: list[FloatArray] = []

    def add(self, seen_BKD: FloatArray, drawn_BKA: FloatArray, worth_B: FloatArray) -> None:
        self.seen.append(seen_BKD.reshape(-1, seen_BKD.shape[-1]))
        self.drawn.append(drawn_BKA.reshape(-1, drawn_BKA.shape[-1]))
        self.better.append(np.repeat(worth_B - worth_B.mean(), seen_BKD.shape[1]))


class Improver:
    """One improvement.

    Args:
        model: any world model that predicts what the policy observes.
        cloned: where the policy starts.
        task: the true environment.
        config: how.
        outcomes: heads to judge imagined rows by; without, they are fitted to the task's runs.
    """

    def __init__(
        self, model: WorldModel, cloned: Cloned, task: Task, config: ImproveConfig, outcomes: Outcomes | None = None
    ) -> None:
        check_fits(model, cloned, task)
        self.model, self.cloned, self.task, self.config = model, cloned, task, config
        self.start = cloned.network()
        self.net = copy.deepcopy(self.start)
        noises = [config.noise * (i % 2) for i in range(config.runs)]
        self.known = [
            run_once(task, cloned, self.start, seed=config.seed + i, noise=noise) for i, noise in enumerate(noises)
        ]
        runs = [seen.run for seen in self.known]
        self.outcomes = outcomes or FittedOutcomes(runs, config.discount, config.outcomes)
        self.spread = float(np.concatenate([run.reward_T for run in runs]).std()) or 1.0
        self.std_D = np.maximum(np.concatenate([run.states_TD for run in runs]).std(axis=0), 1e-6)
        self.low, self.high = np.asarray(task.spec.low), np.asarray(task.spec.high)
        self.uncertain = False
        self.rng = np.random.default_rng(config.seed)

    def go(self, say: Callable[[int, int, str], None] | None = None) -> Improved:
        """Improve, then check."""
        config = self.config
        learner = torch.optim.AdamW(self.net.parameters(), config.rate, weight_decay=0.0)
        for done in range(config.rounds):
            futures = self._imagine()
            seen_ND, drawn_NA = np.concatenate(futures.seen), np.concatenate(futures.drawn)
            better_N = torch.as_tensor(np.concatenate(futures.better)).float()
            for _ in range(config.passes):
                loss = self._loss(self.cloned.enter(seen_ND), torch.as_tensor(drawn_NA).float(), better_N)
                learner.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                learner.step()
            if say is not None:
                say(done + 1, config.rounds, f"improve: loss {loss.item():.4g}")
        check = self._check()
        return Improved(
            tensors=self.cloned.tensors(self.net), check=check, moved=self._moved(), uncertain=self.uncertain
        )

    def _loss(self, x_ND: Tensor, drawn_NA: Tensor, better_N: Tensor) -> Tensor:
        """PMPO: the likelihood of what was better, less that of what was worse, and the divergence from the start."""
        mean: Tensor = self.net(x_ND)
        with torch.no_grad():
            begun = self.start(x_ND)
        variance = self.config.noise**2
        chance = -(drawn_NA - mean).square().sum(dim=-1) / (2 * variance)
        weight = torch.where(better_N > 0, 0.5 / (better_N > 0).sum().clamp(min=1), 0.0)
        weight = torch.where(better_N < 0, -0.5 / (better_N < 0).sum().clamp(min=1), weight)
        away = (mean - begun).square().sum(dim=-1) / (2 * variance)
        loss: Tensor = -(weight * chance).sum() + self.config.near * away.mean()
        return loss

    def _situations(self, count: int) -> list[tuple[Seen, int]]:
        """Rows with enough before them and something after."""
        least = max(self.model.spec.context - 1, 0)
        fit = [seen for seen in self.known if len(seen.actions_TA) > least]
        if not fit:
            got = f"no run has {least + 1} rows"
            raise DataRefused("runs are too short for this model's context", got=got, hint="a model with less context")
        chosen = [fit[i] for i in self.rng.integers(len(fit), size=count)]
        return [(seen, int(self.rng.integers(least, len(seen.actions_TA)))) for seen in chosen]

    def _imagine(self) -> _Futures:
        out, config = _Futures(), self.config
        for seen, row in self._situations(config.situations):
            seed = int(self.rng.integers(2**31))
            out.add(*self.roll(self.net, prompt_of(self.model, seen, row), config.futures, config.noise, seed))
        return out

    def roll(
        self, net: nn.Module, prompt: Prompt, samples: int, noise: float, seed: int
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Futures of one situation: rows (B, K, D) acted in, what was drawn (B, K, A), and what they are worth (B,)."""
        config, cloned = self.config, self.cloned
        draw = np.random.default_rng(seed)
        unrolling = self.model.open(prompt, samples=samples, seed=seed)
        now = np.repeat(cloned.joined({n: v[-1:] for n, v in prompt.states.items()}), samples, axis=0)
        seen, drawn, worth, lasting = [], [], np.zeros(samples), np.ones(samples)
        for k in range(config.horizon):
            with torch.no_grad():
                mean = net(cloned.enter(now)).double().numpy()
            noisy = mean + noise * draw.standard_normal(mean.shape)
            action = np.clip(cloned.leave(noisy, now), self.low, self.high)
            frame = unrolling.step(action[:, None].astype(np.float32))
            seen.append(now)
            drawn.append(noisy)
            now = cloned.joined({name: values[:, 0] for name, values in frame.states.items()})
            gain = self.outcomes.reward(now) - config.caution * self.spread * self._doubt(frame, samples)
            worth += config.discount**k * lasting * gain
            lasting = lasting * (1 - self.outcomes.ended(now))
        worth += config.discount**config.horizon * lasting * self.outcomes.worth(now)
        return np.stack(seen, axis=1), np.stack(drawn, axis=1), worth

    def _doubt(self, frame: Frame, samples: int) -> FloatArray:
        """(B,) how far members disagree, in spreads of the channels that the policy observes; 0 where none is told."""
        names = [signal.name for signal in self.cloned.observation]
        if not all(name in frame.uncertainty for name in names):
            return np.zeros(samples)
        self.uncertain = True
        sigma_BD = self.cloned.joined({name: frame.uncertainty[name][:, 0] for name in names})
        return np.asarray((sigma_BD / self.std_D).mean(axis=1))

    # ------------------------------------------------------------------ the check

    def _check(self) -> Check:
        """Before and after from the same situations, which nothing was learned from."""
        config = self.config
        least = max(self.model.spec.context - 1, 0)
        runs = [run_once(self.task, self.cloned, self.start, seed=_UNSEEN + i) for i in range(config.check)]
        held = [(seen, least) for seen in runs if len(seen.actions_TA) > least]
        if not held:
            raise DataRefused("runs are too short for this model's context", hint="a model with less context")
        sides = {}
        for name, net in (("before", self.start), ("after", self.net)):
            imagined = [self._imagined_return(net, seen, row, i) for i, (seen, row) in enumerate(held)]
            true = [self._true_return(net, seen, row, i) for i, (seen, row) in enumerate(held)]
            sides[name] = np.array(imagined), *np.array(true).T
        return Check(
            imagined_before_P=sides["before"][0],
            imagined_after_P=sides["after"][0],
            true_before_P=sides["before"][1],
            true_after_P=sides["after"][1],
            success_before_P=sides["before"][2],
            success_after_P=sides["after"][2],
        )

    def _imagined_return(self, net: nn.Module, seen: Seen, row: int, seed: int) -> float:
        """What the model promises, without the price of doubt."""
        held, self.config = self.config, replace(self.config, caution=0.0)
        _, _, worth_B = self.roll(net, prompt_of(self.model, seen, row), self.config.futures, 0.0, seed)
        self.config = held
        return float(worth_B.mean())

    def _true_return(self, net: nn.Module, seen: Seen, row: int, seed: int) -> tuple[float, float]:
        start = np.asarray(seen.rows[row][TRUTH], np.float64)
        run = run_once(self.task, self.cloned, net, seed=_UNSEEN + seed, start=start).run
        return float(to_go(run.reward_T, self.config.discount)[0]), run.success

    def _moved(self) -> float:
        seen: Sequence[FloatArray] = [one.run.states_TD for one in self.known]
        x_ND = self.cloned.enter(np.concatenate(seen))
        with torch.no_grad():
            return float((self.net(x_ND) - self.start(x_ND)).square().mean().sqrt())

"""Reaching goals: held-out start/goal pairs, the trials on them, and the controls without which no rate is told.

A pair is two rows of a recorded episode that nobody was trained on: the task is put where the first row stood and must
come to where the second stood, in a budget of steps. Beside the policy's own trials stand two controls on the same
pairs: it is told a goal of another episode and judged by the pair's own (shuffled: success without knowing the goal),
and actions are drawn evenly within their bounds (random: success without knowing anything). A report holds all three
or does not exist.

The preset is the protocol of stable-worldmodel and LeWM (goal 25 rows ahead, budget 50 steps; Maes et al. 2026,
arXiv:2603.19312), with two differences: episodes are held out, and pairs that begin within the goal's radius are not
drawn; how many would have been is told. Rates have exact Clopper-Pearson intervals over all pairs.

Shape legend: S numbers of the truth, G groups.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Any

import numpy as np

from worldgate.core.config import decode
from worldgate.core.digest import Json, canonical, digest_json, short, to_json
from worldgate.core.episodes import Episode
from worldgate.core.errors import CapabilityMissing, ConfigError, DataRefused, NotFound, SplitLeak, UsageError
from worldgate.core.progress import Progress, silent
from worldgate.core.streams import FloatArray, Origin
from worldgate.core.tasks import TRUTH, GoalPolicy, Task
from worldgate.core.worlds import Observation
from worldgate.evidence.exact import outward
from worldgate.evidence.statistics import binomial_interval
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace

PROTOCOL, REPORT = "worldgate.reaching.protocol/1", "worldgate.reaching/1"
ALPHA = "0.05"
"""Of every interval."""


class Arm(StrEnum):
    """What a trial shows."""

    OWN = "own"
    """The policy with the pair's goal."""
    SHUFFLED = "shuffled"
    """The policy with the goal of a pair of another episode, judged by the pair's own."""
    RANDOM = "random"
    """Actions drawn evenly within their bounds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairConfig:
    """How pairs are drawn; the values are those of the published protocol, SWM-25/50, in five groups."""

    offset: int = 25
    """Rows from start to goal."""
    budget: int = 50
    """Steps that a trial may take."""
    groups: int = 5
    """Groups of pairs, over which means and spread are told."""
    pairs: int = 50
    """Pairs a group."""
    seed: int = 0
    """Of the drawing, of the goals told in the shuffled control, and of every trial."""

    def __post_init__(self) -> None:
        for name in ("offset", "budget", "groups", "pairs"):
            if getattr(self, name) < 1:
                raise ConfigError("must be at least 1", got=getattr(self, name), where=f"pairs.{name}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """Where a trial begins and where it should come to."""

    episode: str
    """Id of the held-out episode."""
    start: int
    """Row of it."""
    goal: int
    """Row of it."""
    start_truth: tuple[float, ...]
    """(S,) what :data:`~worldgate.core.tasks.TRUTH` held at the start."""
    goal_truth: tuple[float, ...]
    """(S,) at the goal."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReachingProtocol:
    """Everything that fixes an evaluation; two evaluations of one digest tried the same."""

    task: str
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of the task's ``Config``."""
    dataset: str = ""
    """Digest of the dataset, where the episodes are of one."""
    split: str = ""
    """Its split."""
    trained: str
    """Digest of the ids of the episodes that were trained on, in order: none of them is in a pair."""
    config: PairConfig
    pairs: tuple[Pair, ...]
    """Group after group."""
    examined: int
    """Candidates looked at until so many pairs were found."""
    already: int
    """How many of them began within the goal's radius, and were left out."""

    def __post_init__(self) -> None:
        if len(self.pairs) != self.config.groups * self.config.pairs:
            got = f"{len(self.pairs)} pairs in {self.config.groups} groups of {self.config.pairs}"
            raise ConfigError("not as many pairs as the groups need", got=got, where=self.task)
        if len({pair.episode for pair in self.pairs}) < 2:
            what, hint = "goals cannot be shuffled within one episode", "at least two held-out episodes"
            raise DataRefused(what, where=short(self.pairs[0].episode), hint=hint)

    @property
    def digest(self) -> str:
        """Identity of the protocol."""
        return digest_json(self)

    def groups(self) -> Iterator[Sequence[int]]:
        """Indices of the pairs of each group."""
        each = self.config.pairs
        return (range(first, first + each) for first in range(0, len(self.pairs), each))

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        tree = to_json(self)
        assert isinstance(tree, dict)
        return canonical({"schema": PROTOCOL, **tree})

    @classmethod
    def from_bytes(cls, data: bytes, *, where: str = "protocol.json") -> ReachingProtocol:
        """Read back :meth:`to_bytes`.

        Raises:
            ConfigError: another schema or form, or another number of pairs than the groups need.
            DataRefused: pairs of a single episode.
        """
        try:
            tree = json.loads(data)
        except ValueError as error:
            raise ConfigError("a protocol is JSON", got=str(error)[:80], where=where) from error
        if not isinstance(tree, dict) or tree.pop("schema", None) != PROTOCOL:
            raise ConfigError("not a protocol of reaching", where=where, hint=f"schema {PROTOCOL}")
        return decode(cls, tree, where=where)


def draw_pairs(
    task: Task,
    episodes: Sequence[Episode],
    *,
    trained: Collection[str],
    config: PairConfig | None = None,
    options: Mapping[str, Any] | None = None,
    dataset: str = "",
    split: str = "",
) -> ReachingProtocol:
    """Draw pairs from held-out episodes: each start row at most once, none in a gap, none that begins at its goal.

    Args:
        task: where they will be tried; it is put into each candidate to see whether it begins at its goal.
        episodes: held out.
        trained: ids of the episodes that any of the policies to be compared was trained on.
        config: how pairs are drawn.
        options: of the task's ``Config``, kept in the protocol.
        dataset: digest of the dataset, where there is one.
        split: its split.

    Raises:
        CapabilityMissing: the task takes no goals.
        SplitLeak: an episode that was trained on.
        NotFound: an episode without the truth of its simulator.
        DataRefused: another task's episodes, too few rows, or a single episode, which allows no shuffled goals.
    """
    config = config or PairConfig()
    name = task.spec.name
    if not task.spec.takes_goals:
        raise CapabilityMissing("this task takes no goals", got=name, hint="worldgate list tasks")
    if config.budget > task.spec.steps:
        got, hint = f"{config.budget} steps", f"at most {task.spec.steps}"
        raise ConfigError("a budget beyond the task's longest run", got=got, where=name, hint=hint)
    by_id = {episode.id: episode for episode in sorted(episodes, key=lambda episode: episode.id)}
    for episode in by_id.values():
        _held_out(episode, name, frozenset(trained))
    candidates = [(id_, row) for id_, episode in by_id.items() for row in _rows(episode, task, config.offset)]
    wanted = config.groups * config.pairs
    found, examined, already = list[Pair](), 0, 0
    for number in np.random.default_rng([config.seed, 0x9A1]).permutation(len(candidates)):
        id_, row = candidates[number]
        truth = by_id[id_].array(TRUTH)
        pair = Pair(
            episode=id_,
            start=row,
            goal=row + config.offset,
            start_truth=tuple(truth[row].tolist()),
            goal_truth=tuple(truth[row + config.offset].tolist()),
        )
        examined += 1
        task.begin(truth[row], truth[row + config.offset], seed=config.seed)
        if task.measure()["success"]:
            already += 1
            continue
        found.append(pair)
        if len(found) == wanted:
            break
    if len(found) < wanted:
        got = f"{len(found)} of {wanted}, {already} begin at their goal"
        hint = "more held-out episodes, or fewer pairs"
        raise DataRefused("too few rows to draw the pairs from", got=got, where=name, hint=hint)
    return ReachingProtocol(
        task=name,
        options=dict(options or {}),
        dataset=dataset,
        split=split,
        trained=digest_json(sorted(trained)),
        config=config,
        pairs=tuple(found),
        examined=examined,
        already=already,
    )


def _held_out(episode: Episode, task: str, trained: frozenset[str]) -> None:
    if episode.id in trained:
        hint = "pairs are drawn from held-out episodes only"
        raise SplitLeak("an episode that was trained on", got=short(episode.id), where=episode.name, hint=hint)
    if TRUTH not in episode.streams:
        hint = "record with worldgate sim task"
        raise NotFound("an episode without its simulator's state", got=TRUTH, where=episode.name, hint=hint)
    if episode.facts.get("environment", task) != task:
        raise DataRefused("an episode of another task", got=episode.facts["environment"], where=episode.name, hint=task)


def _rows(episode: Episode, task: Task, offset: int) -> Iterator[int]:
    """Rows whose own and goal row are whole in all that the task shows."""
    names = (TRUTH, *(signal.name for signal in (*task.spec.states, *task.spec.cameras)))
    gap = np.zeros(len(episode), bool)
    for name in names:
        if name in episode.streams:
            gap |= episode.streams[name].gap
    truth = np.asarray(episode.array(TRUTH), np.float64)
    whole = ~gap & np.isfinite(truth).all(axis=1)
    return (row for row in range(len(episode) - offset) if whole[row] and whole[row + offset])


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """What came of one pair in one arm."""

    arm: Arm
    pair: int
    """Index among the protocol's pairs."""
    told: int
    """Index of the pair whose goal was told; -1: none."""
    success: bool
    steps: int
    """Steps used."""
    start_distance: float
    """In the task's unit, from the pair's own goal."""
    end_distance: float
    process_ms: tuple[float, ...] = ()
    """Of each decision, on the process's clock; what taking the goal took counts to the first."""
    wall_ms: tuple[float, ...] = ()


def evaluate(
    task: Task, policy: GoalPolicy, protocol: ReachingProtocol, *, progress: Progress = silent
) -> ReachingReport:
    """Try a policy and its controls on every pair.

    Args:
        task: made with the protocol's options.
        policy: who is told goals; it is reset with a seed of the pair before each trial.
        protocol: what is tried.
        progress: called after every pair.

    Raises:
        UsageError: another task than the protocol's, a policy that takes no goals, or an action outside its bounds.
        DataRefused: a pair that begins at its goal.
    """
    if task.spec.name != protocol.task:
        raise UsageError("another task than the protocol's", got=task.spec.name, hint=protocol.task)
    if not hasattr(policy, "aim"):
        raise UsageError("a policy that takes no goals", got=type(policy).__name__, hint="one with aim(goal, steps=…)")
    told = _shuffled(protocol)
    trials = []
    for index in range(len(protocol.pairs)):
        trials += [
            _trial(task, policy, protocol, index, Arm.OWN, index),
            _trial(task, policy, protocol, index, Arm.SHUFFLED, told[index]),
            _trial(task, None, protocol, index, Arm.RANDOM, -1),
        ]
        progress(index + 1, len(protocol.pairs), f"{sum(t.success for t in trials[::3])} reached")
    return ReachingReport(protocol=protocol, policy=policy.digest, trials=tuple(trials))


def _shuffled(protocol: ReachingProtocol) -> list[int]:
    """For each pair, another of another episode."""
    draw = np.random.default_rng([protocol.config.seed, 0x9A2])
    episodes = np.array([pair.episode for pair in protocol.pairs])
    return [int(draw.choice(np.flatnonzero(episodes != pair.episode))) for pair in protocol.pairs]


def _begin(task: Task, pair: Pair, seed: int) -> Observation:
    return task.begin(np.array(pair.start_truth), np.array(pair.goal_truth), seed=seed)


def _trial(task: Task, policy: GoalPolicy | None, protocol: ReachingProtocol, index: int, arm: Arm, told: int) -> Trial:
    pair, config = protocol.pairs[index], protocol.config
    seed = config.seed * 1_000_003 + index
    process, wall = list[float](), list[float]()
    goal: Observation = {}
    if told >= 0:
        _begin(task, protocol.pairs[told], seed)
        goal = task.goal()
    observation = _begin(task, pair, seed)
    before = task.measure()
    if before["success"]:
        raise DataRefused("a pair that begins at its goal", got=f"row {pair.start}", where=short(pair.episode))
    start = before["distance"]
    draw = np.random.default_rng([seed, 0x9A3])
    since = (0.0, 0.0)
    if policy is not None:
        policy.reset(seed=seed)
        since = _clocks()
        policy.aim(goal, steps=config.budget)
    end, success, steps = start, False, 0
    for steps in range(1, config.budget + 1):
        if policy is None:
            action: FloatArray = draw.uniform(task.spec.low, task.spec.high)
        else:
            since = since if steps == 1 else _clocks()
            action = policy.act(observation)
            now = _clocks()
            process.append(now[0] - since[0])
            wall.append(now[1] - since[1])
        transition = task.step(action)
        observation, end = transition.observation, transition.facts["distance"]
        success = bool(transition.facts["success"])
        if success or transition.done:
            break
    return Trial(
        arm=arm,
        pair=index,
        told=told,
        success=success,
        steps=steps,
        start_distance=float(start),
        end_distance=float(end),
        process_ms=tuple(process),
        wall_ms=tuple(wall),
    )


def _clocks() -> tuple[float, float]:
    """Process and wall time, ms."""
    return time.process_time() * 1e3, time.perf_counter() * 1e3


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """How often an arm came to the goal."""

    n: int
    successes: int
    lower: str
    """Of the exact 95 % interval, rounded outward."""
    upper: str
    group_mean: float
    group_sd: float | None
    """Between groups, with G - 1; None for a single group."""
    steps: float | None
    """Median of the steps used where it succeeded; None where it never did."""

    @property
    def rate(self) -> float:
        """Share of pairs."""
        return self.successes / self.n


@dataclass(frozen=True, kw_only=True, slots=True)
class Latency:
    """What a decision takes, ms."""

    decisions: int
    median: float
    p95: float
    worst: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Latency:
        """Of all decisions."""
        median, p95 = np.quantile(values, [0.5, 0.95])
        return cls(decisions=len(values), median=float(median), p95=float(p95), worst=max(values))


@dataclass(frozen=True, kw_only=True, slots=True)
class ReachingReport:
    """Trials of a policy and its controls, and what they come to."""

    protocol: ReachingProtocol
    policy: str
    """Digest of the policy."""
    trials: tuple[Trial, ...]

    def __post_init__(self) -> None:
        for arm in Arm:
            if sorted(t.pair for t in self.trials if t.arm is arm) != list(range(len(self.protocol.pairs))):
                raise UsageError("a report without a trial of every pair in every arm", got=arm.value)

    def rates(self) -> dict[Arm, Rate]:
        """How often each arm came to the goal: never one alone."""
        return {arm: self._rate(arm) for arm in Arm}

    def _rate(self, arm: Arm) -> Rate:
        trials = sorted((t for t in self.trials if t.arm is arm), key=lambda t: t.pair)
        won = np.array([t.success for t in trials])
        lower, upper = binomial_interval(int(won.sum()), len(won), ALPHA)
        groups = [float(won[list(group)].mean()) for group in self.protocol.groups()]
        used = [t.steps for t in trials if t.success]
        return Rate(
            n=len(won),
            successes=int(won.sum()),
            lower=lower,
            upper=upper,
            group_mean=float(np.mean(groups)),
            group_sd=float(np.std(groups, ddof=1)) if len(groups) > 1 else None,
            steps=float(np.median(used)) if used else None,
        )

    def latency(self, clock: str = "process") -> Latency:
        """What the policy's own decisions took, by ``process`` or ``wall`` clock."""
        own = [t for t in self.trials if t.arm is Arm.OWN]
        return Latency.of([ms for t in own for ms in (t.process_ms if clock == "process" else t.wall_ms)])

    def columns(self) -> tuple[str, ...]:
        """Of :meth:`rows`."""
        return "trials", "reached", "rate [%]", "95 % interval [%]", "groups, mean ± sd [%]", "steps, median"

    def rows(self) -> list[tuple[str, ...]]:
        """A table for people: the policy, then its controls."""
        out: list[tuple[str, ...]] = []
        for arm, found in self.rates().items():
            spread = "" if found.group_sd is None else f" ± {100 * found.group_sd:.1f}"
            out.append(
                (
                    arm.value,
                    f"{found.successes} of {found.n}",
                    f"{100 * found.rate:.1f}",
                    f"{_tenth(found.lower, ROUND_FLOOR)} to {_tenth(found.upper, ROUND_CEILING)}",
                    f"{100 * found.group_mean:.1f}{spread}",
                    "" if found.steps is None else f"{found.steps:g}",
                )
            )
        return out

    def lines(self) -> list[str]:
        """The same in words, one line an arm, then latency and what was left out."""
        own, wall = self.latency(), self.latency("wall")
        share = self.protocol.already / self.protocol.examined
        return [
            *(f"{arm}: {reached} ({rate} %, {interval} %)" for arm, reached, rate, interval, *_ in self.rows()),
            f"an action: median {own.median:.2f} ms, p95 {own.p95:.2f} ms, worst {own.worst:.2f} ms of the process's"
            f" time; {wall.median:.2f}, {wall.p95:.2f}, {wall.worst:.2f} ms by the wall clock",
            f"left out: {100 * share:.1f} % of {self.protocol.examined} candidates, which begin at their goal",
        ]

    def body(self) -> dict[str, Json]:
        """As data: bounds are texts rounded outward, every arm stands in it, and each trial."""
        arms = {arm.value: to_json(found) for arm, found in self.rates().items()}
        clocks = {name: self._told(self.latency(name)) for name in ("process", "wall")}
        return {
            "schema": REPORT,
            "protocol": self.protocol.digest,
            "task": self.protocol.task,
            "policy": self.policy,
            "arms": to_json(arms),
            "decision_ms": to_json(clocks),
            "examined": self.protocol.examined,
            "already": self.protocol.already,
            "trials": to_json(self.trials),
        }

    @staticmethod
    def _told(latency: Latency) -> dict[str, Any]:
        up = {name: outward(Fraction(getattr(latency, name)), "up") for name in ("median", "p95", "worst")}
        return {"decisions": latency.decisions, **up}


def _tenth(bound: str, direction: str) -> Decimal:
    """A bound for people, in tenths of a percent, rounded outward."""
    return (Decimal(bound) * 100).quantize(Decimal("0.1"), rounding=direction)


def put(ws: Workspace, report: ReachingReport, *, subject: str, inputs: Sequence[Ref] = ()) -> Ref:
    """Keep a report, the protocol beside it, and record ``evidence.made``.

    Args:
        ws: the workspace.
        report: what came of the trials.
        subject: digest of what was tried: a world model that was planned in, or a release.
        inputs: what else it came from.
    """
    protocol = ws.store.put_bytes(report.protocol.to_bytes())
    tree = report.body() | {"subject": subject, "protocol_document": protocol}
    ref = Ref("evidence", ws.put_json(tree), "reaching")
    body = {"evidence": ref.digest, "schema": REPORT, "subject": subject, "origin": Origin.SIMULATED}
    ws.record("evidence.made", body=body, inputs=inputs, outputs=(ref,))
    return ref

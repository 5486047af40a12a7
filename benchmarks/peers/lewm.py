"""LeWM of stable-worldmodel beside ours in ``benchmarks/planning.py``: the same episodes, pairs and trials for both.

Everything of LeWM runs in an environment of its own (``make bench-env``): :func:`taught` writes the episodes for it and
lets it learn for as many seconds of processor time as ours did; :class:`Bridge` asks it. Two ways to plan with it are
tried: by its own CEM as published (``Own``), and by our planners, which are told how far from the goal it predicts that
plans lead (``Ported``). Milliseconds are those inside its process and of our planner, without the way between them.

Shape legend: N plans, K blocks, A action channels, H x W pixels, E episodes.
"""

from __future__ import annotations

import contextlib
import json
import math
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast

import lewm_wire as wire
import numpy as np

from worldgate.control.lookahead import CostConfig, Seen
from worldgate.control.lookahead.terms import Term
from worldgate.control.planners import Space, open_planner
from worldgate.control.planning import PlanningConfig, PlanningPolicy
from worldgate.core.digest import digest_json, sha256
from worldgate.core.episodes import Episode
from worldgate.core.streams import FloatArray
from worldgate.core.tasks import Task, TaskSpec
from worldgate.core.worlds import Observation
from worldgate.evidence.reaching import ReachingProtocol

HERE = Path(__file__).resolve().parent
PYTHON = HERE.parents[1] / ".venv-swm" / "bin" / "python"
SIZES = ("small", "middle", "published")
BLOCK, HORIZON = 5, 5
"""Rows that LeWM predicts at once; blocks that its own search plans and does."""
CLEARLY, FEWEST, EPOCHS = 0.01, 40, 10
"""A loss falls clearly by more than so much; steps, and epochs of training, below which nothing has converged."""


def code(*files: str) -> str:
    """Digest of the peer's version and of such files of ours."""
    return sha256(*((HERE / name).read_bytes() for name in ("swm.txt", "lewm_parts.py", *files)))


def taught(
    cache: Path, camera: str, train: Sequence[Episode], held_out: Sequence[Episode], size: str, seconds: float
) -> Path:
    """The folder of a model that learned from these episodes, from the cache where it is there."""
    episodes = digest_json([[e.id for e in train], [e.id for e in held_out], camera])
    key = digest_json({"episodes": episodes, "size": size, "seconds": seconds, "code": code("lewm_train.py")})
    folder, source = cache / f"lewm-{size}-{key[:16]}", cache / f"lewm-set-{episodes[:16]}"
    if not (folder / "told.json").exists():
        source.mkdir(parents=True, exist_ok=True)
        for name, chosen in (("train", train), ("held_out", held_out)):
            if not (source / f"{name}.npz").exists():
                _write(source / f"{name}.npz", camera, chosen)
        command = [str(PYTHON), str(HERE / "lewm_train.py"), str(source), str(folder), size, f"{seconds:g}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"LeWM did not learn:\n{done.stderr[-3000:]}")
    return folder


def _write(path: Path, camera: str, episodes: Sequence[Episode]) -> None:
    lengths = [len(episode) for episode in episodes]
    frames = np.concatenate([episode.array(camera) for episode in episodes])
    actions = np.concatenate([episode.array("action") for episode in episodes]).astype(np.float32)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez(file, frames=frames, actions=actions, first=np.cumsum([0, *lengths[:-1]]))
    partial.replace(path)


def training(folder: Path) -> dict[str, Any]:
    """What came of a training: speed, held-out error, its loss in short, and whether it was starved."""
    told = json.loads((folder / "told.json").read_text())
    curve = np.asarray(told.pop("curve"), np.float64)
    short = [part.mean(axis=0) for part in np.array_split(curve, min(12, len(curve)))]
    rounded = {key: round(value, 3) if isinstance(value, float) else value for key, value in told.items()}
    rounded["held_out"] = {key: round(value, 4) for key, value in told["held_out"].items()}
    return rounded | {
        "rate": told["rate"],
        "curve": {
            "columns": ["seconds", "prediction", "sigreg", "loss"],
            "rows": [[float(f"{v:.4g}") for v in row] for row in short],
        },
        "starved": starved(curve, told["epochs"]),
    }


def starved(curve: FloatArray, epochs: float) -> str | None:
    """Why a training counts as not converged; None: its loss has settled.

    Where the loss, or its part of prediction, still falls clearly from the tenth before the last to the last tenth:
    the lower end of the drop's interval (95 %, Welch) is above a hundredth of the loss. So do fewer than 40 steps, or
    than ten epochs, the fewest that its authors train: a rate that ends at nothing makes every loss settle.

    Args:
        curve: a row a step: seconds, prediction, SIGReg, loss.
        epochs: that it made.
    """
    steps, tenth = len(curve), len(curve) // 10
    if steps < FEWEST:
        return f"{steps} steps"
    for name, losses in (("loss", curve[:, 3]), ("prediction", curve[:, 1])):
        before, last = losses[-2 * tenth : -tenth], losses[-tenth:]
        error = math.sqrt((before.var(ddof=1) + last.var(ddof=1)) / tenth)
        drop, half = (before.mean() - last.mean()) / before.mean(), 1.96 * error / before.mean()
        if drop - half > CLEARLY:
            return f"{name} still falls by {drop:.1%} [{drop - half:.1%}, {drop + half:.1%}] in the last tenth"
    return f"{epochs:.1f} epochs of {EPOCHS} at least" if epochs < EPOCHS else None


class Bridge:
    """LeWM's process.

    Args:
        command: what to start.
        log: where its stderr goes.

    Raises:
        wire.Broken: it does not begin; the end of its stderr is told.
    """

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._log = log
        with log.open("wb") as stderr:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, bufsize=-1
            )
        self._answer()

    def ask(self, do: str, told: Mapping[str, Any] | None = None, **arrays: Any) -> tuple[dict[str, Any], Any]:
        """One question and its answer: ``ms`` that it took in there, and ``outside_ms`` on the way.

        Raises:
            wire.Broken: the process ended; the end of its stderr is told.
        """
        assert self._process.stdin is not None
        begun = time.perf_counter()
        try:
            wire.send(cast(BinaryIO, self._process.stdin), {"do": do, **(told or {})}, arrays)
        except OSError as error:
            raise self._gone() from error
        answer, found = self._answer()
        answer["outside_ms"] = 1e3 * (time.perf_counter() - begun) - answer["ms"]
        return answer, found

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):  # it was gone, and something was left to be written
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def _answer(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        assert self._process.stdout is not None
        try:
            return wire.receive(cast(BinaryIO, self._process.stdout))
        except EOFError as error:
            raise self._gone() from error

    def _gone(self) -> wire.Broken:
        self.close()
        return wire.Broken(f"the process ended:\n{self._log.read_text(errors='replace')[-2000:]}")


def opened(folder: Path) -> Bridge:
    """A bridge to a model that was taught."""
    return Bridge([str(PYTHON), str(HERE / "lewm_plan.py"), str(folder)], folder / "plan.log")


class Own:
    """LeWM with its own CEM, as published: plans 25 rows, does them all, plans again.

    Fulfils :class:`worldgate.core.tasks.GoalPolicy`.

    Args:
        bridge: to its process.
        camera: stream that it sees.
        spec: of the task, to whose bounds its actions are clipped.
        rounds: of CEM; 30 are published.
    """

    def __init__(self, bridge: Bridge, camera: str, spec: TaskSpec, rounds: int) -> None:
        self.bridge, self.camera, self.rounds = bridge, camera, rounds
        self.low_A, self.high_A = np.asarray(spec.low), np.asarray(spec.high)
        self._ms = list[float]()

    def plan_ms(self) -> list[float]:
        """What each plan took inside LeWM's process."""
        return self._ms

    @property
    def digest(self) -> str:
        """Of its settings; weights are named by the folder they lie in."""
        return digest_json({"peer": "lewm", "rounds": self.rounds})

    def reset(self, *, seed: int) -> None:
        """Begin a trial."""
        self._seed, self._queue = seed, list[FloatArray]()

    def aim(self, goal: Observation, *, steps: int) -> None:
        """Take a goal."""
        self.bridge.ask("aim", goal=goal[self.camera])

    def act(self, observation: Observation) -> FloatArray:
        """(A,) the next action."""
        if not self._queue:
            settings = {"samples": 300, "rounds": self.rounds, "elites": 30, "seed": self._seed}
            told, found = self.bridge.ask("plan", settings, frame=observation[self.camera])
            self._ms.append(told["ms"])
            self._queue = list(np.clip(found["actions"].astype(np.float64), self.low_A, self.high_A))
        return self._queue.pop(0)


class Ported:
    """Looking ahead in LeWM's latents, for our planners; the costs are those of our own latents.

    Fulfils :class:`worldgate.control.lookahead.Lookahead`.

    Args:
        bridge: to its process.
        camera: stream that it sees.
        spec: of the task.
    """

    rows = 1

    def __init__(self, bridge: Bridge, camera: str, spec: TaskSpec) -> None:
        self.bridge, self.camera, self.action = bridge, camera, spec.action.name
        self.low_A, self.high_A = np.asarray(spec.low), np.asarray(spec.high)
        self.scorers = list[PortedScorer]()
        """One a plan."""

    def aim(self, goal: Observation) -> None:
        """See the protocol."""
        self.bridge.ask("aim", goal=goal[self.camera])

    def scorer(self, seen: Seen, *, ahead: int, left: int, costs: CostConfig, terms: Sequence[Term]) -> PortedScorer:
        """See the protocol."""
        assert costs.hold == BLOCK
        assert not (terms or costs.reach or costs.uncertainty), "LeWM tells none of these"
        now, _ = self.bridge.ask("see", frame=seen.observations[-1][self.camera])
        space = Space(knots=ahead // BLOCK, low_A=self.low_A, high_A=self.high_A)
        self.scorers.append(PortedScorer(self.bridge, space, costs, now))
        return self.scorers[-1]

    def warm(self, seen: Seen, left: int) -> None:
        """It has no inverse dynamics."""

    def reachable(self, seen: Seen, left: int) -> None:
        """It cannot tell."""


class PortedScorer:
    """Fulfils :class:`worldgate.control.planners.Scorer`."""

    def __init__(self, bridge: Bridge, space: Space, config: CostConfig, now: Mapping[str, float]) -> None:
        self.bridge, self.space, self.config = bridge, space, config
        self.scale, self.outside_ms = max(now["apart"], 1e-3), now["outside_ms"]

    def costs(self, plans_NKA: FloatArray) -> FloatArray:
        """(N,)."""
        told, found = self.bridge.ask("apart", plans=np.asarray(plans_NKA, np.float32))
        self.outside_ms += told["outside_ms"]
        apart_NK: FloatArray = found["apart"].astype(np.float64) / self.scale
        out: FloatArray = self.config.path * apart_NK.mean(axis=1) + self.config.final * apart_NK[:, -1]
        return out


class OurPlanner(PlanningPolicy):
    """One of our planners over LeWM's latents."""

    def __init__(self, ported: Ported, planner: str, planning: PlanningConfig) -> None:
        low, high = ported.low_A.tolist(), ported.high_A.tolist()
        super().__init__(ported, open_planner(planner), planning, low=low, high=high, name=f"lewm {planner}")
        self._ported = ported

    def plan_ms(self) -> list[float]:
        """What each plan took, without the way to LeWM's process and back."""
        return [one.ms - scorer.outside_ms for one, scorer in zip(self.planned, self._ported.scorers, strict=True)]


Way: TypeAlias = Own | OurPlanner


def ways(bridge: Bridge, camera: str, spec: TaskSpec, ours: Mapping[str, PlanningConfig]) -> dict[str, Way]:
    """Everybody who plans with it: its own search as published, the same with a third of the rounds, and ours."""
    own: dict[str, Way] = {f"its cem, {rounds} rounds": Own(bridge, camera, spec, rounds) for rounds in (30, 10)}
    return own | {f"our {name}": OurPlanner(Ported(bridge, camera, spec), name, how) for name, how in ours.items()}


def plans_of(policy: Way, steps: int) -> int:
    """How often it plans in a trial of so many steps."""
    return math.ceil(steps / (policy.config.execute if isinstance(policy, OurPlanner) else BLOCK * HORIZON))


def latency(policy: Way, task: Task, protocol: ReachingProtocol, plans: int = 5) -> list[float]:
    """Milliseconds of the first plan of each of the first pairs."""
    for pair in protocol.pairs[:plans]:
        seen = task.begin(np.array(pair.start_truth), np.array(pair.goal_truth), seed=0)
        policy.reset(seed=0)
        policy.aim(task.goal(), steps=protocol.config.budget)
        policy.act(seen)
    return policy.plan_ms()

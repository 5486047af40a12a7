"""A recorded episode replayed through a policy, row by row: what it would have commanded where another one acted.

Open loop cannot show closed-loop success. The rows are those that another policy's actions led to, so the outcome is
the recorded one whatever the policy says. The answer is no trial: it has a schema and an event of its own, and no gate
counts it. It shows where the policy differs, which is where to look. Channels are compared with those of their own unit
alone, as metres and radians have no common distance; angles the short way round.

Shape legend: T rows, A action channels, G channels of one unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from worldgate.core.digest import digest_json, to_json
from worldgate.core.episodes import Episode
from worldgate.core.errors import DataRefused, NotFound
from worldgate.core.streams import NUMERIC, Array, FloatArray, IntArray, Kind, Origin
from worldgate.core.units import same_unit
from worldgate.core.worlds import Observation, Policy, Signal
from worldgate.evidence import judging, runs
from worldgate.evidence.scenarios import Scenario
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace

CARD = {
    "line": "a recorded episode through a policy in open loop; its outcome is the recorded one and counts in no gate",
    "inputs": "an episode with actions, and the release's action as a signal",
    "source": "shadow mode: docs/explanation/gates.md",
}
ORIGINS = frozenset({Origin.REAL, Origin.SIMULATED})
CLOSED_LOOP = False
SCHEMA = "worldgate/open-loop/1"
RAN = "trial.open_loop"
WORST = 5
"""Rows named as those where the policy differs most."""
_TURNS = {"rad": 2 * np.pi, "deg": 360.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row and how far the policy's action is from the recorded one."""

    row: int
    at_s: float
    distance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Over the channels that share a unit, as Euclidean distances in it."""

    unit: str
    channels: tuple[str, ...]
    """Names, or places where they have none."""
    mean: float
    worst: tuple[Row, ...]
    """Largest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenLoop:
    """What an open-loop run shows."""

    schema: str = SCHEMA
    scenario: str
    """Digest of the scenario whose oracles judged the recording."""
    release: str
    episode: str
    log: str
    origin: Origin
    """Of the recording."""
    rows: int
    """Rows compared: those whose action and observations were measured and finite."""
    skipped: int
    success: bool
    """As recorded, of whatever acted then; not of this release."""
    violations: int
    """As recorded."""
    excluded: str
    """What of the recording was not measured."""
    metrics: Mapping[str, float]
    """Of the recording."""
    differences: tuple[Difference, ...]
    """Of the actions, one a unit; empty: no row could be compared."""
    says: str = "open loop: the outcome is the recorded one and shows nothing of this release in closed loop"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        tree = to_json(self)
        assert isinstance(tree, dict)
        return tree

    @property
    def digest(self) -> str:
        """Identity."""
        return digest_json(self.to_json())


@dataclass(frozen=True, slots=True, kw_only=True)
class Executor:
    """Replays one episode."""

    episode: Episode
    action: Signal
    """What the release commands: name, unit, frame, width."""
    pictures: Mapping[str, Array] = field(default_factory=dict)
    """camera -> (T, H, W, 3) at the size that the policy takes."""

    @property
    def digest(self) -> str:
        """Of the episode."""
        return self.episode.id

    def run(self, policy: Policy, scenario: Scenario, *, slot: str, seed: int, max_steps: int) -> OpenLoop:
        """Replay up to ``max_steps`` rows.

        Args:
            policy: what is asked.
            scenario: whose oracles judge the recording.
            slot: has no meaning here.
            seed: of the policy.
            max_steps: rows at most.

        Raises:
            NotFound: no recorded actions.
            DataRefused: actions in another unit, frame or width.
        """
        recorded_TA = self._actions()[:max_steps]
        observations = [self._observation(row) for row in range(len(recorded_TA))]
        policy.reset(seed=seed)
        apart_TA = np.full(recorded_TA.shape, np.nan)
        for row, observation in enumerate(observations):
            if observation is not None and np.isfinite(recorded_TA[row]).all():
                apart_TA[row] = np.asarray(policy.act(observation), np.float64) - recorded_TA[row]
        known = np.flatnonzero(np.isfinite(apart_TA).all(axis=1))
        judgement = judging.judge(scenario, runs.of_episode(self.episode))
        return OpenLoop(
            scenario=scenario.digest,
            release=policy.digest,
            episode=self.episode.id,
            log=self.episode.log,
            origin=self.episode.origin,
            rows=len(known),
            skipped=len(recorded_TA) - len(known),
            success=judgement.success,
            violations=judgement.violations,
            excluded=judgement.excluded,
            metrics=judgement.metrics,
            differences=self._differences(apart_TA, known) if len(known) else (),
        )

    def _differences(self, apart_TA: FloatArray, known: IntArray) -> tuple[Difference, ...]:
        width = apart_TA.shape[1]
        units = self.action.unit.split(",")
        units = units * width if len(units) == 1 else units
        names = self.action.names or tuple(map(str, range(width)))
        times_s = (self.episode.times_ns - self.episode.times_ns[0]) / 1e9
        found = []
        for unit in dict.fromkeys(units):
            places = [place for place in range(width) if units[place] == unit]
            apart_TG, turn = apart_TA[:, places], _TURNS.get(unit)
            if turn is not None:
                apart_TG = apart_TG - turn * np.round(apart_TG / turn)
            distance_T = np.linalg.norm(apart_TG, axis=1)
            order = known[np.argsort(-distance_T[known], kind="stable")][:WORST]
            found.append(
                Difference(
                    unit=unit,
                    channels=tuple(names[place] for place in places),
                    mean=float(distance_T[known].mean()),
                    worst=tuple(Row(row=int(r), at_s=float(times_s[r]), distance=float(distance_T[r])) for r in order),
                )
            )
        return tuple(found)

    def _actions(self) -> FloatArray:
        rows = self.episode.streams.get(self.action.name)
        if rows is None or rows.info.kind is not Kind.ACTION:
            raise NotFound("no recorded actions", got=self.action.name, where=self.episode.name)
        values = np.asarray(self.episode.array(self.action.name), np.float64).reshape(len(self.episode), -1).copy()
        told = (rows.info.unit, rows.info.frame, values.shape[1:])
        wants = (self.action.unit, self.action.frame, self.action.shape)
        units = told[0] == wants[0] or same_unit(told[0], wants[0])
        if not units or told[1] != wants[1] or told[2] != wants[2]:
            got, hint = f"{told[0] or 'no unit'}, frame {told[1] or 'unknown'}, shape {told[2]}", f"{wants}"
            raise DataRefused("the recorded actions are another signal", got=got, where=self.episode.name, hint=hint)
        values[rows.gap] = np.nan
        return values

    def _observation(self, row: int) -> Observation | None:
        """What the policy would have seen; None where something was not measured."""
        found: dict[str, Array] = {name: held[row] for name, held in self.pictures.items()}
        for name, rows in self.episode.streams.items():
            if (
                rows.info.kind not in NUMERIC
                or rows.info.kind is Kind.ACTION
                or not isinstance(rows.values, np.ndarray)
            ):
                continue
            if rows.gap[row] or not np.isfinite(rows.values[row]).all():
                return None
            found[name] = rows.values[row]
        return found


def record(ws: Workspace, result: OpenLoop, *, actor: str | None = None) -> Ref:
    """Keep an open-loop run and record ``trial.open_loop``, which no gate reads."""
    ref = Ref("open_loop", ws.put_json(result.to_json()))
    inputs = [Ref("scenario", result.scenario), Ref("release", result.release), Ref("log", result.log)]
    body = {"open_loop": ref.digest, "release": result.release, "scenario": result.scenario, "rows": result.rows}
    ws.record(RAN, body=body, inputs=inputs, outputs=(ref,), actor=actor)
    return ref

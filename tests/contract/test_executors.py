"""Every executor marks what it gives: closed loop is a trial of its origin, open loop is none."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any, ClassVar

import numpy as np
import pytest

from worldgate.core import seams
from worldgate.core.episodes import Episode, Rows
from worldgate.core.errors import DataRefused, NotFound
from worldgate.core.evidence import Trial
from worldgate.core.streams import FloatArray, Kind, Origin, StreamInfo
from worldgate.core.worlds import Capability, Frame, ModelSpec, Observation, Prompt, Signal, Transition
from worldgate.evidence import runs, trials
from worldgate.evidence.executors import open_loop, simulator, world_model
from worldgate.evidence.scenarios import Envelope, OracleSpec, Scenario
from worldgate.evidence.variations import Variation
from worldgate.record.workspace import Workspace

NAMES = sorted(seams.cards("executors"))
SLOT = "bench/ur5/left"
STATE = Signal(name="observation.state", unit="m", names=("x", "y"), shape=(2,), frame="table")
ACTION = Signal(name="action", unit="m", names=("x", "y"), shape=(2,), frame="table")
THERE = {
    "signal": STATE.name, "channel": "x", "op": ">=", "value": 0.5, "unit": "m", "frame": "table",
}  # fmt: skip


def scenario(**changes: Any) -> Scenario:
    fields: dict[str, Any] = {
        "name": "reach",
        "site": "bench",
        "initial": {"x": 0.0},
        "units": {"initial.x": "m"},
        "frame": "table",
        "oracles": (OracleSpec(oracle="success", params={"conditions": [THERE]}),),
    }
    return Scenario(**{**fields, **changes})


VARIED = scenario(variations=(Variation(name="x", path="initial.x", unit="m", range=(0.0, 0.1)),))


class Steps:
    """A policy that moves by the same step, whatever it sees."""

    digest = "a" * 64

    def __init__(self, step: float = 0.1) -> None:
        self.step = step

    def reset(self, *, seed: int) -> None: ...

    def act(self, observation: Observation) -> FloatArray:
        return np.array([self.step, 0.0])


class Cell:
    """Moves by the action; describes what it shows."""

    rate_hz = 10.0
    signals = (STATE,)

    def __init__(self, origin: Origin = Origin.SIMULATED) -> None:
        self.origin = origin
        self.x = np.zeros(2)

    def reset(self, *, seed: int) -> Observation:
        self.x = np.zeros(2)
        return {STATE.name: self.x}

    def step(self, action: FloatArray) -> Transition:
        self.x = self.x + action
        return Transition(observation={STATE.name: self.x}, done=False, facts={"clearance_m": 1.0 - self.x[0]})


class World:
    """A world model that moves by the action."""

    def __init__(self, *, broken: bool = False) -> None:
        self.broken = broken
        self.spec = ModelSpec(
            family="fake", digest="b" * 64, normaliser="c" * 64, rate_hz=10.0, context=1, states=(STATE,), action=ACTION
        )

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset({Capability.ACTIONS, Capability.STATE})

    def open(self, prompt: Prompt, *, samples: int = 1, seed: int) -> Any:
        return _Opened(prompt.states[STATE.name][-1], self.broken)


class _Opened:
    def __init__(self, last: FloatArray, broken: bool) -> None:
        self.last, self.broken = last, broken

    def step(self, actions_BKA: FloatArray | None) -> Frame:
        assert actions_BKA is not None
        self.last = self.last + actions_BKA[0, -1]
        return Frame(states={STATE.name: self.last[None, None] * (np.nan if self.broken else 1.0)})


def imagined(horizon: int, **changes: Any) -> world_model.Executor:
    fields: dict[str, Any] = {
        "model": World(),
        "prompt": lambda _: Prompt(states={STATE.name: np.zeros((1, 2))}),
        "horizons": {STATE.name: horizon},
    }
    return world_model.Executor(**{**fields, **changes})


def episode(**changes: Any) -> Episode:
    count = 20
    moved = np.stack([0.1 * np.arange(1, count + 1), np.zeros(count)], axis=1)

    def rows(signal: Signal, kind: Kind, values: FloatArray) -> Rows:
        info = StreamInfo(
            name=signal.name, kind=kind, count=count, shape=(2,), names=signal.names, unit=signal.unit,
            frame=signal.frame,
        )  # fmt: skip
        index = np.arange(count, dtype=np.int64)
        zero = np.zeros(count, np.int64)
        gap = np.zeros(count, np.bool_)
        return Rows(info=info, values=values, index=index, source_ns=index, skew_ns=zero, staleness_ns=zero, gap=gap)

    streams = {
        STATE.name: rows(STATE, Kind.VECTOR, moved),
        ACTION.name: rows(changes.pop("signal", ACTION), Kind.ACTION, np.tile([0.1, 0.0], (count, 1))),
    }
    fields: dict[str, Any] = {
        "id": "d" * 64, "log": "e" * 64, "name": "run", "alignment": "f" * 64, "origin": Origin.REAL, "rate_hz": 10.0,
        "times_ns": np.arange(count, dtype=np.int64) * 100_000_000, "streams": streams,
    }  # fmt: skip
    return Episode(**{**fields, **changes})


EXECUTORS: dict[str, Any] = {
    "simulator": simulator.Executor(make=lambda given, seed: Cell()),
    "world_model": imagined(50),
    "open_loop": open_loop.Executor(episode=episode(), action=ACTION),
}


def run(executor: Any, given: Scenario | None = None, *, steps: int = 20, policy: Steps | None = None) -> Any:
    return executor.run(policy or Steps(), given or scenario(), slot=SLOT, seed=3, max_steps=steps)


@pytest.mark.parametrize("name", NAMES)
def test_an_executor_marks_its_origin_and_answers_in_the_form_of_its_loop(name: str) -> None:
    module, made = seams.load("executors", name), EXECUTORS[name]
    assert list(inspect.signature(module.Executor.run).parameters) == [
        "self", "policy", "scenario", "slot", "seed", "max_steps",
    ]  # fmt: skip
    answer = run(made)
    assert isinstance(answer, Trial) is module.CLOSED_LOOP
    assert (answer.executor if module.CLOSED_LOOP else answer.origin) in module.ORIGINS
    assert (answer.scenario, answer.release) == (scenario().digest, Steps.digest)
    assert isinstance(made.digest, str)
    assert run(made).success == answer.success is True


@pytest.mark.parametrize("name", ["simulator", "world_model"])
def test_a_scenario_that_must_be_drawn_first_is_not_run(name: str) -> None:
    with pytest.raises(DataRefused, match="drawn before it is run"):
        run(EXECUTORS[name], VARIED)


def test_the_simulator_refuses_another_unit_or_frame_and_what_is_imagined() -> None:
    made = simulator.Executor(make=lambda given, seed: Particular())
    assert run(made).success
    assert run(made, scenario(units={}, frame="")).success, "a scenario need not say"
    with pytest.raises(DataRefused, match="another unit"):
        run(made, scenario(units={"initial.x": "mm"}))
    with pytest.raises(DataRefused, match="another frame"):
        run(made, scenario(frame="base"))
    with pytest.raises(DataRefused, match="imagined"):
        run(simulator.Executor(make=lambda given, seed: Cell(Origin.IMAGINED)))


def test_described_observations_and_facts_are_judged_together() -> None:
    near = run(EXECUTORS["simulator"], scenario(envelope=Envelope(clearance_m=0.6)))
    assert (near.success, near.violations, near.excluded) == (True, 1, "")
    assert near.metrics["least_clearance_m"] == pytest.approx(-1.0)
    blind = run(simulator.Executor(make=lambda given, seed: Blind()))
    assert "not measured" in blind.excluded and not blind.success


class Particular(Cell):
    """Says what it takes."""

    scenario_units: ClassVar = {"initial.x": "m"}
    scenario_frame = "table"


class Blind(Cell):
    """Shows numbers and does not say what they are."""

    signals = ()


def test_a_world_model_is_evidence_up_to_its_horizon_and_no_further() -> None:
    whole = run(imagined(20), steps=20)
    assert (whole.success, whole.excluded, whole.executor, whole.metrics["steps"]) == (True, "", Origin.IMAGINED, 20)
    assert whole.world == "b" * 64
    early = run(imagined(3), steps=20)
    assert early.excluded == "beyond the valid horizon: 3 of 20 steps are evidence"
    assert not early.success and early.metrics["steps"] == 3
    reached = run(imagined(8), steps=20)
    assert (reached.success, reached.excluded) == (True, ""), "it succeeded within the horizon"


@pytest.mark.parametrize("horizons", [{}, {STATE.name: 0}, {"observation.other": 50}])
def test_without_an_admitted_horizon_nothing_is_evidence(horizons: dict[str, int]) -> None:
    trial = run(imagined(0, horizons=horizons))
    assert trial.excluded.startswith(world_model.BEYOND) and not trial.success
    assert trial.executor is Origin.IMAGINED


def test_facts_of_predicted_states_reach_as_far_as_what_they_are_measured_from() -> None:
    def measure(seen: Observation) -> dict[str, float]:
        return {"clearance_m": 1.0 - float(seen[STATE.name][0])}

    limited = scenario(envelope=Envelope(clearance_m=0.3))
    assert run(imagined(20, measure=measure), limited).excluded.startswith(world_model.BEYOND)
    told = {"measure": measure, "measured_from": (STATE.name,)}
    assert run(imagined(20, **told), limited, steps=6).violations == 0
    seen = run(imagined(9, **told), limited, steps=20, policy=Steps(0.4))
    assert seen.violations == 1, "a violation within the horizon counts"
    blocked = run(imagined(2, **told), limited, steps=20, policy=Steps(0.4))
    assert (blocked.violations, blocked.success) == (1, True)
    slow = run(imagined(2, **told), limited, steps=20, policy=Steps(0.1))
    assert slow.excluded.startswith(world_model.BEYOND)


def test_a_model_that_predicts_nan_is_not_measured() -> None:
    trial = run(imagined(20, model=World(broken=True)))
    assert not trial.success and "not measured" in trial.excluded


def test_open_loop_keeps_the_recorded_outcome_whatever_the_policy_does(workspace: Workspace) -> None:
    same, other = run(EXECUTORS["open_loop"]), run(EXECUTORS["open_loop"], policy=Steps(-9.0))
    assert (same.success, same.skipped, same.rows) == (True, 0, 20)
    assert same.differences[0].mean == pytest.approx(0.0)
    (apart,) = other.differences
    assert (other.success, apart.unit, apart.channels, apart.mean) == (True, "m", ("x", "y"), pytest.approx(9.1))
    assert "nothing of this release in closed loop" in other.says
    assert len(apart.worst) == open_loop.WORST and apart.worst[0].distance == pytest.approx(9.1)
    ref = open_loop.record(workspace, other)
    assert ref.digest == other.digest
    assert workspace.get_json(ref.digest)["schema"] == open_loop.SCHEMA
    held = trials.collect(workspace, Steps.digest, upto_seq=workspace.ledger.head().seq)
    assert held["trials"] == [], "no gate sees it"


@pytest.mark.parametrize(
    "changes", [{"unit": "mm"}, {"unit": ""}, {"frame": "base"}, {"name": "command"}, {"shape": (3,)}]
)
def test_open_loop_compares_actions_of_one_signal_only(changes: dict[str, Any]) -> None:
    wanted = dataclasses.replace(ACTION, **changes)
    with pytest.raises((DataRefused, NotFound)):
        run(open_loop.Executor(episode=episode(), action=wanted))


def test_open_loop_never_mixes_metres_and_radians_and_turns_the_short_way() -> None:
    mixed = dataclasses.replace(ACTION, unit="m,rad", names=())
    turned = Turns(0.1)
    answer = run(open_loop.Executor(episode=episode(signal=mixed), action=mixed), policy=turned)
    along, round_ = answer.differences
    assert (along.unit, along.channels, along.mean) == ("m", ("0",), pytest.approx(0.0))
    assert (round_.unit, round_.channels, round_.mean) == ("rad", ("1",), pytest.approx(0.2))


class Turns(Steps):
    """Commands a full turn and a fifth of a radian more than was recorded."""

    def act(self, observation: Observation) -> FloatArray:
        return np.array([self.step, 2 * np.pi + 0.2])


def test_open_loop_skips_rows_that_were_not_measured() -> None:
    held = episode()
    held.streams[STATE.name].gap[4] = True
    held.streams[ACTION.name].gap[7] = True
    answer = run(open_loop.Executor(episode=held, action=ACTION))
    assert (answer.rows, answer.skipped) == (18, 2)
    held.streams[STATE.name].gap[:] = True
    nothing = run(open_loop.Executor(episode=held, action=ACTION))
    assert (nothing.rows, nothing.differences) == (0, ())
    assert not nothing.success and nothing.excluded


def test_the_streams_of_an_episode_become_a_run_with_their_gaps() -> None:
    held = episode(facts={"clearance_m": 0.2, "success": True, "task": "reach"})
    held.streams[STATE.name].gap[4] = True
    film = np.zeros((20, 4, 4, 3), np.uint8)
    info = StreamInfo(name="front", kind=Kind.IMAGE, count=20, shape=(4, 4, 3))
    held = dataclasses.replace(
        held, streams={**held.streams, "front": dataclasses.replace(held.streams[STATE.name], info=info, values=film)}
    )
    made = runs.of_episode(held)
    assert "front" not in made.traces
    assert np.isnan(made.traces[STATE.name].values[4]).all() and len(made) == 20
    assert (made.traces[STATE.name].unit, made.traces[STATE.name].frame) == ("m", "table")
    assert made.traces["clearance_m"].unit == "m" and made.traces["clearance_m"].whole
    assert made.traces["success"].values[0] == 1.0 and "task" not in made.traces


@pytest.mark.parametrize(
    ("name", "unit"),
    [("clearance_m", "m"), ("clearance_mm", "mm"), ("force_n", "N"), ("torque_nm", "N*m"), ("speed_m_s", "m/s"),
     ("speed_mm_s", "mm/s"), ("wait_ms", "ms"), ("success", ""), ("seed", ""), ("angle_deg", "deg")],
)  # fmt: skip
def test_a_fact_tells_its_unit_by_its_name(name: str, unit: str) -> None:
    assert runs.fact_unit(name) == unit


def test_an_observation_of_another_width_is_not_measured() -> None:
    recorder = runs.Recorder(rate_hz=10.0, origin=Origin.REAL, signals=(STATE,))
    recorder.add(Transition(observation={STATE.name: np.zeros(3)}, done=False))
    recorder.add(Transition(observation={}, done=False, facts={"force_n": 1.0}))
    made = recorder.run()
    assert np.isnan(made.traces[STATE.name].values).all()
    np.testing.assert_equal(made.traces["force_n"].values, [np.nan, 1.0])
    assert runs.Recorder(rate_hz=10.0, origin=Origin.REAL, signals=(STATE,)).run().traces == {}

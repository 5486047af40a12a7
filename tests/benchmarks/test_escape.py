"""Faults of the escape figure do what they say, and what is bad is bad by its own figures."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from worldgate.core.streams import FloatArray
from worldgate.sim import scenario as situations
from worldgate.sim.attributes import Attributes

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks" / "peers"))
import escape_cell as cell
import escape_faults as faults
import escape_worlds as worlds

ROOT = Path(__file__).resolve().parents[2]
TOOL, OBJECT = slice(8, 10), slice(0, 2)


class Told:
    """A policy that keeps what it saw and sends the same offset from the tool."""

    digest = "1" * 64

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def reset(self, *, seed: int) -> None: ...

    def act(self, observation: Any) -> FloatArray:
        self.seen.append({k: np.array(v) for k, v in observation.items()})
        return np.asarray(observation["observation.state"][TOOL] + np.array([0.02, 0.0]))


def observed(step: int) -> dict[str, FloatArray]:
    state, around = np.zeros(11), np.array([0.1, 0.05, 0.3, 0.11, 0.235, 0.4, 0.1])
    state[TOOL] = (0.01 * step, 0.0)
    around[0] += 0.01 * step
    return {"observation.state": state, "observation.environment_state": around}


def run(
    *wrapped: faults.Fault, steps: int = 6, seed: int = 3, scene: situations.Scenario | None = None
) -> tuple[list[FloatArray], list[FloatArray], list[FloatArray]]:
    """What was seen of tool, of the surroundings, and what was sent, by step."""
    inner = Told()
    policy = faults.Faulty(inner, "2" * 64, list(wrapped))
    policy.scene = scene
    policy.reset(seed=seed)
    sent = [policy.act(observed(step)) for step in range(steps)]
    tools = [seen["observation.state"][TOOL] for seen in inner.seen]
    return tools, [seen["observation.environment_state"] for seen in inner.seen], sent


def drawn(seed: int = 5, **attributes: Any) -> situations.Scenario:
    return situations.sample("north", seed=seed, attributes=Attributes(**attributes))


def test_no_fault_changes_nothing_and_the_observation_stays_the_worlds() -> None:
    seen = observed(0)
    policy = faults.Faulty(Told(), "2" * 64, [faults.Shift("object", 0.1)])
    policy.reset(seed=0)
    policy.act(seen)
    assert np.array_equal(seen["observation.environment_state"], observed(0)["observation.environment_state"])
    tools, _, sent = run()
    assert np.allclose(np.array(sent) - np.array(tools), [0.02, 0.0])


def test_a_shift_moves_one_point_by_its_length_and_leaves_a_parked_hand() -> None:
    _, around, _ = run(faults.Shift("object", 0.05))
    assert math.dist(around[2][OBJECT], observed(2)["observation.environment_state"][OBJECT]) == pytest.approx(0.05)
    assert np.array_equal(around[2][3:], observed(2)["observation.environment_state"][3:])
    parked = observed(0)
    parked["observation.environment_state"][5:7] = situations.PARKED
    policy = faults.Faulty(inner := Told(), "2" * 64, [faults.Shift("hand", 0.3)])
    policy.reset(seed=0)
    policy.act(parked)
    assert tuple(inner.seen[0]["observation.environment_state"][5:7]) == situations.PARKED


def test_frames_axes_units_and_plugs() -> None:
    true = observed(0)["observation.environment_state"]
    _, turned, _ = run(faults.Turn(("object",), 90.0), steps=1)
    assert turned[0][OBJECT] == pytest.approx([-true[1], true[0]])
    _, swapped, _ = run(faults.Swap("object"), steps=1)
    assert swapped[0][OBJECT] == pytest.approx(true[1::-1])
    _, mirrored, _ = run(faults.Mirror("object"), steps=1)
    assert mirrored[0][OBJECT] == pytest.approx([true[0], -true[1]])
    _, scaled, _ = run(faults.Scale("object", 100.0), steps=1)
    assert scaled[0][OBJECT] == pytest.approx(100 * true[OBJECT])
    _, plugged, _ = run(faults.Exchange("object", "hand"), steps=1)
    assert plugged[0][OBJECT] == pytest.approx(true[5:7])
    assert plugged[0][5:7] == pytest.approx(true[OBJECT])


@pytest.mark.parametrize("late", [1, 3])
def test_observations_come_late_and_hold_the_first_until_then(late: int) -> None:
    tools, _, _ = run(faults.SeeLate(late))
    assert [t[0] for t in tools] == pytest.approx([max(0.0, 0.01 * (k - late)) for k in range(6)])


@pytest.mark.parametrize("late", [1, 3])
def test_actions_come_late_and_the_arm_rests_until_then(late: int) -> None:
    _, _, sent = run(faults.SendLate(late))
    assert [a[0] for a in sent] == pytest.approx([0.0] * late + [0.01 * k + 0.02 for k in range(6 - late)])


def test_a_frozen_point_stands_where_it_was_while_the_others_move() -> None:
    tools, around, _ = run(faults.Freeze("object", 2))
    assert [a[0] for a in around] == pytest.approx([0.1, 0.11, 0.12, 0.12, 0.12, 0.12])
    assert tools[5][0] == pytest.approx(0.05)


def test_everything_dropped_is_the_first_observation_and_nothing_dropped_is_all() -> None:
    assert len({float(a[0]) for a in run(faults.Drop(1.0))[1]}) == 1
    assert len({float(a[0]) for a in run(faults.Drop(0.0))[1]}) == 6


def test_what_reaches_the_arm() -> None:
    tools, _, sent = run(faults.Gain(-1.0))
    assert np.allclose(np.array(sent) - np.array(tools), [-0.02, 0.0])
    assert np.linalg.norm(run(faults.Bias(0.03))[2][0] - [0.02, 0.0]) == pytest.approx(0.03)
    assert run(faults.Grid(0.05))[2][1] == pytest.approx([0.05, 0.0])
    assert run(faults.Clip(0.1), steps=1)[2][0] == pytest.approx([0.013, 0.0])
    assert run(faults.Stick(0.03), steps=2)[2][1] == pytest.approx([0.01, 0.0])
    assert run(faults.Stick(0.01), steps=2)[2][1] == pytest.approx([0.03, 0.0])
    assert [a[0] for a in run(faults.Seldom(3))[2]] == pytest.approx([0.02] * 3 + [0.05] * 3)
    assert [a[0] for a in run(faults.Stop(begin_at=2, end_at=4))[2]] == pytest.approx([0, 0.01, 0.04, 0.05, 0.04, 0.05])


def test_a_chunk_goes_on_from_where_it_began() -> None:
    _, _, sent = run(faults.Chunk(3), steps=4)
    ahead = 0.02 * faults.PERIOD_S / faults.COVERED_S
    assert [a[0] for a in sent] == pytest.approx([0.02, 0.02 + ahead, 0.02 + 2 * ahead, 0.05])


def test_a_run_fails_the_same_way_twice_and_another_seed_otherwise() -> None:
    first, again, other = (run(faults.Noise(0.01), seed=seed)[2] for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_share_of_runs_is_that_share_and_only_where_it_is_meant() -> None:
    def hit(seed: int, scene: situations.Scenario) -> bool:
        return bool(run(faults.stuck(0.3, faults.is_spill), steps=1, seed=seed, scene=scene)[2][0][0] == 0)

    spilled = [hit(seed, drawn(spill=0.11)) for seed in range(300)]
    assert 60 < sum(spilled) < 120
    assert not any(hit(seed, drawn()) for seed in range(50))


def test_by_scene_a_run_fails_on_every_seed_or_on_none() -> None:
    for number in range(20):
        got = {run(faults.stuck(0.5, by_scene=True), steps=1, seed=s, scene=drawn(number))[2][0][0] for s in range(5)}
        assert len(got) == 1


def test_forty_kinds_and_more_each_with_three_rising_strengths() -> None:
    names = [kind.name for kind in faults.KINDS]
    assert len(names) == len(set(names)) >= 35
    assert all(len(set(kind.values)) == 3 for kind in faults.KINDS)


def test_truth_breaks_only_what_it_breaks() -> None:
    fine = {"success": 0.97, "violations": 0.0, "strata": {"region=far": 0.95}}
    assert cell.is_bad(fine, fine) == []
    assert cell.is_bad({**fine, "success": 0.80}, fine) == ["success", "not_worse"]
    assert cell.is_bad({**fine, "violations": 0.11}, fine) == ["violations"]
    assert cell.is_bad({**fine, "strata": {"region=far": 0.6}}, fine) == ["strata"]
    assert cell.is_bad({**fine, "success": 0.86}, fine) == ["not_worse"]


def test_trials_are_kept_and_told_again_without_driving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    behaviour = cell.Behaviour(name="never moves", faults=lambda: [faults.stuck(1.0)])
    told, policy = cell.scene(0, 40), cell.built(tmp_path, behaviour)
    first = cell.Runs(tmp_path, behaviour).trial(policy, told, cell.SLOT, 7)
    assert not first.success
    monkeypatch.setattr(cell, "CellEnvironment", None)
    assert cell.Runs(tmp_path, behaviour).trial(policy, told, cell.SLOT, 7) == first
    with pytest.raises(TypeError):
        cell.Runs(tmp_path, behaviour).trial(policy, told, cell.SLOT, 7, again=1)


def test_a_release_that_never_moves_is_caught_by_trials_and_one_with_wrong_statistics_before_any(
    tmp_path: Path,
) -> None:
    import escape_cases as cases

    small = Path(tmp_path)
    stuck = cases.honestly(small, 123, cell.Behaviour(name="stuck", faults=lambda: [faults.stuck(1.0)]))
    assert (stuck["verdict"], stuck["fixed"]) == ("REJECT", False)
    assert 0 < stuck["spent"] <= 20
    wrong = next(d for d in cases.DECLARED if d.name == "another dataset")
    assert wrong.run(small, 123, 3.0) == {"verdict": "REJECT", "caught": "identity", "spent": 0, "fixed": False}


@pytest.mark.slow
def test_a_sound_world_model_is_admitted_and_one_that_ignores_actions_is_not(tmp_path: Path) -> None:
    sound = worlds.admit(worlds.GOOD[0], tmp_path, 0.0, 0)
    assert sound["verdict"] == "ADMIT"
    deaf = next(w for w in worlds.WORLDS if w.name == "actions ignored")
    assert worlds.admit(deaf, tmp_path, 1.0, 0)["verdict"] == "REJECT"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("escape", ROOT / "benchmarks" / "escape.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["escape"] = module
    spec.loader.exec_module(module)
    return module


def told(bad: bool | None, verdicts: str, error: float = 1.0, group: str = "robot") -> dict[str, Any]:
    runs = [{"verdict": v, "caught": "", "spent": 10, "fixed": True} for v in verdicts.split()]
    return {"group": group, "kind": "k", "strength": "weak", "bad": bad, "error": error, "runs": runs}


def test_what_escapes_is_counted_of_what_is_bad_alone(benchmark: ModuleType) -> None:
    found = [told(True, "PROMOTE REJECT HOLD"), told(False, "PROMOTE"), told(None, "PROMOTE")]
    found.append(told(False, "PROMOTE HOLD", group="good"))
    rows = {row["what"]: row for row in benchmark.rows_of(found)}
    gate = rows["bad releases that escape: the gate"]
    assert (gate["count"], gate["of"]) == (1, 3)
    assert float(gate["low"]) < 1 / 3 < float(gate["high"])
    assert rows["bad releases that escape: fixed test"]["count"] == 3
    assert rows["good releases that are held: the gate"]["count"] == 1


def test_the_registry_gets_the_threshold_that_serves_it_best(benchmark: ModuleType) -> None:
    bad, good = [told(True, "REJECT", error=1.3)], [told(False, "PROMOTE", error=1.08, group="good")]
    assert benchmark.best_threshold(bad, good) == 1.1


def test_every_kind_is_asked_about_at_three_strengths(benchmark: ModuleType, tmp_path: Path) -> None:
    todo = [job for job in benchmark.jobs(tmp_path) if job.group not in {"good", "good world"}]
    kinds = {(job.group, job.kind) for job in todo}
    assert len(kinds) >= 55
    assert len(todo) == 3 * len(kinds)
    assert len({job.key("gate 0") for job in todo}) == len(todo)
    assert any(job.kind in benchmark.QUICK for job in todo)

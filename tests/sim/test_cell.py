from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from worldgate.core.digest import canonical
from worldgate.core.errors import ConfigError, NotFound
from worldgate.sim import scenario as scenarios
from worldgate.sim.attributes import Attributes
from worldgate.sim.cell import CLEARANCE_CAP_M, Cell, CellConfig
from worldgate.sim.puddle import wet
from worldgate.sim.scenario import PARKED, Scenario, from_json, from_rows, hand_at, sample
from worldgate.sim.scene import HAND_HEIGHT_M
from worldgate.sim.sites import SITES, find_site, slots


def cell(scenario: Scenario, **config: object) -> Cell:
    return Cell(CellConfig(site=scenario.site, scenario=scenario, **config), seed=0)  # type: ignore[arg-type]


def drive(run: Cell, target: tuple[float, float], controls: int) -> None:
    for _ in range(controls):
        run.command(np.array(target))
        run.run_to(run.step_index + 50)


def test_every_site_has_two_arms_and_all_slots_differ() -> None:
    assert len(slots()) == len(set(slots())) == 2 * len(SITES) == 4


def test_an_unknown_site_or_arm_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(NotFound, match="did you mean north"):
        find_site("nort")
    with pytest.raises(NotFound, match="one of left, right"):
        find_site("north").arm("middle")


def test_the_tool_reaches_where_it_is_sent_at_the_controllers_speed() -> None:
    run = cell(Scenario(site="north", object_pose=(0.19, -0.25, 0.0), tool=(0.0, 0.0)))
    drive(run, (0.2, 0.1), 2)
    assert np.linalg.norm(run.state()[8:10]) < 0.12  # 0.45 m/s for 0.2 s is 0.09 m
    drive(run, (0.2, 0.1), 8)
    np.testing.assert_allclose(run.state()[8:11], (0.2, 0.1, 0.012), atol=0.004)


def test_a_target_beyond_the_workspace_is_held_to_it() -> None:
    run = cell(Scenario(site="north", object_pose=(0.19, -0.25, 0.0)))
    drive(run, (5.0, 5.0), 20)
    assert run.state()[8] < 0.305 and run.state()[9] < 0.305


def test_how_far_a_run_is_advanced_in_one_call_does_not_change_it() -> None:
    start = sample("south", seed=4, attributes=Attributes(person=True, spill=0.1))
    one, many = cell(start), cell(start)
    for run, stride in ((one, 50), (many, 7)):
        for _ in range(20):
            run.command(np.array(start.object_pose[:2]))
            end = run.step_index + 50
            while run.step_index < end:
                run.run_to(min(end, run.step_index + stride))
    np.testing.assert_array_equal(one.data.qpos, many.data.qpos)
    np.testing.assert_array_equal(one.data.qvel, many.data.qvel)
    assert one.take_facts() == many.take_facts()


def test_pushing_moves_the_object_and_the_tool_feels_the_reaction() -> None:
    run = cell(Scenario(site="north", object_pose=(0.10, 0.0, 0.0), tool=(0.0, 0.0)))
    before = run.environment_state()
    forces = []
    for k in range(8):
        run.command(np.array((0.03 * (k + 1), 0.0)))
        run.run_to(run.step_index + 50)
        forces.append(run.force())
    moved = run.environment_state() - before
    assert moved[0] > 0.05 and abs(moved[1]) < 0.02
    strongest = max(forces, key=lambda f: float(np.linalg.norm(f)))
    assert strongest[0] < -0.3, "the object pushes back along -x"
    assert run.take_facts()["force_n"] >= np.linalg.norm(strongest)
    assert any({"object", "tool_rod"} == set(pair) for pair in run.contacts())


def test_a_wall_pushes_the_tool_back_too() -> None:
    run = cell(Scenario(site="north", object_pose=(0.19, -0.25, 0.0), tool=(-0.05, 0.2)))
    drive(run, (0.1, 0.235), 15)
    assert ("tool_rod", "wall_bay2") in run.contacts()
    assert run.force()[0] < -10


def glide(puddle: tuple[float, float], spill: float) -> float:
    """How far an object slides that starts at 0.8 m/s."""
    run = cell(
        Scenario(
            site="north",
            object_pose=(0.0, -0.15, 0.0),
            tool=(-0.15, 0.2),
            puddle=puddle,
            attributes=Attributes(spill=spill),
        )
    )
    start = run.environment_state()[0]
    run.data.qvel[4] = 0.8
    run.run_to(400)
    return float(run.environment_state()[0] - start)


def test_a_spill_lowers_the_friction_where_it_lies_and_only_there() -> None:
    dry, slippery, elsewhere = glide((0.0, 0.0), 0.0), glide((0.1, -0.15), 0.25), glide((0.1, 0.25), 0.1)
    assert dry == pytest.approx(0.8**2 / (2 * 0.45 * 9.81), rel=0.25)  # v²/2µg
    assert slippery > 2 * dry
    assert elsewhere == dry


def test_a_puddle_has_about_the_area_of_its_circle() -> None:
    x, y = np.meshgrid(np.linspace(-0.2, 0.2, 400), np.linspace(-0.2, 0.2, 400))
    area = wet(x, y, (0.02, 0.01), 0.1).mean() * 0.16
    assert area == pytest.approx(math.pi * 0.01, rel=0.1)


def test_clearance_is_the_distance_from_tool_to_hand_and_is_capped_without_a_person() -> None:
    alone = cell(Scenario(site="north", object_pose=(0.19, -0.25, 0.0)))
    alone.run_to(50)
    assert alone.take_facts()["clearance_m"] == CLEARANCE_CAP_M
    near = cell(
        Scenario(
            site="north", object_pose=(0.19, -0.25, 0.0), tool=(0.0, 0.0), person=((0.0, 0.25, 0.0), (9.0, 0.25, 0.0))
        )
    )
    near.run_to(50)
    # tool radius 0.016 and half the hand's length 0.058; the wrist above the hand is nearer than its height allows
    assert near.take_facts()["clearance_m"] == pytest.approx(0.25 - 0.016 - 0.058, abs=0.012)


def test_clearance_facts_keep_the_smallest_of_the_span_and_start_anew() -> None:
    path = ((0.0, 0.40, 0.0), (0.2, 0.12, 0.0), (0.4, 0.40, 0.0), (9.0, 0.40, 0.0))
    run = cell(Scenario(site="north", object_pose=(0.19, -0.25, 0.0), tool=(0.0, 0.0), person=path))
    run.run_to(250)
    assert run.take_facts()["clearance_m"] < 0.06
    run.run_to(300)
    assert run.take_facts()["clearance_m"] > 0.25


def test_success_is_the_object_in_the_bay() -> None:
    inside = cell(Scenario(site="north", object_pose=(0.12, 0.23, 0.3)))
    beside = cell(Scenario(site="north", object_pose=(0.12, 0.15, 0.3)))
    assert inside.take_facts()["success"] == 1.0
    assert beside.take_facts()["success"] == 0.0


def test_yaw_is_continuous_over_a_full_turn() -> None:
    run = cell(Scenario(site="north", object_pose=(0.1, 0.0, 3.0)))
    run.data.qvel[9] = 14.0
    seen = []
    for _ in range(40):
        run.run_to(run.step_index + 5)
        seen.append(run.environment_state()[2])
    assert max(seen) > math.pi
    assert np.abs(np.diff(seen)).max() < 0.3


def test_a_hand_moves_between_its_waypoints_and_waits_beside_them() -> None:
    path = ((1.0, 0.9, 0.0), (2.0, 0.1, 0.2))
    assert hand_at(path, 0.0) == (0.9, 0.0)
    assert hand_at(path, 1.5) == pytest.approx((0.5, 0.1))
    assert hand_at(path, 5.0) == (0.1, 0.2)
    assert hand_at((), 3.0) == PARKED


def test_the_person_comes_at_hand_height_and_is_parked_otherwise() -> None:
    run = cell(sample("north", seed=3, attributes=Attributes(person=True)))
    assert tuple(run.environment_state()[5:]) == PARKED
    run.run_to(2200)
    assert run.environment_state()[5] < 0.6
    assert run.data.mocap_pos[0, 2] == HAND_HEIGHT_M


def test_a_scenario_survives_canonical_json() -> None:
    import json

    start = sample("south", seed=9, attributes=Attributes(person=True, clutter=3, spill=0.1))
    assert from_json(json.loads(canonical(start))) == start


def test_a_misspelt_scenario_key_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean"):
        from_json({"site": "north", "object_poze": [0, 0, 0], "object_pose": [0.0, 0.0, 0.0]})


def test_a_scenario_rebuilt_from_rows_starts_where_the_rows_start() -> None:
    run = cell(sample("north", seed=3, attributes=Attributes(person=True)))
    rows = []
    for _ in range(30):
        rows.append((run.time_s, run.state(), run.environment_state()))
        run.run_to(run.step_index + 50)
    times, states, around = (np.array(part) for part in zip(*rows, strict=True))
    again = cell(from_rows("north", times[10:], states[10:], around[10:]))
    np.testing.assert_allclose(again.environment_state(), around[10], atol=1e-9)
    np.testing.assert_allclose(again.state()[8:10], states[10, 8:10], atol=1e-3)
    again.run_to(500)
    np.testing.assert_allclose(again.environment_state()[5:], around[20, 5:], atol=1e-3)


def test_attributes_change_only_their_own_part_of_a_drawn_scenario() -> None:
    plain = sample("north", seed=5)
    for attributes in (Attributes(person=True), Attributes(clutter=4), Attributes(spill=0.1), Attributes(glare=0.5)):
        other = sample("north", seed=5, attributes=attributes)
        same = replace(other, attributes=plain.attributes, person=(), clutter=())
        assert same == plain
    assert len(sample("north", seed=5, attributes=Attributes(clutter=4)).clutter) == 4


def test_clutter_can_be_pushed_and_its_absence_changes_no_geometry() -> None:
    start = replace(
        sample("north", seed=1), tool=(-0.1, 0.0), clutter=((0.05, 0.0),), object_pose=(0.19, -0.25, 0.0),
        attributes=Attributes(clutter=1),
    )  # fmt: skip
    run = cell(start)
    where = run.data.body("clutter_0").xpos.copy()
    drive(run, (0.2, 0.0), 10)
    assert np.linalg.norm(run.data.body("clutter_0").xpos - where) > 0.05


def test_the_two_arms_of_a_site_measure_the_same_place_a_little_differently() -> None:
    start = sample("north", seed=1)
    left, right = cell(start, arm="left"), cell(start, arm="right")
    for run in (left, right):
        drive(run, (0.1, -0.2), 10)
    true = [run.data.site("tip").xpos.copy() for run in (left, right)]
    assert 0.0003 < np.linalg.norm(true[0] - true[1]) < 0.01
    np.testing.assert_allclose(left.state()[8:10], right.state()[8:10], atol=0.002)


def test_random_streams_of_different_names_differ() -> None:
    assert scenarios.random_stream(1, "a").random() != scenarios.random_stream(1, "b").random()

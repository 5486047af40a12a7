"""Checks of signals against planted faults: found where they are, by how much, and silent on what only looks alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contract.broken_signals import MS, NOW, SECOND, TICKS, log, made, moving, sound

from worldgate.core.errors import ConfigError
from worldgate.core.streams import Finding, Kind
from worldgate.data.checks import run
from worldgate.data.checks.dropped_packets import missing_after
from worldgate.data.checks.limits import read_urdf
from worldgate.data.logs import open_folder

STATE = "observation.state"


def state(change: Callable[[Any], Any] | None = None, **fields: Any) -> Any:
    values = moving(**fields)
    return log(made(STATE, values if change is None else change(values)))


def inside(found: Finding, start: int, end: int) -> bool:
    """Whether all evidence lies in TICKS[start:end]."""
    return bool(found.spans_ns) and all(
        TICKS[start] <= a and b <= TICKS[min(end, len(TICKS) - 1)] + 10 * MS for a, b in found.spans_ns
    )


# limits

URDF = """<?xml version="1.0"?>
<robot name="arm">
  <joint name="elbow" type="revolute"><limit lower="-1.0" upper="1.0" velocity="2.0" effort="9"/></joint>
  <joint name="wrist" type="continuous"><limit velocity="3.0" effort="9"/></joint>
  <joint name="base" type="fixed"/>
</robot>
"""


def test_a_joint_beyond_the_contracts_range_is_found_where_it_is() -> None:
    def push(v: Any) -> Any:
        v[300:310, 1] = 2.5
        return v

    limits = {"channels": {STATE: {"wrist": {"lower": -2.0, "upper": 2.0}}}}
    (found,) = run("limits", state(push), limits)
    assert "wrist is above" in found.message
    assert (found.value, found.unit) == (2.5, "rad")
    assert inside(found, 300, 310)
    assert run("limits", state(), limits) == ()


def test_a_urdf_limits_channels_by_name_and_in_their_declared_unit() -> None:
    values = moving() / 2.5
    assert run("limits", log(made(STATE, values)), {"urdf": URDF}) == ()
    assert run("limits", log(made(STATE, np.degrees(values), unit="deg")), {"urdf": URDF}) == ()
    found = run("limits", log(made(STATE, np.degrees(values * 4), unit="deg")), {"urdf": URDF})
    assert {f.unit for f in found} == {"deg", "deg/s"}
    assert {f.message.split()[0] for f in found} == {"elbow", "wrist"}, "a continuous joint still has a speed"
    names = {"joints": {STATE: ("a", "elbow", "b")}}
    renamed = run("limits", log(made(STATE, values * 4)), {"urdf": URDF, **names})
    assert {f.message.split()[0] for f in renamed} == {"wrist"}, "told by the stream's own name"


def test_speed_and_acceleration_are_measured_not_single_jittered_steps() -> None:
    rng = np.random.default_rng(0)
    jittered = TICKS + rng.integers(-4 * MS, 4 * MS, len(TICKS))
    steady = np.linspace(0, 6, len(TICKS))[:, None].repeat(3, axis=1)
    stream = made(STATE, steady, np.sort(jittered))
    speed = {"channels": {STATE: {"elbow": {"velocity": 1.3}}}}
    assert run("limits", log(stream), speed) == ()
    (found,) = run("limits", log(made(STATE, steady * 2)), speed)
    assert found.value == pytest.approx(2.0, rel=0.05)
    kicked = steady.copy()
    kicked[300:] += np.linspace(0, 0.5, 300)[:, None]
    (hard,) = run("limits", log(made(STATE, np.round(kicked, 9))), {"channels": {STATE: {"0": {"acceleration": 0.5}}}})
    assert hard.unit == "rad/s^2"
    assert inside(hard, 285, 315)


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE robot [<!ENTITY a "aaaa">]><robot>&a;</robot>',
        "<robot><joint name='a' type='revolute'><limit lower='x'/></joint></robot>",
        "<robot>",
        "no xml",
        "<robot/>",
    ],
)
def test_a_urdf_with_entities_or_nonsense_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        read_urdf(text)


def test_a_limit_of_a_channel_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="no such channel"):
        run("limits", state(), {"channels": {STATE: {"knee": {"upper": 1.0}}}})
    with pytest.raises(ConfigError, match="unknown key"):
        run("limits", state(), {"channels": {STATE: {"elbow": {"uper": 1.0}}}})


def test_a_clock_that_was_set_back_is_no_speed() -> None:
    limits = {"channels": {STATE: {"wrist": {"velocity": 9.0}}}}
    back = TICKS.copy()
    back[300:] -= SECOND
    assert run("limits", log(made(STATE, moving(), back)), limits) == ()
    fast = moving()
    fast[400:420, 1] += np.linspace(0, 4.0, 20)
    fast[420:, 1] += 4.0
    (found,) = run("limits", log(made(STATE, fast, back)), limits)
    assert found.message.startswith("wrist moves too fast")
    assert all(back[395] <= a < b <= back[425] for a, b in found.spans_ns)


# lag


def late(steps: int, *, slide: int = 0) -> Any:
    values = moving(800)
    at = np.arange(600) + 100 - steps - np.where(np.arange(600) > 300, slide, 0)
    return log(made("action", values[100:700], kind=Kind.ACTION), made(STATE, values[at]))


@pytest.mark.parametrize(("steps", "verb"), [(50, "follows"), (-20, "moves before")])
def test_a_state_too_late_or_before_its_command_is_found(steps: int, verb: str) -> None:
    (found,) = run("lag", late(steps))
    assert verb in found.message
    assert found.value == pytest.approx(steps * 10, abs=5)
    assert found.unit == "ms"


@pytest.mark.parametrize("steps", [0, 10, 25])
def test_an_ordinary_lag_is_no_finding_and_the_contract_says_what_is(steps: int) -> None:
    assert run("lag", late(steps)) == ()
    assert bool(run("lag", late(steps), {"most_ms": 50.0})) is (steps * 10 > 50)


def test_a_lag_that_grows_is_found_whatever_its_size() -> None:
    found = [f for f in run("lag", late(5, slide=15)) if "half" in f.message]
    assert [f.value for f in found] == [pytest.approx(150.0, abs=20)]
    assert found[0].spans_ns[0][0] >= NOW + 2 * SECOND


def test_a_lag_that_grows_evenly_is_found_in_a_log_too_short_for_two_halves() -> None:
    values, count = moving(800), 400
    for growth in (0, 60):
        at = np.arange(count) + 200 - 5 - np.rint(growth * np.arange(count) / count).astype(int)
        states = made(STATE, values[at], TICKS[:count])
        held = log(made("action", values[200 : 200 + count], TICKS[:count], kind=Kind.ACTION), states)
        found = run("lag", held)
        assert [round(f.value, -2) for f in found] == ([300] if growth else [])


def test_a_command_of_another_unit_is_not_compared() -> None:
    values = moving(800)
    speed = made("action", values[100:700], kind=Kind.ACTION, unit="rad/s")
    assert run("lag", log(speed, made(STATE, values[40:640]))) == ()


# idle


@pytest.mark.parametrize(("first", "last", "where"), [(350, 600, "start"), (0, 250, "end")])
def test_rest_at_either_end_is_found_with_its_length(first: int, last: int, where: str) -> None:
    values = np.zeros((600, 3))
    part = moving(last - first)
    values[first:last] = part
    values[:first], values[last:] = part[0], part[-1]
    (found,) = run("idle", log(made(STATE, values + np.random.default_rng(0).normal(0, 1e-5, values.shape))))
    assert where in found.message
    assert found.value == pytest.approx(3.5, abs=0.6)


def test_a_stretch_without_messages_is_no_rest() -> None:
    later = TICKS.copy()
    later[300:] += 3600 * SECOND
    assert run("idle", log(made(STATE, moving(), later))) == ()


def test_a_robot_that_never_moves_and_one_that_always_does() -> None:
    (found,) = run("idle", log(made(STATE, np.random.default_rng(0).normal(1, 1e-4, (600, 3)))))
    assert (found.value, found.message) == (1.0, "nothing moves")
    assert run("idle", state()) == ()


def test_a_robot_at_rest_is_idle_though_things_around_it_move() -> None:
    scene = made("observation.environment_state", moving(seed=3))
    resting = made(STATE, np.ones((600, 3)))
    assert [f.stream for f in run("idle", log(resting, scene))] == [STATE]


# truncated


def test_an_episode_shorter_than_it_says_is_cut() -> None:
    whole = replace(state(), facts={"duration_s": 6.0})
    assert run("truncated", whole) == ()
    (found,) = run("truncated", replace(state(), facts={"duration_s": 8.0}))
    assert (round(found.value, 1), found.limit) == (6.0, 8.0)


def test_a_column_that_marks_the_last_step_must_mark_it() -> None:
    ends = np.zeros((600, 1))
    assert "is_last" in run("truncated", log(made(STATE, moving()), made("is_last", ends)))[0].message
    ends[-1] = 1
    assert run("truncated", log(made(STATE, moving()), made("is_last", ends))) == ()


def test_an_event_that_the_contract_asks_for_must_be_near_the_end() -> None:
    events = np.array(['{"event": "placed"}', '{"event": "done"}'], dtype=object)
    early = made("events", events, TICKS[[10, 20]], kind=Kind.EVENT)
    near = made("events", events, TICKS[[10, 580]], kind=Kind.EVENT)
    assert len(run("truncated", log(made(STATE, moving()), early), {"event": "done"})) == 1
    assert run("truncated", log(made(STATE, moving()), near), {"event": "done"}) == ()


def test_an_end_at_full_speed_is_found_only_where_nothing_marks_an_end() -> None:
    t = np.linspace(0, 1, 600)[:, None]
    rushing = np.concatenate([t, t**8, t**8], axis=1) + np.random.default_rng(0).normal(0, 1e-5, (600, 3))
    assert "moves at" in run("truncated", log(made(STATE, rushing)))[0].message
    marked = made("done", (np.arange(600) == 599).astype(float)[:, None])
    assert run("truncated", log(made(STATE, rushing), marked)) == ()


# clock_step


def clocked(change: Callable[[Any], Any] = lambda t: t, **fields: Any) -> Any:
    delay = np.random.default_rng(0).integers(2 * MS, 8 * MS, len(TICKS))
    stream = made(STATE, moving(), change(TICKS.copy()), log_times=TICKS + delay, clock="header")
    return log(stream, **fields)


def set_at(size_ns: int, at: int = 300) -> Callable[[Any], Any]:
    def change(times: Any) -> Any:
        times[at:] += size_ns
        return times

    return change


@pytest.mark.parametrize("size_ms", [40, -40, 500, -3_600_000])
def test_a_clock_that_was_set_is_found_at_its_message(size_ms: int) -> None:
    (found,) = run("clock_step", clocked(set_at(size_ms * MS)))
    assert found.value == pytest.approx(abs(size_ms), abs=8)
    assert inside(found, 295, 306)


def test_a_reset_to_1970_is_told_as_a_step_and_as_a_year() -> None:
    step, year = run("clock_step", clocked(set_at(-NOW)))
    assert step.unit == "ms"
    assert (year.unit, round(year.value)) == ("year", 1970)


def test_a_clock_that_drifts_is_found_in_ppm_and_a_crystals_is_not() -> None:
    def drift(ppm: float) -> Callable[[Any], Any]:
        return lambda times: times[0] + ((times - times[0]) * (1 + ppm * 1e-6)).astype(np.int64)

    (found,) = run("clock_step", clocked(drift(5000)))
    assert found.value == pytest.approx(5000, abs=400)
    assert "fast" in found.message
    assert run("clock_step", clocked(drift(40))) == ()


def test_late_messages_are_no_fault_of_a_clock() -> None:
    good = clocked()
    stream = good.held[0]
    assert stream.log_times_ns is not None
    arrived = stream.log_times_ns.copy()
    arrived[300:420] += 80 * MS
    congested = replace(stream, log_times_ns=np.maximum.accumulate(arrived))
    assert run("clock_step", log(congested)) == ()


def test_a_log_whose_clocks_all_count_from_boot_is_left_alone() -> None:
    assert run("clock_step", log(made(STATE, moving(), TICKS - NOW))) == ()
    mixed = log(made(STATE, moving(), TICKS - NOW), made("other", moving()))
    assert [f.stream for f in run("clock_step", mixed)] == [STATE]


# dropped_packets


@pytest.mark.parametrize("lost", [[300], [100, 101, 102], [50, 250, 450]])
def test_lost_messages_are_counted_and_shown(lost: list[int]) -> None:
    keep = np.delete(np.arange(600), lost)
    (found,) = run("dropped_packets", log(made(STATE, moving()[keep], TICKS[keep])))
    assert found.message.startswith(f"{len(lost)} messages are missing")
    assert sum(b - a for a, b in found.spans_ns) >= (len(lost) + 1) * 10 * MS


@settings(deadline=None, max_examples=100)
@given(jitter=st.floats(0, 0.35), seed=st.integers(0, 10_000), lost=st.sets(st.integers(5, 190), max_size=6))
def test_late_messages_are_never_lost_ones_and_lost_ones_never_more(jitter: float, seed: int, lost: set[int]) -> None:
    rng = np.random.default_rng(seed)
    times = np.sort(np.arange(200) * 1000 + (rng.uniform(-jitter, jitter, 200) * 1000).astype(np.int64))
    keep = np.delete(np.arange(200), sorted(lost))
    count = int(missing_after(times[keep], 1000).sum())
    if jitter <= 0.3:
        assert count <= len(lost)
    if jitter <= 0.15:
        assert count == len(lost)


def test_a_counter_that_skips_is_found_though_the_stamps_are_even() -> None:
    count = np.arange(600.0)
    count[400:] += 7
    stream = made("imu", np.stack([count, moving()[:, 0]], axis=1), names=("seq", "x"), unit="")
    (found,) = run("dropped_packets", log(stream))
    assert (found.value, found.unit) == (7.0, "messages")
    assert inside(found, 399, 401)


def test_dropouts_that_the_recorder_noted_are_handed_on() -> None:
    noted = Finding(
        check="dropout", stream="", message="2 dropouts", value=62.0, limit=0.0, unit="ms",
        spans_ns=((NOW, NOW + 62 * MS), (NOW + SECOND, NOW + SECOND + 30 * MS)),
    )  # fmt: skip
    (found,) = run("dropped_packets", replace(state(), findings=(noted,)))
    assert (found.check, found.value, found.unit) == ("dropped_packets", 2.0, "dropouts")
    assert found.spans_ns == noted.spans_ns
    assert run("dropped_packets", replace(state(), findings=(noted,)), {"dropouts": 2}) == ()
    events = np.array(['{"duration_ms": 40}', "no json"], dtype=object)
    (told,) = run("dropped_packets", log(made("logger.dropouts", events, TICKS[[5, 90]], kind=Kind.EVENT)))
    assert "the longest 40 ms" in told.message


def test_messages_in_batches_are_found() -> None:
    batched = NOW + (np.arange(600) // 8) * 80 * MS
    (found,) = run("dropped_packets", log(made("radar", moving(), batched)))
    assert found.value == pytest.approx(7 / 8, abs=0.01)


# dead_channel


def test_a_channel_that_sticks_is_found_where_it_does() -> None:
    def stick(v: Any) -> Any:
        v[200:320, 1] = v[200, 1]
        return v

    (found,) = run("dead_channel", state(stick))
    assert "wrist sticks" in found.message
    assert inside(found, 200, 320)


def test_a_channel_that_never_moves_is_dead_only_among_living_ones_of_its_kind() -> None:
    def dead(v: Any) -> Any:
        v[:, 2] = 0.25
        return v

    assert "yaw never changes" in run("dead_channel", state(dead))[0].message
    odd = log(made(STATE, dead(moving()), unit="rad,rad,1"))
    assert run("dead_channel", odd) == ()
    gripper = log(made(STATE, dead(moving()), names=("elbow", "wrist", "gripper")))
    assert run("dead_channel", gripper) == ()


def test_a_channel_that_ignores_its_own_command_is_dead() -> None:
    values = moving()
    deaf = values.copy()
    deaf[:, 0] = 0.5
    two = ("elbow", "wrist")
    commands = made("action", values[:, :2], kind=Kind.ACTION, names=two)
    found = run("dead_channel", log(made(STATE, deaf[:, :2], names=two), commands))
    assert [f.message.split(" while")[0] for f in found] == ["elbow never changes"]


def test_a_robot_at_rest_without_noise_is_not_dead() -> None:
    values = moving()
    values[200:400] = values[200]
    assert run("dead_channel", log(made(STATE, values))) == ()


# saturation


@pytest.mark.parametrize("share", [0.97, 0.9, 0.6])
@pytest.mark.parametrize("side", [1, -1])
def test_a_cut_signal_is_found_on_either_side(share: float, side: int) -> None:
    def cut(v: Any) -> Any:
        top = np.quantile(side * v[:, 0], share)
        v[:, 0] = side * np.minimum(side * v[:, 0], top)
        return v

    (found,) = run("saturation", state(cut))
    assert f"elbow is cut at its {'greatest' if side > 0 else 'least'}" in found.message
    assert found.value == pytest.approx(1 - share, abs=0.01)


def test_a_signal_that_is_cut_at_both_ends_is_found_at_both() -> None:
    found = run("saturation", state(lambda v: np.clip(v, [-9, -0.5, -9], [9, 0.5, 9])))
    assert [("greatest" in f.message, "least" in f.message) for f in found] == [(True, False), (False, True)]
    assert all("wrist" in f.message for f in found)


def test_a_joint_that_comes_to_rest_at_the_end_of_its_travel_is_not_cut() -> None:
    t = np.linspace(0, 1, 600)
    ramp = np.clip((t - 0.2) / 0.5, 0, 1)
    resting = np.round(ramp**2 * (3 - 2 * ramp), 4)  # an encoder of few steps, so values repeat everywhere
    assert run("saturation", log(made(STATE, np.stack([resting] * 3, axis=1)))) == ()
    switch = (np.arange(600) // 100 % 2).astype(float)[:, None].repeat(3, axis=1)
    assert run("saturation", log(made(STATE, switch))) == ()


def coarse(line: Any, period_ms: int = 10) -> Any:
    """One joint behind a converter of 8 bits."""
    step = np.ptp(line) / 255
    times = NOW + np.arange(len(line), dtype=np.int64) * period_ms * MS
    return log(made(STATE, (np.round(line / step) * step)[:, None], times, names=("elbow",), rate_hz=1000 / period_ms))


def eased(share: Any) -> Any:
    return share**2 * (3 - 2 * share)


def test_a_cut_behind_a_coarse_converter_is_told_from_a_rest_by_edges_that_do_not_slow_down() -> None:
    swing = np.cos(np.arange(600) / 600 * 4 * np.pi)  # the log begins and ends at the greatest value
    (found,) = run("saturation", coarse(np.minimum(swing, 0.8)))
    assert "greatest" in found.message and len(found.spans_ns) == 3
    # Rests at both ends of the travel and in between, each reached and left within a quarter of a second.
    ramps = [np.full(60, 0.0), eased(np.linspace(0, 1, 50)), np.full(150, 1.0), 1 - 0.5 * eased(np.linspace(0, 1, 50))]
    rests = np.concatenate([*ramps, np.full(80, 0.5), 0.5 + 0.5 * eased(np.linspace(0, 1, 50)), np.full(60, 1.0)])
    assert run("saturation", coarse(rests)) == ()


def test_a_stop_between_two_messages_is_no_cut_and_an_edge_sharper_than_any_other_is() -> None:
    stops = np.concatenate([np.full(20, 0.0), np.linspace(0, 1, 9), np.full(20, 1.0), np.linspace(1, 0.3, 7)])
    stops = np.concatenate([stops, np.full(20, 0.3), np.linspace(0.3, 0.9, 7), np.full(9, 0.9)])
    assert run("saturation", coarse(stops, 100)) == ()
    swing = np.cos(np.arange(200) / 200 * 6 * np.pi) + 0.2 * np.cos(np.arange(200) / 7)
    (found,) = run("saturation", coarse(np.minimum(swing, 0.6), 100))
    assert "greatest" in found.message


# spike


@pytest.mark.parametrize("width", [1, 2, 3])
def test_a_glitch_is_found_where_it_is(width: int) -> None:
    def glitch(v: Any) -> Any:
        v[300 : 300 + width, 2] += 0.5
        return v

    (found,) = run("spike", state(glitch))
    assert "yaw" in found.message
    assert inside(found, 298, 304)


def test_a_robot_that_turns_round_at_once_has_no_spike() -> None:
    zigzag = np.abs(np.arange(600) % 20 - 10).astype(float)[:, None].repeat(3, axis=1)
    assert run("spike", log(made(STATE, zigzag + moving() * 1e-3))) == ()


def test_forces_peak_by_themselves_and_are_looked_at_only_when_named() -> None:
    force = np.random.default_rng(0).normal(0, 0.1, (600, 3))
    force[300] = 40.0
    struck = log(made("observation.force", force, unit="N"))
    assert run("spike", struck) == ()
    assert len(run("spike", struck, {"streams": ["observation.force"]})) == 1


# unit_suspect


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        (made(STATE, np.degrees(moving()), unit="rad"), "degrees"),
        (made(STATE, moving() * 1.4, unit="deg"), "few deg"),
        (made("observation.state.tool", moving() * 300, unit="m", names=("x", "y", "z")), "millimetres"),
        (made(STATE, moving() * 40 + 50, unit="1", names=("gripper", "gripper.left", "gripper.right")), "no share"),
        (made("imu.acceleration", np.add(moving() * 0.01, (0, 0, 1)), unit="m/s^2", names=("x", "y", "z")), "one in g"),
    ],
)
def test_numbers_that_do_not_fit_their_unit_are_found(stream: Any, said: str) -> None:
    found = run("unit_suspect", log(stream))
    assert found
    assert all(said in f.message for f in found)


@pytest.mark.parametrize(
    "stream",
    [
        made(STATE, moving(), unit="rad"),
        made(STATE, np.degrees(moving()), unit="deg"),
        made("observation.state.tool", moving() * 0.3, unit="m", names=("x", "y", "z")),
        made("wheels", np.cumsum(np.abs(moving()), axis=0), unit="rad", names=("wheel_l", "wheel_r", "wheel_b")),
        made("gnss.ecef", moving() * 10 - 2.7e6, unit="m", names=("x", "y", "z")),
        made("imu.acceleration", np.add(moving(), (0, 0, 9.81)), unit="m/s^2", names=("x", "y", "z")),
        made(STATE, np.degrees(moving()), unit=""),
    ],
)
def test_numbers_that_fit_their_unit_are_not(stream: Any) -> None:
    assert run("unit_suspect", log(stream)) == ()


def test_a_command_in_another_unit_than_it_declares_is_found_however_small() -> None:
    small = moving() * 0.05
    commands = made("action", np.degrees(small), kind=Kind.ACTION)
    found = run("unit_suspect", log(made(STATE, small), commands))
    assert {f.stream for f in found} == {STATE}
    assert all("57" in f.message for f in found)


# quaternion


def poses(norm: float = 1.0) -> Any:
    half = moving()[:, 0] / 2
    out = np.zeros((600, 7))
    out[:, 5], out[:, 6] = norm * np.sin(half), norm * np.cos(half)
    return out


def test_a_norm_that_is_not_one_and_a_sign_that_flips_are_found() -> None:
    assert run("quaternion", log(made("pose", poses(), kind=Kind.POSE))) == ()
    (found,) = run("quaternion", log(made("pose", poses(1.1), kind=Kind.POSE)))
    assert found.value == pytest.approx(1.1)
    flipped = poses()
    flipped[100:200, 3:] *= -1
    (found,) = run("quaternion", log(made("pose", flipped, kind=Kind.POSE)))
    assert (found.value, found.unit) == (2.0, "flips")
    assert run("quaternion", log(made("pose", flipped, kind=Kind.POSE)), {"flips": 2}) == ()


def test_quaternions_are_found_by_their_names_in_any_order() -> None:
    values = poses(0.5)[:, [6, 3, 4, 5]]
    names = ("imu.qw", "imu.qx", "imu.qy", "imu.qz")
    assert len(run("quaternion", log(made("imu", values, names=names, unit="1")))) == 1
    assert run("quaternion", log(made("imu", values, names=("a", "b", "c", "d"), unit="1"))) == ()


# contradictions


def test_a_declared_rate_that_the_stamps_do_not_keep_is_found_and_a_lossy_one_is_not() -> None:
    stream = made(STATE, moving(), rate_hz=125.0)
    (found,) = run("contradictions", log(stream))
    assert (round(found.value, 3), found.limit) == (100.0, 125.0)
    keep = np.flatnonzero(np.random.default_rng(0).random(600) > 0.3)
    assert run("contradictions", log(made(STATE, moving()[keep], TICKS[keep], rate_hz=100.0))) == ()


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"duration_s": 9.0}, "lasts 5.99 s"),
        ({"num_frames": 700}, "hold 600"),
        ({"fps": 30}, "no stream runs so"),
        ({"robot": "UR5e"}, "has 6 joints"),
        ({"dof": 7}, "its state has 3"),
    ],
)
def test_facts_that_the_content_denies_are_found(facts: dict[str, Any], said: str) -> None:
    (found,) = run("contradictions", replace(state(), facts=facts))
    assert said in found.message


@pytest.mark.parametrize(
    "facts", [{"duration_s": 6.0}, {"num_frames": 600}, {"fps": 100}, {"robot": "nr1"}, {"dof": 3}]
)
def test_facts_that_the_content_confirms_are_not(facts: dict[str, Any]) -> None:
    assert run("contradictions", replace(state(), facts=facts)) == ()


def test_success_without_a_successful_end_is_a_contradiction() -> None:
    ends = made("events", np.array(['{"event": "failure"}'], dtype=object), TICKS[-1:], kind=Kind.EVENT)
    both = log(made(STATE, moving()), ends, facts={"success": True})
    (found,) = run("contradictions", both)
    assert "ends in failure" in found.message
    assert run("contradictions", replace(both, facts={"success": False})) == ()


def test_names_that_do_not_fit_the_channels_are_found() -> None:
    stream = made(STATE, moving())
    wrong = replace(stream, info=replace(stream.info, names=("a", "b"), unit="rad,rad"))
    twice = replace(stream, info=replace(stream.info, names=("a", "b", "b")))
    assert [f.unit for f in run("contradictions", log(wrong))] == ["names", "units"]
    assert "several channels named b" in run("contradictions", log(twice))[0].message


# force


def touched(zero: Any = 0.0) -> Any:
    force = np.random.default_rng(0).normal(0, 0.05, (600, 3))
    force[150:450] += 12 * np.abs(np.sin(np.linspace(0, 3 * np.pi, 300)))[:, None]
    return log(made("observation.force", force + zero, unit="N", names=("x", "y", "z")))


def test_a_zero_that_is_not_nought_or_wanders_is_found_and_a_contact_is_neither() -> None:
    assert run("force", touched()) == ()
    (bias,) = run("force", touched(np.array([0, 6.0, 0])))
    assert bias.message.startswith("y reads") and bias.value == pytest.approx(6.0, abs=0.1)
    drift = run("force", touched(np.linspace(0, 5, 600)[:, None] * [1, 0, 0]))
    assert [f.message.split()[0] for f in drift] == ["x"]
    assert drift[0].value > 2
    assert run("force", touched(np.array([0, 6.0, 0])), {"bias": 10.0}) == ()


def test_a_zero_that_steps_is_seen_between_the_touches_of_a_tool_that_bounces() -> None:
    """Named reproduction: windows of 0.2 s held touches wherever the tool pushed, and told nothing of the zero."""
    rng = np.random.default_rng(0)
    force = rng.normal(0, 0.03, (600, 3))
    touching = (np.arange(600) >= 250) & (np.arange(600) % 20 < 11)
    force[touching] += rng.normal((0, 1.0, 0), 0.7, (int(touching.sum()), 3))
    place = made(STATE, moving())
    limits = {"bias": 0.3, "drift": 0.3}
    assert run("force", log(made("observation.force", force, unit="N"), place), limits) == ()
    force[280:, 1] -= 1.0
    (found,) = run("force", log(made("observation.force", force, unit="N"), place), limits)
    assert found.value == pytest.approx(1.0, abs=0.1)


def test_an_arm_that_leans_on_something_at_rest_has_no_other_zero() -> None:
    pushing = touched()
    leaning = np.concatenate([pushing.held[0].array, np.tile([0.0, 5.0, 0.0], (1200, 1))])
    leaning[600:] += np.random.default_rng(1).normal(0, 0.05, (1200, 3))
    place = np.concatenate([moving(), np.zeros((1200, 3))]) + np.random.default_rng(2).normal(0, 1e-4, (1800, 3))
    times = NOW + np.arange(1800, dtype=np.int64) * 10 * MS
    force = made("observation.force", leaning, times, unit="N", names=("x", "y", "z"))
    assert run("force", log(force, made(STATE, place, times))) == ()
    assert len(run("force", log(force))) == 1, "of a robot whose motion is not known it cannot be told"


# on logs as they come


CHECKS = (
    "clock_step", "contradictions", "dead_channel", "dropped_packets", "force", "idle", "lag", "limits", "quaternion",
    "saturation", "spike", "truncated", "unit_suspect",
)  # fmt: skip


@pytest.mark.parametrize("name", CHECKS)
def test_a_sound_log_has_no_findings(name: str) -> None:
    assert run(name, sound()) == ()


@settings(deadline=None, max_examples=40)
@given(name=st.sampled_from(CHECKS), seed=st.integers(0, 500), count=st.integers(0, 60), width=st.integers(1, 4))
def test_no_check_falls_over_whatever_numbers_come(name: str, seed: int, count: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    wild = rng.choice([0.0, 1.0, -1.0, np.nan, np.inf, -np.inf, 1e300, 1e-300, 3.2], (count, width))
    times = np.sort(rng.choice([0, 1, NOW, NOW + 10 * MS, NOW + SECOND, -5], count)).astype(np.int64)
    given_log = log(
        made(STATE, wild, times, log_times=times[::-1].copy(), names=("qx", "qy", "qz", "qw")[:width]),
        made("action", wild, times, kind=Kind.ACTION, names=("qx", "qy", "qz", "qw")[:width]),
        made("force", wild, times, unit="N"),
    )
    with np.errstate(all="ignore"):
        for found in run(name, given_log):
            assert np.isfinite(found.value)


@pytest.mark.parametrize(
    ("folder", "contract", "wanted"),
    [
        ("px4_ulog", "px4", ("dropped_packets", "dropouts recorded by the logger: 4")),
        ("openarm_dataset", "openarm", ("jitter", "99 % of steps stray")),
        ("comma2k19_segment", "comma2k19", ("skew", "95 % within 54.8 ms")),
    ],
)
def test_what_is_wrong_with_real_logs_is_found_by_the_contract_that_ships(
    folder: str, contract: str, wanted: tuple[str, str], real_data: Path
) -> None:
    from worldgate.data import contracts

    if folder == "px4_ulog":
        pytest.importorskip("pyulog")
    rules = contracts.read(contract)
    found = [
        finding
        for one in open_folder(real_data / folder).logs
        for name, rule in rules.checks.items()
        for finding in run(name, one, rule.params)
    ]
    assert any(f.check == wanted[0] and wanted[1] in f.message for f in found)


@pytest.mark.parametrize(
    "folder", ["droid_ctrlworld/droid_subset", "droid_ctrlworld/droid_new_setup", "g1_lerobot_v21"]
)
def test_real_teleoperation_has_no_findings(folder: str, real_data: Path) -> None:
    for one in open_folder(real_data / folder).logs:
        for name in CHECKS:
            assert run(name, one) == (), (one.name, name)


def test_the_bridge_sample_was_cut_before_its_last_steps(real_data: Path) -> None:
    logs = open_folder(real_data / "octo_bridge_rlds").logs
    found = {f.message for one in logs for name in CHECKS for f in run(name, one)}
    assert found == {"is_last does not mark the last of 10 steps"}

"""Each check against damage planted in a clean log: found with the right numbers and spans, silent without it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from worldgate.core.errors import ConfigError, NotFound
from worldgate.core.streams import Finding, Kind
from worldgate.data.checks import run

SECOND = 1_000_000_000
MS = 1_000_000
TICKS = np.arange(100, dtype=np.int64) * 10 * MS


def smooth(count: int = 100, width: int = 2) -> np.ndarray[Any, Any]:
    phase = np.linspace(0, 6, count)[:, None] + np.arange(width)
    return np.sin(phase)


# gaps


def test_gaps_are_found_in_the_middle_with_their_span(fakes: Any) -> None:
    times = np.delete(TICKS, range(40, 60))
    (found,) = run("gaps", fakes.log(fakes.stream("s", times)))
    assert found.value == pytest.approx(0.21)
    assert found.limit == pytest.approx(0.03)
    assert found.spans_ns == ((390 * MS, 600 * MS),)


def test_a_camera_that_dies_half_way_is_a_gap_up_to_the_logs_end(fakes: Any) -> None:
    log = fakes.log(fakes.stream("s", TICKS), fakes.stream("camera", TICKS[:50]))
    (found,) = run("gaps", log)
    assert found.stream == "camera"
    assert found.spans_ns == ((490 * MS, 990 * MS),)


def test_a_stream_without_messages_is_a_gap_over_the_whole_log(fakes: Any) -> None:
    log = fakes.log(fakes.stream("s", TICKS), fakes.stream("empty", []))
    (found,) = run("gaps", log)
    assert (found.stream, found.value) == ("empty", 0.99)


def test_a_steady_stream_has_no_gaps_and_events_never_do(fakes: Any) -> None:
    events = fakes.stream("e", [0, 900 * MS], np.array(["a", "b"], dtype=object), kind=Kind.EVENT)
    assert run("gaps", fakes.log(fakes.stream("s", TICKS), events)) == ()


# jitter


def test_jitter_is_measured_against_the_declared_period(fakes: Any) -> None:
    rng = np.random.default_rng(0)
    times = TICKS + rng.integers(-4 * MS, 4 * MS, len(TICKS))
    (found,) = run("jitter", fakes.log(fakes.stream("s", times, rate_hz=100)))
    assert 0.5 < found.value <= 0.8
    assert found.spans_ns
    assert run("jitter", fakes.log(fakes.stream("s", TICKS + rng.integers(-MS, MS, len(TICKS)), rate_hz=100))) == ()


def test_a_stream_slower_than_it_declares_is_jitter(fakes: Any) -> None:
    (found,) = run("jitter", fakes.log(fakes.stream("s", TICKS, rate_hz=200)))
    assert found.value == pytest.approx(1.0)


# stamps


def test_stamps_that_run_back_or_repeat_are_counted_apart(fakes: Any) -> None:
    times = TICKS.copy()
    times[50] = times[40]
    times[70] = times[69]
    back, repeated = run("stamps", fakes.log(fakes.stream("s", times)))
    assert (back.value, back.spans_ns) == (1.0, ((400 * MS, 490 * MS + 1),))
    assert (repeated.value, repeated.spans_ns) == (1.0, ((690 * MS, 690 * MS + 1),))
    assert run("stamps", fakes.log(fakes.stream("s", times)), {"backwards": 1, "repeated": 1}) == ()


# skew


def test_skew_names_the_stream_that_lies_apart_and_where(fakes: Any) -> None:
    camera = fakes.stream("camera", np.arange(0, SECOND, 33 * MS), np.zeros((31, 2, 2, 3), np.uint8), kind=Kind.IMAGE)
    late = fakes.stream("late", np.delete(TICKS, range(20, 60)))
    (found,) = run("skew", fakes.log(fakes.stream("joints", TICKS), camera, late))
    assert (found.stream, found.unit) == ("late", "ms")
    assert found.value > 150
    assert all(200 * MS <= a < b <= 640 * MS for a, b in found.spans_ns)


def test_a_slow_stream_is_not_blamed_for_its_own_period(fakes: Any) -> None:
    slow = fakes.stream("slow", np.arange(0, SECOND, 200 * MS), rate_hz=5)
    camera = fakes.stream("camera", TICKS, np.zeros((100, 2, 2, 3), np.uint8), kind=Kind.IMAGE)
    assert run("skew", fakes.log(camera, slow)) == ()


def test_a_sensor_clock_that_drifts_is_found_though_nearest_messages_stay_close(fakes: Any) -> None:
    slow = (TICKS * 0.95).astype(np.int64)
    log = fakes.log(fakes.stream("s", TICKS), fakes.stream("d", slow, clock="header", log_times_ns=TICKS))
    (found,) = run("skew", log)
    assert found.stream == "d"
    assert found.value == pytest.approx(0.05 * 900, rel=0.05)
    assert "header clock drifts" in found.message


@pytest.mark.parametrize(("offset_ms", "where"), [(-500, "ahead of"), (500, "behind")])
def test_a_clock_that_is_wrong_by_a_constant_is_found_unless_the_whole_log_is_on_it(
    offset_ms: int, where: str, fakes: Any
) -> None:
    off = fakes.stream("off", TICKS - offset_ms * MS, clock="header", log_times_ns=TICKS)
    on = [fakes.stream(name, TICKS, clock="header", log_times_ns=TICKS + 2 * MS) for name in "ab"]
    (found,) = run("skew", fakes.log(*on, off))
    assert (found.stream, round(found.value)) == ("off", 500 if offset_ms < 0 else 498)
    assert f"{where} the recorder's" in found.message
    twin = fakes.stream("twin", TICKS - offset_ms * MS, clock="header", log_times_ns=TICKS)
    assert run("skew", fakes.log(off, twin)) == ()


def test_a_message_takes_its_time_to_the_recorder(fakes: Any) -> None:
    quick = fakes.stream("quick", TICKS, clock="header", log_times_ns=TICKS + MS)
    slow = fakes.stream("slow", TICKS, clock="header", log_times_ns=TICKS + 200 * MS)
    assert run("skew", fakes.log(quick, slow)) == ()


# finite


def test_nan_and_infinity_are_found_with_channel_and_span(fakes: Any) -> None:
    values = smooth()
    values[10, 1], values[11, 1], values[80, 0] = np.nan, np.inf, -np.inf
    (found,) = run("finite", fakes.log(fakes.stream("s", TICKS, values)))
    assert found.value == 3
    assert found.spans_ns == ((100 * MS, 120 * MS), (800 * MS, 810 * MS))
    assert run("finite", fakes.log(fakes.stream("s", TICKS, smooth()))) == ()


# jump


def test_a_leap_is_found_in_the_step_it_happens(fakes: Any) -> None:
    values = smooth()
    values[60:, 0] += 3.0
    (found,) = run("jump", fakes.log(fakes.stream("s", TICKS, values)))
    assert found.spans_ns == ((590 * MS, 600 * MS),)
    assert run("jump", fakes.log(fakes.stream("s", TICKS, smooth()))) == ()


def test_a_robot_that_pauses_for_long_does_not_leap_when_it_goes_on(fakes: Any) -> None:
    values = np.cumsum(np.abs(smooth()), axis=0)
    noise = np.random.default_rng(0).normal(0, 1e-5, (1500, values.shape[1]))
    paused = np.concatenate([values[:50], values[50] + noise, values[50:]])
    times = np.arange(len(paused), dtype=np.int64) * 10 * MS
    assert run("jump", fakes.log(fakes.stream("s", times, paused)), {"times": 4.0}) == ()
    paused[1570:] += 30.0
    assert len(run("jump", fakes.log(fakes.stream("s", times, paused)), {"times": 4.0})) == 1


def test_a_given_rate_decides_alone(fakes: Any) -> None:
    values = np.zeros((100, 1))
    values[50:] = 0.5
    log = fakes.log(fakes.stream("gripper", TICKS, values, unit="m"))
    assert run("jump", log) == ()
    (found,) = run("jump", log, {"rates": {"gripper": 10.0}})
    assert (found.value, found.limit, found.unit) == (pytest.approx(50.0), 10.0, "m/s")
    assert run("jump", log, {"rates": {"gripper": 60.0}}) == ()


def test_an_angle_that_wraps_is_no_leap_and_nan_is_left_to_its_own_check(fakes: Any) -> None:
    angle = (np.linspace(0, 12, 100)[:, None] + np.pi) % (2 * np.pi) - np.pi
    angle[30] = np.nan
    assert run("jump", fakes.log(fakes.stream("s", TICKS, angle))) == ()


# counts


def test_counts_hands_on_what_the_reader_found_and_compares_promises(fakes: Any) -> None:
    lost = Finding(check="truncated", stream="s", message="lost", value=3, limit=0, unit="messages")
    log = fakes.log(fakes.stream("s", TICKS), findings=(lost,))
    assert run("counts", log) == (lost,)
    assert run("counts", log, {"accept": ["truncated"]}) == ()
    from dataclasses import replace

    short = fakes.stream("s", TICKS)
    promised = replace(short, info=replace(short.info, count=120))
    (found,) = run("counts", fakes.log(promised))
    assert (found.value, found.limit) == (100.0, 120.0)


# the seam


def test_a_misspelt_check_or_parameter_names_the_nearest(fakes: Any) -> None:
    with pytest.raises(NotFound, match="did you mean gaps"):
        run("gap", fakes.log())
    with pytest.raises(ConfigError, match="did you mean periods") as caught:
        run("gaps", fakes.log(), {"period": 2}, where="cell.toml:checks.gaps.params")
    assert "cell.toml:checks.gaps.params" in str(caught.value)

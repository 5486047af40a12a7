"""PX4 ULog: values as pyulog has them, dropouts and damage as findings, and what a file can do to a reader."""

from __future__ import annotations

import contextlib
import json
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyulog import ULog
from tests.data.logs import samples
from tests.data.logs.ulog_file import UlogFile

from worldgate.core.errors import LogUnreadable, NotFound
from worldgate.core.streams import Kind, Log, Origin, log_digest
from worldgate.data.logs import open_folder, ulog


def opened(tmp_path: Path, log: UlogFile | bytes) -> Log:
    path = tmp_path / "flight.ulg"
    path.write_bytes(log if isinstance(log, bytes) else log.data)
    (found,) = open_folder(path).logs
    return found


def gyro(rows: int = 20, step_us: int = 4_000, **formats: str) -> UlogFile:
    log = UlogFile().format("sensor_gyro", "uint64_t timestamp;float x;")
    for name, fields in formats.items():
        log.format(name, fields)
    log.subscribe(0, "sensor_gyro")
    for row in range(rows):
        log.row(0, 5_000_000 + row * step_us, "f", row)
    return log


# -------------------------------------------------------------------- what is read


def test_topics_become_streams_by_field_and_arrays_become_channels(tmp_path: Path) -> None:
    log = open_folder(samples.make_ulog(tmp_path / "a.ulg")).logs[0]
    infos = {info.name: info for info in log.streams()}
    assert list(infos) == [
        "sensor_gyro.error_count",
        "sensor_gyro.x",
        "sensor_gyro.1.error_count",
        "sensor_gyro.1.x",
        "actuator_outputs.output",
        "mavlink_log.severity",
        "mavlink_log.text",
        "log.messages",
        "log.parameters",
    ]
    assert infos["actuator_outputs.output"].kind is Kind.ACTION
    assert infos["actuator_outputs.output"].shape == (4,)
    np.testing.assert_array_equal(log.read("actuator_outputs.output").array, samples.numbers(50, 5)[:, 1:])
    np.testing.assert_array_equal(log.read("sensor_gyro.1.x").array[:, 0], -samples.numbers(50, 5)[:, 0])
    assert log.read("mavlink_log.text").array.tolist() == ["at 0", "at 10", "at 20", "at 30", "at 40"]
    assert log.read("sensor_gyro.x").times_ns[:2].tolist() == [2_000_000_000, 2_004_000_000]


def test_information_parameters_and_messages(tmp_path: Path) -> None:
    log = open_folder(samples.make_ulog(tmp_path / "a.ulg")).logs[0]
    assert log.facts == {"sys_name": "PX4", "ver_hw": "SAMPLE_V1", "parameter.MC_ROLL_P": 6.5}
    assert json.loads(log.read("log.messages").array[1]) == {"level": "info", "message": "row 10"}
    assert json.loads(log.read("log.parameters").array[2]) == {"name": "MC_ROLL_P", "value": 26.5}


def test_tagged_messages_stand_among_the_others_in_time(tmp_path: Path) -> None:
    log = opened(tmp_path, gyro().text(6_000_000, "b").tagged(5_500_000, "a", tag=3).text(7_000_000, "c"))
    messages = [json.loads(text) for text in log.read("log.messages").array]
    assert [m["message"] for m in messages] == ["a", "b", "c"]
    assert messages[0] == {"level": "warning", "message": "a", "tag": 3}


def test_simulated_hardware_is_not_real(tmp_path: Path) -> None:
    assert opened(tmp_path, gyro()).origin is Origin.REAL
    head = UlogFile().info("ver_hw", "PX4_SITL")
    rest = gyro().data[len(UlogFile().data) :]
    assert opened(tmp_path, head.data + rest).origin is Origin.SIMULATED
    looped = UlogFile().parameter("SYS_HITL", 1)
    assert opened(tmp_path, looped.data + rest).origin is Origin.SIMULATED


def test_units_are_taken_from_px4s_endings_alone(tmp_path: Path) -> None:
    log = UlogFile().format("imu", "uint64_t timestamp;float[3] accelerometer_m_s2;float[3] gyro_rad;float v_m_s;")
    log.subscribe(0, "imu").row(0, 5_000_000, "7f", *range(7))
    units = {info.name: info.unit for info in opened(tmp_path, log).streams()}
    assert units == {"imu.accelerometer_m_s2": "m/s^2", "imu.gyro_rad": "", "imu.v_m_s": "m/s"}


def test_nested_formats_are_flat_and_their_padding_is_none(tmp_path: Path) -> None:
    log = UlogFile().format("esc", "uint64_t timestamp;float rpm;uint8_t[4] _padding0;")
    log.format("status", "uint64_t timestamp;esc[2] esc;uint8_t count;").subscribe(0, "status")
    log.row(0, 5_000_000, "Qf4xQf4xB", 1, 10.0, 2, 20.0, 7)
    read = opened(tmp_path, log)
    assert read.read("status.esc.1.rpm").array.tolist() == [[20.0]]
    assert read.read("status.count").array.tolist() == [[7]]
    assert not any("padding" in info.name for info in read.streams())


def test_a_topic_that_was_dropped_and_added_again_goes_on(tmp_path: Path) -> None:
    log = gyro(3).subscribe(9, "sensor_gyro")
    log.row(9, 6_000_000, "f", 9.0)
    assert opened(tmp_path, log).read("sensor_gyro.x").array[:, 0].tolist() == [0, 1, 2, 9]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 2**40),
            st.floats(width=32, allow_nan=False),
            st.integers(0, 2**64 - 1),
            st.lists(st.integers(-(2**31), 2**31 - 1), min_size=3, max_size=3),
        ),
        min_size=1,
        max_size=30,
    ),
    window=st.tuples(st.integers(0, 2**50), st.integers(0, 2**50)),
)
def test_any_messages_come_back_equal_and_a_window_holds_its_own(
    tmp_path: Path, rows: list[tuple[int, float, int, list[int]]], window: tuple[int, int]
) -> None:
    log = UlogFile().format("t", "uint64_t timestamp;float a;uint64_t b;int32_t[3] c;").subscribe(4, "t")
    log.format("u", "uint64_t timestamp;bool on;").subscribe(5, "u")
    for stamp, a, b, c in rows:
        log.row(4, stamp, "fQ3i", a, b, *c).row(5, 1 + stamp, "?", a > 0)
    read = opened(tmp_path, log)
    stamps = np.array([row[0] for row in rows], dtype=np.int64) * 1000
    np.testing.assert_array_equal(read.read("t.a").array[:, 0], np.array([row[1] for row in rows], np.float32))
    np.testing.assert_array_equal(read.read("t.b").array[:, 0], np.array([row[2] for row in rows], np.uint64))
    np.testing.assert_array_equal(read.read("t.c").array, np.array([row[3] for row in rows]))
    if stamps.any():
        np.testing.assert_array_equal(read.read("t.a").times_ns, stamps)
        keep = (stamps >= window[0]) & (stamps < window[1])
        np.testing.assert_array_equal(read.read("t.c", window).array, np.array([row[3] for row in rows])[keep])


def test_opening_keeps_offsets_and_not_messages(tmp_path: Path) -> None:
    log = UlogFile().format("wide", "uint64_t timestamp;float[250] v;").subscribe(0, "wide")
    body = struct.pack("<250f", *range(250))
    rows = [struct.pack("<HBHQ", 1010, ord("D"), 0, 1_000_000 + i) + body for i in range(5_000)]
    path = tmp_path / "wide.ulg"
    path.write_bytes(log.data + b"".join(rows))
    tracemalloc.start()
    read = open_folder(path).logs[0]
    read.streams()
    window = read.read("wide.v", (1_000_100_000, 1_000_200_000))
    assert tracemalloc.get_traced_memory()[1] < 1_500_000 < path.stat().st_size
    tracemalloc.stop()
    assert window.array.shape == (100, 250)


# -------------------------------------------------------------------- dropouts, damage


def test_dropouts_are_findings_with_spans(tmp_path: Path) -> None:
    log = gyro(5).dropout(62)
    log.row(0, 5_080_000, "f", 9.0).dropout(0)
    (finding,) = opened(tmp_path, log).findings
    assert (finding.check, finding.value, finding.unit) == ("dropout", 62.0, "ms")
    assert finding.spans_ns == ((5_016_000_000, 5_078_000_000), (5_080_000_000, 5_081_000_000))


def test_one_message_from_another_time_does_not_move_a_dropout(tmp_path: Path) -> None:
    """A real log holds one message stamped 20 minutes ahead; by the greatest stamp the dropout would lie there."""
    log = UlogFile().format("g", "uint64_t timestamp;float x;").format("mission", "uint64_t timestamp;float x;")
    log.format("status", "uint64_t timestamp;float x;")
    log.subscribe(0, "g").subscribe(1, "mission").subscribe(2, "status")
    log.row(0, 20_000_000, "f", 0.0).row(1, 1_194_000_000, "f", 0.0).row(2, 20_300_000, "f", 0.0).dropout(30)
    log.parameter("MC_ROLL_P", 1.0)
    read = opened(tmp_path, log)
    (finding,) = read.findings
    assert finding.spans_ns == ((20_300_000_000, 20_330_000_000),)
    assert read.read("log.parameters").times_ns.tolist() == [20_300_000_000]


def test_a_topic_without_stamps_gets_the_time_it_was_written_at(tmp_path: Path) -> None:
    log = gyro(3, bare="uint64_t timestamp;float x;")
    log.subscribe(7, "bare").row(7, 0, "f", 1.0)
    log.row(0, 6_000_000, "f", 0.0).row(7, 0, "f", 2.0)
    read = opened(tmp_path, log)
    bare = read.read("bare.x")
    assert bare.info.clock == "log"
    assert bare.times_ns.tolist() == [5_008_000_000, 6_000_000_000]
    (finding,) = read.findings
    assert finding.check == "unstamped"
    assert "bare" in finding.message


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_truncated_log_keeps_every_whole_message_and_says_what_is_lost(tmp_path: Path, cut: int) -> None:
    whole = gyro().data
    log = opened(tmp_path, whole[:-cut])
    size = 3 + 2 + 8 + 4
    kept = 20 - -(-cut // size)
    assert log.read("sensor_gyro.x").array[:, 0].tolist() == list(range(kept))
    lost = -cut % size
    if not lost:
        assert log.findings == ()
        return
    (finding,) = log.findings
    assert (finding.check, finding.value, finding.unit) == ("data_lost", float(lost), "bytes")
    assert "ends inside a message" in finding.message
    assert finding.spans_ns == ((5_000_000_000 + (kept - 1) * 4_000_000 + 1, 2**63 - 1),)


def test_noise_in_the_middle_loses_a_stretch_and_not_the_rest(tmp_path: Path) -> None:
    first, second = gyro(10), gyro(20)
    sync = struct.pack("<HB", 8, ord("S")) + b"\x2f\x73\x13\x20\x25\x0c\xbb\x12"
    tail = second.data[len(first.data) :]
    log = opened(tmp_path, first.data + b"\0" * 100 + sync + tail)
    assert log.read("sensor_gyro.x").array[:, 0].tolist() == list(range(20))
    (finding,) = log.findings
    assert finding.check == "data_lost"
    assert 100 <= finding.value <= 111


def test_messages_that_do_not_fit_their_format_are_counted(tmp_path: Path) -> None:
    log = gyro().message("D", struct.pack("<HQ", 0, 6_000_000)).message("D", struct.pack("<HQf", 77, 6_000_000, 1.0))
    log.row(0, 2**63, "f", 1.0).text(2**64 - 1, "from the end of time")
    read = opened(tmp_path, log)
    assert len(read.read("sensor_gyro.x")) == 20
    assert [(f.check, f.value, f.unit) for f in read.findings] == [("data_lost", 4.0, "messages")]


@pytest.mark.parametrize(
    "fields",
    [
        "uint64_t timestamp;odd[60000] a;",
        "uint64_t timestamp;odd a;",
        "uint64_t timestamp;wide[60000] a;",
        "uint64_t timestamp;float[65535] a;",
        "uint64_t timestamp;float[-3] a;",
        "uint64_t timestamp;unknown a;",
        "uint64_t timestamp;float a;float a;",
        "float a;",
        "float timestamp;",
    ],
)
def test_formats_that_explode_or_make_no_sense_lose_their_topic_alone(tmp_path: Path, fields: str) -> None:
    log = gyro(3, odd=fields, wide="float[60000] a;")
    log.subscribe(8, "odd").row(8, 6_000_000, "f", 1.0).row(0, 6_000_000, "f", 3.0)
    read = opened(tmp_path, log)
    assert [info.name for info in read.streams()] == ["sensor_gyro.x"]
    assert len(read.read("sensor_gyro.x")) == 4
    assert read.findings


def test_a_head_that_promises_more_than_the_file_holds_does_not_hang(tmp_path: Path) -> None:
    """pyulog 1.3.0 alone steps back to the same head for ever."""
    head = UlogFile().data + struct.pack("<HB", 60, 0) + b"x" * 50
    with pytest.raises(LogUnreadable):
        opened(tmp_path, head)


def test_pyulog_does_not_print(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    opened(tmp_path, gyro().message("D", struct.pack("<HQf", 77, 6_000_000, 1.0)))
    assert capsys.readouterr().out == ""


def test_what_is_no_ulog_and_what_holds_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LogUnreadable, match="without a single whole message"):
        opened(tmp_path, UlogFile())
    with pytest.raises(LogUnreadable, match="not a ULog"):
        opened(tmp_path, gyro().data[:12])
    unknown = bytearray(gyro().data)
    unknown[16 + 3 + 8] = 0x80  # an incompatible flag that nobody knows
    with pytest.raises(LogUnreadable, match="not a ULog"):
        opened(tmp_path, bytes(unknown))


def test_an_unknown_stream_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        opened(tmp_path, gyro()).read("sensor_gyro.z")
    assert "sensor_gyro.x" in str(caught.value.hint)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(16, 2000), noise=st.binary(min_size=1, max_size=30))
def test_a_damaged_log_is_read_or_refused_and_nothing_else(tmp_path: Path, at: int, noise: bytes) -> None:
    source = tmp_path / "whole.ulg"
    if not source.exists():
        samples.make_ulog(source)
    data = bytearray(source.read_bytes())
    data[at : at + len(noise)] = noise
    with contextlib.suppress(LogUnreadable):
        log_digest(opened(tmp_path, bytes(data)))


# -------------------------------------------------------------------- real logs


def reference(path: Path) -> dict[tuple[str, int], Any]:
    return {(d.name, d.multi_id): d for d in ULog(str(path)).data_list}


@pytest.mark.parametrize(("name", "origin"), [("sample.ulg", Origin.REAL), ("sample_log_small.ulg", Origin.REAL)])
def test_real_flights_read_as_pyulog_reads_them(real_data: Path, name: str, origin: Origin) -> None:
    path = real_data / "px4_ulog" / "test" / name
    (log,) = ulog.open_logs(path).logs
    assert log.origin is origin
    compared = 0
    infos = {info.name: info for info in log.streams()}
    for (topic, instance), data in reference(path).items():
        prefix = topic if instance == 0 else f"{topic}.{instance}"
        for info in infos.values():
            base = info.name.removeprefix(f"{prefix}.")
            column = f"{base}[0]" if f"{base}[0]" in data.data else base
            if info.topic == topic and info.name.startswith(f"{prefix}.") and column in data.data:
                np.testing.assert_array_equal(log.read(info.name).array[:, 0], data.data[column])
                compared += 1
    assert compared > 100


def test_the_dropouts_of_a_real_flight_are_where_its_sensors_pause(real_data: Path) -> None:
    (log,) = ulog.open_logs(real_data / "px4_ulog" / "test" / "sample.ulg").logs
    dropout = next(f for f in log.findings if f.check == "dropout")
    assert len(dropout.spans_ns) == 4
    assert dropout.value == 62.0
    imu, attitude = log.read("sensor_combined.gyro_rad"), log.read("vehicle_attitude.q")
    assert 1e9 / np.median(np.diff(imu.times_ns)) == 250
    assert 83 < 1e9 / np.median(np.diff(attitude.times_ns)) < 84
    for stream, longest_ms in ((imu, 64.793), (attitude, 76.0)):
        steps = np.diff(stream.times_ns)
        worst = int(steps.argmax())
        assert steps[worst] / 1e6 == pytest.approx(longest_ms, abs=0.01)
        pause = (stream.times_ns[worst], stream.times_ns[worst + 1])
        assert any(start < pause[1] and end > pause[0] for start, end in dropout.spans_ns)


def test_the_dropout_of_the_second_real_flight_is_not_twenty_minutes_off(real_data: Path) -> None:
    (log,) = ulog.open_logs(real_data / "px4_ulog" / "test" / "sample_log_small.ulg").logs
    ((start, end),) = next(f for f in log.findings if f.check == "dropout").spans_ns
    times = log.read("sensor_combined.gyro_rad").times_ns
    worst = int(np.diff(times).argmax())
    assert times[worst] < start < end < times[worst + 1]


def test_the_simulated_flight_is_marked(real_data: Path) -> None:
    path = real_data / "px4_ulog" / "test" / "sample_logging_tagged_and_default_params.ulg"
    (log,) = ulog.open_logs(path).logs
    assert log.origin is Origin.SIMULATED
    assert not any(f.check in {"dropout", "data_lost"} for f in log.findings)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_real_flight_cut_in_the_middle_keeps_what_was_whole(real_data: Path, tmp_path: Path, share: float) -> None:
    source = real_data / "px4_ulog" / "test" / "sample.ulg"
    data = source.read_bytes()
    log = opened(tmp_path, data[: int(len(data) * share)])
    whole = ulog.open_logs(source).logs[0].read("sensor_combined.gyro_rad")
    part = log.read("sensor_combined.gyro_rad")
    assert 0 < len(part) < len(whole)
    np.testing.assert_array_equal(part.array, whole.array[: len(part)])
    assert next(f.value for f in log.findings if f.check == "data_lost") < 300

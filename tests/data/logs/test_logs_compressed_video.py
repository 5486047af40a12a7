"""Video in messages: frames are those of the encoder's own file, from any place, and named where they cannot be had."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from mcap.writer import CompressionType, Writer
from tests.data.logs import samples

from worldgate.core.errors import LogUnreadable
from worldgate.core.streams import Frames, Kind
from worldgate.data.logs import _foxglove as foxglove
from worldgate.data.logs._packets import is_keyframe
from worldgate.data.logs.mcap import McapLog

COUNT = 24


def packets(format: str, count: int = COUNT, height: int = 64, width: int = 96) -> list[bytes]:
    """Access units with parameter sets in band, a keyframe every eighth."""
    codec: Any = av.CodecContext.create({"h264": "libx264", "h265": "libx265"}[format], "w")
    codec.height, codec.width, codec.pix_fmt, codec.time_base = height, width, "yuv420p", Fraction(1, 30)
    quiet = {"x265-params": "log-level=none:bframes=0:keyint=8:min-keyint=8:scenecut=0:repeat-headers=1"}
    codec.options = (
        {"crf": "10", "bf": "0", "g": "8", "x264-params": "scenecut=0:repeat-headers=1:annexb=1"}
        if format == "h264"
        else quiet | {"crf": "10"}
    )
    out = []
    for i, picture in enumerate(samples.pictures(count, height, width)):
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts = i
        out += [bytes(packet) for packet in codec.encode(frame)]
    return out + [bytes(packet) for packet in codec.encode(None)]


def record(path: Path, units: list[bytes], format: str, *, step_ns: int = 33_333_333) -> McapLog:
    message = foxglove.message_class("foxglove.CompressedVideo")
    with path.open("wb") as file:
        writer = Writer(file, compression=CompressionType.ZSTD, chunk_size=4000)
        writer.start()
        schema = writer.register_schema(
            "foxglove.CompressedVideo", "protobuf", foxglove.schema_bytes("foxglove.CompressedVideo")
        )
        channel = writer.register_channel("/camera", "protobuf", schema)
        for i, unit in enumerate(units):
            stamp = samples.START_NS + i * step_ns
            data = message(timestamp=foxglove.stamp(stamp), frame_id="cam", format=format, data=unit)
            writer.add_message(channel, log_time=stamp + 5, data=data.SerializeToString(), publish_time=stamp)
        writer.finish()  # type: ignore[no-untyped-call]
    return McapLog(path)


@pytest.fixture(scope="module", params=["h264", "h265"])
def coded(request: pytest.FixtureRequest) -> tuple[str, list[bytes]]:
    units = packets(request.param)
    assert len(units) == COUNT
    return request.param, units


def test_frames_are_decoded_from_the_keyframe_before_them(coded: tuple[str, list[bytes]], tmp_path: Path) -> None:
    format, units = coded
    log = record(tmp_path / "a.mcap", units, format)
    assert log.findings == ()
    (info,) = log.streams()
    assert (info.name, info.kind, info.shape, info.frame, info.clock) == (
        "camera",
        Kind.IMAGE,
        (64, 96, 3),
        "cam",
        "header",
    )
    stream = log.read("camera")
    assert stream.times_ns.tolist() == [samples.START_NS + i * 33_333_333 for i in range(COUNT)]
    frames: Any = stream.frames
    assert isinstance(frames, Frames)
    assert frames.keyframes().tolist() == [i % 8 == 0 for i in range(COUNT)]
    assert frames.packet_sizes().tolist() == [len(unit) for unit in units]
    whole = frames.read(np.arange(COUNT))
    assert np.abs(whole.astype(int) - samples.pictures(COUNT, 64, 96)).mean() < 6
    order = np.array([17, 3, 3, 20, 0, 9])
    np.testing.assert_array_equal(frames.read(order), whole[order])
    np.testing.assert_array_equal(frames.slice(np.array([5, 21])).read(np.array([1, 0])), whole[[21, 5]])


def test_a_window_decodes_what_comes_before_it_and_is_named_by_its_own_packets(
    coded: tuple[str, list[bytes]], tmp_path: Path
) -> None:
    format, units = coded
    log = record(tmp_path / "a.mcap", units, format)
    whole = log.read("camera")
    start, stop = int(whole.times_ns[11]), int(whole.times_ns[15])
    part = log.read("camera", (start, stop))
    assert len(part) == 4
    np.testing.assert_array_equal(part.frames.read(np.arange(4)), whole.frames.read(np.arange(11, 15)))
    name = {"h264": "h264", "h265": "hevc"}[format]
    digest = hashlib.sha256(f"{name}\n".encode() + b"".join(hashlib.sha256(u).digest() for u in units[11:15]))
    assert part.frames.content_digest() == digest.hexdigest()


def test_frames_before_the_first_keyframe_are_named_as_lost(coded: tuple[str, list[bytes]], tmp_path: Path) -> None:
    format, units = coded
    log = record(tmp_path / "a.mcap", units[3:], format)
    (finding,) = log.findings
    assert (finding.check, finding.value, finding.unit) == ("data_lost", 5.0, "frames")
    stream = log.read("camera")
    assert len(stream) == log.streams()[0].count == COUNT - 8
    assert stream.times_ns[0] == samples.START_NS + 5 * 33_333_333
    assert finding.spans_ns[0][1] <= stream.times_ns[0] + 5
    full = record(tmp_path / "b.mcap", units, format).read("camera").frames.read(np.arange(8, COUNT))
    np.testing.assert_array_equal(stream.frames.read(np.arange(COUNT - 8)), full)


def test_video_without_a_keyframe_or_of_another_format_is_named_and_left_out(tmp_path: Path) -> None:
    units = packets("h264")
    log = record(tmp_path / "a.mcap", [u for i, u in enumerate(units) if i % 8], "h264")
    assert log.streams() == ()
    assert "keyframe" in log.findings[0].message
    log = record(tmp_path / "b.mcap", units, "vp9")
    assert log.streams() == ()
    assert "format" in log.findings[0].message


def test_a_damaged_packet_is_refused_where_it_is_read(tmp_path: Path) -> None:
    units = packets("h264")
    units[10] = b"\0\0\0\1" + b"\x41" + b"\xff" * 40
    log = record(tmp_path / "a.mcap", units, "h264")
    frames = log.read("camera").frames
    assert frames.read(np.arange(8)).shape == (8, 64, 96, 3)
    with pytest.raises(LogUnreadable, match=r"camera|decode"):
        frames.read(np.array([10]))


def test_a_stream_that_grows_to_another_size_is_refused_there(tmp_path: Path) -> None:
    log = record(tmp_path / "a.mcap", packets("h264", 8) + packets("h264", 8, 128, 160), "h264")
    frames = log.read("camera").frames
    assert frames.read(np.arange(8)).shape == (8, 64, 96, 3)
    with pytest.raises(LogUnreadable, match="differ in size"):
        frames.read(np.array([9]))


def test_pixels_beyond_the_limit_are_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLDGATE_LIMITS", "pixels=4096")
    log = record(tmp_path / "a.mcap", packets("h264", 8), "h264")
    assert log.streams() == ()
    assert log.findings


@pytest.mark.parametrize("data", [b"", b"\0\0\1", b"\0" * 9, b"\0\0\1\x67" * 1000, b"\xff" * 50])
def test_bytes_without_a_slice_are_no_keyframe(data: bytes) -> None:
    assert not is_keyframe(data, "h264")
    assert not is_keyframe(data, "h265")

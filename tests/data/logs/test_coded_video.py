"""Coded video passes from MP4 to messages and back packet by packet; what cannot be passed on is seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from tests.data.logs import samples

from worldgate.core.streams import Kind, Log, Origin, Stream, StreamInfo
from worldgate.data.logs import open_folder
from worldgate.data.logs._coded import coded
from worldgate.data.logs._packets import PacketFrames, parameter_sets, without_parameters
from worldgate.data.logs._video import VideoFrames
from worldgate.data.logs.lerobot import LeRobotWriter
from worldgate.data.logs.mcap import write_log

CAMERA = samples.CAMERA
CODECS = {
    "h264": ("libx264", {"g": "8", "bf": "0"}),
    "hevc": ("libx265", {"x265-params": "keyint=8:bframes=0:log-level=none"}),
    "av1": ("libsvtav1", {"g": "8", "preset": "12", "svtav1-params": "pred-struct=1:lp=1"}),
}


def encode(path: Path, pictures: np.ndarray[Any, Any], codec: str, **options: str) -> Path:
    encoder, chosen = CODECS[codec]
    with av.open(str(path), "w") as container:
        video = container.add_stream(encoder, rate=30, options={**chosen, **options})
        video.height, video.width, video.pix_fmt = (*pictures.shape[1:3], "yuv420p")
        for picture in pictures:
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
    return path


def all_of(path: Path, start: int = 0, stop: int = 20) -> VideoFrames:
    return VideoFrames(path=path, rows=np.arange(start, stop, dtype=np.int64))


def through_mcap(path: Path, frames: VideoFrames) -> Stream:
    times = samples.START_NS + np.arange(len(frames), dtype=np.int64) * 33_333_333
    info = StreamInfo(name=CAMERA, kind=Kind.IMAGE, count=len(frames), clock="header", frame="optical")
    write_log(path, [Stream(info=info, times_ns=times, values=frames)], origin=Origin.SIMULATED)
    (log,) = open_folder(path).logs
    assert log.findings == ()
    return log.read(CAMERA)


@pytest.mark.parametrize("codec", sorted(CODECS))
def test_packets_pass_from_mp4_to_mcap_to_lerobot_without_loss(codec: str, tmp_path: Path) -> None:
    frames = all_of(encode(tmp_path / "a.mp4", samples.pictures(20, 64, 96), codec))
    stream = through_mcap(tmp_path / "a.mcap", frames)
    assert isinstance(stream.values, PacketFrames)
    assert stream.info.shape == (64, 96, 3)
    assert stream.info.frame == "optical"
    expected = frames.read(np.arange(20))
    np.testing.assert_array_equal(stream.frames.read(np.arange(20)), expected)
    with LeRobotWriter(tmp_path / "set", fps=30, robot_type="", origin=Origin.SIMULATED) as writer:
        for _ in range(2):
            writer.add_episode({}, {CAMERA: stream.frames}, task="t")
    logs: tuple[Log, ...] = open_folder(tmp_path / "set").logs
    for log in logs:
        back = log.read(CAMERA)
        was = Stream(info=back.info, times_ns=back.times_ns, values=frames)
        if codec != "hevc":  # x265 repeats its parameter sets in band, and these are taken out
            assert back.content_digest() == was.content_digest(), "the packets are those that were recorded"
        np.testing.assert_array_equal(back.frames.read(np.arange(20)), expected)


def test_reordered_frames_join_in_mp4_and_are_decoded_for_messages(tmp_path: Path) -> None:
    frames = all_of(encode(tmp_path / "a.mp4", samples.pictures(20), "h264", bf="2"))
    run = coded(frames)
    assert run is not None
    assert run.delay > 0
    assert run.message_format == ""
    stream = through_mcap(tmp_path / "a.mcap", frames)
    assert not isinstance(stream.values, PacketFrames)
    np.testing.assert_array_equal(stream.frames.read(np.arange(20)), frames.read(np.arange(20)))
    with LeRobotWriter(tmp_path / "set", fps=30, robot_type="", origin=Origin.SIMULATED) as writer:
        for _ in range(3):
            writer.add_episode({}, {CAMERA: frames}, task="t")
    for log in open_folder(tmp_path / "set").logs:
        np.testing.assert_array_equal(log.read(CAMERA).frames.read(np.arange(20)), frames.read(np.arange(20)))


def test_a_run_begins_with_a_keyframe_and_has_no_holes(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", samples.pictures(20), "h264")
    key = np.flatnonzero(all_of(path).keyframes())
    assert key[1] > 1
    assert coded(all_of(path, 1)) is None
    assert coded(VideoFrames(path=path, rows=np.array([0, 2, 3]))) is None
    part = coded(all_of(path, int(key[1]), 20))
    assert part is not None
    assert [frame.place for frame in part.packets()] == list(range(20 - int(key[1])))


def test_videos_of_other_parameters_begin_another_file(tmp_path: Path) -> None:
    ours, other = (encode(tmp_path / f"{c}.mp4", samples.pictures(20), c) for c in ("h264", "av1"))
    with LeRobotWriter(tmp_path / "set", fps=30, robot_type="", origin=Origin.SIMULATED) as writer:
        for path in (ours, other, ours):
            writer.add_episode({}, {CAMERA: all_of(path)}, task="t")
    assert len(list((tmp_path / "set" / "videos").rglob("*.mp4"))) == 3
    for log, path in zip(open_folder(tmp_path / "set").logs, (ours, other, ours), strict=True):
        np.testing.assert_array_equal(log.read(CAMERA).frames.read(np.arange(20)), all_of(path).read(np.arange(20)))


def test_parameter_sets_are_found_and_only_known_ones_are_taken_out() -> None:
    sps, pps, slice_ = b"\x67ab", b"\x68c", b"\x65data\x03"
    packet = b"".join(b"\0\0\0\1" + unit for unit in (sps, pps, slice_))
    assert parameter_sets(packet, "h264") == [sps, pps]
    assert without_parameters(packet, "h264", sps + pps) == b"\0\0\0\1" + slice_
    assert sps in without_parameters(packet, "h264", pps)
    assert parameter_sets(b"\x0a\x02zz\x32\x01y", "av1") == [b"\x0a\x02zz"]
    assert parameter_sets(b"\x0a\xff\xff\xff\x7fzz", "av1") == []

"""Frozen and slow cameras in H.264, in MP4 and in messages, from first to last too, against still ones that live."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.contract.broken_cameras import video
from tests.data.test_coded_cameras import RATE, robot, stream_of, write_video

from worldgate.core.streams import Origin, Stream
from worldgate.data.checks import run
from worldgate.data.checks._frames import measure
from worldgate.data.checks._quantiser import quantiser
from worldgate.data.logs import open_folder
from worldgate.data.logs._packets import PacketFrames
from worldgate.data.logs.mcap import write_log

COUNT = 240
FINE = {"crf": "23", "preset": "veryfast"}
COARSE = {"crf": "35", "preset": "ultrafast", "tune": "zerolatency"}
ONE_KEY, KEYS = {"g": "1000"}, {"g": "30", "bf": "0"}


def camera(path: Path, pictures: Any, options: dict[str, str]) -> Stream:
    write_video(path, pictures, "libx264", options)
    return stream_of(path)


def in_messages(path: Path, stream: Stream) -> Stream:
    """The same packets, one a message."""
    named = replace(stream, info=replace(stream.info, name="observation.images.front"))
    write_log(path, [named], origin=Origin.SIMULATED)
    (log,) = open_folder(path).logs
    return log.read(named.info.name)


def frozen(fakes: Any, stream: Stream, *, moving: bool = True) -> bool:
    return bool(run("frozen", fakes.log(stream, robot(len(stream), moving=moving))))


@pytest.mark.parametrize("options", [FINE | ONE_KEY, FINE | KEYS], ids=["one key frame", "a key frame a second"])
def test_a_camera_that_is_frozen_from_first_to_last_is_found_while_the_robot_moves(
    tmp_path: Path, fakes: Any, options: dict[str, str]
) -> None:
    stuck = video(1, size=(96, 160), noise=1.5).repeat(COUNT, axis=0)
    stream = camera(tmp_path / "camera.mp4", stuck, options)
    assert frozen(fakes, stream)
    assert not frozen(fakes, stream, moving=False)


@pytest.mark.parametrize("options", [FINE | ONE_KEY, FINE | KEYS, COARSE | ONE_KEY, COARSE | KEYS])
@pytest.mark.parametrize("noise", [0.7, 2.0])
def test_a_camera_that_sees_nothing_move_is_not_frozen(
    tmp_path: Path, fakes: Any, options: dict[str, str], noise: float
) -> None:
    still = video(COUNT, size=(96, 160), noise=noise, moving=False)
    assert not frozen(fakes, camera(tmp_path / "camera.mp4", still, options))


def test_a_coarse_coding_swallows_noise_and_says_so_by_its_quantiser(tmp_path: Path) -> None:
    still = video(30, size=(96, 160), noise=1.0, moving=False)
    fine = quantiser(camera(tmp_path / "fine.mp4", still, FINE).values)
    coarse = quantiser(camera(tmp_path / "coarse.mp4", still, COARSE).values)
    assert fine is not None and coarse is not None
    assert fine < 26 < 30 < coarse
    assert quantiser(still) is None


def test_video_in_messages_is_measured_as_the_same_video_in_a_file(tmp_path: Path, fakes: Any) -> None:
    pictures = video(COUNT, size=(96, 160), noise=1.5)
    pictures[100:160] = pictures[100]
    stream = camera(tmp_path / "a.mp4", pictures, FINE | KEYS)
    passed = in_messages(tmp_path / "a.mcap", stream)
    assert isinstance(passed.values, PacketFrames)
    one, other = measure(stream), measure(passed)
    assert (other.codec, other.pix_fmt, other.exact) == (one.codec, one.pix_fmt, False)
    for name in ("key", "group", "same", "ok", "damaged", "size", "change", "tiles"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert (other.packet > 0).all()
    assert quantiser(passed.values) == quantiser(stream.values)
    (finding,) = run("frozen", fakes.log(replace(passed, times_ns=stream.times_ns), robot(COUNT)))
    assert finding.value == pytest.approx(2.0, abs=0.15)


def test_slow_and_frozen_cameras_are_found_in_messages(tmp_path: Path, fakes: Any) -> None:
    slow = video(COUNT // 2, size=(96, 160), noise=1.5).repeat(2, axis=0)
    passed = in_messages(tmp_path / "a.mcap", camera(tmp_path / "a.mp4", slow, FINE | KEYS))
    declared = replace(passed, info=replace(passed.info, rate_hz=RATE))
    (finding,) = run("content_rate", fakes.log(declared, robot(COUNT)))
    assert finding.value == pytest.approx(RATE / 2, rel=0.1)
    stuck = video(1, size=(96, 160), noise=1.5).repeat(COUNT, axis=0)
    assert frozen(fakes, in_messages(tmp_path / "b.mcap", camera(tmp_path / "b.mp4", stuck, FINE | KEYS | ONE_KEY)))


def test_damaged_packets_in_messages_do_not_stop_the_pass(tmp_path: Path) -> None:
    stream = camera(tmp_path / "a.mp4", video(60, size=(96, 160)), FINE | KEYS)
    passed = in_messages(tmp_path / "a.mcap", stream).values
    assert isinstance(passed, PacketFrames)
    fetch = passed.stream.fetch

    def damaged(rows: Any) -> Any:
        for row, packet in zip(rows.tolist(), fetch(rows), strict=True):
            yield packet[:6] if 35 <= row < 40 else packet

    passed.stream.fetch = damaged
    places = [at for at, _ in passed.decoded()]
    assert 50 <= len(places) < 60
    assert places == sorted(places)
    assert places[-1] == 59

"""Frames by index from a video file: the same pixels as decoding it from the start, whatever the order and codec."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.logs import samples

from worldgate.core.errors import LogUnreadable
from worldgate.data.logs import _video as video
from worldgate.data.logs._video import VideoFrames, video_index


@pytest.fixture(scope="module", params=[0, 3])
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video without and with B-frames, a keyframe every 8."""
    path = tmp_path_factory.mktemp("video") / f"b{request.param}.mp4"
    samples.encode_video(path, samples.pictures(37), 30, bframes=request.param)
    return path


def frames_of(path: Path) -> VideoFrames:
    return VideoFrames(path=path, rows=np.arange(len(video_index(path).pts), dtype=np.int64))


def reference(path: Path) -> np.ndarray[Any, Any]:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_the_index_is_exact(file: Path) -> None:
    index = video_index(file)
    assert len(index.pts) == 37
    np.testing.assert_array_equal(index.times_ns(), np.rint(np.arange(37) * 1e9 / 30).astype(np.int64))
    assert index.key[0]
    assert index.key.sum() >= 4
    assert sorted(index.order.tolist()) == list(range(37))
    assert (index.height, index.width, index.codec, index.rate_hz) == (32, 48, "h264", 30.0)
    if "b3" in file.name:
        assert index.order.tolist() != list(range(37))


@settings(max_examples=30, deadline=None)
@given(wanted=st.lists(st.integers(0, 36), max_size=12))
def test_any_order_gives_the_frames_of_decoding_from_the_start(file: Path, wanted: list[int]) -> None:
    frames, whole = frames_of(file), reference(file)
    got = frames.read(np.array(wanted, dtype=np.int64))
    np.testing.assert_array_equal(got, whole[wanted])
    for number in wanted[:4]:
        np.testing.assert_array_equal(frames.read(np.array([number]))[0], whole[number])


def test_a_slice_renumbers_and_has_its_own_identity(file: Path) -> None:
    frames, whole = frames_of(file), reference(file)
    part = frames.slice(np.arange(10, 20))
    np.testing.assert_array_equal(part.read(np.array([0, 9])), whole[[10, 19]])
    assert part.content_digest() != frames.content_digest()
    assert part.keyframes().tolist() == frames.keyframes()[10:20].tolist()
    assert (part.packet_sizes() > 0).all()


def test_identity_survives_a_copy_and_not_a_packet(file: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(file.read_bytes())
    assert frames_of(copy).content_digest() == frames_of(file).content_digest()
    other = tmp_path / "other.mp4"
    samples.encode_video(other, samples.pictures(37)[::-1], 30)
    assert frames_of(other).content_digest() != frames_of(file).content_digest()


def test_a_file_that_changes_is_indexed_and_decoded_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    samples.encode_video(path, samples.pictures(9), 30)
    assert len(frames_of(path).read(np.array([8]))) == 1
    path.unlink()
    samples.encode_video(path, samples.pictures(12), 30)
    assert len(video_index(path).pts) == 12
    np.testing.assert_array_equal(frames_of(path).read(np.array([11]))[0], reference(path)[11])


def test_many_files_do_not_stay_open(tmp_path: Path) -> None:
    samples.encode_video(tmp_path / "0.mp4", samples.pictures(3), 30)
    for i in range(1, 20):
        (tmp_path / f"{i}.mp4").write_bytes((tmp_path / "0.mp4").read_bytes())
    for i in range(20):
        assert frames_of(tmp_path / f"{i}.mp4").read(np.array([2])).shape == (1, 32, 48, 3)
    assert len(video._POOL.decoders) <= video._OPEN_DECODERS


@pytest.mark.parametrize("data", [b"", b"no video", b"\0\0\0\x18ftypmp42" + bytes(200)])
def test_what_is_no_video_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(data)
    with pytest.raises(LogUnreadable):
        video_index(path)
    with pytest.raises(LogUnreadable, match="missing"):
        video_index(tmp_path / "none.mp4")


def test_damaged_packets_raise_nothing_but_the_one_error(file: Path, tmp_path: Path) -> None:
    clean = file.read_bytes()
    at, rng = clean.index(b"mdat"), np.random.default_rng(0)
    for trial in range(25):
        damaged = bytearray(clean)
        for place in rng.integers(0 if trial % 2 else at, len(clean), 30):
            damaged[place] = int(rng.integers(256))
        path = tmp_path / f"{trial}.mp4"
        path.write_bytes(bytes(damaged))
        try:
            frames = frames_of(path)
            assert frames.read(np.arange(len(frames))).shape[0] == len(frames)
            frames.content_digest()
        except LogUnreadable as error:
            assert str(path) in str(error)  # noqa: PT017  # either outcome is right, a crash is not

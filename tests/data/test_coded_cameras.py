"""The camera checks on real codecs: pictures encoded as H.264 and AV1, as datasets hold them, sound and faulty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from tests.contract.broken_cameras import blurred, shifted, video

from worldgate.core.streams import Finding, Kind, Stream, StreamInfo
from worldgate.data.checks import run
from worldgate.data.checks._frames import measure
from worldgate.data.logs._video import VideoFrames, video_index

RATE = 30
COUNT = 120
CODECS: dict[str, tuple[str, dict[str, str]]] = {
    "h264, long groups and B-frames": ("libx264", {"crf": "23", "preset": "veryfast"}),
    "h264, groups of 2": ("libx264", {"crf": "23", "preset": "veryfast", "g": "2", "bf": "0"}),
    "av1, groups of 2, as LeRobot writes": (
        "libsvtav1",
        {"crf": "30", "preset": "10", "g": "2", "svtav1-params": "lp=1"},
    ),
}

Encode = Callable[..., Stream]


@pytest.fixture(params=list(CODECS))
def encode(request: pytest.FixtureRequest, tmp_path: Path) -> Encode:
    """Writes pictures in one of the codecs and opens them as a camera's stream."""
    codec, options = CODECS[request.param]

    def write(pictures: Any, *, declared: dict[str, Any] | None = None, rate_hz: float = RATE) -> Stream:
        path = tmp_path / "camera.mp4"
        write_video(path, pictures, codec, options)
        return stream_of(path, declared=declared, rate_hz=rate_hz)

    return write


def write_video(path: Path, pictures: Any, codec: str, options: dict[str, str]) -> None:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=Fraction(RATE), options=options)
        stream.height, stream.width = pictures.shape[1:3]
        stream.pix_fmt = "yuv420p"
        if "g" in options:
            stream.codec_context.gop_size = int(options["g"])
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        container.mux(stream.encode(None))


def stream_of(path: Path, *, declared: dict[str, Any] | None = None, rate_hz: float = RATE) -> Stream:
    index = video_index(path)
    frames = VideoFrames(path=path, rows=np.arange(len(index.pts), dtype=np.int64), declared=declared or {})
    info = StreamInfo(
        name="camera", kind=Kind.IMAGE, count=len(frames), shape=(index.height, index.width, 3), rate_hz=rate_hz
    )
    return Stream(info=info, times_ns=index.times_ns(), values=frames)


def robot(count: int = COUNT, *, moving: bool = True) -> Stream:
    times = np.arange(count, dtype=np.int64) * 1_000_000_000 // RATE
    phase = np.arange(count)[:, None] / 9 + np.arange(2)
    values = np.sin(phase) if moving else np.random.default_rng(0).normal(0, 1e-4, (count, 2))
    info = StreamInfo(name="observation.state", kind=Kind.VECTOR, count=count, shape=(2,), rate_hz=RATE)
    return Stream(info=info, times_ns=times, values=values)


def found(fakes: Any, name: str, camera: Stream, *, moving: bool = True) -> tuple[Finding, ...]:
    return run(name, fakes.log(camera, robot(len(camera), moving=moving)))


def pictures(**changes: Any) -> Any:
    return video(COUNT, **{"size": (96, 160), "noise": 1.5, **changes})


def frames_of(finding: Finding) -> list[tuple[int, int]]:
    return [(round(a * RATE / 1e9), round(b * RATE / 1e9)) for a, b in finding.spans_ns]


def test_a_camera_without_fault_passes_every_check(encode: Encode, fakes: Any) -> None:
    camera = encode(pictures(), declared={"codec": "", "height": 96, "width": 160, "pix_fmt": "yuv420p"})
    names = (
        "blank", "blur", "content_rate", "corrupt", "dropped_frames", "exposure", "extrinsics", "frozen", "metadata",
        "occluded", "resolution",
    )  # fmt: skip
    log = fakes.log(camera, robot())
    assert {name: run(name, log) for name in names} == dict.fromkeys(names, ())


@pytest.mark.parametrize("factor", [2, 3])
def test_the_rate_of_the_content_is_found_under_a_higher_declared_one(encode: Encode, fakes: Any, factor: int) -> None:
    (finding,) = found(fakes, "content_rate", encode(pictures()[: COUNT // factor].repeat(factor, axis=0)))
    assert finding.value == pytest.approx(RATE / factor, rel=0.15)


def test_repeats_in_long_groups_are_found_though_each_is_coded_better_than_what_it_repeats(
    tmp_path: Path, fakes: Any
) -> None:
    """Named reproduction: what moves is coded coarsely and corrected in the repeat, which passed for a new picture."""
    slow = video(90, size=(64, 64)).repeat(2, axis=0)
    options = {"crf": "20", "preset": "veryfast", "g": "16", "bf": "0", "x264-params": "mbtree=0:rc-lookahead=0"}
    write_video(tmp_path / "camera.mp4", slow, "libx264", options)
    camera = stream_of(tmp_path / "camera.mp4")
    equal = float(measure(camera).same[1::2].mean())
    (finding,) = run("content_rate", fakes.log(camera, robot(180)))
    assert equal < 0.3, "few repeats decode to equal pixels"
    assert finding.value == pytest.approx(RATE / 2, rel=0.1)


def test_repeats_that_fall_on_key_frames_are_found_too(tmp_path: Path, fakes: Any) -> None:
    slow = pictures()[: COUNT // 2].repeat(2, axis=0)
    late = np.concatenate([slow[:1], slow])[:COUNT]  # every repeat is now a key frame, coded anew
    write_video(tmp_path / "camera.mp4", late, *CODECS["av1, groups of 2, as LeRobot writes"])
    camera = stream_of(tmp_path / "camera.mp4")
    features = measure(camera)
    equal = float(features.same[1:].mean())
    (finding,) = found(fakes, "content_rate", camera)
    assert equal < 0.1, "a test for equal frames sees next to none of them"
    assert finding.value == pytest.approx(RATE / 2, rel=0.15)


@pytest.mark.parametrize("moving", [True, False])
def test_a_camera_that_sees_nothing_move_is_neither_slow_nor_frozen(encode: Encode, fakes: Any, moving: bool) -> None:
    camera = encode(pictures(moving=False))
    assert found(fakes, "content_rate", camera, moving=moving) == ()
    assert found(fakes, "frozen", camera, moving=moving) == ()


def test_a_freeze_in_the_middle_of_a_motion_is_found_with_its_span(encode: Encode, fakes: Any) -> None:
    stuck = pictures()
    stuck[40:80] = stuck[40]
    (finding,) = found(fakes, "frozen", encode(stuck))
    ((first, end),) = frames_of(finding)
    assert abs(first - 40) <= 2
    assert abs(end - 80) <= 2


@pytest.mark.parametrize("level", [0, 255])
def test_black_and_white_frames_are_blank(encode: Encode, fakes: Any, level: int) -> None:
    dead = pictures()
    dead[30:60] = level
    (finding,) = found(fakes, "blank", encode(dead))
    ((first, end),) = frames_of(finding)
    assert abs(first - 30) <= 1
    assert abs(end - 60) <= 1


def test_blur_exposure_and_a_knock_are_found_from_where_they_begin(encode: Encode, fakes: Any) -> None:
    whole = pictures()
    for name, change in (
        ("blur", lambda part: blurred(part, 3.0)),
        ("exposure", lambda part: np.clip(part * 0.5, 0, 255).astype(np.uint8)),
        ("extrinsics", lambda part: shifted(part, 5.0, -3.0)),
    ):
        (finding,) = found(fakes, name, encode(np.concatenate([whole[:60], change(whole[60:])])))
        first = frames_of(finding)[0][0]
        assert abs(first - 60) <= 9, name  # a knock is located by the pictures that were looked at


def test_half_a_lens_covered_is_found(encode: Encode, fakes: Any) -> None:
    covered = pictures()
    covered[50:, :, :60] = 25
    (finding,) = found(fakes, "occluded", encode(covered))
    assert 0.2 < finding.value < 0.5
    assert abs(frames_of(finding)[0][0] - 50) <= 1


def test_metadata_that_contradict_the_video_are_named_one_by_one(encode: Encode, fakes: Any) -> None:
    declared = {"height": 480, "width": 640, "codec": "mpeg4", "pix_fmt": "yuv444p"}
    said = found(fakes, "metadata", encode(pictures(), declared=declared, rate_hz=15))
    assert [f.message.split()[1] for f in said] == ["rate", "height", "width", "codec", "pix_fmt"]
    assert said[0].value == pytest.approx(RATE)


def test_a_damaged_packet_is_found_and_does_not_stop_the_pass(encode: Encode, fakes: Any) -> None:
    camera = encode(pictures())
    path = camera.frames.path  # type: ignore[attr-defined]
    damaged = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    middle = len(damaged) // 2
    damaged[middle : middle + 2000] = rng.integers(0, 255, 2000, dtype=np.uint8).tobytes()
    path.write_bytes(bytes(damaged))
    said = found(fakes, "corrupt", replace(camera, values=VideoFrames(path=path, rows=camera.frames.rows)))  # type: ignore[attr-defined]
    assert said
    assert all(f.spans_ns for f in said)


def test_frames_lost_before_encoding_leave_holes_in_native_stamps(encode: Encode, fakes: Any) -> None:
    kept = np.delete(np.arange(COUNT), [20, 21, 50, 90])
    camera = encode(pictures()[kept])
    (finding,) = found(fakes, "dropped_frames", replace(camera, times_ns=robot().times_ns[kept]))
    assert finding.message.startswith("4 frames are missing")
    assert frames_of(finding) == [(19, 22), (49, 51), (89, 91)]

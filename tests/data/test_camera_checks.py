"""Each camera check against faults planted in pictures held in memory: found with span and value, silent without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tests.contract.broken_cameras import blurred, scene, shifted, video
from tests.contract.test_checks import Log as Held

from worldgate.core.digest import digest_file
from worldgate.core.errors import NotFound, Tampered
from worldgate.core.streams import Kind, Stream, StreamInfo
from worldgate.data.checks import run
from worldgate.data.checks._frames import measure
from worldgate.data.checks._renewal import renewal
from worldgate.data.checks.blur import sharpness
from worldgate.data.checks.frozen import Config as FrozenConfig
from worldgate.data.checks.frozen import still
from worldgate.data.logs._images import EncodedFrames, raw

MS = 1_000_000
STEP = 33 * MS


def log_of(fakes: Any, images: np.ndarray[Any, Any], *, moving: bool = True, rate_hz: float = 0.0) -> Any:
    times = np.arange(len(images), dtype=np.int64) * STEP
    camera = fakes.stream("camera", times, fakes.Frames(images), kind=Kind.IMAGE, rate_hz=rate_hz)
    phase = np.linspace(0, 6, len(images))[:, None] + np.arange(2)
    return fakes.log(camera, fakes.stream("state", times, np.sin(phase) if moving else np.zeros((len(images), 2))))


# the pass


def test_all_checks_of_a_log_share_one_decoding(fakes: Any) -> None:
    log = log_of(fakes, video(90))
    for name in ("blank", "content_rate", "frozen"):
        run(name, log)
    assert log.held["camera"].values.decoded == 90


# blank


@pytest.mark.parametrize(("level", "word"), [(0, "black"), (128, "grey level"), (255, "white")])
def test_a_blank_camera_is_found_whatever_its_colour(fakes: Any, level: int, word: str) -> None:
    (found,) = run("blank", log_of(fakes, np.full((40, 24, 32, 3), level, np.uint8)))
    assert found.value == 1.0
    assert found.message.startswith("every frame is blank")
    assert word in found.message


def test_one_black_frame_is_found_where_it_is(fakes: Any) -> None:
    images = video(60)
    images[20] = 0
    (found,) = run("blank", log_of(fakes, images))
    assert found.spans_ns == ((20 * STEP, 21 * STEP),)
    assert found.value == pytest.approx(1 / 60)


def test_a_covered_lens_is_blank_in_spite_of_the_sensors_noise(fakes: Any) -> None:
    images = video(90)
    images[30:60] = np.clip(np.random.default_rng(1).normal(6, 3, images[30:60].shape), 0, 255)
    (found,) = run("blank", log_of(fakes, images))
    assert found.spans_ns == ((30 * STEP, 60 * STEP),)


def test_a_picture_without_fault_is_not_blank(fakes: Any) -> None:
    assert run("blank", log_of(fakes, video(60))) == ()


# content rate


@pytest.mark.parametrize("factor", [2, 3, 5])
def test_pictures_handed_out_several_times_are_measured(fakes: Any, factor: int) -> None:
    images = video(60).repeat(factor, axis=0)
    (found,) = run("content_rate", log_of(fakes, images, rate_hz=1000 / 33))
    assert found.value == pytest.approx(1000 / 33 / factor, rel=0.1)
    assert found.unit == "Hz"
    assert found.spans_ns


def test_a_camera_that_is_stamped_more_slowly_than_it_declares_is_found(fakes: Any) -> None:
    (found,) = run("content_rate", log_of(fakes, video(60), rate_hz=60.0))
    assert found.value == pytest.approx(1000 / 33)
    assert "its stamps come at 30.3 Hz" in found.message


@pytest.mark.parametrize("noise", [0.0, 1.0])
@pytest.mark.parametrize("robot", [True, False])
def test_a_still_scene_says_nothing_of_the_rate(fakes: Any, noise: float, robot: bool) -> None:
    images = video(120, noise=noise, moving=False)
    assert run("content_rate", log_of(fakes, images, moving=robot, rate_hz=1000 / 33)) == ()


def test_a_few_repeats_among_hundreds_of_pictures_are_within_the_limit(fakes: Any) -> None:
    images = video(300)
    images[10::50] = images[9::50]
    assert run("content_rate", log_of(fakes, images, rate_hz=1000 / 33)) == ()


def test_a_robot_that_stops_and_goes_in_view_is_no_slow_camera(fakes: Any) -> None:
    place = np.repeat(np.arange(60), 2)  # it rests every other frame, and its telemetry says so
    images = video(60, noise=0.0)[place]
    times = np.arange(120, dtype=np.int64) * STEP
    camera = fakes.stream("camera", times, fakes.Frames(images), kind=Kind.IMAGE, rate_hz=1000 / 33)
    state = np.stack([np.sin(place / 9), np.cos(place / 7)], axis=1)
    assert run("content_rate", fakes.log(camera, fakes.stream("state", times, state))) == ()


# frozen


def test_a_picture_that_repeats_while_the_robot_moves_is_found_with_its_span(fakes: Any) -> None:
    images = video(120)
    images[40:100] = images[40]
    (found,) = run("frozen", log_of(fakes, images))
    assert found.spans_ns == ((40 * STEP, 100 * STEP),)
    assert found.value == pytest.approx(60 * 0.033)


def test_a_repeat_survives_a_key_frame_that_reencodes_it(fakes: Any) -> None:
    images = video(120)
    images[40:100] = images[40]
    images[70:100] = np.minimum(images[70:100], 254) + 1
    (found,) = run("frozen", log_of(fakes, images))
    assert found.spans_ns == ((40 * STEP, 100 * STEP),)


@pytest.mark.parametrize("depth", [2, 3, 5])
def test_old_pictures_that_are_shown_in_turn_are_a_frozen_camera(depth: int, fakes: Any) -> None:
    images = video(90)
    images[30:70] = images[30 - depth + np.arange(40) % depth]
    (found,) = run("frozen", log_of(fakes, images))
    start, end = found.spans_ns[0][0], found.spans_ns[-1][1]
    assert start == pytest.approx(30 * STEP, abs=8 * STEP), "windows of half a second"
    assert end == pytest.approx(70 * STEP, abs=8 * STEP)
    assert run("frozen", log_of(fakes, images, moving=False)) == (), "nothing moves, and nothing needs to"


def test_a_lamp_that_flickers_in_step_with_the_camera_does_not_freeze_it(fakes: Any) -> None:
    images = video(90, moving=False, noise=0.0).astype(np.float64)
    images *= np.array([1.0, 0.9, 0.95])[np.arange(90) % 3][:, None, None, None]
    assert run("frozen", log_of(fakes, images.astype(np.uint8))) == ()


def test_a_still_but_noisy_camera_is_not_frozen(fakes: Any) -> None:
    assert run("frozen", log_of(fakes, video(90, moving=False))) == ()


def test_a_still_picture_of_a_still_robot_is_not_frozen(fakes: Any) -> None:
    images = video(1).repeat(90, axis=0)
    assert run("frozen", log_of(fakes, images, moving=False)) == ()


def test_a_robot_that_leaves_the_view_of_a_noiseless_camera_does_not_freeze_it(fakes: Any) -> None:
    images = scene()[None].repeat(150, axis=0)
    for i in range(60):  # the block goes out at the right edge, slower and slower
        x = int(40 + 100 * (1 - (1 - i / 60) ** 2))
        images[i, 20:30, x : x + 10] = 245
    frames = images.astype(np.uint8)[..., None].repeat(3, axis=3)
    assert run("frozen", log_of(fakes, frames)) == ()


def test_without_motion_streams_only_a_wholly_frozen_camera_is_found(fakes: Any) -> None:
    times = np.arange(90, dtype=np.int64) * STEP
    still_picture = video(1).repeat(90, axis=0)
    (found,) = run("frozen", fakes.log(fakes.stream("camera", times, fakes.Frames(still_picture), kind=Kind.IMAGE)))
    assert found.value == pytest.approx(90 * 0.033)
    half = np.concatenate([still_picture[:60], video(30)])
    assert run("frozen", fakes.log(fakes.stream("camera", times, fakes.Frames(half), kind=Kind.IMAGE))) == ()


def test_encoders_that_only_jitter_do_not_move_the_robot(fakes: Any) -> None:
    images = video(120)
    images[40:100] = images[40]
    times = np.arange(120, dtype=np.int64) * STEP
    camera = fakes.stream("camera", times, fakes.Frames(images), kind=Kind.IMAGE)
    jitter = np.random.default_rng(0).normal(0, 1e-4, (120, 3))
    assert run("frozen", fakes.log(camera, fakes.stream("state", times, jitter))) == ()


def test_stretches_of_one_picture_never_bridge_a_real_change(fakes: Any) -> None:
    images = video(60, noise=0.0)
    images[10:30], images[30:50] = images[10], images[40]
    camera = fakes.stream("camera", np.arange(60, dtype=np.int64) * STEP, fakes.Frames(images), kind=Kind.IMAGE)
    assert (10, 29) in still(renewal(measure(camera)), FrozenConfig())
    assert (30, 49) in still(renewal(measure(camera)), FrozenConfig())


# one pass however often a log is opened


def test_a_log_that_is_opened_anew_for_each_check_is_decoded_once(fakes: Any) -> None:
    images = video(90)
    decoded = 0
    for name in ("blank", "frozen", "blur"):
        log = log_of(fakes, images)
        run(name, log)
        decoded += log.held["camera"].values.decoded
    assert decoded == 90


def test_the_same_pictures_under_another_declared_rate_are_judged_by_that_rate(fakes: Any) -> None:
    images = video(80)
    assert run("content_rate", log_of(fakes, images, rate_hz=1000 / 33)) == ()
    (found,) = run("content_rate", log_of(fakes, images, rate_hz=90.0))
    assert found.limit == pytest.approx(0.85 * 90)


# where the robot is, and what stands before the lens


def test_a_camera_on_the_wrist_is_not_displaced(fakes: Any) -> None:
    wide = video(1, moving=False, size=(96, 256))[0]
    travelling = np.stack([wide[:, int(30 + 28 * np.sin(i / 6)) :][:, :128] for i in range(90)])
    assert run("extrinsics", log_of(fakes, travelling)) == ()


def test_a_turn_is_found_where_most_of_the_corners_are_on_something_that_moves(fakes: Any) -> None:
    images = video(60, moving=False)
    for i in range(60):
        images[i, 20:76, 30 + i : 80 + i] = scene(width=256, seed=5)[:56, :50, None][:, : 128 - 30 - i]
    assert run("extrinsics", log_of(fakes, images)) == ()
    images[30:] = shifted(images[30:], 0.0, 0.0, 4.0)
    (found,) = run("extrinsics", log_of(fakes, images))
    assert (round(found.value), found.unit) == (4, "deg")


def test_a_camera_that_slips_is_not_taken_for_one_that_travels(fakes: Any) -> None:
    images = video(60)
    slips = np.concatenate([shifted(images[i : i + 1], 0.2 * max(0, i - 15), 0.0) for i in range(60)])
    (found,) = run("extrinsics", log_of(fakes, slips))
    assert found.value == pytest.approx(8.8, abs=0.8)


def test_the_first_picture_is_held_against_a_given_reference(fakes: Any, tmp_path: Path) -> None:
    images = video(60)
    path = tmp_path / "calibrated.png"
    cv2.imwrite(str(path), shifted(images[:1], 7.0, 0.0)[0])
    given = {"reference": {"camera": str(path)}, "digests": {"camera": digest_file(path)}}
    (found,) = run("extrinsics", log_of(fakes, images), given)
    assert found.value == pytest.approx(7.0, abs=0.3)
    assert "in the reference" in found.message
    with pytest.raises(Tampered):
        run("extrinsics", log_of(fakes, images), given | {"digests": {"camera": "0" * 64}})
    with pytest.raises(NotFound):
        run("extrinsics", log_of(fakes, images), {"reference": {"camera": str(tmp_path / "gone.png")}})


def test_what_hangs_before_the_lens_all_the_time_is_found_where_it_is_dark_and_flat(fakes: Any) -> None:
    images = video(90)
    images[:, :, :40] = 12
    (found,) = run("occluded", log_of(fakes, images))
    assert found.spans_ns == ((0, 90 * STEP),)
    assert found.value == pytest.approx(40 / 128, abs=0.08)


def greased(images: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
    """What grease lets through: brightness, and no detail."""
    images = images.copy()
    for image in images:
        part = image[rows, columns]
        few = cv2.resize(part, (4, 3), interpolation=cv2.INTER_AREA)
        image[rows, columns] = cv2.resize(few, part.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return images


def test_grease_is_found_though_an_arm_shines_through_it(fakes: Any) -> None:
    """Named reproduction: three of four DROID logs were missed, because the patch is not still."""
    images = video(180)
    for i in range(180):  # the arm never leaves the greased part
        x = 64 + int(30 * np.sin(i / 5))
        images[i, :, x : x + 10] = 220
    dirty = np.concatenate([images[:60], greased(images[60:], slice(10, 80), slice(30, 110))])
    (found,) = run("occluded", log_of(fakes, dirty))
    assert found.spans_ns == ((60 * STEP, 180 * STEP),)
    assert found.value == pytest.approx(80 * 70 / 128 / 96, abs=0.15)
    assert "at once" in found.message
    assert run("occluded", log_of(fakes, images)) == ()


def test_a_lens_that_blurs_all_of_the_picture_is_not_covered(fakes: Any) -> None:
    images = video(180)
    soft = np.concatenate([images[:60], greased(images[60:], slice(None), slice(None))])
    assert run("occluded", log_of(fakes, soft)) == ()


def test_an_arm_that_takes_detail_away_is_no_occlusion(fakes: Any) -> None:
    images = video(90, moving=False)
    for i in range(90):
        x = int(40 + 30 * np.sin(i / 8))
        images[i, :, x : x + 36] = 200
    assert run("occluded", log_of(fakes, images)) == ()


def test_a_camera_is_held_against_its_sharpness_in_good_episodes(fakes: Any) -> None:
    soft = blurred(video(60), 0.8)
    assert run("blur", log_of(fakes, soft)) == (), "within one log it has nothing sharper to be held against"
    usual = float(np.nanmedian(sharpness(measure(log_of(fakes, video(60)).held["camera"]))))
    (found,) = run("blur", log_of(fakes, soft), {"reference": {"camera": usual}})
    assert found.spans_ns == ((0, 60 * STEP),)


def test_a_lens_that_is_out_of_focus_from_first_to_last_needs_no_reference(fakes: Any) -> None:
    large = np.repeat(np.repeat(video(60, size=(48, 64)), 5, axis=1), 5, axis=2)
    (found,) = run("blur", log_of(fakes, blurred(large, 13.0)))
    assert found.spans_ns == ((0, 60 * STEP),)
    assert "edges hold" in found.message
    assert found.value < found.limit


def test_a_cover_hides_what_was_plain_before_it_as_well(fakes: Any) -> None:
    images = video(90)
    images[:, :48, :32] = 40  # a dark wall
    covered = images.copy()
    covered[40:, :, :32] = 38
    (found,) = run("occluded", log_of(fakes, covered), {"part": 0.2})
    assert found.spans_ns[0][0] == 40 * STEP
    assert run("occluded", log_of(fakes, images), {"part": 0.2}) == ()


def test_a_cover_that_hangs_for_most_of_the_log_is_not_confused_with_its_absence(fakes: Any) -> None:
    """Named reproduction: the wall that it hid, plain and of another brightness, was taken for a second cover."""
    images = video(90)
    images[:, :72, :40] = 150  # a bright wall
    images[30:, :, :48] = 30
    (found,) = run("occluded", log_of(fakes, images))
    assert found.value == pytest.approx(48 / 128, abs=0.1)
    assert found.spans_ns[0][0] == 30 * STEP


@pytest.mark.parametrize("gain", [0.5, 1.5])
def test_a_leap_of_brightness_is_told_from_something_bright_that_comes_into_view(fakes: Any, gain: float) -> None:
    images = video(90)
    images[30:60] = np.clip(images[30:60] * gain, 0, 255)
    (found,) = run("exposure", log_of(fakes, images))
    ((start, end),) = found.spans_ns
    assert abs(start - 30 * STEP) <= 2 * STEP
    assert abs(end - 60 * STEP) <= 2 * STEP
    lit = video(90)
    lit[30:60, 20:70, 30:100] = 240
    assert not [f for f in run("exposure", log_of(fakes, lit)) if "leaps" in f.message]


def test_a_late_frame_is_not_a_lost_one(fakes: Any) -> None:
    times = np.arange(60, dtype=np.int64) * STEP
    times[20] += 24 * MS
    camera = fakes.stream("camera", times, fakes.Frames(video(60)), kind=Kind.IMAGE, rate_hz=1000 / 33)
    assert run("dropped_frames", fakes.log(camera)) == ()
    kept = np.delete(np.arange(60), [10, 30])
    camera = fakes.stream("camera", times[kept], fakes.Frames(video(60)[kept]), kind=Kind.IMAGE, rate_hz=1000 / 33)
    (found,) = run("dropped_frames", fakes.log(camera))
    assert found.message.startswith("2 frames are missing")


def test_images_of_two_sizes_in_one_stream_are_counted_where_they_are(tmp_path: Path) -> None:
    held = [raw(video(1, size=(48, 64 if i < 50 else 80))[0], "rgb8") for i in range(60)]
    frames = EncodedFrames(fetch=lambda rows: (held[int(i)] for i in rows), count=60)
    info = StreamInfo(name="camera", kind=Kind.IMAGE, count=60, shape=(48, 64, 3))
    log = Held(Stream(info=info, times_ns=np.arange(60, dtype=np.int64) * STEP, values=frames))
    (found,) = run("resolution", log)
    assert (found.value, found.spans_ns) == (10.0, ((50 * STEP, 60 * STEP),))

"""Each camera check against faults planted in pictures held in memory: found with span and value, silent without."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from worldgate.core.streams import Kind
from worldgate.data.checks import run
from worldgate.data.checks._frames import measure
from worldgate.data.checks.frozen import Config as FrozenConfig
from worldgate.data.checks.frozen import still

MS = 1_000_000
STEP = 33 * MS


def scene(height: int = 48, width: int = 64, seed: int = 0) -> np.ndarray[Any, Any]:
    """(H, W) a textured background: blocks of random grey, as a cluttered table."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 210, (height // 4, width // 4)).repeat(4, axis=0).repeat(4, axis=1)
    return coarse[:height, :width].astype(np.float64)


def video(count: int, *, noise: float = 1.0, seed: int = 0, moving: bool = True) -> np.ndarray[Any, Any]:
    """(N, 48, 64, 3) a still, noisy scene in which a bright block goes round."""
    rng = np.random.default_rng(seed)
    out = scene()[None].repeat(count, axis=0)
    for i in range(count if moving else 0):
        x, y = int(26 + 22 * np.sin(i / 9)), int(18 + 14 * np.cos(i / 7))
        out[i, y : y + 10, x : x + 10] = 245
    out = out + rng.normal(0, noise, out.shape) if noise else out
    return np.clip(out, 0, 255).astype(np.uint8)[..., None].repeat(3, axis=3)


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


def test_a_still_but_noisy_camera_is_not_frozen(fakes: Any) -> None:
    assert run("frozen", log_of(fakes, video(90, moving=False))) == ()


def test_a_still_picture_of_a_still_robot_is_not_frozen(fakes: Any) -> None:
    images = video(1).repeat(90, axis=0)
    assert run("frozen", log_of(fakes, images, moving=False)) == ()


def test_a_robot_that_leaves_the_view_of_a_noiseless_camera_does_not_freeze_it(fakes: Any) -> None:
    images = scene()[None].repeat(150, axis=0)
    for i in range(60):  # the block goes out at the right edge, slower and slower
        x = int(20 + 60 * (1 - (1 - i / 60) ** 2))
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
    assert (10, 29) in still(measure(camera), FrozenConfig())
    assert (30, 49) in still(measure(camera), FrozenConfig())

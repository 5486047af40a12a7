"""Clips straight from recordings: the frames that reading and scaling them one after the other gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.data.films import film
from tests.data.loader.conftest import FRONT, STATE
from tests.data.logs import samples

from worldgate.core.episodes import Episode
from worldgate.core.errors import LogUnreadable
from worldgate.core.streams import Kind, Log, Origin
from worldgate.data.alignment import AlignmentSpec, StreamAlignment, align
from worldgate.data.loader import ClipConfig, ClipLoader
from worldgate.data.loader.receipts import psnr_of
from worldgate.data.logs import open_folder
from worldgate.data.logs._images import Encoded, decode_into, encode
from worldgate.data.logs.lerobot import LeRobotWriter
from worldgate.data.logs.mcap import ImageOptions, write_log
from worldgate.data.resample import Policy

HEIGHT, WIDTH = 96, 128


def lerobot(folder: Path) -> Log:
    with LeRobotWriter(folder / "set", fps=20, robot_type="arm", origin=Origin.SIMULATED) as writer:
        for seed in range(2):
            numbers = {STATE: np.arange(80, dtype=np.float32).reshape(40, 2)}
            writer.add_episode(numbers, {FRONT: film(40, HEIGHT, WIDTH, seed)}, task="push")
    return open_folder(folder / "set").logs[1]


def mcap(folder: Path) -> Log:
    held = [
        samples.stream(STATE, Kind.VECTOR, samples.numbers(40)),
        samples.stream(FRONT, Kind.IMAGE, film(40, HEIGHT, WIDTH, 1)),
    ]
    write_log(folder / "run.mcap", held, origin=Origin.SIMULATED, image=ImageOptions(format="jpeg", quality=95))
    return open_folder(folder / "run.mcap").logs[0]


@pytest.fixture(params=[lerobot, mcap])
def recorded(request: pytest.FixtureRequest, tmp_path: Path) -> Episode:
    # More rows than frames, and rows before the first frame of the window: repeats and gaps.
    log: Log = request.param(tmp_path)
    every = StreamAlignment(policy=Policy.HOLD)
    return align(log, AlignmentSpec(rate_hz=33.0, default=every))


def served(episode: Episode, size: tuple[int, int], codec: str, cache: Path, **more: int) -> list[np.ndarray]:
    config = ClipConfig(cameras=(FRONT,), numbers=(STATE,), size=size, frames=6, batch=5, codec=codec, **more)
    with ClipLoader(config, [episode], cache=cache) as loader:
        return [batch.frames[FRONT].copy() for batch in loader]


@pytest.mark.parametrize("stride", [1, 3])
def test_frames_of_their_own_size_are_equal_to_the_bit(recorded: Episode, tmp_path: Path, stride: int) -> None:
    raw = served(recorded, (HEIGHT, WIDTH), "raw", tmp_path, stride=stride)
    direct = served(recorded, (HEIGHT, WIDTH), "none", tmp_path, stride=stride)
    assert len(raw) == len(direct) > 3
    for a, b in zip(raw, direct, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("size", [(48, 64), (24, 40), (13, 15)])
def test_frames_that_are_scaled_while_decoded_are_close(
    recorded: Episode, tmp_path: Path, size: tuple[int, int]
) -> None:
    raw, direct = (served(recorded, size, codec, tmp_path) for codec in ("raw", "none"))
    assert psnr_of(np.stack(direct), np.stack(raw)) > 30
    moved = np.roll(np.stack(raw), 2, axis=2)
    assert psnr_of(moved, np.stack(raw)) < 30


def test_workers_read_videos_too(tmp_path: Path) -> None:
    episode = align(lerobot(tmp_path), AlignmentSpec(reference=FRONT))
    alone, many = (served(episode, (48, 64), "none", tmp_path, workers=workers) for workers in (0, 2))
    for a, b in zip(alone, many, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_jpeg_that_is_cut_off_is_refused_at_every_size() -> None:
    whole = encode(film(1, HEIGHT, WIDTH)[0], "jpeg", 95)
    for size in ((HEIGHT, WIDTH), (48, 64), (12, 16)):
        out = np.zeros((*size, 3), np.uint8)
        decode_into(Encoded(data=whole, format="jpeg"), out)
        assert out.any()
        with pytest.raises(LogUnreadable, match="cut off"):
            decode_into(Encoded(data=whole[:-300], format="jpeg"), out)

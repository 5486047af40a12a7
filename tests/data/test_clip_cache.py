"""The clip cache: made once, made again when anything is wrong with it, and chosen by size against memory."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.data.conftest import FakeFrames, FakeLog, stream
from tests.data.films import film

from worldgate.core.episodes import Episode
from worldgate.core.errors import NotFound
from worldgate.core.streams import Kind
from worldgate.data import clip_cache, clips, codecs
from worldgate.data.alignment import AlignmentSpec, align
from worldgate.data.clip_cache import ClipSpec, choose, ensure, path_of, spec_of
from worldgate.data.codecs import ClipReader
from worldgate.data.codecs._file import ClipFile

CAMERA = "observation.images.front"


def filmed(length: int = 30, seed: int = 0) -> tuple[Episode, FakeFrames]:
    frames = FakeFrames(film(length, seed=seed))
    log = FakeLog(held={CAMERA: stream(CAMERA, np.arange(length) * 50_000_000, frames, kind=Kind.IMAGE)})
    return align(log, AlignmentSpec(reference=CAMERA)), frames


def raw(episode: Episode, size: int | tuple[int, int] = 16) -> ClipSpec:
    return spec_of(episode, CAMERA, size, "raw", 16)


def open_clips(cache: Path, episode: Episode, spec: ClipSpec) -> ClipReader:
    ensure([episode], [spec], cache=cache)
    return codecs.load(spec.codec).reader(ClipFile.open(path_of(cache, episode, spec)))


def test_a_file_is_made_once_and_then_only_read(tmp_path: Path) -> None:
    episode, frames = filmed()
    ensure([episode], [raw(episode)], cache=tmp_path)
    assert frames.decoded == 30
    before = path_of(tmp_path, episode, raw(episode)).stat().st_mtime_ns
    ensure([episode], [raw(episode)], cache=tmp_path)
    out = np.zeros((2, 16, 16, 3), np.uint8)
    open_clips(tmp_path, episode, raw(episode)).into(np.array([29, 3]), out)
    assert frames.decoded == 30
    assert path_of(tmp_path, episode, raw(episode)).stat().st_mtime_ns == before
    np.testing.assert_array_equal(out, clips.frames(episode, CAMERA, 16)[[29, 3]])


@pytest.mark.parametrize("damage", ["header", "cut", "other episode", "older form"])
def test_a_damaged_or_foreign_file_is_made_again(damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    episode, frames = filmed()
    spec = raw(episode)
    ensure([episode], [spec], cache=tmp_path)
    path = path_of(tmp_path, episode, spec)
    whole = path.read_bytes()
    if damage == "header":
        path.write_bytes(whole[:60] + b"!" + whole[61:])
    elif damage == "cut":
        path.write_bytes(whole[:-100])
    elif damage == "other episode":
        other, _ = filmed(seed=3)
        ensure([other], [raw(other)], cache=tmp_path)
        path.write_bytes(path_of(tmp_path, other, raw(other)).read_bytes())
    else:
        path.write_bytes(b"\x93NUMPY" + whole)
    with caplog.at_level(logging.WARNING):
        ensure([episode], [spec], cache=tmp_path)
    assert "made again" in caplog.text
    assert path.read_bytes() == whole
    assert frames.decoded == 60


def test_mapped_frames_are_held_against_their_checksums(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    episode, _ = filmed()
    good = np.array(clips.frames(episode, CAMERA, 16, cache=tmp_path))
    path = path_of(tmp_path, episode, raw(episode))
    data = bytearray(path.read_bytes())
    data[-700] ^= 4
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        again = clips.frames(episode, CAMERA, 16, cache=tmp_path)
    assert isinstance(again, np.memmap)
    np.testing.assert_array_equal(again, good)
    assert "a frame is damaged" in caplog.text


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    episode, frames = filmed()

    class Breaks:
        def __len__(self) -> int:
            return 30

        def read(self, indices: Any) -> Any:
            raise OSError("the disk is gone")

        def content_digest(self) -> str:
            return frames.content_digest()

    rows = replace(episode.streams[CAMERA], values=Breaks())
    broken = replace(episode, streams={CAMERA: rows})
    with pytest.raises(OSError, match="disk is gone"):
        ensure([broken], [raw(broken)], cache=tmp_path)
    assert not [path for path in (tmp_path / "clips").iterdir() if not path.name.endswith(".lock")]


def test_files_are_made_side_by_side_and_reported(tmp_path: Path) -> None:
    episodes = [filmed(seed=seed)[0] for seed in range(6)]
    said: list[tuple[int, int]] = []
    ensure(
        episodes, [raw(episodes[0])], cache=tmp_path, workers=3, progress=lambda done, of, _: said.append((done, of))
    )
    assert said == [(i, 6) for i in range(1, 7)]
    for episode in episodes:
        out = np.zeros((30, 16, 16, 3), np.uint8)
        open_clips(tmp_path, episode, raw(episode)).into(np.arange(30), out)
        np.testing.assert_array_equal(out, clips.frames(episode, CAMERA, 16))


def test_depth_and_class_ids_are_never_averaged(tmp_path: Path) -> None:
    depth = np.where(np.arange(24) % 2, 4.0, 0.0).astype(np.float32)[None, None].repeat(3, 0).repeat(16, 1)
    ids = np.where(np.arange(24) % 2, 300, 7).astype(np.int32)[None, None].repeat(3, 0).repeat(16, 1)
    held = {
        "depth": stream("depth", range(3), FakeFrames(depth), kind=Kind.DEPTH),
        "seg": stream("seg", range(3), FakeFrames(ids), kind=Kind.SEGMENTATION),
    }
    episode = align(FakeLog(held=held), AlignmentSpec(reference="depth"))
    for name, dtype in (("depth", np.float32), ("seg", np.int32)):
        spec = spec_of(episode, name, (5, 7), "jpeg", 16)
        assert spec.codec == "raw"
        out = np.zeros((3, 5, 7), dtype)
        open_clips(tmp_path, episode, spec).into(np.arange(3), out)
        assert set(np.unique(out)) == ({0.0, 4.0} if name == "depth" else {7, 300})


def test_the_codec_follows_from_size_memory_and_disk(tmp_path: Path) -> None:
    gb = 10**9
    assert choose(10 * gb, cache=tmp_path, memory=24 * gb, free=100 * gb) == "raw"
    assert choose(13 * gb, cache=tmp_path, memory=24 * gb, free=100 * gb) == "jpeg"
    assert choose(10 * gb, cache=tmp_path, memory=24 * gb, free=11 * gb) == "jpeg"
    assert choose(900 * gb, cache=tmp_path, memory=24 * gb, free=100 * gb) == "h264"
    assert choose(1, cache=tmp_path / "not" / "yet") == "raw"
    assert clip_cache.raw_bytes([filmed()[0]], [CAMERA], (4, 8)) == 30 * 4 * 8 * 3


def test_an_unknown_camera_is_named(tmp_path: Path, fakes: Callable[..., Any]) -> None:
    with pytest.raises(NotFound, match=f"one of {CAMERA}"):
        raw(replace(filmed()[0])), spec_of(filmed()[0], "wrist", 16, "raw", 16)

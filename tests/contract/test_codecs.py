"""Every clip codec gives back the frames it was given, in any order, and notices every damaged byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.films import film

from worldgate.core.errors import LogUnreadable, Tampered, UsageError
from worldgate.core.seams import cards
from worldgate.core.streams import ByteArray, Kind, Origin
from worldgate.data import codecs
from worldgate.data.codecs._file import ClipFile, ClipHeader, write
from worldgate.data.loader.receipts import psnr_of

NAMES = sorted(cards("codecs"))
COUNT, GROUP = 37, 8


def frames() -> ByteArray:
    whole = film(COUNT)
    whole[20] = whole[19]
    return whole


@pytest.fixture(scope="module", params=NAMES)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    name = request.param
    path = tmp_path_factory.mktemp(name) / "clips"
    codec = codecs.load(name)
    header = ClipHeader(
        episode="0" * 64,
        camera="front",
        kind=Kind.IMAGE,
        origin=Origin.SIMULATED,
        codec=name,
        group=GROUP if codec.GROUPED else 1,
        frames=COUNT,
        shape=(48, 64, 3),
        dtype="uint8",
        scaling="area",
    )
    write(path, header, codec.encode(frames(), header.group), share=codec.LOSSY is not None)
    return name, path


def read(made: tuple[str, Path], rows: list[int]) -> ByteArray:
    codec, file = codecs.load(made[0]), ClipFile.open(made[1])
    out = np.full((len(rows), 48, 64, 3), 7, np.uint8)
    reader = codec.reader(file)
    reader.into(np.array(rows, np.int64), out)
    reader.close()
    return out


def close_enough(name: str, got: ByteArray, given_: ByteArray) -> bool:
    bound = codecs.load(name).LOSSY
    return bool(np.array_equal(got, given_)) if bound is None else psnr_of(got, given_) >= bound


@settings(max_examples=25, deadline=None)
@given(rows=st.lists(st.integers(0, COUNT - 1), min_size=1, max_size=12))
def test_any_rows_come_back_in_the_order_asked_for(made: tuple[str, Path], rows: list[int]) -> None:
    got = read(made, rows)
    assert close_enough(made[0], got, frames()[rows])
    np.testing.assert_array_equal(got, read(made, list(range(COUNT)))[rows])


def test_a_bound_would_notice_frames_that_are_two_away(made: tuple[str, Path]) -> None:
    got = read(made, list(range(10)))
    assert not close_enough(made[0], got, frames()[2:12])


def test_every_group_begins_with_a_frame_that_stands_alone(made: tuple[str, Path]) -> None:
    header = ClipFile.open(made[1]).header
    for row in range(0, COUNT, header.group):
        np.testing.assert_array_equal(read(made, [row]), read(made, list(range(row + 1)))[row:])


def test_a_lossy_codec_keeps_a_repeated_picture_once(made: tuple[str, Path]) -> None:
    table = ClipFile.open(made[1]).table
    assert (table["at"][19] == table["at"][20]) == (made[0] == "jpeg")


@pytest.mark.parametrize("part", ["magic", "header", "table", "length"])
def test_a_damaged_head_or_a_cut_off_file_is_not_opened(made: tuple[str, Path], part: str, tmp_path: Path) -> None:
    data = bytearray(made[1].read_bytes())
    place = {"magic": 3, "header": 90, "table": ClipFile.open(made[1]).header.start - 4000, "length": -1}[part]
    table_at = data.index(b'"worldgate.clips/1"') + 60
    if part == "table":
        place = table_at
    if part == "length":
        data = data[:-1]
    else:
        data[place] ^= 0x10
    path = tmp_path / "damaged"
    path.write_bytes(data)
    with pytest.raises(Tampered, match="damaged file of the clip cache"):
        ClipFile.open(path)


def test_a_damaged_frame_is_noticed_when_it_is_read_and_others_are_served(
    made: tuple[str, Path], tmp_path: Path
) -> None:
    data, entry = bytearray(made[1].read_bytes()), ClipFile.open(made[1]).table[33]
    data[int(entry["at"]) + int(entry["size"]) // 2] ^= 1
    path = tmp_path / "damaged"
    path.write_bytes(data)
    assert close_enough(made[0], read((made[0], path), [3, 4, 5]), frames()[3:6])
    with pytest.raises((Tampered, LogUnreadable), match=r"frame 33|damaged frame"):
        read((made[0], path), [33])


def test_what_a_codec_cannot_hold_is_refused_in_words() -> None:
    with pytest.raises(UsageError, match="even height and width"):
        list(codecs.load("h264").encode(np.zeros((2, 5, 8, 3), np.uint8), 2))
    with pytest.raises(UsageError, match="no such entry"):
        codecs.load("gif")


def test_jpeg_by_opencv_and_by_simplejpeg_decodes_to_the_same_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("simplejpeg")
    jpeg = codecs.load("jpeg")
    path_frames = frames()[:3]
    fast = [bytes(p) for p in jpeg.encode(path_frames, 1)]
    monkeypatch.setattr("worldgate.data.codecs.jpeg.simplejpeg", None)
    slow = list(jpeg.encode(path_frames, 1))
    import cv2

    for a, b in zip(fast, slow, strict=True):
        one, two = (cv2.imdecode(np.frombuffer(x, np.uint8), cv2.IMREAD_COLOR_RGB) for x in (a, b))
        assert np.abs(one.astype(int) - two.astype(int)).mean() <= 1

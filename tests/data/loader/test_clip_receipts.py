"""A receipt leads back to the frames of the recording, and to no others."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from tests.data.loader.conftest import FRONT, STATE, WRIST, Recording
from tests.data.loader.test_clip_loader import loader

from worldgate.core.config import decode
from worldgate.core.digest import canonical, read_json
from worldgate.core.errors import NotFound, Tampered
from worldgate.core.streams import Log
from worldgate.data.alignment import AlignmentSpec, align
from worldgate.data.loader import Clip, ClipConfig, ClipLoader, ReceiptTable, prove
from worldgate.data.logs import open_folder


def copied(clip: Clip, **more: Any) -> Clip:
    frames = {name: array.copy() for name, array in clip.frames.items()}
    return dataclasses.replace(clip, frames=frames, receipt=clip.receipt.copy(), **more)


def first(three: list[Recording], tmp_path: Path, **more: Any) -> tuple[Clip, ReceiptTable, Recording]:
    served = loader(three, tmp_path, **more)
    clip = copied(next(iter(served)).clip(0))
    return clip, served.receipts, three[int(clip.receipt["episode"])]


@pytest.mark.parametrize("codec", ["raw", "none"])
def test_frames_that_were_kept_whole_are_equal_to_the_bit(three: list[Recording], tmp_path: Path, codec: str) -> None:
    clip, table, recording = first(three, tmp_path, codec=codec)
    proof = prove(clip, table, recording.log, recording.spec)
    assert proof.ok
    assert proof.exact
    assert {match.stream for match in proof.streams} == {FRONT, WRIST, STATE, "action"}
    front = next(match for match in proof.streams if match.stream == FRONT)
    assert front.source == tuple(range(int(clip.receipt["first"]), int(clip.receipt["last"]) + 1))


@pytest.mark.parametrize("codec", ["jpeg", "h264"])
def test_a_lossy_cache_is_within_its_bound_and_says_that_it_is_lossy(
    three: list[Recording], tmp_path: Path, codec: str
) -> None:
    clip, table, recording = first(three, tmp_path, codec=codec, size=(48, 64))
    proof = prove(clip, table, recording.log, recording.spec)
    assert proof.ok
    assert not proof.exact
    assert table.psnr_db is not None
    assert all(match.equal == (match.stream not in (FRONT, WRIST)) for match in proof.streams)
    # frames that are three rows away are outside of it
    wrong = copied(clip)
    wrong.frames[FRONT][:3] = clip.frames[FRONT][2:]
    wrong.frames[FRONT][3:] = clip.frames[FRONT][:2]
    assert not prove(wrong, table, recording.log, recording.spec).ok


def test_the_table_survives_as_json(three: list[Recording], tmp_path: Path) -> None:
    clip, table, recording = first(three, tmp_path)
    again = decode(ReceiptTable, read_json(canonical(table)), where="receipts")
    assert again == table
    assert prove(clip, again, recording.log, recording.spec).exact


def test_one_pixel_or_one_number_that_differs_is_no_proof(three: list[Recording], tmp_path: Path) -> None:
    clip, table, recording = first(three, tmp_path)
    wrong = copied(clip)
    wrong.frames[WRIST][2, 5, 5, 1] ^= 1
    proof = prove(wrong, table, recording.log, recording.spec)
    assert not proof.ok
    assert [match.stream for match in proof.streams if not match.ok] == [WRIST]
    state = clip.numbers[STATE].copy()
    state[1, 1] += 1e-4
    wrong = dataclasses.replace(clip, numbers={**clip.numbers, STATE: state})
    proof = prove(wrong, table, recording.log, recording.spec)
    assert [match.stream for match in proof.streams if not match.ok] == [STATE]


def test_another_recording_alignment_or_row_is_refused(three: list[Recording], tmp_path: Path) -> None:
    clip, table, recording = first(three, tmp_path)
    other = three[(int(clip.receipt["episode"]) + 1) % 3]
    with pytest.raises(Tampered, match="not the recording"):
        prove(clip, table, other.log, recording.spec)
    with pytest.raises(Tampered, match="not the recording"):
        prove(clip, table, recording.log, AlignmentSpec(reference=FRONT))
    moved = copied(clip)
    moved.receipt["row"] = (int(clip.receipt["row"]) + 1) % 10
    with pytest.raises(Tampered, match="names other frames"):
        prove(moved, table, recording.log, recording.spec)
    foreign = copied(clip)
    foreign.receipt["episode"] = 9
    with pytest.raises(NotFound, match="does not belong to this table"):
        prove(foreign, table, recording.log, recording.spec)


@pytest.mark.parametrize(
    ("folder", "camera"),
    [("g1_lerobot_v21", "observation.images.cam_high"), ("droid_ctrlworld/droid_subset", "observation.images.0")],
)
def test_receipts_hold_on_real_recordings(real_data: Path, tmp_path: Path, folder: str, camera: str) -> None:
    log: Log = open_folder(real_data / folder).logs[0]
    spec = AlignmentSpec(reference=camera)
    episode = align(log, spec)
    for codec, size in (("raw", 64), ("jpeg", 128), ("none", 128), ("none", log.read(camera).info.shape[:2])):
        wanted = ClipConfig(cameras=(camera,), numbers=(STATE,), size=size, frames=8, batch=2, codec=codec)
        served = ClipLoader(wanted, [episode], cache=tmp_path)
        proof = prove(next(iter(served)).clip(1), served.receipts, log, spec)
        assert proof.ok, (codec, size, proof)
        # frames that are not scaled need no bound either
        assert proof.exact == (codec == "raw" or (codec == "none" and size != 128))

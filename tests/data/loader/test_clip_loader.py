"""The clip loader serves what the episodes hold, in one order, whatever serves it and however often it was stopped."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.data.conftest import FakeFrames, stream
from tests.data.loader.conftest import ACTION, FRONT, MS, STATE, WRIST, Recording

from worldgate.core.digest import canonical, read_json
from worldgate.core.errors import DataRefused, NotFound, UsageError
from worldgate.core.streams import Kind
from worldgate.data import clips
from worldgate.data.loader import Batch, ClipConfig, ClipLoader, readers

BOTH = (FRONT, WRIST)


def config(**more: Any) -> ClipConfig:
    about: dict[str, Any] = {"cameras": BOTH, "numbers": (STATE, ACTION), "size": 16, "frames": 5, "batch": 4}
    return ClipConfig(**{**about, "codec": "raw", **more})


def loader(recordings: list[Recording], cache: Path, **more: Any) -> ClipLoader:
    return ClipLoader(config(**more), [r.episode for r in recordings], cache=cache)


def kept(batch: Batch) -> dict[str, np.ndarray[Any, Any]]:
    return {**{k: v.copy() for k, v in {**batch.frames, **batch.numbers}.items()}, "receipts": batch.receipts}


def same(a: list[dict[str, Any]], b: list[dict[str, Any]]) -> bool:
    return len(a) == len(b) and all(np.array_equal(x[k], y[k]) for x, y in zip(a, b, strict=True) for k in x)


@pytest.mark.parametrize("stride", [1, 3])
def test_a_sample_is_what_its_episode_holds_at_its_rows(three: list[Recording], tmp_path: Path, stride: int) -> None:
    served = loader(three, tmp_path, stride=stride)
    for batch in served:
        assert batch.frames[FRONT].shape == (4, 5, 16, 16, 3)
        assert batch.numbers[STATE].dtype == np.float32
        for place in range(len(batch)):
            clip = batch.clip(place)
            episode = three[int(clip.receipt["episode"])].episode
            rows = int(clip.receipt["row"]) + np.arange(5) * stride
            np.testing.assert_array_equal(served.receipts.rows(clip.receipt), rows)
            for camera in BOTH:
                np.testing.assert_array_equal(clip.frames[camera], clips.frames(episode, camera, 16)[rows])
            for name in (STATE, ACTION):
                np.testing.assert_array_equal(clip.numbers[name], episode.array(name)[rows].astype(np.float32))
            ends = episode.streams[FRONT].index[rows[[0, -1]]]
            assert [clip.receipt["first"], clip.receipt["last"]] == ends.tolist()


def test_an_epoch_serves_every_clip_once_and_marks_what_fills_up(three: list[Recording], tmp_path: Path) -> None:
    served = loader(three, tmp_path, batch=8)
    seen = []
    for batch in served:
        fresh = batch.receipts[~batch.repeated]
        seen += [(int(r["episode"]), int(r["row"])) for r in fresh]
    assert len(seen) == len(set(seen)) == served.clips == 37 + 29 + 17
    assert batch.repeated.sum() == 8 * len(served) - served.clips > 0
    assert served.state().epoch == 1
    whole = loader(three, tmp_path, batch=8, tail="drop")
    assert len(list(whole)) == served.clips // 8


def test_a_receipt_is_sixteen_bytes(three: list[Recording], tmp_path: Path) -> None:
    assert next(iter(loader(three, tmp_path))).receipts.itemsize == 16


@pytest.mark.parametrize("order", ["uniform", "blocks"])
def test_what_all_ranks_take_is_known_on_each_without_reading(
    three: list[Recording], tmp_path: Path, order: str
) -> None:
    ranks = [loader(three, tmp_path, rank=rank, ranks=3, batch=2, order=order, memory_gb=1) for rank in range(3)]
    for index, batches in enumerate(zip(*ranks, strict=True)):
        taken = np.concatenate([batch.receipts for batch in batches])
        for held in ranks:
            np.testing.assert_array_equal(held.receipts_at(0, index), taken)


def test_a_run_that_is_stopped_goes_on_at_the_exact_next_batch(three: list[Recording], tmp_path: Path) -> None:
    whole = loader(three, tmp_path, seed=3)
    told = [kept(batch) for _ in range(2) for batch in whole]
    first = loader(three, tmp_path, seed=3)
    got, states = [], []
    for batch in first:
        got.append(kept(batch))
        states.append(json.loads(canonical(first.state())))
        if len(got) == 7:
            break
    assert len(canonical(states[-1])) < 250
    second = loader(three, tmp_path, seed=3)
    second.restore(read_json(canonical(states[-1])))
    for _ in range(2):
        got += [kept(batch) for batch in second]
    assert same(got, told)
    # the last batch of an epoch leads into the next one
    third = loader(three, tmp_path, seed=3)
    third.restore({**states[-1], "epoch": 1, "batch": 0})
    assert same([kept(batch) for batch in third], told[len(told) // 2 :])


def test_breaking_off_and_iterating_again_goes_on(three: list[Recording], tmp_path: Path) -> None:
    whole = [kept(batch) for batch in loader(three, tmp_path)]
    served, got = loader(three, tmp_path), []
    while served.state().epoch == 0:
        for batch in served:
            got.append(kept(batch))
            if len(got) % 3 == 0:
                break
    assert same(got, whole)


def test_the_state_of_another_loader_is_refused(three: list[Recording], tmp_path: Path) -> None:
    state = loader(three, tmp_path).state()
    for other in (loader(three[:2], tmp_path), loader(three, tmp_path, seed=1), loader(three, tmp_path, frames=6)):
        with pytest.raises(UsageError, match="other episodes, streams or configuration"):
            other.restore(state)
    with pytest.raises(UsageError, match="other clips at once"):
        loader(three, tmp_path, batch=5).restore(state)
    loader(three, tmp_path, batch=2, ranks=2, rank=1).restore(state)


def test_ranks_share_an_epoch(three: list[Recording], tmp_path: Path) -> None:
    alone = [kept(batch)["receipts"] for batch in loader(three, tmp_path, batch=6)]
    ranks = [[kept(b)["receipts"] for b in loader(three, tmp_path, batch=2, ranks=3, rank=rank)] for rank in range(3)]
    together = [np.concatenate(parts) for parts in zip(*ranks, strict=True)]
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


def test_batches_lie_in_the_memory_that_was_given_and_stay_while_kept(three: list[Recording], tmp_path: Path) -> None:
    given: list[np.ndarray[Any, Any]] = []

    def allocate(nbytes: int) -> np.ndarray[Any, Any]:
        given.append(np.zeros(nbytes, np.uint8))
        return given[-1]

    served = ClipLoader(config(keep=2), [r.episode for r in three], cache=tmp_path, allocate=allocate)
    batches, copies = [], []
    for batch in served:
        assert any(np.shares_memory(batch.frames[FRONT], block) for block in given)
        batches.append(batch)
        copies.append(kept(batch))
        if len(batches) > 1:
            assert same([kept(batches[-2])], [copies[-2]])
    assert len(given) == 2


def test_arrays_become_tensors_without_a_copy(three: list[Recording], tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    batch = next(iter(loader(three, tmp_path)))
    for array in (*batch.frames.values(), *batch.numbers.values()):
        tensor = torch.from_numpy(array)
        assert tensor.is_contiguous()
        assert tensor.data_ptr() == array.ctypes.data


@pytest.mark.parametrize("codec", ["auto", "none", "jpeg"])
def test_other_ways_to_read_serve_the_same_clips(three: list[Recording], tmp_path: Path, codec: str) -> None:
    raw, other = loader(three, tmp_path), loader(three, tmp_path, codec=codec)
    for a, b in zip(raw, other, strict=True):
        assert np.array_equal(a.receipts, b.receipts)
        error = np.abs(a.frames[FRONT].astype(int) - b.frames[FRONT]).mean()
        assert error <= (2.0 if codec == "jpeg" else 0.0)


def test_depth_and_class_ids_are_served_as_they_are(record: Callable[..., Recording], tmp_path: Path) -> None:
    depth = np.random.default_rng(0).uniform(0, 4, (41, 12, 16)).astype(np.float32)
    ids = np.random.default_rng(1).integers(0, 300, (41, 12, 16)).astype(np.int32)
    extra = [
        stream("depth", np.arange(41) * 50 * MS, FakeFrames(depth), kind=Kind.DEPTH),
        stream("seg", np.arange(41) * 50 * MS, FakeFrames(ids), kind=Kind.SEGMENTATION),
    ]
    recording = record(1, extra=extra)
    for codec in ("jpeg", "none"):
        served = loader([recording], tmp_path, cameras=(FRONT, "depth", "seg"), size=(12, 16), codec=codec)
        batch = next(iter(served))
        for place in range(4):
            rows = served.receipts.rows(batch.receipts[place])
            np.testing.assert_array_equal(batch.frames["depth"][place], depth[rows])
            np.testing.assert_array_equal(batch.frames["seg"][place], ids[rows])
        assert batch.frames["depth"].dtype == np.float32
        assert batch.frames["seg"].dtype == np.int32


def test_numbers_alone_need_no_cache(three: list[Recording]) -> None:
    served = ClipLoader(ClipConfig(numbers=(ACTION,), frames=3, batch=2), [r.episode for r in three])
    batch = next(iter(served))
    assert served.codec == "none"
    assert batch.numbers[ACTION].shape == (2, 3, 2)
    assert served.receipts.lead == ACTION


def test_one_clip_by_its_place_is_the_one_the_epoch_serves(three: list[Recording], tmp_path: Path) -> None:
    served = loader(three, tmp_path, batch=1)
    for place, batch in zip(range(5), served, strict=False):
        clip = served.clip(place)
        assert clip.receipt == batch.receipts[0]
        np.testing.assert_array_equal(clip.frames[WRIST], batch.frames[WRIST][0])
    with pytest.raises(NotFound, match="no such clip"):
        served.clip(served.clips)


def test_a_frame_that_is_damaged_in_mid_run_is_made_again(
    three: list[Recording], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = [kept(batch) for batch in loader(three, tmp_path)]
    for path in (tmp_path / "clips").iterdir():
        data = bytearray(path.read_bytes())
        data[-300] ^= 1
        path.write_bytes(data)
    readers.forget()  # as in a new process: what was read once is not read for damage again
    with caplog.at_level(logging.WARNING):
        assert same([kept(batch) for batch in loader(three, tmp_path)], good)
    assert caplog.text.count("made again") == 6


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"cameras": ("wrist",)}, f"one of {FRONT}, {WRIST}"),
        ({"numbers": (FRONT,)}, f"one of {STATE}, {ACTION}"),
        ({"frames": 0}, "at least 1"),
        ({"cameras": (), "numbers": ()}, "cameras or numbers"),
        ({"codec": "gif"}, "no such entry"),
        ({"batch": 500, "tail": "drop"}, "no whole batch"),
        ({"size": 0}, "height and a width"),
    ],
)
def test_what_cannot_be_served_is_said_in_words(
    three: list[Recording], tmp_path: Path, more: dict[str, Any], told: str
) -> None:
    with pytest.raises((UsageError, NotFound), match=told):
        loader(three, tmp_path, **more)


def test_episodes_that_disagree_are_refused_by_name(three: list[Recording], tmp_path: Path) -> None:
    odd = three[1].episode
    narrow = dataclasses.replace(odd.streams[STATE], values=odd.array(STATE)[:, :2])
    other = dataclasses.replace(odd, streams={**odd.streams, STATE: narrow})
    with pytest.raises(DataRefused, match="3 values in run_3, 2 values in run_2"):
        ClipLoader(config(), [three[0].episode, other, three[2].episode], cache=tmp_path)
    info = dataclasses.replace(odd.streams[FRONT].info, kind=Kind.NORMALS)
    other = dataclasses.replace(odd, streams={**odd.streams, FRONT: dataclasses.replace(odd.streams[FRONT], info=info)})
    with pytest.raises(DataRefused, match="normals beside image"):
        ClipLoader(config(), [three[0].episode, other], cache=tmp_path)


def test_a_cache_needs_a_folder(three: list[Recording]) -> None:
    with pytest.raises(UsageError, match="needs a folder"):
        ClipLoader(config(), [r.episode for r in three])

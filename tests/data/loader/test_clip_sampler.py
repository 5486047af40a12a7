"""The order of clips is a function of seed, epoch and content, and ranks share an epoch without overlap."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.data.loader.conftest import ACTION, FRONT, STATE, Recording

from worldgate.core.errors import DataRefused, UsageError
from worldgate.data.loader.sampler import Rows, Shard, Uniform, Windows, windows


def found(recordings: list[Recording], frames: int = 4, stride: int = 1, step: int = 1) -> Windows:
    return windows([r.episode for r in recordings], [FRONT, STATE], frames=frames, stride=stride, step=step)


def named(recordings: list[Recording], order: np.ndarray) -> list[tuple[str, int]]:
    all_ = found(recordings)
    names = [r.episode.id for r in recordings]
    return [(names[all_.episode[i]], int(all_.row[i])) for i in order]


def test_every_clip_comes_once_an_epoch_and_epochs_differ(three: list[Recording]) -> None:
    all_ = found(three)
    assert len(all_) == (41 - 3) + (33 - 3) + (21 - 3)
    order = Uniform(all_, seed=5)
    first, second = order.epoch(0), order.epoch(1)
    assert sorted(first.tolist()) == list(range(len(all_)))
    assert (first != second).mean() > 0.8
    np.testing.assert_array_equal(Uniform(all_, seed=5).epoch(0), first)
    assert (Uniform(all_, seed=6).epoch(0) != first).mean() > 0.8
    np.testing.assert_array_equal(Rows(all_).epoch(3), np.arange(len(all_)))


def test_the_order_is_the_same_on_every_machine_and_version(three: list[Recording]) -> None:
    keys = (np.arange(12, dtype=np.uint64) * np.uint64(0x0123456789ABCDEF)).astype(np.uint64)
    twelve = Windows(episode=np.zeros(12, np.int64), row=np.arange(12), key=keys)
    assert Uniform(twelve, seed=1).epoch(2).tolist() == GOLDEN


def test_an_episode_more_moves_no_other_clip_past_another(three: list[Recording]) -> None:
    two = three[:2]
    small = named(two, Uniform(found(two), seed=3).epoch(4))
    turned = [three[2], three[1], three[0]]
    large = named(turned, Uniform(found(turned), seed=3).epoch(4))
    ids = {r.episode.id for r in two}
    assert [clip for clip in large if clip[0] in ids] == small


def test_shuffled_neighbours_are_not_neighbours(three: list[Recording]) -> None:
    order = Uniform(found(three), seed=0).epoch(0)
    assert (np.abs(np.diff(order)) == 1).mean() < 0.1


@given(clips=st.integers(1, 200), batch=st.integers(1, 9), ranks=st.integers(1, 5))
def test_ranks_are_disjoint_cover_everything_and_have_equal_counts(clips: int, batch: int, ranks: int) -> None:
    for tail in ("pad", "drop"):
        shards = [Shard(batch=batch, rank=rank, ranks=ranks, tail=tail) for rank in range(ranks)]
        assert len({shard.batches(clips) for shard in shards}) == 1
        served = []
        for shard in shards:
            for index in range(shard.batches(clips)):
                places, repeated = shard.positions(index, clips)
                assert len(places) == batch
                served += places[~repeated].tolist()
        assert len(served) == len(set(served))
        whole = clips if tail == "pad" else clips // (batch * ranks) * batch * ranks
        assert sorted(served) == list(range(whole))


def test_other_ranks_of_the_same_total_serve_the_same_clips_at_once() -> None:
    def at_once(batch: int, ranks: int) -> list[list[int]]:
        shards = [Shard(batch=batch, rank=rank, ranks=ranks) for rank in range(ranks)]
        return [
            [place for shard in shards for place in shard.positions(i, 50)[0].tolist()]
            for i in range(shards[0].batches(50))
        ]

    assert at_once(12, 1) == at_once(6, 2) == at_once(3, 4)


def test_a_rank_outside_is_refused() -> None:
    with pytest.raises(UsageError, match="rank 2 of 2"):
        Shard(batch=1, rank=2, ranks=2)


def test_windows_with_a_gap_or_without_a_number_are_left_out(record: Callable[..., Recording]) -> None:
    whole = record(1)
    rows = whole.episode.streams[STATE]
    spoiled = rows.values.copy()
    spoiled[10, 1] = np.nan
    gap = rows.gap.copy()
    gap[25] = True
    streams = {**whole.episode.streams, STATE: dataclasses.replace(rows, values=spoiled, gap=gap)}
    episode = dataclasses.replace(whole.episode, streams=streams)
    starts = windows([episode], [FRONT, STATE], frames=4, stride=2, step=1).row
    for start in starts.tolist():
        assert not set(range(start, start + 7)) & {10, 25}
    assert len(starts) == (41 - 6) - 2 * 7
    assert len(windows([episode], [FRONT, ACTION], frames=4, stride=2, step=1)) == 41 - 6


def test_no_clip_at_all_is_said_in_numbers(three: list[Recording]) -> None:
    with pytest.raises(DataRefused, match="longest of 3 episodes has 41 rows"):
        found(three, frames=42)


GOLDEN = [1, 10, 5, 8, 9, 2, 3, 7, 6, 11, 0, 4]

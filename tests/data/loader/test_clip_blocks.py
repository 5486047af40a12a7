"""The block order: every clip once, few spans open, each decoded once, the same after a stop and with any workers."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.loader.conftest import FRONT, SPEC, Recording, make_log
from tests.data.loader.test_clip_loader import kept, loader, same

from worldgate.core.digest import canonical, read_json
from worldgate.core.errors import UsageError
from worldgate.data.alignment import align
from worldgate.data.loader.blocks import Blocks, Spans, cut
from worldgate.data.loader.sampler import Shard, Windows, edges, mix

T, FRAME = 5, 16 * 16 * 3
TIGHT = {"order": "blocks", "cameras": (FRONT,), "codec": "none", "spans": 3, "memory_gb": 3 * 11 * FRAME / 1e9}
"""Three spans of eleven rows: far from everything."""


def made(lengths: list[int], gap: int = 0) -> Windows:
    """Clips of episodes of these many clips; ``gap``: every so many rows one clip is missing."""
    rows = [np.array([row for row in range(length) if not gap or row % gap]) for length in lengths]
    episode = np.repeat(np.arange(len(rows)), [len(r) for r in rows])
    row = np.concatenate(rows).astype(np.int64)
    key = mix((episode.astype(np.uint64) << np.uint64(20)) + row.astype(np.uint64))
    return Windows(episode=episode.astype(np.int64), row=row, key=key)


def bundled(windows: Windows, *, frames: int = T, stride: int = 1, rows: int = 11, least: int = 3) -> Spans:
    return cut(windows, frames=frames, stride=stride, frame_bytes=10, memory=10 * rows * least, least=least)


cases = st.fixed_dictionaries(
    {
        "lengths": st.lists(st.integers(1, 60), min_size=1, max_size=8),
        "gap": st.sampled_from([0, 2, 7]),
        "stride": st.integers(1, 3),
        "rows": st.integers(T, 40),
        "least": st.integers(1, 6),
        "ranks": st.integers(1, 5),
        "seed": st.integers(0, 9),
    }
)


def order_of(case: dict[str, Any]) -> tuple[Windows, Spans, Blocks] | None:
    windows = made(case["lengths"], case["gap"])
    if not len(windows):
        return None
    spans = bundled(windows, stride=case["stride"], rows=case["rows"], least=case["least"])
    return windows, spans, Blocks(windows, spans, seed=case["seed"], ranks=case["ranks"])


@given(case=cases)
def test_spans_are_consecutive_clips_of_one_episode_and_fit(case: dict[str, Any]) -> None:
    if (held := order_of(case)) is None:
        return
    windows, spans, _ = held
    reach, memory = np.arange(T) * case["stride"], 10 * case["rows"] * case["least"]
    for span, (first, last) in enumerate(zip(spans.start[:-1], spans.start[1:], strict=True)):
        assert last > first
        assert len(set(windows.episode[first:last].tolist())) == 1
        assert set(spans.of[first:last].tolist()) == {span}
        needed = len(np.unique(windows.row[first:last, None] + reach))
        assert 10 * needed <= spans.nbytes[span] <= memory / case["least"]
    assert spans.start[-1] == len(windows)
    assert spans.held <= memory
    assert spans.open >= min(case["least"], len(spans))


@given(case=cases, epoch=st.integers(0, 3), batch=st.integers(1, 9))
def test_every_clip_comes_once_an_epoch_however_it_is_shared_out(case: dict[str, Any], epoch: int, batch: int) -> None:
    if (held := order_of(case)) is None:
        return
    windows, _, blocks = held
    order = blocks.epoch(epoch)
    for tail in ("pad", "drop"):
        ranks = case["ranks"]
        shards = [Shard(batch=batch, rank=rank, ranks=ranks, tail=tail, together=True) for rank in range(ranks)]
        assert len({shard.batches(len(order)) for shard in shards}) == 1
        fresh = []
        for shard in shards:
            for index in range(shard.batches(len(order))):
                places, repeated = shard.positions(index, len(order))
                assert len(places) == batch
                fresh += order[places[~repeated]].tolist()
        assert len(fresh) == len(set(fresh))
        assert len(fresh) == (len(windows) if tail == "pad" else len(windows) // (batch * ranks) * batch * ranks)


@given(case=cases, epoch=st.integers(0, 3))
def test_never_more_spans_are_open_than_said_and_the_smallest_turn_closes_first(
    case: dict[str, Any], epoch: int
) -> None:
    if (held := order_of(case)) is None:
        return
    _, spans, blocks = held
    order, turns = blocks.epoch(epoch), blocks.turns(epoch)
    for first, last in edges(len(order), case["ranks"]):
        mine, turn = spans.of[order[first:last]].tolist(), turns[first:last].tolist()
        closes = {span: place for place, span in enumerate(mine)}
        opened: dict[int, int] = {}
        for place, (span, number) in enumerate(zip(mine, turn, strict=True)):
            opened[span] = number
            still = {held: n for held, n in opened.items() if closes[held] >= place}
            assert len(still) <= spans.open
            closed = [n for held, n in opened.items() if closes[held] < place]
            if len(spans) > spans.open and closed and len(opened) > spans.open:
                assert min(opened.values()) < min(still.values())


def test_the_order_is_the_same_on_every_machine_and_version() -> None:
    windows = made([9, 9])
    spans = bundled(windows, rows=7, least=2)
    assert (len(spans), spans.open) == (6, 2)
    assert Blocks(windows, spans, seed=1, ranks=1).epoch(2).tolist() == GOLDEN


def test_seeds_and_epochs_differ_and_repeat() -> None:
    windows = made([200] * 6)
    spans = bundled(windows, rows=40)
    order = Blocks(windows, spans, seed=4, ranks=1)
    assert (order.epoch(0) != order.epoch(1)).mean() > 0.9
    np.testing.assert_array_equal(Blocks(windows, spans, seed=4, ranks=1).epoch(1), order.epoch(1))
    assert (Blocks(windows, spans, seed=5, ranks=1).epoch(0) != order.epoch(0)).mean() > 0.9


def test_a_batch_mixes_episodes_and_its_clips_rarely_overlap() -> None:
    windows = made([300] * 20)
    spans = bundled(windows, rows=64, least=16)
    order = Blocks(windows, spans, seed=0, ranks=1).epoch(0)[: 6000 // 8 * 8].reshape(-1, 8)
    episodes = windows.episode[order]
    distinct = np.array([len(set(batch.tolist())) for batch in episodes])
    assert len(spans) > 5 * spans.open
    assert distinct.mean() > 5
    assert (distinct >= 3).mean() > 0.99
    one, other = np.triu_indices(8, 1)
    near = np.abs(windows.row[order][:, one] - windows.row[order][:, other]) < T
    overlapping = near & (episodes[:, one] == episodes[:, other])
    assert overlapping.mean() < 0.02


def test_where_everything_fits_clips_come_from_everywhere_at_once() -> None:
    windows = made([100] * 10)
    spans = bundled(windows, rows=1200, least=4)
    assert (len(spans), spans.open) == (10, 10)
    order = Blocks(windows, spans, seed=0, ranks=1).epoch(0)
    first = Counter(windows.episode[order[:200]].tolist())
    assert len(first) == 10
    assert max(first.values()) < 40


def test_too_little_memory_is_said_with_how_much_would_do() -> None:
    with pytest.raises(UsageError, match="too little memory for the block order"):
        bundled(made([30]), rows=T - 1)


def decoded(recordings: list[Recording]) -> int:
    return sum(r.log.held[FRONT].frames.decoded for r in recordings)  # type: ignore[attr-defined]  # fakes


def test_a_first_epoch_decodes_a_frame_about_once_within_its_memory(three: list[Recording]) -> None:
    before = decoded(three)
    served = loader(three, Path(), **TIGHT)
    memory, most = served._filler.memory, 0
    assert memory is not None
    for _ in served:
        most = max(most, memory.nbytes)
    rows, spans = 41 + 33 + 21, len(memory.start) - 1
    assert spans > 9
    assert decoded(three) - before == rows + (spans - 3) * (T - 1)
    assert 2 * 11 * FRAME < most <= 3 * 11 * FRAME


def test_what_fits_is_decoded_once_in_all_epochs(three: list[Recording]) -> None:
    before = decoded(three)
    served = loader(three, Path(), **{**TIGHT, "memory_gb": 1.0})
    for _ in range(3):
        list(served)
    assert decoded(three) - before == 41 + 33 + 21


@pytest.mark.parametrize("more", [{"stride": 3}, {"step": 4}, {"step": 9, "stride": 2, "spans": 2}])
def test_blocks_serve_what_the_uniform_order_serves_in_another_order(
    three: list[Recording], more: dict[str, Any]
) -> None:
    def by_clip(**about: Any) -> dict[bytes, bytes]:
        served = loader(three, Path(), cameras=(FRONT,), codec="none", **more, **about)
        return {c.receipt.tobytes(): c.frames[FRONT].tobytes() for b in served for c in map(b.clip, range(len(b)))}

    memory = {key: value for key, value in TIGHT.items() if key not in {"cameras", "codec", *more}}
    uniform, blocks = by_clip(), by_clip(**memory)
    assert uniform == blocks
    assert list(uniform) != list(blocks)


def test_a_stopped_epoch_goes_on_at_the_exact_next_batch_and_workers_change_nothing(
    three: list[Recording], tmp_path: Path
) -> None:
    about = {**TIGHT, "codec": "jpeg"}
    whole = loader(three, tmp_path, **about)
    told = [kept(batch) for _ in range(2) for batch in whole]
    for workers in (0, 2):
        with loader(three, tmp_path, workers=workers, **about) as first:
            got = []
            for batch in first:
                got.append(kept(batch))
                if len(got) == 9:
                    break
            state = read_json(canonical(first.state()))
        with loader(three, tmp_path, workers=2 - workers, **about) as second:
            second.restore(state)
            got += [kept(batch) for _ in range(2) for batch in second]
        assert same(got, told)


@cache
def recorded() -> list[Recording]:
    logs = [make_log(seed, rows) for seed, rows in ((1, 41), (2, 33), (3, 21))]
    return [Recording(log=log, episode=align(log, SPEC), spec=SPEC) for log in logs]


@settings(max_examples=25, deadline=None)
@given(
    stop=st.integers(0, 200),
    batch=st.integers(1, 9),
    ranks=st.integers(1, 3),
    seed=st.integers(0, 99),
    spans=st.integers(1, 4),
    tail=st.sampled_from(["pad", "drop"]),
)
def test_wherever_an_epoch_is_stopped_it_goes_on_to_the_bit(
    stop: int, batch: int, ranks: int, seed: int, spans: int, tail: str
) -> None:
    about = {**TIGHT, "batch": batch, "ranks": ranks, "rank": stop % ranks, "seed": seed, "spans": spans, "tail": tail}
    whole, first = loader(recorded(), Path(), **about), loader(recorded(), Path(), **about)
    told = [kept(batch) for _ in range(2) for batch in whole]
    stop = 1 + stop % len(told)
    got = []
    while len(got) < stop:
        for served in first:
            got.append(kept(served))
            if len(got) == stop:
                break
    second = loader(recorded(), Path(), **about)
    second.restore(read_json(canonical(first.state())))
    while len(got) < len(told):
        got += [kept(served) for served in second]
    assert same(got, told)


class Counted:
    """A camera that counts how many rows were asked of it."""

    def __init__(self) -> None:
        self.rows = 0

    def into(self, rows: np.ndarray[Any, Any], out: np.ndarray[Any, Any]) -> None:
        self.rows += len(rows)
        out[:] = rows[:, None].astype(np.uint8)


@given(case=cases, workers=st.integers(1, 5))
def test_each_span_is_decoded_once_by_one_worker_within_what_memory_was_said(
    case: dict[str, Any], workers: int
) -> None:
    if (held := order_of({**case, "ranks": 1, "gap": 0})) is None:
        return
    windows, spans, blocks = held
    reach, like = np.arange(T) * case["stride"], np.zeros((T, 10), np.uint8)
    memories = [blocks.memory(reach, workers=workers) for _ in range(workers)]
    camera, most, needed = Counted(), 0, 0
    for place, clip in enumerate(blocks.epoch(0).tolist()):
        span, turn = int(spans.of[clip]), int(blocks.turns(0)[place])
        frames = memories[turn % workers].get(span, turn, [camera], [like])
        out = np.zeros_like(like)
        frames.into(0, windows.row[clip] + reach, out)
        assert out[:, 0].tolist() == ((windows.row[clip] + reach) % 256).tolist()
        most = max(most, sum(memory.nbytes for memory in memories))
    assert most <= spans.held + (workers > 1) * workers * (int(spans.nbytes.max()) + 1)
    for first, last in zip(spans.start[:-1], spans.start[1:], strict=True):
        needed += len(np.unique(windows.row[first:last, None] + reach))
    assert camera.rows >= needed
    if workers == 1:
        assert camera.rows == needed


def test_ranks_share_the_spans(three: list[Recording]) -> None:
    ranks = [loader(three, Path(), **TIGHT, ranks=2, rank=rank) for rank in range(2)]
    before, clips, spans = decoded(three), [], []
    for served in ranks:
        assert served._filler.memory is not None
        spans.append(len(served._filler.memory.start) - 1)
        for batch in served:
            clips += batch.receipts[~batch.repeated].tolist()
    assert len(clips) == len(set(clips)) == ranks[0].clips
    alone = 41 + 33 + 21 + (spans[0] - 3) * (T - 1)
    assert decoded(three) - before <= alone + 11  # the span at the edge, twice


def test_a_state_of_other_ranks_or_memory_is_refused(three: list[Recording]) -> None:
    state = loader(three, Path(), **TIGHT).state()
    for more in ({"batch": 2, "ranks": 2}, {"spans": 2}, {"memory_gb": 1.0}, {"order": "uniform"}):
        with pytest.raises(UsageError, match="other episodes, streams or configuration"):
            loader(three, Path(), **{**TIGHT, **more}).restore(state)


def test_a_damaged_cache_is_made_again_in_block_order(three: list[Recording], tmp_path: Path) -> None:
    about = {**TIGHT, "codec": "jpeg"}
    good = [kept(batch) for batch in loader(three, tmp_path, **about)]
    with loader(three, tmp_path, workers=2, **about) as served:
        for path in (tmp_path / "clips").iterdir():
            data = bytearray(path.read_bytes())
            data[-300] ^= 1
            path.write_bytes(data)
        assert same([kept(batch) for batch in served], good)


GOLDEN = [2, 5, 1, 0, 3, 4, 8, 7, 10, 6, 11, 14, 13, 9, 15, 17, 16, 12]

"""Unpacked chunks that are kept: within a budget, in the order of the file, and no longer than the log is open."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worldgate.core.errors import LogUnreadable
from worldgate.core.streams import Kind, Origin, Stream, StreamInfo
from worldgate.data.logs import _mcap_chunks as chunks
from worldgate.data.logs._limits import Limits
from worldgate.data.logs._mcap_cache import CHUNKS, ChunkCache
from worldgate.data.logs.mcap import McapLog, write_log

MIB = 1 << 20


class File:
    """Something that is open."""


def test_the_first_chunks_stay_within_the_budget_and_go_with_their_file() -> None:
    cache, one, other = ChunkCache(), File(), File()
    first, second = cache.enter(one), cache.enter(other)
    for position in range(4):
        cache.keep(first, position, bytes(MIB), 3 * MIB)
    cache.keep(second, 0, bytes(MIB), 3 * MIB)
    assert [cache.get(first, position) is not None for position in range(4)] == [True, True, True, False]
    assert cache.get(second, 0) is None
    assert cache.kept_bytes == 3 * MIB
    cache.keep(first, 0, bytes(MIB), 4 * MIB)
    assert cache.kept_bytes == 3 * MIB, "the same chunk again is no more of it"
    del one
    gc.collect()
    assert cache.kept_bytes == 0 and cache.get(first, 0) is None
    cache.keep(second, 0, bytes(MIB), 3 * MIB)
    assert cache.get(second, 0) == bytes(MIB)


def test_what_did_not_fit_is_held_until_others_come() -> None:
    cache, file = ChunkCache(), File()
    number = cache.enter(file)
    for position in range(40):
        cache.pass_by(number, position, bytes(MIB))
    held = [position for position in range(40) if cache.get(number, position) is not None]
    assert held == list(range(8, 40))
    cache.pass_by(number, 99, bytes(64 * MIB))
    assert cache.get(number, 99) is not None and cache.get(number, 39) is None


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = tmp_path / "run.mcap"
    values = np.random.default_rng(0).normal(size=(12_000, 60))
    times = np.arange(12_000, dtype=np.int64) * 1_000_000
    info = StreamInfo(name="joints", kind=Kind.VECTOR, count=-1)
    write_log(path, [Stream(info=info, times_ns=times, values=values)], origin=Origin.REAL)
    return path


@pytest.mark.parametrize("budget", [1, 3 * MIB, 1 << 30])
def test_a_chunk_is_unpacked_once_where_the_budget_allows_and_reads_the_same(
    run: Path, monkeypatch: pytest.MonkeyPatch, budget: int
) -> None:
    unpacked: list[int] = []
    unpack: Any = chunks.unpack

    def counted(body: bytes, limit: int, *, check: bool = True) -> Any:
        unpacked.append(len(body))
        return unpack(body, limit, check=check)

    monkeypatch.setattr(chunks, "unpack", counted)
    expected = McapLog(run).read("joints").array
    unpacked.clear()
    gc.collect()
    others = CHUNKS.kept_bytes
    log = McapLog(run, limits=Limits(kept_bytes=budget))
    opened = len(unpacked)
    assert opened > 4
    assert CHUNKS.kept_bytes <= max(budget, others)
    assert np.array_equal(log.read("joints").array, expected)
    again = len(unpacked) - opened
    assert (again == 0) == (budget == 1 << 30)
    if budget == 3 * MIB and others < MIB:
        assert again < opened - 1


def test_damage_is_named_at_opening_whatever_is_kept(run: Path) -> None:
    data = bytearray(run.read_bytes())
    data[20_000] ^= 0xFF
    run.write_bytes(bytes(data))
    for budget in (1, 1 << 28):
        findings = McapLog(run, limits=Limits(kept_bytes=budget)).findings
        assert [finding.check for finding in findings] == ["data_lost"]


def test_a_file_that_changes_while_it_is_open_is_noticed_where_it_is_read_again(run: Path) -> None:
    log = McapLog(run, limits=Limits(kept_bytes=1))
    data = bytearray(run.read_bytes())
    data[2 * MIB :: 50_000] = bytes(byte ^ 0xFF for byte in data[2 * MIB :: 50_000])
    run.write_bytes(bytes(data))
    with pytest.raises(LogUnreadable, match="changed while it was read"):
        log.read("joints")

"""Datasets: immutable, traceable, split without leaks, loaded as recorded, with caches that can only cost time."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worldgate.core.errors import ContractBroken, NameRefused, NotFound, SplitLeak, Tampered
from worldgate.core.normalisers import Normaliser
from worldgate.core.streams import Origin
from worldgate.data import clips, contracts, datasets, episode_cache
from worldgate.data.ingest import ingest, ingested
from worldgate.record.lineage import backward
from worldgate.record.verify import verify

Record = Callable[..., Path]


@pytest.fixture
def made(workspace: Any, record_log: Record, contract_file: Path) -> Any:
    """A workspace with four logs, one of them refused, and a dataset."""
    for seed in range(4):
        ingest(workspace, record_log(seed, site="lab"))
    ingest(workspace, record_log(9, spoil=lambda streams: streams[:2]))
    contract = contracts.add(workspace, contracts.read(contract_file))
    return workspace, contract, datasets.snapshot(workspace, contract, name="first")


def test_a_manifest_names_everything_and_arrays_nowhere(made: Any) -> None:
    ws, contract, ref = made
    held = datasets.manifest(ws, ref.digest)
    assert held.contract == contract.digest
    assert [e.split for e in held.episodes].count("val") == 1
    assert len(held.episodes) == 4
    assert held.origins == (Origin.REAL,)
    assert held.rate_hz == 10.0
    assert held.streams["observation.state"].unit == "rad"
    assert held.streams["observation.state"].shape == (3,)
    assert {e.site for e in held.episodes} == {"lab"}
    ((refused, why),) = held.refused.items()
    assert ingested(ws)[refused].name == "run_009.mcap"
    assert "is missing" in why[0]
    report = ws.get_json(held.episodes[0].report)
    assert report["streams"]["observation.images.front"]["skew"]["max_ns"] > 0
    assert verify(ws).ok


def test_the_same_snapshot_is_the_same_dataset(made: Any) -> None:
    ws, contract, ref = made
    assert datasets.snapshot(ws, contract, name="first") == ref
    assert len(list(ws.ledger.events("dataset.snapshot"))) == 1
    assert datasets.snapshot(ws, contract, name="second").digest != ref.digest


def test_lineage_walks_from_the_dataset_to_the_logs_bytes(made: Any) -> None:
    ws, contract, ref = made
    kinds = {(node.ref.kind, node.ref.digest) for node in backward(ws, ref.digest).walk()}
    assert ("contract", contract.digest) in kinds
    for entry in datasets.manifest(ws, ref.digest).episodes:
        assert ("log", entry.log) in kinds
        assert ("source", ingested(ws)[entry.log].source) in kinds


def test_statistics_come_from_the_train_split_alone(made: Any) -> None:
    ws, _, ref = made
    held = Normaliser.from_bytes(ws.store.get(datasets.normaliser(ws, ref.digest).digest))
    train = np.concatenate([e.array("observation.state") for e in datasets.load(ws, ref.digest, "train")])
    state = held.streams["observation.state"]
    assert state.rows == len(train)
    np.testing.assert_allclose(state.mean, train.mean(axis=0))
    np.testing.assert_allclose(state.std, train.std(axis=0))
    assert state.unit == "rad"
    assert set(held.streams) == {"observation.state", "action"}


def same(a: Any, b: Any) -> None:
    assert (a.id, a.log, a.alignment, a.origin, dict(a.facts)) == (b.id, b.log, b.alignment, b.origin, dict(b.facts))
    np.testing.assert_array_equal(a.times_ns, b.times_ns)
    assert set(a.streams) == set(b.streams)
    for name in a.streams:
        for part in ("index", "source_ns", "skew_ns", "staleness_ns", "gap"):
            np.testing.assert_array_equal(getattr(a.streams[name], part), getattr(b.streams[name], part))
        np.testing.assert_array_equal(a.array(name), b.array(name))


def test_an_episode_from_the_cache_equals_one_aligned_again(made: Any) -> None:
    ws, _, ref = made
    cached = datasets.load(ws, ref.digest)
    shutil.rmtree(ws.cache / "episodes")
    fresh = datasets.load(ws, ref.digest)
    for a, b in zip(cached, fresh, strict=True):
        same(a, b)
    assert len(list((ws.cache / "episodes").iterdir())) == 4


@pytest.mark.parametrize("damage", ["flip", "truncate", "swap"])
def test_a_damaged_cache_changes_nothing(made: Any, damage: str) -> None:
    ws, _, ref = made
    before = datasets.load(ws, ref.digest)
    paths = [episode_cache.path_of(ws.cache, e.id) for e in before]
    data = bytearray(paths[0].read_bytes())
    if damage == "flip":
        data[-20] ^= 0x10
    elif damage == "truncate":
        del data[-100:]
    else:
        data = bytearray(paths[1].read_bytes())
    paths[0].write_bytes(data)
    for a, b in zip(before, datasets.load(ws, ref.digest), strict=True):
        same(a, b)


def test_a_split_is_loaded_by_name_and_a_misspelt_one_lists_them(made: Any) -> None:
    ws, _, ref = made
    assert len(datasets.load(ws, ref.digest, "val")) == 1
    with pytest.raises(NotFound, match="train, val"):
        datasets.load(ws, ref.digest, "vale")


def test_tampered_log_bytes_are_named_when_frames_are_read(made: Any) -> None:
    ws, _, ref = made
    for record in ingested(ws).values():
        (digest,) = ws.store.tree(record.source).values()
        path = ws.store.path(digest)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.chmod(0o644)
        path.write_bytes(data)
    episode = datasets.load(ws, ref.digest)[0]
    with pytest.raises(Tampered):
        episode.array("observation.images.front")
    shutil.rmtree(ws.cache)
    with pytest.raises(Tampered):
        datasets.load(ws, ref.digest)


def test_a_tampered_manifest_is_named(made: Any) -> None:
    ws, contract, ref = made
    path = ws.store.path(ref.digest)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b'"val"', b'"lav"'))
    with pytest.raises(Tampered):
        datasets.manifest(ws, ref.digest)
    with pytest.raises(Tampered, match="not the manifest"):
        datasets.manifest(ws, contract.digest)


def test_the_same_evidence_on_both_sides_refuses_the_dataset(
    workspace: Any, record_log: Record, contract_file: Path
) -> None:
    held: list[Any] = []

    def same_joints(streams: list[Any]) -> list[Any]:
        held.append(streams[0])
        return [held[0], *streams[1:]]

    for seed in range(4):
        ingest(workspace, record_log(seed, spoil=same_joints))
    contract = contracts.add(workspace, contracts.read(contract_file))
    with pytest.raises(SplitLeak, match="both sides"):
        datasets.snapshot(workspace, contract, name="leaky")
    assert not list(workspace.ledger.events("dataset.snapshot"))
    assert not workspace.artifacts("dataset")


def test_a_dataset_of_nothing_and_a_bad_name_are_refused(
    workspace: Any, record_log: Record, contract_file: Path
) -> None:
    contract = contracts.add(workspace, contracts.read(contract_file))
    with pytest.raises(ContractBroken, match="accepts none"):
        datasets.snapshot(workspace, contract, name="empty")
    ingest(workspace, record_log(1, origin=Origin.SIMULATED))
    with pytest.raises(ContractBroken, match="is simulated"):
        datasets.snapshot(workspace, contract, name="simulated")
    with pytest.raises(NameRefused):
        datasets.snapshot(workspace, contract, name="../up")


def test_streams_that_differ_between_logs_are_named(workspace: Any, record_log: Record, contract_file: Path) -> None:
    contract_file.write_text(contract_file.read_text().replace("width = 2\n", ""))

    def wide(streams: list[Any]) -> list[Any]:
        action = streams[1]
        values = np.concatenate([action.array, action.array], axis=1)
        return [streams[0], replace(action, values=values, info=replace(action.info, shape=(4,))), streams[2]]

    ingest(workspace, record_log(1))
    ingest(workspace, record_log(2, spoil=wide))
    contract = contracts.add(workspace, contracts.read(contract_file))
    with pytest.raises(ContractBroken, match="action is not the same"):
        datasets.snapshot(workspace, contract, name="mixed")


# clips


def test_frames_are_resized_once_and_then_mapped(made: Any) -> None:
    ws, _, ref = made
    episode = datasets.load(ws, ref.digest)[0]
    clip = clips.frames(episode, "observation.images.front", (8, 12))
    assert clip.shape == (len(episode), 8, 12, 3)
    assert clip.dtype == np.uint8
    again = clips.frames(episode, "observation.images.front", (8, 12))
    assert isinstance(again, np.memmap)
    assert not again.flags.writeable
    np.testing.assert_array_equal(clip, again)
    whole = episode.array("observation.images.front").astype(float)
    blocks = whole.reshape(len(episode), 8, 2, 12, 2, 3).mean(axis=(2, 4))
    assert np.abs(blocks - again).max() <= 1.0
    assert clips.frames(episode, "observation.images.front", 8).shape[1:3] == (8, 8)


def test_frames_without_a_cache_and_with_an_unknown_camera(fakes: Any) -> None:
    from worldgate.core.streams import Kind
    from worldgate.data.alignment import AlignmentSpec, align

    images = np.arange(5, dtype=np.uint8)[:, None, None, None].repeat(4, 1).repeat(4, 2).repeat(3, 3)
    log = fakes.log(fakes.stream("camera", range(5), fakes.Frames(images), kind=Kind.IMAGE))
    episode = align(log, AlignmentSpec(reference="camera"))
    assert clips.frames(episode, "camera", 2)[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(NotFound, match="one of camera"):
        clips.frames(episode, "cam", 2)


def test_windows_leave_out_every_gap(fakes: Any) -> None:
    from worldgate.data.alignment import AlignmentSpec, StreamAlignment, align

    log = fakes.log(fakes.stream("grid", range(10)), fakes.stream("s", [0, 1, 2, 3, 5, 6, 7, 8, 9]))
    streams = {"grid": StreamAlignment(), "s": StreamAlignment(tolerance_ns=0)}
    episode = align(log, AlignmentSpec(reference="grid", streams=streams))
    assert episode.streams["s"].gap.tolist().index(True) == 4
    assert clips.windows(episode, 2, 1).tolist() == [0, 1, 5, 6, 7]
    assert clips.windows(episode, 2, 1, stride=2).tolist() == [0, 6]
    assert clips.windows(episode, 2, 1, streams=["grid"]).tolist() == list(range(8))
    assert clips.windows(episode, 8, 3).tolist() == []


def test_arrays_are_given_an_episode_each(made: Any) -> None:
    ws, _, ref = made
    episodes = datasets.load(ws, ref.digest)
    found = clips.arrays(episodes, ["observation.state", "action"])
    assert [a.shape for a in found["action"]] == [(len(e), 2) for e in episodes]
    with pytest.raises(NotFound, match="no such stream"):
        clips.arrays(episodes, ["state"])

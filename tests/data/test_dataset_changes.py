"""Datasets compared, merged and taken apart: nothing is renumbered, nothing changes sides, each step is recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worldgate.core.errors import ContractBroken, NotFound, SplitLeak, UsageError
from worldgate.core.streams import Kind, Origin, Stream, StreamInfo
from worldgate.core.times import SECOND
from worldgate.data import contracts, datasets
from worldgate.data.ingest import ingest
from worldgate.data.logs import mcap
from worldgate.record.events import Ref
from worldgate.record.lineage import backward
from worldgate.record.workspace import Workspace

CONTRACT: dict[str, Any] = {
    "name": "cell",
    "origins": ["simulated"],
    "streams": {"observation.state": {"kind": "vector"}},
    "alignment": {"rate_hz": 10.0},
    "splits": {"fractions": {"train": 0.7, "val": 0.3}},
}


def write(path: Path, value: float, **facts: str | bool) -> Path:
    times = np.arange(50, dtype=np.int64) * (SECOND // 50)
    values = np.column_stack([np.sin(times / SECOND + value), np.full(50, value)])
    info = StreamInfo(name="observation.state", kind=Kind.VECTOR, count=50, shape=(2,), unit="rad")
    stream = Stream(info=info, times_ns=times, values=values)
    mcap.write_log(path, [stream], origin=Origin.SIMULATED, facts=facts)
    return path


def add(ws: Workspace, folder: Path, numbers: range, **given: str) -> list[Ref]:
    out = []
    for i in numbers:
        out += ingest(ws, write(folder / f"run{i}.mcap", float(i), success=i % 2 == 0), **given)
    return out


@pytest.fixture
def contract(workspace: Workspace) -> Ref:
    return contracts.add(workspace, contracts.from_tree(CONTRACT, where="test"))


@pytest.fixture
def grown(workspace: Workspace, contract: Ref, tmp_path: Path) -> tuple[Ref, Ref]:
    old = add(workspace, tmp_path, range(4), site="north")
    first = datasets.snapshot(workspace, contract, old, name="first")
    new = add(workspace, tmp_path, range(4, 10), site="south")
    return first, datasets.snapshot(workspace, contract, [*old, *new], name="second", extends=first)


def test_a_diff_names_what_came_and_nothing_moved_in_a_dataset_that_extends(
    workspace: Workspace, grown: tuple[Ref, Ref]
) -> None:
    first, second = grown
    found = datasets.diff(workspace, first.digest, second.digest)
    assert sorted(e.name for e in found.added) == [f"run{i}.mcap" for i in range(4, 10)]
    assert found.removed == found.moved == found.streams == ()
    assert datasets.diff(workspace, second.digest, first.digest).removed == found.added
    assert datasets.diff(workspace, first.digest, first.digest).same
    assert not found.same
    kept = {e.log: e for e in datasets.manifest(workspace, first.digest).episodes}
    after = {e.log: e for e in datasets.manifest(workspace, second.digest).episodes}
    assert all(after[log] == entry for log, entry in kept.items())
    assert first.digest in {node.ref.digest for node in backward(workspace, second.digest).walk()}


def test_a_diff_names_splits_alignment_and_contract_that_changed(
    workspace: Workspace, contract: Ref, tmp_path: Path
) -> None:
    logs = add(workspace, tmp_path, range(6))
    first = datasets.snapshot(workspace, contract, logs, name="first")
    tree = {**CONTRACT, "version": 2, "alignment": {"rate_hz": 5.0}, "splits": {**CONTRACT["splits"], "seed": 3}}
    other = contracts.add(workspace, contracts.from_tree(tree, where="test"))
    found = datasets.diff(workspace, first.digest, datasets.snapshot(workspace, other, logs, name="first").digest)
    assert found.contract == (contract.digest, other.digest)
    assert found.alignment is not None
    assert {m.what for m in found.moved} == {"alignment", "split"}
    assert sum(m.what == "alignment" for m in found.moved) == 6


def test_a_subset_keeps_ids_and_sides_and_measures_its_own_statistics(
    workspace: Workspace, grown: tuple[Ref, Ref]
) -> None:
    _, whole = grown
    keep = datasets.where(workspace, site="south", facts={"success": "true"})
    part = datasets.subset(workspace, whole, keep, name="south-good")
    held, before = datasets.manifest(workspace, part.digest), datasets.manifest(workspace, whole.digest)
    assert sorted(e.name for e in held.episodes) == ["run4.mcap", "run6.mcap", "run8.mcap"]
    assert all(entry in before.episodes for entry in held.episodes)
    assert held.parents == (whole.digest,)
    assert datasets.normaliser(workspace, part.digest).digest != datasets.normaliser(workspace, whole.digest).digest
    with pytest.raises(NotFound, match="no episode"):
        datasets.subset(workspace, whole, datasets.where(workspace, site="west"), name="none")


@pytest.mark.parametrize(
    ("asked", "count"),
    [({"since": "1970-01-01T00:00:00Z"}, 10), ({"since": "1970-01-01T00:00:00.000001Z"}, 0), ({"split": "val"}, 3),
     ({"until": "1970-01-01T00:00:01Z"}, 10), ({"robot": "arm9"}, 0)],
)  # fmt: skip
def test_a_filter_takes_place_split_and_time(
    workspace: Workspace, grown: tuple[Ref, Ref], asked: dict[str, str], count: int
) -> None:
    keep = datasets.where(workspace, **asked)  # type: ignore[arg-type]
    assert sum(keep(entry) for entry in datasets.manifest(workspace, grown[1].digest).episodes) == count


def test_a_merge_takes_each_episode_once_and_keeps_its_side(workspace: Workspace, grown: tuple[Ref, Ref]) -> None:
    first, second = grown
    parts = [
        datasets.subset(workspace, second, datasets.where(workspace, site=site), name=site)
        for site in ("north", "south")
    ]
    merged = datasets.merge(workspace, [*parts, first], name="all")
    assert datasets.diff(workspace, second.digest, merged.digest).same
    assert datasets.normaliser(workspace, merged.digest).digest == datasets.normaliser(workspace, second.digest).digest
    assert len(datasets.load(workspace, merged.digest)) == 10


def test_a_merge_refuses_what_teaches_in_one_and_judges_in_another(
    workspace: Workspace, contract: Ref, tmp_path: Path
) -> None:
    logs = add(workspace, tmp_path, range(6))
    tree = {**CONTRACT, "name": "other", "splits": {"fractions": {"train": 0.3, "val": 0.7}, "seed": 5}}
    other = contracts.add(workspace, contracts.from_tree(tree, where="test"))
    one, two = (datasets.snapshot(workspace, c, logs, name="d") for c in (contract, other))
    with pytest.raises(SplitLeak, match="teaches in one"):
        datasets.merge(workspace, [one, two], name="both")


def test_a_merge_refuses_two_alignments_and_a_single_dataset(
    workspace: Workspace, contract: Ref, tmp_path: Path
) -> None:
    logs = add(workspace, tmp_path, range(4))
    tree = {**CONTRACT, "version": 2, "alignment": {"rate_hz": 5.0}}
    other = contracts.add(workspace, contracts.from_tree(tree, where="test"))
    one, two = (datasets.snapshot(workspace, c, logs, name="d") for c in (contract, other))
    with pytest.raises(ContractBroken, match="two alignments"):
        datasets.merge(workspace, [one, two], name="both")
    with pytest.raises(UsageError, match="two datasets"):
        datasets.merge(workspace, [one], name="both")


def test_a_log_without_an_allowed_licence_goes_into_no_dataset(workspace: Workspace, tmp_path: Path) -> None:
    good = ingest(workspace, write(tmp_path / "good.mcap", 1.0, licence="CC-BY-4.0"))
    ingest(workspace, write(tmp_path / "odd.mcap", 2.0, licence="CC-BY-NC-4.0"))
    ingest(workspace, write(tmp_path / "silent.mcap", 3.0))
    tree = {**CONTRACT, "licences": ["CC-BY-4.0", "MIT"]}
    contract = contracts.add(workspace, contracts.from_tree(tree, where="test"))
    held = datasets.manifest(workspace, datasets.snapshot(workspace, contract, name="d").digest)
    assert [entry.log for entry in held.episodes] == [good[0].digest]
    told = sorted(why for reasons in held.refused.values() for why in reasons)
    assert "its licence is CC-BY-NC-4.0" in told[0]
    assert "its licence is not stated" in told[1]

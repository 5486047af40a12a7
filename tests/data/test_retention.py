"""Retention: duties, limits and holds decide what may be erased; what is erased is gone, and everybody is told why."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from tests.data.logs import samples

from worldgate.core.errors import ConfigError, DataRefused, NotAuthorised, NotFound, UsageError
from worldgate.core.streams import Kind, Origin, Stream, StreamInfo
from worldgate.core.times import SECOND
from worldgate.data import contracts, datasets, retention
from worldgate.data.contracts import RetentionClass
from worldgate.data.ingest import ingest, ingested, open_log
from worldgate.data.logs import mcap
from worldgate.record import erasure
from worldgate.record.events import Draft, Ref
from worldgate.record.verify import verify
from worldgate.record.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
CONTRACT: dict[str, Any] = {
    "name": "kitchen",
    "streams": {"observation.state": {"kind": "vector"}},
    "alignment": {"rate_hz": 10.0},
    "retention": {"standard": {"at_most_days": 365}, "machinery-5y": {"at_least_days": 1825}},
}


def write(path: Path, value: float, **facts: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    times = np.arange(50, dtype=np.int64) * (SECOND // 50)
    values = np.column_stack([np.sin(times / SECOND + value), np.full(50, value)])
    info = StreamInfo(name="observation.state", kind=Kind.VECTOR, count=50, shape=(2,), unit="rad")
    stream = Stream(info=info, times_ns=times, values=values)
    mcap.write_log(path, [stream], origin=Origin.SIMULATED, facts=facts)
    return path


@pytest.fixture
def logs(workspace: Workspace, tmp_path: Path) -> list[Ref]:
    return [ref for i in range(3) for ref in ingest(workspace, write(tmp_path / f"run{i}.mcap", float(i)))]


def outsider(ws: Workspace) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "verify.py"), str(ws.root)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_erased_bytes_are_gone_the_tombstone_says_why_and_everything_still_verifies(
    workspace: Workspace, logs: list[Ref]
) -> None:
    before = set(workspace.store.digests())
    report = retention.erase(workspace, logs[:1], reason="asked by the person in view")
    gone = before - set(workspace.store.digests())
    assert len(gone) == report.objects >= 2
    assert report.bytes > 0
    with pytest.raises(NotFound, match="was erased on"):
        open_log(workspace, logs[0].digest)
    open_log(workspace, logs[1].digest)
    assert verify(workspace).problems == ()
    assert outsider(workspace).returncode == 0
    (stone,) = {stone.reason for stone in erasure.of_workspace(workspace).values()}
    assert stone == "asked by the person in view"


def test_datasets_of_one_folder_keep_their_names_and_go_one_by_one(workspace: Workspace, tmp_path: Path) -> None:
    """Logs that share a file share a tree; another dataset's logs have one of their own."""
    for name, value in (("a", 0.0), ("b", 1.0)):
        with h5py.File(samples.make_robomimic(tmp_path / f"{name}.hdf5", demos=2), "r+") as file:
            for demo in file["data"].values():
                demo["actions"][:] += value
    refs = {ref.name: ref for ref in ingest(workspace, tmp_path)}
    assert list(refs) == ["a/demo_0", "a/demo_1", "b/demo_0", "b/demo_1"]
    held = ingested(workspace)
    assert [held[ref.digest].position for ref in refs.values()] == [0, 1, 0, 1]
    assert open_log(workspace, refs["b/demo_1"].digest).name == "b/demo_1"
    assert len(open_log(workspace, refs["b/demo_1"].digest).read("action")) == 21
    with pytest.raises(DataRefused, match="1 other log"):
        retention.erase(workspace, [refs["a/demo_0"]], reason="x")
    retention.erase(workspace, [refs["a/demo_0"]], reason="x", whole_sources=True)
    with pytest.raises(NotFound, match="was erased on"):
        open_log(workspace, refs["a/demo_1"].digest)
    open_log(workspace, refs["b/demo_0"].digest)


def test_bytes_that_another_source_shares_stay(workspace: Workspace, tmp_path: Path) -> None:
    write(tmp_path / "one" / "a.mcap", 1.0)
    write(tmp_path / "two" / "b.mcap", 2.0)
    shared = b"operator notes"
    for folder in ("one", "two"):
        (tmp_path / folder / "notes.txt").write_bytes(shared)
    (one,), (two,) = ingest(workspace, tmp_path / "one"), ingest(workspace, tmp_path / "two")
    report = retention.erase(workspace, [one], reason="x")
    assert report.shared == 1
    open_log(workspace, two.digest)
    assert verify(workspace).problems == ()


def test_a_log_among_others_in_the_same_files_is_erased_only_with_them(workspace: Workspace, tmp_path: Path) -> None:
    refs = ingest(workspace, samples.make_lerobot(tmp_path / "dataset"))
    with pytest.raises(DataRefused, match=f"{len(refs) - 1} other log"):
        retention.erase(workspace, refs[:1], reason="x")
    report = retention.erase(workspace, refs[:1], reason="x", whole_sources=True)
    assert len(report.logs) == len(refs) > 1


def test_a_log_of_a_folder_whose_files_are_its_own_is_erased_alone(workspace: Workspace, tmp_path: Path) -> None:
    write(tmp_path / "both" / "a.mcap", 1.0)
    write(tmp_path / "both" / "b.mcap", 2.0)
    one, two = ingest(workspace, tmp_path / "both")
    assert len(retention.erase(workspace, [one], reason="x").logs) == 1
    open_log(workspace, two.digest)


def test_what_people_wrote_of_a_log_goes_with_it(workspace: Workspace, logs: list[Ref]) -> None:
    labels = Ref("labels", workspace.put_json({"note": "Grace reached in"}))
    workspace.record("log.labelled", body={}, inputs=logs[:1], outputs=[labels])
    retention.erase(workspace, logs[:1], reason="asked")
    assert not workspace.store.has(labels.digest)
    assert verify(workspace).problems == ()


def test_a_hold_refuses_erasure_until_a_person_lifts_it(workspace: Workspace, logs: list[Ref]) -> None:
    held = retention.hold(workspace, logs[:1], case="claim 17")
    with pytest.raises(DataRefused, match="is held"):
        retention.erase(workspace, logs[:1], reason="x")
    with pytest.raises(UsageError):
        retention.lift(workspace, held.id, reason=" ")
    with pytest.raises(NotFound, match="no single hold"):
        retention.lift(workspace, "claim 18", reason="settled")
    retention.lift(workspace, "claim 17", reason="settled")
    retention.erase(workspace, logs[:1], reason="x")


def test_a_service_may_hold_but_neither_lift_nor_erase(workspace: Workspace, logs: list[Ref]) -> None:
    held = retention.hold(workspace, logs[:1], case="rule", by=None)
    with pytest.raises(NotAuthorised):
        retention.lift(workspace, held.id, reason="because", by="service")
    with pytest.raises(NotAuthorised):
        retention.erase(workspace, logs[1:2], reason="because", by="service")
    open_log(workspace, logs[1].digest)


def test_a_duty_to_keep_refuses_and_a_limit_makes_due(workspace: Workspace, tmp_path: Path) -> None:
    contracts.add(workspace, contracts.from_tree(CONTRACT, where="test"))
    (kept,) = ingest(workspace, write(tmp_path / "k.mcap", 1.0, retention="machinery-5y"))
    (free,) = ingest(workspace, write(tmp_path / "f.mcap", 2.0))
    with pytest.raises(DataRefused, match="must be kept until"):
        retention.erase(workspace, [kept], reason="x")
    told = {item.log: item for item in retention.keeping(workspace)}
    year = told[free.digest].ingested_ns + 365 * 86_400 * SECOND
    assert told[free.digest].may_until_ns == year
    assert not told[free.digest].due(year - 1)
    assert told[free.digest].due(year)
    assert not told[kept.digest].due(2 * year)
    retention.hold(workspace, [free], case="audit")
    assert not next(i for i in retention.keeping(workspace) if i.log == free.digest).due(year)


def test_what_was_erased_cannot_come_back_by_ingesting_it_again(
    workspace: Workspace, logs: list[Ref], tmp_path: Path
) -> None:
    retention.erase(workspace, logs[:1], reason="asked")
    held = set(workspace.store.digests())
    with pytest.raises(DataRefused, match="was erased on"):
        ingest(workspace, tmp_path / "run0.mcap")
    again = write(tmp_path / "elsewhere" / "renamed.mcap", 0.0)  # the same content in another container
    with pytest.raises(DataRefused, match="was erased on"):
        ingest(workspace, again)
    assert set(workspace.store.digests()) == held
    assert verify(workspace).problems == ()


def test_an_erasure_that_was_killed_after_its_tombstone_is_a_problem_until_finished(
    workspace: Workspace, logs: list[Ref]
) -> None:
    victim = next(iter(workspace.store.parts(next(iter(_sources(workspace)))).values()))
    draft = Draft(kind=erasure.ERASED, body={"erased": [victim], "bytes": 1, "reason": "x"}, inputs=logs[:1])
    workspace.ledger.append(draft, workspace.signer(workspace.person))
    assert any("still here" in problem.what for problem in verify(workspace).problems)
    assert outsider(workspace).returncode == 1
    assert erasure.finish(workspace) == [victim]
    assert verify(workspace).problems == ()


def _sources(ws: Workspace) -> list[str]:
    return [str(event.body["source"]) for event in ws.ledger.events("log.ingested")]


def test_a_dataset_names_the_erased_log_and_what_was_made_of_it_is_told(workspace: Workspace, logs: list[Ref]) -> None:
    tree = {**CONTRACT, "origins": ["simulated"], "splits": {"fractions": {"train": 1.0}}}
    contract = contracts.add(workspace, contracts.from_tree(tree, where="test"))
    dataset = datasets.snapshot(workspace, contract, name="three")
    report = retention.erase(workspace, logs[:1], reason="asked")
    assert [ref.digest for ref in report.touched if ref.kind == "dataset"] == [dataset.digest]
    with pytest.raises(NotFound, match="was erased on"):
        datasets.load(workspace, dataset.digest)
    left = datasets.subset(workspace, dataset, lambda entry: entry.log != logs[0].digest, name="two")
    assert len(datasets.load(workspace, left.digest)) == 2


@pytest.mark.parametrize("rule", [{"at_least_days": -1}, {"at_least_days": 10, "at_most_days": 5}])
def test_a_class_that_contradicts_itself_is_refused(rule: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        RetentionClass(**rule)

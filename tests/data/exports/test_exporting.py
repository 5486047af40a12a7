"""Exports: what was recorded comes back from every format, marked; what a contract hides stays."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.data.logs import samples

from worldgate.core.errors import AlreadyExists, ContractBroken, DataRefused, UsageError
from worldgate.core.streams import Kind, Log, Origin, Stream, log_digest
from worldgate.core.times import SECOND
from worldgate.data import contracts, datasets
from worldgate.data.exporting import (
    DATASET_EXPORTED,
    LOG_EXPORTED,
    export_dataset,
    export_log,
    refuse_private,
    tree_digest,
)
from worldgate.data.ingest import ingest, open_log
from worldgate.data.logs import mcap, open_folder
from worldgate.record.events import Ref
from worldgate.record.verify import verify
from worldgate.record.workspace import Workspace

CAMERA = samples.CAMERA
STATE = "observation.state"
CONTRACT: dict[str, Any] = {
    "name": "bench",
    "origins": ["simulated"],
    "streams": {
        CAMERA: {"kind": "image"},
        STATE: {"kind": "vector"},
        "observation.grid": {"kind": "vector"},
        "action": {"kind": "action"},
        "events.contact": {"kind": "event"},
    },
    "alignment": {
        "reference": CAMERA,
        "streams": {"action": {"policy": "linear"}, STATE: {"policy": "hold"}},
    },
    "splits": {"fractions": {"train": 0.5, "val": 0.5}},
}


def at(name: str, kind: Kind, values: Any, hz: float, late_ns: int = 0, **more: Any) -> Stream:
    """A stream on its own clock, jittered, from the start on."""
    count = len(values)
    jitter = np.random.default_rng(count).integers(-2_000_000, 2_000_000, count)
    times = samples.START_NS + np.round(np.arange(count) * SECOND / hz).astype(np.int64) + jitter + late_ns
    made = samples.stream(name, kind, values, **more)
    return Stream(info=made.info, times_ns=times, values=values, log_times_ns=times + 777)


def write_run(path: Path, number: int, length: int = 12, origin: Origin = Origin.SIMULATED) -> Path:
    rng = np.random.default_rng(number)
    streams = [
        at(CAMERA, Kind.IMAGE, samples.pictures(length) ^ np.uint8(number), 30.0, frame="optical", rate_hz=30.0),
        at(STATE, Kind.VECTOR, rng.normal(size=(length * 4, 3)).astype(np.float32), 120.0, names=("a", "b", "c"),
           unit="rad"),
        at("observation.grid", Kind.VECTOR, rng.integers(-9, 9, (length * 2, 2, 3)).astype(np.int16), 60.0),
        at("action", Kind.ACTION, rng.normal(size=(length, 2)), 30.0, unit="m"),
        at("events.contact", Kind.EVENT, samples.texts('{"b": 1}', "[]", '{"c": 2.5}'), 9.0, late_ns=40_000_000),
    ]  # fmt: skip
    mcap.write_log(path, streams, origin=origin, facts={"task": f"push {number % 2}", "success": number > 1})
    return path


@pytest.fixture
def contract(workspace: Workspace) -> Ref:
    return contracts.add(workspace, contracts.from_tree(CONTRACT, where="test"))


@pytest.fixture
def dataset(workspace: Workspace, contract: Ref, tmp_path: Path) -> Ref:
    logs = [ref for n in range(3) for ref in ingest(workspace, write_run(tmp_path / "in" / f"run{n}.mcap", n))]
    return datasets.snapshot(workspace, contract, logs, name="runs")


def same_stream(a: Stream, b: Stream) -> None:
    np.testing.assert_array_equal(a.times_ns, b.times_ns)
    if a.log_times_ns is None or b.log_times_ns is None:
        assert a.log_times_ns is b.log_times_ns, a.info.name
    else:
        np.testing.assert_array_equal(a.log_times_ns, b.log_times_ns)
    for field in ("name", "kind", "names", "unit", "frame", "clock", "count", "rate_hz", "shape"):
        assert getattr(a.info, field) == getattr(b.info, field), (a.info.name, field)
    if isinstance(a.values, np.ndarray):
        assert a.array.dtype == b.array.dtype, a.info.name
        np.testing.assert_array_equal(a.array, b.array)


def by_log(folder: Path) -> dict[str, Log]:
    return {str(log.facts["log"]): log for log in open_folder(folder).logs}


def test_a_dataset_comes_back_from_lerobot_as_from_mcap_with_native_times(
    workspace: Workspace, dataset: Ref, tmp_path: Path
) -> None:
    export_dataset(workspace, dataset, "mcap", tmp_path / "m")
    options = {"pictures": "image", "data_bytes": 5000}
    export_dataset(workspace, dataset, "lerobot", tmp_path / "l", options=options)
    assert len(list((tmp_path / "l" / "data").rglob("*.parquet"))) > 1
    ours, theirs = by_log(tmp_path / "m"), by_log(tmp_path / "l")
    entries = datasets.manifest(workspace, dataset.digest).episodes
    assert set(ours) == set(theirs) == {entry.log for entry in entries}
    for entry in entries:
        a, b, raw = ours[entry.log], theirs[entry.log], open_log(workspace, entry.log)
        assert {i.name for i in a.streams()} == {i.name for i in b.streams()} == set(CONTRACT["streams"])
        assert a.facts["task"] == b.facts["task"] == entry.facts["task"]
        assert a.facts["success"] is b.facts["success"] is entry.facts["success"]
        assert (a.origin, b.origin) == (Origin.SIMULATED, Origin.SIMULATED)
        for name in CONTRACT["streams"]:
            same_stream(a.read(name), b.read(name))
        shown, was = b.read(CAMERA), raw.read(CAMERA)
        keep = np.isin(was.times_ns, shown.times_ns)
        np.testing.assert_array_equal(shown.times_ns, was.times_ns[keep])
        pixels = was.frames.read(np.flatnonzero(keep))
        for log in (a, b):
            np.testing.assert_array_equal(log.read(CAMERA).frames.read(np.arange(len(shown))), pixels)


def test_what_was_exported_aligns_to_the_rows_of_the_dataset(
    workspace: Workspace, contract: Ref, dataset: Ref, tmp_path: Path
) -> None:
    from worldgate.data.alignment import align

    spec = contracts.load(workspace, contract.digest).spec()
    export_dataset(workspace, dataset, "lerobot", tmp_path / "l")
    logs = by_log(tmp_path / "l")
    entries = datasets.manifest(workspace, dataset.digest).episodes
    for episode, entry in zip(datasets.load(workspace, dataset.digest), entries, strict=True):
        again = align(logs[entry.log], spec, digest=entry.log)
        rows = len(again)
        assert len(episode) - rows in (0, 1), "the last row holds a message from before it, where a log then ends"
        np.testing.assert_array_equal(again.times_ns, episode.times_ns[:rows])
        for name in (STATE, "observation.grid", "action"):
            np.testing.assert_array_equal(again.array(name), episode.array(name)[:rows])
        np.testing.assert_array_equal(again.streams[STATE].skew_ns, episode.streams[STATE].skew_ns[:rows])


def test_splits_card_digests_and_event_go_with_an_export(
    workspace: Workspace, dataset: Ref, contract: Ref, tmp_path: Path
) -> None:
    made = export_dataset(workspace, dataset, "lerobot", tmp_path / "l")
    held = datasets.manifest(workspace, dataset.digest)
    info = json.loads((tmp_path / "l" / "meta" / "info.json").read_text())
    counts = {split: len(held.split(split)) for split in ("train", "val")}
    spans = {name: [int(n) for n in span.split(":")] for name, span in info["splits"].items()}
    assert {name: stop - start for name, (start, stop) in spans.items()} == counts
    assert info["worldgate"]["source"]["dataset"] == dataset.digest
    assert info["worldgate"]["source"]["contract"] == contract.digest
    assert info["worldgate"]["origin"] == "simulated"
    assert dataset.digest in (tmp_path / "l" / "README.md").read_text()
    (event,) = workspace.ledger.events(DATASET_EXPORTED)
    assert event.inputs == (dataset,)
    assert event.outputs[0].digest == made.ref.digest == tree_digest(tmp_path / "l")
    export_dataset(workspace, dataset, "mcap", tmp_path / "m")
    about = json.loads((tmp_path / "m" / "export.json").read_text())
    assert {f["split"]: f["file"].split("/")[0] for f in about["files"]} == {"train": "train", "val": "val"}
    assert verify(workspace).ok
    with pytest.raises(AlreadyExists):
        export_dataset(workspace, dataset, "mcap", tmp_path / "m")


def test_a_log_goes_to_mcap_as_it_is(workspace: Workspace, tmp_path: Path) -> None:
    (ref,) = ingest(workspace, write_run(tmp_path / "run.mcap", 3))
    export_log(workspace, ref, "mcap", tmp_path / "out")
    (log,) = open_folder(tmp_path / "out").logs
    assert log_digest(log) == ref.digest
    (event,) = workspace.ledger.events(LOG_EXPORTED)
    assert event.inputs[0].digest == ref.digest


def test_a_log_goes_to_lerobot_by_its_camera(workspace: Workspace, tmp_path: Path) -> None:
    (ref,) = ingest(workspace, write_run(tmp_path / "run.mcap", 3))
    export_log(workspace, ref, "lerobot", tmp_path / "out")
    (log,) = open_folder(tmp_path / "out").logs
    camera, was = log.read(CAMERA), open_log(workspace, ref.digest).read(CAMERA)
    assert np.isin(camera.times_ns, was.times_ns).all()
    assert len(camera) >= 10
    assert log.read("action").array.dtype == np.float64


def test_marks_survive_where_imagined_stands_beside_real(workspace: Workspace, tmp_path: Path) -> None:
    state = samples.stream(STATE, Kind.VECTOR, samples.numbers(8))
    path = tmp_path / "run.mcap"
    mcap.write_log(path, [state], origin=Origin.SIMULATED, imagined=[state])
    (ref,) = ingest(workspace, path)
    export_log(workspace, ref, "mcap", tmp_path / "out")
    (log,) = open_folder(tmp_path / "out").logs
    assert {i.name for i in log.streams()} == {STATE, f"imagined.{STATE}"}
    assert log_digest(log) == ref.digest
    export_log(workspace, ref, "lerobot", tmp_path / "rows")
    assert {i.name for i in open_folder(tmp_path / "rows").logs[0].streams()} == {STATE, f"imagined.{STATE}"}


def test_what_a_contract_masks_is_not_exported_unmasked(workspace: Workspace, tmp_path: Path) -> None:
    (ref,) = ingest(workspace, write_run(tmp_path / "run.mcap", 3))
    tree = {**CONTRACT, "privacy": {"mask": {"observation.images.*": {"detectors": ["skin"]}}}}
    contracts.add(workspace, contracts.from_tree(tree, where="test"))
    for to in ("mcap", "lerobot"):
        with pytest.raises(DataRefused, match="unmasked") as caught:
            export_log(workspace, ref, to, tmp_path / to)
        assert "ingest" in (caught.value.hint or "")
        assert not (tmp_path / to).exists()
    assert list(workspace.ledger.events(LOG_EXPORTED)) == []


def test_what_a_contract_forbids_leaves_on_no_path(workspace: Workspace, tmp_path: Path) -> None:
    (ref,) = ingest(workspace, write_run(tmp_path / "run.mcap", 3))
    blind = {**CONTRACT, "name": "blind", "streams": {STATE: CONTRACT["streams"][STATE]}}
    blind["alignment"] = {"rate_hz": 10.0}
    own = contracts.add(workspace, contracts.from_tree(CONTRACT, where="test"))
    dataset = datasets.snapshot(workspace, own, [ref], name="before")
    tree = {**blind, "name": "strict", "privacy": {"forbidden": ["observation.images.*"]}}
    strict = contracts.add(workspace, contracts.from_tree(tree, where="test"))
    for to, rules in (("mcap", None), ("lerobot", None), ("mcap", own), ("lerobot", own)):
        with pytest.raises(DataRefused, match="forbids") as caught:
            export_log(workspace, ref, to, tmp_path / to, contract=rules)
        assert "observation.images" in str(caught.value.got)
        assert not (tmp_path / to).exists()
    assert list(workspace.ledger.events(LOG_EXPORTED)) == []
    with pytest.raises(DataRefused):
        datasets.snapshot(workspace, strict, [ref], name="after")
    export_dataset(workspace, dataset, "mcap", tmp_path / "dataset")  # made under a contract that forbids nothing
    export_log(workspace, ref, "mcap", tmp_path / "numbers", contract=strict)
    assert {info.name for info in open_folder(tmp_path / "numbers").logs[0].streams()} == {STATE}


def test_a_fact_that_a_contract_forbids_stays_here(workspace: Workspace, tmp_path: Path) -> None:
    told = {"operator": "A. Person", "shift": "night"}
    (ref,) = ingest(workspace, write_run(tmp_path / "run.mcap", 3), facts=told)
    own = contracts.add(workspace, contracts.from_tree(CONTRACT, where="test"))
    dataset = datasets.snapshot(workspace, own, [ref], name="before")
    tree = {**CONTRACT, "name": "strict", "privacy": {"forbidden_facts": ["oper*"]}}
    strict = contracts.add(workspace, contracts.from_tree(tree, where="test"))
    for to in ("mcap", "lerobot"):
        export_log(workspace, ref, to, tmp_path / to)
        (log,) = open_folder(tmp_path / to).logs
        assert log.facts["shift"] == "night"
        assert "operator" not in log.facts
        leaked = [p.name for p in (tmp_path / to).rglob("*") if p.is_file() and b"A. Person" in p.read_bytes()]
        assert leaked == []
    with pytest.raises(ContractBroken, match="strict"):
        datasets.snapshot(workspace, strict, [ref], name="after")
    held = replace(datasets.manifest(workspace, dataset.digest), contract=strict.digest)
    with pytest.raises(DataRefused, match="forbids"):
        refuse_private(workspace, held)


def test_a_dataset_whose_logs_are_masked_is_exported_and_says_so(workspace: Workspace, tmp_path: Path) -> None:
    from worldgate.data.privacy.intake import ingest_under

    mask = {"observation.images.*": {"detectors": ["skin"]}}
    tree = {**CONTRACT, "privacy": {"mask": mask}, "splits": {"fractions": {"train": 1.0}}}
    rules = contracts.add(workspace, contracts.from_tree(tree, where="test"))
    logs = [r for n in range(2) for r in ingest_under(workspace, write_run(tmp_path / f"{n}.mcap", n), rules)]
    dataset = datasets.snapshot(workspace, rules, logs, name="masked")
    export_dataset(workspace, dataset, "mcap", tmp_path / "out")
    for log in open_folder(tmp_path / "out").logs:
        assert log.facts["masked"] == contracts.load(workspace, rules.digest).privacy.digest()


def test_what_lerobot_cannot_hold_is_said_or_refused(workspace: Workspace, tmp_path: Path) -> None:
    depth = np.ones((8, 16, 24), np.float32)
    streams = [
        samples.stream(CAMERA, Kind.IMAGE, samples.pictures(8)),
        samples.stream("observation.depth.front", Kind.DEPTH, depth),
    ]
    mcap.write_log(tmp_path / "a.mcap", streams, origin=Origin.SIMULATED)
    (ref,) = ingest(workspace, tmp_path / "a.mcap")
    made = export_log(workspace, ref, "lerobot", tmp_path / "out")
    assert made.left_out == {"observation.depth.front": "LeRobot has no place for depth"}
    odd = samples.stream(STATE, Kind.VECTOR, samples.numbers(8), step_ns=150_000_000)
    mcap.write_log(tmp_path / "b.mcap", [odd], origin=Origin.SIMULATED)
    (ref,) = ingest(workspace, tmp_path / "b.mcap")
    with pytest.raises(UsageError, match="whole number"):
        export_log(workspace, ref, "lerobot", tmp_path / "odd")
    assert not (tmp_path / "odd").exists()

"""The whole way from real folders to datasets: counts, rates, skew and refusals as the logs' README states them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worldgate.core.errors import LogUnreadable
from worldgate.data import clips, contracts, datasets
from worldgate.data.alignment import align
from worldgate.data.alignment_report import report
from worldgate.data.check import check
from worldgate.data.contracts import Severity
from worldgate.data.ingest import Shelf, ingest, ingested
from worldgate.record.verify import verify


def test_droid_is_accepted_and_aligned_at_five_hertz_without_skew(workspace: Any, real_data: Path) -> None:
    refs = ingest(workspace, real_data / "droid_ctrlworld" / "droid_subset")
    assert len(refs) == 11
    contract = contracts.add(workspace, contracts.read("droid"))
    assert all(c.accepted and not c.found() for c in check(workspace, refs, contract))
    ref = datasets.snapshot(workspace, contract, name="droid")
    held = datasets.manifest(workspace, ref.digest)
    assert sorted(e.split for e in held.episodes) == ["train"] * 7 + ["val"] * 4
    assert sum(bool(e.facts["success"]) for e in held.episodes) == 4
    for episode in datasets.load(workspace, ref.digest):
        assert set(np.diff(episode.times_ns)) == {200_000_000}
        for name, stream in report(episode).streams.items():
            assert stream.skew.max_ns == 0, name
            assert stream.gaps == stream.future == 0, name
        frames = Shelf(workspace).open(episode.log).read("observation.images.0")
        assert len(episode) == len(frames)
    clip = clips.frames(episode, "observation.images.1", 64)
    assert clip.shape == (len(episode), 64, 64, 3)
    assert clip.std() > 10
    assert verify(workspace).ok


def test_g1_keeps_every_row_and_its_subset_is_flagged_not_refused(workspace: Any, real_data: Path) -> None:
    refs = ingest(workspace, real_data / "g1_lerobot_v21")
    contract = contracts.add(workspace, contracts.read("g1"))
    checked = check(workspace, refs, contract)
    assert [c.accepted for c in checked] == [True] * 6
    assert all("100" in f.message for c in checked for f in c.found(Severity.FLAG) if f.check == "count_mismatch")
    ref = datasets.snapshot(workspace, contract, name="g1")
    counts = {log.digest: log.streams[0].count for log in ingested(workspace).values()}
    for entry in datasets.manifest(workspace, ref.digest).episodes:
        assert entry.rows == counts[entry.log]
        assert 221 <= entry.rows <= 280
    episode = datasets.load(workspace, ref.digest, "val")[0]
    assert all(s.skew.max_ns == s.gaps == 0 for s in report(episode).streams.values())
    last = episode.streams["observation.images.cam_high"].values.read(np.array([len(episode) - 1]))  # type: ignore[union-attr]
    assert last.shape == (1, 480, 640, 3)


def test_the_malformed_dataset_is_refused_for_every_right_reason(workspace: Any, real_data: Path) -> None:
    before = list(workspace.store.digests())
    with pytest.raises(LogUnreadable) as caught:
        ingest(workspace, real_data / "omx_sim_malformed_lerobot")
    said = str(caught.value)
    for reason in (
        "info.json is not LeRobot's",
        "no data/*.parquet",
        "episodes disagree: 2 in info.json",
        "observation.images.top are byte-identical",
        "observation.images.top: every frame is blank white",
    ):
        assert reason in said
    assert "images.wrist:" not in said
    assert caught.value.exit_code == 4
    assert list(workspace.store.digests()) == before
    assert not list(workspace.ledger.events("log.ingested"))


def test_bridge_episodes_are_ingested_and_their_empty_cameras_found(workspace: Any, real_data: Path) -> None:
    from worldgate.data.checks import run

    refs = ingest(workspace, real_data / "octo_bridge_rlds")
    assert len(refs) == 25
    log = Shelf(workspace).open(refs[0].digest)
    assert [f.stream for f in run("blank", log)] == ["observation.images.image_3"]
    assert not run("frozen", log)


def test_the_cell_fulfils_the_contract_that_ships_for_it(workspace: Any, tmp_path: Path) -> None:
    record = pytest.importorskip("worldgate.sim.record").record
    refs = ingest(workspace, record(tmp_path / "run.mcap", seed=0, duration_s=3))
    (checked,) = check(workspace, refs, contracts.add(workspace, contracts.read("cell")))
    assert checked.accepted
    assert not [f for f in checked.found() if f.check in {"jump", "skew"}]
    log = Shelf(workspace).open(refs[0].digest)
    episode = align(log, contracts.read("cell").spec(), digest=refs[0].digest)
    streams = report(episode).streams
    assert all(s.future == 0 for s in streams.values())
    assert 0 < streams["observation.images.front"].skew.max_ns < 50_000_000
    assert 0 < streams["observation.force"].skew.max_ns < 20_000_000

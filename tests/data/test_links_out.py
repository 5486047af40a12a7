"""A folder of logs from elsewhere with a link out of it: whatever the format, nothing from outside is taken in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.data.logs import bag_samples, samples

from worldgate.core.errors import DataRefused
from worldgate.data.ingest import ingest, ingested
from worldgate.record.workspace import Workspace


def droid(root: Path) -> None:
    root.mkdir()
    samples.make_droid(root, rows=12)


def several(make: Callable[[Path], Any], suffix: str) -> Callable[[Path], None]:
    def build(root: Path) -> None:
        root.mkdir()
        make(root / f"first.{suffix}")
        make(root / f"second.{suffix}")

    return build


FOLDERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "act": (lambda root: samples.make_act(root, episodes=2), "episode_1.hdf5"),
    "comma2k19": (lambda root: bag_samples.make_comma2k19(root, rows=8), "processed_log/CAN/speed/value"),
    "droid": (droid, "videos/train/4/0.mp4"),
    "lerobot": (lambda root: samples.make_lerobot_v21(root, episodes=1), "data/chunk-000/episode_000000.parquet"),
    "mcap": (several(samples.make_mcap, "mcap"), "second.mcap"),
    "openarm": (lambda root: bag_samples.make_openarm(root, episodes=1), "metadata.yaml"),
    "replay_buffer": (lambda root: samples.make_replay_buffer(root, episodes=1, zipped=True), "sample.zarr.zip"),
    "rlds": (lambda root: samples.make_rlds(root, episodes=1), "sample-train.tfrecord-00000-of-00001"),
    "robomimic": (several(lambda path: samples.make_robomimic(path, demos=1), "hdf5"), "second.hdf5"),
    "rosbag1": (several(bag_samples.make_rosbag1, "bag"), "second.bag"),
    "rosbag2": (lambda root: bag_samples.make_split_rosbag2(root), "run_1.db3"),
    "table": (lambda root: samples.make_table(root, runs=2), "run_1/joints.csv"),
    "ulog": (several(lambda path: samples.make_ulog(path, rows=10), "ulg"), "second.ulg"),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_with_a_link_out_of_it_is_refused(name: str, tmp_path: Path, workspace: Workspace) -> None:
    make, victim = FOLDERS[name]
    root, outside = tmp_path / "logs", tmp_path / "outside"
    make(root)
    assert (root / victim).is_file()
    (root / victim).rename(outside)
    (root / victim).symlink_to(outside)
    with pytest.raises(DataRefused, match="a link that leaves its folder"):
        ingest(workspace, root)
    assert not any(str(outside) in str(item) for item in ingested(workspace).values())

"""Where ROS bags are below a path, by names and first bytes alone: what decides between ``rosbag`` and ``mcap``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

METADATA: Final = "metadata.yaml"
_KEY: Final = b"rosbag2_bagfile_information"
_HEAD: Final = 1 << 16
_MAGIC: Final = {".bag": b"#ROSBAG V", ".db3": b"SQLite format 3\0", ".zstd": b"\x28\xb5\x2f\xfd"}
_PACKED: Final = (".db3.zstd", ".mcap.zstd")


def is_bag_file(path: Path) -> bool:
    """A ``.bag``, a ``.db3``, or one of rosbag2's files compressed by zstd; ``.mcap`` is MCAP's own."""
    magic = _MAGIC.get(path.suffix)
    if magic is None or (path.suffix == ".zstd" and not path.name.endswith(_PACKED)):
        return False
    return _head(path, len(magic)) == magic


def bag_folders(path: Path) -> Iterator[Path]:
    """Folders with rosbag2's ``metadata.yaml``, the path itself first."""
    for file in sorted(path.rglob(METADATA)):
        if file.is_file() and _KEY in _head(file, _HEAD):
            yield file.parent


def bag_files(path: Path) -> Iterator[Path]:
    """Files below a folder that are bags by themselves."""
    for file in sorted(path.rglob("*")):
        if file.suffix in _MAGIC and file.is_file() and is_bag_file(file):
            yield file


def holds_bags(path: Path) -> bool:
    """Whether a folder has ROS bags in it."""
    return next(bag_folders(path), None) is not None or next(bag_files(path), None) is not None


def _head(path: Path, count: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError:
        return b""

"""MCAP: the system of record for raw logs, read with native times kept to the nanosecond, and written.

Source: https://mcap.dev/spec; the container, CDR and protobuf are decoded by the official ``mcap`` packages. Each
file of a folder is one log; one that cannot be read refuses the folder, because data lost is an error.
"""

from __future__ import annotations

from pathlib import Path

from worldgate.core.errors import NotFound
from worldgate.core.streams import LogFolder
from worldgate.data.logs._mcap_container import MAGIC
from worldgate.data.logs._mcap_encode import ImageOptions
from worldgate.data.logs._mcap_read import McapLog
from worldgate.data.logs._mcap_write import McapWriter, write_log
from worldgate.data.logs._rosbag_find import holds_bags

__all__ = ["CARD", "ImageOptions", "McapLog", "McapWriter", "detect", "open_logs", "units", "write_log"]

CARD = {
    "line": "MCAP with ROS 2 CDR, JSON or protobuf messages; the system of record for raw logs",
    "inputs": "a .mcap file, or a folder of them",
    "source": "https://mcap.dev/spec",
}


def detect(path: Path) -> bool:
    """A file that is named ``.mcap`` or begins with the magic, or a folder with such names and no ROS bag in it.

    A folder with rosbag2's ``metadata.yaml`` is ``rosbag``'s, which joins the files of one recording.
    """
    if path.is_dir():
        return next(path.rglob("*.mcap"), None) is not None and not holds_bags(path)
    if path.suffix == ".mcap":
        return True
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def open_logs(path: Path) -> LogFolder:
    """Open a file, or every ``.mcap`` below a folder.

    Raises:
        NotFound: no MCAP file there.
        LogUnreadable: a file that cannot be read.
    """
    if path.is_file():
        return LogFolder(path=path, format="mcap", logs=(McapLog(path),))
    files = [file for (file,) in units(path)]
    if not files:
        raise NotFound("no .mcap file in this folder", where=path)
    logs = tuple(McapLog(file, name=file.relative_to(path).as_posix()) for file in files)
    return LogFolder(path=path, format="mcap", logs=logs)


def units(path: Path) -> list[tuple[Path, ...]]:
    """The files of each log of a folder, in the order of :func:`open_logs`: each file is one log."""
    return [(file,) for file in sorted(path.rglob("*.mcap")) if file.is_file()]

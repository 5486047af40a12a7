"""MCAP: the system of record for raw logs, read with native times kept to the nanosecond, and written.

Source: https://mcap.dev/spec; the container, CDR and protobuf are decoded by the official ``mcap`` packages. Each
file of a folder is one log; one that cannot be read is a finding of the folder, unless none can.
"""

from __future__ import annotations

from pathlib import Path

from worldgate.core.errors import LogUnreadable, NotFound
from worldgate.core.streams import Finding, LogFolder
from worldgate.data.logs._mcap_container import MAGIC
from worldgate.data.logs._mcap_encode import ImageOptions
from worldgate.data.logs._mcap_read import McapLog
from worldgate.data.logs._mcap_write import McapWriter, write_log

__all__ = ["CARD", "ImageOptions", "McapLog", "McapWriter", "detect", "open_logs", "write_log"]

CARD = {
    "line": "MCAP with ROS 2 CDR, JSON or protobuf messages; the system of record for raw logs",
    "inputs": "a .mcap file, or a folder of them",
    "source": "https://mcap.dev/spec",
}


def detect(path: Path) -> bool:
    """A file that is named ``.mcap`` or begins with the magic, or a folder with such names in it."""
    if path.is_dir():
        return next(path.rglob("*.mcap"), None) is not None
    if path.suffix == ".mcap":
        return True
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def open_logs(path: Path) -> LogFolder:
    """Open a file, or every ``.mcap`` below a folder.

    Raises:
        NotFound: no MCAP file there.
        LogUnreadable: the file, or every file of the folder, cannot be read.
    """
    if path.is_file():
        return LogFolder(path=path, format="mcap", logs=(McapLog(path),))
    files = sorted(file for file in path.rglob("*.mcap") if file.is_file())
    if not files:
        raise NotFound("no .mcap file in this folder", where=path)
    logs, findings, last = [], [], None
    for file in files:
        name = file.relative_to(path).as_posix()
        try:
            logs.append(McapLog(file, name=name))
        except LogUnreadable as error:
            last = error
            findings.append(_unreadable(name, error))
    if last is not None and not logs:
        raise last
    return LogFolder(path=path, format="mcap", logs=tuple(logs), findings=tuple(findings))


def _unreadable(name: str, error: LogUnreadable) -> Finding:
    return Finding(check="unreadable", stream="", message=f"{name}: {error.what}", value=1.0, limit=0.0, unit="files")

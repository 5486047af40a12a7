"""The seam of log formats: each file reads one container and fills :class:`worldgate.core.streams.LogFolder`.

A format module holds a literal ``CARD`` and two functions:

``detect(path: Path) -> bool``
    Whether the file or folder looks like this format, by names and first bytes alone; it never raises on foreign data.
``open_logs(path: Path) -> LogFolder``
    Open it. Raises ``NotFound`` where nothing is there and ``LogUnreadable`` where what is there cannot be used; what
    disagrees but can be used becomes a ``Finding`` of the log or the folder.

``units(path: Path) -> list[tuple[Path, ...]]``
    The files of each log, in the order of ``open_logs``; empty where they cannot be told apart. Logs are kept, read
    again and erased by these: one by one where each has files of its own. Logs that share a file (demonstrations of one
    HDF5 file, episodes of one Parquet file, or of one index that names them all and would miss those that are gone)
    have the same unit, which is then the smallest part of the folder that reads alone: a file, a store, a dataset.

A ``worldgate-log.toml`` in the folder describes what a container does not say; it is applied here, whatever the format.

Values stay on disk until :meth:`worldgate.core.streams.Log.read`, frames until
:meth:`worldgate.core.streams.Frames.read`. Modules with a leading underscore are shared parts, not formats.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from worldgate.core import seams
from worldgate.core.errors import LogUnreadable, MissingExtra, NotFound
from worldgate.core.streams import LogFolder
from worldgate.data.logs._mapped import mapped
from worldgate.data.logs._mapping import FILE

_log = logging.getLogger(__name__)


class LogFormat(Protocol):
    """What a module of this seam is."""

    def detect(self, path: Path) -> bool:
        """Whether ``path`` looks like this format."""
        ...

    def open_logs(self, path: Path) -> LogFolder:
        """Open every log at ``path``."""
        ...


def open_as(format: str, path: Path) -> LogFolder:
    """Open the logs at a path in a format that is known, as the folder's mapping file describes them.

    Raises:
        LogUnreadable: not that format, or damaged.
        ConfigError: a mapping file that does not fit.
    """
    module: LogFormat = seams.load("logs", format)
    return mapped(module.open_logs(path))


def log_parts(path: Path) -> list[Path]:
    """What to open one by one: a folder whose entries are of several formats falls into these, any other is one part.

    A format that finds its logs anywhere below a folder would read its own and say nothing of the rest. A folder that
    is a log of a format which none of its entries has stays one, and so does one that a mapping file speaks of.
    """
    if not path.is_dir() or (path / FILE).exists():
        return [path]
    entries = [entry for entry in sorted(path.iterdir()) if not entry.name.startswith(".")]
    formats = {entry: format for entry in entries if (format := _format_of(entry))}
    parts = [part for entry in formats for part in log_parts(entry)]
    several = len(set(formats.values())) > 1 or any(part not in formats for part in parts)
    return parts if several and _inside(path, entries) and _format_of(path) in formats.values() else [path]


def single_parts(path: Path) -> list[Path]:
    """The files or folders of a folder that are logs by themselves; empty where they need one another.

    What is damaged beyond recognition is among them, so that it is named when it is opened.
    """
    format = _format_of(path) if path.is_dir() and not (path / FILE).exists() else None
    units = getattr(seams.load("logs", format), "units", None) if format else None
    try:
        parts = list(dict.fromkeys(Path(os.path.commonpath(unit)) for unit in units(path))) if units else []
    except LogUnreadable:
        parts = sorted(file for file in path.iterdir() if file.is_file())
    formats = {_format_of(part) for part in parts}
    alone = path not in parts and _inside(path, parts) and format in formats and formats <= {format, None}
    return parts if alone else []


def _inside(path: Path, parts: Sequence[Path]) -> bool:
    """Whether none is a link to elsewhere: opened as a part, it would be followed as if a person had named it."""
    root = path.resolve()
    return all(part.exists() and part.resolve().is_relative_to(root) for part in parts)


def _format_of(path: Path) -> str | None:
    """The first format that recognises it, of those whose packages are here."""
    for name in seams.cards("logs"):
        try:
            module: LogFormat = seams.load("logs", name)
        except MissingExtra:
            continue
        if module.detect(path):
            return name
    return None


def open_folder(path: Path | str) -> LogFolder:
    """Open the logs at a file or folder, whatever format they are in.

    Raises:
        NotFound: nothing at this path, or an empty folder.
        LogUnreadable: no format reads it, or the one that recognises it must refuse it.
    """
    path = Path(path)
    if not path.exists():
        raise NotFound("no such file or folder", got=path)
    if path.is_dir() and next(path.iterdir(), None) is None:
        raise NotFound("an empty folder holds no logs", got=path)
    names = tuple(seams.cards("logs"))
    missing: dict[str, str] = {}
    for name in names:
        try:
            module: LogFormat = seams.load("logs", name)
        except MissingExtra as error:
            # Another format may read it: who has MCAP alone needs no h5py.
            missing[name] = str(error.hint)
            continue
        if module.detect(path):
            _log.debug("%s reads as %s", path, name)
            return open_as(name, path)
    raise LogUnreadable(
        "no log format recognises this",
        got=path.suffix or "a folder" if path.is_dir() else path.suffix or "a file without a suffix",
        where=path,
        hint="; ".join(
            [
                f"formats that are read: {', '.join(n for n in names if n not in missing)} (worldgate list logs)",
                *(f"{name} needs {hint}" for name, hint in missing.items()),
            ]
        ),
    )

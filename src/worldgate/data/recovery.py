"""Recovering what a crash left: recordings get their name, of other logs is told what they still hold.

A LeRobot dataset cannot be read before it is whole, so its finished episodes are joined and get their name. An MCAP
that its writer left under a partial name is read as it is, complete chunk by complete chunk, and gets its name; not a
byte of it changes. The readers of all other formats take what is left of a damaged log themselves; nothing is written
for these, and what was lost is what the reader noticed.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from worldgate.core.atomic import sync_dir
from worldgate.core.errors import AlreadyExists, DataRefused, NotFound
from worldgate.core.streams import Finding
from worldgate.data.logs import open_folder
from worldgate.data.logs.lerobot import LeRobotWriter, working_folder

_SUFFIX = ".recording"
_PARTIAL = re.compile(r"\.(?P<killed>.+)\.[0-9a-f]{8}\.partial|(?P<broken>.+)\.partial")
"""What a killed writer leaves, and one that ended in an error."""
_RESTS_S = 10.0
"""A partial file that changed within this time may have a writer that is alive."""
_LOSSES = frozenset({"data_lost", "integrity", "count_mismatch", "dropout", "undecodable"})
"""What readers call it when something is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """What there was, what was kept and what was not."""

    path: Path
    """What can be ingested now."""
    format: str
    finished: bool
    """Whether this call finished an interrupted recording; False: nothing had to be done."""
    logs: int
    """Episodes or logs that are there."""
    messages: int
    """Rows of their recorded streams, together."""
    dropped: int = 0
    """Episodes that were being written when the process ended; nobody was told that they are safe."""
    findings: tuple[Finding, ...] = ()
    """What the reader says is missing."""


def recover(path: Path) -> Recovered:
    """Finish an interrupted recording, or say what is left of a damaged log; a second call finds nothing to do.

    Args:
        path: a dataset's folder, the ``.NAME.recording`` beside it, a log of any format, or what an MCAP's writer left:
            ``NAME.partial`` or ``.NAME.XXXXXXXX.partial``, by this name or by NAME.

    Raises:
        NotFound: nothing there, finished or not.
        AlreadyExists: another process is writing it, or may be; or a log of its name is there beside the partial one.
        DataRefused: nothing of it can be read, or no episode was finished.
    """
    final = _final(path)
    dropped = 0
    finished = False
    if working_folder(final).is_dir():
        finished, dropped = _finish(final)
    elif not final.exists():
        _name(final, path)
        finished = True
    elif final != path and _PARTIAL.fullmatch(path.name) and path.exists():
        raise AlreadyExists("a log of this name is there beside the partial one", got=path, where=final)
    return _told(final, finished=finished, dropped=dropped)


def _final(path: Path) -> Path:
    """The recording's own path, by whichever of its names it was given."""
    if path.name.startswith(".") and path.name.endswith(_SUFFIX):
        return path.with_name(path.name.removeprefix(".").removesuffix(_SUFFIX))
    partial = _PARTIAL.fullmatch(path.name)
    return path.with_name(partial["killed"] or partial["broken"]) if partial else path


def _name(final: Path, path: Path) -> None:
    """Give what a writer of MCAP left its name, if it can be read, is one file, and nobody writes it."""
    beside = sorted(final.parent.iterdir()) if final.parent.is_dir() else []
    left = [path] if path != final and path.is_file() else [p for p in beside if _final(p) == final and p.is_file()]
    if not left:
        raise NotFound("nothing to recover", where=final)
    if len(left) > 1:
        names = ", ".join(p.name for p in left)
        raise DataRefused("several partial files of one name", got=names, where=final, hint="name the one to recover")
    (partial,) = left
    folder = open_folder(partial)
    if folder.format != "mcap":
        raise DataRefused("only of an MCAP a partial file is a log", got=folder.format, where=partial)
    if partial.name.startswith(".") and time.time() - partial.stat().st_mtime < _RESTS_S:
        hint = f"wait until it has not changed for {_RESTS_S:g} s"
        raise AlreadyExists("another process may be writing this file", where=partial, hint=hint)
    try:
        os.link(partial, final)  # unlike a rename, it overwrites nothing
    except FileExistsError as error:
        raise AlreadyExists("this file exists", where=final, hint="nothing is overwritten") from error
    partial.unlink()
    sync_dir(final.parent)


def _finish(final: Path) -> tuple[bool, int]:
    """Whether a recording was finished, and how many half-written episodes were dropped."""
    try:
        writer = LeRobotWriter.recover(final)
    except AlreadyExists:
        if working_folder(final).is_dir():
            raise
        return False, 0  # it was whole, and only what the writer worked in was left
    if not writer.episodes:
        writer.leave()
        raise DataRefused(
            "no episode of this recording was finished",
            got=f"{writer.dropped} half-written",
            where=working_folder(final),
            hint="nothing can be kept; remove this folder",
        )
    with writer:
        return True, writer.dropped


def _told(final: Path, *, finished: bool, dropped: int) -> Recovered:
    folder = open_folder(final)
    noticed = (*folder.findings, *(f for log in folder.logs for f in log.findings))
    return Recovered(
        path=final,
        format=folder.format,
        finished=finished,
        logs=len(folder.logs),
        messages=sum(max(info.count, 0) for log in folder.logs for info in log.streams()),
        dropped=dropped,
        findings=tuple(f for f in noticed if f.check in _LOSSES),
    )

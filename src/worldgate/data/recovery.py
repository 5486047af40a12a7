"""Recovering what a crash left: a LeRobot recording is finished, of other logs is told what they still hold.

A LeRobot dataset cannot be read before it is whole, so its finished episodes are joined and get their name. The readers
of all other formats take what is left of a damaged log themselves; nothing is written for these, and what was lost is
what the reader noticed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from worldgate.core.errors import AlreadyExists, DataRefused, NotFound
from worldgate.core.streams import Finding
from worldgate.data.logs import open_folder
from worldgate.data.logs.lerobot import LeRobotWriter, working_folder

_SUFFIX = ".recording"
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
        path: a dataset's folder, the ``.NAME.recording`` beside it, or a log of any format.

    Raises:
        NotFound: nothing there, finished or not.
        AlreadyExists: another process is writing it.
        DataRefused: nothing of it can be read, or no episode was finished.
    """
    final = _final(path)
    dropped = 0
    finished = False
    if working_folder(final).is_dir():
        finished, dropped = _finish(final)
    elif not final.exists():
        raise _nothing(final)
    return _told(final, finished=finished, dropped=dropped)


def _final(path: Path) -> Path:
    """The dataset's own path, whichever of its two folders was named."""
    if path.name.startswith(".") and path.name.endswith(_SUFFIX):
        return path.with_name(path.name.removeprefix(".").removesuffix(_SUFFIX))
    return path


def _nothing(final: Path) -> NotFound:
    """The error for a path where nothing stands; a partial file beside it is what a killed MCAP writer leaves."""
    partial = sorted(final.parent.glob(f".{final.name}.*.partial")) if final.parent.is_dir() else []
    hint = f"what its writer left is read by its own name: {partial[0]}" if partial else None
    return NotFound("nothing to recover", where=final, hint=hint)


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

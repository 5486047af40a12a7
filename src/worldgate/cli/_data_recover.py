"""``worldgate data recover``: finish a recording that a crash broke off, or say what is left of a damaged log."""

from __future__ import annotations

from pathlib import Path

from worldgate.cli._output import JsonFlag, Table, answer


def recover(path: Path, /, *, json: JsonFlag = False) -> None:
    """Finish an interrupted LeRobot or MCAP recording, or say what is left of a damaged log.

    For example:

        worldgate data recover recordings/teleop
        worldgate data recover logs/run_007.mcap --json

    Every episode that its writer had finished is kept; one that was being written is dropped, and said. An MCAP that
    its writer left under a partial name gets its own. Logs of other formats, and an MCAP without its end, are read as
    far as they are whole: nothing is written, and what is missing is told. Calling it again changes nothing. Exit code
    4 if nothing can be kept.

    Args:
        path: A dataset's folder (or the .NAME.recording beside it), a log of any format, or its NAME.partial.
    """
    from worldgate.data import recovery

    found = recovery.recover(path)
    said = "finished" if found.finished else "nothing had to be finished"
    of = f"{found.logs} episode{'s' if found.logs != 1 else ''}, {found.messages:,} messages"
    lines = [f"{found.path} ({found.format}): {said}; kept {of}"]
    if found.dropped:
        lines.append(f"lost {found.dropped} half-written episode{'s' if found.dropped != 1 else ''}")
    if not found.dropped and not found.findings:
        lines.append("lost nothing")
    rows = [[f.check, f.stream or "the whole log", f.message] for f in found.findings]
    table = [Table(columns=["lost", "stream", "what"], rows=rows)] if rows else []
    answer("data.recover", {"recovered": found}, *lines, *table, f"next: worldgate ingest {found.path}", as_json=json)

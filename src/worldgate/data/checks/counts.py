"""Counts: what a container says of itself against what it holds, and every loss that its reader noticed.

Readers see parquet, video and metadata side by side and report where they disagree; this check hands those findings on,
and adds streams whose container promises another number of messages than can be read.
"""

from __future__ import annotations

from dataclasses import dataclass

from worldgate.core.streams import Finding, Log

CARD = {
    "line": "parquet, video and metadata that disagree, messages that were lost",
    "inputs": "the reader's findings, and every stream",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Which of the reader's findings are accepted."""

    accept: tuple[str, ...] = ()
    """Names of reader findings that are left out, as a deliberate subset of a dataset needs."""


def check(log: Log, config: Config) -> tuple[Finding, ...]:
    """Hand on the reader's findings and find streams that are shorter or longer than promised; the value is a count."""
    return (*(f for f in log.findings if f.check not in config.accept), *_promised(log))


def _promised(log: Log) -> list[Finding]:
    found = []
    for info in log.streams():
        count = len(log.read(info.name))
        if info.count >= 0 and count != info.count:
            found.append(
                Finding(
                    check="counts",
                    stream=info.name,
                    message=f"{count} messages can be read, {info.count} were promised",
                    value=float(count),
                    limit=float(info.count),
                    unit="messages",
                )
            )
    return found

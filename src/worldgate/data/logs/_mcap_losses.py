"""What a walk over an MCAP file counts, and what it must say is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from worldgate.core.streams import Finding
from worldgate.core.times import format_ns
from worldgate.data.logs._mcap_chunks import END_NS
from worldgate.data.logs._mcap_summary import Summary

_MOST_FINDINGS: Final = 100


@dataclass(slots=True)
class Tally:
    """Messages so far, and what was wrong."""

    message_count: int = 0
    """Messages that can be read."""
    last_ns: int | None = None
    """Latest log time so far."""
    orphans: int = 0
    """Messages of channels that are not defined."""
    odd: int = 0
    """Records that do not belong into a chunk."""
    bad_indexes: int = 0
    """Message indexes that disagree with their chunk."""
    findings: list[Finding] = field(default_factory=list)
    _unreported: list[int] = field(default_factory=lambda: [0, 0])

    def count(self, more: int, latest_ns: int) -> None:
        """Add messages."""
        self.message_count += more
        self.last_ns = latest_ns if self.last_ns is None else max(self.last_ns, latest_ns)

    def lose(
        self,
        position: int,
        count: int,
        why: str,
        start_ns: int | None = None,
        stop_ns: int | None = None,
        *,
        at_end: bool = False,
    ) -> None:
        """Record a loss; a span known only by its start is left open to the end of time."""
        if len(self.findings) >= _MOST_FINDINGS:
            self._unreported[0] += 1
            self._unreported[1] += count
            return
        known = start_ns is not None and stop_ns is not None and 0 <= start_ns <= stop_ns < END_NS
        span: tuple[int, int] | None = None
        if known:
            assert start_ns is not None and stop_ns is not None
            span = (start_ns, stop_ns + 1)
            when = f"from {format_ns(start_ns)} to {format_ns(stop_ns)}"
        elif at_end:
            span = (0 if self.last_ns is None else self.last_ns + 1, END_NS)
            after = "the start" if self.last_ns is None else format_ns(self.last_ns)
            when = f"after {after}, until an unknown end"
        else:
            when = "at a time that is not known"
        before = f"{self.message_count} messages before it"
        message = f"{why} at byte {position}: {count} bytes lost, {when}; {before}"
        self.findings.append(_lost(message, count, () if span is None else (span,)))

    def compare(self, summary: Summary, redefined: Sequence[str]) -> None:
        """Say what the walk counted, and hold it against the file's own statistics.

        Args:
            summary: what the end of the file says.
            redefined: ids of channels and schemas that are given two meanings.
        """
        losses, lost = self._unreported
        if losses:
            self.findings.append(_lost(f"{losses} more losses, {lost} bytes together", lost, ()))
        if self.orphans:
            self.findings.append(
                integrity(f"{self.orphans} messages of channels that are not defined were dropped", 0.0)
            )
        if self.odd:
            self.findings.append(
                integrity(f"{self.odd} records of types that do not belong into a chunk were skipped", float(self.odd))
            )
        if self.bad_indexes:
            told = f"{self.bad_indexes} message indexes disagree with their chunks; reading did not use them"
            self.findings.append(integrity(told, float(self.bad_indexes)))
        if redefined:
            first = f"{len(redefined)} ids are given two meanings, the first {redefined[0]}"
            told = f"{first}; each meaning is a stream of its own"
            self.findings.append(integrity(told, float(len(redefined))))
        if summary.statistics is None or self.findings:
            return
        stated, read = summary.statistics.message_count, self.message_count
        if stated != read:
            self.findings.append(
                Finding(
                    check="count_mismatch",
                    stream="",
                    message=f"the file says {stated} messages, {read} were read",
                    value=float(read),
                    limit=float(stated),
                    unit="messages",
                )
            )


def _lost(message: str, count: int, spans: tuple[tuple[int, int], ...]) -> Finding:
    return Finding(
        check="data_lost", stream="", message=message, value=float(count), limit=0.0, unit="bytes", spans_ns=spans
    )


def integrity(message: str, value: float) -> Finding:
    """A finding about a file of which no message is missing."""
    return Finding(check="integrity", stream="", message=message, value=value, limit=0.0, unit="1")

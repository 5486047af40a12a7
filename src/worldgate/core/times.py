"""Time is int64 nanoseconds since 1970 UTC; seconds and text appear only at the edges."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

from worldgate.core.errors import UsageError

SECOND = 1_000_000_000
MILLISECOND = 1_000_000

_ISO = re.compile(r"(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?(Z|[+-]\d{2}:\d{2})", re.ASCII)


def now_ns() -> int:
    """The wall clock, in ns UTC."""
    return time.time_ns()


def parse_ns(text: str) -> int:
    """Read ``2026-11-22T10:00:00.123456789Z`` (a zone is required) or a plain integer of ns.

    Raises:
        UsageError: anything else; a time without a zone is refused because it would be a guess.
    """
    if re.fullmatch(r"-?\d+", text, re.ASCII):
        return int(text)
    match = _ISO.fullmatch(text.strip())
    if match is None:
        raise UsageError("not a time", got=repr(text), hint="ISO 8601 with a zone, for example 2026-11-22T10:00:00Z")
    day, minute, second, fraction, zone = match.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{minute}:{second or '00'}{'+00:00' if zone == 'Z' else zone}")
    except ValueError as error:
        raise UsageError("not a time", got=repr(text), hint="for example 2026-11-22T10:00:00Z") from error
    whole = round((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
    return whole * SECOND + int((fraction or "0").ljust(9, "0"))


def format_ns(value: int) -> str:
    """ISO 8601 UTC with as many fraction digits as needed; round-trips through :func:`parse_ns`."""
    whole, fraction = divmod(value, SECOND)
    moment = datetime.fromtimestamp(whole, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S")
    digits = f".{fraction:09d}".rstrip("0") if fraction else ""
    return f"{moment}{digits}Z"


def format_span(start_ns: int, end_ns: int, *, zero_ns: int = 0) -> str:
    """A half-open span ``[1.250, 2.000) s`` relative to ``zero_ns``."""
    return f"[{(start_ns - zero_ns) / SECOND:.3f}, {(end_ns - zero_ns) / SECOND:.3f}) s"

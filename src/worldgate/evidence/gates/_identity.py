"""What the identity checks share: comparing signals, and turning differences into a result."""

from __future__ import annotations

from collections.abc import Sequence

from worldgate.core.evidence import CheckResult, Status
from worldgate.core.worlds import Signal


def compare_signals(used: Sequence[Signal], trained: Sequence[Signal]) -> list[str]:
    """Differences in name, unit, frame, channel names and shape, in words."""
    known = {s.name: s for s in trained}
    found: list[str] = []
    for signal in used:
        other = known.pop(signal.name, None)
        if other is None:
            found.append(f"{signal.name} was not trained on")
            continue
        if signal.unit != other.unit:
            found.append(f"{signal.name} in {signal.unit or 'no unit'}, trained in {other.unit or 'no unit'}")
        if signal.frame != other.frame:
            found.append(f"{signal.name} in frame {signal.frame or 'none'}, trained in {other.frame or 'none'}")
        if tuple(signal.names) != tuple(other.names):
            found.append(f"{signal.name} has other channel names than trained")
        if tuple(signal.shape) != tuple(other.shape):
            found.append(f"{signal.name} has shape {list(signal.shape)}, trained {list(other.shape)}")
    return found + [f"{name} was trained on but is not used" for name in known]


def verdict(check: str, statistic: str, differences: Sequence[str], *, passed: str = "none") -> CheckResult:
    """PASS without differences, FAIL with them; the first three are named."""
    count = len(differences)
    more = f" and {count - 3} more" if count > 3 else ""
    return CheckResult(
        check=check,
        status=Status.FAIL if count else Status.PASS,
        signal="",
        statistic=statistic,
        estimate=str(count),
        bound=str(count),
        required="0",
        n=1,
        detail="; ".join(differences[:3]) + more if count else passed,
    )

"""Splits: which logs teach and which judge, and the refusal when the same evidence would do both.

Groups of logs are put in the order of a digest over seed and group, so neither file names nor the order of ingest
matter, and cut by largest remainder; every split gets at least one group where there are enough. Then content is
compared: a log, or a camera or changing signal with the same native times and values, on two sides is a leak and
refuses the dataset.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from worldgate.core.digest import sha256, short
from worldgate.core.errors import ContractBroken, SplitLeak
from worldgate.data.contracts import Splits
from worldgate.data.ingest import IngestedLog


def assign(logs: Sequence[IngestedLog], splits: Splits) -> dict[str, str]:
    """Log digest -> split.

    Raises:
        ContractBroken: a log without the fact that decides its split or group, or with a value that no split lists.
        SplitLeak: a group that a fact's values would tear apart.
    """
    groups: dict[str, list[IngestedLog]] = defaultdict(list)
    for log in sorted(logs, key=lambda log: log.digest):
        groups[_fact(log, splits.group) if splits.group else log.digest].append(log)
    if splits.by:
        found = {log.digest: _by_value(log, splits) for log in logs}
        for name, members in groups.items():
            sides = sorted({found[log.digest] for log in members})
            if len(sides) > 1:
                raise SplitLeak(f"{splits.group} {name} stands in {' and '.join(sides)}", where="splits.values")
        return found
    order = sorted(groups, key=lambda name: sha256(f"{splits.seed}:{name}".encode()))
    found = {}
    start = 0
    for split, count in quotas(len(order), splits.fractions).items():
        for name in order[start : start + count]:
            found |= {log.digest: split for log in groups[name]}
        start += count
    return found


def quotas(total: int, fractions: Mapping[str, float]) -> dict[str, int]:
    """Whole shares of ``total`` by largest remainder; no split with a share stays empty where there are enough."""
    counts = {name: int(total * share) for name, share in fractions.items()}
    remainders = sorted(fractions, key=lambda name: (counts[name] - total * fractions[name], name))
    for name in remainders[: total - sum(counts.values())]:
        counts[name] += 1
    wanted = [name for name, share in fractions.items() if share > 0]
    while total >= len(wanted) and any(counts[name] == 0 for name in wanted):
        counts[max(counts, key=lambda name: (counts[name], name))] -= 1
        counts[next(name for name in wanted if counts[name] == 0)] += 1
    return counts


def _fact(log: IngestedLog, name: str) -> str:
    if name not in log.facts:
        raise ContractBroken("a log without the fact that splits need", got=log.name, where=name)
    value = log.facts[name]
    return str(value).lower() if isinstance(value, bool) else str(value)


def _by_value(log: IngestedLog, splits: Splits) -> str:
    value = _fact(log, splits.by)
    for split in splits.fractions:
        if value in splits.values.get(split, (split,)):
            return split
    raise ContractBroken(
        f"no split takes this {splits.by}",
        got=value,
        where=log.name,
        hint=f"splits.values lists values for {', '.join(splits.fractions)}",
    )


def refuse_leaks(logs: Sequence[IngestedLog], split_of: Mapping[str, str]) -> None:
    """Refuse the same evidence on both sides of a split.

    Raises:
        SplitLeak: names both logs, the stream and the splits.
    """
    seen: dict[str, tuple[IngestedLog, str]] = {}
    for log in sorted(logs, key=lambda log: log.digest):
        for stream in log.streams:
            if not stream.evidence:
                continue
            other, _ = seen.setdefault(stream.digest, (log, stream.name))
            if split_of[other.digest] != split_of[log.digest]:
                raise SplitLeak(
                    "the same evidence stands on both sides of a split",
                    got=f"{stream.name} of {other.name} ({split_of[other.digest]}, {short(other.digest)}) "
                    f"and of {log.name} ({split_of[log.digest]}, {short(log.digest)})",
                    where="splits",
                    hint="leave one of the two logs out, or group them by a fact in splits.group",
                )

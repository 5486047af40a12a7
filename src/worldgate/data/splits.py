"""Splits: which logs teach and which judge, and the refusal when the same evidence would do both.

Groups of logs are put in the order of a digest over seed and group, so neither file names nor the order of ingest
matter, and cut by largest remainder; every split gets at least one group where there are enough. A dataset that extends
another leaves every log in the split it had: what once judged never teaches. Then content is compared: a log, or a
camera or changing signal with the same native times and values, on two sides is a leak and refuses the dataset.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from worldgate.core.digest import sha256, short
from worldgate.core.errors import ContractBroken, SplitLeak
from worldgate.core.times import SECOND, format_ns, parse_ns
from worldgate.data.contracts import Splits
from worldgate.data.ingest import EPOCHS_NS, IngestedLog


def assign(
    logs: Sequence[IngestedLog],
    splits: Splits,
    *,
    before: Mapping[str, str] | None = None,
    together: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Log digest -> split.

    Args:
        logs: what to divide.
        splits: by what.
        before: splits that logs had in an earlier dataset: they and their groups keep them, whatever is added.
        together: log -> a name; logs of one name, as copies of each other, stand in one split with all their groups.

    Raises:
        ContractBroken: a log without the fact that decides its split or group, or with a value that no split lists.
        SplitLeak: a group that a fact's values, a date or an earlier dataset would tear apart.
    """
    groups = _joined(_groups(sorted(logs, key=lambda log: log.digest), splits), together or {})
    if splits.by:
        found = {log.digest: _decided(log, splits) for log in logs}
        for name, members in groups.items():
            _together(name, {found[log.digest] for log in members}, splits)
        return found
    held: dict[str, str] = {}
    for name, members in groups.items():
        sides = {(before or {})[log.digest] for log in members if log.digest in (before or {})}
        _together(name, sides, splits)
        held |= dict.fromkeys([name], side) if (side := next(iter(sides), "")) else {}
    split_of = _deal(list(groups), splits, held)
    return {log.digest: split_of[name] for name, members in groups.items() for log in members}


def _deal(groups: Sequence[str], splits: Splits, held: Mapping[str, str]) -> dict[str, str]:
    """Group -> split: those held stay, the others fill up what each split lacks of its share."""
    order = sorted((name for name in groups if name not in held), key=lambda n: sha256(f"{splits.seed}:{n}".encode()))
    wanted = quotas(len(groups), splits.fractions)
    lacking = {split: max(0, count - list(held.values()).count(split)) for split, count in wanted.items()}
    split_of, start = dict(held), 0
    for split, count in lacking.items():
        split_of |= dict.fromkeys(order[start : start + count], split)
        start += count
    return split_of


def _groups(logs: Sequence[IngestedLog], splits: Splits) -> dict[str, list[IngestedLog]]:
    """Logs that must stay together, by the group's name."""
    groups: dict[str, list[IngestedLog]] = defaultdict(list)
    if splits.group == "session" and any("session" not in log.facts for log in logs):
        return sessions(logs, splits.session_gap_s)
    for log in logs:
        groups[_fact(log, splits.group) if splits.group else log.digest].append(log)
    return groups


def _joined(groups: Mapping[str, list[IngestedLog]], together: Mapping[str, str]) -> dict[str, list[IngestedLog]]:
    """Groups that share a name of ``together`` as one, under the name of the first."""
    out: dict[str, list[IngestedLog]] = {}
    names: dict[str, set[str]] = {}
    for group, members in groups.items():
        mine = {together[log.digest] for log in members if log.digest in together}
        joined = [other for other, held in names.items() if held & mine]
        first = joined[0] if joined else group
        out[first] = [log for other in joined for log in out.pop(other)] + members
        names[first] = mine.union(*(names.pop(other) for other in joined))
    return out


def sessions(logs: Sequence[IngestedLog], gap_s: float) -> dict[str, list[IngestedLog]]:
    """Logs of one robot with breaks shorter than ``gap_s`` between them, by place and first instant.

    Raises:
        ContractBroken: a log whose stamps are no dates.
    """
    found: dict[str, list[IngestedLog]] = {}
    ends: dict[tuple[str, str], tuple[str, int]] = {}
    for log in sorted(logs, key=lambda log: (log.span_ns, log.digest)):
        start, end = _dated(log)
        robot = (log.site, log.robot)
        name, last = ends.get(robot, ("", 0))
        if not name or start - last >= gap_s * SECOND:
            name = f"{log.site}/{log.robot}@{format_ns(start)}"
        found.setdefault(name, []).append(log)
        ends[robot] = (name, max(end, last))
    return found


def _together(group: str, sides: set[str], splits: Splits) -> None:
    if len(sides) > 1:
        raise SplitLeak(f"{splits.group or 'log'} {group} stands in {' and '.join(sorted(sides))}", where="splits")


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


def _dated(log: IngestedLog) -> tuple[int, int]:
    start, end = log.span_ns
    if start < EPOCHS_NS:
        raise ContractBroken(
            "a log whose stamps are no dates cannot be split by time",
            got=f"{log.name} starts at {start / SECOND:.3f} s",
            where="splits",
            hint="group by a fact: worldgate ingest --fact session=NAME",
        )
    return start, end


def _decided(log: IngestedLog, splits: Splits) -> str:
    """The split that a log's fact or date says."""
    if splits.by == "time":
        start, end = _dated(log)
        cuts = sorted((parse_ns(text), split) for split, text in splits.since.items())
        first, last = (([s for at, s in cuts if at <= when] or ["train"])[-1] for when in (start, end - 1))
        if first != last:
            raise SplitLeak(f"{log.name} runs from {first} into {last}", got=format_ns(start), where="splits.since")
        return first
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

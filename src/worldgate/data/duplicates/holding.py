"""Holding: what a snapshot does about copies among its logs, and about logs that look alike to an encoder.

Copies come first; of what is left, logs that are alike are looked for, where the contract asks. Groups of copies are
joined through others, as each holds the same evidence. Likeness does not carry over in that way: a log is dropped only
for one that is kept and that it is alike to itself, as SemDeDup (Abbas 2023) does within a cluster.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from worldgate.core.digest import short
from worldgate.core.encoders import Encoder
from worldgate.core.errors import ConfigError, SplitLeak
from worldgate.data.duplicates import finding, reports, semantic
from worldgate.data.duplicates.clusters import Cluster, Pair, choose, join
from worldgate.data.duplicates.finding import DuplicateReport
from worldgate.data.duplicates.match import Match
from worldgate.data.duplicates.rules import PIXELS, Alike, Duplicates, Keep, Policy
from worldgate.data.duplicates.semantic import Likeness
from worldgate.data.ingest import IngestedLog, Shelf
from worldgate.data.search.pixels import PixelEncoder
from worldgate.engines import Engine
from worldgate.record.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a snapshot does about copies and likeness."""

    left: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Log -> why it is left out."""
    together: Mapping[str, str] = field(default_factory=dict)
    """Log -> the group that stays in one split."""
    forbidden: tuple[Match, ...] = ()
    """Copies that may not cross a split."""
    apart: tuple[Likeness, ...] = ()
    """Logs that are alike and may not cross a split."""

    def refuse(self, split_of: Mapping[str, str], records: Mapping[str, IngestedLog]) -> None:
        """Refuse copies, or what is alike, on two sides.

        Raises:
            SplitLeak: names both logs, their splits and what is the same.
        """
        for leak in finding.leaks(self.forbidden, split_of):
            match = leak.match
            raise SplitLeak(
                "copies stand on both sides of a split",
                got=f"{_sides(match, leak.first_split, leak.second_split, records)}: {match.kind}, {match.why}",
                where="splits",
                hint="duplicates.policy = 'group' or 'drop' in the contract",
            )
        for like in semantic.leaks(self.apart, split_of):
            pair = like.likeness
            raise SplitLeak(
                "logs that look alike stand on both sides of a split",
                got=f"{_sides(pair, like.first_split, like.second_split, records)}: {pair.score:.2f}, {pair.why}",
                where="splits",
                hint="duplicates.alike.policy = 'group' or 'drop' in the contract",
            )


def _sides(pair: Pair, first: str, second: str, records: Mapping[str, IngestedLog]) -> str:
    told = ((pair.first, first), (pair.second, second))
    return " and ".join(f"{records[log].name} ({split}, {short(log)})" for log, split in told)


def hold(
    ws: Workspace,
    shelf: Shelf,
    logs: Sequence[str],
    rules: Duplicates,
    *,
    held: Collection[str] = (),
    encoder: Encoder | None = None,
    engine: Engine | None = None,
) -> Held:
    """What a contract's rules do about copies and likeness among the logs of a snapshot.

    Args:
        ws: the workspace.
        shelf: of it.
        logs: that the contract accepts.
        rules: its section ``[duplicates]``.
        held: logs of the dataset that is extended: these are never dropped for a new one.
        encoder: the one that the rules name; not needed for ``pixels``.
        engine: where to compare.

    Raises:
        ConfigError: another encoder than the rules name, or none.
    """
    seeing, ordered = _encoder(rules.alike, encoder), reports.chosen(shelf, logs)
    left: dict[str, tuple[str, ...]] = {}
    together: list[Pair] = []
    forbidden: tuple[Match, ...] = ()
    apart: tuple[Likeness, ...] = ()
    if rules.policy is not Policy.IGNORE:
        copies = finding.find(ws, logs, keep=rules.keep, config=rules.match, held=held, engine=engine, shelf=shelf)
        if rules.policy is Policy.DROP:
            left = {log: _reason(log, c, copies, shelf) for c in copies.clusters for log in c.left if log not in held}
        together += copies.matches if rules.policy is Policy.GROUP else ()
        forbidden = copies.matches if rules.policy is Policy.REFUSE else ()
    if seeing is not None:
        some = [log for log in ordered if log not in left]
        found = semantic.find(ws, seeing, some, config=rules.alike.match, shelf=shelf).likenesses
        if rules.alike.policy is Policy.DROP:
            dropped = _thinned(some, found, rules.keep, shelf.records, finding.noticed(ws, shelf, some), held)
            left |= {log: (_likely(like, kept, seeing, shelf),) for log, (like, kept) in dropped.items()}
        together += found if rules.alike.policy is Policy.GROUP else ()
        apart = found if rules.alike.policy is Policy.REFUSE else ()
    joined = [pair for pair in together if pair.first not in left and pair.second not in left]
    groups = join([log for log in ordered if log not in left], joined)
    return Held(left=left, together={log: g[0] for g in groups for log in g}, forbidden=forbidden, apart=apart)


def _encoder(rules: Alike, given: Encoder | None) -> Encoder | None:
    """The encoder that the rules name; None where they ask for nothing."""
    if rules.policy is Policy.IGNORE:
        return None
    if rules.encoder == PIXELS:
        return PixelEncoder()
    if given is None or not given.digest.startswith(rules.encoder):
        raise ConfigError(
            "the contract asks for another encoder",
            got="none" if given is None else f"{given.name} ({short(given.digest)})",
            where="duplicates.alike.encoder",
            hint=f"the world model {rules.encoder}, or encoder = 'pixels' in the contract",
        )
    return given


def _thinned(
    logs: Sequence[str],
    found: Sequence[Likeness],
    keep: Keep,
    records: Mapping[str, IngestedLog],
    noticed: Mapping[str, int],
    held: Collection[str],
) -> dict[str, tuple[Likeness, str]]:
    """Log -> the likeness it is dropped for, and the log that is kept instead, which is never one that is dropped."""
    near: dict[str, dict[str, Likeness]] = {log: {} for log in logs}
    for like in found:
        near[like.first][like.second] = near[like.second][like.first] = like
    dropped: dict[str, tuple[Likeness, str]] = {}
    for group in join(logs, found):
        left = list(group)
        while left:
            best = choose(left, keep, records, noticed, held)
            worse = [log for log in left if log in near[best] and log not in held]
            dropped |= {log: (near[best][log], best) for log in worse}
            left = [log for log in left if log != best and log not in worse]
    return dropped


def _likely(like: Likeness, kept: str, encoder: Encoder, shelf: Shelf) -> str:
    name = shelf.record(kept).name
    return f"duplicates: {like.score:.2f} alike by {encoder.name} to {name} ({short(kept)}), which is kept; {like.why}"


def _reason(log: str, cluster: Cluster, found: DuplicateReport, shelf: Shelf) -> tuple[str, ...]:
    kind = next(m.kind for m in found.matches if log in (m.first, m.second))
    kept = shelf.record(cluster.kept)
    said = [f"duplicates: {kind} copy, {kept.name} ({short(kept.digest)}) is kept ({found.keep})"]
    return (*said, *(f"duplicates: copies disagree on {c.what}" for c in cluster.conflicts if log in c.says))

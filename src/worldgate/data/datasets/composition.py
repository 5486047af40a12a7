"""Datasets made from datasets: a part of one, or several joined; each episode keeps its id and the side it stood on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from worldgate.core.digest import short
from worldgate.core.episodes import Episode
from worldgate.core.errors import ContractBroken, NotFound, SplitLeak, UsageError
from worldgate.core.names import Name
from worldgate.core.streams import Origin
from worldgate.core.times import parse_ns
from worldgate.data.datasets.loading import load_entries
from worldgate.data.datasets.manifests import DatasetManifest, EpisodeEntry, manifest
from worldgate.data.datasets.snapshots import freeze
from worldgate.data.ingest import Progress, Shelf
from worldgate.data.splits import refuse_leaks
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace

Keep = Callable[[EpisodeEntry], bool]


def subset(ws: Workspace, dataset: Ref, keep: Keep, *, name: str, progress: Progress | None = None) -> Ref:
    """The episodes of a dataset that ``keep`` takes, each in the split it had.

    Args:
        ws: the workspace.
        dataset: what to take from.
        keep: whether an episode stays.
        name: what people call the part.
        progress: called after every episode of the train split, which is measured again.

    Raises:
        NotFound: no episode is left, or no such dataset.
    """
    whole = manifest(ws, dataset.digest)
    kept = tuple(entry for entry in whole.episodes if keep(entry))
    if not kept:
        raise NotFound("no episode of the dataset is left", got=f"0 of {len(whole.episodes)}", where=whole.name)
    held = replace(whole, name=str(Name(name)), episodes=kept, origins=_origins(kept), parents=(dataset.digest,))
    return freeze(ws, held, _train(ws, held, progress))


def where(
    ws: Workspace,
    *,
    split: str = "",
    site: str = "",
    robot: str = "",
    facts: dict[str, str] | None = None,
    since: str = "",
    until: str = "",
) -> Keep:
    """A filter by place, split, facts and time; what is left empty takes everything.

    Args:
        ws: the workspace that knows the logs.
        split: of the dataset.
        site: where it was recorded.
        robot: on which.
        facts: fact -> value, as text.
        since: UTC instant; logs that start earlier are left out.
        until: UTC instant; logs that end later are left out.
    """
    records = Shelf(ws).records
    low, high = (parse_ns(text) if text else None for text in (since, until))

    def keep(entry: EpisodeEntry) -> bool:
        record = records[entry.log]
        start, end = record.span_ns
        asked = ((split, entry.split), (site, entry.site), (robot, record.robot))
        return (
            all(not wanted or wanted == found for wanted, found in asked)
            and all(_told(entry, key) == value for key, value in (facts or {}).items())
            and (low is None or start >= low)
            and (high is None or end <= high)
        )

    return keep


def _told(entry: EpisodeEntry, fact: str) -> str | None:
    """A fact as people type it."""
    value = entry.facts.get(fact)
    return str(value).lower() if isinstance(value, bool) else None if value is None else str(value)


def merge(ws: Workspace, datasets: Sequence[Ref], *, name: str, progress: Progress | None = None) -> Ref:
    """Several datasets as one; an episode that stands in more than one is taken once.

    Args:
        ws: the workspace.
        datasets: two or more, made under one alignment; the first's contract names the result's.
        name: what people call the whole.
        progress: called after every episode of the train split, which is measured again.

    Raises:
        UsageError: fewer than two.
        ContractBroken: other alignments, or streams that are not the same.
        SplitLeak: the same evidence teaches in one and judges in another.
    """
    if len(datasets) < 2:
        raise UsageError("a merge is of two datasets or more", got=len(datasets))
    parts = [manifest(ws, ref.digest) for ref in datasets]
    for part in parts[1:]:
        _same_form(parts[0], part)
    entries: dict[str, EpisodeEntry] = {}
    for part in parts:
        for entry in part.episodes:
            other = entries.setdefault(entry.log, entry)
            if other.split != entry.split:
                got = f"{entry.name} ({short(entry.log)}): {other.split} and {entry.split}"
                raise SplitLeak("an episode teaches in one dataset and judges in another", got=got, where=part.name)
    shelf = Shelf(ws)
    refuse_leaks([shelf.record(log) for log in entries], {log: entry.split for log, entry in entries.items()})
    held = replace(
        parts[0],
        name=str(Name(name)),
        episodes=tuple(entries[log] for log in sorted(entries)),
        origins=_origins(tuple(entries.values())),
        refused={log: why for part in parts for log, why in part.refused.items() if log not in entries},
        parents=tuple(ref.digest for ref in datasets),
    )
    return freeze(ws, held, _train(ws, held, progress))


def _same_form(first: DatasetManifest, other: DatasetManifest) -> None:
    if first.alignment != other.alignment:
        raise ContractBroken(
            "datasets under two alignments cannot be one",
            got=f"{first.name} {short(first.alignment)}, {other.name} {short(other.alignment)}",
            hint="snapshot the logs of both under one contract",
        )
    odd = [n for n in sorted({*first.streams, *other.streams}) if first.streams.get(n) != other.streams.get(n)]
    if odd:
        told = [f"{n}: {_words(first, n)} and {_words(other, n)}" for n in odd]
        raise ContractBroken("streams that are not the same", got="; ".join(told), where=f"{first.name}, {other.name}")


def _words(held: DatasetManifest, stream: str) -> str:
    return held.streams[stream].words if stream in held.streams else "absent"


def _origins(entries: Sequence[EpisodeEntry]) -> tuple[Origin, ...]:
    return tuple(sorted({entry.origin for entry in entries}))


def _train(ws: Workspace, held: DatasetManifest, progress: Progress | None) -> list[Episode]:
    return load_entries(ws, held, [e for e in held.episodes if e.split == "train"], progress=progress)

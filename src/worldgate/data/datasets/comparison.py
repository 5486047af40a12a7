"""What distinguishes two datasets: episodes, their splits and facts, streams, contract and alignment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from worldgate.data.datasets.manifests import DatasetManifest, EpisodeEntry, manifest
from worldgate.record.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """An episode's log that stands in both datasets and is not the same in both."""

    log: str
    name: str
    what: str
    """``split``, ``alignment``, or the name of a fact."""
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetDiff:
    """From one dataset to another."""

    added: tuple[EpisodeEntry, ...]
    removed: tuple[EpisodeEntry, ...]
    moved: tuple[Moved, ...]
    streams: tuple[Moved, ...]
    """Streams that one lacks or that changed; ``log`` is empty."""
    contract: tuple[str, str] | None
    """Digests, where they differ."""
    alignment: tuple[str, str] | None
    refused: tuple[str, ...]
    """Logs that the contract leaves out now and did not before."""

    @property
    def same(self) -> bool:
        """Nothing differs but, at most, the name."""
        return not any((self.added, self.removed, self.moved, self.streams, self.contract, self.alignment))


def diff(ws: Workspace, before: str, after: str) -> DatasetDiff:
    """Compare two datasets by their digests; logs are matched by content, never by name or place.

    Raises:
        NotFound: no such dataset.
    """
    a, b = manifest(ws, before), manifest(ws, after)
    old, new = ({e.log: e for e in held.episodes} for held in (a, b))
    return DatasetDiff(
        added=tuple(e for log, e in new.items() if log not in old),
        removed=tuple(e for log, e in old.items() if log not in new),
        moved=tuple(m for log, e in new.items() if log in old for m in _moved(old[log], e)),
        streams=tuple(_streams(a, b)),
        contract=(a.contract, b.contract) if a.contract != b.contract else None,
        alignment=(a.alignment, b.alignment) if a.alignment != b.alignment else None,
        refused=tuple(sorted(set(b.refused) - set(a.refused))),
    )


def _moved(old: EpisodeEntry, new: EpisodeEntry) -> Iterator[Moved]:
    pairs = [("split", old.split, new.split), ("alignment", old.id, new.id), ("origin", old.origin, new.origin)]
    pairs += [(key, str(old.facts.get(key, "")), str(new.facts.get(key, ""))) for key in {*old.facts, *new.facts}]
    for what, before, after in sorted(pairs):
        if before != after:
            yield Moved(log=new.log, name=new.name, what=what, before=before, after=after)


def _streams(a: DatasetManifest, b: DatasetManifest) -> Iterator[Moved]:
    for name in sorted({*a.streams, *b.streams}):
        before, after = (held.streams[name].words if name in held.streams else "absent" for held in (a, b))
        if before != after:
            yield Moved(log="", name=name, what="stream", before=before, after=after)

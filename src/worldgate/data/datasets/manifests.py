"""Manifests: what a dataset is, as immutable JSON that is named by its digest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from worldgate.core.config import decode
from worldgate.core.digest import short
from worldgate.core.errors import NotFound, Tampered
from worldgate.core.streams import Kind, Origin
from worldgate.data.ingest import Facts
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace

SCHEMA = "worldgate.dataset/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSchema:
    """A stream as every episode of a dataset holds it."""

    kind: Kind
    unit: str = ""
    shape: tuple[int, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """``vector 7 rad joint1,joint2``."""
        return f"{self.kind} {'x'.join(map(str, self.shape))} {self.unit} {','.join(self.names)}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeEntry:
    """One episode of a dataset."""

    id: str
    log: str
    name: str
    split: str
    site: str
    origin: Origin
    rows: int
    report: str
    """Digest of its alignment report."""
    facts: Facts = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetManifest:
    """What a dataset is."""

    schema: str
    name: str
    contract: str
    alignment: str
    rate_hz: float
    origins: tuple[Origin, ...]
    streams: Mapping[str, StreamSchema]
    episodes: tuple[EpisodeEntry, ...]
    refused: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Log -> why the contract left it out."""
    parents: tuple[str, ...] = ()
    """Digests of the datasets that it extends, merges or is a part of."""

    def split(self, name: str | None) -> tuple[EpisodeEntry, ...]:
        """Episodes of one split, or all.

        Raises:
            NotFound: no episode of this split.
        """
        found = tuple(e for e in self.episodes if name in (None, e.split))
        if not found:
            have = ", ".join(sorted({e.split for e in self.episodes}))
            raise NotFound("no episode in this split", got=name, where=self.name, hint=f"one of {have}")
        return found


def manifest(ws: Workspace, digest: str) -> DatasetManifest:
    """The manifest of a dataset.

    Raises:
        NotFound: not in the store.
        Tampered: other bytes, or not a manifest.
    """
    tree: Any = ws.get_json(digest)
    if not isinstance(tree, dict) or tree.get("schema") != SCHEMA:
        raise Tampered("not the manifest of a dataset", got=short(digest))
    return decode(DatasetManifest, tree, where=f"dataset {short(digest)}")


def normaliser(ws: Workspace, dataset: str) -> Ref:
    """The statistics of a dataset's train split, recorded when it was made.

    Raises:
        NotFound: none were.
    """
    for event in ws.ledger.events("dataset.measured"):
        if event.inputs[0].digest == dataset:
            return event.outputs[0]
    raise NotFound("no statistics of this dataset", got=short(dataset), hint="worldgate snapshot records them")

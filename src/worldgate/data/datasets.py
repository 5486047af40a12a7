"""Datasets: an immutable manifest of episodes, splits and evidence, named by its digest.

A manifest names logs and an alignment, never arrays: loading opens the logs from the store, verified, and aligns them
again, so what a model is trained on is what was recorded. Aligned numbers are cached under the episode's id; the cache
may be deleted at any time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from worldgate.core.config import decode
from worldgate.core.digest import short
from worldgate.core.episodes import Episode
from worldgate.core.errors import ContractBroken, NotFound, Tampered
from worldgate.core.names import Name
from worldgate.core.normalisers import Normaliser, fit
from worldgate.core.streams import NUMERIC, Kind, Origin
from worldgate.data import contracts, episode_cache
from worldgate.data.alignment import align
from worldgate.data.alignment_report import report
from worldgate.data.check import CheckedLog, check, reasons
from worldgate.data.contracts import Contract
from worldgate.data.ingest import Facts, Progress, Shelf
from worldgate.data.splits import assign, refuse_leaks
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace

SCHEMA = "worldgate.dataset/1"
EVENT = "dataset.snapshot"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSchema:
    """A stream as every episode of a dataset holds it."""

    kind: Kind
    unit: str = ""
    shape: tuple[int, ...] = ()
    names: tuple[str, ...] = ()


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


def snapshot(
    ws: Workspace,
    contract_ref: Ref,
    log_refs: Sequence[Ref] | None = None,
    *,
    name: str,
    progress: Progress | None = None,
) -> Ref:
    """Freeze the logs that a contract accepts into a dataset.

    Args:
        ws: the workspace.
        contract_ref: a recorded contract.
        log_refs: which logs; None: all.
        name: what people call the dataset.
        progress: called after every episode.

    Returns:
        The dataset; the same logs under the same contract and name give the same one.

    Raises:
        ContractBroken: no log is accepted.
        SplitLeak: the same evidence on both sides of a split.
    """
    contract, label = contracts.load(ws, contract_ref.digest), str(Name(name))
    checked = check(ws, log_refs, contract_ref)
    accepted = sorted({c.log for c in checked if c.accepted})
    if not accepted:
        why = "; ".join(reasons(checked)) or "no log was given"
        raise ContractBroken(f"contract {contract.name} accepts none of {len(checked)} logs", got=why)
    shelf = Shelf(ws)
    records = [shelf.record(log) for log in accepted]
    split_of = assign(records, contract.splits)
    refuse_leaks(records, split_of)
    episodes = []
    for done, log in enumerate(accepted):
        episodes.append(_aligned(ws, shelf, contract, log))
        if progress is not None:
            progress(done + 1, len(accepted), episodes[-1].name)
    manifest = _manifest(ws, contract, contract_ref.digest, label, episodes, split_of, shelf, checked)
    ref = Ref("dataset", ws.put_json(manifest), label)
    if ref.digest not in {made.digest for made in ws.artifacts("dataset")}:
        counts = {s: sum(e.split == s for e in manifest.episodes) for s in contract.splits.fractions}
        body = {"episodes": counts, "refused": len(manifest.refused), "rows": sum(e.rows for e in manifest.episodes)}
        inputs = [contract_ref, *(shelf.record(log).ref for log in accepted)]
        ws.record(EVENT, body=body, inputs=inputs, outputs=[ref])
        _record_statistics(ws, ref, [e for e in episodes if split_of[e.log] == "train"])
    return ref


def _aligned(ws: Workspace, shelf: Shelf, contract: Contract, log: str) -> Episode:
    episode = align(shelf.open(log), contract.spec(), digest=log)
    episode_cache.save(ws.cache, episode)
    return episode


def _manifest(
    ws: Workspace,
    contract: Contract,
    digest: str,
    name: str,
    episodes: Sequence[Episode],
    split_of: Mapping[str, str],
    shelf: Shelf,
    checked: Sequence[CheckedLog],
) -> DatasetManifest:
    entries = tuple(
        EpisodeEntry(
            id=e.id,
            log=e.log,
            name=e.name,
            split=split_of[e.log],
            site=shelf.record(e.log).site,
            origin=e.origin,
            rows=len(e),
            report=ws.put_json(report(e)),
            facts=e.facts,
        )
        for e in episodes
    )
    return DatasetManifest(
        schema=SCHEMA,
        name=name,
        contract=digest,
        alignment=contract.spec().digest(),
        rate_hz=float(np.median([e.rate_hz for e in episodes])),
        origins=tuple(sorted({e.origin for e in episodes})),
        streams=_schema(episodes),
        episodes=entries,
        refused={c.log: tuple(reasons([c])) for c in checked if not c.accepted},
    )


def _schema(episodes: Sequence[Episode]) -> dict[str, StreamSchema]:
    """The streams that all episodes share.

    Raises:
        ContractBroken: two episodes hold a stream of another width, unit or channel order under the same name.
    """
    first: dict[str, tuple[StreamSchema, str]] = {}
    for episode in episodes:
        for name, rows in episode.streams.items():
            info = rows.info
            found = StreamSchema(kind=info.kind, unit=info.unit, shape=info.shape, names=info.names)
            expected, where = first.setdefault(name, (found, episode.name))
            if found != expected:
                raise ContractBroken(
                    f"{name} is not the same in all logs",
                    got=f"{_words(found)} in {episode.name}, {_words(expected)} in {where}",
                    where="streams",
                    hint="require width and unit in the contract, so that the odd log is refused by name",
                )
    return {name: schema for name, (schema, _) in first.items()}


def _words(schema: StreamSchema) -> str:
    return f"{schema.kind} {'x'.join(map(str, schema.shape))} {schema.unit} {','.join(schema.names)}".strip()


def _record_statistics(ws: Workspace, dataset: Ref, train: Sequence[Episode]) -> None:
    """Measure the numbers of the train split; a stream without a finite row has no statistics."""
    streams = {}
    for name, rows in train[0].streams.items() if train else ():
        arrays = [e.array(name).reshape(len(e), -1) for e in train] if rows.info.kind in NUMERIC else []
        if any(np.isfinite(a).all(axis=1).any() for a in arrays):
            streams[name] = fit(arrays, unit=rows.info.unit)
    ref = Ref("normaliser", ws.put_json(Normaliser(streams=streams)), f"{dataset.name}.normaliser")
    ws.record("dataset.measured", body={"split": "train"}, inputs=[dataset], outputs=[ref])


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


def load(ws: Workspace, digest: str, split: str | None = None, *, progress: Progress | None = None) -> list[Episode]:
    """The episodes of a dataset, or of one split, aligned from verified logs or from the cache.

    Args:
        ws: the workspace.
        digest: of the dataset.
        split: its name; None: all.
        progress: called after every episode.

    Raises:
        NotFound: no such dataset or split.
        Tampered: bytes of a log that are not what was recorded.
    """
    held = manifest(ws, digest)
    spec = contracts.load(ws, held.contract).spec()
    shelf = Shelf(ws)
    entries = held.split(split)
    out = []
    for done, entry in enumerate(entries):
        episode = episode_cache.load(ws.cache, shelf, entry.id, entry.log)
        if episode is None:
            episode = align(shelf.open(entry.log), spec, digest=entry.log)
            episode_cache.save(ws.cache, episode)
        if (episode.id, episode.origin) != (entry.id, entry.origin):
            raise Tampered("an episode that is not the recorded one", got=short(episode.id), where=short(entry.id))
        out.append(episode_cache.with_clip_cache(episode, ws.cache))
        if progress is not None:
            progress(done + 1, len(entries), entry.name)
    return out

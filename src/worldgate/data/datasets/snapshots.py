"""Snapshots: the logs that a contract accepts, aligned, split and frozen as a dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from worldgate.core.episodes import Episode
from worldgate.core.errors import ContractBroken
from worldgate.core.names import Name
from worldgate.core.normalisers import Normaliser, fit
from worldgate.core.streams import NUMERIC
from worldgate.data import contracts, episode_cache
from worldgate.data.alignment import align
from worldgate.data.alignment_report import report
from worldgate.data.check import CheckedLog, check, reasons
from worldgate.data.contracts import Contract
from worldgate.data.datasets.manifests import SCHEMA, DatasetManifest, EpisodeEntry, StreamSchema
from worldgate.data.ingest import Progress, Shelf
from worldgate.data.splits import assign, refuse_leaks
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace

EVENT = "dataset.snapshot"


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

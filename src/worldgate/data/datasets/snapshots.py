"""Snapshots: the logs that a contract accepts, aligned, split and frozen as a dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from worldgate.core.encoders import Encoder
from worldgate.core.episodes import Episode
from worldgate.core.errors import ContractBroken
from worldgate.core.names import Name
from worldgate.core.normalisers import Normaliser, fit
from worldgate.core.streams import NUMERIC
from worldgate.data import align_stage, contracts, episode_cache
from worldgate.data.alignment import align
from worldgate.data.alignment_report import report
from worldgate.data.check import check, reasons
from worldgate.data.contracts import Contract
from worldgate.data.datasets.manifests import SCHEMA, DatasetManifest, EpisodeEntry, StreamSchema, manifest
from worldgate.data.duplicates import holding
from worldgate.data.ingest import IngestedLog, Progress, Shelf
from worldgate.data.opening import modules_of
from worldgate.data.splits import assign, refuse_leaks
from worldgate.engines import Call, Engine, Stage, run, session
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace

EVENT = "dataset.snapshot"
MEASURED = "dataset.measured"


def snapshot(
    ws: Workspace,
    contract_ref: Ref,
    log_refs: Sequence[Ref] | None = None,
    *,
    name: str,
    extends: Ref | None = None,
    encoder: Encoder | None = None,
    progress: Progress | None = None,
    engine: Engine | None = None,
) -> Ref:
    """Freeze the logs that a contract accepts into a dataset.

    Args:
        ws: the workspace.
        contract_ref: a recorded contract.
        log_refs: which logs; None: all.
        name: what people call the dataset.
        extends: an earlier dataset, whose logs all keep the split they had there.
        encoder: the one by which the contract's ``duplicates.alike`` asks for likeness; not needed for ``pixels``.
        progress: called after every episode.
        engine: where checks and alignment run; None: as the workspace says.

    Returns:
        The dataset; the same logs under the same contract and name give the same one.

    Raises:
        ContractBroken: no log is accepted.
        SplitLeak: the same evidence on both sides of a split, or copies or what is alike where the contract refuses it.
        ConfigError: the contract asks for likeness by another encoder than the one given.
    """
    contract, label = contracts.load(ws, contract_ref.digest), str(Name(name))
    checked = check(ws, log_refs, contract_ref, engine=engine)
    accepted = sorted({c.log for c in checked if c.accepted})
    if not accepted:
        why = "; ".join(reasons(checked)) or "no log was given"
        raise ContractBroken(f"contract {contract.name} accepts none of {len(checked)} logs", got=why)
    shelf = Shelf(ws)
    before = {e.log: e.split for e in manifest(ws, extends.digest).episodes} if extends is not None else {}
    copies = holding.hold(ws, shelf, accepted, contract.duplicates, held=before, encoder=encoder, engine=engine)
    accepted = [log for log in accepted if log not in copies.left]
    records = [shelf.record(log) for log in accepted]
    split_of = assign(records, contract.splits, before=before, together=copies.together)
    refuse_leaks(records, split_of)
    copies.refuse(split_of, shelf.records)
    episodes = _aligned(ws, shelf, contract, accepted, engine, progress)
    frozen = DatasetManifest(
        schema=SCHEMA,
        name=label,
        contract=contract_ref.digest,
        alignment=contract.spec().digest(),
        rate_hz=float(np.median([e.rate_hz for e in episodes])),
        origins=tuple(sorted({e.origin for e in episodes})),
        streams=_schema(episodes),
        episodes=tuple(_entry(ws, e, split_of[e.log], shelf.record(e.log)) for e in episodes),
        refused={**{c.log: tuple(reasons([c])) for c in checked if not c.accepted}, **copies.left},
        parents=(extends.digest,) if extends is not None else (),
    )
    return freeze(ws, frozen, [e for e in episodes if split_of[e.log] == "train"])


def freeze(ws: Workspace, held: DatasetManifest, train: Sequence[Episode]) -> Ref:
    """Keep a manifest and record it, with the statistics of its train split; the same one is recorded once."""
    ref = Ref("dataset", ws.put_json(held), held.name)
    if ref.digest not in {made.digest for made in ws.artifacts("dataset")}:
        counts = Counter(e.split for e in held.episodes)
        body = {"episodes": counts, "refused": len(held.refused), "rows": sum(e.rows for e in held.episodes)}
        made_of = [
            Ref("contract", held.contract),
            *(Ref("dataset", parent) for parent in held.parents),
            *(Ref("log", e.log, e.name) for e in held.episodes),
        ]
        ws.record(EVENT, body=body, inputs=made_of, outputs=[ref])
    if train and not any(event.inputs[0].digest == ref.digest for event in ws.ledger.events(MEASURED)):
        _measure(ws, ref, train)
    return ref


def _aligned(
    ws: Workspace,
    shelf: Shelf,
    contract: Contract,
    logs: Sequence[str],
    engine: Engine | None,
    progress: Progress | None,
) -> list[Episode]:
    spec = contract.spec()
    calls = [
        Call(
            stage=Stage(function=align_stage.STAGE, uses=modules_of(shelf.record(log).format)),
            name=shelf.record(log).name,
            inputs=(shelf.record(log).source, log),
            config={"log": shelf.where(log), "spec": spec},
        )
        for log in logs
    ]
    episodes = []
    with session(ws, engine) as chosen:
        for log, result in zip(logs, run(calls, place=shelf.place, engine=chosen), strict=True):
            held = episode_cache.load(ws.cache, shelf, result.value, log)
            # What the cache cannot hold, as events and text, is aligned here.
            episodes.append(align(shelf.open(log), spec, digest=log) if held is None else held)
            if progress is not None:
                progress(len(episodes), len(logs), episodes[-1].name)
    return episodes


def _entry(ws: Workspace, episode: Episode, split: str, record: IngestedLog) -> EpisodeEntry:
    return EpisodeEntry(
        id=episode.id,
        log=episode.log,
        name=episode.name,
        split=split,
        site=record.site,
        origin=episode.origin,
        rows=len(episode),
        report=ws.put_json(report(episode)),
        facts=episode.facts,
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
                    got=f"{found.words} in {episode.name}, {expected.words} in {where}",
                    where="streams",
                    hint="require width and unit in the contract, so that the odd log is refused by name",
                )
    return {name: schema for name, (schema, _) in first.items()}


def _measure(ws: Workspace, dataset: Ref, train: Sequence[Episode]) -> None:
    """Measure the numbers of the train split; a stream without a finite row has no statistics."""
    streams = {}
    for name, rows in train[0].streams.items() if train else ():
        arrays = [e.array(name).reshape(len(e), -1) for e in train] if rows.info.kind in NUMERIC else []
        if any(np.isfinite(a).all(axis=1).any() for a in arrays):
            streams[name] = fit(arrays, unit=rows.info.unit)
    ref = Ref("normaliser", ws.put_json(Normaliser(streams=streams)), f"{dataset.name}.normaliser")
    ws.record(MEASURED, body={"split": "train"}, inputs=[dataset], outputs=[ref])

"""Exporting: datasets and logs of a workspace as files for others, with their marks, and an event that says so.

What a contract hides does not leave: a camera that a recorded contract masks is exported from masked logs only, and a
stream that one forbids not at all. Of a dataset each row's message goes out as it was recorded, once, at its time on
the dataset's clock; rows that were computed (linear, slerp, windows) go out as they are, at the time of the row. So an
export aligned again under the dataset's contract gives the same rows, up to the last message of the stream that ends
first.

Shape legend: T aligned rows, N messages of a stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from worldgate.core.digest import digest_file, digest_json, short
from worldgate.core.episodes import Episode, Rows
from worldgate.core.errors import AlreadyExists, DataRefused
from worldgate.core.progress import Progress
from worldgate.core.streams import IMAGE_LIKE, NUMERIC, IntArray, Kind, Log, Origin, Stream
from worldgate.data import contracts
from worldgate.data.alignment import AlignmentSpec, align
from worldgate.data.datasets import card
from worldgate.data.datasets.loading import load_entries
from worldgate.data.datasets.manifests import DatasetManifest, manifest
from worldgate.data.exports import Item, LeftOut, Part, Shipment, load_export
from worldgate.data.ingest import Facts, IngestedLog, Shelf
from worldgate.data.privacy import showing
from worldgate.data.resample import BY_INDEX
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace

DATASET_EXPORTED, LOG_EXPORTED = "dataset.exported", "log.exported"
_TEXTUAL = frozenset({Kind.EVENT, Kind.TEXT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written."""

    ref: Ref
    """The tree of files, by :func:`tree_digest`."""
    path: Path
    items: int
    files: int
    bytes: int
    left_out: LeftOut


def export_dataset(
    ws: Workspace,
    dataset: Ref,
    to: str,
    out: Path,
    *,
    options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Write a dataset's aligned episodes; splits, origins, facts and the card go with them.

    Args:
        ws: the workspace.
        dataset: which.
        to: an entry of the seam ``exports``.
        out: a new path.
        options: of the format.
        progress: called after every episode.

    Raises:
        NotFound: no such dataset or format.
        AlreadyExists: the path exists.
        DataRefused: a camera that the dataset's contract masks is not masked, or a stream that it forbids is there.
        UsageError: what the format cannot hold.
    """
    held = manifest(ws, dataset.digest)
    contract = contracts.load(ws, held.contract)
    shelf = Shelf(ws)
    refuse_private(ws, held)
    shipment = Shipment(
        name=held.name,
        items=_Episodes(ws, shelf, held, contract.spec(), progress),
        origins=frozenset(held.origins),
        rate_hz=held.rate_hz,
        readme=card.markdown(ws, dataset),
        source={
            "dataset": dataset.digest,
            "name": held.name,
            "contract": held.contract,
            "alignment": held.alignment,
            "origins": list(held.origins),
        },
        options=options or {},
    )
    return _ship(ws, DATASET_EXPORTED, dataset, shipment, to, out)


def export_log(
    ws: Workspace,
    log: Ref,
    to: str,
    out: Path,
    *,
    contract: Ref | None = None,
    options: Mapping[str, Any] | None = None,
) -> Exported:
    """Write one log: to MCAP as it is; to a format of rows, aligned. Facts that a contract forbids stay here.

    Args:
        ws: the workspace.
        log: which.
        to: an entry of the seam ``exports``.
        out: a new path.
        contract: whose alignment makes the rows; None: each stream's nearest message to the first camera's, or to the
            first stream's where there is no camera. Without a format of rows the log goes out as it is.
        options: of the format.

    Raises:
        NotFound: no such log, contract or format.
        AlreadyExists: the path exists.
        DataRefused: a camera that a recorded contract masks is not masked, or a stream would leave that one forbids.
        UsageError: what the format cannot hold.
    """
    shelf = Shelf(ws)
    record = shelf.record(log.digest)
    _refuse_shown(showing.hidden_cameras(ws, record), record)
    opened = shelf.open(log.digest)
    leaving = {info.name for info in opened.streams()}
    if contract is not None:
        leaving &= set(contracts.load(ws, contract.digest).streams)
    _refuse_forbidden(showing.forbidden_streams(ws, leaving), record)
    marks = {"log": log.digest}
    source: dict[str, Any] = {"log": log.digest, "name": record.name, "origins": [record.origin]}
    rate_hz = 0.0
    if to != "mcap" or contract is not None:
        spec = _default_spec(opened) if contract is None else contracts.load(ws, contract.digest).spec()
        episode = align(opened, spec, digest=log.digest)
        parts, rate_hz = _aligned(opened, episode, spec), episode.rate_hz
        source |= {"alignment": episode.alignment} | ({"contract": contract.digest} if contract else {})
        marks["episode"] = episode.id
    else:
        parts = {info.name: _native(opened.read(info.name)) for info in opened.streams()}
    facts = _allowed(ws, record)
    item = Item(name=record.name, origin=record.origin, parts=parts, facts=facts, marks=marks)
    shipment = Shipment(
        name=record.name,
        items=(item,),
        origins=frozenset({record.origin}),
        rate_hz=rate_hz,
        readme=_log_card(record, facts),
        source=source,
        options=options or {},
    )
    return _ship(ws, LOG_EXPORTED, log, shipment, to, out)


def tree_digest(root: Path) -> str:
    """Digest of a folder's files: of canonical JSON from relative path to the digest of the bytes."""
    files = (path for path in root.rglob("*") if path.is_file())
    return digest_json({path.relative_to(root).as_posix(): digest_file(path) for path in files})


def _ship(ws: Workspace, kind: str, what: Ref, shipment: Shipment, to: str, out: Path) -> Exported:
    if out.exists():
        raise AlreadyExists("this path exists", where=out, hint="choose another name; nothing is overwritten")
    left = load_export(to).write(shipment, out)
    files = [path for path in out.rglob("*") if path.is_file()]
    made = Exported(
        ref=Ref("export", tree_digest(out), shipment.name),
        path=out,
        items=len(shipment.items),
        files=len(files),
        bytes=sum(path.stat().st_size for path in files),
        left_out=left,
    )
    body = {
        "format": to,
        "items": made.items,
        "files": made.files,
        "bytes": made.bytes,
        "left_out": left,
        "origins": sorted(shipment.origins),
        "source": shipment.source,
    }
    ws.record(kind, body=body, inputs=[what], outputs=[made.ref])
    return made


# -------------------------------------------------------------------- privacy


def refuse_private(ws: Workspace, held: DatasetManifest) -> None:
    """Refuse a dataset that holds what its contract hides, before anything of it leaves.

    Raises:
        DataRefused: a camera that the contract masks is not masked, or a stream or fact that it forbids is there.
    """
    contract, shelf = contracts.load(ws, held.contract), Shelf(ws)
    for entry in held.episodes:
        record = shelf.record(entry.log)
        _refuse_shown(contract.privacy.unmet(showing.cameras_of(record), record.facts), record)
        _refuse_forbidden(contract.privacy.forbids(s.name for s in record.streams), record)
        _refuse_forbidden(contract.privacy.forbids_facts(entry.facts), record)


def _refuse_shown(cameras: Sequence[str], record: IngestedLog) -> None:
    if cameras:
        raise DataRefused(
            "what a contract masks is not exported unmasked",
            got=", ".join(cameras),
            where=f"{record.name} {short(record.digest)}",
            hint="ingest the recording under the contract, which masks it: worldgate ingest PATH --contract CONTRACT",
        )


def _allowed(ws: Workspace, record: IngestedLog) -> Facts:
    """The facts of a log that no recorded contract forbids."""
    hidden = {name for rule in showing.rules(ws) for name in rule.forbids_facts(record.facts)}
    return {name: value for name, value in record.facts.items() if name not in hidden}


def _refuse_forbidden(names: Sequence[str], record: IngestedLog) -> None:
    if names:
        raise DataRefused(
            "what a contract forbids is not exported",
            got=", ".join(names),
            where=f"{record.name} {short(record.digest)}",
            hint="worldgate data export LOG OUT --to FORMAT --contract CONTRACT, of a contract without these streams",
        )


# -------------------------------------------------------------------- items


class _Episodes:
    """The episodes of a dataset, split by split, loaded one at a time."""

    def __init__(
        self, ws: Workspace, shelf: Shelf, held: DatasetManifest, spec: AlignmentSpec, progress: Progress | None
    ) -> None:
        self._ws, self._shelf, self._held, self._spec, self._progress = ws, shelf, held, spec, progress

    def __len__(self) -> int:
        return len(self._held.episodes)

    def __iter__(self) -> Iterator[Item]:
        first = {entry.split: n for n, entry in reversed(list(enumerate(self._held.episodes)))}
        for done, entry in enumerate(sorted(self._held.episodes, key=lambda e: first[e.split]), start=1):
            (episode,) = load_entries(self._ws, self._held, [entry])
            yield Item(
                name=entry.name,
                origin=entry.origin,
                split=entry.split,
                parts=_aligned(self._shelf.open(entry.log), episode, self._spec),
                facts=entry.facts,
                marks={"log": entry.log, "episode": entry.id},
            )
            if self._progress is not None:
                self._progress(done, len(self), entry.name)


def _aligned(log: Log, episode: Episode, spec: AlignmentSpec) -> dict[str, Part]:
    """The streams of an episode as parts."""
    parts = {}
    for name, rows in episode.streams.items():
        policy = spec.streams.get(name, spec.default).policy
        raw = log.read(name)
        if rows.info.kind in _TEXTUAL:
            parts[name] = _during(raw, rows, episode.times_ns)
        elif policy in BY_INDEX:
            parts[name] = _picked(raw, rows)
        else:
            parts[name] = _computed(rows, episode.times_ns)
    return parts


def _picked(raw: Stream, rows: Rows) -> Part:
    """Messages as they were recorded, at their time on the episode's clock."""
    index, first, inverse = np.unique(rows.index, return_index=True, return_inverse=True)
    if len(index) and index[0] < 0:
        index, first, inverse = index[1:], first[1:], inverse - 1
    order = np.argsort(first, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    index, first = index[order].astype(np.int64), first[order]
    of_row = np.where(inverse >= 0, np.append(place, np.int64(-1))[inverse], np.int64(-1)).astype(np.int64)
    logged = raw.log_times_ns if raw.log_times_ns is not None else None
    stream = Stream(
        info=replace(rows.info, count=len(index)),
        times_ns=rows.source_ns[first],
        values=_taken(raw, index),
        log_times_ns=None if logged is None or rows.info.clock == "log" else logged[index],
    )
    return Part(stream=stream, rows=of_row, index=index)


def _taken(raw: Stream, index: IntArray) -> Any:
    if isinstance(raw.values, np.ndarray):
        return raw.values[index]
    if np.array_equal(index, np.arange(len(raw))):
        return raw.values
    sliced = getattr(raw.values, "slice", None)
    return Picked(raw.values, index) if sliced is None else sliced(index)


class Picked:
    """Some frames of others that cannot be sliced."""

    def __init__(self, frames: Any, index: IntArray) -> None:
        self._frames, self._index = frames, index

    def __len__(self) -> int:
        return len(self._index)

    def read(self, indices: IntArray) -> Any:
        """Decode these frames."""
        return self._frames.read(self._index[indices])

    def content_digest(self) -> str:
        """Of all the frames."""
        return str(self._frames.content_digest())


def _computed(rows: Rows, times_ns: IntArray) -> Part:
    """Rows that no message holds as they are: each is a message of its own, at the time of the row."""
    assert isinstance(rows.values, np.ndarray), rows.info.name
    there = np.flatnonzero(rows.index >= 0).astype(np.int64)
    place = np.full(len(rows), -1, dtype=np.int64)
    place[there] = np.arange(len(there))
    info = replace(rows.info, count=len(there), clock="log")
    stream = Stream(info=info, times_ns=times_ns[there], values=rows.values[there])
    return Part(stream=stream, rows=place, index=there)


def _during(raw: Stream, rows: Rows, times_ns: IntArray) -> Part:
    """Events and text of the time of the rows, all of them: a grid would drop those between its rows."""
    inside = (raw.times_ns >= times_ns[0]) & (raw.times_ns <= times_ns[-1])
    index = np.flatnonzero(inside).astype(np.int64)
    logged = None if raw.log_times_ns is None else raw.log_times_ns[index]
    info = replace(raw.info, count=len(index))
    stream = Stream(info=info, times_ns=raw.times_ns[index], values=raw.array[index], log_times_ns=logged)
    return Part(stream=stream, rows=np.empty(0, np.int64), index=index)


def _native(stream: Stream) -> Part:
    return Part(stream=stream, rows=np.empty(0, np.int64), index=np.arange(len(stream), dtype=np.int64))


def _default_spec(log: Log) -> AlignmentSpec:
    infos = [info for info in log.streams() if info.count]
    cameras = [info.name for info in infos if info.kind is Kind.IMAGE]
    measured = [info.name for info in infos if info.kind in IMAGE_LIKE | NUMERIC]
    if not measured:
        raise DataRefused("a log without cameras or numbers has no rows", where=log.name)
    return AlignmentSpec(reference=(cameras or measured)[0])


def _log_card(record: IngestedLog, facts: Facts) -> str:
    told = "".join(f"- {key}: {value}\n" for key, value in sorted(facts.items()))
    notice = {Origin.REAL: "recorded on a robot", Origin.SIMULATED: "simulated"}.get(
        record.origin, "imagined by a model"
    )
    return f"# {record.name}\n\n**Origin: {record.origin}, {notice}.**\n\nLog {record.digest}.\n\n{told}"

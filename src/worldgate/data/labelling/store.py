"""Label sets on the record: who said what of which log, signed; which set counts; what is stale and why.

Events: ``labels.recorded`` (inputs: log, schema, and the sets it was made from; output: the set) and
``labels.adjudicated`` (inputs: log, schema, the sets it decides between; output: the set). The newest set of an
annotator counts, for each schema name and method; older ones stay on the record.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

from worldgate.core.digest import short
from worldgate.core.episodes import Episode
from worldgate.core.errors import DataRefused, NotFound
from worldgate.data.ingest import IngestedLog, ingested
from worldgate.data.labelling import catalogue
from worldgate.data.labelling.schema import LabelSchema
from worldgate.data.labelling.sets import ROWS, LabelSet, Method, from_json, validated
from worldgate.record.events import Draft, Event, Ref
from worldgate.record.workspace import Workspace

RECORDED = "labels.recorded"
ADJUDICATED = "labels.adjudicated"
KIND = "labels"


class Stale(StrEnum):
    """Why a label set no longer counts; empty: it does."""

    NO = ""
    LOG = "its log is not in this workspace"
    ALIGNMENT = "it was made on rows of another alignment"
    SCHEMA = "it was made under a schema that is not compatible"
    INPUTS = "the sets it decided between were replaced"


@dataclass(frozen=True, kw_only=True)
class RecordedLabels:
    """A label set as the record holds it."""

    ws: Workspace
    ref: Ref
    event: str
    """Digest of the event."""
    seq: int
    actor: str
    """Key id of the signer."""
    log: Ref
    schema: Ref
    inputs: tuple[str, ...]
    """Digests of the sets that it was made from, or decides between."""
    annotator: str
    method: Method
    clock: str
    alignment: str
    considered: tuple[str, ...]
    recorded_at_ns: int

    @cached_property
    def set(self) -> LabelSet:
        """The statements themselves, read from the store once."""
        return from_json(self.ws.get_json(self.ref.digest), where=f"labels {short(self.ref.digest)}")

    @property
    def slot(self) -> tuple[str, str, str, Method]:
        """What a newer set must share to replace this one: log, schema name, annotator, method."""
        return self.log.digest, catalogue.name_of(self.schema), self.annotator, self.method


def record(
    ws: Workspace,
    item: LabelSet,
    *,
    inputs: Sequence[Ref] = (),
    actor: str | None = None,
    shelf: LabelShelf | None = None,
) -> Ref:
    """Hold a label set against its schema and log, and sign it. The same set, where it counts already, is only named.

    Args:
        ws: the workspace.
        item: what an annotator said.
        inputs: sets that it was made from; for an adjudication those it decides between.
        actor: name of the key that signs; None: the program's own.
        shelf: the labels that are here already, where the caller has read them.

    Raises:
        DataRefused: labels that do not fit the schema or the log.
        NotFound: no such log or schema.
        NotAuthorised: this key may not do this.
    """
    return record_many(ws, [item], inputs=inputs, actor=actor, shelf=shelf)[0]


def record_many(
    ws: Workspace,
    items: Sequence[LabelSet],
    *,
    inputs: Sequence[Ref] = (),
    actor: str | None = None,
    shelf: LabelShelf | None = None,
) -> list[Ref]:
    """Sign several label sets in one transaction: all or none; see :func:`record`."""
    held = shelf or LabelShelf(ws)
    drafts, refs = [], []
    for item in items:
        if item.method is Method.ADJUDICATED and len(inputs) < 2:
            raise DataRefused(
                "an adjudication names the sets it decides between", got=len(inputs), where=item.annotator
            )
        log, schema = held.log(item.log), held.schema(item.schema)
        clocks = [stream.clock for stream in log.streams]
        checked = validated(item, schema, span=log.span_ns, clocks=clocks, where=log.name)
        told = {other.digest for other in inputs}
        same = next((c for c in held.of(item.log) if set(c.inputs) == told and _says_the_same(c.set, checked)), None)
        if same is not None:
            refs.append(same.ref)
            continue
        ref = Ref(KIND, ws.put_json(checked), checked.annotator)
        refs.append(ref)
        drafts.append(_draft(checked, schema, log, ref, inputs))
    if drafts:
        ws.record_many(drafts, actor=actor)
    return refs


def _says_the_same(held: LabelSet, new: LabelSet) -> bool:
    """Whether a set only repeats what counts already. Where a person's words came from changes nothing in them."""
    source = held.source if new.method is Method.HUMAN else new.source
    return replace(new, source=source) == held


def _draft(item: LabelSet, schema: LabelSchema, log: IngestedLog, ref: Ref, inputs: Sequence[Ref]) -> Draft:
    body = {
        "annotator": item.annotator,
        "method": item.method,
        "clock": item.clock,
        "alignment": item.alignment,
        "considered": item.considered,
        "counts": item.counts(),
        "source": dict(item.source),
    }
    return Draft(
        kind=ADJUDICATED if item.method is Method.ADJUDICATED else RECORDED,
        body=body,
        inputs=[log.ref, Ref(catalogue.KIND, item.schema, schema.title), *inputs],
        outputs=[ref],
    )


class LabelShelf:
    """Every label set of a workspace, read once from the ledger.

    Args:
        ws: the workspace.
        logs: what was ingested, where the caller has read it.
    """

    def __init__(self, ws: Workspace, logs: Mapping[str, IngestedLog] | None = None) -> None:
        self.ws = ws
        self.logs = ingested(ws) if logs is None else logs
        self._schemas: dict[str, LabelSchema] = {}
        events = [*ws.ledger.events(RECORDED), *ws.ledger.events(ADJUDICATED)]
        self.every = [_recorded(ws, event) for event in sorted(events, key=lambda event: event.seq)]
        """In the order of the record, replaced ones too."""
        self._current: dict[str, list[RecordedLabels]] = {}
        for item in {item.slot: item for item in self.every}.values():
            self._current.setdefault(item.log.digest, []).append(item)

    def log(self, digest: str) -> IngestedLog:
        """What the record knows of a log.

        Raises:
            NotFound: no such log was ingested.
        """
        if digest not in self.logs:
            raise NotFound("no such log in this workspace", got=short(digest), hint="worldgate ingest PATH")
        return self.logs[digest]

    def schema(self, digest: str) -> LabelSchema:
        """A recorded schema.

        Raises:
            NotFound: none of this digest.
        """
        if digest not in self._schemas:
            self._schemas[digest] = catalogue.load(self.ws, digest)
        return self._schemas[digest]

    def of(self, log: str, *, schema: str | None = None) -> list[RecordedLabels]:
        """The sets that count for a log: the newest of each annotator, schema name and method.

        Args:
            log: content digest.
            schema: name of a schema, without its version; None: all.
        """
        held = self._current.get(log, [])
        return [item for item in held if schema in (None, catalogue.name_of(item.schema))]

    def stale(self, item: RecordedLabels, *, alignment: str | None = None, schema: Ref | None = None) -> Stale:
        """Whether a set still counts.

        Args:
            item: a recorded set.
            alignment: digest of the alignment that is wanted; None: any.
            schema: the schema that is wanted; None: any. Minor versions of it are compatible.
        """
        if item.log.digest not in self.logs:
            return Stale.LOG
        if item.clock == ROWS and alignment is not None and item.alignment != alignment:
            return Stale.ALIGNMENT
        if schema is not None and not catalogue.compatible(item.schema, schema):
            return Stale.SCHEMA
        if item.method is Method.ADJUDICATED and not set(item.inputs) <= {
            o.ref.digest for o in self.of(item.log.digest)
        }:
            return Stale.INPUTS
        return Stale.NO


def _recorded(ws: Workspace, event: Event) -> RecordedLabels:
    log, schema, *others = event.inputs
    body = event.body
    return RecordedLabels(
        ws=ws,
        ref=event.outputs[0],
        event=event.digest,
        seq=event.seq,
        actor=event.actor,
        log=log,
        schema=schema,
        inputs=tuple(ref.digest for ref in others),
        annotator=body["annotator"],
        method=Method(body["method"]),
        clock=body["clock"],
        alignment=body["alignment"],
        considered=tuple(body["considered"]),
        recorded_at_ns=event.recorded_at_ns,
    )


def labels_of(ws: Workspace, subject: str | Ref | Episode, *, schema: str | None = None) -> list[RecordedLabels]:
    """The label sets that count for a log or an episode; stale ones are left out.

    Args:
        ws: the workspace.
        subject: a log's digest, name or reference, or an episode; of an episode, sets that were made on rows of another
            alignment are left out too.
        schema: name of a schema, without its version; None: all.

    Raises:
        NotFound: no such log.
    """
    shelf = LabelShelf(ws)
    if isinstance(subject, Episode):
        log, alignment = subject.log, subject.alignment
    else:
        given = subject.digest if isinstance(subject, Ref) else subject
        log, alignment = ws.resolve(given, "log").digest, None
    return [item for item in shelf.of(log, schema=schema) if not shelf.stale(item, alignment=alignment)]


def all_labels(ws: Workspace) -> Iterator[RecordedLabels]:
    """Every label set that counts, log by log in the order they came; free text (captions, notes) is among them."""
    shelf = LabelShelf(ws)
    for log in shelf.logs:
        yield from (item for item in shelf.of(log) if not shelf.stale(item))


def adjudicate(ws: Workspace, item: LabelSet, decided: Sequence[Ref], *, reason: str, actor: str | None = None) -> Ref:
    """Record a decision between the sets of several annotators; it counts while those sets do.

    Args:
        ws: the workspace.
        item: the statements that hold; its method becomes ``adjudicated``.
        decided: the sets that it decides between, at least two, of the same log and schema name.
        reason: why, in words.
        actor: name of the key that signs.

    Raises:
        DataRefused: fewer than two sets, one of another log or schema, or one that does not count any more.
    """
    shelf = LabelShelf(ws)
    current = {other.ref.digest: other for other in shelf.of(item.log)}
    if len({ref.digest for ref in decided}) < 2:
        raise DataRefused("an adjudication decides between at least two label sets", got=len(decided))
    wanted = Ref(catalogue.KIND, item.schema, shelf.schema(item.schema).title)
    for ref in decided:
        other = current.get(ref.digest)
        if other is None or other.method is Method.ADJUDICATED or shelf.stale(other, schema=wanted):
            raise DataRefused(
                "not a label set that counts for this log and schema",
                got=short(ref.digest),
                where=shelf.log(item.log).name,
                hint="worldgate data label show LOG",
            )
    source = {**item.source, "reason": reason}
    final = replace(item, method=Method.ADJUDICATED, source=source)
    return record(ws, final, inputs=decided, actor=actor, shelf=shelf)

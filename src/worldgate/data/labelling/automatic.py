"""Run automatic labellers over logs and record what they say: marked automatic, with code and configuration digests.

The code digest covers the labeller's file and what its seam shares, so a changed labeller gives new sets, and the old
ones stay on the record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldgate.core.digest import digest_file, digest_json
from worldgate.core.progress import Progress, silent
from worldgate.core.seams import cards
from worldgate.core.streams import Log
from worldgate.data import labellers
from worldgate.data.ingest import Shelf
from worldgate.data.labelling import catalogue
from worldgate.data.labelling.sets import Label, LabelSet, Method
from worldgate.data.labelling.store import LabelShelf, record_many
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace

SCHEMA = "automatic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What one labeller says of one log."""

    labeller: str
    clock: str
    """Of the times; empty where it has nothing to read."""
    labels: tuple[Label, ...] = ()
    reads: tuple[str, ...] = ()
    """Streams it read; empty: it cannot say anything of this log."""


def run(name: str, log: Log, params: Mapping[str, Any] | None = None) -> Said:
    """Run one labeller on one log.

    Raises:
        NotFound: no such labeller.
        ConfigError: a parameter that it does not have.
    """
    labeller, config = labellers.prepare(name, params, where=f"labellers.{name}")
    reads = labeller.reads(log, config)
    clocks = {info.clock for info in log.streams() if info.name in reads}
    if len(clocks) != 1:  # nothing to read, or times of two clocks that nobody has brought together
        return Said(labeller=name, clock="")
    return Said(labeller=name, clock=clocks.pop(), labels=labeller.label(log, config), reads=reads)


def code_digest(name: str) -> str:
    """Digest of a labeller's file and of what the files of its seam share."""
    labeller, _ = labellers.prepare(name)
    own = Path(str(labeller.__file__))  # type: ignore[attr-defined]  # it is a module
    shared = sorted(Path(labellers.__file__).parent.glob("_*.py"))
    return digest_json({path.name: digest_file(path) for path in (own, *shared)})


def record_automatic(
    ws: Workspace,
    logs: Sequence[Ref] | None = None,
    names: Sequence[str] = (),
    *,
    params: Mapping[str, Mapping[str, Any]] | None = None,
    actor: str | None = None,
    progress: Progress = silent,
) -> list[tuple[Ref, Said]]:
    """Label logs by programs and record it; what a labeller cannot say anything of gets no set.

    Args:
        ws: the workspace.
        logs: which; None: all.
        names: labellers; empty: all there are.
        params: labeller -> values for its ``Config``.
        actor: name of the key that signs.
        progress: called after every log.

    Returns:
        For each log and labeller the log and what was said, recorded where ``Said.reads`` is not empty.
    """
    schema = catalogue.find(ws, SCHEMA, actor=actor)
    wanted = list(names) or sorted(cards("labellers"))
    given = params or {}
    codes = {name: code_digest(name) for name in wanted}
    shelf = Shelf(ws)
    digests = [ref.digest for ref in logs] if logs is not None else list(shelf.records)
    out, items = [], []
    for done, digest in enumerate(digests):
        log = shelf.open(digest)
        for name in wanted:
            said = run(name, log, given.get(name))
            out.append((shelf.record(digest).ref, said))
            if said.reads:
                config = digest_json(labellers.prepare(name, given.get(name))[1])
                items.append(_set(said, digest, schema.digest, {"code": codes[name], "config": config}))
        progress(done + 1, len(digests), log.name)
    record_many(ws, items, actor=actor, shelf=LabelShelf(ws, shelf.records))
    return out


def _set(said: Said, log: str, schema: str, source: Mapping[str, str]) -> LabelSet:
    return LabelSet(
        log=log,
        schema=schema,
        annotator=f"auto.{said.labeller}",
        method=Method.AUTOMATIC,
        clock=said.clock,
        considered=(said.labeller,),
        labels=said.labels,
        source={"labeller": said.labeller, **source},
    )

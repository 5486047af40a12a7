"""Ingest under privacy: masked logs go into the store, the raw is sealed or not kept, and nothing else ever lay there.

Masking needs each raw frame once and writes MCAP, whatever format came: native times, values and names stay, pictures
that a rule hides become JPEG. The masked copies stand in a private temporary folder until they are ingested.

A log that was masked before, by the same code and rules, is not masked again: its key is that of a stage, and what is
kept under it is the masked log's digest, no picture. It runs in this process and not on an engine, because a stage
reads its inputs from the store, where the raw must never lie.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from worldgate.core.digest import short
from worldgate.core.errors import NotFound
from worldgate.core.progress import Progress
from worldgate.core.streams import Log, Origin, log_digest
from worldgate.data import contracts
from worldgate.data.ingest import Shelf, by_parts, ingest
from worldgate.data.logs import log_parts, mcap, open_folder
from worldgate.data.opening import modules_of
from worldgate.data.privacy.masks import mask
from worldgate.data.privacy.rules import Privacy
from worldgate.data.privacy.sealing import seal, unseal
from worldgate.data.staging import is_url, staged
from worldgate.engines import Call, Engine, Results, Stage
from worldgate.record.events import Ref
from worldgate.record.stores import check_relative
from worldgate.record.workspace import Workspace

SEALED, UNSEALED = "log.sealed", "log.unsealed"
_QUALITY = 95
_STAGE = "worldgate.data.privacy.masks:mask"


def ingest_under(
    ws: Workspace,
    path: Path | str,
    contract: Ref | None,
    *,
    site: str = "",
    robot: str = "",
    arm: str = "",
    origin: Origin | None = None,
    facts: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    engine: Engine | None = None,
    shelf: Shelf | None = None,
) -> list[Ref]:
    """Ingest as :func:`worldgate.data.ingest.ingest`, masking first where a contract asks for it.

    Raises:
        MissingExtra: the contract seals the raw, and the extra ``privacy`` is not installed.
    """
    privacy = contracts.load(ws, contract.digest).privacy if contract is not None else Privacy()

    def take(source: Path | str) -> list[Ref]:
        place = {"site": site, "robot": robot, "arm": arm}
        return ingest(ws, source, **place, origin=origin, facts=facts, progress=progress, engine=engine, shelf=shelf)

    if contract is None or not privacy.mask:
        return take(path)
    given = {"site": site, "robot": robot, "arm": arm, "origin": origin, "facts": dict(facts or {})}
    with ExitStack() as stack:
        source = stack.enter_context(staged(str(path), under=ws.cache)) if is_url(path) else Path(path)
        if not source.exists():
            raise NotFound("no such file or folder", where=source)
        parts = log_parts(source)
        if len(parts) > 1:
            again = partial(
                ingest_under,
                ws,
                contract=contract,
                site=site,
                robot=robot,
                arm=arm,
                origin=origin,
                facts=facts,
                progress=progress,
                engine=engine,
                shelf=shelf,
            )
            return by_parts(parts, again, source)
        logs = open_folder(source).logs
        done = _Done(ws, privacy, given)
        known = {log.name: ref for log in logs if (ref := done.get(log)) is not None}
        new = [log for log in logs if log.name not in known]
        if new:
            taken = take(stack.enter_context(masked(new, privacy, under=ws.cache, tell=progress)))
            made = {ref.name: ref for ref in taken}
            known |= {log.name: made[_file(log)] for log in new if _file(log) in made}
            for log in new:
                if log.name in known:
                    done.keep(log, known[log.name])
            known |= {ref.digest: ref for ref in taken if ref not in known.values()}
        refs = list({ref.digest: ref for ref in known.values()}.values())
        seal_raw(ws, source, privacy, refs, contract)
    return refs


class _Done:
    """What became of each log that was masked: kept results of a stage without its pictures."""

    def __init__(self, ws: Workspace, privacy: Privacy, given: Mapping[str, Any]) -> None:
        self._ws, self._given, self._rules = ws, given, dict(privacy.mask)
        self._results = Results(ws.cache)
        self._shelf: Shelf | None = None
        detectors = {f"worldgate.data.detectors.{name}" for rule in privacy.mask.values() for name in rule.detectors}
        self._stage = Stage(function=_STAGE, uses=(*sorted(detectors), *modules_of("mcap"), __name__))

    def get(self, log: Log) -> Ref | None:
        """The masked log, where it was made before and is still here."""
        try:
            digest = str(self._results.get(self._key(log)))
        except KeyError:
            return None
        self._shelf = self._shelf or Shelf(self._ws)
        record = self._shelf.records.get(digest)
        return record.ref if record is not None and self._ws.store.has(record.source) else None

    def keep(self, log: Log, ref: Ref) -> None:
        """Remember a log's masked one."""
        self._results.keep(self._key(log), ref.digest, {})

    def _key(self, log: Log) -> str:
        held = {"facts": dict(log.facts), "origin": log.origin}
        config = {"rules": self._rules, "given": self._given, "log": held}
        return Call(stage=self._stage, name=log.name, inputs=(log_digest(log),), config=config).key()


def _file(log: Log) -> str:
    """Of the masked copy, within its folder."""
    return log.name if log.name.endswith(".mcap") else f"{log.name}.mcap"


@contextmanager
def masked(logs: Sequence[Log], privacy: Privacy, *, under: Path, tell: Progress | None = None) -> Iterator[Path]:
    """Masked copies of logs, one MCAP each, in a folder that is gone afterwards.

    Args:
        logs: what to mask.
        privacy: the rules.
        under: where the folder stands.
        tell: called with frames done and frames in all, and the log's name.

    Raises:
        LogUnreadable: a log cannot be read.
        NotFound: a detector that is not there.
    """
    under.mkdir(parents=True, exist_ok=True)
    options = mcap.ImageOptions(format="jpeg", quality=_QUALITY)
    with tempfile.TemporaryDirectory(dir=under) as folder:
        for log in logs:
            hidden = mask(log, privacy, tell=None if tell is None else partial(_tell, tell, log.name))
            check_relative(log.name)  # a container names its logs; none may leave the folder
            path = Path(folder) / _file(log)
            path.parent.mkdir(parents=True, exist_ok=True)
            streams = [hidden.read(info.name) for info in hidden.streams()]
            mcap.write_log(path, streams, origin=log.origin, facts=hidden.facts, image=options)
        yield Path(folder)


def _tell(progress: Progress, name: str, done: int, total: int) -> None:
    progress(done, total, f"masking {name}")


def seal_raw(ws: Workspace, source: Path, privacy: Privacy, logs: Sequence[Ref], contract: Ref) -> Ref | None:
    """Keep the raw encrypted for the contract's recipients; None where it names none, and the raw is not kept.

    The same logs are sealed once.

    Args:
        ws: the workspace.
        source: the raw.
        privacy: whose recipients may open it.
        logs: the masked logs that were made of it.
        contract: which asks for it.
    """
    if not privacy.sealed_for:
        return None
    wanted = {ref.digest for ref in logs}
    for event in ws.ledger.events(SEALED):
        if wanted <= {ref.digest for ref in event.inputs}:
            return event.outputs[0]
    ws.cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ws.cache) as folder:
        plain = seal(source, Path(folder), privacy.sealed_for)
        ref = Ref("sealed", ws.store.put_tree(Path(folder)), f"raw of {logs[0].name}")
    body = {"retention": privacy.raw_retention, "recipients": list(privacy.sealed_for), "plain": plain}
    ws.record(SEALED, body=body, inputs=[*logs, contract], outputs=[ref])
    return ref


def open_sealed(
    ws: Workspace, sealed: Ref, target: Path, *, identity: Path, reason: str, by: str | None = None
) -> list[Path]:
    """Decrypt a sealed raw into a folder outside the workspace; that it was opened stands on the record first.

    Args:
        ws: the workspace.
        sealed: what to open, or a log that it was the raw of.
        target: a folder for the plain files.
        identity: file with the private age key.
        reason: why, for the record.
        by: name of the person's key that signs; None: the workspace's own person.

    Raises:
        NotFound: nothing sealed by this id.
        NotAuthorised: the key does not open it.
    """
    held = [
        event
        for event in ws.ledger.events(SEALED)
        if sealed.digest in {ref.digest for ref in (*event.inputs, *event.outputs)}
    ]
    if not held:
        raise NotFound("nothing is sealed by this id", got=short(sealed.digest), hint="worldgate data retention")
    (raw,) = held[-1].outputs
    ws.record(UNSEALED, body={"reason": reason}, inputs=[raw], actor=by or ws.person)
    return unseal(ws.store.checkout(raw.digest, under=ws.cache), target, identity)

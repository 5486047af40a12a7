"""Ingest under privacy: masked logs go into the store, the raw is sealed or not kept, and nothing else ever lay there.

Masking needs each raw frame once and writes MCAP, whatever format came: native times, values and names stay, pictures
that a rule hides become JPEG. The masked copies stand in a private temporary folder until they are ingested.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from worldgate.core.digest import short
from worldgate.core.errors import NotFound
from worldgate.core.progress import Progress
from worldgate.core.streams import Origin
from worldgate.data import contracts
from worldgate.data.ingest import Shelf, ingest
from worldgate.data.logs import mcap, open_folder
from worldgate.data.privacy.masks import mask
from worldgate.data.privacy.rules import Privacy
from worldgate.data.privacy.sealing import seal, unseal
from worldgate.data.staging import is_url, staged
from worldgate.engines import Engine
from worldgate.record.events import Ref
from worldgate.record.stores import check_relative
from worldgate.record.workspace import Workspace

SEALED, UNSEALED = "log.sealed", "log.unsealed"
_QUALITY = 95


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
    with ExitStack() as stack:
        source = stack.enter_context(staged(str(path), under=ws.cache)) if is_url(path) else Path(path)
        if not source.exists():
            raise NotFound("no such file or folder", where=source)
        refs = take(stack.enter_context(masked(source, privacy, under=ws.cache, tell=progress)))
        seal_raw(ws, source, privacy, refs, contract)
    return refs


@contextmanager
def masked(source: Path, privacy: Privacy, *, under: Path, tell: Progress | None = None) -> Iterator[Path]:
    """Masked copies of every log at a path, one MCAP each, in a folder that is gone afterwards.

    Args:
        source: a log or a folder of logs.
        privacy: the rules.
        under: where the folder stands.
        tell: called with frames done and frames in all, and the log's name.

    Raises:
        LogUnreadable: the source cannot be read.
        NotFound: a detector that is not there.
    """
    under.mkdir(parents=True, exist_ok=True)
    options = mcap.ImageOptions(format="jpeg", quality=_QUALITY)
    with tempfile.TemporaryDirectory(dir=under) as folder:
        for log in open_folder(source).logs:
            hidden = mask(log, privacy, tell=None if tell is None else partial(_tell, tell, log.name))
            check_relative(log.name)  # a container names its logs; none may leave the folder
            path = Path(folder) / (log.name if log.name.endswith(".mcap") else f"{log.name}.mcap")
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

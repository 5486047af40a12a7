"""Erasure: bytes that must go are named by a person, signed, and deleted; the tombstone stays in the ledger for ever.

The ledger holds digests only, so nothing of it is rewritten: every record, link and signature still holds, and whoever
asks for erased bytes is told when, by whom and why they went. The tombstone is durable before the first byte goes, and
a process killed in between leaves work that :func:`finish` completes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from worldgate.core.errors import UsageError
from worldgate.record.events import Draft, Event, Ref
from worldgate.record.keys import ERASED
from worldgate.record.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """What is left of an erased object."""

    object: str
    reason: str
    at_ns: int
    event: str
    """Digest of the signed event."""


def tombstones(events: Iterable[Event]) -> dict[str, Tombstone]:
    """Every erased object by its digest, from the ``object.erased`` events."""
    found = {}
    for event in events:
        names, reason = event.body.get("erased"), str(event.body.get("reason", ""))
        for digest in names if isinstance(names, list) else ():  # signed nonsense erases nothing
            found[str(digest)] = Tombstone(
                object=str(digest), reason=reason, at_ns=event.recorded_at_ns, event=event.digest
            )
    return found


def of_workspace(ws: Workspace) -> Mapping[str, Tombstone]:
    """Every erased object of a workspace."""
    return tombstones(ws.ledger.events(ERASED))


def erase(ws: Workspace, objects: Sequence[str], *, about: Sequence[Ref], reason: str, by: str | None = None) -> Event:
    """Sign a tombstone, then delete the bytes.

    Args:
        ws: the workspace.
        objects: digests whose bytes go; those that are gone already are named all the same.
        about: what they belonged to: logs, their sources.
        reason: why, for the record.
        by: name of the person's key that signs; None: the workspace's own person.

    Raises:
        UsageError: no reason, or nothing to erase.
        NotAuthorised: ``by`` is no person's key, or revoked.
    """
    if not reason.strip() or not objects:
        raise UsageError("an erasure names what goes and why", got=f"{len(objects)} objects, reason {reason!r}")
    size = sum(ws.store.size(digest) for digest in objects if ws.store.has(digest))
    body = {"erased": sorted(objects), "bytes": size, "reason": reason.strip()}
    event = ws.ledger.append(Draft(kind=ERASED, body=body, inputs=about), ws.signer(by or ws.person))
    finish(ws)
    return event


def finish(ws: Workspace) -> list[str]:
    """Delete what a tombstone names and is still here; returns the digests."""
    left = [digest for digest in of_workspace(ws) if ws.store.has(digest)]
    for digest in left:
        ws.store.delete(digest)
    return left

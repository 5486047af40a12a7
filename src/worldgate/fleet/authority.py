"""What authorises a deployment in the product: the newest promotion decision and the approvals that evidence finds."""

from __future__ import annotations

from worldgate.core.names import Slot
from worldgate.evidence.approvals import authorise
from worldgate.fleet.deployments import Authorisation
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace


def by_gate(ws: Workspace, release: Ref, slot: Slot, at_ns: int) -> Authorisation:
    """Fulfils :class:`worldgate.fleet.deployments.Authorise`.

    Raises:
        NotAuthorised: no decision and approvals in force cover this release on this slot at this time.
    """
    found = authorise(ws, release.digest, str(slot), at_ns)
    approvals = tuple(Ref("approval", approval.event) for approval in found.approvals)
    return Authorisation(decision=Ref("decision", found.decision), approvals=approvals)

"""Recompute what gates said: the same evidence under the same policy must give the same bytes.

Handed to :func:`worldgate.record.verify.verify` as ``recompute=RECOMPUTE``. A decision is rebuilt from its payload's
digests alone, the ledger is read only up to the head that the decision names, and the signed envelope must hold the
same payload.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from worldgate.core.digest import canonical, sha256
from worldgate.core.errors import WorldgateError
from worldgate.evidence import approvals, persons, waivers
from worldgate.evidence import policy as policies
from worldgate.evidence.decide import DECIDED, Scope, evaluate, gather
from worldgate.record.events import Event, Ref
from worldgate.record.signing import read_statement, statement_type
from worldgate.record.workspace import Workspace


def recompute(ws: Workspace, decision: str) -> bytes:
    """The canonical bytes that the evidence of a recorded decision gives today.

    Raises:
        NotFound: evidence that is not in the store.
        Tampered: evidence that is not what its digest promises.
    """
    payload = ws.get_json(decision)
    policy = policies.read(ws.get_json(payload["policy"]["digest"]), where=payload["policy"]["digest"][:12])
    scope = payload["scope"]
    promotion = policy.kind == "promotion"
    inputs = gather(
        ws,
        policy,
        Ref(payload["subject"]["kind"], payload["subject"]["digest"]),
        [item["digest"] for item in payload["evidence"]],
        scope=Scope(slots=tuple(scope["slots"])) if promotion else Scope(sites=tuple(scope["sites"])),
        decided_at_ns=payload["decided_at_ns"],
        expires_ns=payload["expires_ns"],
        head=(payload["ledger_head"]["seq"], payload["ledger_head"]["hash"]),
    )
    return canonical(evaluate(policy, inputs))


def check_decision(ws: Workspace, event: Event) -> str | None:
    """What is wrong with a ``gate.decided`` event, or nothing."""
    (ref,) = event.outputs
    held = ws.store.get(ref.digest)
    payload = ws.get_json(ref.digest)
    if (event.body["verdict"], event.body["subject"]) != (payload["verdict"], payload["subject"]["digest"]):
        return "its event says another verdict or subject than the decision"
    key = ws.ledger.keyring().find(event.actor, ledger=event.ledger)
    if key is None:
        return "its decision is signed by a key that the ledger does not know"
    try:
        signed = read_statement(persons.envelope_of(ws, event), statement_type("decision"), key.sslib())
    except WorldgateError as error:
        return f"its signed decision: {error.what}"
    if sha256(signed) != ref.digest:
        return "its signed decision is another one"
    if event.ledger != ws.id:
        return None  # another ledger's trials and incidents are not all here; its own verifier recomputes it
    seen = payload["ledger_head"]
    if ws.ledger.hash_at(seen["seq"]) != seen["hash"] or seen["seq"] >= event.seq:
        return "names a ledger head that is not in the chain before it"
    again = recompute(ws, ref.digest)
    return None if again == held else f"its evidence gives another decision: {sha256(again)[:12]}"


RECOMPUTE: Mapping[str, Callable[[Workspace, Event], str | None]] = {
    DECIDED: check_decision,
    persons.APPROVED: approvals.check_approval,
    persons.WAIVED: waivers.check_waiver,
}

"""Which policies a site takes new weights under: said by a person of the site, asked whenever something wants to run.

Whoever asks a gate chooses its policy, and the approver who signs sees which. A site that has adopted a policy leaves
that choice to nobody: promotions count there only under the newest policy that was adopted for their stage. What the
releaser of a release adopted does not count for that release. A site that adopted none takes any policy, and
``worldgate gate authorised`` says so.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import get_args

from worldgate.core.digest import short
from worldgate.core.errors import NotAuthorised, UsageError
from worldgate.core.evidence import Stage
from worldgate.core.names import Name
from worldgate.evidence import policy as policies
from worldgate.evidence.persons import Known
from worldgate.record.events import Event, Ref, is_digest
from worldgate.record.keys import Role
from worldgate.record.workspace import Workspace

ADOPTED = "gate_policy.adopted"
STAGES = get_args(Stage)


def adopt(ws: Workspace, policy: Ref, sites: Sequence[str], *, key: str) -> Event:
    """Take new weights at these sites under this policy from now on, for its stage.

    Args:
        ws: the workspace.
        policy: a registered policy for promotions.
        sites: where it holds.
        key: name of a person's key.

    Raises:
        UsageError: no site, a policy for admissions, or one that does not decide for the site.
        NotAuthorised: a robot's or service's key, or one that was revoked.
        NameRefused: not the name of a site.
    """
    held = policies.read(ws.get_json(policy.digest), where=short(policy.digest))
    places = sorted({str(Name(site)) for site in sites})
    if held.kind != "promotion":
        raise UsageError("a site adopts a policy for promotions", got=f"{held.name}, for {held.kind}s")
    if not places:
        raise UsageError("a policy is adopted at a site", got="none", hint="--site NAME")
    outside = [site for site in places if held.sites and site not in held.sites]
    if outside:
        raise UsageError("this policy does not decide for that site", got=outside[0], hint=", ".join(held.sites))
    known = Known(ws)
    signer = known.keyring.good(ws.signer(key).public_key.keyid)
    if signer is None or signer.role is not Role.PERSON:
        raise NotAuthorised(
            "only a person adopts a policy", got=key, hint="worldgate record keys add NAME --owner PERSON"
        )
    body = {"policy": policy.digest, "stage": held.stage, "sites": places}
    return ws.record(ADOPTED, body=body, inputs=(policy,), actor=key)


def adopted(known: Known, site: str, *, but: Collection[str] = ()) -> dict[Stage, str]:
    """Stage -> digest of the policy that a site takes it under; empty: it adopted none.

    Args:
        known: the ledger.
        site: the site.
        but: persons whose word does not count here.
    """
    out: dict[Stage, str] = {}
    for event in known.events(ADOPTED):
        signer, told = known.signer(event), event.body
        person = signer is not None and signer.role is Role.PERSON and str(signer.owner) not in but
        form = isinstance(told.get("sites"), list) and is_digest(told.get("policy")) and told.get("stage") in STAGES
        if person and form and site in told["sites"]:
            out[told["stage"]] = told["policy"]
    return out


def refusal(known: Known, site: str, policy: str, stage: Stage, *, but: Collection[str]) -> str:
    """Why a promotion under a policy does not count at a site, or nothing."""
    held = adopted(known, site, but=but)
    if not held or held.get(stage) == policy:
        return ""
    other = held.get(stage)
    return f"{site} takes {stage} under {short(other)}" if other else f"{site} adopted no policy for {stage}"

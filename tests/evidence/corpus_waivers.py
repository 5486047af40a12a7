"""Waivers in the corpus: how each one lived until a gate was asked again, and what is forged of it.

A life is a workspace in which a waiver was given, or forged, and a decision made after it by the library. A waiver that
no longer held is not in that decision; :func:`claimed` then writes another one that rests on it all the same.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.evidence import promotions_to_sign as signing
from tests.evidence.corpus_record import Change, _forge, _objects
from tests.evidence.promotions_to_sign import HOUR_NS, LATER, LEFT, NOW, RIGHT, Hall, forge, waiving

from worldgate.core.config import decode
from worldgate.core.digest import canonical
from worldgate.evidence import persons, waivers
from worldgate.evidence import policy as policies
from worldgate.evidence.decide import DAY_NS, Decision
from worldgate.evidence.persons import WAIVED
from worldgate.evidence.policy import GatePolicy
from worldgate.record.events import Event, Ref
from worldgate.record.signing import statement_type
from worldgate.record.workspace import Workspace

CHECKS = [
    {"check": "success", "params": {"p0": "0.5", "looks": [8]}, "waivable": True},
    {"check": "violations", "params": {"limit": "0.9"}},
    {"check": "admitted"},
]
Life = Callable[[Hall, Decision], object]


def hall_of(ws: Workspace, **rules: Any) -> tuple[Hall, Decision]:
    """Three trials of eight: success is inconclusive, everything else passes, the gate holds."""
    hall = Hall.of(ws, **{"checks": CHECKS, **rules})
    hall.tries(3)
    return hall, hall.decides()


# ---- lives that are told as they were -------------------------------------------------------------------------------


def holds(hall: Hall, held: Decision) -> None:
    """Used on one arm up to just below its limits, approved, and withdrawn only after it was used."""
    given = hall.waives(held)
    signing.assign_by_hand(hall, LEFT, NOW + HOUR_NS)
    signing.run_for(hall, 9, 99)
    hall.approves(hall.decides(at=NOW + DAY_NS), "cy", now_ns=NOW + DAY_NS)
    persons.withdraw(hall.ws, Ref("waiver", given.digest), key="eve", reason="the guard left")
    hall.ws.revoke_key(hall.ws.signer("bob").public_key.keyid, reason="lost")


def its_time_is_over(hall: Hall, held: Decision) -> None:
    hall.waives(held)
    hall.decides(at=LATER)


def its_time_has_not_come(hall: Hall, held: Decision) -> None:
    hall.waives(held, now_ns=NOW + 2)
    hall.decides(at=NOW + 1)


def its_hours_are_used_up(hall: Hall, held: Decision) -> None:
    hall.waives(held, max_episodes=None)
    signing.run_for(hall, 6, 500)
    signing.run_for(hall, 4, 0, slot=RIGHT)
    hall.decides(at=NOW + DAY_NS)


def its_episodes_are_used_up(hall: Hall, held: Decision) -> None:
    hall.waives(held, max_hours=None)
    signing.run_for(hall, 20, 100)
    hall.decides(at=NOW + DAY_NS)


def what_ran_is_not_known(hall: Hall, held: Decision) -> None:
    hall.waives(held)
    signing.assign_by_hand(hall, RIGHT, NOW + HOUR_NS)
    hall.decides(at=NOW + 2 * HOUR_NS, slots=(LEFT,))


def another_release_runs_on_its_other_arm(hall: Hall, held: Decision) -> None:
    """What ended the release's time on an arm that this decision is not about."""
    hall.waives(held)
    signing.run_for(hall, 1, 1, slot=RIGHT, window_h=2)
    signing.assign_by_hand(hall, RIGHT, NOW + HOUR_NS)
    other = Ref("release", "9" * 64, "near-miss-fix")
    told = {"slot": RIGHT, "release": other.digest}
    hall.ws.record("deployment.desired", body=told, inputs=(other,), valid_from_ns=NOW + 2 * HOUR_NS)
    hall.decides(at=NOW + DAY_NS, slots=(LEFT,))


def withdrawn(hall: Hall, held: Decision) -> None:
    given = hall.waives(held)
    persons.withdraw(hall.ws, Ref("waiver", given.digest), key="cy", reason="the near-miss of Monday")
    hall.decides(at=NOW + 1)


def countersigned_and_withdrawn(hall: Hall, held: Decision) -> None:
    """What was withdrawn stays so, whoever signs it afterwards."""
    given = hall.waives(held)
    persons.withdraw(hall.ws, Ref("waiver", given.digest), key="bob", reason="the guard left")
    waivers.countersign(hall.ws, Ref("waiver", given.digest), key="cy")
    hall.decides(at=NOW + 1)


def its_key_was_revoked(hall: Hall, held: Decision) -> None:
    hall.waives(held)
    hall.ws.revoke_key(hall.ws.signer("bob").public_key.keyid, reason="lost")
    hall.decides(at=NOW + 1)


def for_another_arm(hall: Hall, held: Decision) -> None:
    hall.waives(held, slots=(LEFT,))
    hall.decides(at=NOW + 1)


def for_a_smaller_stage(hall: Hall, held: Decision) -> None:
    hall.waives(held, stage="canary")
    hall.decides(at=NOW + 1)


def for_another_policy(hall: Hall, held: Decision) -> None:
    hall.waives(held)
    hall.decides(at=NOW + 1, gate=signing.gate(hall.ws, name="another", checks=CHECKS))


def for_another_release(hall: Hall, held: Decision) -> None:
    hall.waives(held)
    twin = Ref("release", hall.ws.put_json({"schema": "worldgate/release/1", "weights": {"a": "b"}}), "r2")
    hall.ws.record("release.registered", body={"release": twin.digest}, outputs=(twin,), actor="ada")
    other = Hall(hall.ws, hall.gate, twin)
    other.tries(3)
    other.decides(at=NOW + 1)


def for_less_than_was_found(hall: Hall, held: Decision) -> None:
    """Given while too little was known; then trials failed."""
    hall.waives(held)
    hall.tries(8, success=False, at=NOW + 10)
    hall.decides(at=NOW + 100)


def by_two_persons(hall: Hall, held: Decision) -> None:
    given = hall.waives(held)
    waivers.countersign(hall.ws, Ref("waiver", given.digest), key="cy")
    hall.decides(at=NOW + 1)


def by_one_of_two_persons(hall: Hall, held: Decision) -> None:
    hall.waives(held)
    hall.decides(at=NOW + 1)


def by_the_evaluator_alone(hall: Hall, held: Decision) -> None:
    hall.waives(held, "eve")
    hall.decides(at=NOW + 1)


def _at_another_ledger(hall: Hall, held: Decision) -> Workspace:
    """Olga's ledger, which knows all that this one knows and whose waiver this one then takes in."""
    ws = hall.ws
    other = Workspace.init(ws.root.parent / f"{ws.root.name}-olga", person="olga")
    for here, there in ((other, ws), (ws, other)):
        root = there.ledger.keyring().root()
        assert root is not None
        here.trust_ledger(there.id, root=root)
    _send(ws, other)
    Hall(other, hall.gate, hall.release).waives(held, "olga")
    _send(other, ws)
    return other


def _send(source: Workspace, to: Workspace) -> None:
    to.ledger.import_events(event for event in source.ledger.events() if event.ledger == source.id)
    for event in source.ledger.events():
        for digest in event.objects:
            to.store.put_bytes(source.store.get(digest))


def by_somebody_at_another_ledger(hall: Hall, held: Decision) -> None:
    _at_another_ledger(hall, held).close()
    hall.decides(at=NOW + 1)


def its_key_was_revoked_at_another_ledger(hall: Hall, held: Decision) -> None:
    other = _at_another_ledger(hall, held)
    other.revoke_key(other.signer("olga").public_key.keyid, reason="lost")
    _send(other, hall.ws)
    other.close()
    hall.decides(at=NOW + 1)


TWO_PERSONS = {"approvals": 2}
LIVES: Mapping[str, tuple[Life, Mapping[str, Any]]] = {
    life.__name__.replace("_", "-"): (life, rules)
    for life, rules in (
        (holds, {}), (its_time_is_over, {}), (its_time_has_not_come, {}), (its_hours_are_used_up, {}),
        (its_episodes_are_used_up, {}), (what_ran_is_not_known, {}), (another_release_runs_on_its_other_arm, {}),
        (withdrawn, {}), (countersigned_and_withdrawn, {}), (its_key_was_revoked, {}), (for_another_arm, {}),
        (for_a_smaller_stage, {}), (for_another_policy, {}), (for_another_release, {}), (for_less_than_was_found, {}),
        (by_two_persons, TWO_PERSONS), (by_one_of_two_persons, TWO_PERSONS), (by_the_evaluator_alone, {}),
        (by_somebody_at_another_ledger, {}), (its_key_was_revoked_at_another_ledger, {}),
    )
}  # fmt: skip
IN_FORCE = frozenset(
    {"holds", "another-release-runs-on-its-other-arm", "by-two-persons"} | {"by-somebody-at-another-ledger"}
)
"""Lives whose last decision rests on the waiver."""


# ---- what is forged of a waiver -------------------------------------------------------------------------------------


def _last(ws: Workspace, kind: str) -> Event:
    return list(ws.ledger.events(kind))[-1]


def _rest_on(digest: str, check: str) -> Callable[[dict[str, Any]], None]:
    def rest(d: dict[str, Any]) -> None:
        checks = [{**c, "waived": digest if c["check"] == check else ""} for c in d["checks"]]
        d.update(checks=checks, waivers=[digest], missing=[], verdict="PROMOTE")

    return rest


def claimed(path: Path, rng: random.Random) -> None:
    """The last decision again, resting on the last waiver whether or not it holds."""
    with Workspace.open(path) as ws:
        digest, ends = (_last(ws, WAIVED).body[key] for key in ("waiver", "expires_ns"))
    rest = _rest_on(digest, "success")

    def claim(d: dict[str, Any]) -> None:
        rest(d)
        d["expires_ns"] = str(max(int(d["decided_at_ns"]) + 1, min(int(d["expires_ns"]), ends)))

    _forge(claim, "claimed")(path, rng)


def _without(d: dict[str, Any]) -> None:
    d.update(checks=[{**c, "waived": ""} for c in d["checks"]], waivers=[])


def _outlasting(d: dict[str, Any]) -> None:
    d["expires_ns"] = str(int(d["expires_ns"]) + 1)


def _unlisted(d: dict[str, Any]) -> None:
    d["waivers"] = []


def _for_a_check_that_passed(d: dict[str, Any]) -> None:
    d["checks"] = [{**c, "waived": d["waivers"][0]} for c in d["checks"]]


ABOUT_DECISIONS: Mapping[str, Callable[[dict[str, Any]], Any]] = {
    "a waiver that holds left out": lambda d: (_without(d), d.update(verdict="HOLD")),
    "a waiver used and not named": _without,
    "a waiver named and not listed": _unlisted,
    "a waiver outlasted": _outlasting,
    "a waiver for what passed": _for_a_check_that_passed,
    "its result told as a pass": lambda d: (_without(d), d["checks"][0].update(status="PASS")),
}
"""What is written into a decision that rests on a waiver which holds."""


def _stated(name: str, *, key: str = "bob", check: str = "success", **changes: Any) -> Change:
    """A waiver signed by hand with other terms, a decision by the library, and one that rests on the waiver."""

    def forged(path: Path, rng: random.Random) -> None:
        with Workspace.open(path) as ws:
            hall, held = reopened(ws)
            tree = waiving(hall, held, **{"check": check, "nonce": f"{rng.getrandbits(128):032x}", **changes})
            digest = str(forge(ws, "waiver", tree, key=key).body["waiver"])
            hall.decides(at=NOW + 1)
        _forge(_rest_on(digest, check), name)(path, rng)

    forged.__name__ = name
    return forged


def reopened(ws: Workspace) -> tuple[Hall, Decision]:
    """The hall in a copy of its workspace, and its last decision."""
    event = _last(ws, persons.DECIDED)
    ref = Ref("decision", str(event.body["decision"]))
    made = Decision(ref=ref, event=event.digest, envelope=event.body["envelope"], payload=ws.get_json(ref.digest))
    return Hall(ws, ws.artifacts("gate_policy")[-1], ws.artifacts("release")[-1]), made


TERMS = (
    _stated("waived without a control", control=""),
    _stated("waived without a reason", reason=""),
    _stated("waived without a limit", max_hours=None, max_episodes=None),
    _stated("waived with a limit of nothing", max_hours=0),
    _stated("waived for longer than the policy lets", expires_ns=NOW + 91 * DAY_NS),
    _stated("waived before it was held", not_before_ns=NOW - 1),
    _stated("waived for another site", slots=["kitchen/ur5/left"], sites=["kitchen"]),
    _stated("waived for its arms at another site", sites=["kitchen"]),
    _stated("waived for a larger stage", stage="fleet"),
    _stated("waived after another decision", decision="9" * 64),
    _stated("waived by hand for another release", release="9" * 64),
    _stated("waived under another policy", policy="9" * 64),
    _stated("waived on another chain", ledger_head={"ledger": "f" * 32, "seq": 3, "hash": "a" * 64}),
    _stated("waived what passed", check="admitted", status="PASS"),
    _stated("waived as worse than it was", status="FAIL"),
    _stated("waived with more to say", critical=True),
    _stated("waived by the releaser", key="ada"),
    _stated("waived by the root of trust, who decided", key="tester"),
    _stated("waived by a service", key="machine"),
)
NEVER = _stated("waived what is never waived", check="violations")


def _by_an_edited_library(name: str, *, check: str = "success", trials: int = 3, **changes: Any) -> Change:
    """A library that reads any policy and waives anything: a plan and trials, a waiver, and what it then decides."""

    def edited(path: Path, rng: random.Random) -> None:
        with Workspace.open(path) as ws, pytest.MonkeyPatch.context() as patch:
            hall, _ = reopened(ws)
            strict = policies.read(ws.get_json(hall.gate.digest), where="corpus")
            patch.setattr(policies, "read", lambda tree, *, where: decode(GatePolicy, tree, where=where))
            patch.setattr(waivers, "NEVER_WAIVED", frozenset())
            tree = {**strict.to_json(), "name": "lax", **changes}
            hall.gate = policies.register(ws, policies.read(tree, where="corpus"))
            hall.tries(trials, at=NOW + 10)
            held = hall.decides(at=NOW + 20)
            hall.waives(held, check=check, now_ns=NOW + 20)
            hall.decides(at=NOW + 21)

    edited.__name__ = name
    return edited


FULL: list[dict[str, Any]] = policies.read(
    {"name": "quick", "kind": "promotion", "checks": CHECKS}, where="corpus"
).to_json()["checks"]
"""With every parameter, as policies are kept."""


def _lax(**violations: Any) -> list[dict[str, Any]]:
    told = {"params": {"limit": "0.9", "alpha": "0.05"}, "waivable": True, **violations}
    return [FULL[0], {**FULL[1], **told}, FULL[2]]


EDITED_LIBRARY = (
    _by_an_edited_library(
        "waived violations", check="violations", trials=8, checks=_lax(params={"limit": "0.05", "alpha": "0.05"})
    ),
    _by_an_edited_library("waived under a policy that lets violations be waived", checks=_lax()),
    _by_an_edited_library("waived under a policy that asks for nobody", approvals=0),
    _by_an_edited_library("waived under a policy that names too few", approvals=2, approvers=["bob"]),
    _by_an_edited_library(
        "waived under a policy that asks for fewer than none", checks=[{**c, "min_n": -1} for c in FULL]
    ),
    _by_an_edited_library("waived under a policy that asks twice", checks=[*FULL, FULL[2]]),
)


def _a_decision(name: str, change: Callable[[dict[str, Any]], Any]) -> Change:
    """A waiver that answers a decision which has not the form of one."""

    def answered(path: Path, rng: random.Random) -> None:
        _forge(change, name)(path, rng)
        with Workspace.open(path) as ws:
            hall, held = reopened(ws)
            forge(ws, "waiver", waiving(hall, held, nonce=f"{rng.getrandbits(128):032x}"), key="bob")

    answered.__name__ = name
    return answered


DECISIONS = (
    _a_decision("waived a decision without hardware", lambda d: d["scope"].pop("hardware")),
    _a_decision("waived a decision without a population", lambda d: d.pop("population")),
    _a_decision("waived a decision whose approvers are a text", lambda d: d.update(approvers="bob")),
    _a_decision("waived a decision that needs a text of approvals", lambda d: d.update(approvals_needed="1")),
    _a_decision("waived a decision that needs nobody", lambda d: d.update(approvals_needed=0)),
    _a_decision("waived a decision that needs true persons", lambda d: d.update(approvals_needed=True)),
    _a_decision(
        "waived a decision of a time in another form", lambda d: d.update(decided_at_ns="0" + d["decided_at_ns"])
    ),
    _a_decision("waived a decision of another gate", lambda d: d.update(gate="admission")),
    _a_decision("waived a decision whose waivers are a number", lambda d: d.update(waivers=5)),
    _a_decision("waived a decision without sites", lambda d: d["scope"].update(sites="bench")),
    _a_decision("waived a decision of another stage", lambda d: d["scope"].update(stage="galaxy")),
)


def _signed_again(name: str, key: str, **changes: Any) -> Change:
    """A second signature on the last waiver, or on an edited copy of it, and a decision that rests on it."""

    def forged(path: Path, rng: random.Random) -> None:
        with Workspace.open(path) as ws:
            hall, _ = reopened(ws)
            tree = {**ws.get_json(_last(ws, WAIVED).body["waiver"]), **changes}
            forge(ws, "waiver", tree, key=key)
            hall.decides(at=NOW + 2)
        claimed(path, rng)

    forged.__name__ = name
    return forged


SIGNED_AGAIN = (
    _signed_again("waived twice by one person", "bob"),
    _signed_again("waived twice by one person with two keys", "bob-2"),
    _signed_again("waived by a second person with other terms", "cy", expires_ns=LATER + 1),
    _signed_again("waived again with more episodes under its nonce", "bob", max_episodes=1000),
    _signed_again("waived by a second person who released it", "ada"),
)


def waived_again_after_it_was_withdrawn(path: Path, rng: random.Random) -> None:
    """The same signed waiver filed once more."""
    with Workspace.open(path) as ws:
        hall, _ = reopened(ws)
        event = _last(ws, WAIVED)
        ws.record(WAIVED, body=event.body, inputs=event.inputs, outputs=event.outputs, actor="bob")
        hall.decides(at=NOW + 2)
    claimed(path, rng)


def _edited(name: str, key: str = "bob", **changes: Any) -> Change:
    """Other terms filed under the signature of the last waiver."""

    def edited(path: Path, rng: random.Random) -> None:
        with Workspace.open(path) as ws:
            hall, _ = reopened(ws)
            event = _last(ws, WAIVED)
            tree = {**ws.get_json(event.body["waiver"]), **changes}
            digest = ws.store.put_bytes(canonical(tree))
            said = {name: tree[name] for name in changes if name in event.body}
            ws.record(WAIVED, body={**event.body, **said, "waiver": digest}, outputs=[Ref("waiver", digest)], actor=key)
            hall.decides(at=LATER + 1)
        claimed(path, rng)

    edited.__name__ = name
    return edited


EDITED = (
    _edited("a waiver edited to last longer", expires_ns=LATER + DAY_NS),
    _edited("a waiver edited to another limit", max_hours=1000),
    _edited("a waiver edited and filed by another", "cy", expires_ns=LATER + DAY_NS),
)


def the_waiver_s_file_edited(path: Path, rng: random.Random) -> None:
    """More hours, in the store itself."""
    (file,) = (p for p in _objects(path) if b'"schema":"worldgate/waiver/1"' in p.read_bytes())
    file.chmod(0o644)
    file.write_bytes(file.read_bytes().replace(b'"max_hours":10', b'"max_hours":99'))


def an_approval_presented_as_a_waiver(path: Path, rng: random.Random) -> None:
    with Workspace.open(path) as ws:
        hall, held = reopened(ws)
        tree = waiving(hall, held)
        digest = forge(ws, "waiver", tree, key="bob", payload_type=statement_type("approval")).body["waiver"]
        hall.decides(at=NOW + 1)
    _forge(_rest_on(str(digest), "success"), "presented")(path, rng)

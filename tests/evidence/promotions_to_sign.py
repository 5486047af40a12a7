"""A small workspace in which decisions wait for persons: who released, who recorded, who may approve; and a forger."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.evidence import promotions

from worldgate.core.digest import canonical, sha256
from worldgate.evidence import approvals, plans, policy, trials, waivers
from worldgate.evidence.decide import DAY_NS, Decision, Scope, decide
from worldgate.evidence.persons import EVENTS, Seen
from worldgate.evidence.waivers import Waiver
from worldgate.record.events import Event, Ref
from worldgate.record.keys import Role
from worldgate.record.signing import sign_statement, statement_type
from worldgate.record.workspace import Workspace

LEFT, RIGHT = "bench/ur5/left", "bench/ur5/right"
NOW = 1_800_000_000_000_000_000
LATER = NOW + 30 * DAY_NS
HOUR_NS = 3_600_000_000_000


@dataclass
class Hall:
    """Tester is the root of trust, Ada releases, Eve records trials; Bob and Cy may approve, Bob with two keys."""

    ws: Workspace
    gate: Ref
    release: Ref

    @classmethod
    def of(cls, ws: Workspace, **rules: Any) -> Hall:
        for key, owner in (("ada", "ada"), ("bob", "bob"), ("bob-2", "bob"), ("cy", "cy"), ("eve", "eve")):
            ws.add_key(key, owner=owner)
        ws.add_key("machine", owner="cy", role=Role.SERVICE)
        ws.add_key("ur5", owner="cy", role=Role.ROBOT)
        release = Ref("release", ws.put_json({"schema": "worldgate/release/1", "weights": {}}), "r1")
        ws.record("release.registered", body={"release": release.digest}, outputs=(release,), actor="ada")
        return cls(ws, gate(ws, **rules), release)

    def tries(self, count: int, *, success: bool = True, at: int = NOW, gate: Ref | None = None) -> None:
        """Draw a plan of eight runs and run the first of them; eight successes are just enough."""
        number = sum(1 for _ in self.ws.ledger.events(plans.REGISTERED))
        held = promotions.suite(self.ws, 8, attempts=9, name=f"suite-{number}")
        made = promotions.plan(self.ws, gate or self.gate, self.release, held=held, now_ns=at, slots=(LEFT, RIGHT))
        ran = [promotions.trial(made, row, success) for row in range(1, count + 1)]
        trials.record_trials(self.ws, ran, actor="eve")

    def decides(self, *, at: int = NOW, slots: Sequence[str] = (LEFT, RIGHT), gate: Ref | None = None) -> Decision:
        return decide(self.ws, gate or self.gate, self.release, scope=Scope(slots=tuple(slots)), now_ns=at)

    def promoted(self, *, at: int = NOW, gate: Ref | None = None) -> Decision:
        self.tries(8, at=at, gate=gate)
        return self.decides(at=at, gate=gate)

    def approves(self, decision: Decision, key: str = "bob", **changes: Any) -> approvals.Approval:
        return approvals.approve(self.ws, decision.ref, **{"key": key, "now_ns": NOW, "expires_ns": LATER, **changes})

    def waives(self, decision: Decision, key: str = "bob", **changes: Any) -> Waiver:
        told: dict[str, Any] = {
            "check": "success",
            "key": key,
            "now_ns": NOW,
            "expires_ns": LATER,
            "reason": "the pen is new",
            "control": "a person stands by",
            "max_hours": 10,
            "max_episodes": 100,
        }
        return waivers.waive(self.ws, decision.ref, **{**told, **changes})

    def authorised(self, slot: str = LEFT, at: int = NOW, **how: Any) -> approvals.Authorisation:
        return approvals.authorise(self.ws, self.release.digest, slot, at, **how)


class Halls:
    """Halls as tests find them: each made once in a folder, then copied for every test, which may change its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made: dict[str, tuple[Hall, Decision | None]] = {}

    def copy(self, kind: str, to: Path) -> tuple[Hall, Decision | None]:
        """A hall with what was decided in it: ``promoted``, ``held`` after too few trials, or nothing (``bare``)."""
        if "MUTANT_UNDER_TEST" in os.environ:  # mutmut sends those tests that reach a place: each makes its own
            return make(kind, to)
        if kind not in self.made:
            self.made[kind] = make(kind, self.folder / kind)
            self.made[kind][0].ws.close()
        hall, decision = self.made[kind]
        shutil.copytree(self.folder / kind, to)
        return replace(hall, ws=Workspace.open(to)), decision


def make(kind: str, folder: Path) -> tuple[Hall, Decision | None]:
    """A hall of this kind, see :meth:`Halls.copy`."""
    hall = Hall.of(Workspace.init(folder, person="tester"))
    if kind == "promoted":
        return hall, hall.promoted()
    if kind == "held":
        hall.tries(3)
        return hall, hall.decides()
    return hall, None


def gate(ws: Workspace, **rules: Any) -> Ref:
    """A promotion policy of one check that persons may waive, and one that they may not."""
    checks = [{"check": "success", "params": {"p0": "0.5", "looks": [8]}, "waivable": True}, {"check": "admitted"}]
    tree = {"name": "quick", "kind": "promotion", "checks": checks, **rules}
    return policy.register(ws, policy.read(tree, where="test"))


def forge(
    ws: Workspace,
    kind: str,
    tree: Mapping[str, Any],
    *,
    key: str,
    data: bytes | None = None,
    payload_type: str | None = None,
    envelope_key: str | None = None,
    body: Mapping[str, Any] | None = None,
    change: Callable[[dict[str, Any]], dict[str, Any]] = dict,
    kept: Callable[[bytes], bytes] = bytes,
) -> Event:
    """Record a statement of any content, as somebody with a key and an editor could.

    Args:
        ws: the workspace.
        kind: ``approval`` or ``waiver``.
        tree: what is stated.
        key: who signs the event.
        data: the bytes that are signed; else the canonical ones of ``tree``.
        payload_type: the type that is signed; else the kind's own.
        envelope_key: who signs the statement; else the same key.
        body: what the event says instead of the statement's own fields.
        change: what is done to the envelope before it is kept.
        kept: what is done to its bytes.
    """
    signed = canonical(tree) if data is None else data
    envelope = sign_statement(signed, payload_type or statement_type(kind), ws.signer(envelope_key or key))
    ws.store.put_bytes(signed)
    found = ws.ledger.keyring().find(ws.signer(key).public_key.keyid)
    assert found is not None
    told = {
        kind: sha256(signed),
        "envelope": ws.store.put_bytes(kept(canonical(change(envelope)))),
        "person": found.owner,
        **{name: tree.get(name) for name in ("decision", "release", "slots", "stage", "nonce")},
        **{name: tree.get(name) for name in ("not_before_ns", "expires_ns")},
        **(body or {}),
    }
    return ws.record(EVENTS[kind], body=told, outputs=[Ref(kind, sha256(signed))], actor=key)


def stated(hall: Hall, decision: Decision, /, **changes: Any) -> dict[str, Any]:
    """What an approval by Bob would say."""
    head = Seen.now(hall.ws)
    return {
        "schema": approvals.SCHEMA,
        "decision": decision.ref.digest,
        "release": hall.release.digest,
        "sites": ["bench"],
        "slots": [LEFT, RIGHT],
        "stage": "site",
        "person": "bob",
        "ledger_head": {"ledger": head.ledger, "seq": head.seq, "hash": head.hash},
        "nonce": "0" * 32,
        "not_before_ns": NOW,
        "expires_ns": LATER,
        **changes,
    }


def waiving(hall: Hall, decision: Decision, /, **changes: Any) -> dict[str, Any]:
    """What a waiver of the quick policy's success would say."""
    told = stated(hall, decision)
    del told["person"]
    return {
        **told,
        "schema": waivers.SCHEMA,
        "policy": hall.gate.digest,
        "check": "success",
        "signal": "",
        "status": "INCONCLUSIVE",
        "reason": "the pen is new",
        "control": "a person stands by",
        "max_hours": 10,
        "max_episodes": 100,
        **changes,
    }


def run_for(
    hall: Hall, hours: float, episodes: int, *, start: int = NOW, slot: str = LEFT, window_h: float = 24
) -> Event:
    """Tell what the release ran on a slot."""
    from worldgate.evidence.exposure import record_exposure

    window = (start, start + round(window_h * HOUR_NS))
    return record_exposure(hall.ws, hall.release, slot, window, running_ns=round(hours * HOUR_NS), episodes=episodes)


def assign_by_hand(hall: Hall, slot: str, at: int, *, release: str = "") -> Event:
    """An assignment, as the fleet records it."""
    body = {"slot": slot, "release": release or hall.release.digest}
    return hall.ws.record("deployment.desired", body=body, valid_from_ns=at)

"""What is done to copies of workspaces, by somebody with the file or with a key; see :mod:`tests.evidence.corpus`."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from worldgate.core.digest import canonical, sha256
from worldgate.core.names import Name
from worldgate.evidence import policy as policies
from worldgate.evidence.approvals import approve
from worldgate.record import keys
from worldgate.record.erasure import erase
from worldgate.record.events import Draft, Ref
from worldgate.record.ledger import chain_hash
from worldgate.record.signing import EVENT_TYPE, sign_statement, signature_bytes, statement_type
from worldgate.record.workspace import Workspace

LATER = 86_400 * 1_000_000_000
Change: TypeAlias = Callable[[Path, random.Random], str | None]
"""Changes a folder; returns the head (``SEQ:HASH``) that both verifiers are then told, if any."""


def nothing(path: Path, rng: random.Random) -> None:
    """Left as it is."""


def told_the_head(path: Path, rng: random.Random) -> str:
    """Verified with a head that was kept."""
    seq, digest = _one(path, "SELECT seq, hash FROM events ORDER BY RANDOM() LIMIT 1")
    return f"{seq}:{digest}"


# ---- changes to a workspace's file ----------------------------------------------------------------------------------


def _sql(path: Path, query: str, *values: object) -> None:
    db = sqlite3.connect(path / "ledger.db", isolation_level=None)
    db.execute("DROP TRIGGER IF EXISTS events_stay")
    db.execute("DROP TRIGGER IF EXISTS events_remain")
    db.execute(query, values)
    db.close()


def _one(path: Path, query: str, *values: object) -> tuple[Any, ...]:
    db = sqlite3.connect(path / "ledger.db")
    row = db.execute(query, values).fetchone()
    db.close()
    assert isinstance(row, tuple)
    return row


def _any(path: Path, rng: random.Random, *kinds: str) -> tuple[Any, ...]:
    """A row of the ledger, of one of these kinds; keys are left alone, all else falls with them."""
    db = sqlite3.connect(path / "ledger.db")
    rows = db.execute("SELECT * FROM events ORDER BY seq").fetchall()
    db.close()
    return rng.choice([r for r in rows if (r[5] in kinds if kinds else r[0] > 2)])


def _flipped(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << rng.randrange(7))]) + data[at + 1 :]


def flip_payload(path: Path, rng: random.Random) -> None:
    row = _any(path, rng)
    _sql(path, "UPDATE events SET payload = ? WHERE seq = ?", _flipped(row[6], rng), row[0])


def flip_decision_event(path: Path, rng: random.Random) -> None:
    row = _any(path, rng, "gate.decided")
    _sql(path, "UPDATE events SET payload = ? WHERE seq = ?", _flipped(row[6], rng), row[0])


def flip_payload_and_digest(path: Path, rng: random.Random) -> None:
    row = _any(path, rng, "trial.run", "scenario.made", "evidence.made")
    payload = row[6].replace(b"true", b"fals").replace(b'"name":"', b'"name":"x', 1)
    _sql(path, "UPDATE events SET payload = ?, digest = ? WHERE seq = ?", payload, sha256(payload), row[0])


def flip_signature(path: Path, rng: random.Random) -> None:
    row = _any(path, rng)
    _sql(path, "UPDATE events SET signature = ? WHERE seq = ?", _flipped(row[7], rng), row[0])


def flip_hash(path: Path, rng: random.Random) -> None:
    row = _any(path, rng)
    digit = "0" if row[2][7] != "0" else "1"
    _sql(path, "UPDATE events SET hash = ? WHERE seq = ?", row[2][:7] + digit + row[2][8:], row[0])


def file_under_another_kind(path: Path, rng: random.Random) -> None:
    row = _any(path, rng, "trial.run", "gate.decided", "evidence.made")
    _sql(path, "UPDATE events SET kind = 'trial.ran' WHERE seq = ?", row[0])


def file_elsewhere(path: Path, rng: random.Random) -> None:
    row = _any(path, rng, "trial.run")
    _sql(path, "UPDATE events SET origin_seq = origin_seq + 5000 WHERE seq = ?", row[0])


def delete_one(path: Path, rng: random.Random) -> None:
    (last,) = _one(path, "SELECT MAX(seq) FROM events")
    _sql(path, "DELETE FROM events WHERE seq = ?", rng.randrange(3, last))


def swap_two(path: Path, rng: random.Random) -> None:
    a = _any(path, rng, "trial.run", "scenario.made")
    b = _one(path, "SELECT * FROM events WHERE seq = ?", a[0] + 1)
    _sql(path, "DELETE FROM events WHERE seq IN (?, ?)", a[0], b[0])
    for row, seq in ((a, b[0]), (b, a[0])):
        _sql(path, "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)", seq, *row[1:4], seq, *row[5:])


def cut_the_tail(path: Path, rng: random.Random) -> str:
    """With a head that somebody kept: the only way to see it."""
    seq, digest = _one(path, "SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1")
    _sql(path, "DELETE FROM events WHERE seq > ?", seq - rng.randrange(1, 4))
    return f"{seq}:{digest}"


def another_head(path: Path, rng: random.Random) -> str:
    return f"{rng.randrange(1, 9)}:{sha256(b'nobody')}"


def lose_an_object(path: Path, rng: random.Random) -> None:
    rng.choice(_objects(path)).unlink()


def flip_an_object(path: Path, rng: random.Random) -> None:
    file = rng.choice(_objects(path))
    file.chmod(0o644)
    file.write_bytes(_flipped(file.read_bytes(), rng))


def _objects(path: Path) -> list[Path]:
    return sorted(p for p in (path / "objects").rglob("*") if p.is_file())


def _flip_schema(schema: str) -> Change:
    def change(path: Path, rng: random.Random) -> None:
        files = [p for p in _objects(path) if f'"schema":"{schema}'.encode() in p.read_bytes()]
        file = rng.choice(files)
        file.chmod(0o644)
        file.write_bytes(_flipped(file.read_bytes(), rng))

    change.__name__ = f"flip {schema.split('/')[1]}"
    return change


def relabel_a_failure(path: Path, rng: random.Random) -> None:
    """A failed trial that says it succeeded."""
    files = [p for p in _objects(path) if b'"schema":"worldgate/trial/1"' in p.read_bytes()]
    file = rng.choice(files)
    file.chmod(0o644)
    file.write_bytes(file.read_bytes().replace(b'"success":true', b'"success":false'))


# ---- changes by somebody who holds keys -----------------------------------------------------------------------------


def _append(path: Path, kind: str, body: Any, *, key: str = "service", **more: Any) -> None:
    with Workspace.open(path) as ws:
        ws.record(kind, body=body, actor=key, **more)


def _append_raw(path: Path, draft: Draft, key: str) -> None:
    """A record whose chain hash fits, by whatever key lies in the folder."""
    with Workspace.open(path) as ws:
        signer, head = ws.signer(key), ws.ledger.head()
        payload = draft.payload(actor=signer.public_key.keyid, ledger=ws.id, now_ns=1)
        signature = signature_bytes(sign_statement(payload, EVENT_TYPE, signer))
        seq = head.seq + 1
        link = chain_hash(seq=seq, prev=head.hash, event=sha256(payload), origin_seq=seq)
        row = (seq, sha256(payload), link, ws.id, seq, draft.kind, payload, signature)
    _sql(path, "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)", *row)


def signed_by_a_stranger(path: Path, rng: random.Random) -> None:
    keys.generate(path / "keys", Name("stranger"))
    _append_raw(path, Draft(kind="trial.run", body={"success": True}), "stranger")


def signed_after_revocation(path: Path, rng: random.Random) -> None:
    with Workspace.open(path) as ws:
        keyid = ws.add_key("lost", owner="lara")
        ws.revoke_key(keyid, reason="lost")
    _append_raw(path, Draft(kind="note.made", body={}), "lost")


def key_added_by_the_program(path: Path, rng: random.Random) -> None:
    made = keys.generate(path / "keys", Name("intruder"))
    key = keys.public_key(made, name=Name("intruder"), owner=Name("intruder"), role=keys.Role.PERSON)
    _append_raw(path, Draft(kind=keys.ADDED, body=key.body()), "service")


def erased_by_the_program(path: Path, rng: random.Random) -> None:
    _append_raw(path, Draft(kind=keys.ERASED, body={"erased": ["a" * 64], "reason": "x"}), "service")


def signed_nonsense(path: Path, rng: random.Random) -> None:
    """An authorised key signs what is no decision at all."""
    body = rng.choice(
        [{}, {"decision": 5}, {"decision": "a" * 64, "envelope": [], "verdict": "PROMOTE", "subject": ""}]
    )
    _append_raw(path, Draft(kind="gate.decided", body=body, outputs=(Ref("decision", "a" * 64),)), "service")


def a_second_trial_later(path: Path, rng: random.Random) -> None:
    """A trial recorded twice, after the decision: it knew the first."""
    row = _any(path, rng, "trial.run")
    tree = json.loads(row[6])
    refs = [Ref(**ref) for ref in tree["outputs"]]
    _append(path, "trial.run", tree["body"], outputs=refs)


def _forge(change: Callable[[dict[str, Any]], Any], name: str, *, kind: str = "gate.decided") -> Change:
    """A decision changed before an authorised key signed it."""

    def forged(path: Path, rng: random.Random) -> None:
        with Workspace.open(path) as ws:
            event = list(ws.ledger.events(kind))[-1]
            payload = json.loads(ws.store.get(event.body["decision"]))
            out = change(payload)
            data = out if isinstance(out, bytes) else canonical(payload)
            digest = ws.store.put_bytes(data)
            envelope = ws.put_json(sign_statement(data, statement_type("decision"), ws.signer()))
            body = {**event.body, "decision": digest, "envelope": envelope, "verdict": payload["verdict"]}
            ws.record(kind, body=body, inputs=event.inputs, outputs=[Ref("decision", digest)])

    forged.__name__ = name
    return forged


def _worst(d: dict[str, Any]) -> dict[str, Any]:
    check: dict[str, Any] = d["checks"][-1]
    return check


def _unquoted(data: bytes, before: bytes, after: bytes) -> bytes:
    return data.replace(before, before[:-1], 1).replace(after, after[1:], 1)


FORGERIES: Mapping[str, Callable[[dict[str, Any]], Any]] = {
    "verdict flipped": lambda d: d.update(verdict="HOLD" if d["verdict"] != "HOLD" else "PROMOTE"),
    "a status flipped": lambda d: _worst(d).update(status="FAIL" if _worst(d)["status"] == "PASS" else "PASS"),
    "wrong bound": lambda d: d["checks"][1].update(bound="0.987654321"),
    "wrong number": lambda d: d["checks"][1].update(n=d["checks"][1]["n"] + 1),
    "a check forgotten": lambda d: d.update(checks=d["checks"][:-1]),
    "a check twice": lambda d: d.update(checks=[*d["checks"], d["checks"][0]]),
    "trials forgotten": lambda d: d["ledger_head"].update(seq=d["ledger_head"]["seq"] - 6),
    "another head named": lambda d: d["ledger_head"].update(hash="0" * 64),
    "holds for ever": lambda d: d.update(expires_ns=str(int(d["expires_ns"]) + 10**18)),
    "holds before": lambda d: d.update(not_before_ns="0"),
    "training forgotten": lambda d: d.update(evidence=[e for e in d["evidence"] if "training" not in e["schema"]]),
    "another subject": lambda d: d["subject"].update(digest="b" * 64),
    "another population": lambda d: d.update(population="simulated stands in for real"),
    "policy missing": lambda d: d["policy"].update(digest="c" * 64),
    "a time as a number": lambda d: (
        canonical(d).replace(b'"expires_ns":"', b'"expires_ns":', 1).replace(b'","gate"', b',"gate"')
    ),
    "a key twice": lambda d: canonical(d).replace(b'{"admissions"', b'{"verdict":"HOLD","admissions"', 1),
    "a number in another form": lambda d: canonical(d).replace(b'"n":1', b'"n":1.0', 1),
    "spaces": lambda d: json.dumps(d).encode(),
    "not JSON": lambda d: b"{" + canonical(d),
    "a list": lambda d: canonical([d]),
}
PROMOTIONS: Mapping[str, Callable[[dict[str, Any]], Any]] = {
    "incidents forgotten": lambda d: d.update(incidents=[]),
    "nobody asked": lambda d: d.update(approvals_needed=0),
    "another site": lambda d: d["scope"].update(sites=["elsewhere"]),
    "another slot": lambda d: d["scope"].update(slots=["elsewhere/ur5/left"], sites=["elsewhere"]),
    "admissions forgotten": lambda d: d.update(admissions=[*d["admissions"], "d" * 64]),
}


def laxer_policy(path: Path, rng: random.Random) -> None:
    """The decision names a policy that asks for less, and its checks as they were."""
    with Workspace.open(path) as ws:
        lax = policies.load("promotion").to_json()
        for check in lax["checks"]:
            if check["check"] == "success":
                check["params"] = {**check["params"], "p0": "0.10"}
        digest = policies.register(ws, policies.read(lax, where="lax")).digest
    _forge(lambda d: d["policy"].update(digest=digest), "lax")(path, rng)


def swapped_decision(path: Path, rng: random.Random) -> None:
    """An event that names another decision's document and its own verdict."""
    with Workspace.open(path) as ws:
        events = list(ws.ledger.events("gate.decided"))
        event = events[-1]
        other = {
            "schema": "worldgate/decision/1",
            **json.loads(ws.store.get(event.body["decision"])),
            "verdict": "ADMIT",
        }
        digest = ws.put_json(other)
        ws.record("gate.decided", body={**event.body, "decision": digest}, outputs=[Ref("decision", digest)])


def envelope_of_another_type(path: Path, rng: random.Random) -> None:
    with Workspace.open(path) as ws:
        event = list(ws.ledger.events("gate.decided"))[-1]
        data = ws.store.get(event.body["decision"])
        kind = rng.choice(["approval", "receipt", "bundle"])
        envelope = ws.put_json(sign_statement(data, statement_type(kind), ws.signer()))
        ws.record("gate.decided", body={**event.body, "envelope": envelope}, inputs=event.inputs, outputs=event.outputs)


def envelope_by_another_key(path: Path, rng: random.Random) -> None:
    with Workspace.open(path) as ws:
        event = list(ws.ledger.events("gate.decided"))[-1]
        data = ws.store.get(event.body["decision"])
        envelope = ws.put_json(sign_statement(data, statement_type("decision"), ws.signer("tester")))
        ws.record("gate.decided", body={**event.body, "envelope": envelope}, inputs=event.inputs, outputs=event.outputs)


def _approval(name: str, *, key: str = "bea", owner: str = "", kind: str = "approval", **changes: Any) -> Change:
    """A signed approval whose statement, or the words of whose event, somebody chose."""

    def forged(path: Path, rng: random.Random) -> None:
        with Workspace.open(path) as ws:
            if key == "laptop":
                ws.add_key("laptop", owner="tester")
            event, head = list(ws.ledger.events("gate.decided"))[-1], ws.ledger.head()
            d = ws.get_json(event.body["decision"])
            known = ws.ledger.keyring().find(ws.signer(key).public_key.keyid)
            assert known is not None
            told = {
                "schema": "worldgate/approval/1",
                "decision": event.body["decision"],
                "release": d["subject"]["digest"],
                "sites": d["scope"]["sites"],
                "slots": d["scope"]["slots"],
                "stage": d["scope"]["stage"],
                "person": known.owner,
                "ledger_head": {"ledger": ws.id, "seq": head.seq, "hash": head.hash},
                "nonce": f"{rng.getrandbits(128):032x}",
                "not_before_ns": d["not_before_ns"] + 1,
                "expires_ns": d["expires_ns"] - 1,
            }
            told |= {k: v(d) if callable(v) else v for k, v in changes.items()}
            data = canonical(told)
            digest = ws.store.put_bytes(data)
            envelope = ws.put_json(sign_statement(data, statement_type(kind), ws.signer(key)))
            said = ("decision", "release", "slots", "stage", "nonce", "not_before_ns", "expires_ns")
            body = {"approval": digest, "envelope": envelope, "person": owner or known.owner}
            ws.record("gate.approved", body=body | {k: told[k] for k in said if k in told}, actor=key)

    forged.__name__ = name
    return forged


APPROVALS = (
    _approval("approved by the program", key="service"),
    _approval("approved by oneself", key="tester"),
    _approval("approved with a second key", key="laptop"),
    _approval("approved in another's name", person="mallory"),
    _approval("filed under another's name", owner="mallory"),
    _approval("approved as a decision", kind="decision"),
    _approval("approved beyond its slots", slots=["elsewhere/ur5/left"], sites=["elsewhere"]),
    _approval("approved beyond its sites", sites=["bench", "elsewhere"]),
    _approval("approved beyond its time", expires_ns=lambda d: d["expires_ns"] + 1),
    _approval("approved before its time", not_before_ns=lambda d: d["not_before_ns"] - 1),
    _approval("approved for another stage", stage="galaxy"),
    _approval("approved on another chain", ledger_head={"ledger": "0" * 32, "seq": 3, "hash": "0" * 64}),
    _approval("approval of another release", release="e" * 64),
    _approval("approval of nothing", decision="f" * 64),
    _approval("approval of half", slots="bench/ur5/left"),
    _approval("approval with more to say", critical=True),
)


def approved_again(path: Path, rng: random.Random) -> None:
    """The same signed approval filed twice."""
    with Workspace.open(path) as ws:
        event = list(ws.ledger.events("gate.approved"))[-1]
        ws.record("gate.approved", body={**event.body}, actor="bea", outputs=event.outputs)


def approval_of_a_rejection(path: Path, rng: random.Random) -> None:
    with Workspace.open(path) as ws:
        ws.add_key("bea", owner="bea")
    _approval("x")(path, rng)


def a_good_approval(path: Path, rng: random.Random) -> None:
    with Workspace.open(path) as ws:
        ws.add_key("cleo", owner="cleo")
        event = list(ws.ledger.events("gate.decided"))[-1]
        d = ws.get_json(event.body["decision"])
        until = d["expires_ns"] - rng.randrange(1, LATER)
        ref = Ref("decision", event.body["decision"])
        approve(ws, ref, key="cleo", now_ns=d["not_before_ns"] + 1, expires_ns=until)


def erased_and_gone(path: Path, rng: random.Random) -> None:
    with Workspace.open(path) as ws:
        digest = ws.put_json({"a": rng.random()})
        ws.record("note.made", body={"note": digest})
        erase(ws, [digest], about=(), reason="asked")


def erased_and_still_here(path: Path, rng: random.Random) -> None:
    with Workspace.open(path) as ws:
        data = canonical({"a": rng.random()})
        digest = ws.store.put_bytes(data)
        ws.record("note.made", body={"note": digest})
        ws.ledger.append(Draft(kind=keys.ERASED, body={"erased": [digest], "reason": "x"}), ws.signer("tester"))

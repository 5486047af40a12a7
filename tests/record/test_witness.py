"""Witnesses: a head signed outside the ledger finds a cut tail, a fork and a re-issue; nothing else passes for one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from worldgate.core.digest import canonical
from worldgate.core.errors import AlreadyExists, NotAuthorised, NotFound, Tampered, UsageError
from worldgate.record import witness
from worldgate.record.signing import sign_statement, statement_type
from worldgate.record.verify import verify
from worldgate.record.witness import Sight
from worldgate.record.workspace import Workspace

Tamper = Callable[..., None]
NOW = 1_800_000_000_000_000_000


@pytest.fixture
def outside(tmp_path: Path) -> Workspace:
    return Workspace.init(tmp_path / "outside", person="grace")


@pytest.fixture
def seen(filled: Workspace, outside: Workspace, tmp_path: Path) -> Path:
    path = tmp_path / "seen.json"
    witness.write(path, witness.witness(outside, filled.ledger, key="grace", now_ns=NOW))
    return path


def test_a_witness_says_what_was_seen_when_and_by_whom(filled: Workspace, outside: Workspace, seen: Path) -> None:
    sight = witness.read(seen, filled.ledger)
    key = outside.signer("grace").public_key
    assert (sight.head, sight.ledger, sight.name) == (filled.ledger.head(), filled.id, "grace")
    assert (sight.keyid, sight.public, sight.seen_ns) == (key.keyid, key.keyval["public"], NOW)
    filled.record("a.b", body={})
    report = verify(filled, witness=witness.read(seen, filled.ledger).head)
    assert report.ok and report.witnessed


def test_a_cut_tail_shows_to_a_witness(filled: Workspace, seen: Path, tamper: Tamper) -> None:
    tamper(filled, "DELETE FROM events WHERE seq > 6", "DELETE FROM edges", "DELETE FROM artifacts")
    filled.ledger.rebuild()
    assert verify(filled).ok
    assert not verify(filled, witness=witness.read(seen, filled.ledger).head).ok


def reissued(filled: Workspace, tmp_path: Path, tamper: Tamper, *, keep: int) -> Workspace:
    """The same ledger, by id and keys, written anew from a record on: its owner leaves a failed trial out."""
    copy = tmp_path / f"from-{keep}"
    events = list(filled.ledger.events(since=keep))
    shutil.copytree(filled.root, copy)
    tamper(copy, f"DELETE FROM events WHERE seq > {keep}", "DELETE FROM edges", "DELETE FROM artifacts")
    again = Workspace.open(copy)
    again.ledger.rebuild()
    for event in events:
        if event.kind != "trial.run" or event.body["success"]:
            again.record(event.kind, body=event.body, inputs=event.inputs, outputs=event.outputs)
    return again


@pytest.mark.parametrize("keep", [2, 4])
def test_a_ledger_forked_or_issued_anew_shows_to_a_witness_and_else_is_unwitnessed(
    filled: Workspace, seen: Path, tmp_path: Path, tamper: Tamper, keep: int
) -> None:
    again = reissued(filled, tmp_path, tamper, keep=keep)
    alone = verify(again)
    assert alone.ok and not alone.witnessed
    report = verify(again, witness=witness.read(seen, again.ledger).head)
    assert not report.witnessed
    assert ["a witness saw" in problem.what for problem in report.problems] == [True]


def test_a_key_of_the_ledger_is_no_witness(filled: Workspace, outside: Workspace, tmp_path: Path) -> None:
    with pytest.raises(NotAuthorised, match="no witness"):
        witness.witness(filled, filled.ledger, key="tester", now_ns=NOW)
    path = tmp_path / "own.json"
    witness.write(path, stated(filled, filled, "tester"))
    with pytest.raises(NotAuthorised, match="no witness"):
        witness.read(path, filled.ledger)


def stated(of: Workspace, by: Workspace, key: str, *, kind: str = "witness", **changes: Any) -> dict[str, Any]:
    signer, head = by.signer(key), of.ledger.head()
    sight = {
        "schema": witness.SCHEMA,
        "ledger": of.id,
        "seq": head.seq,
        "hash": head.hash,
        "public": signer.public_key.keyval["public"],
        "name": key,
        "seen_ns": NOW,
        **changes,
    }
    return sign_statement(canonical(sight), statement_type(kind), signer)


@pytest.mark.parametrize(
    "change",
    [
        {"critical": "x"},
        {"schema": "worldgate/witness/2"},
        {"public": "zz"},
        {"public": "00"},
        {"public": 5},
        {"seq": "many"},
        {"kind": "approval"},
        {"kind": "event"},
    ],
)
def test_a_statement_of_another_form_is_no_witness(
    filled: Workspace, outside: Workspace, tmp_path: Path, change: dict[str, Any]
) -> None:
    path = tmp_path / "seen.json"
    witness.write(path, stated(filled, outside, "grace", **change))
    with pytest.raises(Tampered):
        witness.read(path, filled.ledger)


def test_another_keys_signature_is_no_witness(
    filled: Workspace, outside: Workspace, seen: Path, tmp_path: Path
) -> None:
    sight = witness.read(seen, filled.ledger)
    path = tmp_path / "other.json"
    witness.write(path, stated(filled, outside, "service", public=sight.public))
    with pytest.raises(Tampered, match="signature"):
        witness.read(path, filled.ledger)


def test_a_witness_of_another_ledger_says_nothing_of_this_one(
    filled: Workspace, outside: Workspace, tmp_path: Path
) -> None:
    path = tmp_path / "seen.json"
    witness.write(path, stated(filled, outside, "grace", ledger="f" * 32))
    with pytest.raises(UsageError, match="another ledger"):
        witness.read(path, filled.ledger)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"5", b'{"payload":5}', b'{"payload":"*"}', b'{"payload":"e30="}', b'{ "payload":""}']
)
def test_a_file_that_holds_something_else_is_no_witness(filled: Workspace, tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "seen.json"
    path.write_bytes(data)
    with pytest.raises(Tampered, match="not a witness"):
        witness.read(path, filled.ledger)


def test_a_witness_is_a_file_that_is_there_and_never_overwritten(filled: Workspace, seen: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        witness.read(tmp_path / "absent.json", filled.ledger)
    with pytest.raises(AlreadyExists):
        witness.write(seen, {})
    assert isinstance(witness.read(seen, filled.ledger), Sight)

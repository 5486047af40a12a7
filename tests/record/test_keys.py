"""Keys: who may sign, since when, until when, and which person stands behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from worldgate.core.errors import AlreadyExists, NameRefused, NotAuthorised, NotFound, Tampered
from worldgate.record import keys
from worldgate.record.events import Draft
from worldgate.record.keys import Role
from worldgate.record.workspace import Workspace


def test_one_person_with_two_keys_counts_once(workspace: Workspace) -> None:
    first = workspace.signer("tester").public_key.keyid
    second = workspace.add_key("tester-laptop", owner="tester")
    other = workspace.add_key("bea", owner="bea")
    robot = workspace.add_key("ur5-17", owner="bea", role=Role.ROBOT)
    ring = workspace.ledger.keyring()
    assert ring.persons([first, second]) == {"tester"}
    assert ring.persons([first, second, other]) == {"tester", "bea"}
    assert ring.persons([robot, workspace.signer().public_key.keyid, "0" * 64]) == frozenset()


def test_a_key_is_never_made_twice(workspace: Workspace) -> None:
    head = workspace.ledger.head()
    with pytest.raises(AlreadyExists):
        workspace.add_key("tester", owner="tester")
    assert workspace.ledger.head() == head


@pytest.mark.parametrize("name", ["../tester", "a/b", "a\0", ".hidden", ""])
def test_a_key_name_cannot_leave_its_folder(workspace: Workspace, name: str) -> None:
    with pytest.raises(NameRefused):
        workspace.add_key(name, owner="tester")


def test_a_service_may_not_add_keys(workspace: Workspace) -> None:
    with pytest.raises(NotAuthorised):
        workspace.add_key("intruder", owner="intruder", by="service")
    assert workspace.ledger.keyring().keys()[-1][0].name == "service"
    with pytest.raises(NotAuthorised):
        workspace.record("a.b", body={}, actor="intruder")


def test_a_revoked_key_signs_nothing_more_and_never_comes_back(workspace: Workspace) -> None:
    keyid = workspace.add_key("bea", owner="bea")
    before = workspace.record("a.b", body={"n": 1}, actor="bea")
    workspace.revoke_key(keyid, reason="lost laptop")
    with pytest.raises(NotAuthorised, match="revoked"):
        workspace.record("a.b", body={"n": 2}, actor="bea")
    found = workspace.ledger.keyring().find(keyid)
    assert found is not None
    workspace.ledger.append(Draft(kind=keys.ADDED, body=found.body()), workspace.signer("tester"))
    with pytest.raises(NotAuthorised, match="revoked"):
        workspace.record("a.b", body={"n": 3}, actor="bea")
    assert workspace.ledger.get(before.digest).body == {"n": 1}


def test_another_process_sees_a_revocation_at_once(workspace: Workspace) -> None:
    keyid = workspace.add_key("bea", owner="bea")
    other = Workspace.open(workspace.root)
    other.record("a.b", body={}, actor="bea")
    workspace.revoke_key(keyid, reason="left")
    with pytest.raises(NotAuthorised, match="revoked"):
        other.record("a.c", body={}, actor="bea")


def test_a_key_that_the_ledger_does_not_know_signs_nothing(workspace: Workspace) -> None:
    keys.generate(workspace.root / "keys", keys.Name("stranger"))
    with pytest.raises(NotAuthorised, match="does not know"):
        workspace.record("a.b", body={}, actor="stranger")


def test_a_key_file_that_others_can_read_is_refused(workspace: Workspace) -> None:
    (workspace.root / "keys" / "tester.pem").chmod(0o640)
    with pytest.raises(NotAuthorised, match="chmod 600"):
        workspace.record("a.b", body={}, actor="tester")


def test_a_missing_key_lists_those_there_are(workspace: Workspace) -> None:
    with pytest.raises(NotFound, match="service, tester"):
        workspace.signer("nobody")


@pytest.mark.parametrize("kind", ["text", "other-algorithm"])
def test_a_file_that_is_no_ed25519_key_is_refused(workspace: Workspace, kind: str) -> None:
    path = workspace.root / "keys" / "tester.pem"
    other = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(b"hello" if kind == "text" else other)
    with pytest.raises(Tampered):
        workspace.signer("tester")


def test_a_key_id_that_does_not_name_its_key_is_no_key(workspace: Workspace) -> None:
    body = {**workspace.ledger.keyring().keys()[0][0].body(), "keyid": "0" * 64, "name": "fake"}
    workspace.ledger.append(Draft(kind=keys.ADDED, body=body), workspace.signer("tester"))
    assert workspace.ledger.keyring().find("0" * 64) is None


def test_revoking_an_unknown_key_is_refused(workspace: Workspace) -> None:
    with pytest.raises(NotFound):
        workspace.revoke_key("0" * 64, reason="mistake")


def test_a_second_revocation_changes_nothing(workspace: Workspace) -> None:
    keyid = workspace.add_key("bea", owner="bea")
    first = workspace.revoke_key(keyid, reason="lost")
    workspace.revoke_key(keyid, reason="lost again")
    with pytest.raises(NotAuthorised, match=f"revoked in record {first.seq}"):
        workspace.record("a.b", body={}, actor="bea")


def test_a_key_is_good_until_it_is_revoked_anywhere(workspace: Workspace, tmp_path: Path) -> None:
    keyid = workspace.add_key("bea", owner="bea")
    ring = workspace.ledger.keyring()
    good = ring.good(keyid)
    assert good is not None
    assert (good.name, good.owner, good.role) == ("bea", "bea", Role.PERSON)
    assert ring.good(keyid, ledger="f" * 32) is None
    assert ring.good("0" * 64) is None
    assert ring.good(keyid, ledger=workspace.id) == good
    told = ring.keys()
    assert [good for _, good in told] == [True, True, True]
    workspace.revoke_key(keyid, reason="lost")
    told = workspace.ledger.keyring().keys()
    assert [good for _, good in told] == [True, True, False]
    assert ring.keys("f" * 32) == []
    assert workspace.ledger.keyring().good(keyid) is None
    assert workspace.ledger.keyring().find(keyid) == good
    assert workspace.ledger.keyring().good(workspace.signer("tester").public_key.keyid) is not None


def test_what_another_ledger_says_of_trust_makes_no_ledger_trusted(workspace: Workspace, tmp_path: Path) -> None:
    other, third = (Workspace.init(tmp_path / name, person=name) for name in ("other", "third"))
    roots = {ws.id: ws.ledger.keyring().root() for ws in (other, third)}
    other.trust_ledger(third.id, root=str(roots[third.id]))
    workspace.trust_ledger(other.id, root=str(roots[other.id]))
    workspace.ledger.import_events(other.ledger.events())
    ring, root = workspace.ledger.keyring(), str(roots[other.id])
    assert ring.root(other.id) == root
    assert ring.persons([root], ledger=other.id) == {"other"}
    assert ring.persons([root]) == frozenset()
    with pytest.raises(NotAuthorised, match="does not know"):
        workspace.ledger.import_events(third.ledger.events())


def test_a_key_on_somebodys_word_is_named_by_its_bytes(workspace: Workspace) -> None:
    ring = workspace.ledger.keyring()
    (key, _), *_ = ring.keys()
    with pytest.raises(ValueError, match="does not name its key"):
        ring.vouch("1" * 32, replace(key, public="00" * 32), added=1)
    assert ring.find(key.keyid, ledger="1" * 32) is None
    ring.vouch("1" * 32, key, added=1)
    assert ring.find(key.keyid, ledger="1" * 32) == key
    assert ring.blank().find(key.keyid, ledger="1" * 32) == key, "words stay when events go"


def test_a_key_that_one_ledger_revoked_is_good_on_none(workspace: Workspace) -> None:
    keyid = workspace.add_key("bea", owner="bea")
    ring = workspace.ledger.keyring()
    found = ring.find(keyid)
    assert found is not None
    ring.vouch("1" * 32, found, added=5)
    assert ring.good(keyid, ledger="1" * 32) == found
    workspace.revoke_key(keyid, reason="stolen")
    ring = workspace.ledger.keyring()
    assert ring.good(keyid, ledger="1" * 32) is None
    assert ring.good(keyid) is None
    assert ring.find(keyid) == found, "what it was is still known"

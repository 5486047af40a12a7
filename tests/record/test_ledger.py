"""The ledger: idempotent, all or none, the same projections whatever order events arrive in."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worldgate.core.errors import NotAuthorised, NotFound, RecordError, Tampered, UsageError
from worldgate.core.names import Name
from worldgate.record import keys, projections, tables
from worldgate.record.events import Draft, Event, Ref, decode
from worldgate.record.keys import Role
from worldgate.record.ledger import Ledger
from worldgate.record.signing import EVENT_TYPE, sign_statement, signature_bytes
from worldgate.record.verify import verify
from worldgate.record.workspace import Workspace

_DIGESTS = [f"{i:064x}" for i in range(6)]
_REFS = st.builds(
    Ref, st.sampled_from(["log", "dataset"]), st.sampled_from(_DIGESTS), st.sampled_from(["", "kitchen", "hall"])
)
_DRAFTS = st.builds(
    Draft,
    kind=st.sampled_from(["dataset.made", "gate.decided"]),
    body=st.dictionaries(st.text(max_size=3), st.integers(-5, 5) | st.floats(-1e20, 1e20) | st.text(max_size=3)),
    inputs=st.lists(_REFS, max_size=3),
    outputs=st.lists(_REFS, max_size=3),
    name=st.sampled_from(["", "named"]),
    recorded_at_ns=st.integers(0, 3),
)
_PROPERTY = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def _dump(ledger: Ledger) -> object:
    with ledger.read() as connection:
        return projections.dump(connection)


def _new(folder: str, who: str = "alice") -> Workspace:
    return Workspace.init(Path(folder) / who, person=who)


def _vouch(home: Workspace, other: Workspace) -> None:
    root = other.ledger.keyring().root()
    assert root is not None
    home.trust_ledger(other.id, root=root)


def test_appending_the_same_event_again_changes_nothing(workspace: Workspace) -> None:
    draft = Draft(kind="a.b", body={"n": 1}, recorded_at_ns=5)
    first = workspace.ledger.append(draft, workspace.signer())
    head = workspace.ledger.head()
    assert workspace.ledger.append(draft, workspace.signer()) == first
    assert workspace.ledger.append_many([draft, draft], workspace.signer()) == [first, first]
    assert workspace.ledger.head() == head


def test_a_batch_is_kept_whole_or_not_at_all(workspace: Workspace) -> None:
    head = workspace.ledger.head()
    with pytest.raises(UsageError):
        workspace.record_many([Draft(kind="a.b", body={"n": 1}), Draft(kind="a.b", body={"n": float("nan")})])
    assert workspace.ledger.head() == head


def test_a_batch_may_add_a_key_and_use_it(workspace: Workspace) -> None:
    made = keys.generate(workspace.root / "keys", Name("bea"))
    body = keys.public_key(made, name=Name("bea"), owner=Name("bea"), role=Role.PERSON).body()
    workspace.ledger.append_many(
        [Draft(kind=keys.ADDED, body=body), Draft(kind="a.b", body={})], workspace.signer("tester")
    )
    workspace.record("a.c", body={}, actor="bea")
    assert verify(workspace).ok


def test_a_refused_batch_leaves_no_key_behind(workspace: Workspace) -> None:
    made = keys.generate(workspace.root / "keys", Name("bea"))
    body = keys.public_key(made, name=Name("bea"), owner=Name("bea"), role=Role.PERSON).body()
    good = Draft(kind=keys.ADDED, body=body)
    with pytest.raises(NotAuthorised):
        workspace.ledger.append_many([good], workspace.signer("service"))
    with pytest.raises(NotAuthorised, match="does not know"):
        workspace.record("a.b", body={}, actor="bea")


def test_events_are_selected_by_kind_and_place(filled: Workspace) -> None:
    kinds = [event.kind for event in filled.ledger.events()]
    assert kinds[:3] == ["key.added", "key.added", "log.ingested"]
    assert [event.seq for event in filled.ledger.events("trial.run")] == [5, 6, 7]
    assert [event.seq for event in filled.ledger.events("trial.run", since=6)] == [7]
    assert [event.seq for event in filled.ledger.events(["log.ingested", "gate.decided"])] == [3, 8]
    assert list(filled.ledger.events("no.such")) == []


def test_reading_goes_on_over_many_pages(workspace: Workspace) -> None:
    workspace.record_many([Draft(kind="a.b", body={"n": n}) for n in range(2500)])
    assert [event.body["n"] for event in workspace.ledger.events("a.b")] == list(range(2500))


def test_appending_while_reading_is_safe(filled: Workspace) -> None:
    seen = 0
    for event in filled.ledger.events():
        seen += 1
        if event.kind == "trial.run":
            filled.record("a.b", body={"saw": event.seq})
    assert seen == 8
    assert filled.ledger.head().seq == 11


def test_an_event_that_is_not_there_is_not_found(workspace: Workspace) -> None:
    with pytest.raises(NotFound):
        workspace.ledger.get("0" * 64)


@pytest.mark.parametrize("statement", ["UPDATE events SET payload = x'00'", "DELETE FROM events"])
def test_the_tables_refuse_to_change_the_past(workspace: Workspace, statement: str) -> None:
    connection = sqlite3.connect(workspace.root / "ledger.db")
    with pytest.raises(sqlite3.IntegrityError, match="never"):
        connection.execute(statement)
    connection.close()


def test_a_locked_ledger_says_so(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = tables.connect
    monkeypatch.setattr(tables, "connect", lambda path: connect(path, busy_s=0.05))
    impatient = Workspace.open(workspace.root)
    connection = sqlite3.connect(workspace.root / "ledger.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    with pytest.raises(RecordError, match="try again"):
        impatient.record("a.b", body={})
    connection.execute("ROLLBACK")
    connection.close()
    assert impatient.record("a.b", body={}).seq == 3


@_PROPERTY
@given(st.lists(_DRAFTS, max_size=8))
def test_rebuilding_gives_the_same_projections(drafts: list[Draft]) -> None:
    with tempfile.TemporaryDirectory() as folder, _new(folder) as ws:
        for draft in drafts:
            ws.ledger.append(draft, ws.signer())
        ws.ledger.append_many(drafts, ws.signer())
        before = _dump(ws.ledger)
        ws.ledger.rebuild()
        assert _dump(ws.ledger) == before
        assert verify(ws).ok


@_PROPERTY
@given(st.lists(_DRAFTS, max_size=6), st.data())
def test_importing_in_any_order_gives_the_same_projections(drafts: list[Draft], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder, _new(folder) as source, _new(folder, "bea") as home:
        source.ledger.append_many(drafts, source.signer())
        _vouch(home, source)
        own = {event.digest for event in home.ledger.events()}
        events = list(source.ledger.events())
        waiting = data.draw(st.permutations(events + events[:2]))
        while waiting:  # a courier brings one at a time and comes back with what was refused
            refused = [event for event in waiting if not _taken(home, event)]
            assert len(refused) < len(waiting)
            waiting = refused
        assert {event.digest for event in home.ledger.events()} - own == {event.digest for event in events}
        assert {(e.digest, e.origin_seq) for e in home.ledger.events() if e.ledger == source.id} == {
            (e.digest, e.seq) for e in events
        }
        imported = _dump(home.ledger)
        assert imported == _dump(source.ledger)
        home.ledger.rebuild()
        assert _dump(home.ledger) == imported
        assert verify(home).ok


def _taken(home: Workspace, event: Event) -> bool:
    try:
        home.ledger.import_events([event])
    except NotAuthorised:
        return False
    return True


@pytest.fixture
def other(tmp_path: Path) -> Workspace:
    return Workspace.init(tmp_path / "other", person="bea")


def test_a_ledger_nobody_vouched_for_is_not_imported(workspace: Workspace, other: Workspace) -> None:
    head = workspace.ledger.head()
    with pytest.raises(NotAuthorised):
        workspace.ledger.import_events(other.ledger.events())
    assert workspace.ledger.head() == head


def test_a_service_may_not_vouch(workspace: Workspace, other: Workspace) -> None:
    with pytest.raises(NotAuthorised):
        workspace.trust_ledger(other.id, root="0" * 64, by="service")


def test_importing_twice_changes_nothing(workspace: Workspace, other: Workspace) -> None:
    other.record("robot.booted", body={"release": "1" * 64})
    _vouch(workspace, other)
    assert workspace.ledger.import_events(other.ledger.events()) == 3
    head = workspace.ledger.head()
    assert workspace.ledger.import_events(other.ledger.events()) == 0
    assert workspace.ledger.head() == head


def test_what_a_revoked_robot_signs_later_is_not_imported(workspace: Workspace, other: Workspace) -> None:
    keyid = other.add_key("ur5", owner="bea", role=Role.ROBOT)
    early = other.record("robot.booted", body={"n": 1}, actor="ur5")
    other.revoke_key(keyid, reason="stolen")
    _vouch(workspace, other)
    workspace.ledger.import_events(other.ledger.events())
    payload = Draft(kind="robot.booted", body={"n": 2}).payload(actor=keyid, ledger=other.id, now_ns=0)
    signature = signature_bytes(sign_statement(payload, EVENT_TYPE, other.signer("ur5")))
    late = decode(payload, signature=signature, seq=0, origin_seq=9, hash="")  # by a copy that skips the check
    with pytest.raises(NotAuthorised, match="revoked"):
        workspace.ledger.import_events([late])
    assert workspace.ledger.get(early.digest).body == {"n": 1}


def test_two_events_for_one_place_of_a_ledger_are_a_fork(workspace: Workspace, other: Workspace) -> None:
    _vouch(workspace, other)
    first = other.record("a.b", body={"n": 1})
    second = other.record("a.b", body={"n": 2})
    workspace.ledger.import_events(other.ledger.events("key.added"))
    workspace.ledger.import_events([first])
    with pytest.raises(Tampered, match="one place"):
        workspace.ledger.import_events([replace(second, origin_seq=first.origin_seq)])


def test_an_imported_event_with_another_signature_is_refused(workspace: Workspace, other: Workspace) -> None:
    _vouch(workspace, other)
    events = list(other.ledger.events())
    with pytest.raises(Tampered, match="signature"):
        workspace.ledger.import_events([events[0], replace(events[1], signature=events[0].signature)])
    assert workspace.ledger.head().seq == 3


def test_a_projection_of_another_room_is_replayed(filled: Workspace) -> None:
    class Successes:
        kinds = ("trial.run",)

        def __init__(self) -> None:
            self.seen: list[bool] = []

        def apply(self, event: Event) -> None:
            self.seen.append(event.body["success"])

    successes = Successes()
    upto = filled.ledger.replay(successes)
    assert successes.seen == [False, True, True]
    assert upto == filled.ledger.head().seq
    assert filled.ledger.replay(successes, upto) == upto
    assert len(successes.seen) == 3


def test_a_ledger_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no ledger here"):
        Ledger(tmp_path / "ledger.db")


def test_a_ledger_that_cannot_be_opened_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect, path = tables.connect, tmp_path / "ledger.db"
    monkeypatch.setattr(tables, "connect", lambda path: connect(path, busy_s=0.05))
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("CREATE TABLE meta (key, value)")
    connection.execute("BEGIN EXCLUSIVE")
    with pytest.raises(RecordError, match="could not be used"):
        Ledger(path)
    connection.execute("ROLLBACK")
    connection.close()


def test_a_file_that_breaks_while_it_is_open_is_named(filled: Workspace) -> None:
    path = filled.ledger.path
    filled.ledger.close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:100] + b"\xff" * (size - 100))
    with pytest.raises(Tampered, match="not a ledger"):
        filled.ledger.head()


def test_a_payload_under_another_digest_is_not_read(filled: Workspace, tamper: Callable[..., None]) -> None:
    tamper(filled, f"UPDATE events SET digest = '{'0' * 64}' WHERE seq = 5")
    with pytest.raises(Tampered, match="payload is not its digest"):
        list(filled.ledger.events())

"""Whatever is changed behind the ledger's back, both verifiers name the record; what they cannot see, they say."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from worldgate.core.digest import canonical, sha256, short
from worldgate.core.names import Name
from worldgate.record import keys
from worldgate.record.erasure import erase
from worldgate.record.events import Draft, Event, Ref
from worldgate.record.keys import Role
from worldgate.record.ledger import Head, chain_hash
from worldgate.record.signing import EVENT_TYPE, sign_statement, signature_bytes
from worldgate.record.verify import VerifyReport, verify
from worldgate.record.workspace import Workspace

Tamper = Callable[..., None]


@pytest.fixture
def both(
    tool: ModuleType, filled: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[int]]:
    """Records that do not hold: the library's answer, after comparing it with the outsider's."""
    monkeypatch.setattr(tool.Workspace, "decisions", lambda self: None)  # these decisions are no gate's

    def run(witness: Head | None = None) -> list[int]:
        report = verify(filled, witness=witness)
        ours = sorted({p.seq for p in report.problems if not p.what.startswith("table ")})
        told = ["--head", f"{witness.seq}:{witness.hash}"] if witness else []
        code = tool.main([str(filled.root), *told])
        lines = capsys.readouterr().out.splitlines()
        theirs = {
            int(x.split()[1]) if x.startswith("record ") else 0 for x in lines if x.startswith(("record ", "led"))
        }
        assert sorted(theirs) == ours, lines
        assert code == int(bool(ours))
        assert ("unwitnessed" in lines[-1]) == (witness is None)
        return ours

    return run


def _sql(ws: Workspace, query: str, *values: object) -> None:
    connection = sqlite3.connect(ws.root / "ledger.db", isolation_level=None)
    connection.execute(query, values)
    connection.close()


def _row(ws: Workspace, seq: int) -> tuple[object, ...]:
    connection = sqlite3.connect(ws.root / "ledger.db")
    row = connection.execute("SELECT * FROM events WHERE seq = ?", (seq,)).fetchone()
    connection.close()
    assert isinstance(row, tuple)
    return row


def test_an_untouched_record_holds(filled: Workspace, both: Callable[..., list[int]]) -> None:
    assert both() == []
    report = verify(filled)
    assert (report.ok, report.records, report.objects) == (True, 8, 2)
    assert report.head == filled.ledger.head()
    assert not report.witnessed


@pytest.mark.parametrize("seq", range(1, 9))
def test_a_flipped_byte_of_any_payload_names_its_record(
    filled: Workspace, tamper: Tamper, both: Callable[..., list[int]], seq: int
) -> None:
    payload = bytes(_row(filled, seq)[6])  # type: ignore[arg-type]
    tamper(filled)
    _sql(filled, "UPDATE events SET payload = ? WHERE seq = ?", payload.replace(b'"utc"', b'"utd"'), seq)
    named = both()
    assert seq in named
    if seq > 2:  # without a key, everything it signed falls with it
        assert named == [seq]


@pytest.mark.parametrize("seq", range(3, 9))
def test_a_flipped_bit_of_a_signature_names_its_record(
    filled: Workspace, tamper: Tamper, both: Callable[..., list[int]], seq: int
) -> None:
    signature = bytearray(bytes(_row(filled, seq)[7]))  # type: ignore[arg-type]
    signature[17] ^= 1
    tamper(filled)
    _sql(filled, "UPDATE events SET signature = ? WHERE seq = ?", bytes(signature), seq)
    assert both() == [seq]


def test_a_payload_rewritten_with_its_digest_still_breaks_the_chain_and_signature(
    filled: Workspace, tamper: Tamper, both: Callable[..., list[int]]
) -> None:
    payload = bytes(_row(filled, 5)[6]).replace(b'"success":false', b'"success":true')  # type: ignore[arg-type]
    tamper(filled)
    _sql(filled, "UPDATE events SET payload = ?, digest = ? WHERE seq = 5", payload, sha256(payload))
    assert both() == [5]
    whats = {problem.what for problem in verify(filled).problems if problem.seq == 5}
    assert whats == {"does not follow from the record before it", "a signature that does not hold"}


def test_a_deleted_record_is_missed_where_it_was(
    filled: Workspace, tamper: Tamper, both: Callable[..., list[int]]
) -> None:
    tamper(filled, "DELETE FROM events WHERE seq = 5")
    assert both() == [6]
    assert "records 5 to 5 are missing" in {problem.what for problem in verify(filled).problems}


def test_a_deletion_that_closes_the_gap_is_seen(
    filled: Workspace, tamper: Tamper, both: Callable[..., list[int]]
) -> None:
    tamper(filled, "DELETE FROM events WHERE seq = 5")
    for seq in (6, 7, 8):
        _sql(filled, f"UPDATE events SET seq = {seq - 1}, origin_seq = {seq - 1} WHERE seq = {seq}")
    assert both() == [5, 6, 7]


def test_swapped_records_are_both_named(filled: Workspace, tamper: Tamper, both: Callable[..., list[int]]) -> None:
    five, six = _row(filled, 5), _row(filled, 6)
    tamper(filled, "DELETE FROM events WHERE seq IN (5, 6)")
    insert = "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    _sql(filled, insert, 5, *six[1:4], 5, *six[5:])
    _sql(filled, insert, 6, *five[1:4], 6, *five[5:])
    assert set(both()) >= {5, 6}


def _insert(ws: Workspace, draft: Draft, *, signer: str, seq: int, ledger: str = "") -> None:
    """Add a record with a chain hash that fits, as somebody with the file and a key could."""
    key = ws.signer(signer)
    payload = draft.payload(actor=key.public_key.keyid, ledger=ledger or ws.id, now_ns=1)
    signature = signature_bytes(sign_statement(payload, EVENT_TYPE, key))
    head = ws.ledger.head()
    link = chain_hash(seq=seq, prev=head.hash, event=sha256(payload), origin_seq=seq)
    row = (seq, sha256(payload), link, ledger or ws.id, seq, draft.kind, payload, signature)
    _sql(ws, "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)", *row)


def test_a_record_by_an_unknown_key_is_named(filled: Workspace, both: Callable[..., list[int]]) -> None:
    keys.generate(filled.root / "keys", Name("stranger"))
    _insert(filled, Draft(kind="gate.decided", body={}), signer="stranger", seq=9)
    assert both() == [9]


def test_a_record_by_a_revoked_key_is_named(filled: Workspace, both: Callable[..., list[int]]) -> None:
    keyid = filled.add_key("bea", owner="bea")
    filled.record("a.b", body={}, actor="bea")
    filled.revoke_key(keyid, reason="lost")
    assert both() == []
    _insert(filled, Draft(kind="a.b", body={"late": True}), signer="bea", seq=12)
    assert both() == [12]


def test_a_key_added_by_a_service_is_named_and_worth_nothing(filled: Workspace, both: Callable[..., list[int]]) -> None:
    made = keys.generate(filled.root / "keys", Name("intruder"))
    body = keys.public_key(made, name=Name("intruder"), owner=Name("intruder"), role=Role.PERSON).body()
    _insert(filled, Draft(kind=keys.ADDED, body=body), signer="service", seq=9)
    _insert(filled, Draft(kind="gate.approved", body={}), signer="intruder", seq=10)
    assert both() == [9, 10]


def test_a_record_of_a_ledger_nobody_vouched_for_is_named(filled: Workspace, both: Callable[..., list[int]]) -> None:
    _insert(filled, Draft(kind="a.b", body={}), signer="tester", seq=9, ledger="f" * 32)
    assert both() == [9]


def test_a_record_of_another_type_is_named(filled: Workspace, tamper: Tamper, both: Callable[..., list[int]]) -> None:
    """A statement signed as an approval, filed as an event."""
    payload = bytes(_row(filled, 8)[6])  # type: ignore[arg-type]
    other = signature_bytes(
        sign_statement(payload, "application/vnd.worldgate.approval.v1+json", filled.signer("tester"))
    )
    tamper(filled)
    _sql(filled, "UPDATE events SET signature = ? WHERE seq = 8", other)
    assert both() == [8]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff\xfe",
        b'{"a":1,"a":1}',
        b'{"actor":NaN}',
        b"[" * 100_000,
        b'{"a": 1}',
    ],
)
def test_a_payload_that_is_no_event_is_named_not_stumbled_over(
    filled: Workspace, tamper: Tamper, both: Callable[..., list[int]], payload: bytes
) -> None:
    tamper(filled)
    _sql(filled, "UPDATE events SET payload = ?, digest = ? WHERE seq = 6", payload, sha256(payload))
    assert both() == [6]


_ODD = [
    None,
    5,
    "text",
    [],
    ["x"],
    [None],
    {},
    {"a": 1},
    "01",
    "-0",
    1.5,
    True,
    [{"digest": "0", "kind": "a", "name": ""}],
]


@pytest.mark.parametrize(
    "field",
    ["actor", "body", "clock", "inputs", "kind", "ledger", "objects", "outputs", "recorded_at_ns", "valid_to_ns"],
)
def test_signed_nonsense_is_named_not_stumbled_over(
    filled: Workspace, tamper: Tamper, both: Callable[..., list[int]], field: str
) -> None:
    """An authorised key signs an event whose field is of another type."""
    key = filled.signer("tester")
    tree = json.loads(Draft(kind="key.added", body={}).payload(actor=key.public_key.keyid, ledger=filled.id, now_ns=1))
    for value in _ODD:
        payload = canonical({**tree, field: value})
        signature = signature_bytes(sign_statement(payload, EVENT_TYPE, key))
        head = filled.ledger.head()
        link = chain_hash(seq=9, prev=head.hash, event=sha256(payload), origin_seq=9)
        row = (9, sha256(payload), link, filled.id, 9, "key.added", payload, signature)
        _sql(filled, "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)", *row)
        fits = (field, type(value)) in {("body", dict), ("clock", str), ("valid_to_ns", type(None))} or (
            field in {"inputs", "objects", "outputs"} and value == []
        )
        fits = fits or (field.endswith("_ns") and type(value) is int)  # an integer there is written as it should be
        assert both() == ([] if fits else [9]), value
        tamper(filled, "DELETE FROM events WHERE seq = 9")


def test_an_event_filed_under_another_kind_is_named(
    filled: Workspace, tamper: Tamper, both: Callable[..., list[int]]
) -> None:
    tamper(filled, "UPDATE events SET kind = 'trial.run' WHERE seq = 8")
    assert both() == [8]


def test_an_object_changed_or_lost_names_the_record_that_promised_it(
    filled: Workspace, both: Callable[..., list[int]]
) -> None:
    log = filled.artifacts("log")[0].digest
    path = filled.store.path(log)
    path.chmod(0o644)
    path.write_bytes(b"every message of the lag")
    assert both() == [3]
    path.unlink()
    assert both() == [3]


def test_a_file_of_a_tree_is_checked_too(filled: Workspace, tmp_path: Path, both: Callable[..., list[int]]) -> None:
    (tmp_path / "set" / "meta").mkdir(parents=True)
    (tmp_path / "set" / "meta" / "info.json").write_bytes(b"{}")
    tree = filled.store.put_tree(tmp_path / "set")
    filled.record("log.ingested", body={"tree": tree}, outputs=[Ref("log", "a" * 64)])
    assert both() == []
    filled.store.path(sha256(b"{}")).unlink()
    assert both() == [9]


def test_a_cut_tail_shows_only_to_a_witness(filled: Workspace, tamper: Tamper, both: Callable[..., list[int]]) -> None:
    head = filled.ledger.head()
    assert both(head) == []
    tamper(filled, "DELETE FROM events WHERE seq > 6", "DELETE FROM edges", "DELETE FROM artifacts")
    filled.ledger.rebuild()
    report = verify(filled)
    assert report.ok, "a chain cut at its end still holds"
    assert not report.witnessed, "and the report says that nobody vouched for its end"
    assert both() == []
    assert both(head) == [0]


def test_a_ledger_reissued_with_its_owners_keys_shows_only_to_a_witness(filled: Workspace, tmp_path: Path) -> None:
    head = filled.ledger.head()
    forged = Workspace.init(tmp_path / "forged", person="tester")
    for event in list(filled.ledger.events())[2:]:
        if event.kind != "trial.run" or event.body["success"]:
            forged.record(event.kind, body=event.body, inputs=event.inputs, outputs=event.outputs)
    shutil.copytree(filled.store.root, forged.store.root, dirs_exist_ok=True)
    assert verify(forged).ok
    assert not verify(forged, witness=head).ok


def test_a_witness_of_an_earlier_head_is_enough(filled: Workspace) -> None:
    head = filled.ledger.head()
    filled.record("a.b", body={})
    report = verify(filled, witness=head)
    assert report.ok
    assert report.witnessed
    assert not verify(filled, witness=Head(head.seq, "0" * 64)).ok


def test_a_projection_that_does_not_follow_is_named_and_rebuilt(filled: Workspace, tamper: Tamper) -> None:
    tamper(filled, "UPDATE edges SET name = 'other' WHERE name = 'kitchen'")
    assert [problem.what for problem in verify(filled).problems] == [
        "table edges does not follow from the events; rebuild it"
    ]
    filled.ledger.rebuild()
    assert verify(filled).ok


def _verify_with(ws: Workspace, answer: Callable[[Workspace, Event], str | None]) -> VerifyReport:
    return verify(ws, recompute={"gate.decided": answer})


def test_decisions_are_recomputed_by_whoever_knows_how(filled: Workspace) -> None:
    good = _verify_with(filled, lambda ws, event: None)
    assert (good.ok, good.recomputed) == (True, 1)
    bad = _verify_with(filled, lambda ws, event: f"says {event.body['result']}, its evidence gives REJECT")
    (decision,) = filled.ledger.events("gate.decided")
    said = f"record 8 {short(decision.digest)}: says HOLD, its evidence gives REJECT"
    assert [str(problem) for problem in bad.problems] == [said]


def test_evidence_that_is_gone_is_named_by_its_decision(filled: Workspace) -> None:
    def answer(ws: Workspace, event: Event) -> str | None:
        ws.get_json("0" * 64)
        return None

    (problem,) = _verify_with(filled, answer).problems
    assert problem.seq == 8
    assert "cannot be recomputed" in problem.what


def test_the_outsider_wants_the_root_that_people_told_it(
    tool: ModuleType, filled: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool.Workspace, "decisions", lambda self: None)
    root = filled.ledger.keyring().root()
    assert root is not None
    assert tool.main([str(filled.root), "--root", root]) == 0
    assert tool.main([str(filled.root), "--root", "0" * 64]) == 1
    assert "root of trust" in capsys.readouterr().out


def test_the_outsider_refuses_what_it_cannot_read(
    tool: ModuleType, filled: Workspace, tamper: Tamper, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tool.main([str(tmp_path / "absent")]) == 2
    (tmp_path / "ledger.db").write_bytes(b"not a database, but long enough to be looked at" * 30)
    assert tool.main([str(tmp_path)]) == 2
    tamper(filled, "UPDATE meta SET value = '2' WHERE key = 'schema'")
    assert tool.main([str(filled.root)]) == 2
    assert "newer" in capsys.readouterr().err


def test_federated_ledgers_verify(
    tool: ModuleType, filled: Workspace, tmp_path: Path, both: Callable[..., list[int]]
) -> None:
    robot = Workspace.init(tmp_path / "robot", person="bea")
    robot.record("robot.booted", body={"release": "1" * 64})
    root = robot.ledger.keyring().root()
    assert root is not None
    filled.trust_ledger(robot.id, root=root)
    filled.ledger.import_events(robot.ledger.events())
    assert both() == []


def test_a_record_that_claims_another_place_of_its_own_ledger_is_named(
    filled: Workspace, tamper: Tamper, both: Callable[..., list[int]]
) -> None:
    _insert(filled, Draft(kind="a.b", body={}), signer="service", seq=9)
    tamper(filled)
    row, head = _row(filled, 9), _row(filled, 8)
    link = chain_hash(seq=9, prev=str(head[2]), event=str(row[1]), origin_seq=42)
    _sql(filled, "UPDATE events SET origin_seq = 42, hash = ? WHERE seq = 9", link)
    assert both() == [9]
    whats = {problem.what for problem in verify(filled).problems if problem.seq == 9}
    assert whats == {"is this ledger's own but claims another place"}


def test_two_records_of_one_place_are_named(filled: Workspace, both: Callable[..., list[int]]) -> None:
    _sql(filled, "ALTER TABLE events RENAME TO guarded")
    columns = "seq INTEGER PRIMARY KEY, digest, hash, ledger, origin_seq, kind, payload, signature"
    _sql(filled, f"CREATE TABLE events ({columns})")
    _sql(filled, "INSERT INTO events SELECT * FROM guarded")
    key = filled.signer()
    payload = Draft(kind="a.b", body={}).payload(actor=key.public_key.keyid, ledger=filled.id, now_ns=1)
    signature = signature_bytes(sign_statement(payload, EVENT_TYPE, key))
    link = chain_hash(seq=9, prev=filled.ledger.head().hash, event=sha256(payload), origin_seq=8)
    row = (9, sha256(payload), link, filled.id, 8, "a.b", payload, signature)
    _sql(filled, "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)", *row)
    assert both() == [9]
    assert "claims a place that another record has" in {problem.what for problem in verify(filled).problems}


def test_what_was_erased_must_be_gone(filled: Workspace, both: Callable[..., list[int]]) -> None:
    (event,) = filled.ledger.events("log.ingested")
    data = filled.store.get(event.outputs[0].digest)
    erase(filled, [event.outputs[0].digest], about=event.outputs, reason="asked for", by="tester")
    assert both() == []
    filled.store.put_bytes(data)
    assert both() == [event.seq]
    (problem,) = verify(filled).problems
    assert "was erased and is still here" in problem.what


def test_nonsense_that_no_rule_can_read_is_named_by_its_decision(filled: Workspace) -> None:
    def stumbles(_: Workspace, event: Event) -> str | None:
        return str(event.body["no such field"])

    (problem,) = _verify_with(filled, stumbles).problems
    assert problem.what == "cannot be recomputed: KeyError 'no such field'"

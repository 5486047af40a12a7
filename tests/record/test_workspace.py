"""A workspace is made once, found from below, and refused when newer."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from worldgate.core.errors import (
    AlreadyExists,
    AmbiguousId,
    ConfigError,
    NameRefused,
    NotFound,
    SchemaTooNew,
    Tampered,
    UsageError,
)
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_workspace_holds_its_two_keys_closed_to_others(workspace: Workspace) -> None:
    assert _mode(workspace.root / "keys") == 0o700
    assert {p.name: _mode(p) for p in (workspace.root / "keys").iterdir()} == {
        "tester.pem": 0o600,
        "service.pem": 0o600,
    }
    known = workspace.ledger.keyring().keys()
    assert [(key.name, good) for key, good in known] == [("tester", True), ("service", True)]


def test_init_overwrites_nothing(workspace: Workspace) -> None:
    head = workspace.ledger.head()
    with pytest.raises(AlreadyExists):
        Workspace.init(workspace.root, person="somebody")
    assert Workspace.open(workspace.root).ledger.head() == head


@pytest.mark.parametrize("person", ["..", "a/b", "a\0b", "", "con", "ünal", "x" * 65])
def test_an_unusable_person_leaves_nothing_behind(tmp_path: Path, person: str) -> None:
    with pytest.raises(NameRefused):
        Workspace.init(tmp_path / "w", person=person)
    assert not (tmp_path / "w").exists()


def test_a_workspace_is_found_from_a_folder_inside_it(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLDGATE_WORKSPACE", raising=False)
    inside = workspace.root / "runs" / "deep"
    inside.mkdir()
    monkeypatch.chdir(inside)
    assert Workspace.open(None).id == workspace.id


def test_the_environment_names_a_workspace(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORLDGATE_WORKSPACE", str(workspace.root))
    assert Workspace.open(None).id == workspace.id


def test_without_a_workspace_the_error_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLDGATE_WORKSPACE", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFound, match="worldgate init"):
        Workspace.open(None)


def test_a_newer_workspace_file_is_refused_in_three_lines(workspace: Workspace) -> None:
    path = workspace.root / "worldgate.toml"
    path.write_text(path.read_text().replace("schema = 1", "schema = 2"))
    with pytest.raises(SchemaTooNew) as caught:
        Workspace.open(workspace.root)
    assert len(caught.value.lines()) == 3


def test_a_newer_ledger_is_refused(workspace: Workspace, tamper: object) -> None:
    tamper(workspace, "UPDATE meta SET value = '2' WHERE key = 'schema'")  # type: ignore[operator]
    with pytest.raises(SchemaTooNew):
        Workspace.open(workspace.root)


@pytest.mark.parametrize("text", ["", "schema = 1", "schema = '1'\nid = 'x'\nname = 'y'\nperson = 'z'", "schema ="])
def test_a_broken_workspace_file_is_refused(workspace: Workspace, text: str) -> None:
    (workspace.root / "worldgate.toml").write_text(text)
    with pytest.raises(ConfigError):
        Workspace.open(workspace.root)


def test_a_ledger_of_another_workspace_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    other = Workspace.init(tmp_path / "other", person="other")
    other.close()
    (workspace.root / "ledger.db").write_bytes((other.root / "ledger.db").read_bytes())
    with pytest.raises(Tampered, match="another workspace"):
        Workspace.open(workspace.root)


@pytest.mark.parametrize("content", [b"", b"no database" * 100])
def test_a_file_that_is_no_ledger_is_refused(workspace: Workspace, content: bytes) -> None:
    workspace.close()
    for file in workspace.root.glob("ledger.db*"):
        file.unlink()
    (workspace.root / "ledger.db").write_bytes(content)
    with pytest.raises(Tampered):
        Workspace.open(workspace.root)


def test_times_keep_every_nanosecond_through_json(workspace: Workspace) -> None:
    body = {"start_ns": 2**62 + 1, "spans_ns": [[-5, 2**53 + 1]], "rate": 10.0, "note_ns": "not a number"}
    assert workspace.get_json(workspace.put_json(body)) == body
    event = workspace.record("a.b", body=body, valid_from_ns=2**62 + 1)
    assert workspace.ledger.get(event.digest).body == body
    assert event.valid_from_ns == 2**62 + 1


def test_ids_resolve_by_prefix_and_by_name(filled: Workspace) -> None:
    ref = filled.resolve("kitchen")
    assert ref.kind == "dataset"
    assert filled.resolve(ref.digest[:6]) == ref
    assert filled.resolve(ref.digest[:6], "dataset") == ref
    decision = next(filled.ledger.events("gate.decided"))
    assert filled.resolve(decision.digest[:10]) == Ref("event", decision.digest)


@pytest.mark.parametrize("text", ["", "no-such-name", "ab", "0" * 64, "%", "z" * 70])
def test_an_unknown_id_is_not_found(filled: Workspace, text: str) -> None:
    with pytest.raises(NotFound):
        filled.resolve(text)


def test_an_id_of_another_kind_is_not_found(filled: Workspace) -> None:
    with pytest.raises(NotFound, match="no such policy"):
        filled.resolve("kitchen", "policy")


def test_a_name_given_twice_is_ambiguous(filled: Workspace) -> None:
    filled.record("dataset.made", body={}, outputs=[Ref("dataset", "f" * 64, "kitchen")])
    with pytest.raises(AmbiguousId, match="kitchen"):
        filled.resolve("kitchen")


def test_artifacts_come_newest_last(workspace: Workspace) -> None:
    for digit, at in (("1", 30), ("2", 10), ("3", 20)):
        workspace.record("x.made", body={}, outputs=[Ref("run", digit * 64, digit)], recorded_at_ns=at)
    workspace.record("x.made", body={}, outputs=[Ref("run", "2" * 64, "again")], recorded_at_ns=40)
    assert [ref.name for ref in workspace.artifacts("run")] == ["2", "3", "1"]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 2**53, b"bytes", object()])
def test_a_body_without_a_json_form_is_refused_and_leaves_nothing(workspace: Workspace, bad: object) -> None:
    head = workspace.ledger.head()
    with pytest.raises(UsageError):
        workspace.record("a.b", body={"value": bad})
    assert workspace.ledger.head() == head


@pytest.mark.parametrize("kind", ["", "A.b", "a..b", "a b", "a.b\n"])
def test_an_odd_kind_is_refused(workspace: Workspace, kind: str) -> None:
    with pytest.raises(UsageError):
        workspace.record(kind, body={})
    with pytest.raises(UsageError):
        Ref(kind, "0" * 64)


@pytest.mark.parametrize("digest", ["", "0" * 63, "G" * 64, "A" * 64, "0" * 64 + "\n"])
def test_an_odd_digest_is_refused(digest: str) -> None:
    with pytest.raises(UsageError):
        Ref("log", digest)


def test_an_interval_that_ends_before_it_starts_is_refused(workspace: Workspace) -> None:
    with pytest.raises(UsageError):
        workspace.record("a.b", body={}, valid_from_ns=2, valid_to_ns=1)
    with pytest.raises(UsageError):
        workspace.record("a.b", body={}, valid_err_ns=-1)


def test_a_store_that_is_no_url_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="s3://bucket/prefix"):
        Workspace.init(tmp_path / "w", person="ada", store="bucket/prefix")
    assert not (tmp_path / "w").exists()


def test_a_folder_without_a_workspace_is_not_opened(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no workspace here"):
        Workspace.open(tmp_path)


def test_an_object_that_is_no_json_is_not_read_as_json(workspace: Workspace) -> None:
    digest = workspace.store.put_bytes(b"weights")
    with pytest.raises(Tampered, match="not JSON"):
        workspace.get_json(digest)


def test_kinds_are_counted_by_what_was_made_not_by_how_often(workspace: Workspace) -> None:
    for name, digest in (("kitchen", "1"), ("kitchen", "1"), ("hall", "2")):
        workspace.record("dataset.made", body={"n": name}, outputs=[Ref("dataset", digest * 64, name)])
    workspace.record("log.ingested", body={}, outputs=[Ref("log", "3" * 64)])
    kinds = workspace.kinds()
    assert (kinds["dataset"], kinds["log"]) == (2, 1)


def test_objects_are_promised_wherever_a_body_names_them(workspace: Workspace) -> None:
    """In lists, mappings and dataclasses; what is not in the store is nobody's promise."""
    held = [workspace.store.put_bytes(name) for name in (b"a", b"b", b"c")]
    body = {"list": [held[0]], "map": {"x": held[1]}, "ref": Ref("log", held[2]), "gone": "0" * 64, "bytes": 3}
    assert list(workspace.record("note.made", body=body).objects) == sorted(held)

"""A bundle that was changed, or made by somebody who lies, is named for it, whatever its decision says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from worldgate.core.digest import canonical, read_canonical, sha256
from worldgate.core.errors import Tampered
from worldgate.record.bundle_verify import BundleReport, verify_bundle
from worldgate.record.bundles import ENVELOPE, LEDGER, MANIFEST, TYPE, Bundle, Contents, VouchedKey, is_bundle, write
from worldgate.record.events import Ref
from worldgate.record.keys import Role
from worldgate.record.ledger import Head
from worldgate.record.signing import sign_statement
from worldgate.record.workspace import Workspace

HIDDEN = "not part of this story"


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Records 3 to 8: a second person's key, a trial, a decision, its approval, nonsense for a decision, a note."""
    ws = Workspace.init(tmp_path_factory.mktemp("record") / "ws", person="tester")
    ws.add_key("bea", owner="bea")
    ws.record("trial.run", body={"success": True})
    decided = ws.put_json({"admissions": []})
    ws.record("gate.decided", body={}, outputs=[Ref("decision", decided)])
    ws.record("gate.approved", body={"decision": decided}, actor="bea")
    ws.record("gate.decided", body={}, outputs=[Ref("decision", ws.put_json({"another": "form"}))])
    ws.record("note.made", body={})
    return ws


def decided(ws: Workspace) -> tuple[str, int]:
    first = next(ws.ledger.events("gate.decided"))
    return first.outputs[0].digest, first.seq


def contents(ws: Workspace, **changes: Any) -> Contents:
    decision, seq = decided(ws)
    held: dict[str, Any] = {
        "decision": decision, "decision_seq": seq, "head": ws.ledger.head(), "made_at_ns": 1, "why": {},
        "objects": list(ws.store.digests()), "withheld": {},
    }  # fmt: skip
    return Contents(**{**held, **changes})


@pytest.fixture
def bundle(ws: Workspace, tmp_path: Path) -> Path:
    write(ws, tmp_path / "bundle", contents(ws))
    return tmp_path / "bundle"


def seal(ws: Workspace, folder: Path, *, actor: str | None = None, **changes: Any) -> None:
    """Change the manifest as its maker could, and sign it again."""
    told = canonical({**json.loads((folder / MANIFEST).read_bytes()), **changes})
    (folder / MANIFEST).write_bytes(told)
    (folder / ENVELOPE).write_bytes(canonical(sign_statement(told, TYPE, ws.signer(actor))))


def reseal(ws: Workspace, folder: Path, lines: list[bytes]) -> None:
    """Other lines of the ledger, signed by the maker."""
    (folder / LEDGER).write_bytes(b"".join(lines))
    files = json.loads((folder / MANIFEST).read_bytes())["files"]
    seal(ws, folder, files={**files, LEDGER: sha256((folder / LEDGER).read_bytes())})


def said(report: BundleReport) -> str:
    assert not report.ok
    return "\n".join(problem.what for problem in report.report.problems)


def test_an_untouched_bundle_holds(ws: Workspace, bundle: Path) -> None:
    assert is_bundle(bundle)
    assert not is_bundle(ws.root)
    report = verify_bundle(bundle)
    assert report.ok, report.report.problems
    assert report.report.records == 8
    assert not report.decision_withheld


def test_only_what_it_is_about_is_recomputed(ws: Workspace, bundle: Path) -> None:
    seen: list[int] = []

    def note(_: Workspace, event: Any) -> None:
        seen.append(event.seq)

    recompute = dict.fromkeys(("gate.decided", "gate.approved", "note.made"), note)
    assert verify_bundle(bundle, recompute=recompute).ok
    assert seen == [5, 6, 8], "the decision, its approval and what is no decision; not the other decision"


def test_a_bundle_ends_at_the_head_it_was_cut_at(ws: Workspace, tmp_path: Path) -> None:
    head = Head(6, str(ws.ledger.hash_at(6)))
    write(ws, tmp_path / "b", contents(ws, head=head))
    report = verify_bundle(tmp_path / "b")
    assert report.ok, report.report.problems
    assert report.report.records == 6


# ---- files ----------------------------------------------------------------------------------------------------------


def test_a_file_changed_missing_added_or_outside_is_named(ws: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "b"
    write(ws, folder, contents(ws, files={"README.md": b"read me", "gone.csv": b"a"}))
    (folder / "README.md").write_bytes(b"read this")
    (folder / "gone.csv").unlink()
    (folder / "more.csv").write_bytes(b"")
    (tmp_path / "outside").write_bytes(b"x")
    files = json.loads((folder / MANIFEST).read_bytes())["files"]
    seal(ws, folder, files={**files, "../outside": sha256(b"x"), str(tmp_path / "outside"): sha256(b"x")})
    told = said(verify_bundle(folder))
    for part in (
        "file README.md is not the one that was signed",
        "file 'gone.csv' is missing",
        "file 'more.csv' is not part of it",
        "file '../outside' is missing",
        f"file '{tmp_path / 'outside'}' is missing",
    ):
        assert part in told, part


def test_a_bundle_without_its_ledger_is_named_twice(ws: Workspace, bundle: Path) -> None:
    (bundle / LEDGER).unlink()
    seal(ws, bundle, files={})
    told = said(verify_bundle(bundle))
    assert f"the manifest does not name {LEDGER}" in told
    assert "no ledger in this bundle" in told


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"schema": "worldgate/other/1"}, "the manifest of something else"),
        ({"made_at_ns": 1.5}, "a time as a number"),
        ({"schema": "worldgate/bundle/one"}, "the manifest of something else"),
    ],
)
def test_a_manifest_of_another_form_is_no_bundle(ws: Workspace, bundle: Path, told: dict[str, Any], why: str) -> None:
    seal(ws, bundle, **told)
    with pytest.raises(Tampered, match=why):
        Bundle(bundle)


def test_a_manifest_that_leaves_a_field_to_its_default_is_refused(bundle: Path) -> None:
    """Two manifests that read alike must not both be signed as one."""
    tree = json.loads((bundle / MANIFEST).read_bytes())
    del tree["witness"]
    (bundle / MANIFEST).write_bytes(canonical(tree))
    with pytest.raises(Tampered, match="a field of another type"):
        Bundle(bundle)


# ---- records --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda row: [],
        lambda row: {**row, "more": 1},
        lambda row: {**row, "kind": 3},
        lambda row: {**row, "seq": True},
        lambda row: {**row, "digest": "short"},
        lambda row: {**row, "payload": None},
        lambda row: {**row, "why": HIDDEN},
        lambda row: {**row, "signature": "no hex"},
    ],
)
def test_a_line_that_is_no_record_ends_the_ledger_and_is_named(
    ws: Workspace, bundle: Path, change: Callable[[dict[str, Any]], Any]
) -> None:
    lines = (bundle / LEDGER).read_bytes().splitlines(keepends=True)
    lines[3] = canonical(change(read_canonical(lines[3].strip()))) + b"\n"
    reseal(ws, bundle, lines)
    report = verify_bundle(bundle)
    assert report.report.records == 3
    told = said(report)
    assert f"a line that is no record: {LEDGER}:4" in told
    assert "the chain does not end where the manifest says" in told


def test_a_head_that_is_not_in_the_chain_is_named(ws: Workspace, bundle: Path) -> None:
    seal(ws, bundle, witness={"seq": 3, "hash": "0" * 64})
    assert "the head that was kept, says the manifest, is not in the chain" in said(verify_bundle(bundle))


# ---- keys on the maker's word ---------------------------------------------------------------------------------------


def vouched(ws: Workspace, name: str = "bea", *, added: int = 3, public: str = "") -> VouchedKey:
    key = next(key for key, _ in ws.ledger.keyring().keys() if key.name == name)  # noqa: SIM118  # no mapping
    return VouchedKey(
        ledger=ws.id, keyid=key.keyid, public=public or key.public, role=Role.PERSON, owner="person-2", added=added
    )


def test_a_key_whose_record_is_withheld_counts_on_the_makers_word(ws: Workspace, tmp_path: Path) -> None:
    write(ws, tmp_path / "b", contents(ws, why={3: "redacted: persons"}, keys=(vouched(ws),)))
    report = verify_bundle(tmp_path / "b")
    assert report.ok, report.report.problems
    assert report.withheld_records == 1
    write(ws, tmp_path / "c", contents(ws, why={3: "redacted: persons"}))
    assert "signed by a key that the ledger does not know" in said(verify_bundle(tmp_path / "c"))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"added": 4}, "no withheld record adds it"),
        ({"public": "00" * 32}, "a key id that does not name its key"),
    ],
)
def test_a_key_that_no_withheld_record_adds_or_that_lies_counts_for_nothing(
    ws: Workspace, tmp_path: Path, change: dict[str, Any], why: str
) -> None:
    told = contents(ws, why={3: "redacted: persons", 4: HIDDEN}, keys=(vouched(ws, **change),))
    write(ws, tmp_path / "b", told)
    text = said(verify_bundle(tmp_path / "b"))
    assert f"a key on the maker's word, {vouched(ws).keyid[:12]}: {why}" in text
    assert "signed by a key that the ledger does not know" in text, "its approval is nobody's"


# ---- the manifest's signature ---------------------------------------------------------------------------------------


def _other_manifest(ws: Workspace, folder: Path) -> None:
    (folder / ENVELOPE).write_bytes(canonical(sign_statement(b'{"schema":"worldgate/bundle/1"}', TYPE, ws.signer())))


def _another_key(ws: Workspace, folder: Path) -> None:
    seal(ws, folder, actor="bea")


def _no_envelope(ws: Workspace, folder: Path) -> None:
    (folder / ENVELOPE).unlink()


def _no_json(ws: Workspace, folder: Path) -> None:
    (folder / ENVELOPE).write_bytes(b"{")


def _no_mapping(ws: Workspace, folder: Path) -> None:
    (folder / ENVELOPE).write_bytes(b"3")


def _unknown_signer(ws: Workspace, folder: Path) -> None:
    seal(ws, folder, signer="0" * 64)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_other_manifest, "another manifest was signed"),
        (_another_key, "a signature that does not hold"),
        (_no_envelope, "no envelope that can be read"),
        (_no_json, "no envelope that can be read"),
        (_no_mapping, "no envelope that can be read"),
        (_unknown_signer, "signed by a key that the ledger does not know"),
    ],
)
def test_a_manifest_that_its_signer_did_not_sign_is_named(
    ws: Workspace, bundle: Path, change: Callable[[Workspace, Path], None], why: str
) -> None:
    change(ws, bundle)
    assert f"the manifest: {why}" in said(verify_bundle(bundle))


# ---- the decision it is about ---------------------------------------------------------------------------------------


def test_a_withheld_decision_is_not_recomputed_and_that_is_said(ws: Workspace, tmp_path: Path) -> None:
    _, seq = decided(ws)
    write(ws, tmp_path / "b", contents(ws, why={seq: "redacted: words"}))
    report = verify_bundle(tmp_path / "b", recompute={"note.made": lambda ws, event: "never asked"})
    assert report.ok, report.report.problems
    assert report.decision_withheld
    assert report.report.recomputed == 0


def test_a_record_of_another_kind_does_not_pass_for_a_withheld_decision(ws: Workspace, tmp_path: Path) -> None:
    write(ws, tmp_path / "b", contents(ws, why={4: HIDDEN}, decision_seq=4))
    assert "what is said to hold the decision is another kind of record" in said(verify_bundle(tmp_path / "b"))


@pytest.mark.parametrize("change", [{"decision_seq": 4}, {"decision_seq": 99}, {"decision": "0" * 64}])
def test_a_decision_that_is_not_where_the_manifest_says_is_named(
    ws: Workspace, bundle: Path, change: dict[str, Any]
) -> None:
    seal(ws, bundle, **change)
    assert "the decision it is about is not where the manifest says" in said(verify_bundle(bundle))


def test_a_decision_whose_evidence_is_redacted_cannot_be_recomputed(ws: Workspace, tmp_path: Path) -> None:
    write(ws, tmp_path / "b", contents(ws, why={4: "redacted: sites"}))
    assert verify_bundle(tmp_path / "b").decision_withheld
    decision, _ = decided(ws)
    write(ws, tmp_path / "c", contents(ws, objects=[], withheld=dict.fromkeys(ws.store.digests(), "redacted: sites")))
    report = verify_bundle(tmp_path / "c")
    assert report.ok, report.report.problems
    assert report.decision_withheld
    assert report.withheld_objects == 2
    write(ws, tmp_path / "d", contents(ws, objects=[decision], why={4: HIDDEN, 7: HIDDEN}))
    assert not verify_bundle(tmp_path / "d").decision_withheld, "what is not part of the story hides no evidence"


def test_a_decision_that_cannot_be_read_is_named(ws: Workspace, tmp_path: Path) -> None:
    write(ws, tmp_path / "b", contents(ws, objects=[]))
    told = said(verify_bundle(tmp_path / "b"))
    assert "the decision it is about cannot be read: no such object in the store" in told
    *_, last = ws.ledger.events("gate.decided")
    write(ws, tmp_path / "c", contents(ws, decision=last.outputs[0].digest, decision_seq=last.seq))
    assert "the decision it is about cannot be read: 'admissions'" in said(verify_bundle(tmp_path / "c"))

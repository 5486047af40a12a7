"""Evidence bundles: what is in them, what is not and is said, and that a hidden name is nowhere."""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.evidence import conftest as fakes
from tests.evidence import promotions
from tests.evidence import stories as st
from tests.evidence.promotions_to_sign import Hall

from worldgate.core.digest import canonical
from worldgate.core.errors import AlreadyExists, DataRefused, NotFound, SchemaTooNew, Tampered, UsageError
from worldgate.evidence import claims, persons, scenarios
from worldgate.evidence.coverage_bins import Bins
from worldgate.evidence.recompute import RECOMPUTE
from worldgate.fleet.bundle import Asked, Made, make
from worldgate.fleet.bundle_tables import csv_of
from worldgate.record import bundles
from worldgate.record.bundle_verify import verify_bundle
from worldgate.record.bundles import MANIFEST, Bundle, Contents
from worldgate.record.events import Ref
from worldgate.record.ledger import Head
from worldgate.record.redaction import Redactor, of_events
from worldgate.record.workspace import Workspace

MADE = st.NOW + 2 * st.DAY


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> st.Story:
    """A release in the field, with an incident that a person's name stands in, and another release beside it."""
    ws = Workspace.init(tmp_path_factory.mktemp("bundle") / "ws", person=st.RELEASER)
    told = st.promote(ws, fakes)
    other = st.register_release(ws, fakes, "r2")
    st.tried(ws, other, promotions.suite(ws, 12, name="another"), [True] * 4)
    ws.put_json({"nobody": "names this"})
    tree = ws.store.put_bytes(b"\x00weights")
    ws.record("note.made", body={"release": told.release.digest, "file": tree})
    body = {"slot": st.SLOT, "release": told.release.digest}
    ws.record("deployment.desired", body=body, inputs=(told.release,), valid_from_ns=st.NOW + 4 * st.HOUR)
    st.recorded(ws, told.release, st.NOW + 5 * st.HOUR, 8)
    st.incident(ws, fakes, told.release, st.NOW + 6 * st.HOUR, note="Beatrix saw it, so did BEA")
    return told


def bundle(story: st.Story, folder: Path, **asked: Any) -> Made:
    return make(story.ws, story.decision.ref, folder, now_ns=MADE, asked=Asked(**asked))


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        yield path.relative_to(folder).as_posix(), path.read_bytes()


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / name).read_text().splitlines()))


def test_a_bundle_holds_the_story_and_verifies_without_the_workspace(story: st.Story, tmp_path: Path) -> None:
    made = bundle(story, tmp_path / "b", claims=(claims.load("cell"),))
    assert made.report.ok, made.report.report.problems
    assert not made.report.decision_withheld
    assert made.report.report.recomputed >= 3, "the promotion, its admission and its approval"
    names = {name for name, _ in files(made.folder)}
    assert names >= {
        "README.md", "decision.json", "policy.json", "plan.json", "release.json", "trials.csv", "approvals.csv",
        "waivers.csv", "timeline.csv", "exposure.csv", "incidents.csv", "claims.json", "claims.svg", "redactions.csv",
        "ledger.jsonl", "bundle.json", "bundle.dsse.json",
    }  # fmt: skip
    assert len(rows(made.folder, "trials.csv")) == 61
    (approval,) = rows(made.folder, "approvals.csv")
    assert approval["person"] == st.APPROVER
    assert [row["plane"] for row in rows(made.folder, "timeline.csv")].count("desired") >= 1
    (seen,) = rows(made.folder, "exposure.csv")
    assert (seen["origin"], seen["incidents"]) == ("real", "1")


def test_the_same_ledger_and_time_give_the_same_bytes(story: st.Story, tmp_path: Path) -> None:
    first, second = (bundle(story, tmp_path / name, redact=("persons",)) for name in ("a", "b"))
    assert list(files(first.folder)) == list(files(second.folder))
    with pytest.raises(AlreadyExists):
        bundle(story, tmp_path / "a")


def test_what_is_not_shown_is_said(story: st.Story, tmp_path: Path) -> None:
    made = bundle(story, tmp_path / "b")
    text = (made.folder / "README.md").read_text()
    for line in made.not_shown:
        assert f"- {line}" in text
    told = "\n".join(made.not_shown)
    for part in (
        "no safety certificate",
        "Unwitnessed",
        "8 real hours of operation were observed",
        "0.01 per h with 7.7 %",
        "1 incidents on these arms are still open",
        "does not say which situations it is meant to cover",
        "No safety case was asked",
        "not part of this story",
    ):
        assert part in told, part


def test_a_record_of_another_story_keeps_its_place_and_no_words(story: st.Story, tmp_path: Path) -> None:
    made = bundle(story, tmp_path / "b")
    lines = [json.loads(line) for line in (made.folder / "ledger.jsonl").read_text().splitlines()]
    assert [line["seq"] for line in lines] == list(range(1, story.ws.ledger.head().seq + 1))
    hidden = [line for line in lines if line["payload"] is None]
    assert hidden
    assert {line["why"] for line in hidden} == {"not part of this story"}
    listed = [row for row in rows(made.folder, "redactions.csv") if row["what"] == "record"]
    assert [row["digest"] for row in listed] == [line["digest"] for line in hidden]
    reasons = [row["why"] for row in rows(made.folder, "redactions.csv") if row["what"] == "document"]
    assert any(why.startswith("not a document") for why in reasons)


def test_an_approval_that_was_taken_back_is_shown_with_that(workspace: Workspace, tmp_path: Path) -> None:
    hall = Hall.of(workspace)
    decision = hall.promoted()
    given = hall.approves(decision)
    taken = persons.withdraw(workspace, Ref("approval", given.digest), key="cy", reason="too soon")
    made = make(workspace, decision.ref, tmp_path / "b", now_ns=st.NOW)
    assert made.report.ok, made.report.report.problems
    lines = [json.loads(line) for line in (made.folder / "ledger.jsonl").read_text().splitlines()]
    assert {line["digest"]: line["why"] for line in lines}[taken.digest] == ""


@pytest.mark.parametrize(
    ("asked", "hidden", "recomputed"),
    [
        ({"redact": ("persons",)}, ("bea", "tester"), True),
        ({"redact": ("serials",)}, ("ur5",), False),
        ({"redact": ("sites", "persons")}, ("bench", "bea", "tester"), False),
        ({"words": ("near-miss", "Beatrix")}, ("near-miss", "beatrix"), False),
    ],
)
def test_a_hidden_name_is_nowhere_in_the_bundle(
    story: st.Story, tmp_path: Path, asked: dict[str, Any], hidden: tuple[str, ...], recomputed: bool
) -> None:
    """Every file is searched, as it is and with everything in base64 unpacked."""
    made = bundle(story, tmp_path / "b", claims=(claims.load("cell"),), **asked)
    assert made.report.ok, made.report.report.problems
    assert made.report.decision_withheld == (not recomputed)
    pattern = Redactor(dict.fromkeys(hidden, "x"))
    for name, data in files(made.folder):
        text = data.decode()
        assert pattern.text(text) == text, name
        pieces = text.splitlines() if name.endswith("jsonl") else [text] if name.endswith("json") else []
        assert not any(pattern.hides(json.loads(piece)) for piece in pieces), name
    assert rows(made.folder, "redactions.csv")
    assert any("redacted" in line for line in made.not_shown)
    copies = [name for name, _ in files(made.folder) if name.startswith("redacted/")]
    assert copies
    if "persons" in asked.get("redact", ()):
        assert "person-1" in "".join(data.decode() for name, data in files(made.folder) if name in copies)
        owners = {key.owner for key in made.manifest.keys}
        assert owners == {"person-1", "person-2"}, "two persons stay two"


def test_a_kept_head_is_named_and_looked_for(story: st.Story, tmp_path: Path) -> None:
    made = bundle(story, tmp_path / "a", witness=story.ws.ledger.head())
    assert made.report.ok
    assert any("said to have been kept" in line for line in made.not_shown)
    wrong = bundle(story, tmp_path / "b", witness=Head(3, "0" * 64))
    assert not wrong.report.ok
    assert "not in the chain" in str(wrong.report.report.problems[0])


def test_an_admission_has_a_bundle_too(story: st.Story, tmp_path: Path) -> None:
    assert story.admission is not None
    made = make(story.ws, story.admission.ref, tmp_path / "b", now_ns=MADE)
    assert made.report.ok, made.report.report.problems
    assert "ADMIT, admission of dynamics" in (made.folder / "README.md").read_text()
    with pytest.raises(NotFound, match="no such decision"):
        make(story.ws, Ref("decision", "0" * 64), tmp_path / "c", now_ns=MADE)


def test_a_weak_decision_says_how_weak(workspace: Workspace, tmp_path: Path) -> None:
    """Too few trials, some excluded, some violations, nobody approved, run out, a bin empty, a claim that fails."""
    release = st.register_release(workspace, fakes)
    scene = scenarios.register(workspace, scenarios.Scenario(name="one", site="bench", initial={"x": 0.1})).digest
    bins = Bins(site="bench", name="reach", path="initial.x", edges=(0.0, 0.5, 1.0))
    suite = scenarios.register_suite(
        workspace, scenarios.Suite(name="s", role="gate-holdout", scenarios=(scene,), coverage=(bins,))
    )
    from worldgate.evidence import policy as policies
    from worldgate.evidence.decide import Scope, decide

    policy = policies.register(workspace, policies.load("promotion-simulated"))
    from worldgate.core.streams import Origin

    made = promotions.plan(workspace, policy, release, held=suite, now_ns=st.NOW, executor=Origin.SIMULATED)
    promotions.run(workspace, made, [False], excluded="camera")
    decision = decide(workspace, policy, release, scope=Scope(slots=(st.SLOT,)), now_ns=st.NOW + st.HOUR)
    promotions.run(workspace, made, [True], executor=Origin.IMAGINED)
    waived = {"check": "success", "decision": decision.ref.digest, "reason": "x"}
    workspace.record("gate.waived", body=waived, valid_to_ns=st.NOW + st.DAY)
    told = make(workspace, decision.ref, tmp_path / "b", now_ns=st.NOW + 400 * st.DAY)
    text = "\n".join(told.not_shown)
    for part in (
        "Not real: simulated stands in for real",
        "Check success is",
        "1 of 2 trials are simulated",
        "1 of 2 trials are imagined",
        "1 trials were excluded",
        "1 trials were recorded after the decision",
        "not in force when this bundle is made",
        "Approved by 0 of",
        "Waived by a signature, not shown by evidence: success",
        "Nothing is shown for reach 0.5 to 1 at bench",
        "No hour of real operation",
    ):
        assert part in text, part


def test_a_bundle_of_a_release_without_trials_says_so(workspace: Workspace, tmp_path: Path) -> None:
    told = st.promote(workspace, fakes, model=False, outcomes=[])
    made = make(workspace, told.decision.ref, tmp_path / "b", now_ns=MADE)
    assert made.report.ok, made.report.report.problems


def test_cells_that_a_spreadsheet_would_run_are_text() -> None:
    data = csv_of(("a",), [("=1+1",), ("-x",), ("-1",), ("@x",), ("",)])
    assert data.decode().splitlines() == ["a", "'=1+1", "'-x", "-1", "'@x", '""']


# ---- the form -------------------------------------------------------------------------------------------------------


def test_a_bundle_of_a_newer_worldgate_is_refused_loudly(story: st.Story, tmp_path: Path) -> None:
    made = bundle(story, tmp_path / "b")
    tree = json.loads((made.folder / MANIFEST).read_bytes())
    (made.folder / MANIFEST).write_bytes(canonical({**tree, "schema": "worldgate/bundle/2"}))
    with pytest.raises(SchemaTooNew, match="worldgate/bundle/2"):
        verify_bundle(made.folder, recompute=RECOMPUTE)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"a":1,"a":2}', b'{"schema":"worldgate/bundle/x"}', b"\xff"])
def test_what_is_no_manifest_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / MANIFEST).write_bytes(data)
    with pytest.raises(Tampered, match="not a bundle"):
        Bundle(tmp_path)


def test_a_bundle_is_never_written_over_its_own_files(story: st.Story, tmp_path: Path) -> None:
    head = story.ws.ledger.head()
    common: dict[str, Any] = {
        "decision": "0" * 64, "decision_seq": 1, "head": head, "made_at_ns": 1, "why": {}, "objects": [],
        "withheld": {},
    }  # fmt: skip
    for name in ("bundle.json", "ledger.jsonl", "objects/x", "../x"):
        with pytest.raises(UsageError, match="bundle's own"):
            bundles.write(story.ws, tmp_path / "b", Contents(**common, files={name: b""}))
    with pytest.raises(DataRefused, match="without the decision"):
        bundles.check_contents(Contents(**common))


# ---- redaction ------------------------------------------------------------------------------------------------------


def test_words_match_whole_whatever_their_case_and_inside_base64() -> None:
    redactor = Redactor({"ada": "person-1", "ada-laptop": "person-1-key"})
    assert redactor.text("Ada said: ada-laptop, ADA's, adapter") == "person-1 said: person-1-key, person-1's, adapter"
    packed = base64.b64encode(b'{"who":"Ada herself"}').decode()
    assert redactor.hides({"a": [packed]})
    assert redactor.hides({"Ada": 1})
    assert not redactor.hides({"a": [base64.b64encode(b"\xff" * 18).decode(), "adapter", 3, None]})
    assert redactor.tree({"Ada": [packed, 3, ("ada",)]}) == {"person-1": ["withheld", 3, ["person-1"]]}
    assert not Redactor({}).hides({"a": "anything"})


def test_names_are_found_where_the_ledger_says_them(story: st.Story) -> None:
    events = list(story.ws.ledger.events())
    assert of_events(events, ("persons",)).words == {"tester": "person-1", "bea": "person-2"}
    assert of_events(events, ("serials",)).words == {"ur5": "serial-1"}
    assert of_events(events, ("sites",), ("x", "bench")).words == {"bench": "site-1", "x": "withheld-1"}


def test_a_key_by_another_name_is_its_owners(workspace: Workspace) -> None:
    workspace.add_key("laptop", owner="ada")
    assert of_events(workspace.ledger.events(), ("persons",)).words["laptop"] == "person-2-key"

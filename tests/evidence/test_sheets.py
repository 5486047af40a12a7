"""Sheets: what a person notes becomes one trial of its row, once, whatever is sent again or made up."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
from tests.plans_to_run import CODES, NOW, SLOT, registered

from worldgate.core.errors import DataRefused, NotFound, UsageError
from worldgate.evidence import plans, sheets
from worldgate.evidence.sheets import Book, Sheet
from worldgate.evidence.trials import record_trials
from worldgate.record.verify import verify
from worldgate.record.workspace import Workspace

LATER = NOW + 10**12


def made(plan: str, row: int = 1, **changes: Any) -> Sheet:
    fields: dict[str, Any] = {
        "plan": plan,
        "row": row,
        "entry": f"entry-{row:04d}",
        "client": "tablet-one",
        "started_ns": NOW + row * 10**9,
        "duration_s": 12.5,
        "success": True,
    }
    return Sheet(**{**fields, **changes})


@pytest.fixture
def plan(workspace: Workspace) -> str:
    return registered(workspace, baseline=True)


@pytest.fixture
def book(workspace: Workspace, plan: str) -> Book:
    return Book(workspace, plan, actor="tester")


def _trials(ws: Workspace) -> list[dict[str, Any]]:
    return [ws.get_json(event.body["trial"]) for event in ws.ledger.events("trial.run")]


def test_a_sheet_becomes_the_trial_of_its_row_signed_by_the_operator(
    workspace: Workspace, book: Book, plan: str
) -> None:
    sheet = made(plan, violations=2, success=False, interventions_s=(3.5,), note="slipped")
    assert book.record(sheet, now_ns=LATER) == ""
    (event,) = workspace.ledger.events("trial.run")
    trial, row = workspace.get_json(event.body["trial"]), book.plan.rows[0]
    wanted = book.plan.release if row.side == "new" else book.plan.baseline
    assert (trial["plan"], trial["row"], trial["release"], trial["slot"]) == (plan, 1, wanted, SLOT)
    assert (trial["scenario"], trial["seed"], trial["executor"]) == (row.scenario, row.seed, "real")
    assert trial["metrics"] == {"duration_s": 12.5, "interventions": 1.0}
    assert (trial["violations"], trial["success"], trial["started_ns"]) == (2, False, NOW + 10**9)
    assert event.actor == workspace.signer("tester").public_key.keyid
    (noted,) = [ref for ref in event.inputs if ref.kind == "trial_sheet"]
    assert Sheet.from_json(workspace.get_json(noted.digest)) == sheet
    assert verify(workspace).ok


def test_a_trial_outside_the_plan_takes_no_row(workspace: Workspace, book: Book, plan: str) -> None:
    loose = dataclasses.replace(sheets.trial_of(book.plan, plan, book.plan.rows[0], made(plan)), plan="", row=0)
    record_trials(workspace, [loose])
    book.refresh()
    assert book.done == frozenset()


def test_each_side_of_a_pair_becomes_its_own_release(book: Book, plan: str, workspace: Workspace) -> None:
    for row in (1, 2):
        book.record(made(plan, row), now_ns=LATER)
    assert {t["release"] for t in _trials(workspace)} == {book.plan.release, book.plan.baseline}


def test_sending_an_entry_again_records_nothing_more(workspace: Workspace, book: Book, plan: str) -> None:
    for _ in range(3):
        assert book.record(made(plan), now_ns=LATER) == ""
    assert Book(workspace, plan).record(made(plan), now_ns=LATER) == ""  # another program knows it as well
    assert len(_trials(workspace)) == 1


def test_a_second_run_of_a_row_is_refused_and_stands_on_the_ledger_as_that(
    workspace: Workspace, book: Book, plan: str
) -> None:
    other = Book(workspace, plan)
    book.record(made(plan, success=False), now_ns=LATER)
    again = made(plan, entry="another-entry")
    for held in (other, book, Book(workspace, plan)):
        assert held.record(again, now_ns=LATER) == "this row has been run"
    assert [t["success"] for t in _trials(workspace)] == [False]
    (event,) = workspace.ledger.events(sheets.REFUSED)
    assert workspace.get_json(event.outputs[0].digest)["entry"] == "another-entry"


def test_a_row_that_another_device_holds_is_refused(workspace: Workspace, book: Book, plan: str) -> None:
    assert book.record(made(plan), now_ns=LATER, held_by="tablet-two") == "another device has this row now"
    assert not _trials(workspace)


def test_a_trial_recorded_by_other_means_takes_its_row(workspace: Workspace, book: Book, plan: str) -> None:
    trial = sheets.trial_of(book.plan, plan, book.plan.rows[0], made(plan))
    record_trials(workspace, [trial])
    assert book.record(made(plan), now_ns=LATER) == "this row has been run"
    assert book.done == {1}


OFF: list[tuple[dict[str, Any], str]] = [
    ({"row": 0}, "no such row"),
    ({"row": 9}, "no such row"),
    ({"plan": "0" * 64}, "another plan"),
    ({"entry": "short"}, "not an id"),
    ({"entry": "../../etc/passwd"}, "not an id"),
    ({"client": "é" * 10}, "not an id"),
    ({"excluded": "did not like it"}, "not an exclusion of the plan"),
    ({"goals": {"never asked": True}}, "other sub-goals"),
    ({"duration_s": math.nan}, "how long"),
    ({"duration_s": -1.0}, "how long"),
    ({"duration_s": 1e9}, "how long"),
    ({"violations": -1}, "outside its range"),
    ({"clock_error_ns": -1}, "outside its range"),
    ({"interventions_s": (13.0,), "success": False}, "interventions outside"),
    ({"interventions_s": (math.nan,), "success": False}, "interventions outside"),
    ({"interventions_s": (1.0,)}, "needed a hand"),
    ({"note": "x" * 2001}, "too long"),
    ({"started_ns": NOW - 1}, "before its plan"),
    ({"started_ns": LATER + 61 * 10**9}, "in the future"),
    ({"started_ns": 10**40}, "in the future"),
]


def test_what_is_not_of_the_plan_is_refused(workspace: Workspace, book: Book, plan: str) -> None:
    for changes, said in OFF:
        with pytest.raises(DataRefused, match=said):
            book.record(dataclasses.replace(made(plan), **changes), now_ns=LATER)
    assert not _trials(workspace)


def test_a_code_of_the_plan_excludes(workspace: Workspace, book: Book, plan: str) -> None:
    book.record(made(plan, excluded=CODES[0], success=False), now_ns=LATER)
    assert _trials(workspace)[0]["excluded"] == CODES[0]


def test_a_plan_that_is_not_on_the_ledger_has_no_book(workspace: Workspace, book: Book) -> None:
    loose = workspace.put_json(dataclasses.replace(book.plan, name="loose").to_json())
    with pytest.raises(DataRefused, match="not on the ledger"):
        Book(workspace, loose)


def test_a_key_that_is_not_there_is_known_before_the_first_run(workspace: Workspace, plan: str) -> None:
    with pytest.raises(NotFound):
        Book(workspace, plan, actor="nobody")


def test_what_may_be_told_ends_at_the_last_whole_pair(workspace: Workspace, book: Book, plan: str) -> None:
    begun = book.whole
    assert [e.seq for e in workspace.ledger.events(plans.REGISTERED)] == [begun]
    book.record(made(plan, 1), now_ns=LATER)
    assert book.whole == begun
    book.record(made(plan, 2), now_ns=LATER)
    pair = book.whole
    assert pair == workspace.ledger.head().seq
    book.record(made(plan, 3), now_ns=LATER)
    assert book.whole == pair


def test_a_rubric_gives_goals_and_the_trial_counts_them(workspace: Workspace) -> None:
    plan = registered(workspace, rubric=("held", "set down"))
    book = Book(workspace, plan)
    with pytest.raises(DataRefused, match="sub-goals"):
        book.record(made(plan), now_ns=LATER)
    book.record(made(plan, goals={"held": True, "set down": False}), now_ns=LATER)
    assert _trials(workspace)[0]["metrics"]["goals_reached"] == 1.0


def test_another_schema_or_a_field_nobody_knows_is_refused(plan: str) -> None:
    tree = made(plan).to_json()
    with pytest.raises(DataRefused, match="not a sheet"):
        Sheet.from_json({**tree, "schema": "worldgate/trial-sheet/9"})
    with pytest.raises(UsageError, match="unknown key"):
        Sheet.from_json({**tree, "release": "r1"})

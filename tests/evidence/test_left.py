"""What is left of a plan is the gate's own answer, asked without recording one."""

from __future__ import annotations

import dataclasses

from tests.plans_to_run import NOW, registered

from worldgate.evidence import plans
from worldgate.evidence.left import left
from worldgate.evidence.sheets import Book, Sheet
from worldgate.record.workspace import Workspace


def test_the_gate_is_asked_and_nothing_is_recorded(workspace: Workspace) -> None:
    plan = registered(workspace, scenes=4)
    before = workspace.ledger.head()
    found = left(workspace, plan, now_ns=NOW + 1)
    assert not found.decided
    assert any("success" in words and "needs" in words for words in found.missing)
    assert workspace.ledger.head() == before


def test_what_was_not_yet_on_the_ledger_is_not_told(workspace: Workspace) -> None:
    plan = registered(workspace, scenes=4)
    begun = workspace.ledger.head().seq
    told = left(workspace, plan, now_ns=NOW + 10**12)
    book = Book(workspace, plan)
    for row in range(1, 5):
        sheet = Sheet(
            plan=plan,
            row=row,
            entry=f"entry-{row:04d}",
            client="tablet-one",
            started_ns=NOW + row,
            duration_s=1.0,
            success=False,
        )
        book.record(sheet, now_ns=NOW + 10**12)
    assert left(workspace, plan, now_ns=NOW + 10**12, upto_seq=begun) == told
    assert left(workspace, plan, now_ns=NOW + 10**12) != told


def test_a_plan_that_a_newer_one_replaced_is_told_so(workspace: Workspace) -> None:
    plan = registered(workspace, scenes=2)
    held = plans.load(workspace, plan)
    newer = plans.register(workspace, dataclasses.replace(held, name="again"))
    told = left(workspace, plan, now_ns=NOW + 1)
    assert not told.decided
    assert f"a newer plan of this release stands on the ledger, {newer.digest[:12]}" in told.missing[0]
    assert "newer" not in left(workspace, newer.digest, now_ns=NOW + 1).missing[0]

"""What counts as evidence, and what does not: a document given twice, trials of elsewhere or of another release."""

from __future__ import annotations

import dataclasses
from types import ModuleType
from typing import Any

import pytest
from tests.evidence import held_out
from tests.evidence.test_decide import NOW, SLOT, admit, loose, model_ref, promote, release, training

from worldgate.core.errors import UsageError
from worldgate.evidence import policy, scenarios, trials
from worldgate.evidence.counted import read_evidence
from worldgate.evidence.decide import Inputs, Scope, decide, gather, put_evidence
from worldgate.evidence.gap import gap
from worldgate.evidence.gap_report import GapConfig
from worldgate.evidence.recompute import RECOMPUTE, check_decision
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace


@pytest.mark.parametrize("scope", [Scope(), Scope(slots=(SLOT,)), Scope(sites=("bench",), slots=(SLOT,))])
def test_an_admission_without_sites_or_with_slots_is_refused(
    workspace: Workspace, fakes: ModuleType, scope: Scope
) -> None:
    gate = policy.register(workspace, policy.load("admission"))
    with pytest.raises(UsageError, match="scoped by sites"):
        decide(workspace, gate, model_ref(fakes), scope=scope, now_ns=NOW)


def test_of_two_reports_of_one_kind_nobody_picks_the_better(workspace: Workspace, fakes: ModuleType) -> None:
    reports = [gap(fakes.FakeModel(), [fakes.episode(i)], GapConfig(windows=2)) for i in range(2)]
    gate = policy.register(workspace, policy.load("admission"))
    put_evidence(workspace, training(fakes))
    given = [put_evidence(workspace, held_out.frozen(workspace, report)) for report in reports]
    with pytest.raises(UsageError, match="two documents of one kind"):
        decide(workspace, gate, model_ref(fakes), given, scope=Scope(sites=("bench",)), now_ns=NOW)


def test_trials_at_other_sites_are_counted_out_and_that_is_said(workspace: Workspace, fakes: ModuleType) -> None:
    ref = release(workspace, fakes)
    scene = scenarios.register(workspace, scenarios.Scenario(name="far", site="kitchen", initial={})).digest
    loose(workspace, ref, scene, success=True, slot="kitchen/ur5/left")
    notes = promote(workspace, ref).payload["notes"]
    assert "1 trials at other sites do not count" in notes


def inputs_of(ws: Workspace, ref: Ref) -> Inputs:
    rules, head = policy.load("promotion"), ws.ledger.head()
    return gather(
        ws,
        rules,
        ref,
        (),
        scope=Scope(slots=(SLOT,)),
        decided_at_ns=NOW,
        expires_ns=NOW + 1,
        head=(head.seq, head.hash),
    )


def test_a_list_of_trials_is_of_the_release_that_is_judged(workspace: Workspace, fakes: ModuleType) -> None:
    ref = release(workspace, fakes)
    given = inputs_of(workspace, ref)
    assert read_evidence(policy.load("promotion"), given).subject == ref.digest

    def another(doc: Any) -> Any:
        return {**doc, "release": "f" * 64} if doc.get("schema") == trials.LIST_SCHEMA else doc

    forged = dataclasses.replace(given, documents=tuple((d, another(doc)) for d, doc in given.documents))
    with pytest.raises(UsageError, match="trials of another release"):
        read_evidence(policy.load("promotion"), forged)


# ---- decisions of other hands ---------------------------------------------------------------------------------------


def test_a_decision_by_a_key_that_nobody_added_is_named(workspace: Workspace, fakes: ModuleType) -> None:
    promote(workspace, release(workspace, fakes))
    (event,) = workspace.ledger.events("gate.decided")
    assert check_decision(workspace, event) is None
    unknown = dataclasses.replace(event, actor="f" * 64)
    assert check_decision(workspace, unknown) == "its decision is signed by a key that the ledger does not know"


def test_a_decision_of_another_ledger_is_checked_as_far_as_it_is_here(
    workspace: Workspace, fakes: ModuleType, tmp_path: Any
) -> None:
    """Its signature is; its evidence stayed where it was made, and is recomputed there."""
    other = Workspace.init(tmp_path / "other", person="ada")
    promote(other, release(other, fakes))
    root = other.ledger.keyring().root()
    assert root is not None
    workspace.trust_ledger(other.id, root=root)
    workspace.ledger.import_events(other.ledger.events())
    (theirs,) = workspace.ledger.events("gate.decided")
    for digest in theirs.objects:
        workspace.store.put_bytes(other.store.get(digest))
    assert RECOMPUTE["gate.decided"](workspace, theirs) is None
    forged = dataclasses.replace(theirs, body={**theirs.body, "verdict": "PROMOTE"})
    assert check_decision(workspace, forged) == "its event says another verdict or subject than the decision"


def test_a_decision_is_no_evidence_for_another_one(workspace: Workspace, fakes: ModuleType) -> None:
    found = admit(workspace, fakes)
    gate = policy.register(workspace, policy.load("admission"))
    with pytest.raises(UsageError, match="evidence that no gate reads"):
        decide(workspace, gate, model_ref(fakes), [found.ref], scope=Scope(sites=("bench",)), now_ns=NOW)

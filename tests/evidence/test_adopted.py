"""Policies that a site adopted: nothing runs there under another, whoever approved it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from tests.evidence.promotions_to_sign import LEFT, Hall, gate

from worldgate.cli import main
from worldgate.core.errors import NameRefused, NotAuthorised, UsageError
from worldgate.core.times import now_ns
from worldgate.evidence import policy
from worldgate.evidence.adopted import ADOPTED, adopt
from worldgate.evidence.decide import DAY_NS
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace


@pytest.fixture
def hall(workspace: Workspace) -> Hall:
    return Hall.of(workspace)


def lax(hall: Hall, **rules: Any) -> Ref:
    return gate(hall.ws, name="lax", **rules)


def promoted(hall: Hall, under: Ref) -> None:
    hall.approves(hall.promoted(gate=under))


def test_where_none_is_adopted_any_policy_serves(hall: Hall) -> None:
    promoted(hall, lax(hall))
    assert hall.authorised().release == hall.release.digest


def test_a_promotion_under_another_policy_runs_nowhere_that_adopted_one(hall: Hall) -> None:
    adopt(hall.ws, hall.gate, ["bench"], key="cy")
    promoted(hall, lax(hall))
    with pytest.raises(NotAuthorised, match="did not adopt"):
        hall.authorised()
    promoted(hall, hall.gate)
    assert hall.authorised().release == hall.release.digest


def test_an_adoption_ends_what_was_promoted_before(hall: Hall) -> None:
    promoted(hall, lax(hall))
    adopt(hall.ws, hall.gate, ["bench"], key="cy")
    with pytest.raises(NotAuthorised, match="did not adopt"):
        hall.authorised()


def test_the_newest_adoption_of_a_stage_speaks(hall: Hall) -> None:
    other = lax(hall)
    adopt(hall.ws, hall.gate, ["bench"], key="cy")
    adopt(hall.ws, other, ["bench"], key="bob")
    promoted(hall, other)
    assert hall.authorised().release == hall.release.digest


def test_a_stage_for_which_the_site_adopted_nothing_takes_nothing(hall: Hall) -> None:
    adopt(hall.ws, gate(hall.ws, name="canary", stage="canary"), ["bench"], key="cy")
    promoted(hall, lax(hall, stage="fleet"))
    with pytest.raises(NotAuthorised, match="did not adopt") as caught:
        hall.authorised(stage="canary")
    assert "bench adopted no policy for fleet" in str(caught.value)


def test_another_sites_adoption_binds_nobody_here(hall: Hall) -> None:
    adopt(hall.ws, hall.gate, ["kitchen"], key="cy")
    promoted(hall, lax(hall))
    assert hall.authorised().release == hall.release.digest


def test_what_the_releaser_adopts_does_not_count_for_their_release(hall: Hall) -> None:
    other = lax(hall)
    adopt(hall.ws, hall.gate, ["bench"], key="cy")
    adopt(hall.ws, other, ["bench"], key="ada")
    promoted(hall, other)
    with pytest.raises(NotAuthorised, match="did not adopt"):
        hall.authorised()


def test_an_adoption_falls_with_its_key(hall: Hall) -> None:
    adopt(hall.ws, hall.gate, ["bench"], key="cy")
    promoted(hall, lax(hall))
    hall.ws.revoke_key(hall.ws.signer("cy").public_key.keyid, reason="lost")
    assert hall.authorised().release == hall.release.digest
    with pytest.raises(NotAuthorised, match="only a person"):
        adopt(hall.ws, hall.gate, ["bench"], key="cy")


@pytest.mark.parametrize("key", ["machine", "ur5"])
def test_only_a_person_adopts(hall: Hall, key: str) -> None:
    with pytest.raises(NotAuthorised, match="only a person"):
        adopt(hall.ws, hall.gate, ["bench"], key=key)
    hall.ws.record(ADOPTED, body={"policy": hall.gate.digest, "stage": "site", "sites": ["bench"]}, actor=key)
    promoted(hall, lax(hall))
    assert hall.authorised().release == hall.release.digest


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"policy": "0" * 64, "stage": "site", "sites": "bench"},
        {"policy": "0" * 64, "stage": "moon", "sites": ["bench"]},
        {"policy": 7, "stage": "site", "sites": ["bench"]},
        {"policy": "0" * 64, "stage": ["site"], "sites": ["bench"]},
    ],
)
def test_signed_nonsense_adopts_nothing_and_stops_nothing(hall: Hall, body: Mapping[str, Any]) -> None:
    hall.ws.record(ADOPTED, body=dict(body), actor="cy")
    promoted(hall, lax(hall))
    assert hall.authorised().release == hall.release.digest


def test_what_cannot_be_adopted_is_refused(hall: Hall) -> None:
    admission = policy.register(hall.ws, policy.load("admission"))
    elsewhere = lax(hall, sites=["kitchen"])
    for given, sites in ((admission, ["bench"]), (hall.gate, []), (elsewhere, ["bench"])):
        with pytest.raises(UsageError):
            adopt(hall.ws, given, sites, key="cy")
    with pytest.raises(NameRefused):
        adopt(hall.ws, hall.gate, ["../bench"], key="cy")
    assert list(hall.ws.ledger.events(ADOPTED)) == []


def test_from_the_command_line(hall: Hall, capsys: pytest.CaptureFixture[str]) -> None:
    place = ["--workspace", str(hall.ws.root)]
    decision = hall.promoted(at=now_ns())
    hall.approves(decision, now_ns=now_ns(), expires_ns=now_ns() + DAY_NS)
    assert main(["gate", "authorised", "r1", "--slot", LEFT, *place]) == 0
    assert "bench has adopted no policy: promotions under any count here" in capsys.readouterr().out
    assert main(["gate", "adopt", "promotion", "--site", "bench", "--key", "cy", *place]) == 0
    assert "bench: stage site under promotion" in capsys.readouterr().out
    assert main(["gate", "authorised", "r1", "--slot", LEFT, *place]) == 3
    assert "did not adopt" in capsys.readouterr().out
    assert main(["gate", "adopt", "quick", "--site", "bench", "--key", "cy", *place]) == 0
    assert main(["gate", "authorised", "r1", "--slot", LEFT, *place]) == 0
    assert "adopted no policy" not in capsys.readouterr().out

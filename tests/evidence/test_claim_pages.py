"""Claims as rows and as a picture, where an element supports more than one other."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

from tests.evidence.test_claims import goal, tree

from worldgate.evidence import claim_status, claims
from worldgate.evidence.claim_svg import draw
from worldgate.record.workspace import Workspace

NOW = 1_800_000_000_000_000_000
ASKED: dict[str, Any] = {"text": "The record", "level": "", "query": {"kind": "record", "fresh_days": 1}}


def assessed(ws: Workspace) -> claim_status.Assessment:
    """G1 rests on two goals, and both of them on the same evidence."""
    told = tree(goal={"G1": goal("G2", "G3"), "G2": goal("E1"), "G3": goal("E1")}, solution={"E1": ASKED})
    return claim_status.assess(claims.read(told, where="x.toml"), ws, now_ns=NOW)


def test_what_supports_two_claims_is_drawn_once_and_told_once(workspace: Workspace) -> None:
    found = assessed(workspace)
    words = [
        "".join(element.itertext()) for element in ET.fromstring(draw(found)).iter() if element.tag.endswith("text")
    ]
    assert sum("The record" in text for text in words) == 1
    assert [line[0] for line in claim_status.lines(found)].count("E1") == 1


def test_a_row_tells_standing_age_and_reason(workspace: Workspace) -> None:
    rows = {line[0]: line for line in claim_status.lines(assessed(workspace))}
    assert set(rows) == {"G1", "G2", "G3", "E1"}
    found = assessed(workspace).claims["E1"]
    assert found.standing is not None
    assert rows["E1"][1:3] == ("solution", found.standing.value)
    assert rows["E1"][4] == ("" if found.age_days is None else str(found.age_days))
    assert rows["E1"][6:] == ("The record", found.reason)

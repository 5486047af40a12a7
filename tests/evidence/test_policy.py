"""Gate policies: completed when read, refused when they would let something slip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from worldgate.core.errors import ConfigError, NameRefused, NotFound
from worldgate.core.streams import Origin
from worldgate.evidence import policy
from worldgate.record.workspace import Workspace

SUCCESS = {"check": "success", "params": {"p0": "0.9"}}


def tree(**changes: Any) -> dict[str, Any]:
    return {"name": "gate", "kind": "promotion", "checks": [SUCCESS], **changes}


def test_the_population_is_real_unless_the_file_says_otherwise() -> None:
    assert policy.read(tree(), where="p").origins == {Origin.REAL}
    stand_in = policy.read(tree(population="simulated stands in for real"), where="p")
    assert stand_in.origins == {Origin.REAL, Origin.SIMULATED}


def test_imagined_data_never_counts() -> None:
    for name in policy.shipped():
        assert Origin.IMAGINED not in policy.load(name).origins


@pytest.mark.parametrize("name", ["admission", "admission-simulated", "promotion", "promotion-simulated"])
def test_every_shipped_policy_loads_under_its_own_name(name: str) -> None:
    found = policy.load(name)
    assert found.name == name
    assert name.endswith("-simulated") == (found.population != "real")


def test_a_policy_holds_every_parameter_so_that_later_defaults_change_nothing() -> None:
    found = policy.read(tree(), where="p")
    assert found.checks[0].params == {"p0": "0.9", "alpha": "0.05", "looks": list(range(10, 101, 10))}
    assert policy.read(found.to_json(), where="p") == found


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"population": "simulated"}, "input should be"),
        ({"population": "imagined stands in for real"}, "input should be"),
        ({"checks": []}, "without checks"),
        ({"checks": [SUCCESS, SUCCESS]}, "stands twice"),
        ({"checks": [{"check": "skill"}]}, "belongs to admission"),
        ({"checks": [{"check": "successes"}]}, "no such check"),
        ({"checks": [{"check": "success", "params": {"alfa": "0.05"}}]}, "unknown key"),
        ({"schema": "worldgate/gate-policy/2"}, "not a gate policy"),
        ({"valid_for_days": 0}, "at least 1"),
        ({"approvals": 0}, "at least 1"),
        ({"approvals": 2, "approvers": ["ada", "ada"]}, "fewer approvers than approvals"),
        ({"site": ["bench"]}, "unknown key"),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        policy.read(tree(**changes), where="p")


def test_a_name_that_could_leave_its_folder_is_refused() -> None:
    with pytest.raises(NameRefused):
        policy.read(tree(name="../gate"), where="p")


def test_an_unknown_policy_names_those_there_are() -> None:
    with pytest.raises(NotFound) as caught:
        policy.load("promotoin")
    assert "promotion" in str(caught.value.hint)


def test_a_policy_file_is_read_and_registered_once(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\nkind = "promotion"\n[[checks]]\ncheck = "success"\n')
    found = policy.load(path)
    first = policy.register(workspace, found)
    assert policy.register(workspace, found) == first
    assert [e.body["policy"] for e in workspace.ledger.events("gate_policy.registered")] == [found.digest]

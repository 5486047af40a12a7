"""Contracts: what can be written is enforced, and what is misspelt is named with file, key and nearest key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from worldgate.core.config import read_toml
from worldgate.core.digest import digest_json, restore, to_json
from worldgate.core.errors import AlreadyExists, ConfigError, NameRefused, NotFound
from worldgate.data import contracts
from worldgate.data.contracts import Severity
from worldgate.data.resample import Policy
from worldgate.record.events import Ref

SMALL = """
name = "small"
[streams.action]
kind = "action"
width = 2
rate_hz = [9, 11]
[alignment]
rate_hz = 10.0
[alignment.streams.action]
policy = "hold"
[checks.gaps]
severity = "flag"
params = { periods = 4 }
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "small.toml"
    path.write_text(text)
    return path


def test_a_contract_is_read_from_toml(tmp_path: Path) -> None:
    contract = contracts.read(write(tmp_path, SMALL))
    assert contract.streams["action"].rate_hz == (9, 11)
    assert contract.checks["gaps"].severity is Severity.FLAG
    assert contract.spec().streams["action"].policy is Policy.HOLD
    assert contract.splits.fractions == {"train": 0.8, "val": 0.2}


@pytest.mark.parametrize(
    ("old", "new", "key", "near"),
    [
        ("[streams.action]", "[stream.action]", "stream", "streams"),
        ("width = 2", "widht = 2", "streams.action.widht", "width"),
        ("[alignment]\nrate_hz", "[alignment]\nrate", "alignment.rate", "rate_hz"),
        ("policy = ", "polcy = ", "alignment.streams.action.polcy", "policy"),
        ("severity = ", "sevrity = ", "checks.gaps.sevrity", "severity"),
        ("periods = 4", "period = 4", "checks.gaps.params:period", "periods"),
        ("[checks.gaps]", "[checks.gap]", "checks.gap", "gaps"),
    ],
)
def test_a_misspelt_key_names_file_key_and_nearest(tmp_path: Path, old: str, new: str, key: str, near: str) -> None:
    assert old in SMALL
    path = write(tmp_path, SMALL.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        contracts.read(path)
    message = str(caught.value)
    assert key in message
    assert f"did you mean {near}?" in message
    assert str(path) in message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('kind = "action"', 'kind = "motion"', "streams.action.kind"),
        ('severity = "flag"', 'severity = "warn"', "checks.gaps.severity"),
        ("[9, 11]", "[11, 9]", "from high to low"),
        ("rate_hz = 10.0", 'rate_hz = 10.0\nreference = "action"', "either a rate or a reference"),
        ("[alignment.streams.action]", "[alignment.streams.other]", "not required"),
        ("[checks.gaps]", "[splits]\nfractions = { train = 0.9, val = 0.2 }\n[checks.gaps]", "sum to 1"),
        ("[checks.gaps]", "[splits]\nfractions = { teach = 0.8, val = 0.2 }\n[checks.gaps]", "named train"),
        ("[streams.action]", "[streams]\n[unused]", "unused"),
        ("name =", "name", "not valid TOML"),
    ],
)
def test_a_value_that_cannot_hold_is_refused(tmp_path: Path, old: str, new: str, what: str) -> None:
    path = write(tmp_path, SMALL.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        contracts.read(path)
    assert what in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_name_that_climbs_out_of_its_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NameRefused):
        contracts.read(write(tmp_path, SMALL.replace('"small"', '"../small"')))


@pytest.mark.parametrize("name", contracts.shipped())
def test_shipped_contracts_are_valid_causal_and_round_trip_through_the_store(name: str, workspace: Any) -> None:
    contract = contracts.read(name)
    assert contract.name == name
    assert contract.alignment.causal
    ref = contracts.add(workspace, contract)
    assert contracts.load(workspace, ref.digest) == contract
    assert contracts.add(workspace, contract) == ref
    assert len(list(workspace.ledger.events("contract.added"))) == 1


def test_another_contract_of_the_same_name_and_version_is_refused(tmp_path: Path, workspace: Any) -> None:
    contracts.add(workspace, contracts.read(write(tmp_path, SMALL)))
    changed = contracts.read(write(tmp_path, SMALL.replace("width = 2", "width = 3")))
    with pytest.raises(AlreadyExists, match="version = 2"):
        contracts.add(workspace, changed)
    second = contracts.read(write(tmp_path, "version = 2\n" + SMALL.replace("width = 2", "width = 3")))
    contracts.add(workspace, second)
    with pytest.raises(AlreadyExists, match="version = 3"):
        contracts.add(workspace, changed)


SHIPPED = {
    "cell.v3": "f8cc7d70933aa2d5",
    "cell-full.v1": "d4ac7bf607b1ea5c",
    "comma2k19.v1": "62ab5fce8a47ab0e",
    "droid.v2": "46aa8344f638c826",
    "g1.v2": "49b1a55b8a6f6d70",
    "openarm.v1": "614410c8e9684fdc",
    "px4.v2": "1ea70372ffd3d626",
}
"""What each shipped contract says. A change needs a new version: workspaces hold the older one under its name."""


@pytest.mark.parametrize("name", contracts.shipped())
def test_a_shipped_contract_that_changes_gets_a_new_version(name: str) -> None:
    tree = read_toml(contracts.SHIPPED / f"{name}.toml")
    pinned = SHIPPED.get(f"{name}.v{tree['version']}")
    assert pinned == digest_json(tree)[:16], f"raise the version of {name} and pin it here"


def test_a_contract_that_an_older_version_recorded_without_later_fields_is_the_same(
    tmp_path: Path, workspace: Any
) -> None:
    contract = contracts.read(write(tmp_path, SMALL))
    tree = restore(to_json(contract))
    for later in ("duplicates", "retention", "licences"):
        del tree[later]
    del tree["alignment"]["logs"]
    older = Ref("contract", workspace.put_json(tree), "small.v1")
    workspace.record("contract.added", body={"contract": "small", "version": 1}, outputs=[older])
    assert contracts.add(workspace, contract) == older
    changed = contracts.read(write(tmp_path, SMALL.replace("width = 2", "width = 3")))
    with pytest.raises(AlreadyExists, match="version = 2"):
        contracts.add(workspace, changed)


def test_an_unknown_contract_lists_the_shipped_ones() -> None:
    with pytest.raises(NotFound, match="cell"):
        contracts.read("sell")


def test_the_contract_on_the_how_to_page_is_a_contract(tmp_path: Path) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "write-a-contract.md"
    blocks = re.findall(r"^```toml\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)
    *whole, by_fact = blocks
    contract = contracts.read(write(tmp_path, "\n".join(whole)))
    assert set(contract.checks) == {"finite", "gaps", "jump"}
    other = contracts.read(write(tmp_path, "\n".join(whole).split("[splits]")[0] + by_fact))
    assert other.splits.by == "site"

"""The check stage: the contract's word, recorded with evidence, reused, and raised when asked to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worldgate.core.errors import ContractBroken
from worldgate.core.streams import Origin
from worldgate.data import contracts
from worldgate.data.check import check, reasons
from worldgate.data.contracts import Severity
from worldgate.data.ingest import ingest

Record = Callable[..., Path]


def add(ws: Any, path: Path, **changes: str) -> Any:
    text = path.read_text()
    for old, new in changes.items():
        text = text.replace(old, new)
    path.write_text(text)
    return contracts.add(ws, contracts.read(path))


def test_a_good_log_is_accepted_with_its_flags_on_record(
    workspace: Any, record_log: Record, contract_file: Path
) -> None:
    refs = ingest(workspace, record_log(1))
    (checked,) = check(workspace, refs, add(workspace, contract_file), strict=True)
    assert checked.accepted
    assert {f.check for f in checked.found(Severity.FLAG)} == {"jitter"}
    (event,) = workspace.ledger.events("log.checked")
    assert event.body["accepted"] is True
    assert [ref.kind for ref in event.inputs] == ["log", "contract"]
    assert {o["check"] for o in event.body["outcomes"]} >= {"contract", "copies", "finite", "frozen", "gaps", "stamps"}


def test_what_was_found_is_not_computed_again(workspace: Any, record_log: Record, contract_file: Path) -> None:
    refs, contract = ingest(workspace, record_log(1)), add(workspace, contract_file)
    first = check(workspace, refs, contract)
    assert check(workspace, None, contract) == first
    assert len(list(workspace.ledger.events("log.checked"))) == 1


def nan(streams: list[Any]) -> list[Any]:
    values = streams[0].array.copy()
    values[40:45] = np.nan
    return [replace(streams[0], values=values), *streams[1:]]


def white(streams: list[Any]) -> list[Any]:
    frames = type(streams[2].values)(np.full_like(streams[2].values.images, 255))
    return [*streams[:2], replace(streams[2], values=frames)]


def degrees(streams: list[Any]) -> list[Any]:
    return [replace(streams[0], info=replace(streams[0].info, unit="deg")), *streams[1:]]


def slow(streams: list[Any]) -> list[Any]:
    return [replace(streams[0], times_ns=streams[0].times_ns[::2], values=streams[0].array[::2]), *streams[1:]]


def narrow(streams: list[Any]) -> list[Any]:
    return [
        replace(streams[0], values=streams[0].array[:, :2], info=replace(streams[0].info, shape=(2,))),
        *streams[1:],
    ]


def blind(streams: list[Any]) -> list[Any]:
    return streams[:2]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (nan, ["finite", "observation.state", "5 of 100"]),
        (white, ["blank", "observation.images.front", "blank white"]),
        (degrees, ["observation.state", "is in deg, not rad"]),
        (slow, ["observation.state", "runs at 25", "not 45 to 55"]),
        (narrow, ["observation.state", "is 2 wide, not 3"]),
        (blind, ["observation.images.front", "is missing"]),
    ],
)
def test_a_spoilt_log_is_refused_by_name(
    workspace: Any, record_log: Record, contract_file: Path, spoil: Any, words: list[str]
) -> None:
    refs = ingest(workspace, record_log(1, spoil=spoil))
    contract = add(workspace, contract_file)
    (checked,) = check(workspace, refs, contract)
    assert not checked.accepted
    (reason,) = reasons([checked])
    assert all(word in reason for word in words), reason
    with pytest.raises(ContractBroken) as caught:
        check(workspace, refs, contract, strict=True)
    assert reason in str(caught.value)
    assert caught.value.exit_code == 4


def test_a_span_says_where_the_damage_is(workspace: Any, record_log: Record, contract_file: Path) -> None:
    (ref,) = ingest(workspace, record_log(1, spoil=nan))
    (checked,) = check(workspace, [ref], add(workspace, contract_file))
    (finding,) = checked.found(Severity.REFUSE)
    ((start, end),) = finding.spans_ns
    assert (end - start) / 1e9 == pytest.approx(0.1, abs=0.002)


def test_origin_label_and_privacy_are_enforced(workspace: Any, record_log: Record, contract_file: Path) -> None:
    contract_file.write_text(
        contract_file.read_text() + '\n[privacy]\nforbidden = ["*.front"]\nforbidden_facts = ["succ*"]\n'
    )
    text = contract_file.read_text().replace('required = ["success"]', 'required = ["operator"]')
    contract_file.write_text(text)
    refs = ingest(workspace, record_log(1, origin=Origin.SIMULATED))
    (checked,) = check(workspace, refs, add(workspace, contract_file))
    said = "; ".join(reasons([checked]))
    assert "is simulated, the contract takes real" in said
    assert "label operator is missing" in said
    assert "observation.images.front is forbidden" in said
    assert "the fact success is forbidden" in said


def test_a_camera_that_is_byte_identical_in_two_logs_is_flagged_in_both(
    workspace: Any, record_log: Record, contract_file: Path
) -> None:
    held: list[Any] = []

    def same_camera(streams: list[Any]) -> list[Any]:
        held.append(streams[2])
        return [*streams[:2], held[0]]

    refs = [r for seed in (1, 2) for r in ingest(workspace, record_log(seed, spoil=same_camera))]
    contract = add(workspace, contract_file)
    first = check(workspace, refs[:1], contract)[0]
    assert [f.stream for f in first.found() if f.check == "copies"] == ["observation.images.front"]
    both = check(workspace, refs, contract)
    assert all("in 1 other logs" in f.message for c in both for f in c.found() if f.check == "copies")

"""The pages of a plan's trials: what devices are told, what they can record, and what nobody can learn from them."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.console.asking import Device, Reply
from tests.plans_to_run import CODES, NOW, PNG, SLOT, registered

from worldgate.console.desk import Desk, DeskConfig
from worldgate.console.trials import app
from worldgate.core.errors import DataRefused
from worldgate.evidence import plans, sheets
from worldgate.evidence.sheets import REFUSED
from worldgate.record.workspace import Workspace

TOKEN = "a-token-that-nobody-can-guess-0001"
LATER = NOW + 10**12


class Clock:
    def __init__(self) -> None:
        self.now = LATER

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def desk_of(ws: Workspace, plan: str, clock: Clock, **config: Any) -> Desk:
    return Desk(ws, plan, actor="tester", config=DeskConfig(**config), clock=clock)


def entered(desk: Desk) -> Device:
    device = Device(app(desk, token=TOKEN))
    assert device.enter(TOKEN).status == 303
    return device


def lease(device: Device, client: str = "tablet-one", slot: str = SLOT) -> Any:
    reply = device.post("/api/lease", {"client": client, "slot": slot})
    assert reply.status == 200
    return reply.json


def entry(plan: str, row: int, **changes: Any) -> dict[str, Any]:
    return {
        "schema": sheets.SCHEMA, "plan": plan, "row": row, "entry": f"entry-{row:04d}", "client": "tablet-one",
        "started_ns": str(NOW + row), "clock_error_ns": "0", "duration_s": 3.5, "success": True, "goals": {},
        "violations": 0, "interventions_s": [], "excluded": "", "note": "", **changes,
    }  # fmt: skip


def trials(ws: Workspace) -> list[dict[str, Any]]:
    return [ws.get_json(event.body["trial"]) for event in ws.ledger.events("trial.run")]


def test_a_run_goes_from_its_lease_to_the_ledger(workspace: Workspace, clock: Clock) -> None:
    plan = registered(workspace)
    device = entered(desk_of(workspace, plan, clock, pairs_ahead=2))
    about = device.get("/api/plan").json
    assert about["rows"] == 4
    assert about["exclusions"] == list(CODES)
    told = lease(device)
    assert [row["row"] for row in told["rows"]] == [1, 2]
    assert told["rows"][0]["side"] == ""  # nothing to tell apart
    assert told["now_ms"] == LATER // 10**6
    reply = device.post("/api/record", entry(plan, 1))
    assert (reply.status, reply.json["state"], reply.json["recorded"]) == (200, "recorded", 1)
    assert [t["row"] for t in trials(workspace)] == [1]
    assert [row["row"] for row in lease(device)["rows"]] == [2, 3]
    left = device.get("/api/left").json
    assert (left["recorded"], left["open"], left["decided"]) == (1, 3, False)
    assert any("success" in words for words in left["missing"])


def test_an_entry_sent_twice_is_recorded_once(workspace: Workspace, clock: Clock) -> None:
    plan = registered(workspace)
    device = entered(desk_of(workspace, plan, clock))
    replies = [device.post("/api/record", entry(plan, 1)) for _ in range(3)]
    assert [reply.status for reply in replies] == [200, 200, 200]
    assert len(trials(workspace)) == 1


def test_many_devices_sending_at_once_record_each_row_once(workspace: Workspace, clock: Clock) -> None:
    plan = registered(workspace)
    desk = desk_of(workspace, plan, clock)
    replies: list[Reply] = []

    def send(who: int) -> None:
        sheet = entry(plan, 1, entry=f"entry-of-{who}", client=f"tablet-{who}")
        replies.append(entered(desk).post("/api/record", sheet))

    threads = [threading.Thread(target=send, args=(who,)) for who in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(reply.status for reply in replies) == [200, 409, 409, 409, 409, 409]
    assert len(trials(workspace)) == 1
    assert len(list(workspace.ledger.events(REFUSED))) == 5


def test_two_devices_get_different_rows_and_a_stale_lease_is_refused(workspace: Workspace, clock: Clock) -> None:
    plan = registered(workspace)
    desk = desk_of(workspace, plan, clock, lease_s=10.0, pairs_ahead=1)
    one, two = entered(desk), entered(desk)
    assert [row["row"] for row in lease(one)["rows"]] == [1]
    assert [row["row"] for row in lease(two, "tablet-two")["rows"]] == [2]
    clock.now += 11 * 10**9
    assert [row["row"] for row in lease(two, "tablet-two")["rows"]] == [1]
    reply = one.post("/api/record", entry(plan, 1))
    assert (reply.status, reply.json["reason"]) == (409, "another device has this row now")
    assert two.post("/api/record", entry(plan, 1, client="tablet-two", entry="another-entry")).status == 200
    assert one.post("/api/record", entry(plan, 1)).json["reason"] == "another device has this row now"  # as before
    assert [t["row"] for t in trials(workspace)] == [1]


def test_a_lease_that_ran_out_harms_nobody_while_no_other_device_asks(workspace: Workspace, clock: Clock) -> None:
    plan = registered(workspace)
    device = entered(desk_of(workspace, plan, clock, lease_s=10.0))
    lease(device)
    clock.now += 3600 * 10**9
    assert device.post("/api/record", entry(plan, 1)).status == 200


def test_a_server_that_starts_again_goes_on_from_the_ledger(workspace: Workspace, clock: Clock) -> None:
    plan = registered(workspace)
    device = entered(desk_of(workspace, plan, clock))
    lease(device)
    device.post("/api/record", entry(plan, 1))
    again = entered(desk_of(workspace, plan, clock))
    assert again.post("/api/record", entry(plan, 1)).json["state"] == "recorded"
    assert again.post("/api/record", entry(plan, 2)).json["state"] == "recorded"  # leased before it started again
    assert [row["row"] for row in lease(again)["rows"]] == [3, 4]
    assert [t["row"] for t in trials(workspace)] == [1, 2]


def test_rows_that_were_given_back_go_to_others(workspace: Workspace, clock: Clock) -> None:
    desk = desk_of(workspace, registered(workspace), clock, pairs_ahead=9)
    one, two = entered(desk), entered(desk)
    lease(one)
    told = lease(two, "tablet-two")
    assert (told["rows"], told["elsewhere"]) == ([], 4)
    assert one.post("/api/give-back", {"client": "tablet-one"}).status == 200
    assert len(lease(two, "tablet-two")["rows"]) == 4


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"plan": "0" * 64}, "another plan"),
        ({"row": 99}, "no such row"),
        ({"excluded": "did not like it"}, "not an exclusion"),
        ({"started_ns": "1"}, "before its plan"),
        ({"success": True, "interventions_s": [1.0]}, "needed a hand"),
        ({"release": "r1"}, "unknown key"),
        ({"schema": "worldgate/trial/1"}, "not a sheet"),
        ({"duration_s": None}, "number"),
        ({"note": "\ud800"}, "without a JSON form"),
    ],
)
def test_what_is_not_of_the_plan_is_turned_away(
    workspace: Workspace, clock: Clock, changes: dict[str, Any], said: str
) -> None:
    plan = registered(workspace, scenes=1)
    reply = entered(desk_of(workspace, plan, clock)).post("/api/record", {**entry(plan, 1), **changes})
    assert reply.status == 422
    assert said in reply.json["error"]
    assert not trials(workspace)
    assert not list(workspace.ledger.events(REFUSED))


def test_what_cannot_be_read_is_turned_away(workspace: Workspace, clock: Clock) -> None:
    device = entered(desk_of(workspace, registered(workspace, scenes=1), clock))
    for body in (b"", b"[]", b"{", b"null", b"[" * 60_000, b'{"a":' + b"9" * 6000 + b"}"):
        assert device.post("/api/record", body).status == 400
    for tree in ({}, {"client": 5, "slot": SLOT}, {"client": "tablet-one", "slot": "x" * 300}):
        assert device.post("/api/lease", tree).status == 422
    assert device.post("/api/lease", {"client": "tablet-one", "slot": "bench/ur5/other"}).status == 422
    assert device.get("/static/../desk.py").status == 404
    assert device.get("/api/record").status == 405


def test_a_plan_that_is_not_on_the_ledger_has_no_desk(workspace: Workspace, clock: Clock) -> None:
    held = plans.load(workspace, registered(workspace, scenes=1))
    loose = workspace.put_json(dataclasses.replace(held, name="loose").to_json())
    with pytest.raises(DataRefused, match="not on the ledger"):
        desk_of(workspace, loose, clock)


def test_a_gate_that_cannot_be_asked_says_nothing_of_why(
    workspace: Workspace, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = desk_of(workspace, registered(workspace, scenes=1), clock)

    def broken(*args: Any, **kwargs: Any) -> Any:
        raise DataRefused("a trial of release r1")

    monkeypatch.setattr("worldgate.console.desk.left", broken)
    reply = entered(desk).get("/api/left")
    assert (reply.status, reply.json) == (503, {"unknown": True})


def test_the_photograph_is_shown_only_if_it_is_one(tmp_path: Path, clock: Clock) -> None:
    shown = {}
    for name, data in (("png", PNG), ("html", b"<script>alert(1)</script>"), ("large", PNG + bytes(9 << 20))):
        ws = Workspace.init(tmp_path / name, person="tester")
        plan = registered(ws, scenes=1, photo=ws.store.put_bytes(data))
        device = entered(desk_of(ws, plan, clock))
        assert lease(device)["rows"][0]["photograph"]
        shown[name] = [device.get(f"/photograph/{row}") for row in (1, 0, 2)]
    first = shown["png"][0]
    assert (first.status, first.headers["content-type"], first.body) == (200, "image/png", PNG)
    assert [[reply.status for reply in replies] for replies in shown.values()] == [
        [200, 404, 404],
        [404] * 3,
        [404] * 3,
    ]


def test_without_a_photograph_there_is_none(workspace: Workspace, clock: Clock) -> None:
    device = entered(desk_of(workspace, registered(workspace, scenes=1), clock))
    assert not lease(device)["rows"][0]["photograph"]
    assert device.get("/photograph/1").status == 404


# ---- blinding -------------------------------------------------------------------------------------------------------


def _everything(ws: Workspace, plan: str, clock: Clock) -> list[bytes]:
    """Every answer to a device that looks at everything and runs half the plan."""
    device = entered(desk_of(ws, plan, clock))
    paths = ["/", "/sw.js", "/static/trial.js", "/static/outbox.js", "/static/trial.css", "/api/plan"]
    for path in paths:
        assert device.get(path).status == 200
    for row in range(1, 6):
        lease(device)
        device.post("/api/record", entry(plan, row, success=row % 2 == 0))
        device.post("/api/record", entry(plan, row, entry="another-entry"))
        device.get("/api/left")
        device.get(f"/photograph/{row}")
    return [repr((r.status, r.headers)).encode() + r.body.replace(plan.encode(), b"PLAN") for r in device.replies[1:]]


def test_no_answer_depends_on_which_release_is_which(tmp_path: Path, clock: Clock) -> None:
    """The same plan with every pair the other way round gives every device the same bytes."""
    seen = []
    for flip in (False, True):
        ws = Workspace.init(tmp_path / f"ws{flip}", person="tester")
        plan = registered(ws, baseline=True)
        if flip:
            held = plans.load(ws, plan)
            other = {"new": "old", "old": "new"}
            rows = tuple(dataclasses.replace(row, side=other[row.side]) for row in held.rows)
            plan = plans.register(ws, dataclasses.replace(held, rows=rows)).digest
        seen.append(_everything(ws, plan, clock))
    assert len(seen[0]) > 20
    assert seen[0] == seen[1]


def test_no_answer_names_a_release_a_side_of_the_plan_or_a_trial(workspace: Workspace, clock: Clock) -> None:
    plan = registered(workspace, baseline=True)
    told = b"".join(_everything(workspace, plan, clock))
    held = plans.load(workspace, plan)
    secrets = [held.release, held.baseline, *(str(e.body["trial"]) for e in workspace.ledger.events("trial.run"))]
    for secret in secrets:
        assert secret[:12].encode() not in told
    for word in (b'"new"', b'"old"', b'"r0"', b'"r1"', b"baseline", b"tripwire"):
        assert word not in told


def test_sides_are_told_in_the_order_of_the_pair(workspace: Workspace, clock: Clock) -> None:
    plan = registered(workspace, baseline=True, scenes=12)
    device = entered(desk_of(workspace, plan, clock, pairs_ahead=12))
    assert [row["side"] for row in lease(device)["rows"]] == ["A", "B"] * 12
    sides = [row.side for row in plans.load(workspace, plan).rows]
    assert sides[::2] != sides[1::2]
    assert len(set(sides[::2])) == 2  # A is not always the same release


def test_in_the_middle_of_a_pair_the_gate_says_what_it_said_before(
    workspace: Workspace, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = registered(workspace, baseline=True)
    asked: list[int] = []
    real = desk_of(workspace, plan, clock)
    from worldgate.console import desk as module

    def watched(ws: Workspace, plan: str, *, now_ns: int, upto_seq: int) -> Any:
        asked.append(upto_seq)
        return left(ws, plan, now_ns=now_ns, upto_seq=upto_seq)

    left = module.left
    monkeypatch.setattr(module, "left", watched)
    device = entered(real)
    for row in (1, 2, 3):
        device.get("/api/left")
        device.post("/api/record", entry(plan, row))
    assert device.get("/api/left").json["missing"] == []
    begun, pair = asked
    assert begun < pair
    assert len([e for e in workspace.ledger.events("trial.run") if e.seq <= pair]) == 2

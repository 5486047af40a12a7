"""The peer of the planning benchmark: what is sent, who asks, when a training counts as starved, what is kept."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from worldgate.control.lookahead import CostConfig
from worldgate.control.planning import PlanningConfig
from worldgate.sim.tasks import open_actor, open_task
from worldgate.sim.watch import collect

HERE = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path[:0] = [str(HERE), str(HERE / "peers")]
import lewm  # noqa: E402
import lewm_wire as wire  # noqa: E402
import planning  # noqa: E402

CAMERA = "observation.images.top"
SPEC = SimpleNamespace(low=(-1.0, -1.0), high=(1.0, 1.0), action=SimpleNamespace(name="action"))
# Stands in for LeWM's process. Its latent is what a picture's first pixel says, plus the actions done; "plan" goes
# beyond the bounds. What its planner prints must not reach the messages, so it prints nothing on stdout either.
PEER = f"""
import sys; sys.path.insert(0, {str(HERE / "peers")!r})
import numpy as np
from lewm_wire import receive, send
goal = now = np.zeros(2)
send(sys.stdout.buffer, {{"ready": True}})
while True:
    try:
        told, arrays = receive(sys.stdin.buffer)
    except EOFError:
        break
    answer, found = {{}}, {{}}
    if told["do"] == "aim":
        goal = arrays["goal"][0, 0, :2].astype(float)
    elif told["do"] == "see":
        now = arrays["frame"][0, 0, :2].astype(float)
        answer["apart"] = float(((now - goal) ** 2).mean())
    elif told["do"] == "apart":
        ahead = now + 5 * arrays["plans"].cumsum(axis=1)
        found["apart"] = ((ahead - goal) ** 2).mean(axis=-1).astype("float32")
    elif told["do"] == "plan":
        found["actions"] = np.full((25, 2), told["rounds"], "float32") * np.arange(25, dtype="float32")[:, None] / 100
    else:
        raise SystemExit("what is " + told["do"] + "?")
    send(sys.stdout.buffer, {{**answer, "ms": 0.0}}, found)
"""


def frame(x: int, y: int) -> np.ndarray:
    return np.broadcast_to(np.array([x, y, 0], np.uint8), (4, 4, 3))


@pytest.fixture
def bridge(tmp_path):
    held = lewm.Bridge([sys.executable, "-c", PEER], tmp_path / "log")
    yield held
    held.close()


def sent(told: dict, **arrays) -> bytes:
    stream = io.BytesIO()
    wire.send(stream, told, arrays)
    return stream.getvalue()


def test_messages_come_as_they_were_sent_one_after_the_other():
    plans, picture = np.arange(12, dtype=np.float32).reshape(2, 3, 2)[:, ::-1], frame(7, 9)
    stream = io.BytesIO(sent({"do": "apart"}, plans=plans) + sent({"do": "see", "n": 3}, frame=picture))
    told, arrays = wire.receive(stream)
    assert told == {"do": "apart"}
    np.testing.assert_array_equal(arrays["plans"], plans)
    told, arrays = wire.receive(stream)
    assert told == {"do": "see", "n": 3}
    assert arrays["frame"].dtype == np.uint8
    np.testing.assert_array_equal(arrays["frame"], picture)
    with pytest.raises(EOFError):
        wire.receive(stream)


@pytest.mark.parametrize(
    "data",
    [
        b"CEM solve time: 1.2 s\n",
        b"[1]\n",
        b'{"told": {}, "arrays": [["plans", "object", [1]]]}\n' + bytes(8),
        b'{"told": {}, "arrays": [["plans", "float32", [-1, 4]]]}\n' + bytes(16),
        b'{"told": {}, "arrays": [["plans", "float64", [1000000, 1000000]]]}\n',
        sent({}, plans=np.zeros(8))[:-1],
    ],
    ids=["no JSON", "another form", "objects", "a negative size", "too large", "cut short"],
)
def test_what_is_no_message_is_refused(data):
    with pytest.raises(wire.Broken):
        wire.receive(io.BytesIO(data))


def test_a_process_that_ends_says_why(bridge, tmp_path):
    with pytest.raises(wire.Broken, match=r"what is dance\?"):
        bridge.ask("dance")
    with pytest.raises(wire.Broken, match="no such model"):
        lewm.Bridge([sys.executable, "-c", "raise SystemExit('no such model')"], tmp_path / "other")


def test_our_planner_goes_where_the_peer_predicts_the_goal(bridge):
    ported = lewm.Ported(bridge, CAMERA, SPEC)
    policy = lewm.OurPlanner(ported, "cem", PlanningConfig(cost=CostConfig(hold=5)))
    policy.reset(seed=0)
    policy.aim({CAMERA: frame(30, 10)}, steps=50)
    actions = np.array([policy.act({CAMERA: frame(20, 20)}) for _ in range(6)])
    assert (actions[:, 0] > 0.5).all()
    assert (actions[:, 1] < -0.5).all()
    assert len(policy.plan_ms()) == len(policy.planned) == 2, "planned again after five rows"
    assert all(0 < inside < one.ms for inside, one in zip(policy.plan_ms(), policy.planned, strict=True))
    assert lewm.plans_of(policy, 50) == 10


def test_its_own_search_is_asked_once_in_25_rows_and_kept_within_bounds(bridge):
    policy = lewm.Own(bridge, CAMERA, SPEC, rounds=10)
    policy.reset(seed=0)
    policy.aim({CAMERA: frame(1, 1)}, steps=50)
    actions = np.array([policy.act({CAMERA: frame(0, 0)}) for _ in range(26)])
    np.testing.assert_allclose(actions[:, 0], np.minimum(1.0, np.r_[np.arange(25), 0] / 10), atol=1e-6)
    assert len(policy.plan_ms()) == 2
    assert lewm.plans_of(policy, 50) == 2


def curve(losses: np.ndarray, prediction: np.ndarray | None = None) -> np.ndarray:
    rows = np.arange(len(losses))
    return np.stack([rows, losses if prediction is None else prediction, losses, losses], axis=1)


def test_a_training_is_starved_while_its_loss_falls_or_where_it_was_short():
    noise = 1 + 0.02 * np.random.default_rng(0).standard_normal(400)
    falling = noise + np.linspace(1, 0, 400)
    assert lewm.starved(curve(noise), 20) is None
    assert "loss still falls by" in str(lewm.starved(curve(falling), 20))
    assert "prediction still falls by" in str(lewm.starved(curve(noise, falling), 20))
    assert lewm.starved(curve(noise[::-1] - np.linspace(0, 0.5, 400)[::-1]), 20) is None, "it rises"
    assert lewm.starved(curve(noise), 3.25) == "3.2 epochs of 10 at least"
    assert lewm.starved(curve(noise[:12]), 20) == "12 steps"


def test_episodes_are_written_row_by_row_with_where_each_begins(tmp_path):
    task = open_task("two_room", {"size": 16})
    actor = open_actor("noisy", "two_room", {"size": 16})
    episodes = [collect(task, actor, seed=seed) for seed in range(2)]
    lewm._write(tmp_path / "train.npz", CAMERA, episodes)
    with np.load(tmp_path / "train.npz", allow_pickle=False) as held:
        assert held["first"].tolist() == [0, len(episodes[0])]
        assert held["frames"].dtype == np.uint8
        np.testing.assert_array_equal(held["frames"][held["first"][1]], episodes[1].array(CAMERA)[0])
        np.testing.assert_allclose(held["actions"][len(episodes[0]) - 1], episodes[0].array("action")[-1], atol=1e-6)


def test_rows_of_a_peer_stay_until_they_are_measured_anew(tmp_path, monkeypatch):
    kept = tmp_path / "planning.json"
    monkeypatch.setattr(planning, "KEPT", kept)
    rows = [{"what": what, "value": 1} for what in ("wall: cem", "two_room: cem", "two_room, LeWM small: our cem")]
    planning.keep({"peer": planning.PEER, "rows": rows})
    planning.keep({"peer": "not asked for", "rows": [{"what": "two_room: cem", "value": 2}]})
    told = json.loads(kept.read_text())
    assert {row["what"]: row["value"] for row in told["rows"]} == {
        "wall: cem": 1, "two_room, LeWM small: our cem": 1, "two_room: cem": 2,
    }  # fmt: skip
    assert told["peer"] == planning.PEER

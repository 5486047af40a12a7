"""Labellers by their words: what each finds where the answer is known, on the cell, and on real DROID episodes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worldgate.core.errors import ConfigError, NotFound
from worldgate.core.streams import Kind, Stream, StreamInfo
from worldgate.data.ingest import ingest
from worldgate.data.labelling.automatic import record_automatic, run
from worldgate.data.labelling.spans import Span
from worldgate.data.labelling.store import labels_of
from worldgate.data.logs import open_folder
from worldgate.sim.record import RecordConfig, record
from worldgate.sim.sensing import SensorConfig

T0 = 1_800_000_000_000_000_000
TIMES = T0 + np.arange(1000, dtype=np.int64) * 10_000_000
S = np.arange(1000) / 100


def vector(name: str, names: tuple[str, ...], values: Any, unit: str) -> Stream:
    info = StreamInfo(
        name=name,
        kind=Kind.VECTOR,
        count=1000,
        shape=(len(names),),
        names=names,
        unit=unit,
        clock="header",
        rate_hz=100.0,
    )
    return Stream(info=info, times_ns=TIMES, values=np.asarray(values, float))


def between(start: float, end: float) -> Any:
    return (start <= S) & (end > S)


def seconds(span: Span) -> tuple[float, float]:
    return round((span[0] - T0) / 1e9, 2), round((span[1] - T0) / 1e9, 2)


def force_log(fakes: Any, *spans: tuple[float, float]) -> Any:
    force = np.random.default_rng(0).normal(0, 0.03, (1000, 3))
    for start, end in spans:
        force[between(start, end), 1] += 1.0
    return fakes.log(vector("observation.force", ("x", "y", "z"), force, "N"))


def test_touches_with_short_pauses_are_one_contact(fakes: Any) -> None:
    log = force_log(fakes, (1, 1.5), (1.6, 2), (4, 4.05))
    assert [seconds(x.span) for x in run("contact", log).labels] == [(1, 2), (4, 4.05)]
    assert len(run("contact", log, {"pause_s": 0.05}).labels) == 3
    assert run("contact", log, {"least_n": 2.0}).labels == ()


def gripper_log(fakes: Any, opening: Any) -> Any:
    tool = np.stack([0.05 * S, 0 * S, 0 * S], axis=1)
    return fakes.log(
        vector("observation.state", ("joint", "gripper"), np.stack([S, opening], axis=1), "rad,1"),
        vector("observation.state.tool", ("x", "y", "z"), tool, "m,m,m"),
    )


CLOSES = np.interp(S, [2, 2.5, 5, 5.5], [0, 0.6, 0.6, 0])


def test_a_gripper_that_rests_short_of_closed_holds_something(fakes: Any) -> None:
    found = run("gripper", gripper_log(fakes, CLOSES)).labels
    assert [x.value for x in found] == ["open", "holding", "open"]
    assert seconds(found[1].span) == pytest.approx((2.5, 5.0), abs=0.12)
    empty = run("gripper", gripper_log(fakes, CLOSES / 0.6)).labels
    assert [x.value for x in empty] == ["open", "closed", "open"]
    turned = run("gripper", gripper_log(fakes, 1 - CLOSES), {"opened": 1.0, "closed": 0.0}).labels
    assert [x.value for x in turned] == ["open", "holding", "open"]
    with pytest.raises(ConfigError, match="from one value to another"):
        run("gripper", gripper_log(fakes, CLOSES), {"opened": 1.0})


def test_phases_of_a_gripper_follow_each_other_without_a_gap(fakes: Any) -> None:
    found = run("phase", gripper_log(fakes, CLOSES)).labels
    assert [x.value for x in found] == ["reach", "grasp", "carry", "release", "retreat"]
    assert all(a.span[1] == b.span[0] for a, b in pairwise(found))
    assert (found[0].span[0], found[-1].span[1]) == (T0, int(TIMES[-1]) + 10_000_000)


def test_what_a_gripper_loses_slips(fakes: Any) -> None:
    lost = np.interp(S, [2, 2.5, 4, 4.2], [0, 0.6, 0.6, 1.0])
    (slip,) = run("slip", gripper_log(fakes, lost)).labels
    assert seconds(slip.span) == pytest.approx((4.0, 4.2), abs=0.15)
    assert run("slip", gripper_log(fakes, CLOSES)).labels == ()


@pytest.mark.parametrize(("side_m_s", "expected"), [(0.0, 0), (0.01, 0), (0.08, 1)])
def test_a_pushed_object_slips_when_its_surface_slides_along_the_tool(
    fakes: Any, side_m_s: float, expected: int
) -> None:
    force = np.zeros((1000, 3))
    force[between(2, 6), 0] = -1.0
    x = 0.05 * S
    tool = np.stack([x, 0 * S, 0 * S], axis=1)
    pose = np.stack([x + 0.05, side_m_s * np.clip(S - 3, 0, 2), 0 * S], axis=1)
    log = fakes.log(
        vector("observation.force", ("x", "y", "z"), force, "N"),
        vector("observation.state", ("tool.x", "tool.y", "tool.z"), tool, "m"),
        vector("observation.environment_state", ("object.x", "object.y", "object.yaw"), pose, "m,m,rad"),
    )
    found = run("slip", log).labels
    assert len(found) == expected
    if expected:
        assert seconds(found[0].span) == pytest.approx((3.0, 5.0), abs=0.1)


@pytest.mark.parametrize(("offset", "there"), [(0.0, True), (0.044, True), (0.046, False)])
def test_success_is_the_object_at_its_goal_when_the_log_ends(fakes: Any, offset: float, there: bool) -> None:
    x = np.where(S < 9, 5.0, 0.1 + offset)
    places = np.stack([x, 0 * S, 0 * S + 0.1, 0 * S], axis=1)
    names = ("object.x", "object.y", "goal.x", "goal.y")
    log = fakes.log(vector("observation.environment_state", names, places, "m"))
    (found,) = run("success", log).labels
    assert found.value is there


def test_a_labeller_is_asked_by_name_and_with_its_own_settings(fakes: Any) -> None:
    with pytest.raises(NotFound, match="no such entry"):
        run("contakt", fakes.log())
    with pytest.raises(ConfigError, match="unknown key"):
        run("contact", fakes.log(), {"least": 1})


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    config = RecordConfig(sensors=SensorConfig(cameras=(), geometry=(), lidar=False))
    for seed in (0, 1):
        record(folder / f"{seed}.mcap", seed=seed, duration_s=6.0, config=config)
    return folder


def test_on_the_cell_labels_are_recorded_as_automatic_with_code_and_settings(runs: Path, workspace: Any) -> None:
    refs = ingest(workspace, runs)
    found = record_automatic(workspace, refs, ["contact", "phase", "gripper"], params={"contact": {"least_n": 0.2}})
    assert [said.labeller for _, said in found if said.reads] == ["contact", "phase"] * 2
    sets = {item.annotator: item for item in labels_of(workspace, refs[0])}
    assert set(sets) == {"auto.contact", "auto.phase"}
    held = sets["auto.contact"].set
    assert (held.method, held.clock, held.considered) == ("automatic", "header", ("contact",))
    assert held.source.keys() == {"labeller", "code", "config"}
    head = workspace.ledger.head()
    record_automatic(workspace, refs, ["phase"])
    assert workspace.ledger.head() == head, "the same words by the same code are no new set"
    record_automatic(workspace, refs[:1], ["contact"])
    assert workspace.ledger.head() != head, "other settings are another word"


def test_on_the_cell_what_is_called_success_is_success(runs: Path) -> None:
    for path in sorted(runs.iterdir()):
        log = open_folder(path).logs[0]
        (found,) = run("success", log).labels
        assert found.value == log.facts["success"]


def test_on_real_droid_episodes_the_gripper_says_when_something_is_held(real_data: Path) -> None:
    logs = {log.name: log for log in open_folder(real_data / "droid_ctrlworld" / "droid_subset").logs}
    said = {name: [x.value for x in run("gripper", log).labels] for name, log in logs.items()}
    assert said["train/3"] == ["open", "holding", "open"]
    assert said["train/6"] == ["open"]
    assert said["val/899"] == ["open", "holding", "open"]
    phases = [x.value for x in run("phase", logs["train/3"]).labels]
    assert phases.index("grasp") < phases.index("carry") < phases.index("release")
    assert run("success", logs["train/3"]).reads == ()

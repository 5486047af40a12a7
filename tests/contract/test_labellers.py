"""Every file of the labellers seam fulfils its signature, keeps away from the truth, and survives poor logs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from worldgate.core.seams import cards
from worldgate.core.streams import Finding, Kind, Origin, Stream, StreamInfo
from worldgate.data.labellers import prepare
from worldgate.data.labelling.automatic import code_digest, run
from worldgate.data.labelling.schema import read
from worldgate.data.labelling.sets import LabelSet, Method, validated

NAMES = sorted(cards("labellers"))
T0 = 1_800_000_000_000_000_000
TIMES = T0 + np.arange(500, dtype=np.int64) * 10_000_000
TRUTH = "observation.environment_state"


class Log:
    """A log held in memory that remembers what was read of it."""

    name = "held"
    origin = Origin.SIMULATED
    facts: Mapping[str, str | float | bool] = {}
    findings: tuple[Finding, ...] = ()

    def __init__(self, *streams: Stream) -> None:
        self.held = {s.info.name: s for s in streams}
        self.read_of: set[str] = set()

    def streams(self) -> tuple[StreamInfo, ...]:
        return tuple(s.info for s in self.held.values())

    def read(self, stream: str, window_ns: tuple[int, int] | None = None) -> Stream:
        assert window_ns is None
        self.read_of.add(stream)
        return self.held[stream]


def stream(name: str, names: tuple[str, ...], values: Any, unit: str = "", times: Any = TIMES, **more: Any) -> Stream:
    info = StreamInfo(
        name=name, kind=more.pop("kind", Kind.VECTOR), count=len(times), shape=np.shape(values)[1:], names=names,
        unit=unit, clock=more.pop("clock", "header"), rate_hz=100.0,
    )  # fmt: skip
    return Stream(info=info, times_ns=times, values=values)


def run_of_everything(count: int = 500, bad: float | None = None) -> Log:
    """A push from 1.5 to 3 s with a gripper that closes on something from 3.5 to 4.5 s."""
    t = np.arange(count) / 100
    force = np.zeros((count, 3))
    force[(t >= 1.5) & (t < 3.0), 0] = -2.0
    tool = np.stack([0.1 * np.minimum(t, 3.0), np.zeros(count), np.full(count, 0.02)], axis=1)
    shut = np.interp(t, [3.3, 3.5, 4.5, 4.7], [0.0, 0.6, 0.6, 0.0])
    around = np.stack([tool[:, 0] + 0.05, 0.08 * np.clip(t - 2, 0, 1), 0 * t, 0 * t + 0.35, 0 * t], axis=1)
    if bad is not None:
        for values in (force, tool, around):
            values[count // 3 : count // 2] = bad
        shut[count // 3 : count // 2] = bad
    times = TIMES[:count]
    return Log(
        stream("observation.force", ("x", "y", "z"), force, "N", times),
        stream(
            "observation.state",
            ("tool.x", "tool.y", "tool.z", "gripper"),
            np.column_stack([tool, shut]),
            "m,m,m,1",
            times,
        ),
        stream(TRUTH, ("object.x", "object.y", "object.yaw", "goal.x", "goal.y"), around, "m,m,rad,m,m", times),
        stream("events.contact", (), np.array(["{}"] * min(count, 1), object), times=times[:1], kind=Kind.EVENT),
    )


def test_the_five_labellers_are_here() -> None:
    assert set(NAMES) >= {"contact", "gripper", "phase", "slip", "success"}


@pytest.mark.parametrize("name", NAMES)
def test_a_labeller_has_a_config_with_defaults_and_labels_of_its_own_name(name: str) -> None:
    labeller, config = prepare(name)
    assert dataclasses.is_dataclass(config)
    assert config == labeller.Config()
    found = run(name, run_of_everything())
    assert found.reads
    assert found.clock == "header"
    assert found.labels
    assert {x.label for x in found.labels} == {name}
    assert len(code_digest(name)) == 64


@pytest.mark.parametrize("name", NAMES)
def test_what_it_says_is_valid_under_the_shipped_schema(name: str) -> None:
    schema = read("automatic")
    said = run(name, run_of_everything())
    item = LabelSet(
        log="0" * 64, schema=schema.digest(), annotator=f"auto.{name}", method=Method.AUTOMATIC, clock=said.clock,
        considered=(name,), labels=said.labels,
    )  # fmt: skip
    validated(item, schema, span=(T0, int(TIMES[-1]) + 1), clocks=["header"], where="here")


@pytest.mark.parametrize("name", NAMES)
def test_it_reads_what_it_says_it_reads_and_no_truth_that_its_card_does_not_name(name: str) -> None:
    log = run_of_everything()
    said = run(name, log)
    assert log.read_of == set(said.reads)
    assert "events.contact" not in log.read_of
    if TRUTH in log.read_of:
        assert "environment_state" in cards("labellers")[name].inputs


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_it_survives_streams_of_few_messages(name: str, count: int) -> None:
    for label in run(name, run_of_everything(count)).labels:
        assert label.start_ns is None or label.span[0] < label.span[1]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_it_survives_numbers_that_are_none(name: str, bad: float) -> None:
    assert all(x.start_ns is None or x.span[0] < x.span[1] for x in run(name, run_of_everything(bad=bad)).labels)


@pytest.mark.parametrize("name", NAMES)
def test_it_says_nothing_of_a_log_without_its_streams(name: str) -> None:
    for log in (Log(), Log(stream("observation.state", ("a", "b"), np.zeros((500, 2))))):
        said = run(name, log)
        assert (said.reads, said.labels, said.clock) == ((), (), "")


@pytest.mark.parametrize("name", ["phase", "slip"])
def test_streams_on_two_clocks_are_not_read_as_one(name: str) -> None:
    log = run_of_everything()
    force = log.held["observation.force"]
    log.held["observation.force"] = dataclasses.replace(force, info=dataclasses.replace(force.info, clock="log"))
    log.held["observation.state"] = stream(
        "observation.state", ("tool.x", "tool.y", "tool.z"), log.held["observation.state"].array[:, :3], "m"
    )
    assert run(name, log).reads == ()

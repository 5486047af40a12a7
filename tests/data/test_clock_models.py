"""Clock models in alignment: what they may never change, what they undo, and what an episode says of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldgate.core.config import decode
from worldgate.core.digest import digest_json, read_json, to_json
from worldgate.core.errors import ConfigError
from worldgate.core.streams import log_digest
from worldgate.data.alignment import AlignmentSpec, StreamAlignment, align
from worldgate.data.alignment_report import report
from worldgate.data.clocks.model import ClockModel, ClockStep, lines
from worldgate.data.resample import Policy

SECOND = 1_000_000_000
FAR = 1_767_600_000 * SECOND


@st.composite
def models(draw: st.DrawFn, *, count: int = 50) -> ClockModel:
    at = sorted(draw(st.sets(st.integers(1, count - 1), max_size=3)))
    offset = st.integers(-FAR, FAR)
    return ClockModel(
        offset_ns=draw(offset),
        drift_ppm=draw(st.floats(-400_000, 400_000, allow_nan=False)),
        zero_ns=draw(st.one_of(st.none(), st.integers(FAR - SECOND, FAR + SECOND))),
        steps=tuple(ClockStep(message=m, offset_ns=draw(offset)) for m in at),
    )


@st.composite
def stamps(draw: st.DrawFn, *, count: int = 50) -> Any:
    steps = draw(st.lists(st.integers(0, 10 * SECOND), min_size=count, max_size=count))
    return FAR + np.cumsum(np.asarray(steps, np.int64))


@settings(deadline=None, max_examples=200)
@given(times=stamps())
def test_the_default_model_changes_nothing(times: Any) -> None:
    assert ClockModel().identity
    np.testing.assert_array_equal(ClockModel().apply(times), times)


@settings(deadline=None, max_examples=300)
@given(times=stamps(), model=models())
def test_undoing_a_model_gives_the_stamps_back_to_a_nanosecond(times: Any, model: ClockModel) -> None:
    there = model.apply(times)
    back = model.undo(there, first_ns=int(times[0]) if model.zero_ns is None else None)
    span = float(np.abs(there - there[0]).max()) + abs(float((model.zero_ns or times[0]) - times[0]))
    assert np.abs(back - times).max() <= 2 + span * 1e-15 * 2**4


@settings(deadline=None, max_examples=300)
@given(times=stamps(), model=models())
def test_a_model_without_steps_keeps_the_order_of_stamps(times: Any, model: ClockModel) -> None:
    even = replace(model, steps=())
    assert (np.diff(even.apply(times)) >= 0).all()


@settings(deadline=None, max_examples=200)
@given(times=stamps(), model=models())
def test_between_two_steps_the_order_of_stamps_is_kept_too(times: Any, model: ClockModel) -> None:
    there, segment = model.apply(times), model.segments(len(times))
    inside = segment[1:] == segment[:-1]
    assert (np.diff(there)[inside] >= 0).all()
    assert segment[-1] == len(model.steps)


def test_the_arithmetic_in_words() -> None:
    model = ClockModel(offset_ns=100, drift_ppm=10_000, zero_ns=1000, steps=(ClockStep(message=2, offset_ns=5000),))
    #  before the step: 1000 -> 1000 + 100; 2000 -> 2000 + 100 + 1 % of 1000; after it, 0 stands for 5000.
    assert model.apply(np.array([1000, 2000, 0], np.int64)).tolist() == [1100, 2110, 5140]


def test_a_reset_to_1970_is_mended_and_every_row_says_which_piece_stamped_it(fakes: Any) -> None:
    true = FAR + np.arange(100, dtype=np.int64) * 10_000_000
    broken = true.copy()
    broken[60:] -= FAR + 60 * 10_000_000  # the clock starts again at zero
    model = ClockModel(steps=(ClockStep(message=60, offset_ns=FAR + 600_000_000),))
    log = fakes.log(fakes.stream("grid", true), fakes.stream("imu", broken))
    spec = AlignmentSpec(
        reference="grid", default=StreamAlignment(policy=Policy.HOLD),
        streams={"grid": StreamAlignment(), "imu": StreamAlignment(clock_model=model)},
    )  # fmt: skip
    episode = align(log, spec)
    rows = episode.streams["imu"]
    assert not rows.skew_ns.any()
    assert rows.segment is not None
    assert rows.segment.tolist() == [0] * 60 + [1] * 40
    said = report(episode).streams
    assert [(s.number, s.rows) for s in said["imu"].segments] == [(0, 60), (1, 40)]
    assert said["imu"].segments[1].start_ns == true[60]
    assert decode(ClockModel, read_json(said["imu"].clock_model.encode()), where="report") == model
    assert said["grid"].clock_model == ""
    assert not said["grid"].segments


def test_an_identity_model_gives_the_same_rows_under_another_name(fakes: Any) -> None:
    log = fakes.log(fakes.stream("a", range(0, 100, 10)), fakes.stream("b", range(3, 103, 7)))
    plain = AlignmentSpec(reference="a", streams={"a": StreamAlignment(), "b": StreamAlignment()})
    named = replace(plain, streams={**plain.streams, "b": StreamAlignment(clock_model=ClockModel())})
    one, two = align(log, plain), align(log, named)
    np.testing.assert_array_equal(one.streams["b"].values, two.streams["b"].values)
    np.testing.assert_array_equal(one.streams["b"].source_ns, two.streams["b"].source_ns)
    assert one.id != two.id, "the numbers are part of the identity, these too"


def test_a_spec_without_models_is_named_as_it_was_before_there_were_models() -> None:
    spec = AlignmentSpec(rate_hz=10.0, streams={"a": StreamAlignment(offset_ns=3)})
    item = {
        "policy": "nearest", "tolerance_ns": None, "max_staleness_ns": None, "window_ns": None, "clock": "native",
        "offset_ns": 0,
    }  # fmt: skip
    tree = {
        "rate_hz": 10.0, "reference": "", "causal": False, "default": item, "streams": {"a": {**item, "offset_ns": 3}},
    }  # fmt: skip
    assert spec.digest() == digest_json({"schema": "worldgate.alignment/1", "spec": tree})


def test_a_log_has_clocks_of_its_own_and_other_logs_keep_their_names(fakes: Any) -> None:
    first = fakes.log(fakes.stream("a", range(0, 100, 10)), fakes.stream("b", range(3, 103, 10)))
    second = fakes.log(fakes.stream("a", range(0, 100, 10)), fakes.stream("b", range(4, 104, 10)))
    plain = AlignmentSpec(reference="a", streams={"a": StreamAlignment(), "b": StreamAlignment()})
    spec = replace(plain, logs={log_digest(first): {"b": ClockModel(offset_ns=-3)}})
    assert not align(first, spec).streams["b"].skew_ns.any()
    assert set(align(second, spec).streams["b"].skew_ns.tolist()) == {4, -6} - {-6}
    assert align(second, spec).id == align(second, plain).id
    assert align(first, spec).id != align(first, plain).id


@pytest.mark.parametrize(
    "fields",
    [
        {"drift_ppm": 600_000.0},
        {"drift_ppm": float("nan")},
        {"steps": ({"message": 5, "offset_ns": 1}, {"message": 5, "offset_ns": 2})},
        {"steps": ({"message": 0, "offset_ns": 1},)},
        {"offset_ns": 1 << 62},
    ],
)
def test_a_model_that_no_clock_could_have_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        decode(ClockModel, fields, where="here")


def test_a_step_after_the_last_message_is_refused(fakes: Any) -> None:
    model = ClockModel(steps=(ClockStep(message=10, offset_ns=1),))
    log = fakes.log(fakes.stream("a", range(0, 100, 10)))
    with pytest.raises(ConfigError, match="after the stream's last message"):
        align(log, AlignmentSpec(reference="a", streams={"a": StreamAlignment(clock_model=model)}))


@settings(deadline=None, max_examples=100)
@given(model=models(), name=st.text(min_size=1, max_size=12))
def test_the_lines_to_paste_read_back_as_the_same_model(model: ClockModel, name: str) -> None:
    import tomllib

    try:
        name.encode()
    except UnicodeEncodeError:
        return  # half a surrogate pair has no TOML form
    tree = tomllib.loads("\n".join(lines(name, model)))
    held = decode(ClockModel, tree["alignment"]["streams"][name]["clock_model"], where="toml")
    assert held == model
    assert to_json(held) == to_json(model)

"""Alignment of whole logs: grids, clocks, causality, images, identity and the report."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldgate.core.digest import canonical, to_json
from worldgate.core.errors import ConfigError, DataRefused, NotFound
from worldgate.core.streams import Kind
from worldgate.data.alignment import AlignmentSpec, StreamAlignment, align, rate_grid
from worldgate.data.alignment_report import report, spans
from worldgate.data.resample import Policy

SECOND = 1_000_000_000


def test_a_fixed_rate_covers_the_time_all_streams_share(fakes: Any) -> None:
    log = fakes.log(
        fakes.stream("a", np.arange(0, 10 * SECOND, SECOND // 100)),
        fakes.stream("b", np.arange(2 * SECOND, 20 * SECOND, SECOND // 30)),
    )
    episode = align(log, AlignmentSpec(rate_hz=10))
    assert episode.times_ns[0] == 2 * SECOND
    assert episode.times_ns[-1] <= 10 * SECOND
    assert set(np.diff(episode.times_ns)) == {SECOND // 10}
    assert len(episode) == 80
    assert not episode.streams["a"].gap.any()


@settings(deadline=None, max_examples=100)
@given(rate=st.sampled_from([1.0, 5.0, 15.0, 29.97, 30.0, 1000 / 3]), seconds=st.integers(0, 4000))
def test_a_grid_never_drifts(rate: float, seconds: int) -> None:
    grid = rate_grid(17, 17 + seconds * SECOND, rate)
    k = np.arange(len(grid), dtype=np.float64)
    assert np.abs(grid - 17 - k * SECOND / rate).max() <= max(1.0, seconds * SECOND * 1e-6)
    assert grid[0] == 17
    assert grid[-1] <= 17 + seconds * SECOND < grid[-1] + SECOND / rate * 1.001 + 1


@pytest.mark.parametrize("rate", [3.0, 15.0, 29.97, 30.0, 60.0])
@pytest.mark.parametrize("rows", [1, 2, 222, 278])
def test_the_last_row_of_a_rounded_frame_clock_is_kept(fakes: Any, rate: float, rows: int) -> None:
    stamps = [round(k * SECOND / rate) for k in range(rows)]
    episode = align(fakes.log(fakes.stream("a", stamps)), AlignmentSpec(rate_hz=rate, causal=True))
    assert len(episode) == rows
    assert not episode.streams["a"].skew_ns.any()


def test_a_reference_stream_gives_its_own_stamps_as_the_grid(fakes: Any) -> None:
    log = fakes.log(fakes.stream("camera", [5, 40, 40, 75, 110]), fakes.stream("joints", range(0, 101, 10)))
    episode = align(log, AlignmentSpec(reference="camera", default=StreamAlignment(policy=Policy.HOLD)))
    assert episode.times_ns.tolist() == [5, 40, 75]
    assert episode.streams["joints"].source_ns.tolist() == [0, 40, 70]
    assert episode.streams["joints"].skew_ns.tolist() == [-5, 0, -5]
    assert episode.streams["camera"].index.tolist() == [0, 2, 3]


def test_an_offset_moves_a_streams_clock_before_anything_is_picked(fakes: Any) -> None:
    log = fakes.log(fakes.stream("a", range(0, 100, 10)), fakes.stream("b", range(3, 100, 10)))
    late = StreamAlignment(offset_ns=-3)
    rows = align(log, AlignmentSpec(reference="a", streams={"a": StreamAlignment(), "b": late})).streams["b"]
    assert set(rows.skew_ns.tolist()) == {0}


def test_the_log_clock_is_used_where_it_is_asked_for_and_refused_where_it_is_not_there(fakes: Any) -> None:
    both = fakes.stream("a", [0, 10, 20], clock="header", log_times_ns=[4, 14, 24])
    log = fakes.log(both, fakes.stream("b", [0, 10, 20, 30]))
    on_log = StreamAlignment(clock="log")
    rows = align(log, AlignmentSpec(reference="a", streams={"a": on_log})).streams["a"]
    assert rows.source_ns.tolist() == [4, 14, 24]
    assert rows.info.clock == "log"
    with pytest.raises(ConfigError, match="no such clock") as caught:
        align(log, AlignmentSpec(reference="b", streams={"a": StreamAlignment(clock="publish")}))
    assert "header and log" in str(caught.value)


@pytest.mark.parametrize("policy", [Policy.NEAREST, Policy.LINEAR])
def test_causal_refuses_rows_that_use_their_future(fakes: Any, policy: Policy) -> None:
    log = fakes.log(fakes.stream("grid", range(0, 100, 10)), fakes.stream("s", range(4, 104, 7)))
    spec = AlignmentSpec(reference="grid", causal=True, streams={"s": StreamAlignment(policy=policy)})
    with pytest.raises(ConfigError, match="reads the future") as caught:
        align(log, spec)
    assert "streams.s.policy" in str(caught.value)
    assert "hold" in str(caught.value)


def test_causal_allows_nearest_where_every_row_has_its_own_past_message(fakes: Any) -> None:
    log = fakes.log(fakes.stream("a", range(0, 100, 10)), fakes.stream("b", range(0, 100, 10)))
    episode = align(log, AlignmentSpec(reference="a", causal=True))
    assert report(episode).streams["b"].future == 0


def test_slerp_in_a_causal_alignment_is_refused(fakes: Any) -> None:
    pose = np.tile([0.0, 0, 0, 0, 0, 0, 1], (10, 1))
    log = fakes.log(
        fakes.stream("grid", range(0, 100, 10)), fakes.stream("pose", range(-5, 95, 10), pose, kind=Kind.POSE)
    )
    streams = {"pose": StreamAlignment(policy=Policy.SLERP)}
    align(log, AlignmentSpec(reference="grid", streams=streams))
    with pytest.raises(ConfigError, match="reads the future"):
        align(log, AlignmentSpec(reference="grid", causal=True, streams=streams))


@pytest.mark.parametrize(
    ("kind", "policy"),
    [
        (Kind.POSE, Policy.LINEAR),
        (Kind.VECTOR, Policy.SLERP),
        (Kind.EVENT, Policy.WINDOW_MEAN),
        (Kind.IMAGE, Policy.LINEAR),
    ],
)
def test_a_policy_that_makes_no_sense_for_a_kind_is_refused(fakes: Any, kind: Kind, policy: Policy) -> None:
    log = fakes.log(fakes.stream("grid", range(4)), fakes.stream("s", range(4), np.zeros((4, 7)), kind=kind))
    with pytest.raises(ConfigError, match="does not fit"):
        align(log, AlignmentSpec(reference="grid", streams={"s": StreamAlignment(policy=policy)}))


def test_images_stay_undecoded_until_a_row_is_read(fakes: Any) -> None:
    frames = fakes.Frames(np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1).repeat(3, axis=3))
    log = fakes.log(
        fakes.stream("camera", range(0, 100, 10), frames, kind=Kind.IMAGE), fakes.stream("s", range(0, 91, 3))
    )
    spec = AlignmentSpec(
        reference="s", streams={"camera": StreamAlignment(policy=Policy.HOLD, tolerance_ns=6), "s": StreamAlignment()}
    )
    episode = align(log, spec)
    assert frames.decoded == 0
    rows = episode.streams["camera"]
    assert rows.gap.any() and not rows.gap.all()
    pictures = episode.array("camera")
    assert pictures.shape == (len(episode), 1, 1, 3)
    assert (pictures[rows.gap] == 0).all()
    assert pictures[~rows.gap][:, 0, 0, 0].tolist() == rows.index[~rows.gap].tolist()


def test_events_are_held_as_text_and_do_not_bound_the_grid(fakes: Any) -> None:
    events = fakes.stream("events.contact", [35, 50], np.array(["on", "off"], dtype=object), kind=Kind.EVENT)
    log = fakes.log(fakes.stream("s", range(0, 100, 10)), events)
    episode = align(log, AlignmentSpec(reference="s", default=StreamAlignment(policy=Policy.HOLD)))
    assert episode.array("events.contact").tolist() == [""] * 4 + ["on", "off", "off", "off", "off", "off"]


def test_staleness_marks_a_row_without_taking_its_value(fakes: Any) -> None:
    log = fakes.log(fakes.stream("grid", range(0, 101, 10)), fakes.stream("s", [0, 10, 20, 100]))
    item = StreamAlignment(policy=Policy.HOLD, max_staleness_ns=15)
    rows = align(log, AlignmentSpec(reference="grid", streams={"s": item})).streams["s"]
    assert rows.gap.tolist() == [False] * 4 + [True] * 6 + [False]
    assert np.isfinite(np.asarray(rows.values)).all()


def test_streams_that_share_no_instant_are_refused_with_the_distance(fakes: Any) -> None:
    log = fakes.log(fakes.stream("a", [0, SECOND]), fakes.stream("b", [3 * SECOND, 4 * SECOND]))
    with pytest.raises(DataRefused, match="share no instant") as caught:
        align(log, AlignmentSpec(rate_hz=10))
    assert "a ends 2.000 s before b starts" in str(caught.value)


def test_an_empty_log_and_an_unknown_stream_are_refused(fakes: Any) -> None:
    with pytest.raises(DataRefused, match="holds a message"):
        align(fakes.log(fakes.stream("a", [])), AlignmentSpec(rate_hz=10))
    with pytest.raises(NotFound, match="no such stream"):
        align(fakes.log(fakes.stream("a", [0])), AlignmentSpec(rate_hz=10, streams={"b": StreamAlignment()}))


def test_an_empty_stream_beside_a_full_one_is_all_gap(fakes: Any) -> None:
    log = fakes.log(fakes.stream("a", range(0, 50, 10)), fakes.stream("b", [], np.zeros((0, 2))))
    rows = align(log, AlignmentSpec(reference="a")).streams["b"]
    assert rows.gap.all()
    assert np.isnan(np.asarray(rows.values)).all()


def test_a_policy_given_as_text_aligns_as_its_enum_does(fakes: Any) -> None:
    log = fakes.log(fakes.stream("a", [0, 10, 20]), fakes.stream("b", [1, 11, 21]))
    raw: Any = "hold"  # what users type
    reports = [
        report(align(log, AlignmentSpec(reference="a", default=StreamAlignment(policy=policy))))
        for policy in (Policy.HOLD, raw)
    ]
    assert reports[0] == reports[1]
    with pytest.raises(ConfigError, match="did you mean linear"):
        StreamAlignment(policy="liner")  # type: ignore[arg-type]


def test_a_spec_needs_exactly_one_grid() -> None:
    for fields in ({}, {"rate_hz": 5.0, "reference": "a"}):
        with pytest.raises(ConfigError, match="either a rate or a reference"):
            AlignmentSpec(**fields)
    with pytest.raises(ConfigError, match="lengths of time"):
        AlignmentSpec(rate_hz=5, default=StreamAlignment(tolerance_ns=-1))


def test_an_episodes_id_follows_the_source_bytes_and_the_spec_and_nothing_else(fakes: Any) -> None:
    log = fakes.log(fakes.stream("a", range(5)))
    renamed = fakes.log(fakes.stream("a", range(5)), name="another name", facts={"success": True})
    changed = fakes.log(fakes.stream("a", range(5), np.ones((5, 1))))
    shifted = fakes.log(fakes.stream("a", range(1, 6)))
    spec = AlignmentSpec(rate_hz=SECOND)
    one = align(log, spec).id
    assert align(renamed, spec).id == one
    others = {align(changed, spec).id, align(shifted, spec).id, align(log, AlignmentSpec(reference="a")).id}
    assert one not in others
    assert len(others) == 3


def test_the_report_counts_gaps_and_skew_and_has_a_json_form(fakes: Any) -> None:
    log = fakes.log(fakes.stream("grid", range(0, 101, 10)), fakes.stream("s", [1, 11, 21, 91, 101]))
    spec = AlignmentSpec(reference="grid", streams={"grid": StreamAlignment(), "s": StreamAlignment(tolerance_ns=5)})
    summary = report(align(log, spec))
    s = summary.streams["s"]
    assert s.skew.max_ns == 1
    assert s.skew_bias_ns == 1
    assert s.gaps == 6
    assert s.gap_spans_ns == ((30, 90),)
    assert s.rows == len(align(log, spec))
    assert s.messages == s.used == s.future == s.rows - 6
    assert to_json(summary)["streams"]["s"]["skew"]["max_ns"] == "1"
    assert canonical(summary)


@settings(deadline=None, max_examples=100)
@given(marks=st.lists(st.booleans(), min_size=1, max_size=20))
def test_spans_cover_exactly_the_marked_rows(marks: list[bool]) -> None:
    times = np.arange(len(marks), dtype=np.int64) * 10
    found = spans(np.asarray(marks), times, 10)
    assert [any(a <= t < b for a, b in found) for t in times] == marks
    assert all(a[1] < b[0] for a, b in pairwise(found))

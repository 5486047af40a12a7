"""A gap report as a table and a picture for people; and what cannot be measured or drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from worldgate.core.errors import DataRefused, UsageError
from worldgate.core.streams import FloatArray
from worldgate.core.worlds import Frame, Prompt, Signal
from worldgate.evidence import figures, gap_bounds
from worldgate.evidence.gap import gap
from worldgate.evidence.gap_report import GapConfig, merge
from worldgate.evidence.gap_summary import summarise
from worldgate.evidence.gate_evidence import TrainingRecord

STATE, FRONT = "observation.state", "observation.images.front"
CONFIG = GapConfig(windows=3, epsilon={STATE: 0.05})


def test_the_table_holds_the_bounds_that_gates_compute(fakes: ModuleType) -> None:
    report = gap(fakes.FakeModel(noise=0.001), [fakes.episode(i) for i in range(12)], CONFIG)
    half, one = summarise(report)
    assert (half.seconds, one.seconds, one.unit, one.episodes) == (0.5, 1.0, "m", 12)
    held = gap_bounds.column(report, STATE, "hold", 10)
    assert one.hold == pytest.approx(sum(held) / len(held))
    assert one.model is not None and one.velocity is not None and one.hold is not None
    best = "hold" if one.hold < one.velocity else "velocity"
    bound = gap_bounds.skill(report, STATE, best, 10, alpha="0.05")
    assert (one.skill, one.skill_lower) == (bound.estimate, bound.lower)
    assert one.sensitivity == gap_bounds.sensitivity(report, STATE, 10, alpha="0.05").estimate
    assert one.horizon_s is not None


def test_what_was_not_measured_is_left_out_of_a_row(fakes: ModuleType) -> None:
    config = GapConfig(windows=3, control=False)
    broken = gap(fakes.FakeModel(broken=True), [fakes.episode(i) for i in range(3)], config)
    (row,) = summarise(broken, horizons_s=(9.0,))
    assert row.seconds == 1.0, "the last step of the report"
    assert row.model is row.skill is row.sensitivity is row.horizon_s is None
    assert row.hold is not None and row.skill_lower == ""
    nothing = replace(broken, episodes=())
    (empty,) = summarise(nothing, horizons_s=(1.0,))
    assert empty.hold is empty.velocity is empty.skill is None


def test_a_step_beyond_the_report_is_not_measured(fakes: ModuleType) -> None:
    report = gap(fakes.FakeModel(), [fakes.episode(i) for i in range(3)], CONFIG)
    for step in (0, report.steps + 1):
        with pytest.raises(gap_bounds.Unmeasured, match="beyond the horizon"):
            gap_bounds.column(report, STATE, "model", step)


@pytest.mark.parametrize("config", [GapConfig(windows=3), CONFIG])
def test_one_episode_that_reaches_a_horizon_gives_no_interval_and_so_no_curve(
    fakes: ModuleType, config: GapConfig
) -> None:
    report = gap(fakes.FakeModel(), [fakes.episode(0), fakes.episode(1, length=8)], config)
    drawn = figures.svg(figures.horizon_curves(report, STATE))
    assert "hold-last" not in drawn and "2 held-out episodes" in drawn


def test_pictures_are_compared_with_the_last_one_copied(fakes: ModuleType) -> None:
    episodes = [fakes.episode(i, video=True) for i in range(3)]
    model = fakes.FakeModel(spec=fakes.spec(video=True))
    report = gap(model, episodes, GapConfig(windows=2), read_frames=fakes.read_frames)
    drawn = figures.svg(figures.horizon_curves(report, f"{FRONT}/video_mse"))
    assert "copy-last" in drawn and "constant velocity" not in drawn


# ---- refusals -------------------------------------------------------------------------------------------------------


def test_a_gap_tells_how_far_it_is(fakes: ModuleType) -> None:
    told: list[tuple[int, int]] = []
    gap(fakes.FakeModel(), [fakes.episode(i) for i in range(3)], CONFIG, lambda done, of: told.append((done, of)))
    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("changes", [{"windows": 0}, {"samples": 0}, {"horizon_s": 0.0}, {"horizon_s": float("nan")}])
def test_a_gap_of_nothing_is_refused(fakes: ModuleType, changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="windows and samples above 0"):
        gap(fakes.FakeModel(), [fakes.episode(0)], GapConfig(**changes))
    with pytest.raises(UsageError, match="needs held-out episodes"):
        gap(fakes.FakeModel(), [])
    with pytest.raises(UsageError, match="nothing to merge"):
        merge([], subject=fakes.spec())


def test_units_and_metrics_that_cannot_be_used_are_refused(fakes: ModuleType) -> None:
    state = Signal(name=STATE, unit="m,m,m", names=("x", "y"), shape=(2,))
    plain = fakes.episode(0)
    bare = replace(plain.streams[STATE], info=replace(plain.streams[STATE].info, unit=""))
    with pytest.raises(DataRefused, match="as many units as channels"):
        gap(
            fakes.FakeModel(spec=fakes.spec(states=(state,))),
            [replace(plain, streams={**plain.streams, STATE: bare})],
            CONFIG,
        )
    model, episode = fakes.FakeModel(spec=fakes.spec(video=True)), fakes.episode(0, video=True)
    with pytest.raises(UsageError, match="needs more than one window"):
        gap(model, [episode], GapConfig(video_metrics=("mmd",)), read_frames=fakes.read_frames)


@dataclass
class Odd:
    """Answers with the frame it was given, whatever was asked."""

    spec: Any
    frame: Frame

    @property
    def capabilities(self) -> frozenset[Any]:
        return frozenset()

    def open(self, prompt: Prompt, *, samples: int = 1, seed: int) -> Odd:
        return self

    def step(self, actions_BKA: FloatArray | None) -> Frame:
        return self.frame


def test_predictions_that_lack_a_stream_or_have_another_shape_are_refused(fakes: ModuleType) -> None:
    spec = replace(fakes.spec(), action=None)
    with pytest.raises(DataRefused, match="predicted nothing for this stream"):
        gap(Odd(spec, Frame(states={"other": np.zeros((1, 10, 2))})), [fakes.episode(0)], CONFIG)
    for shape in ((1, 9, 2), (1, 10, 3), (1, 10, 1)):
        with pytest.raises(DataRefused, match="a prediction of another shape"):
            gap(Odd(spec, Frame(states={STATE: np.zeros(shape)})), [fakes.episode(0)], CONFIG)


def test_a_training_record_of_another_form_is_refused() -> None:
    with pytest.raises(DataRefused, match="not a training record"):
        TrainingRecord.from_json({"schema": "worldgate/training/9"})

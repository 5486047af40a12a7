"""Figures: units on the axes, intervals with the estimates, the origin in the picture, the same bytes every time."""

from __future__ import annotations

from types import ModuleType

import pytest

from worldgate.core.errors import UsageError
from worldgate.core.evidence import CheckResult, Status
from worldgate.evidence import figures
from worldgate.evidence.gap import gap
from worldgate.evidence.gap_report import GapConfig, GapReport

STATE = "observation.state"


def report(fakes: ModuleType, **config: object) -> GapReport:
    given = GapConfig(**{"windows": 2, "epsilon": {STATE: 0.05}, **config})  # type: ignore[arg-type]
    return gap(fakes.FakeModel(), [fakes.episode(i) for i in range(14)], given)


def test_a_horizon_curve_tells_unit_origin_interval_and_where_evidence_ends(fakes: ModuleType) -> None:
    drawn = figures.svg(figures.horizon_curves(report(fakes), STATE))
    for words in ("horizon, s", "error, m", "against real", "14 held-out episodes", "H(ε) = 1 s", "not evidence"):
        assert words in drawn
    for label in ("model", "hold-last", "constant velocity", "shuffled actions"):
        assert label in drawn
    figure = figures.horizon_curves(report(fakes), STATE)
    (axes,) = figure.axes
    assert len(axes.collections) >= 4, "an interval is drawn with each estimate"


def test_without_an_epsilon_the_figure_says_so(fakes: ModuleType) -> None:
    assert "no ε given" in figures.svg(figures.horizon_curves(report(fakes, epsilon={}), STATE))


def test_a_model_that_gave_nothing_leaves_the_baselines(fakes: ModuleType) -> None:
    broken = gap(fakes.FakeModel(broken=True), [fakes.episode(i) for i in range(4)], GapConfig(windows=2))
    drawn = figures.svg(figures.horizon_curves(broken, STATE))
    assert "hold-last" in drawn and "shuffled" not in drawn


def test_figures_repeat_to_the_byte(fakes: ModuleType) -> None:
    given = report(fakes)
    first, again = (figures.svg(figures.horizon_curves(given, STATE)) for _ in range(2))
    assert first == again


def test_a_gate_table_shows_each_check_with_a_word_and_not_by_colour_alone() -> None:
    checks = [
        CheckResult(
            check="success",
            status=status,
            signal="",
            statistic="lower bound",
            estimate="0.97",
            bound="0.904966147144" if status is Status.PASS else "",
            required="> 0.80",
            n=30,
        )
        for status in Status
    ]
    drawn = figures.svg(figures.gate_table(checks, title="promotion of r3"))
    for words in ("promotion of r3", "PASS", "FAIL", "INCONCLUSIVE", "0.904966", "&gt; 0.80"):
        assert words in drawn


def test_what_cannot_be_drawn_is_refused(fakes: ModuleType) -> None:
    one = gap(fakes.FakeModel(), [fakes.episode(0)], GapConfig(windows=2))
    with pytest.raises(UsageError, match="two episodes"):
        figures.horizon_curves(one, STATE)
    with pytest.raises(UsageError, match="no such signal"):
        figures.horizon_curves(report(fakes), "observation.other")
    with pytest.raises(UsageError, match="no table"):
        figures.gate_table([], title="empty")

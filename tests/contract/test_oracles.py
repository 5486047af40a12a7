"""Every oracle keeps the seam's promises: it never says "met" on what is missing, NaN, or of another unit or frame."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from worldgate.core import seams
from worldgate.core.config import decode
from worldgate.core.digest import restore, to_json
from worldgate.core.errors import ConfigError
from worldgate.core.streams import FloatArray, Origin
from worldgate.evidence.judged import Judged, Outcome
from worldgate.evidence.runs import Run, Trace

NAMES = sorted(seams.cards("oracles"))
PARAMS: dict[str, dict[str, Any]] = {
    "success": {},
    "separation": {"limit_m": 0.1},
    "force": {"limit_n": 50.0},
    "speed": {"limit_m_s": 0.5},
    "workspace": {"signal": "tool", "channels": ["x", "y"], "frame": "table", "low_m": [-1, -1], "high_m": [1, 1]},
    "progress": {"goals": [{"name": "near", "conditions": [{"signal": "success"}]}], "least": 1.0},
    "time": {"limit_s": 1.0},
}
SIGNAL = dict.fromkeys(NAMES, "success") | {
    "separation": "clearance_m", "force": "force_n", "speed": "speed_m_s", "workspace": "tool",
}  # fmt: skip
STEPS = 10


def traces(**changes: Trace) -> dict[str, Trace]:
    """Ten rows of a second of a run that is good in every respect."""
    late = (np.arange(STEPS) >= 5).astype(np.float64)
    good = {
        "success": Trace(values=late),
        "clearance_m": Trace(values=np.full(STEPS, 0.5), unit="m"),
        "force_n": Trace(values=np.full(STEPS, 3.0), unit="N"),
        "speed_m_s": Trace(values=np.full(STEPS, 0.1), unit="m/s"),
        "tool": Trace(values=np.zeros((STEPS, 3)), unit="m", frame="table", names=("x", "y", "z")),
    }
    return {**good, **changes}


def run(held: dict[str, Trace]) -> Run:
    return Run(times_s=0.1 * np.arange(1, STEPS + 1), traces=held, origin=Origin.SIMULATED, step_s=0.1)


def ask(name: str, held: dict[str, Trace]) -> Judged:
    module = seams.load("oracles", name)
    said: Judged = module.judge(decode(module.Config, PARAMS[name], where="here"), run(held))
    return said


def with_values(name: str, values: FloatArray) -> dict[str, Trace]:
    signal = SIGNAL[name]
    return traces(**{signal: dataclasses.replace(traces()[signal], values=values)})


def values_of(name: str) -> FloatArray:
    return traces()[SIGNAL[name]].values.copy()


@pytest.mark.parametrize("name", NAMES)
def test_an_oracle_is_met_by_a_good_run(name: str) -> None:
    said = ask(name, traces())
    assert (said.outcome, said.entries, said.unmeasured, said.oracle) == (Outcome.MET, 0, "", name)


BAD = {
    "success": np.zeros(STEPS),
    "separation": np.array([0.5] * 4 + [0.05] + [0.5] * 5),
    "force": np.array([3.0] * 4 + [80.0] + [3.0] * 5),
    "speed": np.array([0.1] * 4 + [0.9] + [0.1] * 5),
    "workspace": np.concatenate((np.zeros((4, 3)), [[1.2, 0, 0]], np.zeros((5, 3)))),
    "progress": np.zeros(STEPS),
    "time": np.array([0.0] * 9 + [0.0]),
}


@pytest.mark.parametrize("name", NAMES)
def test_an_oracle_is_broken_by_a_bad_run_and_says_where(name: str) -> None:
    said = ask(name, with_values(name, BAD[name]))
    assert said.outcome is Outcome.BROKEN
    if seams.load("oracles", name).KIND == "envelope":
        assert said.entries == 1
        assert said.at_s == pytest.approx(0.5)
        assert said.metric and said.extreme == pytest.approx(
            {"workspace": 0.2}.get(name, BAD[name].max(initial=0)), abs=1
        )


@pytest.mark.parametrize("gap", [slice(None), slice(0, 3), slice(-1, None)], ids=["all", "start", "end"])
@pytest.mark.parametrize("worth", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", NAMES)
def test_an_oracle_is_never_met_where_its_signal_is_not_finite(name: str, worth: float, gap: slice) -> None:
    values = values_of(name)
    if name == "progress" or (name == "success" and gap == slice(0, 3)):
        values[:] = 0.0  # what was reached elsewhere is known; here it never is
    values[gap] = worth
    assert ask(name, with_values(name, values)).outcome is not Outcome.MET


@pytest.mark.parametrize("name", NAMES)
def test_an_oracle_is_not_measured_without_its_signal_or_rows(name: str) -> None:
    without = {key: trace for key, trace in traces().items() if key != SIGNAL[name]}
    assert ask(name, without).outcome is Outcome.NOT_MEASURED
    assert SIGNAL[name] in ask(name, without).unmeasured
    nothing = Run(times_s=np.zeros(0), traces={}, origin=Origin.REAL, step_s=0.1)
    module = seams.load("oracles", name)
    config = decode(module.Config, PARAMS[name], where="here")
    assert module.judge(config, nothing).outcome is Outcome.NOT_MEASURED


@pytest.mark.parametrize("unit", ["mm", "cm", "deg", "", "1", "kg"])
@pytest.mark.parametrize("name", NAMES)
def test_an_oracle_is_not_measured_in_another_unit(name: str, unit: str) -> None:
    signal = SIGNAL[name]
    held = traces(**{signal: dataclasses.replace(traces()[signal], unit=unit)})
    same = unit == traces()[signal].unit
    assert (ask(name, held).outcome is Outcome.NOT_MEASURED) is not same


def test_a_workspace_is_not_measured_in_another_frame() -> None:
    for frame in ("base", ""):
        held = traces(tool=dataclasses.replace(traces()["tool"], frame=frame))
        assert "frame" in ask("workspace", held).unmeasured


@pytest.mark.parametrize(("name", "factor"), [("separation", 1000.0), ("speed", 1000.0), ("force", 10_000.0)])
def test_a_reading_beyond_what_is_plausible_is_not_measured(name: str, factor: float) -> None:
    said = ask(name, with_values(name, values_of(name) * factor))
    assert said.outcome is Outcome.NOT_MEASURED
    assert "another unit?" in said.unmeasured


@pytest.mark.parametrize("name", [n for n in NAMES if seams.load("oracles", n).KIND == "envelope"])
def test_a_limit_that_is_known_to_be_broken_is_broken_whatever_else_is_missing(name: str) -> None:
    values = np.array(BAD[name])
    values[-1] = np.nan
    said = ask(name, with_values(name, values))
    assert said.outcome is Outcome.BROKEN
    assert "throughout" in said.unmeasured


@pytest.mark.parametrize("name", NAMES)
def test_an_oracle_declares_a_frozen_config_of_plain_values_and_what_it_reads(name: str) -> None:
    module = seams.load("oracles", name)
    config = decode(module.Config, PARAMS[name], where="here")
    assert module.Config.__dataclass_params__.frozen
    assert decode(module.Config, restore(to_json(config)), where="here") == config
    assert module.KIND in {"success", "envelope", "progress", "time"}
    assert module.reads(config) == (SIGNAL[name],)
    assert (module.KIND == "envelope") is hasattr(module, "limit")
    card = seams.cards("oracles")[name]
    assert card.line and card.inputs and card.source and not card.needs


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("success", {"conditions": []}),
        ("success", {"hold_s": -1.0}),
        ("success", {"conditions": [{"signal": "a", "op": "=="}]}),
        ("success", {"conditions": [{"signal": "a", "unit": "inch"}]}),
        ("success", {"conditions": [{"signal": "a", "value": float("inf")}]}),
        ("separation", {"limit_m": float("nan")}),
        ("separation", {"limit_m": 25.0}),
        ("force", {"limit_n": -1.0}),
        ("speed", {"limit_m_s": 250.0}),
        ("workspace", {**PARAMS["workspace"], "frame": ""}),
        ("workspace", {**PARAMS["workspace"], "low_m": [-1.0]}),
        ("workspace", {**PARAMS["workspace"], "high_m": [-2.0, 1.0]}),
        ("workspace", {**PARAMS["workspace"], "channels": [], "low_m": [], "high_m": []}),
        ("progress", {"goals": []}),
        ("progress", {"goals": [{"name": "a", "conditions": []}]}),
        ("progress", {**PARAMS["progress"], "least": 1.5}),
        ("time", {"limit_s": 0.0}),
        ("time", {"limit_s": 1.0, "until": []}),
    ],
)
def test_a_limit_that_says_nothing_is_refused(name: str, params: dict[str, Any]) -> None:
    module = seams.load("oracles", name)
    with pytest.raises(ConfigError):
        decode(module.Config, params, where="here")


def test_success_must_last_as_long_as_it_is_asked_to() -> None:
    module = seams.load("oracles", "success")

    def said(hold_s: float, values: FloatArray) -> Outcome:
        found: Judged = module.judge(module.Config(hold_s=hold_s), run(traces(success=Trace(values=values))))
        return found.outcome

    late = (np.arange(STEPS) >= 5).astype(np.float64)
    assert said(0.3, late) is Outcome.MET
    assert said(0.6, late) is Outcome.BROKEN, "it held for 0.5 s"
    assert said(2.0, np.ones(STEPS)) is Outcome.BROKEN, "the whole run was shorter"
    assert said(0.0, 1 - late) is Outcome.BROKEN, "success that was lost again"


def test_success_may_be_a_predicate_over_channels_with_units_and_frames() -> None:
    module = seams.load("oracles", "success")
    base = {"signal": "tool", "channel": "x", "op": "<=", "value": 0.1, "unit": "m", "frame": "table"}

    def said(**changes: Any) -> Judged:
        config = decode(module.Config, {"conditions": [{**base, **changes}]}, where="here")
        found: Judged = module.judge(config, run(traces()))
        return found

    assert said().outcome is Outcome.MET
    assert said(op="<", value=0.0).outcome is Outcome.BROKEN
    assert said(op=">", value=-0.1).outcome is Outcome.MET
    assert "frame" in said(frame="base").unmeasured
    assert "frame" in said(frame="").unmeasured
    assert "mm" in said(unit="mm").unmeasured
    assert "no channel" in said(channel="w").unmeasured
    assert "3 channels" in said(channel="").unmeasured


def test_a_limit_that_stays_broken_counts_once_and_one_that_is_broken_again_twice() -> None:
    near = np.array([0.5, 0.05, 0.05, 0.5, 0.05, 0.5, 0.5, 0.5, 0.5, 0.5])
    said = ask("separation", with_values("separation", near))
    assert (said.entries, said.extreme, said.at_s, said.metric) == (2, 0.05, pytest.approx(0.2), "least_clearance_m")
    at_once = np.array([0.05] + [0.5] * 9)
    assert ask("separation", with_values("separation", at_once)).entries == 1


def test_speed_is_read_off_positions_too() -> None:
    module = seams.load("oracles", "speed")
    config = module.Config(limit_m_s=0.51, signal="tool", channels=("x", "y"), positions=True)
    moved = np.zeros((STEPS, 3))
    moved[6:, 0], moved[6:, 1] = 0.03, 0.04
    said = module.judge(config, run(with_values("workspace", moved)))
    assert (said.outcome, said.extreme, said.at_s) == (Outcome.MET, pytest.approx(0.5), pytest.approx(0.7))
    moved[6:, 2] = 9.0
    assert module.judge(config, run(with_values("workspace", moved))).extreme == pytest.approx(0.5), (
        "z is not asked for"
    )
    moved[6:, 0] = 0.06
    assert module.judge(config, run(with_values("workspace", moved))).outcome is Outcome.BROKEN
    once = Run(
        times_s=np.zeros(1), traces={"tool": dataclasses.replace(traces()["tool"], values=np.zeros((1, 3)))},
        origin=Origin.REAL, step_s=0.1,
    )  # fmt: skip
    assert "one moment" in module.judge(config, once).unmeasured


def test_a_fact_of_the_whole_run_has_no_time() -> None:
    held = traces(
        clearance_m=Trace(values=np.full(STEPS, 0.05), unit="m", whole=True),
        success=Trace(values=np.ones(STEPS), whole=True),
    )
    said = ask("separation", held)
    assert (said.outcome, said.entries, said.at_s) == (Outcome.BROKEN, 1, None)
    assert ask("success", held).outcome is Outcome.MET
    assert "does not say when" in ask("time", held).unmeasured


def test_the_time_is_that_of_success_that_lasts() -> None:
    said = ask("time", traces())
    assert (said.outcome, said.extreme) == (Outcome.MET, pytest.approx(0.6))
    lost = np.array([1, 1, 1, 0, 0, 0, 0, 0, 1, 1], np.float64)
    assert ask("time", traces(success=Trace(values=lost))).extreme == pytest.approx(0.9)
    module = seams.load("oracles", "time")
    slow = module.judge(module.Config(limit_s=0.5), run(traces()))
    assert slow.outcome is Outcome.BROKEN and slow.extreme == pytest.approx(0.6)
    assert ask("time", traces(success=Trace(values=np.ones(STEPS)))).extreme == pytest.approx(0.1)


def test_progress_is_the_share_of_sub_goals_that_were_reached() -> None:
    module = seams.load("oracles", "progress")
    goals = [
        {"name": "first", "conditions": [{"signal": "success"}]},
        {"name": "never", "conditions": [{"signal": "force_n", "value": 100.0, "unit": "N"}]},
    ]
    config = decode(module.Config, {"goals": goals}, where="here")
    said = module.judge(config, run(traces()))
    assert (said.outcome, said.extreme, said.at_s) == (Outcome.MET, 0.5, pytest.approx(0.6))
    strict = decode(module.Config, {"goals": goals, "least": 0.6}, where="here")
    assert module.judge(strict, run(traces())).outcome is Outcome.BROKEN
    blind = traces(force_n=Trace(values=np.full(STEPS, np.nan), unit="N"))
    assert module.judge(strict, run(blind)).outcome is Outcome.NOT_MEASURED
    assert module.judge(config, run(blind)).outcome is Outcome.MET, "half is reached whatever the rest was"
    assert module.judge(strict, run({"success": Trace(values=np.zeros(STEPS))})).outcome is Outcome.NOT_MEASURED

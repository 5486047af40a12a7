"""Every file of the seams ``gates`` and ``metrics`` keeps the seam's promises; above all, none passes on nothing."""

from __future__ import annotations

import dataclasses
import inspect
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from tests.evidence import held_out, promotions, site_samples

from worldgate.core import seams
from worldgate.core.config import decode
from worldgate.core.digest import canonical, restore, to_json
from worldgate.core.errors import ConfigError
from worldgate.core.evidence import CheckResult, Status
from worldgate.core.streams import Origin
from worldgate.core.worlds import ModelSpec, Signal
from worldgate.evidence.gap_report import EpisodeGap, Errors, GapConfig, GapReport, SignalInfo
from worldgate.evidence.gate_evidence import GateEvidence, TrainingRecord
from worldgate.evidence.planned import Planned
from worldgate.evidence.regression_table import Regression, RegressionConfig, Replayed, Trace

GATES = sorted(seams.cards("gates"))
METRICS = [name for name in sorted(seams.cards("metrics")) if hasattr(seams.load("metrics", name), "measure")]
"""Those of the plain form; ``test_metrics`` holds the others."""
DIGEST = {name: format(i, "064x") for i, name in enumerate(("model", "data", "norm", "release", "scenario", "log"))}
STATE = Signal(name="observation.state", unit="m", shape=(1,))
STEPS = 10


def gap(model: Any, *, baseline: float | None = 1.0, episodes: int = 16, nonfinite: int = 0) -> GapReport:
    """A report in which every episode says the same."""
    curve = (model,) * STEPS
    errors = Errors(
        model=curve,
        hold=(baseline,) * STEPS,
        velocity=(baseline,) * STEPS,
        shuffled=(baseline,) * STEPS,
        measured=(0 if model is None and not nonfinite else 4,) * STEPS,
        within=(4 if model is not None else 0,) * STEPS,
        nonfinite=nonfinite,
    )
    spec = ModelSpec(
        family="fake", digest=DIGEST["model"], normaliser=DIGEST["norm"], rate_hz=10, context=1, states=(STATE,),
        dataset=DIGEST["data"],
    )  # fmt: skip
    rows = [
        EpisodeGap(
            episode=format(100 + i, "064x"), log=DIGEST["log"], name=f"episode_{i}", site="bench", model=spec.digest,
            windows=4, skipped=0, signals={STATE.name: errors},
        )
        for i in range(episodes)
    ]  # fmt: skip
    info = SignalInfo(
        name=STATE.name, stream=STATE.name, metric="state_rms", unit="m", better="lower", channels=(0,), epsilon=0.5
    )
    return GapReport(
        subject=spec.digest, spec=spec, origin=Origin.REAL, dataset=DIGEST["data"], rate_hz=10, steps=STEPS,
        config=GapConfig(), signals=(info,), episodes=tuple(rows),
    )  # fmt: skip


def regressed(
    new: float | None, *, old: float = 1.0, episodes: int = 16, nonfinite: int = 0, baseline: str = promotions.OLD
) -> Regression:
    """Recorded episodes open loop, each saying the same."""
    rows = [
        Replayed(
            episode=format(100 + i, "064x"), log=format(200 + i, "064x"), name=f"episode_{i}", site="bench", rows=50,
            skipped=0, new=Trace(mean=new, moments=(new,), nonfinite=nonfinite),
            old=Trace(mean=old, moments=(old,)) if baseline else None,
        )
        for i in range(episodes)
    ]  # fmt: skip
    return Regression(
        subject=DIGEST["model"], baseline=baseline, origin=Origin.REAL, rate_hz=10, action=STATE, spread=(1.0,),
        config=RegressionConfig(), episodes=tuple(rows),
    )  # fmt: skip


PLAN = promotions.imagined_plan(200, baseline=True, strata=("dim", "bright"), wires=1)


def tried(rows: int = len(PLAN.rows), **changes: Any) -> Planned:
    """What came of a plan with a baseline: every run measured, clean and a success, unless told otherwise."""
    return promotions.came_of(PLAN, lambda n, _: {"metrics": {"least_clearance_m": 0.2}, **changes}, rows=rows)


def runs(planned: Planned) -> dict[str, Any]:
    return {"planned": planned, "trials": tuple(run.trial for run in planned.runs if run.row.side == "new")}


def evidence(**changes: Any) -> GateEvidence:
    training = TrainingRecord(
        subject=DIGEST["model"], dataset=DIGEST["data"], normaliser=DIGEST["norm"], signals=(STATE,),
        episodes=(format(1, "064x"),), origin=Origin.REAL,
    )  # fmt: skip
    manifest = {
        "weights": {"policy.safetensors": DIGEST["model"]},
        "normaliser": DIGEST["norm"],
        "dataset": DIGEST["data"],
        "observation": [to_json(STATE)],
    }
    shown, seen = gap(0.1), site_samples.report(subject=DIGEST["model"], dataset=DIGEST["log"])
    fields: dict[str, Any] = {
        "subject": DIGEST["model"], "sites": ("bench",), "slots": ("bench/ur5/left",), "now_ns": 1_000, "gap": shown,
        "measured": seen, "pairs": site_samples.trials(world=DIGEST["model"]),
        "training": training, "release": manifest, "regression": regressed(1.0), **runs(tried()),
        "datasets": {shown.dataset: held_out.manifest(shown), seen.dataset: held_out.manifest(seen)},
    }  # fmt: skip
    return GateEvidence(**{**fields, **changes})


def results(name: str, given: GateEvidence) -> tuple[CheckResult, ...]:
    module = seams.load("gates", name)
    found: tuple[CheckResult, ...] = module.check(module.Config(), given)
    return found


FIGURES = {figure for figure, _, _ in site_samples.GOOD}


def unmeasured(number: int) -> None:
    return None


def not_finite(number: int) -> tuple[None, ...]:
    return (None, None, None, None)


def measured(episodes: int = 40, **changes: Any) -> dict[str, Any]:
    """A site report that is poor in some way, and no pairs to make up for it."""
    return {"measured": site_samples.report(episodes, subject=DIGEST["model"], **changes), "pairs": ()}


NOTHING: dict[str, dict[str, Any]] = {
    "nothing at all": {
        "gap": None, "regression": None, "training": None, "release": None, "planned": None, "trials": (),
        "measured": None, "pairs": None,
    },
    "an empty report and no trials": {
        "gap": gap(0.1, episodes=0), "regression": regressed(1.0, episodes=0), **runs(tried(0)), **measured(0),
    },
    "a report without values": {
        "gap": gap(None), "regression": regressed(None), **runs(tried(0)),
        **measured(change=dict.fromkeys(FIGURES, unmeasured), features=(), calibration=()),
    },
    "a model that gave NaN": {
        "gap": gap(None, nonfinite=4), "regression": regressed(None, nonfinite=4), **runs(tried(0)),
        **measured(change=dict.fromkeys(FIGURES, not_finite), calibration=()),
    },
    "one episode": {
        "gap": gap(0.1, episodes=1), "regression": regressed(1.0, episodes=1), **runs(tried(3)), **measured(1),
    },
    "no baseline": {
        "gap": gap(0.1, baseline=None), "regression": regressed(1.0, baseline=""), **runs(tried(0)), **measured(3),
    },
    "nothing but excluded trials": {
        "gap": gap(None), "regression": None, **runs(tried(excluded="camera")), **measured(0),
    },
    "trials before their plan": {"gap": gap(None), "regression": None, **runs(tried(early=True)), **measured(0)},
    "imagined trials": {
        "gap": gap(None), "regression": None, **runs(tried(executor=Origin.IMAGINED)), **measured(0),
    },
}  # fmt: skip


@pytest.mark.parametrize("name", GATES)
def test_a_check_passes_on_evidence_that_is_whole_and_good(name: str) -> None:
    assert {r.status for r in results(name, evidence())} == {Status.PASS}


@pytest.mark.parametrize("case", NOTHING)
@pytest.mark.parametrize(
    "name",
    [n for n in GATES if n not in {"identity", "schema", "horizon", "admitted", "incidents", "holdout", "determinism"}],
)
def test_a_statistical_check_never_passes_on_nothing(name: str, case: str) -> None:
    found = results(name, evidence(**NOTHING[case]))
    assert found
    assert Status.PASS not in {r.status for r in found}


@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize("case", ["nothing at all"])
def test_no_check_passes_without_any_evidence(name: str, case: str) -> None:
    found = results(name, evidence(**NOTHING[case]))
    assert {r.status for r in found} == {Status.INCONCLUSIVE}
    assert all(r.detail for r in found), "what is missing is said"


@pytest.mark.parametrize("case", ["a report without values", "a model that gave NaN", "one episode"])
def test_a_horizon_is_never_reached_on_nothing(case: str) -> None:
    assert Status.PASS not in {r.status for r in results("horizon", evidence(**NOTHING[case]))}


@pytest.mark.parametrize("name", GATES)
def test_a_check_is_pure_and_its_results_have_a_json_form(name: str) -> None:
    given = evidence()
    first, again = results(name, given), results(name, given)
    assert canonical(first) == canonical(again)
    for result in first:
        assert decode(CheckResult, restore(to_json(result)), where="here") == result
        assert result.check == name


@pytest.mark.parametrize("name", GATES)
def test_a_check_declares_its_gate_and_a_frozen_config_of_plain_values(name: str) -> None:
    module = seams.load("gates", name)
    assert module.GATE in {"admission", "promotion"}
    assert module.Config.__dataclass_params__.frozen
    assert decode(module.Config, restore(to_json(module.Config())), where="here") == module.Config()
    assert all(f.kw_only for f in dataclasses.fields(module.Config))
    with pytest.raises(ConfigError, match="unknown key"):
        decode(module.Config, {"alfa": "0.05"}, where="here")


@pytest.mark.parametrize("seam", ["gates", "metrics"])
def test_every_card_says_what_the_entry_is(seam: str) -> None:
    for card in seams.cards(seam).values():
        assert card.line and card.inputs and card.source, card.name
        assert not card.needs, "gates and metrics run everywhere"


def frames(value: int, steps: int = 3) -> np.ndarray[Any, Any]:
    out = np.full((steps, 12, 12, 3), 40, dtype=np.uint8)
    for k in range(steps):
        out[k, k + 1 : k + 6, 2:8] = value
    return out


def inputs(module: ModuleType, predicted: int) -> tuple[Any, Any, Any]:
    if "frames" in module.CARD["inputs"]:
        return frames(predicted), frames(220), frames(220, 1)[0]
    if "(K, H, W)" in module.CARD["inputs"]:
        return frames(predicted)[..., 0], frames(220)[..., 0], frames(220, 1)[0, ..., 0]
    return np.full((3, 2), predicted / 220), np.ones((3, 2)), np.ones(2)


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_ranks_a_perfect_prediction_first(name: str) -> None:
    module = seams.load("metrics", name)
    perfect, poor = (module.measure(*inputs(module, v)) for v in (220, 90))
    counted = poor.weight > 0
    assert counted.any()
    better = np.less if module.BETTER == "lower" else np.greater
    assert better(perfect.error[counted], poor.error[counted]).all()


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_returns_one_finite_error_and_weight_a_step_and_changes_nothing(name: str) -> None:
    module = seams.load("metrics", name)
    given = inputs(module, 90)
    before = [np.array(a) for a in given]
    found = module.measure(*given)
    assert found.error.shape == found.weight.shape == (3,)
    assert np.isfinite(found.error).all() and (found.weight >= 0).all()
    for a, b in zip(given, before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(inspect.signature(module.measure).parameters) == 3

"""An evaluation for people: one table at one horizon, one of special situations, and what to make of it in sentences.

The sentences only say what an interval supports: better than the better baseline if the lower bound of the advantage is
above 0, worse if the upper bound is below it, else undecided. Bounds are each one-sided at the report's level and not
corrected for their number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from worldgate.evidence.bootstrap import least_episodes
from worldgate.evidence.evaluation.report import Evaluation, Row
from worldgate.evidence.evaluation.sums import Estimate

SITUATION_FIGURES: Mapping[str, tuple[str, ...]] = {
    "occluded": ("/object_error",),
    "contact_forming": ("/contact_f1", "/onset_f1", "/object_error"),
    "contact_breaking": ("/contact_f1", "/object_error"),
    "person_entering": ("/person_error", "/moving_psnr"),
    "person": ("/person_error", "/moving_psnr"),
    "sensor_drift": ("/rms", "/moving_psnr", "/object_error"),
}
"""What the table of situations shows of each: the ends of figures."""


WEAK_READOUT = 0.6
"""Share of the variance of actions below which a read-out is said to be weak."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One row of a table for people."""

    figure: str
    situation: str
    unit: str
    seconds: str
    model: str
    baseline: str
    advantage: str
    real: str
    episodes: int


def shown_step(evaluation: Evaluation) -> int:
    """The horizon that a table shows: the one nearest to one second."""
    rate = evaluation.facts.spec.rate_hz
    return min(evaluation.facts.horizons, key=lambda step: (abs(step / rate - 1.0), -step))


def lines(evaluation: Evaluation, steps: Sequence[int] = (), *, situations: bool = False) -> list[Line]:
    """Rows at some horizons (by default the one nearest to a second) and of whole windows."""
    wanted = {0, *(steps or [shown_step(evaluation)])}
    return [
        _line(evaluation, row)
        for row in evaluation.rows
        if row.step in wanted
        and not row.detail
        and bool(row.situation) == situations
        and (not situations or row.figure.endswith(SITUATION_FIGURES.get(row.situation, ())))
    ]


def _line(evaluation: Evaluation, row: Row) -> Line:
    model, best = row.values.get("model"), row.values.get(row.baseline)
    real = row.values.get("real")
    shown = tell(model)
    if row.p.get("model") is not None:
        shown += f", p {row.p['model']:.2g}"
    return Line(
        figure=row.figure,
        situation=row.situation,
        unit=row.unit,
        seconds=f"{row.step / evaluation.facts.spec.rate_hz:g}" if row.step else "window",
        model=shown,
        baseline=f"{row.baseline} {_number(best)}" if best is not None else "-",
        advantage=tell(row.advantage),
        real=_number(real),
        episodes=model.episodes if model is not None else 0,
    )


def tell(estimate: Estimate | None) -> str:
    """A figure with its interval, or a dash."""
    if estimate is None or estimate.value is None:
        return "-"
    if estimate.lower is None or estimate.upper is None:
        return f"{estimate.value:.3g}"
    return f"{estimate.value:.3g} [{estimate.lower:.3g}, {estimate.upper:.3g}]"


def _number(estimate: Estimate | None) -> str:
    return "-" if estimate is None or estimate.value is None else f"{estimate.value:.3g}"


def text(evaluation: Evaluation) -> list[str]:
    """What to make of it, in sentences."""
    facts = evaluation.facts
    futures = "one future a window" if facts.samples == 1 else f"{facts.samples} futures a window"
    rate = facts.rollout_steps / facts.rollout_seconds if facts.rollout_seconds > 0 else 0.0
    out = [
        f"imagined against {facts.origin}: {len(facts.episodes)} held-out episodes, {facts.windows} windows, "
        f"{futures}; bounds at {100 * (1 - facts.config.level):g} % a side, over episodes",
        *_against_baselines(evaluation),
        *_actions(evaluation),
        *_spread(evaluation),
    ]
    repeats = evaluation.row("same_seed")
    if repeats is not None and (value := repeats.values["model"].value) is not None and value < 1.0:
        out.append(f"does not repeat: the same seed gave other bytes in {1 - value:.0%} of the episodes tried")
    if facts.nonfinite:
        out.append(f"NaN or infinity in {facts.nonfinite} of {facts.windows} windows: figures they touch are left out")
    if facts.skipped:
        out.append(f"{facts.skipped} windows left out: a gap of alignment, or a value that is not finite")
    out += [f"not measured: {name} ({why})" for name, why in facts.not_measured.items()]
    out.append(f"{rate:.0f} steps/s of rollout, {facts.seconds:.0f} s in all")
    return out


def _against_baselines(evaluation: Evaluation) -> Iterator[str]:
    step = shown_step(evaluation)
    least, count = least_episodes(evaluation.facts.config.level), len(evaluation.facts.episodes)
    if count < least:
        yield f"{count} episodes are too few for bounds: nothing is decided below {least}"
        return
    better, worse, open_ = [], [], 0
    for row in evaluation.rows:
        if row.step != step or row.situation or row.detail or row.advantage is None or row.advantage.value is None:
            continue
        if row.advantage.lower is not None and row.advantage.lower > 0:
            better.append(row.figure)
        elif row.advantage.upper is not None and row.advantage.upper < 0:
            worse.append(row.figure)
        else:
            open_ += 1
    if better or worse or open_:
        seconds = step / evaluation.facts.spec.rate_hz
        yield (
            f"at {seconds:g} s it beats copy-last and constant velocity in {len(better)} figures, "
            f"is beaten in {len(worse)}, undecided in {open_}"
        )
    if worse:
        yield f"beaten in: {', '.join(worse)}"


def _actions(evaluation: Evaluation) -> Iterator[str]:
    step = evaluation.facts.horizons[-1]
    for row in evaluation.rows:
        if row.figure.endswith("/action_following") and row.step == step and not row.situation:
            found, label = row.values["model"], row.figure.removesuffix("/action_following")
            real = f", real pairs {_number(row.values['real'])}" if "real" in row.values else ""
            verdict = "" if found.lower is None or found.lower > 0 else ": may ignore its actions"
            yield f"follows its actions by {label}: {tell(found)}{real}{verdict}"
            read = evaluation.row(f"{label}/action_r2", step)
            ceiling = read.values["real"].value if read is not None and "real" in read.values else None
            if ceiling is not None and ceiling < WEAK_READOUT:
                yield f"the read-out of actions from {label} is weak: R2 {ceiling:.2g} on real held-out rows"


def _spread(evaluation: Evaluation) -> Iterator[str]:
    step = shown_step(evaluation)
    for row in evaluation.rows:
        if "/coverage_90_" not in row.figure or row.step != step or row.situation or row.meets_target is not False:
            continue
        found = row.values["model"]
        assert found.upper is not None and row.target is not None
        word = "over-confident" if found.upper < row.target else "under-confident"
        yield f"{word}: {row.figure} is {tell(found)}"

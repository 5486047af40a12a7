"""Does the world model do what it is told, as much as reality does, and nothing when it is told to stand still?

Following: from one prompt under two command sequences, the change of what was done against the change of what was
commanded, both read by inverse dynamics fitted on real rows. The same over real pairs gives what the read-out leaves
of it, so the ratio of the two slopes is 1 for a model that responds as reality does; both bounds must lie in
[``low``, ``high``]. Of pictures there is no real pair and the slope stands alone. A read-out that does not tell the
actions of real rows (R2 below ``readout``) decides nothing.

Standing still: under the action that belongs to no motion, how far states move in the second half of the window, of
how far they really moved meanwhile under the recorded actions; the upper bound must not exceed ``still``.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from worldgate.core.evidence import CheckResult
from worldgate.evidence.bootstrap import RESAMPLES, Interval
from worldgate.evidence.exact import percent, ratio, shown
from worldgate.evidence.gap_bounds import Unmeasured
from worldgate.evidence.gate_evidence import GateEvidence, inconclusive
from worldgate.evidence.gates._episodes import NEEDS, in_band, labels, measured, over_episodes, why_not
from worldgate.evidence.site_bounds import Column, column
from worldgate.evidence.site_report import SiteReport

CARD = {
    "line": "response to actions as in reality, within [0.8, 1.25], and no motion where none is commanded",
    "inputs": "a site report: inverse dynamics fitted on real training episodes",
    "source": "governance of the gap, W3; episode bootstrap, Hesterberg 2015",
}
GATE = "admission"
CHECK = "action_following"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What is required."""

    horizon_s: float = 1.0
    """Where following is measured, in seconds."""
    low: str = "0.8"
    """Least ratio of the imagined response to the real one."""
    high: str = "1.25"
    """Largest ratio."""
    still: str = "0.25"
    """Largest share of the real motion that may remain when standing still is commanded."""
    readout: str = "0.6"
    """Least share of the variance of real actions that the read-out must tell."""
    labels: tuple[str, ...] = ()
    """``states``, or cameras; empty: states, and cameras where a model has none."""
    alpha: str = "0.05"
    """One-sided level of each bound."""
    resamples: int = RESAMPLES
    seed: int = 0
    """Of the resampling."""


def check(config: Config, evidence: GateEvidence) -> tuple[CheckResult, ...]:
    """Following for each label, then standing still for each judged state stream."""
    report = measured(evidence)
    if report is None:
        return (inconclusive(CHECK, "response to actions", NEEDS),)
    step, end = report.step_of(config.horizon_s), "/action_gain"
    names = labels(report, end, step=step, wanted=config.labels)
    still = [f.removesuffix("/still_motion") for f in report.figures("/still_motion", step=0)]
    streams = [s for s in still if evidence.about(s)]
    if not names or not streams:
        n = len(report.episodes)
        return (inconclusive(CHECK, "response to actions", why_not(report, "action_following"), n=n),)
    return (
        *(_follows(config, report, name, step) for name in names),
        *(_stands(config, report, name) for name in streams),
    )


def _follows(config: Config, report: SiteReport, label: str, step: int) -> CheckResult:
    sure = percent(1 - ratio(config.alpha))
    statistic = f"bootstrap {sure} bounds of response to actions, imagined / real, up to {config.horizon_s:g} s"

    def compute() -> tuple[Interval, str]:
        told = _told(column(report, f"{label}/action_r2", step, "real"))
        if told < ratio(config.readout):
            raise Unmeasured(f"the read-out tells {shown(float(told))} of real actions, needs {config.readout}")
        above, below = _slopes(report, label, step)
        return over_episodes(above, below, config), f"the read-out tells {shown(float(told))} of real actions"

    return in_band(CHECK, label, statistic, report, compute, low=config.low, high=config.high)


def _told(held: Column) -> Fraction:
    """R2 of the read-out on real rows, over all episodes."""
    n, error, y, yy = (sum((ratio(sums[i]) for _, sums in held), Fraction(0)) for i in range(4))
    spread = yy - y * y / n if n else Fraction(0)
    return 1 - error / spread if spread > 0 else Fraction(0)


def _slopes(report: SiteReport, label: str, step: int) -> tuple[list[float], list[float]]:
    """Numerators and divisors by episode: against the real response where there is one, else against the command.

    Raises:
        Unmeasured: real actions of an episode cannot be read back.
    """
    model = column(report, f"{label}/action_gain", step)
    try:
        real = dict(column(report, f"{label}/action_gain", step, "real"))
    except Unmeasured:
        real = {}
    both = [(s[1], real[e][1]) for e, s in model if e in real] or [(s[1], s[0]) for _, s in model]
    if any(not below > 0 for _, below in both):
        raise Unmeasured("an episode in which actions cannot be read back")
    return [above for above, _ in both], [below for _, below in both]


def _stands(config: Config, report: SiteReport, stream: str) -> CheckResult:
    sure = percent(1 - ratio(config.alpha))
    statistic = f"bootstrap upper {sure} bound of motion when told to stand still, of the real motion meanwhile"
    figure = f"{stream}/still_motion"

    def compute() -> tuple[Interval, str]:
        model, real = column(report, figure, 0), dict(column(report, figure, 0, "real"))
        return over_episodes([sums[0] for _, sums in model], [real[e][0] for e, _ in model], config), ""

    return in_band(CHECK, f"{stream} standing still", statistic, report, compute, high=config.still)

"""Onboarding a site: what a world model's evidence says there, what carries over from elsewhere, what is still missing.

An old site's evidence never counts at a new one: every check is asked anew, over the new site's calibration episodes
alone, and what it says elsewhere only stands beside. So "transfers" is a finding, not an assumption: the check passes
there and here. A check that fails here although it passes elsewhere does not transfer, however many episodes follow.

How many more episodes a check would need is told by asking the same check with the site's own episodes repeated: the
fewest at which it passes if episodes go on as they were. That is a projection, not a promise, and it is no bound.

Shape legend: N episodes of the new site.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

from worldgate.core import seams
from worldgate.core.config import decode
from worldgate.core.errors import UsageError
from worldgate.core.evidence import CheckResult, Status
from worldgate.core.names import Name
from worldgate.core.streams import Origin
from worldgate.evidence.exact import shown
from worldgate.evidence.gap_bounds import Unmeasured, valid_horizon
from worldgate.evidence.gap_report import SCHEMA as GAP
from worldgate.evidence.gap_report import EpisodeGap, GapReport
from worldgate.evidence.gate_evidence import TRAINING_SCHEMA, GateEvidence, TrainingRecord
from worldgate.evidence.policy import GatePolicy
from worldgate.evidence.site_report import SCHEMA as MEASURED
from worldgate.evidence.site_report import EpisodeSums, SiteReport

MOST = 2048
"""Episodes beyond which a projection gives up."""
Carries: TypeAlias = Literal["transfers", "does not transfer", "not yet known", "holds nowhere", "only here"]
_Row = TypeVar("_Row", EpisodeGap, EpisodeSums)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """One check at the new site."""

    check: str
    signal: str
    statistic: str
    here: Status
    elsewhere: Status | None
    """Over all other sites' episodes together; None: there are none."""
    carries: Carries
    estimate: str
    """At the new site."""
    required: str
    n: int
    """Episodes or scenes of the new site that it rests on."""
    more: int | None
    """Episodes more at which it would pass if they go on like this; None: none would do, or they are not what lacks."""
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """H(epsilon) of one signal."""

    signal: str
    here_s: float | None
    """None: the signal has no epsilon, or nothing was measured."""
    elsewhere_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Onboarding:
    """What is known of a world model at a site."""

    subject: str
    site: str
    policy: str
    episodes: int
    """Calibration episodes of this site."""
    elsewhere: tuple[str, ...]
    """Sites it was measured at besides."""
    horizons: tuple[Reach, ...]
    checks: tuple[Outlook, ...]

    @property
    def ready(self) -> bool:
        """Whether every check passes here."""
        return bool(self.checks) and all(c.here is Status.PASS for c in self.checks)

    @property
    def more(self) -> int | None:
        """Episodes more at which every check that episodes can settle would pass; None where one never would."""
        needed = [c.more for c in self.checks if c.here is not Status.PASS]
        return None if any(n is None for n in needed) else max((n for n in needed if n is not None), default=0)


def onboard(policy: GatePolicy, documents: Sequence[Mapping[str, Any]], site: str) -> Onboarding:
    """Ask every check of an admission policy at one site, and beside it everywhere else.

    Args:
        policy: an admission policy.
        documents: the gap report, site report and training record of one world model, with episodes of any sites.
        site: the new one.

    Raises:
        UsageError: a policy of the other kind, documents of several models, or nothing measured.
        DataRefused: a document that cannot be read.
    """
    if policy.kind != "admission":
        raise UsageError("a site is onboarded by an admission policy", got=f"{policy.name} is a {policy.kind}")
    known = {str(doc.get("schema")): doc for doc in documents}
    gap = GapReport.from_json(known[GAP]) if GAP in known else None
    measured = SiteReport.from_json(known[MEASURED]) if MEASURED in known else None
    training = TrainingRecord.from_json(known[TRAINING_SCHEMA]) if TRAINING_SCHEMA in known else None
    subjects = {report.subject for report in (gap, measured) if report is not None}
    if len(subjects) != 1:
        raise UsageError(
            "onboarding needs a gap report or a site report of one world model", got=f"{len(subjects)} world models"
        )
    (subject,) = subjects
    others = _others(gap, measured, site)
    here = _evidence(policy, subject, gap, measured, training, (str(Name(site)),))
    there = _evidence(policy, subject, gap, measured, training, others) if others else None
    seen = max(len(r.episodes) if r is not None else 0 for r in (here.gap, here.measured))
    return Onboarding(
        subject=subject,
        site=site,
        policy=policy.name,
        episodes=seen,
        elsewhere=others,
        horizons=_horizons(policy, here, there),
        checks=_checks(policy, here, there, seen),
    )


def _others(gap: GapReport | None, measured: SiteReport | None, site: str) -> tuple[str, ...]:
    sites = {e.site for e in (gap.episodes if gap else ())} | {e.site for e in (measured.episodes if measured else ())}
    return tuple(sorted(sites - {site}))


def _evidence(
    policy: GatePolicy,
    subject: str,
    gap: GapReport | None,
    measured: SiteReport | None,
    training: TrainingRecord | None,
    sites: tuple[str, ...],
) -> GateEvidence:
    """What counts at some sites: nothing of others, nothing of an origin that the policy does not count."""

    def counts(origin: Origin) -> bool:
        return origin in policy.origins

    return GateEvidence(
        subject=subject,
        sites=sites,
        signals=policy.signals,
        now_ns=0,
        population=policy.population,
        gap=gap.at_sites(sites) if gap is not None and counts(gap.origin) else None,
        measured=measured.at_sites(sites) if measured is not None and counts(measured.origin) else None,
        training=training,
        pairs=(),
    )


def _horizons(policy: GatePolicy, here: GateEvidence, there: GateEvidence | None) -> tuple[Reach, ...]:
    asked = next((spec.params for spec in policy.checks if spec.check == "horizon"), {})
    probability, alpha = asked.get("probability", "0.8"), asked.get("alpha", "0.05")

    def reach(evidence: GateEvidence | None, signal: str) -> float | None:
        if evidence is None or evidence.gap is None:
            return None
        try:
            return valid_horizon(evidence.gap, signal, probability=probability, alpha=alpha).seconds
        except Unmeasured:
            return None

    names = [s.name for s in here.judged()]
    return tuple(Reach(signal=n, here_s=reach(here, n), elsewhere_s=reach(there, n)) for n in names)


_Key: TypeAlias = tuple[str, str, str]
"""Check, signal and statistic: one check may ask several things of one signal."""


def _ask(policy: GatePolicy, check: str, evidence: GateEvidence) -> dict[_Key, CheckResult]:
    module = seams.load("gates", check)
    (params,) = [spec.params for spec in policy.checks if spec.check == check]
    config = decode(module.Config, params, where=f"{policy.name}:{check}")
    return {(r.check, r.signal, r.statistic): r for r in module.check(config, evidence)}


def _checks(policy: GatePolicy, here: GateEvidence, there: GateEvidence | None, seen: int) -> tuple[Outlook, ...]:
    out: list[Outlook] = []
    for spec in policy.checks:
        found = _ask(policy, spec.check, here)
        beside = _ask(policy, spec.check, there) if there is not None else {}
        for key, result in found.items():
            elsewhere = beside[key].status if key in beside else None
            out.append(
                Outlook(
                    check=result.check,
                    signal=result.signal,
                    statistic=result.statistic,
                    here=result.status,
                    elsewhere=elsewhere,
                    carries=_carries(result.status, elsewhere),
                    estimate=result.estimate,
                    required=result.required,
                    n=result.n,
                    more=_more(policy, key, result.status, here, seen),
                    detail=result.detail,
                )
            )
    return tuple(out)


def _carries(here: Status, elsewhere: Status | None) -> Carries:
    if here is Status.INCONCLUSIVE:
        return "not yet known"
    if elsewhere is Status.PASS:
        return "transfers" if here is Status.PASS else "does not transfer"
    return "only here" if here is Status.PASS else "holds nowhere"


def _more(policy: GatePolicy, key: _Key, status: Status, here: GateEvidence, seen: int) -> int | None:
    """The fewest episodes more at which a check passes if the site's own go on as they were."""
    if status is Status.PASS:
        return 0
    if status is Status.FAIL or not seen:
        return None

    def passes(count: int) -> bool:
        again = _ask(policy, key[0], _repeated(here, count))
        return key in again and again[key].status is Status.PASS

    high = max(seen, 1)
    while not passes(high):
        high *= 2
        if high > MOST:
            return None
    low = high // 2
    while high - low > max(1, high // 16):
        middle = (low + high) // 2
        low, high = (low, middle) if passes(middle) else (middle, high)
    return high - seen


def _repeated(evidence: GateEvidence, count: int) -> GateEvidence:
    """As if there were ``count`` episodes: the site's own in turn, each repeat under an id of its own."""

    def rows(held: Sequence[_Row]) -> tuple[_Row, ...]:
        return tuple(
            dataclasses.replace(held[i % len(held)], episode=f"{held[i % len(held)].episode}+{i // len(held)}")
            for i in range(count if held else 0)
        )

    gap, measured = evidence.gap, evidence.measured
    return dataclasses.replace(
        evidence,
        gap=dataclasses.replace(gap, episodes=rows(gap.episodes)) if gap is not None else None,
        measured=dataclasses.replace(measured, episodes=rows(measured.episodes)) if measured is not None else None,
    )


def sentences(found: Onboarding) -> list[str]:
    """What to make of it."""
    beside = f"beside {', '.join(found.elsewhere)}" if found.elsewhere else "measured nowhere else"
    said = [f"{found.episodes} calibration episodes of {found.site}, {beside}; evidence of other sites does not count"]
    for reach in found.horizons:
        here = "none" if reach.here_s is None else f"{shown(reach.here_s)} s"
        there = "" if reach.elsewhere_s is None else f", {shown(reach.elsewhere_s)} s elsewhere"
        said.append(f"H(epsilon) of {reach.signal}: {here} here{there}")
    lost = [f"{c.check} {c.signal}".strip() for c in found.checks if c.carries == "does not transfer"]
    if lost:
        said.append(f"does not transfer: {', '.join(lost)}")
    never = [f"{c.check} {c.signal}".strip() for c in found.checks if c.here is Status.INCONCLUSIVE and c.more is None]
    if not found.episodes:
        said.append("nothing can be projected from no episode: record some here, a dozen at the least")
    elif never:
        said.append(f"more episodes alone will not settle: {', '.join(never)}")
    if found.ready:
        said.append("every check passes here: ask the gate")
    elif (more := max((c.more for c in found.checks if c.more), default=0)) > 0:
        said.append(f"about {more} episodes more would settle the rest, if they go on like these")
    return said

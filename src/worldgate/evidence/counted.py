"""What counts as evidence: documents sorted by schema, held to the policy's population and the scope's sites.

Whatever is left out is said in a note: other origins, other sites, another policy's plan, rows of it that were not run
as planned. Nothing here decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, TypeVar

from worldgate.core.config import decode
from worldgate.core.digest import short
from worldgate.core.errors import UsageError
from worldgate.core.names import Name, Slot
from worldgate.data.datasets.manifests import SCHEMA as DATASET
from worldgate.data.datasets.manifests import DatasetManifest
from worldgate.evidence import pairing, planned, plans, trials
from worldgate.evidence.gap_report import SCHEMA as GAP
from worldgate.evidence.gap_report import GapReport
from worldgate.evidence.gate_evidence import TRAINING_SCHEMA, GateEvidence, TrainingRecord
from worldgate.evidence.policy import GatePolicy
from worldgate.evidence.regression_table import SCHEMA as REGRESSION
from worldgate.evidence.regression_table import Regression
from worldgate.evidence.site_report import SCHEMA as MEASURED
from worldgate.evidence.site_report import SiteReport
from worldgate.record.events import Ref

if TYPE_CHECKING:
    from worldgate.evidence.decide import Inputs, Scope

RELEASE_SCHEMA = "worldgate/release/1"
_Report = TypeVar("_Report", GapReport, SiteReport)


def read_evidence(policy: GatePolicy, inputs: Inputs) -> GateEvidence:
    """Sort documents by schema and leave out what does not count here, saying so.

    Raises:
        DataRefused: a document that cannot be read, or two of a kind that may stand once.
        UsageError: a scope outside the policy's sites.
    """
    sites = _sites(policy, inputs.scope)
    frozen = {d: doc for d, doc in inputs.documents if doc.get("schema") == DATASET}
    docs = _by_schema((d, doc) for d, doc in inputs.documents if d not in frozen)
    notes: list[str] = []
    release = next(iter(docs.pop(RELEASE_SCHEMA, [])), None)
    training = next(iter(docs.pop(TRAINING_SCHEMA, [])), None)
    gaps, measured, pairs = docs.pop(GAP, []), docs.pop(MEASURED, []), docs.pop(pairing.SCHEMA, [])
    lists = docs.pop(trials.LIST_SCHEMA, [])
    plan = next(iter(docs.pop(plans.SCHEMA, [])), None)
    regression = next(iter(docs.pop(REGRESSION, [])), None)
    if docs:
        raise UsageError(
            "evidence that no gate reads", got=next(iter(docs)), hint="a gap report, site report or training record"
        )
    found = _planned(policy, plan, lists[0], sites, notes) if plan is not None and lists else None
    began = [run.trial.trial.started_ns for run in found.runs] if found else []
    return GateEvidence(
        subject=inputs.subject.digest,
        sites=sites,
        slots=inputs.scope.slots,
        signals=policy.signals,
        now_ns=inputs.decided_at_ns,
        population=policy.population,
        gap=_gap(policy, inputs.subject, gaps[0], sites, notes) if gaps else None,
        measured=_measured(policy, inputs.subject, measured[0], sites, notes) if measured else None,
        datasets={d: decode(DatasetManifest, doc, where=f"dataset {short(d)}") for d, doc in frozen.items()},
        pairs=_pairs(inputs.subject, pairs[0]) if pairs else None,
        training=TrainingRecord.from_json(training) if training is not None else None,
        release=release,
        trials=_trials(policy, inputs.subject, lists[0], sites, notes) if lists else (),
        planned=found,
        regression=_regression(policy, inputs.subject, regression, sites, notes) if regression is not None else None,
        trained_on=tuple(lists[0]["trained_on"]) if lists else (),
        oldest_ns=min(began, default=0) if policy.kind == "promotion" else min(inputs.made_ns.values(), default=0),
        admissions={p["subject"]["digest"]: p for _, p in inputs.admissions},
        incidents=tuple(i for i in inputs.incidents if i["site"] in sites),
        notes=tuple(notes),
    )


def _sites(policy: GatePolicy, scope: Scope) -> tuple[str, ...]:
    """The sites decided for, checked against the policy."""
    slots = [Slot.parse(s) for s in scope.slots]
    if policy.kind == "promotion":
        if not slots or scope.sites:
            raise UsageError("a promotion is scoped by slots", got=list(scope.slots), hint="--slot site/robot/arm")
    elif slots or not scope.sites:
        raise UsageError("an admission is scoped by sites", got=list(scope.sites), hint="--site NAME")
    barred = [str(s) for s in slots if policy.slots and not any(fnmatchcase(str(s), p) for p in policy.slots)]
    if barred:
        raise UsageError("this policy does not decide for that arm", got=barred[0], hint=", ".join(policy.slots))
    sites = sorted({str(s.site) for s in slots} | {str(Name(s)) for s in scope.sites})
    outside = [s for s in sites if policy.sites and s not in policy.sites]
    if outside:
        raise UsageError("this policy does not decide for that site", got=outside[0], hint=", ".join(policy.sites))
    return tuple(sites)


def _by_schema(documents: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, list[Mapping[str, Any]]]:
    out: dict[str, list[Mapping[str, Any]]] = {}
    for digest, doc in documents:
        schema = str(doc.get("schema"))
        if schema in out:
            raise UsageError("two documents of one kind", got=schema, where=digest[:12], hint="give one of them")
        out[schema] = [doc]
    return out


def _gap(
    policy: GatePolicy, subject: Ref, tree: Mapping[str, Any], sites: Sequence[str], notes: list[str]
) -> GapReport | None:
    report = GapReport.from_json(tree)
    if report.subject != subject.digest:
        raise UsageError("a gap report of another world model", got=report.subject[:12], where=subject.digest[:12])
    if report.origin not in policy.origins:
        notes.append(
            f"{len(report.episodes)} {report.origin} episodes do not count: the population is {policy.population}"
        )
        return None
    if report.cross_validated and not policy.cross_validation:
        notes.append("the leave-one-episode-out report does not count: the policy does not name cross_validation")
        return None
    return _here(report, sites, notes, "episodes", "no held-out episode of site {}: nothing can be admitted there")


def _regression(
    policy: GatePolicy, subject: Ref, tree: Mapping[str, Any], sites: Sequence[str], notes: list[str]
) -> Regression | None:
    """Recorded episodes open loop, with what counts here."""
    made = Regression.from_json(tree)
    if made.subject != subject.digest:
        raise UsageError(
            "recorded episodes through another release", got=short(made.subject), where=short(subject.digest)
        )
    if made.origin not in policy.origins:
        notes.append(f"{len(made.episodes)} {made.origin} episodes open loop do not count: {policy.population}")
        return None
    here = tuple(row for row in made.episodes if row.site in sites)
    if len(here) < len(made.episodes):
        notes.append(f"{len(made.episodes) - len(here)} episodes open loop of other sites do not count")
    return replace(made, episodes=here)


def _measured(
    policy: GatePolicy, subject: Ref, tree: Mapping[str, Any], sites: Sequence[str], notes: list[str]
) -> SiteReport | None:
    report = SiteReport.from_json(tree)
    if report.subject != subject.digest:
        raise UsageError("a site report of another world model", got=report.subject[:12], where=subject.digest[:12])
    if report.origin not in policy.origins:
        notes.append(
            f"the site report of {report.origin} episodes does not count: the population is {policy.population}"
        )
        return None
    return _here(report, sites, notes, "measured episodes", "no measured episode of site {}")


def _here(report: _Report, sites: Sequence[str], notes: list[str], episodes: str, none: str) -> _Report | None:
    """Only what a report holds of these sites, and nothing where it holds nothing of one; in the words of its kind."""
    here = report.at_sites(sites)
    unseen = [s for s in sites if all(e.site != s for e in here.episodes)]
    if len(here.episodes) < len(report.episodes):
        notes.append(f"{len(report.episodes) - len(here.episodes)} {episodes} of other sites do not count")
    if unseen:
        notes.append(none.format(unseen[0]))
        return None
    return here


def _pairs(subject: Ref, tree: Mapping[str, Any]) -> tuple[trials.RecordedTrial, ...]:
    if tree["world"] != subject.digest:
        raise UsageError("trials in another world model", got=str(tree["world"])[:12], where=subject.digest[:12])
    return pairing.read(tree)


def _trials(
    policy: GatePolicy, subject: Ref, tree: Mapping[str, Any], sites: Sequence[str], notes: list[str]
) -> tuple[trials.RecordedTrial, ...]:
    recorded = trials.read_list(tree)
    if tree["release"] != subject.digest:
        raise UsageError("trials of another release", got=str(tree["release"])[:12], where=subject.digest[:12])
    counted = [t for t in recorded if t.trial.executor in policy.origins]
    for origin in sorted({t.trial.executor for t in recorded} - policy.origins):
        count = sum(t.trial.executor is origin for t in recorded)
        notes.append(f"{count} {origin} trials do not count: the population is {policy.population}")
    here = [t for t in counted if t.trial.slot.split("/")[0] in sites]
    if len(here) < len(counted):
        notes.append(f"{len(counted) - len(here)} trials at other sites do not count")
    return tuple(here)


def _planned(
    policy: GatePolicy, tree: Mapping[str, Any], listed: Mapping[str, Any], sites: Sequence[str], notes: list[str]
) -> planned.Planned | None:
    """The plan's rows with what came of them, or nothing where the plan does not count, saying why."""
    plan, digest = plans.EvalPlan.from_json(tree), str(listed["plan"])
    recorded = trials.read_list(listed)
    wrong = list(listed["problems"])
    if plan.policy != policy.digest:
        wrong.append(f"it was made for another policy, {short(plan.policy)}")
    if not set(sites) <= plan.sites:
        wrong.append(f"it tries nothing at {', '.join(sorted(set(sites) - plan.sites))}")
    if wrong:
        notes.append(f"plan {plan.name} does not count: {'; '.join(wrong)}")
        return None
    found = planned.read(plan, digest, recorded, attempt=int(listed["attempt"]))
    notes.append(f"plan {plan.name}, attempt {found.attempt} of {plan.attempts} at its suite")
    lost = [run for run in found.runs if run.problems]
    notes += [f"row {run.number} counts as a failure: {', '.join(run.problems)}" for run in lost[:5]]
    if len(lost) > 5:
        notes.append(f"{len(lost) - 5} more rows count as failures because of how they were run")
    unknown = sorted({r.trial.trial.excluded for r in found.runs if r.trial.trial.excluded} - set(plan.exclusions))
    notes += [f"excluded as {code!r:.60}, which the plan does not name" for code in unknown[:3]]
    if found.waiting:
        notes.append(f"row {found.waiting} has no trial yet; {found.beyond} later rows wait for it")
    loose = [t for t in recorded if t.trial.plan != digest]
    if loose:
        failed = sum(not t.trial.success for t in loose)
        notes.append(f"{len(loose)} trials outside the plan do not count, {failed} of them failures")
    return found

"""Questions of a safety case about operation and the record: exposure, incidents, coverage, and whether it all holds.

See :mod:`worldgate.evidence.claim_queries` for what an answer is, and :data:`KINDS` for every question there is.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from worldgate.core.config import decode
from worldgate.core.digest import short
from worldgate.core.errors import ConfigError
from worldgate.core.streams import Origin
from worldgate.evidence import claim_levels as levels
from worldgate.evidence import claim_queries as ask
from worldgate.evidence import scenarios, trials
from worldgate.evidence.claim_queries import Answer, Fresh, Population, Standing, find, nothing
from worldgate.evidence.coverage import cover
from worldgate.evidence.decide import DAY_NS
from worldgate.evidence.exact import ratio
from worldgate.evidence.observed import Exposure, observed
from worldgate.evidence.recompute import RECOMPUTE
from worldgate.evidence.statistics import poisson_upper
from worldgate.record.ledger import Head
from worldgate.record.verify import verify
from worldgate.record.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposed(Fresh):
    """A release was seen running for so many hours."""

    release: str
    at_least_h: str
    slot: str = "*"
    population: Population = "real"


def exposure(ws: Workspace, config: Exposed, now_ns: int) -> Answer:
    """Observed hours, counted from recordings; hours longer ago than the question allows do not count."""
    seen = _seen(ws, config.release, config.slot, config.population, config.fresh_days, now_ns)
    if seen is None:
        return nothing(f"no recording of {config.release} on {config.slot}")
    enough = seen.hours >= ratio(config.at_least_h)
    said = f"{float(seen.hours):.4g} h seen in {len(seen.recordings)} recordings, at least {config.at_least_h} h wanted"
    return _seen_answer(seen, Standing.FRESH if enough else Standing.FAILED, said, config.population)


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentRate(Fresh):
    """The rate of incidents of a release lies below a limit, by an exact bound."""

    release: str
    at_most_per_h: str
    alpha: str = "0.05"
    """One-sided level of the bound."""
    slot: str = "*"
    population: Population = "real"


def incident_rate(ws: Workspace, config: IncidentRate, now_ns: int) -> Answer:
    """Garwood's upper bound of incidents an observed hour; an arm of which nobody knows what ran counts too."""
    seen = _seen(ws, config.release, config.slot, config.population, config.fresh_days, now_ns)
    if seen is None:
        return nothing(f"no recording of {config.release} on {config.slot}, and without exposure there is no rate")
    bound = poisson_upper(len(seen.incidents), seen.hours, config.alpha)
    good = ratio(bound) <= ratio(config.at_most_per_h)
    said = f"{len(seen.incidents)} incidents in {float(seen.hours):.4g} h: at most {float(ratio(bound)):.4g} per h"
    said = f"{said}, {config.at_most_per_h} allowed"
    return _seen_answer(seen, Standing.FRESH if good else Standing.FAILED, said, config.population)


def _seen(ws: Workspace, release: str, slot: str, population: str, days: int, now_ns: int) -> Exposure | None:
    digest = find(ws, release, "release")
    if digest is None:
        return None
    origins = frozenset({Origin.REAL} if population == "real" else {Origin.REAL, Origin.SIMULATED})
    seen = observed(ws, digest, slot=slot, origins=origins, since_ns=now_ns - days * DAY_NS, until_ns=now_ns)
    return seen if seen.recordings else None


def _seen_answer(seen: Exposure, standing: Standing, reason: str, population: str) -> Answer:
    return Answer(
        standing=standing,
        reason=reason,
        at_ns=seen.newest_ns,
        evidence=(*seen.recordings, *seen.incidents),
        level=levels.CLOSED_LOOP,
        population=population,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentsClosed(Fresh):
    """Every incident on these slots is closed, by the scenario that was made from it."""

    slot: str
    with_scenario: bool = True
    """Whether a signed reason why there is no scenario is not enough."""


def incidents_closed(ws: Workspace, config: IncidentsClosed, now_ns: int) -> Answer:
    """The record as it stands: no incident at all is shown by the record's own head, however old."""
    del now_ns
    opened = [e for e in ws.ledger.events("incident.opened") if fnmatchcase(e.body["slot"], config.slot)]
    closed = {e.body["incident"]: e for e in ws.ledger.events("incident.closed")}
    left = [e for e in opened if e.body["incident"] not in closed]
    ends = [closed[e.body["incident"]] for e in opened if e.body["incident"] in closed]
    bare = [e for e in ends if config.with_scenario and not e.body["scenario"]]
    evidence = tuple(e.digest for e in (*opened, *ends))
    if left or bare:
        some = [f"{short(e.body['incident'])} is open" for e in left]
        some += [f"{short(e.body['incident'])} left no scenario" for e in bare]
        return Answer(standing=Standing.FAILED, reason="; ".join(some), evidence=evidence)
    said = f"{len(ends)} incidents, all closed" if opened else "no incident on the record"
    return Answer(standing=Standing.FRESH, reason=said, evidence=evidence)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordHolds(Fresh):
    """Everything on the record holds, and somebody else's head is in it."""

    witness: str = ""
    """``SEQUENCE:HASH`` that somebody else kept."""


def record(ws: Workspace, config: RecordHolds, now_ns: int) -> Answer:
    """Verifies the whole record; a head that was kept is as old as the event at its place."""
    seq, _, digest = config.witness.partition(":")
    head = Head(int(seq), digest) if seq.isdecimal() and digest else None
    if config.witness and head is None:
        raise ConfigError("not a head", got=ascii(config.witness)[:80], hint="SEQUENCE:HASH")
    report = verify(ws, recompute=RECOMPUTE, witness=head)
    evidence = (report.head.hash,)
    if not report.ok:
        return Answer(standing=Standing.FAILED, reason=str(report.problems[0]), evidence=evidence)
    seen = f"{report.records} records hold"
    if head is None:
        reason = f"{seen}; unwitnessed: a cut tail or a re-issue would not show"
        return Answer(standing=Standing.FRESH, reason=reason, evidence=evidence)
    at = next((e.recorded_at_ns for e in ws.ledger.events(since=head.seq - 1)), now_ns)
    reason = f"{seen}; the head at {head.seq} is the one that was kept"
    return Answer(standing=Standing.FRESH, reason=reason, at_ns=at, evidence=evidence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Covered(Fresh):
    """Trials of a release fill every bin that a suite is meant to cover."""

    release: str
    suite: str
    population: Population = "real"


def coverage(ws: Workspace, config: Covered, now_ns: int) -> Answer:
    """Every empty bin fails the claim and is named; trials older than the question allows fill none."""
    release, suite = find(ws, config.release, "release"), find(ws, config.suite, "suite")
    if release is None or suite is None:
        return nothing(f"no such {'suite' if release else 'release'}: {config.suite if release else config.release}")
    held = scenarios.load_suite(ws, suite)
    if not held.coverage:
        return nothing(f"the suite {held.name} does not say what it is meant to cover")
    listed = {digest: scenarios.load(ws, digest) for digest in held.scenarios}
    oldest = now_ns - config.fresh_days * DAY_NS
    tree = trials.collect(ws, release, upto_seq=ws.ledger.head().seq)
    ran = [t for t in trials.read_list(tree) if t.trial.release == release and oldest <= t.trial.started_ns <= now_ns]
    limits = cover(held.coverage, listed, [t.trial for t in ran]).limits(population=ask.ORIGINS[config.population])
    some = "; ".join(limits[:3]) + (f"; and {len(limits) - 3} more" if len(limits) > 3 else "")
    return Answer(
        standing=Standing.FAILED if limits else Standing.FRESH,
        reason=some or f"every bin of {len(held.coverage)} parameters is filled",
        at_ns=max((t.trial.started_ns for t in ran), default=None),
        evidence=(suite, *(t.digest for t in ran)),
        level=levels.CLOSED_LOOP if config.population != "imagined" else levels.OPEN_LOOP,
        population=config.population,
    )


Ask = Callable[[Workspace, Any, int], Answer]
KINDS: Mapping[str, tuple[type[Fresh], Ask]] = {
    "decision": (ask.DecisionInForce, ask.decision),
    "check": (ask.CheckPassed, ask.check),
    "admission": (ask.Admitted, ask.admission),
    "trials": (ask.TrialsRun, ask.trials),
    "open_loop": (ask.Replayed, ask.open_loop),
    "coverage": (Covered, coverage),
    "exposure": (Exposed, exposure),
    "incident_rate": (IncidentRate, incident_rate),
    "incidents_closed": (IncidentsClosed, incidents_closed),
    "record": (RecordHolds, record),
}
"""Question, as trees name it, to its config and what answers it."""


def read_query(tree: Mapping[str, Any], names: Mapping[str, str], *, where: str) -> Fresh:
    """A question with its placeholders filled in.

    Args:
        tree: what the file says.
        names: placeholder without its dollar sign -> what the caller means by it.
        where: ``file:solution.E1.query``.

    Raises:
        ConfigError: an unknown kind, key or placeholder, or a value of the wrong type, with the nearest known one.
    """
    kind = tree.get("kind")
    if kind not in KINDS:
        near = difflib.get_close_matches(str(kind), KINDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(KINDS)}"
        raise ConfigError("no such question", got=kind, where=f"{where}.kind", hint=hint)
    filled = {key: _filled(value, names, f"{where}.{key}") for key, value in tree.items()}
    config: Fresh = decode(KINDS[str(kind)][0], filled, where=where)
    if config.fresh_days < 1:
        raise ConfigError("evidence may be at least a day old", got=config.fresh_days, where=f"{where}.fresh_days")
    return config


def _filled(value: Any, names: Mapping[str, str], where: str) -> Any:
    if not isinstance(value, str) or not value.startswith("$"):
        return value
    name = value[1:]
    if not names.get(name):
        known = ", ".join(f"${known}" for known in sorted(names))
        hint = f"say --{name}" if name in names else f"one of {known}"
        raise ConfigError("nothing is known of this placeholder", got=value, where=where, hint=hint)
    return names[name]

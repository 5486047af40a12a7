"""What a solution of a safety case may ask: a small closed set of questions about the ledger; no answer is guessed.

Each question is a frozen config and a pure function of the workspace and a moment. The answer is *fresh* (shown, and
young enough), *stale* (shown once, but too old or run out), *failed* (the record says otherwise) or *undeveloped*
(nothing on the record speaks of it); with the reason, the age, the digests of the evidence, and the highest evidence
level that this evidence reaches. Simulated runs count only where the question says that they stand in for real ones.

This file holds questions about decisions and trials; :mod:`worldgate.evidence.claim_field` those about operation and
the record itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, Literal, TypeAlias

from worldgate.core.errors import ConfigError, NotAuthorised, NotFound
from worldgate.core.evidence import Status, Verdict
from worldgate.core.streams import Origin
from worldgate.core.times import format_ns
from worldgate.evidence import claim_levels as levels
from worldgate.evidence.approvals import authorise
from worldgate.evidence.decide import DAY_NS, DECIDED
from worldgate.evidence.exact import ratio
from worldgate.record.events import Event
from worldgate.record.workspace import Workspace

Population: TypeAlias = Literal["real", "simulated stands in for real", "imagined"]
ORIGINS: Mapping[str, frozenset[Origin]] = {
    "real": frozenset({Origin.REAL}),
    "simulated stands in for real": frozenset({Origin.REAL, Origin.SIMULATED}),
    "imagined": frozenset(Origin),
}
"""Population -> origins that count."""


class Standing(StrEnum):
    """What a claim is worth now, best first."""

    FRESH = "fresh"
    STALE = "stale"
    UNDEVELOPED = "undeveloped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the ledger says to a question."""

    standing: Standing
    reason: str
    at_ns: int | None = None
    """When the evidence came to be; None: there is none."""
    evidence: tuple[str, ...] = ()
    """Digests of events and documents."""
    level: str = ""
    """Highest evidence level that this evidence reaches; empty: it has no place on that ladder."""
    population: str = ""
    """real, simulated or imagined, where the evidence has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fresh:
    """What every question says."""

    kind: str
    fresh_days: int
    """How old the evidence may be."""

    def aged(self, answer: Answer, now_ns: int) -> Answer:
        """The answer, stale if its evidence is too old."""
        if answer.standing is not Standing.FRESH or answer.at_ns is None:
            return answer
        days = (now_ns - answer.at_ns) // DAY_NS
        if now_ns < answer.at_ns:
            return told(answer, Standing.FAILED, f"evidence from the future: {format_ns(answer.at_ns)}")
        if now_ns - answer.at_ns > self.fresh_days * DAY_NS:
            return told(answer, Standing.STALE, f"{days} days old, at most {self.fresh_days}: {answer.reason}")
        return answer


def told(answer: Answer, standing: Standing, reason: str) -> Answer:
    """The same evidence with another standing."""
    return Answer(
        standing=standing,
        reason=reason,
        at_ns=answer.at_ns,
        evidence=answer.evidence,
        level=answer.level,
        population=answer.population,
    )


def nothing(reason: str) -> Answer:
    """No evidence at all."""
    return Answer(standing=Standing.UNDEVELOPED, reason=reason)


def find(ws: Workspace, text: str, *kinds: str) -> str | None:
    """The digest that an id or name means; None where the record knows none of these kinds."""
    for kind in kinds:
        try:
            return ws.resolve(text, kind).digest
        except NotFound:
            continue
    return None


def decided(ws: Workspace, subject: str, gate: str, place: str = "*") -> Iterator[tuple[Event, Mapping[str, Any]]]:
    """Decisions about a subject that cover a slot or site, oldest first, with their payloads."""
    for event in ws.ledger.events(DECIDED):
        body = event.body
        places = body["slots"] if body["gate"] == "promotion" else body["sites"]
        covered = any(fnmatchcase(item, place) for item in places)
        if body["gate"] == gate and body["subject"] == subject and covered:
            yield event, ws.get_json(str(body["decision"]))


def of_decision(event: Event, payload: Mapping[str, Any], standing: Standing, reason: str) -> Answer:
    """An answer that rests on a decision."""
    return Answer(
        standing=standing,
        reason=reason,
        at_ns=payload["decided_at_ns"],
        evidence=(str(event.body["decision"]), event.digest),
        level=levels.of_checks(payload["checks"]),
        population=str(payload["population"]),
    )


def in_force(payload: Mapping[str, Any], now_ns: int) -> str:
    """Why a decision is not in force, or nothing."""
    if now_ns < payload["not_before_ns"]:
        return f"holds from {format_ns(payload['not_before_ns'])}"
    return "" if now_ns < payload["expires_ns"] else f"ran out {format_ns(payload['expires_ns'])}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionInForce(Fresh):
    """A promotion covers this release on this slot, approved and in force."""

    release: str
    slot: str
    stage: Literal["", "canary", "site", "fleet"] = ""
    """How far it must reach; empty: any stage."""
    population: Population = "real"


_STAGES = ("canary", "site", "fleet")


def decision(ws: Workspace, config: DecisionInForce, now_ns: int) -> Answer:
    """The newest promotion decision speaks, as it does when a release is deployed."""
    release = find(ws, config.release, "release")
    found = list(decided(ws, release, "promotion", config.slot)) if release else []
    if not release or not found:
        return nothing(f"no promotion decision about {config.release} on {config.slot}")
    event, payload = found[-1]
    if payload["verdict"] != Verdict.PROMOTE:
        return of_decision(event, payload, Standing.FAILED, f"the newest gate said {payload['verdict']}")
    wrong = _population(payload, config.population) or _stage(payload, config.stage)
    if wrong:
        return of_decision(event, payload, Standing.FAILED, wrong)
    over = in_force(payload, now_ns)
    if over:
        return of_decision(event, payload, Standing.STALE, over)
    try:
        granted = authorise(ws, release, config.slot, now_ns)
    except NotAuthorised as error:
        return of_decision(event, payload, Standing.FAILED, f"{error.what}: {error.got}")
    until = f"{payload['verdict']} until {format_ns(granted.expires_ns)}, approved by {', '.join(granted.persons)}"
    return of_decision(event, payload, Standing.FRESH, until)


def _population(payload: Mapping[str, Any], wanted: str) -> str:
    known = str(payload["population"])
    return "" if known in ("real", wanted) else f"rests on another population: {known}"


def _stage(payload: Mapping[str, Any], wanted: str) -> str:
    held = str(payload["scope"].get("stage", ""))
    if not wanted or (held in _STAGES and _STAGES.index(held) >= _STAGES.index(wanted)):
        return ""
    return f"holds for the stage {held or 'unnamed'}, not for {wanted}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckPassed(Fresh):
    """A check of the newest decision about a release or world model passed, and its bound is good enough."""

    check: str
    release: str = ""
    model: str = ""
    place: str = "*"
    """Pattern of the slot (release) or site (model) that the decision covers."""
    signal: str = "*"
    at_least: str = ""
    """Least bound, as a decimal; empty: the check's own requirement is enough."""
    at_most: str = ""
    population: Population = "real"


def check(ws: Workspace, config: CheckPassed, now_ns: int) -> Answer:
    """Every result of the check for these signals must have passed with such a bound."""
    subject, gate, name = subject_of(ws, config.release, config.model)
    found = list(decided(ws, subject, gate, config.place)) if subject else []
    if not found:
        return nothing(f"no {gate} decision about {name} on {config.place}")
    event, payload = found[-1]
    results = [c for c in payload["checks"] if c["check"] == config.check and _fits(c["signal"], config.signal)]
    if not results:
        return of_decision(event, payload, Standing.UNDEVELOPED, f"decided without the check {config.check}")
    answer = of_decision(event, payload, Standing.FRESH, "; ".join(map(_said, results)))
    answer = Answer(
        standing=answer.standing,
        reason=answer.reason,
        at_ns=answer.at_ns,
        evidence=answer.evidence,
        level=levels.of_checks(results),
        population=answer.population,
    )
    bad = [c for c in results if c["status"] != Status.PASS or not _within(c, config)]
    wrong = _population(payload, config.population) or "; ".join(map(_said, bad))
    if wrong:
        return told(answer, Standing.FAILED, wrong)
    over = in_force(payload, now_ns)
    return told(answer, Standing.STALE, over) if over else answer


def subject_of(ws: Workspace, release: str, model: str) -> tuple[str, str, str]:
    """(digest or nothing, gate, what it is called) of a question that names a release or a world model.

    Raises:
        ConfigError: both or neither.
    """
    if bool(release) == bool(model):
        raise ConfigError("a question names a release or a model", got=f"release={release!r}, model={model!r}")
    if release:
        return find(ws, release, "release") or "", "promotion", release
    return find(ws, model, "world_model") or "", "admission", model


def _fits(signal: str, pattern: str) -> bool:
    return fnmatchcase(signal, pattern.replace("[", "[[]"))


def _within(result: Mapping[str, Any], config: CheckPassed) -> bool:
    if not (config.at_least or config.at_most):
        return True
    if not result["bound"]:
        return False
    bound = ratio(result["bound"])
    low = not config.at_least or bound >= ratio(config.at_least)
    return low and (not config.at_most or bound <= ratio(config.at_most))


def _said(result: Mapping[str, Any]) -> str:
    about = f"{result['check']} {result['signal']}".rstrip()
    return f"{about} {result['status']}, bound {result['bound'] or 'none'} from {result['n']}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted(Fresh):
    """A world model is admitted at a site, far enough ahead."""

    model: str
    site: str
    horizon_s: str
    """Least valid horizon, in seconds."""
    signal: str = "*"
    population: Population = "real"


def admission(ws: Workspace, config: Admitted, now_ns: int) -> Answer:
    """The newest admission at the site speaks; every admitted signal asked about must reach the horizon."""
    model = find(ws, config.model, "world_model")
    found = list(decided(ws, model, "admission", config.site)) if model else []
    if not found:
        return nothing(f"no admission of {config.model} at {config.site}")
    event, payload = found[-1]
    if payload["verdict"] != Verdict.ADMIT:
        return of_decision(event, payload, Standing.FAILED, f"the newest gate said {payload['verdict']}")
    signals = [a for a in payload["admitted"] if _fits(a["signal"], config.signal)]
    wanted = ratio(config.horizon_s)
    short_ones = [f"{a['signal']} reaches {a['horizon_s']:g} s" for a in signals if ratio(a["horizon_s"]) < wanted]
    wrong = _population(payload, config.population) or ("" if signals else "admitted for none of these signals")
    wrong = wrong or ", ".join(short_ones)
    if wrong:
        return of_decision(event, payload, Standing.FAILED, wrong)
    over = in_force(payload, now_ns)
    least = min(a["horizon_s"] for a in signals)
    reason = over or f"{len(signals)} signals admitted up to {least:g} s or more"
    return of_decision(event, payload, Standing.STALE if over else Standing.FRESH, reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialsRun(Fresh):
    """Enough scenes of a suite were tried with this release; repeats of a scene are one scene."""

    release: str
    at_least: int
    """Scenes."""
    suite: str = ""
    """Id or name; empty: any scenario."""
    slot: str = "*"
    population: Population = "real"


def trials(ws: Workspace, config: TrialsRun, now_ns: int) -> Answer:
    """Excluded runs show nothing; runs older than the question allows are counted apart."""
    release = find(ws, config.release, "release")
    suite = find(ws, config.suite, "suite") if config.suite else ""
    if not release or suite is None:
        return nothing(f"no such {'suite' if release else 'release'}: {config.suite if release else config.release}")
    scenes = set(ws.get_json(suite)["scenarios"]) if suite else None
    runs = [r for r in _runs(ws, release) if scenes is None or r["scenario"] in scenes]
    runs = [r for r in runs if r["executor"] in ORIGINS[config.population] and fnmatchcase(r["slot"], config.slot)]
    if not runs:
        return nothing(f"no {config.population} trial of {config.release} here")
    oldest = now_ns - config.fresh_days * DAY_NS
    young = [r for r in runs if oldest <= r["started_ns"] <= now_ns and not r["excluded"]]
    tried, ever = ({r["scenario"] for r in some if not r["excluded"]} for some in (young, runs))
    counted = f"{len(tried)} scenes in {len(young)} trials, {len(runs) - len(young)} excluded or too old"
    enough = Standing.FRESH if len(tried) >= config.at_least else Standing.FAILED
    standing = Standing.STALE if enough is Standing.FAILED and len(ever) >= config.at_least else enough
    shown = young or runs
    origins = sorted({str(r["executor"]) for r in shown})
    return Answer(
        standing=standing,
        reason=f"{counted}; at least {config.at_least} scenes wanted",
        at_ns=max(r["started_ns"] for r in shown),
        evidence=tuple(r["digest"] for r in shown),
        level=min((_reach(r) for r in shown), key=levels.rank),
        population=", ".join(origins),
    )


def _runs(ws: Workspace, release: str) -> Iterator[dict[str, Any]]:
    for event in ws.ledger.events("trial.run"):
        if event.body.get("release") == release:
            yield {"digest": event.body["trial"], **ws.get_json(str(event.body["trial"]))}


def _reach(run: Mapping[str, Any]) -> str:
    """What a run can show at most: one that a world model generated says what the model generates."""
    return levels.OPEN_LOOP if run["executor"] == Origin.IMAGINED else levels.CLOSED_LOOP


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed(Fresh):
    """Recorded episodes were put through this release in open loop, which shows where it differs and no success."""

    release: str
    at_least: int
    """Recordings."""


def open_loop(ws: Workspace, config: Replayed, now_ns: int) -> Answer:
    """Runs of one recording count once; older ones than the question allows do not count."""
    release = find(ws, config.release, "release")
    ran = [e for e in ws.ledger.events("trial.open_loop") if e.body["release"] == release]
    if not ran:
        return nothing(f"no recording was put through {config.release}")
    oldest = now_ns - config.fresh_days * DAY_NS
    young = [e for e in ran if oldest <= e.recorded_at_ns <= now_ns]
    counted, ever = ({ref.digest for e in some for ref in e.inputs if ref.kind == "log"} for some in (young, ran))
    enough = len(counted) >= config.at_least
    stale = Standing.STALE if len(ever) >= config.at_least else Standing.FAILED
    return Answer(
        standing=Standing.FRESH if enough else stale,
        reason=f"{len(counted)} recordings replayed open loop, at least {config.at_least} wanted",
        at_ns=max(e.recorded_at_ns for e in young or ran),
        evidence=tuple(e.body["open_loop"] for e in young or ran),
        level=levels.OPEN_LOOP,
    )

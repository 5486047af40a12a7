"""Proving checks: do a contract's checks find faults that are injected into logs, and are they silent otherwise?

A fault counts as caught when the check that it belongs to says something of a hurt stream, where it was hurt, that it
did not say of the log as it was. Any other check that speaks up then is a false alarm, unless what it says is true as
well: lost frames are gaps, too. Which check belongs to which fault, and what else is true of a fault, stand in tables
here, made from what the faults are and not from what the checks answer.

Intervals: Wilson, JASA 1927; the bound of a rate of false alarms is Poisson's (Garwood, Biometrika 1936).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy.special import gammaincinv

from worldgate.core import seams
from worldgate.core.errors import NotFound
from worldgate.core.streams import Finding, Log
from worldgate.core.times import SECOND
from worldgate.data import checks, injectors
from worldgate.data.injectors import Injected, Truth

CAUGHT_BY: Mapping[str, str] = {
    "blackout": "blank",
    "clipping": "saturation",
    "clock_set": "clock_step",
    "cut_short": "truncated",
    "damage": "corrupt",
    "defocus": "blur",
    "disorder": "stamps",
    "exposure": "exposure",
    "force_zero": "force",
    "freeze": "frozen",
    "jitter": "jitter",
    "knocked": "extrinsics",
    "latency": "lag",
    "lost_frames": "dropped_frames",
    "lost_messages": "dropped_packets",
    "miscount": "counts",
    "misdeclared": "contradictions",
    "not_a_number": "finite",
    "occluder": "occluded",
    "overrange": "limits",
    "quaternions": "quaternion",
    "sensor_clock": "skew",
    "silence": "gaps",
    "slow_renewal": "content_rate",
    "spike": "spike",
    "standstill": "idle",
    "stuck": "dead_channel",
    "teleport": "jump",
    "wrong_codec": "metadata",
    "wrong_size": "resolution",
    "wrong_unit": "unit_suspect",
}
"""Injector -> the check that must find it."""

_TIMING = {"gaps", "jitter", "skew", "stamps", "clock_step", "dropped_packets", "dropped_frames"}
ALSO_TRUE: Mapping[str, frozenset[str]] = {
    "blackout": frozenset({"exposure", "frozen", "content_rate", "occluded", "blur"}),
    "clipping": frozenset({"dead_channel"}),
    "clock_set": frozenset(_TIMING | {"lag", "contradictions", "truncated", "jump"}),
    "cut_short": frozenset({"gaps", "counts", "contradictions", "skew"}),
    "damage": frozenset({"counts", "dropped_frames"}),
    "disorder": frozenset({"clock_step", "jitter", "dropped_packets", "skew"}),
    "exposure": frozenset({"blank", "blur"}),
    "freeze": frozenset({"content_rate"}),
    "jitter": frozenset({"skew"}),
    "latency": frozenset({"skew", "jump"}),  # a buffer that grows at once shows where the robot was before
    "lost_frames": frozenset(_TIMING | {"content_rate"}),
    "lost_messages": frozenset(_TIMING),
    "miscount": frozenset({"contradictions", "dropped_frames", "dropped_packets", "truncated"}),
    "misdeclared": frozenset(_TIMING | {"counts", "truncated"}),
    "not_a_number": frozenset({"spike", "jump", "limits"}),
    "occluder": frozenset({"exposure", "blur", "blank"}),
    "overrange": frozenset({"jump", "lag"}),
    "quaternions": frozenset({"jump", "spike"}),
    "sensor_clock": frozenset(_TIMING | {"lag", "contradictions"}),
    "silence": frozenset({"dropped_packets", "jitter", "skew", "truncated", "contradictions"}),
    "slow_renewal": frozenset({"frozen", "dropped_frames"}),
    "spike": frozenset({"jump", "limits"}),
    "stuck": frozenset({"jump", "lag", "saturation", "limits"}),
    "teleport": frozenset({"limits", "lag", "gaps", "skew", "truncated"}),
    "wrong_codec": frozenset({"contradictions", "resolution", "counts", "content_rate"}),
    "wrong_size": frozenset({"metadata", "contradictions"}),
    "wrong_unit": frozenset({"limits", "jump", "contradictions"}),
}
"""Injector -> checks that speak the truth when they speak of it too."""

_NEAR_NS = SECOND
"""How far from the hurt span a finding may lie: checks look through windows."""

Rules = Mapping[str, Mapping[str, Any]]
"""Check -> its parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One fault in one log, and what the checks said."""

    log: str
    kind: str
    magnitude: float
    check: str
    """The check that must find it."""
    caught: bool
    blind: bool = False
    """The check spoke of these streams before the fault was there, so that nothing can be told."""
    hidden: bool = False
    """Nothing of the fault shows in this log, so that nobody could tell."""
    alarms: tuple[str, ...] = ()
    """Other checks that spoke up though it was not true."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """What checks say of a log as it is."""

    log: str
    seconds: float
    findings: Mapping[str, tuple[Finding, ...]]
    """Check -> findings; checks without any are there too."""


def held_as_it_is(log: Log, rules: Rules) -> Before:
    """Run checks on a log without a fault."""
    findings = {name: checks.run(name, log, params) for name, params in rules.items()}
    return Before(log=log.name, seconds=seconds_of(log), findings=findings)


def seconds_of(log: Log) -> float:
    """From the first message of any stream to the last, on their own stamps."""
    times = [t for t in (log.read(info.name).times_ns for info in log.streams()) if len(t)]
    return (max(int(t.max()) for t in times) - min(int(t.min()) for t in times)) / SECOND if times else 0.0


def tried(
    log: Log,
    before: Before,
    kind: str,
    magnitude: float,
    rules: Rules,
    *,
    seed: int = 0,
    params: Mapping[str, Any] | None = None,
    others: bool = False,
) -> Case | None:
    """Inject one fault and run the check it belongs to; None where it cannot befall this log.

    Args:
        log: the log as it is.
        before: what checks say of it.
        kind: of the fault.
        magnitude: in the kind's unit.
        rules: parameters of the checks.
        seed: where the fault strikes.
        params: for the injector.
        others: run all other checks too, for false alarms; these take most of the time.

    Raises:
        NotFound: no such kind of fault.
    """
    injectors.named(kind)
    try:
        hurt = injectors.inject(log, kind, magnitude, seed=seed, params=params)
    except NotFound:
        return None
    injector = kind.partition(".")[0]
    check = CAUGHT_BY[injector]
    streams = {truth.stream for truth in hurt.truth}
    blind = any(touches(f, streams) for f in before.findings[check])
    found = _new(check, hurt, before, rules)
    silent = {check, *ALSO_TRUE.get(injector, ())}
    alarms = tuple(n for n in rules if others and n not in silent and _new(n, hurt, before, rules))
    caught = any(where(f, hurt.truth) for f in found)
    return Case(
        log=log.name,
        kind=kind,
        magnitude=magnitude,
        check=check,
        caught=caught,
        blind=blind,
        hidden=not hurt.trace,
        alarms=alarms,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One kind of fault at one magnitude, over logs."""

    kind: str
    check: str
    magnitude: float
    unit: str
    least: float
    """The magnitude from which on it must be found."""
    caught: int
    trials: int
    """Logs that it can befall, that show it, and in which its check was silent before."""
    blind: int
    hidden: int
    """Logs that show nothing of it, by what the injector did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What a contract's checks find in logs with faults, and say of the same logs as they are."""

    seconds: float
    """Of clean log."""
    alarms: Mapping[str, int]
    """Check -> streams it speaks of in clean logs."""
    lines: tuple[Line, ...]


def prove(
    logs: Sequence[Log],
    rules: Rules,
    *,
    faults: Sequence[str] = (),
    sweep: bool = False,
    seed: int = 0,
    progress: Callable[[int, int, str], None] | None = None,
) -> Proof:
    """Inject every fault that belongs to a contract's checks into every log.

    Args:
        logs: clean ones.
        rules: the contract's checks with their parameters.
        faults: injectors or kinds, then only the checks that are to find them run; empty: all.
        sweep: every magnitude of a kind, instead of the least that must be found.
        seed: where faults strike; each log gets another.
        progress: called after each log.

    Raises:
        NotFound: no such fault, or none that a check of the contract is to find.
    """
    kinds = _wanted(rules, faults)
    if faults:
        wanted = {CAUGHT_BY[kind.partition(".")[0]] for kind in kinds}
        rules = {name: params for name, params in rules.items() if name in wanted}
    cases: dict[tuple[str, float], list[Case]] = {}
    alarms, seconds = dict.fromkeys(rules, 0), 0.0
    for done, log in enumerate(logs):
        before = held_as_it_is(log, rules)
        seconds += before.seconds
        for name, found in before.findings.items():
            alarms[name] += len({f.stream for f in found})
        for kind in kinds:
            fault = injectors.named(kind)
            for magnitude in fault.sweep if sweep else (fault.least,):
                case = tried(log, before, kind, magnitude, rules, seed=seed + done)
                cases.setdefault((kind, magnitude), []).extend([case] if case is not None else [])
        if progress is not None:
            progress(done + 1, len(logs), log.name)
    return Proof(seconds=seconds, alarms=alarms, lines=tuple(_line(*key, found) for key, found in cases.items()))


def _wanted(rules: Rules, faults: Sequence[str]) -> list[str]:
    """Kinds that are asked for, of those that a check of the contract is to find."""
    known = injectors.kinds()
    for name in faults:
        if name not in known:
            seams.load("injectors", name) if "." not in name else injectors.named(name)
    kinds = [k for k in kinds_for(rules) if not faults or k in faults or k.partition(".")[0] in faults]
    if not kinds:
        got = ", ".join(faults) or "no checks"
        raise NotFound("no fault that a check of this contract is to find", got=got, hint="worldgate list injectors")
    return kinds


def _line(kind: str, magnitude: float, cases: Sequence[Case]) -> Line:
    fault = injectors.named(kind)
    told = [case.caught for case in cases if not case.blind and not case.hidden]
    return Line(
        kind=kind,
        check=CAUGHT_BY[kind.partition(".")[0]],
        magnitude=magnitude,
        unit=fault.unit,
        least=fault.least,
        caught=sum(told),
        trials=len(told),
        blind=sum(case.blind for case in cases),
        hidden=sum(case.hidden and not case.blind for case in cases),
    )


def _new(check: str, hurt: Injected, before: Before, rules: Rules) -> tuple[Finding, ...]:
    """What a check says now of streams of which it was silent before, or another thing than before."""
    known = {(f.stream, f.message, f.spans_ns) for f in before.findings[check]}
    found = checks.run(check, hurt, rules[check])
    return tuple(f for f in found if (f.stream, f.message, f.spans_ns) not in known)


def touches(finding: Finding, streams: Iterable[str]) -> bool:
    """Whether a finding speaks of one of these streams, by its name, in its words, or of the log as a whole."""
    wanted = set(streams)
    return not finding.stream or "" in wanted or any(s == finding.stream or s in finding.message for s in wanted)


def where(finding: Finding, truth: Iterable[Truth]) -> bool:
    """Whether a finding speaks of what was hurt: the stream, and a time near it where both say when."""
    for hurt in truth:
        if touches(finding, (hurt.stream,)):
            near = (
                a < end + _NEAR_NS and start - _NEAR_NS < b for a, b in finding.spans_ns for start, end in hurt.spans_ns
            )
            if not finding.spans_ns or not hurt.spans_ns or any(near):
                return True
    return False


def kinds_for(names: Iterable[str]) -> Iterator[str]:
    """Kinds of faults that belong to these checks."""
    wanted = set(names)
    for kind in injectors.kinds():
        if CAUGHT_BY.get(kind.partition(".")[0]) in wanted:
            yield kind


def wilson(hits: int, trials: int, *, z: float = 1.96) -> tuple[float, float]:
    """Two-sided 95 % interval of a share; 0 to 1 where there were no trials."""
    if not trials:
        return 0.0, 1.0
    share, square = hits / trials, z * z
    middle = (share + square / (2 * trials)) / (1 + square / trials)
    half = z / (1 + square / trials) * math.sqrt(share * (1 - share) / trials + square / (4 * trials * trials))
    return max(0.0, middle - half), min(1.0, middle + half)


def hourly(alarms: int, seconds: float) -> tuple[float, float]:
    """Alarms an hour, and the 97.5 % upper bound of their rate."""
    hours = seconds / 3600
    if hours <= 0:
        return 0.0, math.inf
    return alarms / hours, float(gammaincinv(alarms + 1, 0.975)) / hours

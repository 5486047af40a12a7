"""A run judged by its scenario's oracles: success, violations, extremes, and what was not measured.

A run succeeds if every oracle of success, progress and time says met. Each time a limit is newly broken counts as one
violation. Where an oracle could not measure, the run is excluded with its reason, and an excluded run counts as a
failure in every bound (intention to test).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from worldgate.core import seams
from worldgate.core.config import decode
from worldgate.evidence.judged import Judged, Limit, Outcome
from worldgate.evidence.runs import Run
from worldgate.evidence.scenarios import OracleSpec, Scenario

_ENVELOPE = "envelope"
_DEFAULT = OracleSpec(oracle="success")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What the oracles say of one run."""

    success: bool
    violations: int
    metrics: dict[str, float]
    """Extremes by name, each with its unit."""
    excluded: str
    """What was not measured; empty: everything was."""
    judged: tuple[Judged, ...]


def oracles_of(scenario: Scenario) -> tuple[OracleSpec, ...]:
    """Every oracle that judges a scenario's runs: the envelope's, its own, and one for success where it names none."""
    own = scenario.oracles
    named = any(_module(spec).KIND == "success" for spec in own)
    return (*scenario.envelope.oracles(), *own, *(() if named else (_DEFAULT,)))


def signals_of(scenario: Scenario) -> frozenset[str]:
    """Signals that its oracles read."""
    found: set[str] = set()
    for spec in oracles_of(scenario):
        module, config = _module(spec), _config(spec, scenario.name)
        found |= set(module.reads(config))
    return frozenset(found)


def metrics_of(scenario: Scenario) -> dict[str, Limit | None]:
    """Figures that its oracles give, by name, and the limit that each is held against, if any."""
    found: dict[str, Limit | None] = {}
    for spec in oracles_of(scenario):
        module, config = _module(spec), _config(spec, scenario.name)
        if module.KIND == _ENVELOPE:
            limit: Limit = module.limit(config)
            found[limit.metric] = limit
        elif hasattr(module, "METRIC"):
            found[module.METRIC] = None
    return found


def judge(scenario: Scenario, run: Run) -> Judgement:
    """Ask every oracle of a scenario about a run."""
    judged: list[Judged] = []
    success, violations = True, 0
    for spec in oracles_of(scenario):
        module = _module(spec)
        ask: Callable[[Any, Run], Judged] = module.judge
        said = ask(_config(spec, scenario.name), run)
        judged.append(said)
        if module.KIND == _ENVELOPE:
            violations += said.entries
        else:
            success = success and said.outcome is Outcome.MET
    reasons = dict.fromkeys(said.unmeasured for said in judged if said.unmeasured)
    return Judgement(
        success=success,
        violations=violations,
        metrics={said.metric: said.extreme for said in judged if said.metric and said.extreme is not None},
        excluded="; ".join(reasons),
        judged=tuple(judged),
    )


def _module(spec: OracleSpec) -> ModuleType:
    return seams.load("oracles", spec.oracle)


def _config(spec: OracleSpec, where: str) -> Any:
    module = _module(spec)
    return decode(module.Config, spec.params, where=f"{where}:{spec.oracle}")

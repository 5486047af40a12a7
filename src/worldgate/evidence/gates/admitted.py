"""May the world model that chose the scenarios be trusted here?

Trials name the world model that chose their scenarios, or none. Each such model must hold an admission decision that
is in force now, for every site of the scope, on a population this gate accepts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from worldgate.core.digest import short
from worldgate.core.evidence import CheckResult
from worldgate.evidence.gate_evidence import GateEvidence, inconclusive
from worldgate.evidence.gates._identity import verdict

CARD = {
    "line": "the world model that chose the scenarios holds an unexpired admission for the sites, or none was used",
    "inputs": "trials and admission decisions on the ledger",
    "source": "an admitted world model may find scenarios; it never promotes alone",
}
GATE = "promotion"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Nothing to set."""


def check(config: Config, evidence: GateEvidence) -> tuple[CheckResult, ...]:
    """One result."""
    statistic = "world models that chose scenarios without an admission in force"
    if not evidence.trials:
        return (inconclusive("admitted", statistic, "needs trials: they say which world model chose their scenarios"),)
    models = sorted({t.chosen_by for t in evidence.trials if t.chosen_by})
    problems = [p for m in models if (p := _problem(m, evidence.admissions.get(m), evidence))]
    passed = "no world model chose the scenarios" if not models else f"{len(models)} admitted"
    return (verdict("admitted", statistic, problems, passed=passed),)


def _problem(model: str, decision: Mapping[str, Any] | None, evidence: GateEvidence) -> str:
    name = f"world model {short(model)}"
    if decision is None:
        return f"{name} has no admission"
    if decision["verdict"] != "ADMIT":
        return f"{name}: its newest admission gate said {decision['verdict']}"
    if not decision["not_before_ns"] <= evidence.now_ns < decision["expires_ns"]:
        return f"{name}: its admission is not in force now"
    missing = [s for s in evidence.sites if s not in decision["scope"]["sites"]]
    if missing:
        return f"{name} is not admitted at {missing[0]}"
    if evidence.population == "real" and decision["population"] != "real":
        return f"{name} was admitted where {decision['population']}"
    return ""

"""Is the release what was trained? The same weights under other statistics or units are another machine.

Compares the release's manifest with the record of its training run: normaliser digest, units, frames, channel names,
shapes, dataset. Sources: lerobot #4617; arXiv:2606.03724 "Same weights, different robot".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from worldgate.core.config import decode
from worldgate.core.digest import short
from worldgate.core.evidence import CheckResult
from worldgate.core.worlds import Signal
from worldgate.evidence.gate_evidence import GateEvidence, TrainingRecord, inconclusive
from worldgate.evidence.gates._identity import compare_signals, verdict

CARD = {
    "line": "normaliser, units, channel names and dataset of the release equal those of its training run",
    "inputs": "the release's manifest and the training record of its weights",
    "source": "lerobot issue 4617; arXiv:2606.03724",
}
GATE = "promotion"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Nothing to set."""


def check(config: Config, evidence: GateEvidence) -> tuple[CheckResult, ...]:
    """One result."""
    statistic = "differences between release and training run"
    if evidence.release is None:
        return (inconclusive("identity", statistic, "needs the release's manifest"),)
    if evidence.training is None:
        return (inconclusive("identity", statistic, "needs the record of the training run of its weights"),)
    return (verdict("identity", statistic, _differences(evidence.release, evidence.training)),)


def _differences(release: Mapping[str, Any], training: TrainingRecord) -> list[str]:
    found: list[str] = []
    weights = sorted(str(d) for d in (release.get("weights") or {}).values())
    if training.subject not in weights:
        found.append(f"training record of weights {short(training.subject)}, which the release does not hold")
    normaliser = str(release.get("normaliser") or "")
    if not normaliser or normaliser != training.normaliser:
        found.append(f"normaliser {short(normaliser) or 'missing'}, trained with {short(training.normaliser)}")
    dataset = str(release.get("dataset") or "")
    if dataset != training.dataset:
        found.append(f"dataset {short(dataset) or 'missing'}, trained on {short(training.dataset)}")
    signals = [decode(Signal, s, where="release manifest") for s in _signals(release)]
    return found + compare_signals(signals, training.signals)


def _signals(release: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    action = release.get("action")
    return [*(release.get("observation") or []), *([action] if action else [])]

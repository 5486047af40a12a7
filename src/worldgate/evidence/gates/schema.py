"""Is the world model fed what it was trained on, and judged on what it was not?

Compares the model's spec, as it was judged, with the record of its training run: normaliser digest, units, channel
names and shapes of every stream, dataset. Wrong statistics do not crash a model, they silently make it another one
(lerobot #4617). Also refuses held-out episodes that the model was trained on, and says nothing of reports that leave
out held-out episodes of their dataset: whoever may choose them chooses the figure.
"""

from __future__ import annotations

from dataclasses import dataclass

from worldgate.core.digest import short
from worldgate.core.evidence import CheckResult
from worldgate.evidence.gap_report import GapReport
from worldgate.evidence.gate_evidence import GateEvidence, TrainingRecord, inconclusive
from worldgate.evidence.gates._identity import compare_signals, verdict
from worldgate.evidence.site_report import SiteReport

CARD = {
    "line": "normaliser, units, channel names and dataset of the judged model equal those it was trained with",
    "inputs": "a gap report and the training record of the model",
    "source": "lerobot issue 4617; arXiv:2606.03724",
}
GATE = "admission"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Nothing to set."""


def check(config: Config, evidence: GateEvidence) -> tuple[CheckResult, ...]:
    """Three results: the identity of the inputs, that no judged episode was trained on, and that none was left out."""
    report, training = evidence.gap, evidence.training
    statistic = "differences from the training run"
    if report is None or not report.episodes:
        return (inconclusive("schema", statistic, "needs a gap report of held-out episodes that count here"),)
    if training is None:
        return (inconclusive("schema", statistic, "needs the record of the model's training run"),)
    return (
        verdict("schema", statistic, _differences(report, training)),
        _held_out(report, evidence.measured, training),
        _complete(evidence),
    )


def _differences(report: GapReport, training: TrainingRecord) -> list[str]:
    spec = report.spec
    found: list[str] = []
    if training.subject != spec.digest:
        found.append(f"training record of {short(training.subject)}, judged {short(spec.digest)}")
    if not spec.normaliser or training.normaliser != spec.normaliser:
        found.append(f"normaliser {short(spec.normaliser) or 'missing'}, trained with {short(training.normaliser)}")
    if training.dataset != spec.dataset:
        found.append(f"dataset {short(spec.dataset) or 'missing'}, trained on {short(training.dataset)}")
    signals = (*spec.states, *spec.cameras, *([spec.action] if spec.action else []))
    return found + compare_signals(signals, training.signals)


def _held_out(report: GapReport, measured: SiteReport | None, training: TrainingRecord) -> CheckResult:
    statistic = "judged episodes that the model was trained on"
    judged = {e.episode: e.name for e in (measured.episodes if measured is not None else ())}
    own: list[str] = []
    if report.cross_validated:
        own = [f"{e.name} was predicted by the final model" for e in report.episodes if e.model == report.subject]
    else:
        own = [f"{e.name} was predicted by another model" for e in report.episodes if e.model != report.subject]
        own += [f"the log of {e.name}" for e in report.episodes if e.log in set(training.logs)]
        judged |= {e.episode: e.name for e in report.episodes}
    if judged and not training.episodes:
        return inconclusive("schema", statistic, "needs the episodes of the training run")
    seen = set(training.episodes)
    return verdict("schema", statistic, own + [name for episode, name in judged.items() if episode in seen])


def _complete(evidence: GateEvidence) -> CheckResult:
    """Of each split of their dataset that the reports touch, every episode of the sites must be there."""
    statistic = "held-out episodes of their dataset that were left out"
    left: dict[str, None] = {}
    for report in (evidence.gap, evidence.measured):
        if report is None:
            continue
        frozen = evidence.datasets.get(report.dataset)
        if frozen is None:
            told = f"dataset {short(report.dataset)}" if report.dataset else "a dataset that is named"
            return inconclusive("schema", statistic, f"needs {told} on the ledger: it says what was left out")
        judged = {e.episode: e.name for e in report.episodes}
        splits = {e.split for e in frozen.episodes if e.id in judged}
        expected = {e.id: e.name for e in frozen.episodes if e.split in splits and e.site in {"", *evidence.sites}}
        left |= dict.fromkeys(name for episode, name in expected.items() if episode not in judged)
        strange = sorted(judged.keys() - {e.id for e in frozen.episodes})
        if strange:
            return inconclusive("schema", statistic, f"{judged[strange[0]]} is not of dataset {short(report.dataset)}")
    if left:
        named = ", ".join(list(left)[:3]) + (f" and {len(left) - 3} more" if len(left) > 3 else "")
        return inconclusive("schema", statistic, f"needs all held-out episodes of its dataset, left out: {named}")
    return verdict("schema", statistic, [])

"""What a gate's checks are handed: evidence already read, filtered to what the policy lets count.

Also the two documents that this room defines besides gap reports and trials: ``worldgate/training/1``, what a
training run was fed, and the list of incident scenarios.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from worldgate.core.config import decode
from worldgate.core.digest import to_json
from worldgate.core.errors import DataRefused
from worldgate.core.evidence import CheckResult, Status
from worldgate.core.streams import Origin
from worldgate.core.worlds import ModelSpec, Signal
from worldgate.data.datasets.manifests import DatasetManifest
from worldgate.evidence.gap_report import GapReport, SignalInfo
from worldgate.evidence.planned import Planned
from worldgate.evidence.regression_table import Regression
from worldgate.evidence.site_report import SiteReport
from worldgate.evidence.trials import RecordedTrial

TRAINING_SCHEMA = "worldgate/training/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecord:
    """What a training run was fed, written when it ran: the other half of an identity check."""

    subject: str
    """Digest of what came out: a world model's checkpoint, or a policy's weights."""
    dataset: str
    normaliser: str
    """Digest of the resolved statistics it was trained with."""
    signals: tuple[Signal, ...]
    """States, cameras and action as the dataset has them: name, unit, channel names, shape."""
    episodes: tuple[str, ...]
    """Ids of the episodes it was trained on."""
    origin: Origin
    logs: tuple[str, ...] = ()
    """Digests of their logs: an episode aligned anew has another id, its log has not."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        tree = to_json(self)
        assert isinstance(tree, dict)
        return {"schema": TRAINING_SCHEMA, **tree}

    @classmethod
    def from_json(cls, tree: Mapping[str, Any], *, where: str = "training record") -> TrainingRecord:
        """Read back :meth:`to_json`.

        Raises:
            DataRefused: another schema.
        """
        if tree.get("schema") != TRAINING_SCHEMA:
            raise DataRefused("not a training record this version reads", got=tree.get("schema"), where=where)
        return decode(cls, {k: v for k, v in tree.items() if k != "schema"}, where=where)

    @classmethod
    def of_model(
        cls, spec: ModelSpec, *, episodes: tuple[str, ...], origin: Origin, logs: tuple[str, ...] = ()
    ) -> TrainingRecord:
        """From a spec as it stood when training ended."""
        signals = (*spec.states, *spec.cameras, *([spec.action] if spec.action else []))
        return cls(
            subject=spec.digest,
            dataset=spec.dataset,
            normaliser=spec.normaliser,
            signals=signals,
            episodes=episodes,
            origin=origin,
            logs=logs,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GateEvidence:
    """Everything a check may look at."""

    subject: str
    """Digest of the world model or release."""
    sites: tuple[str, ...]
    slots: tuple[str, ...] = ()
    signals: tuple[str, ...] = ("*",)
    """Patterns of the signals the decision is about."""
    now_ns: int
    population: str = "real"
    gap: GapReport | None = None
    """Only episodes of the scope's sites and of an origin that counts."""
    measured: SiteReport | None = None
    """What was measured in each held-out episode; only those of the scope's sites and of an origin that counts."""
    datasets: Mapping[str, DatasetManifest] = field(default_factory=dict)
    """Those of the gap report and the site report, by digest, where the ledger knows them."""
    pairs: tuple[RecordedTrial, ...] | None = None
    """Trials in the world model and elsewhere, in ledger order, all of them; None: the policy asks nothing of them."""
    training: TrainingRecord | None = None
    release: Mapping[str, Any] | None = None
    """Manifest of the release."""
    trials: tuple[RecordedTrial, ...] = ()
    """Every one of the release, in ledger order; only those at the scope's sites and of an origin that counts."""
    planned: Planned | None = None
    """The newest plan and what came of its rows: all that a bound may rest on."""
    trained_on: tuple[Mapping[str, str], ...] = ()
    """Scenes of the plan whose recording something upstream learned from: ``{scenario, source, by}``."""
    regression: Regression | None = None
    """The newest of the release: recorded episodes open loop; only episodes of the scope's sites and an origin that
    counts."""
    oldest_ns: int = 0
    """When the oldest evidence was made; 0: unknown."""
    admissions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """World model -> payload of its newest admission decision."""
    incidents: tuple[Mapping[str, str], ...] = ()
    """Scenarios that incidents at the scope's sites left behind: ``{scenario, name, site}``."""
    notes: tuple[str, ...] = ()
    """What was left out and why, in words."""

    @property
    def origins(self) -> frozenset[Origin]:
        """Origins that count as evidence."""
        return frozenset({Origin.REAL} if self.population == "real" else {Origin.REAL, Origin.SIMULATED})

    def judged(self) -> list[SignalInfo]:
        """Signals of the gap report that the decision is about and that a gate may judge (lower is better)."""
        if self.gap is None:
            return []
        return [
            s
            for s in self.gap.signals
            if s.better == "lower" and any(_matches(s.name, pattern) for pattern in self.signals)
        ]

    def about(self, stream: str) -> bool:
        """Whether the decision is about a stream, or about some of its channels (``observation.state[rad]``)."""
        return any(_matches(stream, p) or _matches(stream, p.split("[")[0].split("/")[0]) for p in self.signals)


def _matches(name: str, pattern: str) -> bool:
    """Whether a pattern with ``*`` and ``?`` fits; brackets stand for themselves, as units are written in them."""
    return fnmatchcase(name, pattern.replace("[", "[[]"))


def inconclusive(
    check: str, statistic: str, detail: str, *, signal: str = "", required: str = "", n: int = 0
) -> CheckResult:
    """A check that cannot say: nothing measured, or too little."""
    return CheckResult(
        check=check,
        status=Status.INCONCLUSIVE,
        signal=signal,
        statistic=statistic,
        estimate="",
        bound="",
        required=required,
        n=n,
        detail=detail,
    )

"""Releases of recipes in the embedded cell: registered, executable, and with the record of their training."""

from __future__ import annotations

from dataclasses import dataclass

from worldgate.control import policies
from worldgate.control.policies._release import Fitted
from worldgate.core.streams import Origin
from worldgate.core.worlds import Policy
from worldgate.evidence.decide import put_evidence
from worldgate.evidence.gate_evidence import TrainingRecord
from worldgate.fleet import releases
from worldgate.fleet.releases import Release
from worldgate.recipes._cell_stage import Stage
from worldgate.record.events import Ref


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A registered release, executable, with the record of its training."""

    ref: Ref
    release: Release
    policy: Policy
    training: Ref


def publish(
    stage: Stage, fitted: Fitted, *, name: str, dataset: Ref, episodes: tuple[str, ...], parent: str = ""
) -> Candidate:
    """Register a release and the record of what it was trained with."""
    ref = fitted.publish(stage.ws, name=name, dataset=dataset.digest, parent=parent)
    release = releases.load(stage.ws, ref.digest)
    record = TrainingRecord(
        subject=next(iter(release.weights.values())),
        dataset=dataset.digest,
        normaliser=release.normaliser.digest,
        signals=(*release.observation, release.action),
        episodes=episodes,
        origin=Origin.SIMULATED,
    )
    training = put_evidence(stage.ws, record, inputs=(dataset, ref))
    return Candidate(ref=ref, release=release, policy=policies.load(release, stage.ws.store), training=training)

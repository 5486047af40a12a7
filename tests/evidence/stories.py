"""Workspaces with a whole story in them, for tests of claims, bundles and verifiers: from trials to the field.

Everything has fixed times, so that tests can ask at a moment of their choosing.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

from tests.evidence import promotions
from tests.evidence.held_out import frozen

from worldgate.core.streams import Origin
from worldgate.evidence import policy as policies
from worldgate.evidence import scenarios
from worldgate.evidence.approvals import approve
from worldgate.evidence.decide import Decision, Scope, decide, put_evidence
from worldgate.evidence.gap import gap
from worldgate.evidence.gap_report import GapConfig
from worldgate.evidence.gate_evidence import TrainingRecord
from worldgate.record.events import Event, Ref
from worldgate.record.workspace import Workspace

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR
NOW = 1_800_000_000 * SECOND
SLOT = "bench/ur5/left"
RELEASER, APPROVER = "tester", "bea"


@dataclass(frozen=True, kw_only=True)
class Story:
    """What was made."""

    ws: Workspace
    release: Ref
    decision: Decision
    admission: Decision | None
    suite: Ref


def admit(ws: Workspace, fakes: ModuleType, *, gain: float = 1.0, episodes: int = 16) -> Decision:
    """A world model judged on held-out episodes."""
    model = fakes.FakeModel(gain=gain, noise=0.001)
    report = gap(
        model,
        [fakes.episode(seed) for seed in range(episodes)],
        GapConfig(windows=4, epsilon={"observation.state": 0.05}),
    )
    training = TrainingRecord.of_model(model.spec, episodes=("other",), origin=Origin.REAL)
    evidence = [put_evidence(ws, frozen(ws, report)), put_evidence(ws, training)]
    policy = policies.register(ws, policies.load("admission"))
    ref = Ref("world_model", model.spec.digest, "dynamics")
    ws.record("model.trained", body={"model": ref.digest}, outputs=(ref,))
    return decide(ws, policy, ref, evidence, scope=Scope(sites=("bench",)), now_ns=NOW)


def register_release(ws: Workspace, fakes: ModuleType, name: str = "r1", *, normaliser: str = "normaliser") -> Ref:
    """A release and the record of its training."""
    signal = {"name": "observation.state", "unit": "m", "names": ["x", "y"], "shape": [2]}
    manifest = {
        "schema": "worldgate/release/1",
        "weights": {"policy.safetensors": fakes.digest(f"weights of {name}")},
        "normaliser": fakes.digest(normaliser),
        "dataset": fakes.digest("dataset"),
        "observation": [signal],
        "action": {"name": "action", "unit": "m", "shape": [2]},
    }
    release = Ref("release", ws.put_json(manifest), name)
    ws.record("release.registered", body={"release": release.digest}, outputs=[release], actor=RELEASER)
    training = TrainingRecord(
        subject=fakes.digest(f"weights of {name}"),
        dataset=fakes.digest("dataset"),
        normaliser=fakes.digest("normaliser"),
        signals=(*fakes.spec().states, fakes.spec().action),
        episodes=(),
        origin=Origin.REAL,
    )
    put_evidence(ws, training)
    return release


def make_suite(ws: Workspace, scenes: int = 80) -> Ref:
    """A held-out suite of authored scenes, and beside it one scene that an incident left."""
    left = scenarios.Scenario(name="near-miss", site="bench", initial={"x": -0.5}, source="incident", incident="i1")
    scenarios.register(ws, left)
    return promotions.suite(ws, scenes, name="bench-holdout")


def tried(
    ws: Workspace, release: Ref, suite: Ref, outcomes: list[bool], *, policy: str = "promotion",
    origin: Origin = Origin.REAL, chosen_by: str = "", violations: int = 0,
) -> Ref:  # fmt: skip
    """A plan over the suite and trials of its first rows, the incident's scene before them; returns the policy."""
    ref = policies.register(ws, policies.load(policy))
    made = promotions.plan(ws, ref, release, held=suite, now_ns=NOW, executor=origin)
    promotions.run(ws, made, [True], metrics={"steps": 12.0})
    told: dict[str, Any] = {"metrics": {"steps": 12.0}, "chosen_by": chosen_by}
    promotions.run(ws, made, outcomes[:violations], first=2, violations=1, **told)
    promotions.run(ws, made, outcomes[violations:], first=2 + violations, **told)
    return ref


def promote(
    ws: Workspace, fakes: ModuleType, *, outcomes: list[bool] | None = None, name: str = "r1", model: bool = True,
    normaliser: str = "normaliser", violations: int = 0, approved: bool = True, scenes: int = 80,
) -> Story:  # fmt: skip
    """A release from training to an approved promotion, or whatever its trials give."""
    admission = admit(ws, fakes) if model else None
    release = register_release(ws, fakes, name, normaliser=normaliser)
    suite = make_suite(ws, scenes)
    chosen = fakes.FakeModel().spec.digest if model else ""
    runs = [True] * 60 if outcomes is None else outcomes
    policy = tried(ws, release, suite, runs, chosen_by=chosen, violations=violations)
    decision = decide(ws, policy, release, scope=Scope(slots=(SLOT,)), now_ns=NOW + HOUR * 2)
    if approved and decision.passed:
        ws.add_key(APPROVER, owner=APPROVER)
        approve(ws, decision.ref, key=APPROVER, now_ns=NOW + 3 * HOUR, expires_ns=NOW + 30 * DAY)
    return Story(ws=ws, release=release, decision=decision, admission=admission, suite=suite)


def recorded(ws: Workspace, release: Ref, start_ns: int, hours: float, **changes: Any) -> Event:
    """A recording of the arm, stamped with the release."""
    body = {
        "log": "",
        "site": "bench",
        "robot": "ur5",
        "arm": "left",
        "origin": "real",
        "facts": {"release": release.digest, "clock_error_s": 0.5},
        **changes,
    }
    return ws.record(
        "log.ingested", body=body, valid_from_ns=start_ns, valid_to_ns=start_ns + round(hours * HOUR), valid_err_ns=0
    )


def incident(ws: Workspace, fakes: ModuleType, release: Ref | None, at_ns: int, *, note: str = "too near") -> Event:
    """An incident on the arm, frozen without any log."""
    digest = ws.put_json({"schema": "worldgate/incident/1", "slot": SLOT, "at_ns": at_ns, "note": note})
    body = {"incident": digest, "slot": SLOT, "at_ns": at_ns, "severity": "near-miss", "note": note, "slices": []}
    inputs = (release,) if release is not None else ()
    return ws.record(
        "incident.opened", body=body, inputs=inputs, outputs=(Ref("incident", digest),), valid_from_ns=at_ns
    )

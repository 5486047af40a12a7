"""Replay an incident from what the record holds: admitted world models, the release that was on the arm, candidates.

The only models used are those with an admission in force at the incident's site; up to their horizon H(ε) a replay is
evidence, beyond it the pictures say that it is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from worldgate.control import policies
from worldgate.core.digest import short
from worldgate.core.errors import NotFound, UsageError
from worldgate.core.names import Slot
from worldgate.core.times import SECOND
from worldgate.core.worlds import Policy
from worldgate.data import contracts, datasets
from worldgate.evidence.decide import DECIDED
from worldgate.fleet import incidents, releases
from worldgate.fleet.incidents import Incident
from worldgate.fleet.replay import Replay, ReplayConfig, admitted_steps, replay
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace
from worldgate.worlds.train import stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Which part of the frozen window is imagined."""

    before_s: float = 1.0
    """How long before the incident's moment imagination takes over."""
    seconds: float = 2.0
    """How far it goes."""
    exogenous: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Stream -> channel names held to what was recorded: a person's hand did not move because of the release."""
    seed: int = 0


def admitted(ws: Workspace, site: str, now_ns: int) -> dict[str, dict[str, Any]]:
    """World models admitted at a site: digest -> payload of the newest decision, where that one admits and holds."""
    newest = {event.body["subject"]: event.body["decision"] for event in ws.ledger.events(DECIDED) if _at(event, site)}
    found = {subject: ws.get_json(decision) for subject, decision in newest.items()}
    return {
        s: p for s, p in found.items() if p["verdict"] == "ADMIT" and p["not_before_ns"] <= now_ns < p["expires_ns"]
    }


def _at(event: Any, site: str) -> bool:
    return event.body["gate"] == "admission" and (not event.body["sites"] or site in event.body["sites"])


def replay_recorded(
    ws: Workspace,
    incident: Ref,
    candidates: Sequence[Ref] = (),
    *,
    models: Sequence[Ref] = (),
    span: Span | None = None,
    now_ns: int,
) -> Replay:
    """Replay an incident through the release that was on the arm and through candidates, in closed loop; recorded.

    Args:
        ws: the workspace.
        incident: a frozen incident.
        candidates: other releases.
        models: admitted world models, unrolled together; empty: the newest admitted one of each family.
        span: what is imagined.
        now_ns: when this is asked; admissions must hold then.

    Raises:
        NotFound: no admitted world model, or nothing recorded in the window.
        UsageError: a model without an admission in force at the incident's site, or too little context.
        DataRefused: which release was on the arm is not certain, and no candidate is given.
    """
    span = span or Span()
    frozen = incidents.load(ws, incident.digest)
    site = str(Slot.parse(frozen.slot).site)
    allowed = admitted(ws, site, now_ns)
    for ref in models:
        if ref.digest not in allowed:
            raise UsageError("this world model is not admitted here", got=short(ref.digest), where=site)
    worlds = [stage.load(ws, ref.digest) for ref in models]
    if not models:
        loaded = [stage.load(ws, digest) for digest in allowed]
        worlds = list({world.spec.family: world for world in loaded}.values())
    if not worlds:
        raise NotFound("no world model is admitted at this site", got=site, hint="worldgate gate admission MODEL GAP")
    worlds.sort(key=lambda world: len(world.spec.cameras))
    horizons: dict[str, int] = {}
    for world in worlds:
        horizons = {**admitted_steps(allowed[world.spec.digest]), **horizons}
    spec = contracts.load(ws, datasets.manifest(ws, worlds[0].spec.dataset).contract).spec()
    episode = incidents.episode(ws, frozen, spec)
    begin = frozen.at_ns - round(span.before_s * SECOND)
    start = int(np.searchsorted(episode.times_ns, begin, side="right")) - 1
    steps = min(round(span.seconds * episode.rate_hz), len(episode) - 1 - start)
    config = ReplayConfig(start=start, steps=steps, seed=span.seed, exogenous=span.exogenous)
    return replay(ws, incident, spec, worlds, _policies(ws, frozen, candidates), config, horizons=horizons)


def _policies(ws: Workspace, frozen: Incident, candidates: Sequence[Ref]) -> dict[str, Policy]:
    """The release that was on the arm first, where that is certain, then the candidates; by name or short digest."""
    refs = list(candidates)
    if frozen.known["headline"]["certainty"] == "CERTAIN" or not refs:
        refs.insert(0, ws.resolve(frozen.release, "release"))
    found: dict[str, Policy] = {}
    for ref in refs:
        label = ref.name if ref.name and ref.name not in found else short(ref.digest)
        found[label] = policies.load(releases.load(ws, ref.digest), ws.store)
    return found

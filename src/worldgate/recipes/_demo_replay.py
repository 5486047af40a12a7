"""Scene d of the demo: the incident is frozen and replayed through the release that ran and through a candidate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from worldgate.core.report import Section, Table, png
from worldgate.core.times import SECOND
from worldgate.core.worlds import Observation
from worldgate.data import contracts
from worldgate.evidence.scenarios import register
from worldgate.fleet import incidents, strip
from worldgate.fleet.replay import Replay, ReplayConfig, admitted_steps, replay
from worldgate.recipes._cell_gates import ENVELOPE, wrap
from worldgate.recipes._cell_releases import Candidate
from worldgate.recipes._cell_stage import OPERATOR, Stage
from worldgate.recipes._demo_field import NearMiss
from worldgate.recipes._demo_models import CAMERA, Models
from worldgate.recipes._demo_stage import ARM_B
from worldgate.record.events import Ref
from worldgate.sim.cell import SHOULDER

if TYPE_CHECKING:
    from worldgate.core.streams import ByteArray

BEFORE, AFTER = 3 * SECOND, 3 * SECOND
_LEAD = 8
"""Rows before the moment of least clearance at which imagination takes over."""
_STEPS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """The incident and the scenario that it left behind."""

    incident: Ref
    scenario: Ref


def freeze(stage: Stage, happened: NearMiss) -> Frozen:
    """Open the incident, freeze its window, and close it with the scenario that every later gate includes."""
    ws = stage.ws
    incident = incidents.open_incident(
        ws,
        ARM_B,
        happened.at_ns,
        before_ns=BEFORE,
        after_ns=AFTER,
        note=f"clearance {happened.clearance_m * 100:.1f} cm to a person who reached in",
        severity=incidents.Severity.NEAR_MISS,
        by=OPERATOR,
    )
    scenario = register(
        ws,
        wrap(happened.scenario, name=f"incident-{incident.digest[:8]}", source="incident", incident=incident.digest),
        inputs=(incident,),
        actor=OPERATOR,
    )
    incidents.close_incident(ws, incident, by=OPERATOR, scenario=scenario)
    stage.story.say(f"incident {incident.digest[:12]} frozen; its scenario {scenario.digest[:12]} joins the next gates")
    return Frozen(incident=incident, scenario=scenario)


def tip_clearance(row: Observation) -> dict[str, float]:
    """Distance of the tool's tip to the skin of the person's forearm, m, from one row of states."""
    tool = np.asarray(row["observation.state"])[8:10]
    hand = np.asarray(row["observation.environment_state"])[5:7]
    arm = np.array(SHOULDER) - hand
    along = float(np.clip((tool - hand) @ arm / max(float(arm @ arm), 1e-9), 0.0, 1.0))
    return {"tip_clearance_m": float(np.linalg.norm(tool - hand - along * arm)) - _FOREARM_M}


_FOREARM_M = 0.045
"""Radius of the forearm."""


def show(
    stage: Stage, frozen: Frozen, models: Models, ran: Candidate, candidate: Candidate, contract: Ref
) -> tuple[Replay, Section]:
    """Replay in closed loop, and draw the strip with its bar at H."""
    ws = stage.ws
    spec = contracts.load(ws, contract.digest).spec()
    window = incidents.episode(ws, incidents.load(ws, frozen.incident.digest), spec)
    start = _start(window.array("observation.state"), window.array("observation.environment_state"))
    horizons = admitted_steps(models.state.decision.payload) | admitted_steps(models.video.decision.payload)
    made = replay(
        ws,
        frozen.incident,
        spec,
        [models.state.model, models.video.model],
        {"r1": ran.policy, "candidate": candidate.policy},
        ReplayConfig(
            start=start,
            steps=min(_STEPS, len(window) - start - 1),
            exogenous={"observation.environment_state": ("person.x", "person.y", "goal.x", "goal.y")},
        ),
        horizons=horizons,
        measure=tip_clearance,
    )
    picture = _png(strip.strip(made, CAMERA))
    (stage.folder / "strip.png").write_bytes(picture)
    strip.save_mp4(stage.folder / "replay.mp4", made, CAMERA)
    return made, _section(stage, made, picture, frozen)


def _start(states: object, around: object) -> int:
    """The row from which is imagined: some rows before the tip is nearest to the person."""
    rows = zip(np.asarray(states), np.asarray(around), strict=True)
    clearance = [
        tip_clearance({"observation.state": s, "observation.environment_state": e})["tip_clearance_m"] for s, e in rows
    ]
    return max(4, int(np.argmin(clearance)) - _LEAD)


def _png(picture: ByteArray) -> bytes:
    import cv2

    done, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    assert done
    return bytes(data)


def _section(stage: Stage, made: Replay, picture: bytes, frozen: Frozen) -> Section:
    valid = made.valid(CAMERA, "observation.state")
    rows = []
    for branch in (made.recorded, *made.imagined):
        inside = branch.facts["tip_clearance_m"][:valid]
        rows.append((str(branch.origin), branch.name, f"{inside.min() * 100:.1f}" if len(inside) else "-"))
    apart = made.error("r1", "observation.state")[: max(valid, 1)]
    stage.facts |= {"replay_valid_steps": valid, "replay_clearance_cm": {name: cm for _, name, cm in rows}}
    kept = float(rows[2][2]) > float(rows[1][2]) if valid else False
    return Section(
        title="d. What would the candidate have done?",
        verdict=f"within H = {valid / made.rate_hz:.1f} s the candidate keeps {rows[2][2]} cm, r1 {rows[1][2]} cm",
        tone="good" if kept else "bad",
        words=(
            "The frozen window, replayed in closed loop: from one row on, each release acts on what the world"
            " models imagine."
            " The person's hand is held to what was recorded. The bar stands at the valid horizon; what lies"
            " beyond it is"
            " greyed and says so, for it is not evidence.",
            f"Against what really happened, r1's imagined arm state is off by {apart[-1]:.2f} (joint and tool"
            " units) at the"
            f" bar. The incident is closed with a scenario that every later gate of {ARM_B.site} must run;"
            f" the envelope asks for {(ENVELOPE.clearance_m or 0) * 100:.0f} cm of the whole arm.",
        ),
        tables=(Table(headings=("origin", "branch", "least tip clearance within H [cm]"), rows=tuple(rows)),),
        pictures=(
            png(
                picture,
                alt="strip: simulated, r1 imagined, candidate imagined, difference; bar at the valid horizon",
                wide=True,
            ),
        ),
        commands=(f"worldgate show {frozen.incident.digest[:12]}", f"worldgate replay {frozen.incident.digest[:12]}"),
    )

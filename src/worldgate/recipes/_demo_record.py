"""Scene a of the demo: four arms record, one camera fails, the contract refuses its episodes with the spans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from worldgate.core.report import Section, Table
from worldgate.core.times import SECOND, format_span
from worldgate.data import contracts, datasets
from worldgate.data.check import check
from worldgate.data.contracts import Severity
from worldgate.data.ingest import Shelf, ingest
from worldgate.recipes._cell_stage import SLOTS, Stage
from worldgate.recipes._demo_stage import FAILING, RECORDED
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace
from worldgate.sim.attributes import Attributes, CameraFault
from worldgate.sim.record import RecordConfig, record
from worldgate.sim.sensing import SensorConfig

CAMERA_HZ = 20.0
_EXPERTS = ("scripted", "noisy", "careless", "noisy", "random", "scripted")
"""In turn: competent, imprecise and aimless runs together cover what actions can do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedDataset:
    """What scene a leaves behind."""

    dataset: Ref
    contract: Ref
    accepted: int
    refused: int


def recording(*, camera: bool = True) -> RecordConfig:
    """Front camera, joints, force and tracker; the rest of the sensors would only cost the demo its minutes."""
    cameras = ("front",) if camera else ()
    return RecordConfig(sensors=SensorConfig(cameras=cameras, camera_hz=CAMERA_HZ, geometry=(), lidar=False))


def demo_contract(ws: Workspace, name: str) -> Ref:
    """Register one of the demo's contracts."""
    with resources.as_file(resources.files("worldgate.recipes") / "contracts" / f"{name}.toml") as file:
        return contracts.add(ws, contracts.read(Path(file)))


def record_sites(stage: Stage, *, per_arm: int, duration_s: float, seed: int) -> list[Ref]:
    """Record and ingest ``per_arm`` runs on each of four arms; every fourth of the failing arm's has a bad camera."""
    logs: list[Ref] = []
    total = per_arm * len(SLOTS)
    with stage.story.progress("recording four arms") as progress:
        for number in range(total):
            slot = SLOTS[number % len(SLOTS)]
            turn = number // len(SLOTS)
            path = stage.folder / "logs" / f"{slot.site}-{slot.robot}-{slot.arm}-{turn:03d}.mcap"
            path.parent.mkdir(exist_ok=True)
            record(
                path,
                site=str(slot.site),
                arm=str(slot.arm),
                expert=_EXPERTS[turn % len(_EXPERTS)],
                seed=seed + number,
                attributes=_attributes(failing=slot == FAILING and turn % 4 == 1, person=turn % 3 == 2),
                duration_s=duration_s,
                start_ns=RECORDED + number * 60 * SECOND,
                config=recording(),
            )
            logs += ingest(stage.ws, path, site=str(slot.site), robot=str(slot.robot), arm=str(slot.arm))
            progress(number + 1, total, str(slot))
    return logs


def _attributes(*, failing: bool, person: bool) -> Attributes:
    faults = (
        CameraFault(camera="front", mode="freeze", start_s=1.5, end_s=3.0),
        CameraFault(camera="front", mode="black", start_s=3.0, end_s=4.4),
    )
    return Attributes(person=person, camera_faults=faults if failing else ())


def curate(stage: Stage, logs: Sequence[Ref]) -> tuple[RecordedDataset, Section]:
    """Check the logs against the contract and freeze what it accepts."""
    ws = stage.ws
    contract = demo_contract(ws, "demo")
    checked = check(ws, logs, contract)
    refused = [c for c in checked if not c.accepted]
    with stage.story.progress("aligning episodes") as progress:
        dataset = datasets.snapshot(ws, contract, logs, name="cell", progress=progress)
    manifest = datasets.manifest(ws, dataset.digest)
    shelf = Shelf(ws)
    rows = []
    for item in refused:
        known = shelf.record(item.log)
        start = min(s.start_ns for s in known.streams)
        for finding in item.found(Severity.REFUSE):
            spans = ", ".join(format_span(a, b, zero_ns=start) for a, b in finding.spans_ns[:4])
            rows.append((known.name, f"{known.site}/{known.arm}", finding.check, finding.message, spans))
    counts = {split: sum(e.split == split for e in manifest.episodes) for split in ("train", "val")}
    stage.facts |= {"refused": len(refused), "accepted": len(manifest.episodes), "findings": rows}
    section = Section(
        title="a. Four arms record, one camera fails",
        verdict=f"{len(refused)} of {len(checked)} episodes refused, with spans",
        tone="good" if refused else "bad",
        words=(
            f"Two sites with two arms each recorded {len(checked)} episodes; every sensor kept its own clock. A failing"
            f" camera on {FAILING} froze and went black; the contract refuses those episodes and says where.",
            f"The rest became dataset {dataset.digest[:12]}: {counts['train']} episodes to learn from and"
            f" {counts['val']} held out, aligned at {manifest.rate_hz:g} Hz without looking into the future.",
        ),
        tables=(Table(headings=("log", "arm", "check", "what", "when in the log"), rows=tuple(rows)),),
        commands=(f"worldgate check --contract {contract.digest[:12]}", f"worldgate show {dataset.digest[:12]}"),
    )
    done = RecordedDataset(dataset=dataset, contract=contract, accepted=len(manifest.episodes), refused=len(refused))
    return done, section

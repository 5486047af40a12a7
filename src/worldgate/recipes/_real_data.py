"""Real logs into a workspace: found, ingested with their site, held against the shipped contract, cut into folds.

Two datasets are frozen from what the contract accepts, under contracts derived from it: numbers at the rate of the
joints, and pictures with numbers at a rate that the cameras really reach. All their episodes teach: what is held out is
decided fold by fold, each fold a dataset of its own, so that lineage shows what every model was fed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from worldgate.core.errors import ContractBroken, NameRefused, NotFound
from worldgate.core.names import Name
from worldgate.core.report import Section, Table
from worldgate.core.times import SECOND
from worldgate.data import contracts, datasets
from worldgate.data.check import CheckedLog, check
from worldgate.data.contracts import CheckRule, Contract, Severity, Splits
from worldgate.data.ingest import IngestedLog, ingest, ingested
from worldgate.recipes._real_stage import Robot, Stage
from worldgate.record.events import Ref

_RENEWAL = CheckRule(severity=Severity.FLAG)
"""Flags pictures that renew more slowly than their stamps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What part a leaves behind."""

    accepted: tuple[IngestedLog, ...]
    refused: int
    telemetry: Ref
    """Contract of numbers at the joints' rate."""
    video: Ref
    """Contract of pictures and numbers."""

    @property
    def sites(self) -> list[str]:
        """Where the accepted logs come from."""
        return sorted({log.site for log in self.accepted})


def locate(robot: Robot, root: str) -> Path:
    """The folder of a robot's logs.

    Raises:
        NotFound: it is not there; the hint says how to name another.
    """
    checkout = Path(__file__).resolve().parents[3]
    base = Path(root or os.environ.get("WORLDGATE_DATA") or checkout.parent / "shared" / "data" / "real")
    for path in (base / robot.folder, base):
        if path.is_dir() and (root or path.name == robot.folder):
            return path
    hint = f"worldgate run {robot.name} --set data.root=FOLDER, which holds {robot.folder} or is such a folder"
    raise NotFound(f"no {robot.name} logs here", got=base / robot.folder, where="data.root", hint=hint)


def take_in(stage: Stage, source: Path) -> tuple[Taken, Section]:
    """Ingest, check and derive the two contracts.

    Raises:
        LogUnreadable: nothing there can be read.
        ContractBroken: the contract accepts fewer than three logs.
    """
    ws, robot = stage.ws, stage.robot
    refs: list[Ref] = []
    for part in _parts(source):
        with stage.story.progress(f"ingesting {part.name}") as progress:
            refs += ingest(ws, part, site=_site(part, robot), progress=progress)
    contract = contracts.read(robot.contract)
    with stage.story.progress(f"checking against contract {contract.name}") as progress:
        checked = check(ws, refs, contracts.add(ws, contract), progress=progress)
    known = ingested(ws)
    accepted = tuple(known[c.log] for c in checked if c.accepted)
    if len(accepted) < 3:
        why = "; ".join(f.message for c in checked for f in c.found(Severity.REFUSE))[:200]
        raise ContractBroken(f"contract {contract.name} accepts {len(accepted)} of {len(checked)} logs", got=why)
    video = contracts.add(
        ws, _derived(contract, "video", (*robot.states, robot.action, *robot.cameras), robot.video_hz)
    )
    slow = _renewal(stage, accepted, video)
    taken = Taken(
        accepted=accepted,
        refused=len(checked) - len(accepted),
        telemetry=contracts.add(ws, _derived(contract, "telemetry", (*robot.states, robot.action), robot.telemetry_hz)),
        video=video,
    )
    stage.facts |= {"ingested": len(checked), "accepted": len(accepted), "refused": taken.refused, "flagged": len(slow)}
    return taken, _section(robot, contract, [known[c.log] for c in checked], checked, slow)


def _parts(source: Path) -> list[Path]:
    """Folders that were recorded at one place each: those below with logs of their own, or the folder itself."""
    below = sorted(p for p in source.iterdir() if p.is_dir() and (p / "annotation").is_dir())
    return below or [source]


def _site(part: Path, robot: Robot) -> str:
    try:
        return str(Name(part.name))
    except NameRefused:
        return robot.name


def _derived(contract: Contract, purpose: str, streams: Sequence[str], rate_hz: float) -> Contract:
    """The same requirements for some streams on another grid, every episode teaching.

    The contract's own checks have been passed by then; for pictures one is added that only flags.
    """
    held = {name: contract.streams[name] for name in streams}
    own = {name: item for name, item in contract.alignment.streams.items() if name in held}
    return replace(
        contract,
        name=f"{contract.name}-{purpose}",
        streams=held,
        alignment=replace(contract.alignment, rate_hz=rate_hz, reference="", streams=own),
        checks={"content_rate": _RENEWAL} if purpose == "video" else {},
        splits=Splits(fractions={"train": 1.0}),
    )


def _renewal(stage: Stage, accepted: Sequence[IngestedLog], video: Ref) -> list[CheckedLog]:
    """Logs whose pictures renew more slowly than declared."""
    with stage.story.progress("looking for repeated pictures") as progress:
        found = check(stage.ws, [log.ref for log in accepted], video, progress=progress)
    return [c for c in found if c.found(Severity.FLAG)]


def _section(
    robot: Robot,
    contract: Contract,
    logs: Sequence[IngestedLog],
    checked: Sequence[CheckedLog],
    slow: Sequence[CheckedLog],
) -> Section:
    rates = [c.found(Severity.FLAG)[0].value for c in slow]
    rows = []
    for log, found in zip(logs, checked, strict=True):
        why = "; ".join(dict.fromkeys(f"{f.stream} {f.message}".strip() for f in found.found(Severity.REFUSE)))
        flags = [
            " ".join(part for part in (f"{f.check}:", f.stream, f.message) if part) for f in found.found(Severity.FLAG)
        ]
        label = log.facts.get("success")
        span = (log.span_ns[1] - log.span_ns[0]) / SECOND
        rows.append(
            (
                log.name,
                log.site,
                "-" if label is None else "success" if label else "failure",
                f"{span:.1f}",
                "accepted" if found.accepted else f"refused: {why[:120]}",
                "; ".join(flags)[:160] or "-",
            )
        )
    accepted = sum(c.accepted for c in checked)
    labelled = [bool(log.facts["success"]) for log in logs if "success" in log.facts]
    words = [f"{len(logs)} real logs, ingested by content and held against contract {contract.name}."]
    if labelled:
        words.append(f"People labelled {sum(labelled)} as success and {len(labelled) - sum(labelled)} as failure.")
    if slow:
        words.append(
            f"In {len(slow)} logs the camera hands out pictures twice: they renew at {min(rates):.1f} to"
            f" {max(rates):.1f} Hz, more slowly than their stamps say. This is flagged, not refused; video is"
            f" judged at {robot.video_hz:g} Hz."
        )
    return Section(
        title="a. Real logs come in",
        verdict=f"{accepted} of {len(logs)} logs accepted, {len(slow)} flagged for repeated pictures",
        tone="neutral",
        words=(*words, *robot.notes),
        tables=(
            Table(
                headings=("log", "site", "label", "span [s]", f"contract {contract.name}", "flags"), rows=tuple(rows)
            ),
        ),
        commands=(f"worldgate check {contract.name}",),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """Some episodes held out, and the dataset of all others."""

    dataset: Ref
    held_out: tuple[str, ...]
    """Log digests."""


def cut(stage: Stage, taken: Taken, contract: Ref, *, purpose: str, count: int) -> tuple[Ref, list[Fold]]:
    """The dataset of all accepted logs and one without each fold.

    Args:
        stage: the run.
        taken: the accepted logs.
        contract: of the datasets.
        purpose: names them.
        count: folds; 0: one an episode.
    """
    ws, logs = stage.ws, taken.accepted
    folds = min(count, len(logs)) or len(logs)
    with stage.story.progress(f"freezing {folds + 1} {purpose} datasets") as progress:
        whole = datasets.snapshot(ws, contract, [log.ref for log in logs], name=f"{stage.robot.name}-{purpose}")
        out = []
        for number in range(folds):
            kept = [log.ref for i, log in enumerate(logs) if i % folds != number]
            held = tuple(log.digest for i, log in enumerate(logs) if i % folds == number)
            name = f"{stage.robot.name}-{purpose}-without-{number + 1}"
            out.append(Fold(dataset=datasets.snapshot(ws, contract, kept, name=name), held_out=held))
            progress(number + 1, folds, name)
    return whole, out

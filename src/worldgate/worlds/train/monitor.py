"""What a run says while it trains: progress for a caller, metrics as JSON lines, a heartbeat for whoever waits."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from worldgate.core.atomic import write_atomic
from worldgate.core.progress import Progress as PlainProgress
from worldgate.core.times import now_ns

_HEARTBEAT_S = 2.0
_OF_STEPS = ("phase_index", "phase", "step", "loss", "rate", "max_skew_ms", "mfu", "memory_gb", "alarms")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One line of progress."""

    phase: str
    step: int
    steps: int
    loss: float
    rate: float
    """Steps a second, over the phase so far in this process."""
    eta_s: float
    """Seconds left in this phase at that rate."""
    facts: Mapping[str, float] = field(default_factory=dict)
    """Held-out figures, at evaluation points only."""
    numbers: Mapping[str, float] = field(default_factory=dict)
    """Of the step itself: the largest skew of its samples, the GPU's utilisation, memory."""
    alarms: tuple[str, ...] = ()
    """What has gone wrong since the last step, and goes on."""


Report: TypeAlias = Callable[[Progress], None]


class Monitor:
    """Writes ``metrics.jsonl`` and ``heartbeat.json`` in a run's folder and calls the caller's report."""

    def __init__(self, run_dir: Path, report: Report | None) -> None:
        self.metrics = run_dir / "metrics.jsonl"
        self.heartbeat = run_dir / "heartbeat.json"
        self.report = report
        self._beat = 0.0
        self._alarms: tuple[str, ...] = ()

    def rewind(self, phase: int, step: int) -> None:
        """Forget lines after a checkpoint, so that a resumed run reads as one that never stopped."""
        if not self.metrics.exists():
            return
        lines = self.metrics.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and _place(line) <= (phase, step)]
        write_atomic(self.metrics, "".join(kept).encode(), overwrite=True)

    def step(self, index: int, progress: Progress, *, force: bool = False) -> None:
        """Note one step; loss and facts always go to the file, the heartbeat every two seconds."""
        line: dict[str, Any] = {"phase_index": index, "phase": progress.phase, "step": progress.step}
        line |= {"loss": progress.loss, "rate": round(progress.rate, 3)}
        line |= {k: round(v, 6) for k, v in progress.numbers.items()}
        line |= {k: v if math.isfinite(v) else None for k, v in progress.facts.items()}
        line |= {"alarms": list(progress.alarms)} if progress.alarms else {}
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self._alarms += progress.alarms
        now = time.monotonic()
        if force or progress.alarms or now - self._beat > _HEARTBEAT_S:
            self._beat = now
            beat = {"phase": progress.phase, "step": progress.step, "steps": progress.steps, "time_ns": str(now_ns())}
            beat |= {"eta_s": round(progress.eta_s, 1), "alarms": list(self._alarms)}
            write_atomic(self.heartbeat, json.dumps(beat).encode(), overwrite=True)
        if self.report is not None:
            self.report(progress)


def _place(line: str) -> tuple[int, int]:
    entry = json.loads(line)
    return int(entry["phase_index"]), int(entry["step"])


def plain(progress: PlainProgress) -> Report:
    """Turn the program's plain progress callable into a report of this loop."""

    def report(note: Progress) -> None:
        facts = "".join(f", {key} {value:.3g}" for key, value in note.facts.items())
        line = f"{note.phase}: loss {note.loss:.4g}, {note.rate:.1f} steps/s, {note.eta_s:.0f} s left{facts}"
        progress(note.step, note.steps, line)

    return report


def last_facts(metrics: Path) -> dict[str, float]:
    """The newest held-out figures of each phase in a metrics file."""
    out: dict[str, float] = {}
    for line in metrics.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        out |= {k: v for k, v in entry.items() if k not in _OF_STEPS and v is not None}
    return out

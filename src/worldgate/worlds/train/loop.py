"""The one training loop: every family hands it phases, it runs them with AdamW, warm-up and cosine, clipping and EMA.

``train`` starts a run in an empty folder, ``resume`` goes on from its newest snapshot; a run bounded by steps gives the
same losses to the bit whether or not it was interrupted. The folder holds ``config.json``, ``metrics.jsonl``,
``heartbeat.json``, ``snapshots/``, ``latest`` and in the end ``model/``, the checkpoint that ``checkpoint.load`` reads.
"""

from __future__ import annotations

import dataclasses
import json
import math
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from worldgate.core.atomic import is_done, write_atomic
from worldgate.core.config import decode
from worldgate.core.digest import Json, canonical, digest_json, sha256
from worldgate.core.episodes import Episode
from worldgate.core.errors import AlreadyExists, Interrupted, NotFound, UsageError, WorldgateError
from worldgate.worlds import checkpoint
from worldgate.worlds.family import FamilyConfig, Phase, Trainable, load_trainable
from worldgate.worlds.tracks import Layout, fit_normaliser, make_tracks, resolve_layout, shuffle_actions
from worldgate.worlds.train import snapshots
from worldgate.worlds.train.monitor import Monitor, Progress, Report

_RECENT = 20


def train(
    family: str,
    episodes_train: Sequence[Episode],
    episodes_val: Sequence[Episode],
    config: FamilyConfig,
    run_dir: Path,
    progress: Report | None = None,
    *,
    dataset: str = "",
) -> Path:
    """Train a family from scratch.

    Args:
        family: a name in the ``models`` or ``tokenizers`` seam.
        episodes_train: what it learns from, its normaliser included.
        episodes_val: held-out episodes for the figures printed beside the loss; may be empty.
        config: the family's configuration.
        run_dir: a folder that does not exist yet; its name is the run id.
        progress: called after every step.
        dataset: digest of the dataset, kept in the checkpoint.

    Returns:
        The checkpoint's folder, ``run_dir/model``.

    Raises:
        AlreadyExists: the run's folder exists.
        DataRefused: episodes that disagree on rate, width or unit.
        Interrupted: stopped by the user, with a snapshot written.
        WorldgateError: the loss diverged.
    """
    if run_dir.exists():
        raise AlreadyExists("this run exists", where=run_dir, hint=f"worldgate train --resume {run_dir.name}")
    run_dir.mkdir(parents=True)
    about = {"family": family, "config": dataclasses.asdict(cast(Any, config)), "dataset": dataset}
    write_atomic(run_dir / "config.json", canonical(about))
    return _Run(family, episodes_train, episodes_val, config, run_dir, progress, dataset).go(None)


def resume(
    run_dir: Path,
    episodes_train: Sequence[Episode],
    episodes_val: Sequence[Episode],
    progress: Report | None = None,
) -> Path:
    """Go on with a run from its newest snapshot, or from the start if it has none; a finished run is returned as it is.

    Raises:
        NotFound: no such run.
        UsageError: other episodes than the run was started with.
    """
    if not (run_dir / "config.json").is_file():
        raise NotFound("no such run", got=run_dir.name, where=run_dir.parent)
    if is_done(run_dir / "model"):
        return run_dir / "model"
    about = json.loads((run_dir / "config.json").read_bytes())
    config = decode(load_trainable(about["family"]).Config, about["config"], where=str(run_dir / "config.json"))
    run = _Run(about["family"], episodes_train, episodes_val, config, run_dir, progress, about["dataset"])
    return run.go(snapshots.load(run_dir) if (run_dir / "latest").exists() else None)


def code_digest() -> str:
    """Digest of this room's sources: which code a run was made by."""
    root = Path(checkpoint.__file__).parent
    files = sorted(root.rglob("*.py"))
    return sha256(*(part for f in files for part in (f.relative_to(root).as_posix().encode(), f.read_bytes())))


class _Run:
    """One run at work."""

    def __init__(
        self,
        family: str,
        train: Sequence[Episode],
        held_out: Sequence[Episode],
        config: FamilyConfig,
        run_dir: Path,
        report: Report | None,
        dataset: str,
    ) -> None:
        self.family_name, self.config, self.loop, self.run_dir = family, config, config.loop, run_dir
        self.dataset = dataset
        self.digests = {"code": code_digest(), "data": _data_digest(train, held_out)}
        layout = resolve_layout(train, config.inputs)
        self.model = _create(family, config, layout, train)
        tracks = make_tracks(train, layout)
        if self.loop.shuffle_actions:
            tracks = shuffle_actions(tracks, self.loop.seed)
        self.phases = self.model.phases(tracks, make_tracks(held_out, layout))
        self.monitor = Monitor(run_dir, report)
        self.seconds = 0.0
        self.stop = False

    def go(self, snapshot: snapshots.Snapshot | None) -> Path:
        if self.loop.threads:
            torch.set_num_threads(self.loop.threads)
        if snapshot is not None and snapshot.digests["data"] != self.digests["data"]:
            raise UsageError(
                "a run resumes with the episodes it was started with",
                got=self.digests["data"][:12],
                where=self.run_dir / "latest",
                hint="start a new run for other data",
            )
        with _stop_on_interrupt(self):
            for index, phase in enumerate(self.phases):
                if snapshot is None or index >= snapshot.phase:
                    mine = snapshot if snapshot is not None and index == snapshot.phase else None
                    self._phase(index, phase, mine)
        return self._save()

    def _phase(self, index: int, phase: Phase, snapshot: snapshots.Snapshot | None) -> None:
        rng = snapshots.generator(None, self.loop.seed * 1000 + index)
        if snapshot is not None:
            self.model.load_state_dict(snapshot.weights)
        phase.prepare()
        if not phase.parameters():
            self._fitted(index, phase)
            return
        steps = _Steps(phase)
        first = 0
        if snapshot is None:
            self._snapshot(index, 0, steps, rng)
        else:
            self.model.load_state_dict(snapshot.weights)
            steps.restore(snapshot.optimiser)
            rng.bit_generator.state = snapshot.rng
            first, self.seconds = snapshot.step, snapshot.seconds
            self.monitor.rewind(index, first)
        self._steps(index, phase, steps, rng, first)
        steps.average()
        phase.finish()

    def _fitted(self, index: int, phase: Phase) -> None:
        """A phase that its preparation fitted whole, as quantiles are; it is simply done again on resume."""
        note = Progress(phase=phase.name, step=0, steps=0, loss=0.0, rate=0.0, eta_s=0.0, facts=phase.evaluate())
        self.monitor.rewind(index, -1)
        self.monitor.step(index, note, force=True)
        phase.finish()

    def _steps(self, index: int, phase: Phase, steps: _Steps, rng: np.random.Generator, first: int) -> None:
        length, losses = phase.config.steps, _Losses(phase.name)
        begun, before = time.monotonic(), self.seconds
        for step in range(first, length):
            place = self._place(index, step, begun)
            if place >= 1:
                return
            loss = losses.add(steps.step(phase, rng, place, bf16=self.loop.bf16), step)
            done = step + 1
            self.seconds = before + time.monotonic() - begun
            facts = self._evaluate(phase, steps) if done % self.loop.evaluate_every == 0 or done == length else {}
            rate = (done - first) / max(time.monotonic() - begun, 1e-9)
            left = min((length - done) / rate, (1 - place) / max(place, 1e-9) * (time.monotonic() - begun))
            note = Progress(phase=phase.name, step=done, steps=length, loss=loss, rate=rate, eta_s=left, facts=facts)
            self.monitor.step(index, note, force=done == length)
            if self.stop or done % self.loop.checkpoint_every == 0:
                self._snapshot(index, done, steps, rng)
            if self.stop:
                hint = f"worldgate train --resume {self.run_dir.name}"
                raise Interrupted("training stopped", where=f"{phase.name} step {done} of {length}", hint=hint)

    def _place(self, index: int, step: int, begun: float) -> float:
        """How far through its phase a step is, by steps or by time, whichever is further."""
        config = self.phases[index].config
        if not self.loop.max_seconds:
            return step / config.steps
        share = config.share / sum(p.config.share for p in self.phases)
        return max(step / config.steps, (time.monotonic() - begun) / (share * self.loop.max_seconds))

    def _evaluate(self, phase: Phase, steps: _Steps) -> dict[str, float]:
        with steps.averaged(), torch.no_grad():
            return phase.evaluate()

    def _snapshot(self, index: int, step: int, steps: _Steps, rng: np.random.Generator) -> None:
        snapshot = snapshots.Snapshot(
            phase=index,
            step=step,
            seconds=self.seconds,
            weights=self.model.state_dict(),
            optimiser=steps.state(),
            rng=cast(dict[str, Any], rng.bit_generator.state),
            digests=self.digests,
        )
        snapshots.save(self.run_dir, snapshot)

    def _save(self) -> Path:
        about: dict[str, Json] = {
            "dataset": self.dataset,
            "run": self.run_dir.name,
            "seconds": round(self.seconds, 1),
            **dict(self.digests),
        }
        return checkpoint.save(self.run_dir / "model", self.family_name, self.config, self.model, about)


class _Steps:
    """AdamW over a phase's parameters, with their running average."""

    def __init__(self, phase: Phase) -> None:
        self.config = phase.config
        self.parameters = phase.parameters()
        self.optimiser = torch.optim.AdamW(self.parameters, lr=self.config.rate, weight_decay=self.config.decay)
        self.average_of = [p.detach().clone() for p in self.parameters]
        self.count = 0

    def step(self, phase: Phase, rng: np.random.Generator, place: float, *, bf16: bool) -> tuple[float, float]:
        """One update; returns the loss and the gradient's norm."""
        warm = min(1.0, (self.count + 1) / max(1, self.config.warmup))
        rate = self.config.rate * warm * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * place)))
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        batch = phase.draw(rng)
        if batch.seed is not None:
            torch.manual_seed(batch.seed)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            loss = phase.loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.config.clip)
        self.optimiser.step()
        self.count += 1
        decay = min(self.config.ema, self.count / (10 + self.count))
        with torch.no_grad():
            torch._foreach_lerp_(self.average_of, [p.detach() for p in self.parameters], 1 - decay)
        return loss.item(), norm.item()

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The model with averaged weights, for the duration."""
        raw = [p.detach().clone() for p in self.parameters]
        self.average()
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, value in zip(self.parameters, raw, strict=True):
                    parameter.copy_(value)

    @torch.no_grad()
    def average(self) -> None:
        """Put the averaged weights into the model."""
        for parameter, value in zip(self.parameters, self.average_of, strict=True):
            parameter.copy_(value)

    def state(self) -> dict[str, Tensor]:
        """Averages and moments by name."""
        out = {f"ema.{i:04d}": value for i, value in enumerate(self.average_of)}
        for i, moments in self.optimiser.state_dict()["state"].items():
            out |= {f"adam.{i:04d}.{field}": torch.as_tensor(value) for field, value in moments.items()}
        return out | {"count": torch.tensor(self.count)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of :meth:`state`."""
        self.count = int(state["count"])
        self.average_of = [state[f"ema.{i:04d}"].clone() for i in range(len(self.parameters))]
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in state.items():
            if name.startswith("adam."):
                _, index, field = name.split(".")
                moments.setdefault(int(index), {})[field] = value
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": moments})


class _Losses:
    """Watches the loss and stops a run that has gone wrong."""

    def __init__(self, phase: str) -> None:
        self.phase = phase
        self.start: list[float] = []
        self.recent: deque[float] = deque(maxlen=_RECENT)

    def add(self, result: tuple[float, float], step: int) -> float:
        loss, norm = result
        where = f"{self.phase} step {step}"
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise WorldgateError("training diverged", got=f"loss {loss}, gradient {norm}", where=where, hint=_CALM)
        self.recent.append(loss)
        if len(self.start) < _RECENT:
            self.start.append(loss)
        begun = float(np.median(self.start))
        if len(self.recent) == _RECENT and np.median(self.recent) > begun + 5 * (abs(begun) + 1):
            got = f"loss {np.median(self.recent):.3g} after {begun:.3g} at the start"
            raise WorldgateError("training diverged", got=got, where=where, hint=_CALM)
        return loss


_CALM = "a lower learning rate; the newest snapshot is kept"


@contextmanager
def _stop_on_interrupt(run: _Run) -> Iterator[None]:
    """Turn Ctrl-C into a stop between two steps; only the main thread may catch signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(_signal: int, _frame: FrameType | None) -> None:
        run.stop = True

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _create(family: str, config: FamilyConfig, layout: Layout, episodes: Sequence[Episode]) -> Trainable:
    """An untrained model with resolved statistics; its first weights depend on the seed alone."""
    normaliser = fit_normaliser(make_tracks(episodes, dataclasses.replace(layout, cameras=())), layout)
    torch.manual_seed(config.loop.seed)
    return load_trainable(family).create(config, layout, normaliser)


def _data_digest(train: Sequence[Episode], held_out: Sequence[Episode]) -> str:
    return digest_json({"train": [e.id for e in train], "held_out": [e.id for e in held_out]})

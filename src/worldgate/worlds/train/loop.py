"""The one training loop: every family hands it phases, it runs them with AdamW, warm-up and cosine, clipping and EMA.

``train`` starts a run in an empty folder, ``resume`` goes on from its newest snapshot; a run of one process bounded by
steps gives the same losses to the bit whether or not it was interrupted. The folder holds ``config.json``,
``metrics.jsonl``, ``heartbeat.json``, ``cost.json``, ``snapshots/``, ``latest``, ``receipts/`` and ``samples/`` where a
phase has them, and in the end ``model/``, the checkpoint that ``checkpoint.load`` reads.

A step is made of as many batches as ``accumulate`` times the processes the run was started with. They are numbered, and
each number has its own random generator or part of the clips' order; so the samples of a step do not depend on how many
processes share its batches, and a run may go on with any number that divides them.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, TypeAlias, cast

import torch

from worldgate.core.atomic import atomic_dir, is_done, sync_dir, write_atomic
from worldgate.core.config import decode
from worldgate.core.digest import Json, canonical, digest_json, sha256
from worldgate.core.episodes import Episode
from worldgate.core.errors import AlreadyExists, Interrupted, NotFound, UsageError, WorldgateError
from worldgate.worlds import checkpoint
from worldgate.worlds.family import (
    FamilyConfig,
    Fed,
    Phase,
    Sampling,
    Telling,
    Trainable,
    load_trainable,
)
from worldgate.worlds.feed import Share
from worldgate.worlds.tracks import Layout, Track, fit_normaliser, make_tracks, resolve_layout, shuffle_actions
from worldgate.worlds.train import cost, parallel, snapshots
from worldgate.worlds.train.config import Clock
from worldgate.worlds.train.cost import Cost
from worldgate.worlds.train.guards import Alarms, Losses, spread_of
from worldgate.worlds.train.monitor import Monitor, Progress, Report
from worldgate.worlds.train.receipts import Receipts
from worldgate.worlds.train.steps import Learner, Steps, drawn

Announce: TypeAlias = Callable[[Cost], None]
"""Told what a training will cost, before it starts."""

_logger = logging.getLogger(__name__)


def train(
    family: str,
    episodes_train: Sequence[Episode],
    episodes_val: Sequence[Episode],
    config: FamilyConfig,
    run_dir: Path,
    progress: Report | None = None,
    *,
    dataset: str = "",
    announce: Announce | None = None,
) -> Path:
    """Train a family from scratch; every process that torchrun started calls this alike.

    Args:
        family: a name in the ``models`` or ``tokenizers`` seam.
        episodes_train: what it learns from, its normaliser included.
        episodes_val: held-out episodes for the figures printed beside the loss; may be empty.
        config: the family's configuration.
        run_dir: a folder that does not exist yet; its name is the run id.
        progress: called after every step.
        dataset: digest of the dataset, kept in the checkpoint.
        announce: if given, the cost is measured first, which takes a few steps of every phase.

    Returns:
        The checkpoint's folder, ``run_dir/model``.

    Raises:
        AlreadyExists: the run's folder exists.
        DataRefused: episodes that disagree on rate, width or unit.
        Interrupted: stopped by the user, with a snapshot written.
        WorldgateError: the loss diverged, or the disk is full.
    """
    ranks = parallel.current()
    if ranks.same(run_dir.exists()):
        raise AlreadyExists("this run exists", where=run_dir, hint=f"worldgate train --resume {run_dir.name}")
    if ranks.first:
        about = {"family": family, "config": dataclasses.asdict(cast(Any, config)), "dataset": dataset}
        with _room(run_dir):
            _found(run_dir, canonical(about | {"ranks": ranks.count}))
    ranks.wait()
    run = _Run(family, episodes_train, episodes_val, config, run_dir, progress, dataset=dataset, streams=ranks.count)
    if announce is not None:
        run.estimate(announce)
    return run.go(None)


def _found(run_dir: Path, about: bytes) -> None:
    """Make a run's folder with its configuration: never one without it, which nobody could train or resume."""
    run_dir.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=run_dir.parent, prefix=f".{run_dir.name}.", ignore_cleanup_errors=True) as made:
        partial = Path(made) / run_dir.name
        partial.mkdir()
        write_atomic(partial / "config.json", about)
        os.replace(partial, run_dir)
    sync_dir(run_dir.parent)


def resume(
    run_dir: Path,
    episodes_train: Sequence[Episode],
    episodes_val: Sequence[Episode],
    progress: Report | None = None,
) -> Path:
    """Go on with a run from its newest snapshot, or from the start if it has none; a finished run is returned as it is.

    Raises:
        NotFound: no such run.
        UsageError: other episodes than the run was started with, or processes that cannot share its batches.
        WeightsRefused: a snapshot that was changed.
    """
    if not (run_dir / "config.json").is_file():
        raise NotFound("no such run", got=run_dir.name, where=run_dir.parent)
    if is_done(run_dir / "model"):
        return run_dir / "model"
    about = json.loads((run_dir / "config.json").read_bytes())
    config = decode(load_trainable(about["family"]).Config, about["config"], where=str(run_dir / "config.json"))
    more = {"dataset": about["dataset"], "streams": int(about.get("ranks", 1))}
    run = _Run(about["family"], episodes_train, episodes_val, config, run_dir, progress, **more)
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
        *,
        dataset: str,
        streams: int,
    ) -> None:
        self.family_name, self.config, self.loop, self.run_dir = family, config, config.loop, run_dir
        self.dataset, self.streams, self.ranks = dataset, streams, parallel.current()
        if self.loop.threads:
            torch.set_num_threads(self.loop.threads)
        self.digests = {"code": code_digest(), "data": _data_digest(train, held_out)}
        self.episodes = (train, held_out)
        self.device = parallel.device_of(self.loop.device)
        self.cost = cost.kept(run_dir)
        self.monitor = Monitor(run_dir, report if self.ranks.first else None)
        self.alarms = Alarms()
        self.clock = time.process_time if self.loop.clock is Clock.PROCESS else time.monotonic
        self.before, self.begun = 0.0, self.clock()
        self.stop = False

    @property
    def seconds(self) -> float:
        """Training time used so far by the configured clock, over all processes of this run one after the other."""
        return self.before + self.clock() - self.begun

    @cached_property
    def tracks(self) -> tuple[Layout, list[Track], list[Track]]:
        """What is learned from and judged on; read once, for a rehearsal and the run."""
        train, held_out = self.episodes
        layout = resolve_layout(train, self.config.inputs)
        tracks = make_tracks(train, layout)
        if self.loop.shuffle_actions:
            tracks = shuffle_actions(tracks, self.loop.seed)
        return layout, tracks, make_tracks(held_out, layout)

    def make(self) -> tuple[Learner, list[Phase]]:
        """The untrained model and its phases; the same each time."""
        layout, tracks, unseen = self.tracks
        model = _create(self.family_name, self.config, layout, self.episodes[0])
        phases = model.phases(tracks, unseen)
        return Learner(model, self.loop, self.device, self.ranks), phases

    def estimate(self, announce: Announce) -> None:
        """Measure what is to come, say it, and keep it beside the run."""
        self.cost = cost.rehearse(self.make, self.loop, self.ranks, self.streams)
        if self.ranks.first:
            cost.keep(self.run_dir, self.cost)
            announce(self.cost)

    def go(self, snapshot: snapshots.Snapshot | None) -> Path:
        self.learner, self.phases = self.make()
        self.begun = self.clock()
        if snapshot is not None:
            self._refuse(snapshot)
            self.before = snapshot.seconds
        with _stop_on_interrupt(self), _room(self.run_dir):
            for index, phase in enumerate(self.phases):
                if snapshot is None or index >= snapshot.phase:
                    mine = snapshot if snapshot is not None and index == snapshot.phase else None
                    self._phase(index, phase, mine)
            return self._save()

    def _refuse(self, snapshot: snapshots.Snapshot) -> None:
        if snapshot.digests["data"] != self.digests["data"]:
            raise UsageError(
                "a run resumes with the episodes it was started with",
                got=self.digests["data"][:12],
                where=self.run_dir / "latest",
                hint="start a new run for other data",
            )
        if snapshot.digests["code"] != self.digests["code"]:
            now, then = self.digests["code"][:12], snapshot.digests["code"][:12]
            _logger.warning("the code has changed since this run's snapshot: %s, not %s; losses may differ", now, then)
            self.digests["code_before"] = snapshot.digests["code"]

    # ---------------------------------------------------------------- a phase

    def _phase(self, index: int, phase: Phase, snapshot: snapshots.Snapshot | None) -> None:
        if snapshot is not None:
            self.learner.load(snapshot.weights)
        self.learner.settle(phase)
        with self.learner.whole():
            phase.prepare()
        if not phase.parameters():
            self._fitted(index, phase)
            return
        work = _Work(self, index, phase)
        try:
            if snapshot is None:
                work.begin()
            else:
                work.restore(snapshot)
            work.run()
        finally:
            work.end()
        work.steps.average()
        self.learner.settle(phase)
        with self.learner.whole():
            phase.finish()
        self.learner.release()

    def _fitted(self, index: int, phase: Phase) -> None:
        """A phase that its preparation fitted whole, as quantiles are; it is simply done again on resume."""
        note = Progress(phase=phase.name, step=0, steps=0, loss=0.0, rate=0.0, eta_s=0.0, facts=phase.evaluate())
        if self.ranks.first:
            self.monitor.rewind(index, -1)
            self.monitor.step(index, note, force=True)
        phase.finish()

    def _save(self) -> Path:
        about: dict[str, Json] = {
            "dataset": self.dataset,
            "run": self.run_dir.name,
            "seconds": round(self.seconds, 1),
            "processes": self.streams,
            **dict(self.digests),
        }
        self.learner.come_home()
        folder, weights = self.run_dir / "model", self.learner.weights()
        if self.ranks.first:
            model = cast(Trainable, self.learner.model)
            if self.learner.sharded:
                layout = resolve_layout(self.episodes[0], self.config.inputs)
                model = _create(self.family_name, self.config, layout, self.episodes[0])
                model.load_state_dict(weights)
            checkpoint.save(folder, self.family_name, self.config, model, about)
        self.ranks.wait()
        return folder


class _Work:
    """A phase of a run while it takes steps."""

    def __init__(self, run: _Run, index: int, phase: Phase) -> None:
        self.run_of, self.index, self.phase = run, index, phase
        self.learner, self.ranks, self.monitor = run.learner, run.ranks, run.monitor
        in_all = phase.config.accumulate * run.streams
        if in_all % self.ranks.count:
            got, hint = f"{in_all} batches a step for {self.ranks.count}", f"torchrun --nproc-per-node {run.streams}"
            raise UsageError("processes that cannot share this run's batches", got=got, hint=hint)
        self.batches = in_all // self.ranks.count
        numbers = range(self.ranks.rank * self.batches, (self.ranks.rank + 1) * self.batches)
        seed = run.loop.seed * 1000 + index
        self.generators = [snapshots.generator(seed, number) for number in numbers]
        self.learner.leave_home()
        self.steps = Steps(phase, self.learner)
        self.receipts: Receipts | None = None
        if isinstance(phase, Fed):
            share = Share(
                rank=self.ranks.rank,
                ranks=self.ranks.count,
                batches=self.batches,
                seed=seed,
                workers=run.loop.workers,
            )
            phase.feed.open(share)
            if self.ranks.first:
                self.receipts = Receipts(run.run_dir, index, phase.feed.table, in_all * phase.config.batch)
        self.first, self.began = 0, run.seconds

    def begin(self) -> None:
        """From the first step on."""
        if self.receipts is not None:
            self.receipts.rewind(0)
        if self.ranks.first:
            self.monitor.rewind(self.index, 0)
        self._snapshot(0)

    def restore(self, snapshot: snapshots.Snapshot) -> None:
        """From a snapshot on; what was written after it is forgotten."""
        self.learner.load(snapshot.weights)
        self.steps.restore(snapshot.optimiser)
        first = self.ranks.rank * self.batches
        for rng, state in zip(self.generators, snapshot.rng[first : first + self.batches], strict=True):
            rng.bit_generator.state = state
        if isinstance(self.phase, Fed):
            self.phase.feed.restore(snapshot.feed)
        if self.receipts is not None:
            self.receipts.rewind(snapshot.step)
        if self.ranks.first:
            self.monitor.rewind(self.index, snapshot.step)
        self.first, self.began = snapshot.step, snapshot.began

    def end(self) -> None:
        """Let go of processes that read."""
        if isinstance(self.phase, Fed):
            self.phase.feed.close()

    def run(self) -> None:
        """All steps that are left."""
        run, phase, loop = self.run_of, self.phase, self.run_of.loop
        length, losses = phase.config.steps, Losses(phase.name)
        begun, draw, place = time.monotonic(), drawn(phase, self.generators), self._place(self.first)
        for step in range(self.first, length):
            if place >= 1:
                return
            loss, norm = self.steps.step(draw, self.batches, place)
            mean, stop = self.ranks.mean([loss, float(run.stop)])
            losses.add(mean, norm, step)
            done, numbers = step + 1, self._taken()
            place = self._place(done)
            last = done == length or place >= 1
            facts = self._evaluate(done) if done % loop.evaluate_every == 0 or last else {}
            rate = (done - self.first) / max(time.monotonic() - begun, 1e-9)
            left = min((length - done) / rate, max(0.0, 1 - place) / max(place, 1e-9) * (time.monotonic() - begun))
            note = Progress(
                phase=phase.name,
                step=done,
                steps=length,
                loss=mean,
                rate=rate,
                eta_s=left,
                facts=facts,
                numbers=numbers | self._speed(rate),
                alarms=run.alarms.read(facts) if facts else (),
            )
            self._say(note, force=last)
            self._keep(done, stop > 0)

    def _say(self, note: Progress, *, force: bool) -> None:
        for alarm in note.alarms:
            _logger.warning("%s step %d: %s", note.phase, note.step, alarm)
        if self.ranks.first:
            self.monitor.step(self.index, note, force=force)

    def _keep(self, done: int, stop: bool) -> None:
        """A snapshot where one is due; and the end, where somebody asked for it."""
        stop = stop or (self.ranks.count == 1 and self.run_of.stop)
        if stop or done % self.run_of.loop.checkpoint_every == 0:
            self._snapshot(done)
        if stop:
            hint = f"worldgate train --resume {self.run_of.run_dir.name}"
            where = f"{self.phase.name} step {done} of {self.phase.config.steps}"
            raise Interrupted("training stopped", where=where, hint=hint)

    def _place(self, step: int) -> float:
        """How far through its phase a step is, by steps or by time, whichever is further."""
        config, budget = self.phase.config, self.run_of.loop.max_seconds
        if not budget:
            return step / config.steps
        share = config.share / sum(p.config.share for p in self.run_of.phases if p.parameters())
        spent = (self.run_of.seconds - self.began) / (share * budget)
        return self.ranks.same(max(step / config.steps, spent))

    def _taken(self) -> dict[str, float]:
        """Keep the receipts of the step; the largest skew of its samples."""
        if self.receipts is None or not isinstance(self.phase, Fed):
            return {}
        taken = self.phase.feed.receipts()
        self.receipts.add(taken)
        return {"max_skew_ms": self.phase.feed.skew_ms(taken)}

    def _speed(self, rate: float) -> dict[str, float]:
        if self.learner.device.type != "cuda":
            return {}
        known = self.run_of.cost.phases if self.run_of.cost is not None else ()
        flops = next((phase.flops for phase in known if phase.phase == self.phase.name), 0.0)
        mfu = cost.utilisation(flops, rate, self.learner.device)
        memory = {"memory_gb": cost.peak_bytes(self.learner.device) / 1e9}
        return memory if mfu is None else memory | {"mfu": mfu}

    def _evaluate(self, done: int) -> dict[str, float]:
        """Figures on averaged weights, and samples beside them; all processes together where each holds a part."""
        if not (self.ranks.first or self.learner.sharded):
            return {}
        phase = self.phase
        self.learner.settle(phase)
        with self.steps.averaged(), torch.no_grad():
            facts = phase.evaluate()
            latents = phase.latents() if isinstance(phase, Telling) else None
            if latents is not None:
                facts |= spread_of(latents)
            if isinstance(phase, Sampling):
                self._sample(phase, done)
        self.learner.leave_home()
        return facts

    def _sample(self, phase: Sampling, done: int) -> None:
        """Keep samples once; where each process holds a part all of them go through it, and the first one writes."""
        folder = self.run_of.run_dir / "samples" / f"phase-{self.index}-step-{done:06d}"
        wanted = self.ranks.first and not folder.exists()
        with atomic_dir(folder) if wanted else TemporaryDirectory() as partial:
            phase.sample(Path(partial))

    def _snapshot(self, step: int) -> None:
        states = [cast(dict[str, Any], rng.bit_generator.state) for rng in self.generators]
        snapshot = snapshots.Snapshot(
            phase=self.index,
            step=step,
            seconds=self.run_of.seconds,
            began=self.began,
            weights=self.learner.weights(),
            optimiser=self.steps.state(),
            rng=tuple(state for part in self.ranks.all(states) for state in part),
            digests=self.run_of.digests,
            feed=self.phase.feed.state() if isinstance(self.phase, Fed) else {},
        )
        if self.ranks.first:
            if self.receipts is not None:
                self.receipts.sync()
            snapshots.save(self.run_of.run_dir, snapshot)


@contextmanager
def _room(run_dir: Path) -> Iterator[None]:
    """Say what to do where a disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise
        hint = f"free some space, then worldgate train --resume {run_dir.name}; the snapshot before is whole"
        raise WorldgateError("no room for a training run's files", got=str(error), where=run_dir, hint=hint) from error


@contextmanager
def _stop_on_interrupt(run: _Run) -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM into a stop between two steps; only the main thread may catch signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(_signal: int, _frame: FrameType | None) -> None:
        run.stop = True

    kinds = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(kind, ask) for kind in kinds]
    try:
        yield
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)


def _create(family: str, config: FamilyConfig, layout: Layout, episodes: Sequence[Episode]) -> Trainable:
    """An untrained model with resolved statistics; its first weights depend on the seed alone."""
    normaliser = fit_normaliser(make_tracks(episodes, dataclasses.replace(layout, cameras=())), layout)
    torch.manual_seed(config.loop.seed)
    return load_trainable(family).create(config, layout, normaliser)


def _data_digest(train: Sequence[Episode], held_out: Sequence[Episode]) -> str:
    return digest_json({"train": [e.id for e in train], "held_out": [e.id for e in held_out]})

"""Evaluate a world model: windows, contenders, chunks, measures.

Each window of a held-out episode is rolled out chunk by chunk: the model under the recorded actions, and again under
the actions of a training stretch that began alike; the last row held and constant velocity stand beside it. Measures
see each chunk once. Episodes are read one at a time.

Shape legend: B samples, K steps of a chunk, T rows, D state channels, A action channels.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from worldgate.core import seams
from worldgate.core.episodes import Episode
from worldgate.core.errors import DataRefused, UsageError
from worldgate.core.progress import Progress, silent
from worldgate.core.streams import BoolArray, FloatArray, Kind
from worldgate.core.worlds import Capability, Frame, ModelSpec, Unrolling, WorldModel, rollout
from worldgate.data import clips
from worldgate.evidence.baselines import hold_last, wrap
from worldgate.evidence.evaluation import situations
from worldgate.evidence.evaluation.donors import Donors
from worldgate.evidence.evaluation.measures import (
    Chunk,
    ClipExtractor,
    EvaluateConfig,
    FeatureExtractor,
    Measure,
    NotMeasured,
    Reading,
    Setup,
    Window,
)
from worldgate.evidence.evaluation.pointwise import Pointwise
from worldgate.evidence.evaluation.readouts import Pooled
from worldgate.evidence.evaluation.references import References
from worldgate.evidence.evaluation.report import Evaluation, Facts, assemble
from worldgate.evidence.evaluation.sums import Table
from worldgate.evidence.evaluation.truth import Truth
from worldgate.evidence.windows import FrameReader, Tracks, circular, read_tracks


def evaluate(
    model: WorldModel,
    episodes: Sequence[Episode],
    config: EvaluateConfig | None = None,
    *,
    references: Sequence[Episode] = (),
    features: FeatureExtractor | None = None,
    clip_features: ClipExtractor | None = None,
    dataset: str = "",
    progress: Progress = silent,
    read_frames: FrameReader = clips.pictures,
    sums: Table | None = None,
) -> Evaluation:
    """Measure a world model on held-out episodes.

    Args:
        model: anything that fulfils the protocol.
        episodes: held out from its training; all of one origin.
        config: horizons, windows, samples, measures.
        references: real episodes of its training split, which read-outs, scales and foreign actions come from; without
            them scales come from ``episodes`` and what needs a read-out is not measured.
        features: of pictures, for distances between distributions; by default pooled pixels, nothing is downloaded.
        clip_features: of clips, for the Frechet distance of videos; without, that is not measured.
        dataset: digest of the dataset.
        progress: called after each episode.
        read_frames: how pictures of a camera are read.
        sums: an empty table to fill with the sums of every episode, for whoever compares two models on the same
            windows; episodes are numbered as given.

    Raises:
        UsageError: no episode, an unknown measure, or a horizon that no episode reaches.
        DataRefused: episodes of several origins, one given twice or also a reference, or that do not fit the model.
    """
    config = config or EvaluateConfig()
    spec = model.spec
    _refuse(spec, episodes, references)
    horizons = _horizons(config, spec, episodes)
    wide = _wide(spec, (*episodes, *references))
    held = References(references or episodes, wide, read_frames, config.references)
    run = _Run(model, config, horizons, held, features or Pooled(), bool(references), episodes[0], clip_features)
    if sums is not None:
        run.table = sums
    begun = time.perf_counter()
    for number, episode in enumerate(episodes):
        run.episode(number, read_tracks(episode, wide, read_frames))
        progress(number + 1, len(episodes), episode.name)
    seconds = time.perf_counter() - begun
    facts = Facts(
        spec=spec,
        origin=episodes[0].origin,
        dataset=dataset or spec.dataset,
        config=config,
        horizons=horizons,
        samples=run.setup.samples,
        episodes=tuple(e.id for e in episodes),
        references=len(references),
        windows=run.windows,
        skipped=run.skipped,
        nonfinite=run.nonfinite,
        features=run.setup.features.name,
        not_measured=run.not_measured,
        rollout_steps=run.steps,
        rollout_seconds=round(run.rolling_s, 3),
        seconds=round(seconds, 3),
        situations=run.situations,
    )
    return assemble(facts, run.table, run.measures)


def _refuse(spec: ModelSpec, episodes: Sequence[Episode], references: Sequence[Episode]) -> None:
    if not episodes:
        raise UsageError("an evaluation needs held-out episodes", got=0, hint="worldgate snapshot with a val split")
    if not spec.states and not spec.cameras:
        raise UsageError("this model predicts neither states nor frames", got=spec.family)
    origins = {e.origin for e in (*episodes, *references)}
    if len(origins) > 1:
        raise DataRefused("real, simulated and imagined episodes never mix", got=", ".join(sorted(origins)))
    ids = [e.id for e in episodes]
    if len(set(ids)) < len(ids):
        raise DataRefused("an episode given twice", got=len(ids), hint="it would count as two")
    if set(ids) & {e.id for e in references}:
        raise DataRefused("an episode is held out and a reference at once", hint="read-outs would know their answers")


def _wide(spec: ModelSpec, episodes: Sequence[Episode]) -> ModelSpec:
    """With what a model reads out among its states, where every episode holds what it should be."""
    names = {s.name for s in spec.states}
    extra = [s for s in spec.reads if s.name not in names]
    known = [s for s in extra if all(s.name in e.streams for e in episodes)]
    return replace(spec, states=(*spec.states, *known))


def _channel_by_channel(wide: ModelSpec, spec: ModelSpec) -> ModelSpec:
    """Without the poses that a model reads out: a quaternion's error is not that of its numbers one by one."""
    own = {s.name for s in spec.states}
    return replace(wide, states=tuple(s for s in wide.states if s.kind is not Kind.POSE or s.name in own))


def _poses(wide: ModelSpec, first: Episode) -> tuple[str, ...]:
    return tuple(
        s.name
        for s in wide.states
        if s.shape == (7,) and Kind.POSE in {s.kind, *(r.info.kind for n, r in first.streams.items() if n == s.name)}
    )


def _horizons(config: EvaluateConfig, spec: ModelSpec, episodes: Sequence[Episode]) -> tuple[int, ...]:
    """Steps, rising; the default ones as far as the median episode reaches."""
    reach = int(np.median([len(e) for e in episodes])) - max(spec.context, 2)
    wanted = config.horizons or tuple(max(1, round(s * spec.rate_hz)) for s in (1e-9, 0.5, 1.0, 2.0))
    kept = sorted({h for h in wanted if config.horizons or h <= reach})
    if not kept or all(len(e) - max(spec.context, 2) < kept[-1] for e in episodes):
        longest = max(len(e) for e in episodes) - max(spec.context, 2)
        raise UsageError(
            "no episode is long enough for this horizon", got=f"{max(wanted)} steps", hint=f"at most {longest}"
        )
    return tuple(kept)


def _measures(names: Sequence[str], setup: Setup) -> tuple[list[Measure], dict[str, str]]:
    """The measures that can be taken here, and why the others cannot."""
    made: list[Measure] = []
    refused: dict[str, str] = {}
    for name in names or [n for n in seams.cards("metrics") if setup.config.weights or n != "video_lpips"]:
        module = seams.load("metrics", name)
        try:
            made.append(module.build(setup) if hasattr(module, "build") else Pointwise(name, module, setup))
        except NotMeasured as reason:
            refused[name] = str(reason)
    if not names and not setup.config.weights:
        refused["video_lpips"] = "needs weights: --set weights=FILE.safetensors"
    return made, refused


class _Run:
    """The state of one evaluation."""

    def __init__(
        self,
        model: WorldModel,
        config: EvaluateConfig,
        horizons: tuple[int, ...],
        references: References,
        features: FeatureExtractor,
        fitted: bool,
        first: Episode,
        clip_features: ClipExtractor | None,
    ) -> None:
        self.model, self.config = model, config
        self.table = Table()
        self.windows = self.skipped = self.nonfinite = self.steps = 0
        self.rolling_s = 0.0
        self.situations: dict[str, int] = {}
        wide = references.spec
        spec = _channel_by_channel(wide, model.spec)
        self.scales = {s.name: references.scale(s.name, s.unit) for s in spec.states}
        self.circular: dict[str, BoolArray] = {
            s.name: np.asarray(
                circular([t.states[s.name] for t in references.tracks], s.unit if "," not in s.unit else "")
            )
            | self.scales[s.name].circular
            for s in spec.states
        }
        self.donors = None
        if fitted and config.other_actions and spec.action is not None and spec.action.shape != (0,):
            self.donors = Donors(references, self.scales, horizons[-1])
        self.setup = Setup(
            spec=spec,
            read_out=frozenset(s.name for s in spec.states) - {s.name for s in model.spec.states},
            capabilities=model.capabilities,
            config=config,
            horizons=horizons,
            samples=_samples(model, references, config),
            references=references,
            fitted=fitted,
            features=features,
            clip_features=clip_features,
            poses=_poses(wide, first),
            streams=first.streams,
            scales=self.scales,
            circular=self.circular,
        )
        self.measures, self.not_measured = _measures(config.measures, self.setup)

    def episode(self, number: int, tracks: Tracks) -> None:
        """All windows of one episode, and some more where something special happens."""
        spec, steps = self.model.spec, self.setup.horizons[-1]
        starts, skipped = tracks.starts(spec, steps, self.config.windows)
        self.skipped += skipped
        truth = Truth(tracks.episode)
        extra = situations.places(truth, tracks.windows(spec, steps), steps, spec.rate_hz, self.config)
        for start in (*starts, *sorted(extra - set(starts))):
            seed = self.config.seed + 1000 * number + start
            window = Window(
                model=self.model,
                tracks=tracks,
                truth=truth,
                start=start,
                steps=steps,
                seed=seed,
                episode=number,
                circular=self.circular,
                scales=self.scales,
                donor=self.donors.pick(tracks, start) if self.donors is not None and start in starts else None,
            )
            self._window(number, window, everyday=start in starts)
        self.windows += len(starts)

    def _window(self, number: int, window: Window, *, everyday: bool) -> None:
        masks = situations.find(window.truth, window.start, window.steps, self.model.spec.rate_hz, self.config)
        for name in masks:
            self.situations[name] = self.situations.get(name, 0) + 1
        measures = [m for m in self.measures if everyday or not hasattr(m, "conclude")]
        watchers = [measure.watch(window) for measure in measures]
        finite = True
        for chunk in self._chunks(window):
            finite &= all(np.isfinite(v).all() for v in chunk.views["model"].states.values())
            for watcher in watchers:
                self._take(number, watcher.see(chunk), masks, everyday=everyday)
        for watcher in watchers:
            self._take(number, watcher.close(), masks, everyday=everyday)
        self.nonfinite += everyday and not finite

    def _take(
        self, number: int, readings: Sequence[Reading], masks: Mapping[str, BoolArray], *, everyday: bool
    ) -> None:
        for reading in readings:
            values = np.asarray(reading.sums, np.float64)
            holds = [name for name, mask in masks.items() if (mask[reading.step - 1] if reading.step else mask.any())]
            for situation in (*([""] if everyday else []), *holds):
                self.table.add((reading.figure, situation, reading.step, reading.contender), number, values)

    def _chunks(self, window: Window) -> Iterator[Chunk]:
        rolled = {"model": _Rolled.open(window, self.setup.samples)}
        actions = window.tracks.actions
        if window.donor is not None:
            rolled["other"] = _Rolled.open(window, self.setup.samples)
        if self.setup.samples > 1 and Capability.UNCERTAINTY in self.setup.capabilities:
            rolled["point"] = _Rolled.open(window, 1)
        baselines = _Baselines(window)
        for first in range(0, window.steps, self.config.chunk):
            size = min(self.config.chunk, window.steps - first)
            row = window.start + first
            own = np.zeros((size, 0), np.float32) if actions is None else actions[row : row + size]
            begun = time.perf_counter()
            views = {"model": rolled["model"].step(own)}
            if window.donor is not None:
                views["other"] = rolled["other"].step(window.donor.actions[first : first + size])
            views["point"] = rolled["point"].step(own) if "point" in rolled else views["model"]
            self.steps += size * len(rolled)
            self.rolling_s += time.perf_counter() - begun
            views |= baselines.views(first, size)
            yield Chunk(first=first, actions=np.asarray(own, np.float64), views=views)


@dataclass(slots=True)
class _Rolled:
    """An unrolling of one window, advanced by chunks."""

    unrolling: Unrolling
    spec: ModelSpec
    samples: int
    where: str

    @classmethod
    def open(cls, window: Window, samples: int) -> _Rolled:
        spec = window.model.spec
        opened = window.model.open(window.tracks.prompt(spec, window.start), samples=samples, seed=window.seed)
        return cls(opened, spec, samples, window.tracks.episode.name)

    def step(self, actions_KA: FloatArray) -> Frame:
        """Advance K steps.

        Raises:
            DataRefused: a prediction that lacks a stream of the spec, or of another shape.
        """
        driven = np.broadcast_to(np.asarray(actions_KA, np.float32), (self.samples, *actions_KA.shape))
        frame = self.unrolling.step(driven)
        for signal, held in [
            *((s, frame.states) for s in (*self.spec.states, *self.spec.reads)),
            *((c, frame.frames) for c in self.spec.cameras),
        ]:
            wanted = (self.samples, len(actions_KA), *signal.shape)
            got = np.shape(held[signal.name]) if signal.name in held else None
            if got != wanted and not (got and not signal.shape and got[:2] == wanted[:2]):
                raise DataRefused(
                    "a prediction that does not fit the model's spec",
                    got=f"{signal.name} {got}, spec {wanted}",
                    where=self.where,
                )
        return frame


@dataclass(slots=True)
class _Baselines:
    """What really happened, the last row held, and constant velocity."""

    window: Window

    def views(self, first: int, size: int) -> dict[str, Frame]:
        """(1, K, ...) each."""
        window, tracks = self.window, self.window.tracks
        rows = slice(window.start + first + 1, window.start + first + 1 + size)
        real = {name: np.asarray(values[rows], np.float64)[None] for name, values in tracks.states.items()}
        hold = {name: hold_last(window.known(name)[-1], size)[None] for name in real}
        straight = {name: self._straight(name, first, size) for name in real if name in window.circular}
        frames: dict[str, Any] = {name: values[rows][None] for name, values in tracks.frames.items()}
        last: dict[str, Any] = {name: hold_last(window.known_frames(name)[-1], size)[None] for name in frames}
        return {
            "real": Frame(states=real, frames=frames),
            "hold": Frame(states=hold, frames=last),
            "velocity": Frame(states=straight),
        }

    def _straight(self, name: str, first: int, size: int) -> FloatArray:
        before, last = self.window.known(name)
        speed = wrap(last - before, self.window.circular[name])
        return np.asarray(last + np.arange(first + 1, first + 1 + size)[:, None] * speed)[None]


def _samples(model: WorldModel, references: References, config: EvaluateConfig) -> int:
    """How many futures to ask for: one, where a model's futures do not differ or it gives only one."""
    if config.samples == 1:
        return 1
    for tracks in references.tracks:
        starts, _ = tracks.starts(model.spec, 4, 1)
        if not starts:
            continue
        actions = tracks.actions
        driven = np.zeros((4, 0), np.float32) if actions is None else actions[starts[0] : starts[0] + 4]
        try:
            frame = rollout(model, tracks.prompt(model.spec, starts[0]), driven, samples=2, seed=config.seed).frame
        except UsageError:
            return 1
        held = [*frame.states.values(), *frame.frames.values()]
        return config.samples if any(not np.array_equal(v[0], v[1], equal_nan=v.dtype.kind == "f") for v in held) else 1
    return config.samples

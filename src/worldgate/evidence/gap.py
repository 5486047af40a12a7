"""The gap: a world model's imagination against held-out real telemetry, per horizon and signal.

Windows are cut from held-out episodes and rolled out twice through :func:`worldgate.core.worlds.rollout`: under the
recorded actions, and, as a control, under the actions of a window of another episode. Beside the model stand the last
row held and constant velocity, judged on the same windows. The result is a table by episode; bounds are computed from
it in :mod:`worldgate.evidence.gap_bounds`.

Shape legend: B samples, K steps ahead, D state channels, A action channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from worldgate.core import seams
from worldgate.core.episodes import Episode
from worldgate.core.errors import DataRefused, UsageError
from worldgate.core.streams import Array, FloatArray, Kind
from worldgate.core.worlds import ModelSpec, Rollout, WorldModel, rollout
from worldgate.data import clips
from worldgate.evidence.baselines import constant_velocity, hold_last, wrap
from worldgate.evidence.bootstrap import draws
from worldgate.evidence.gap_report import Curve, EpisodeGap, Errors, GapConfig, GapReport, SignalInfo
from worldgate.evidence.measured import Measured
from worldgate.evidence.metrics import state_rms
from worldgate.evidence.windows import FrameReader, Tracks, circular, read_tracks

_METRICS = {Kind.DEPTH: ("depth_abs_rel",), Kind.SEGMENTATION: ("class_error",)}
"""Entries of the seam for pictures that are not colour."""

Progress = Callable[[int, int], None]
"""(episodes done, episodes in all)."""


def gap(
    model: WorldModel,
    episodes: Sequence[Episode],
    config: GapConfig | None = None,
    progress: Progress | None = None,
    *,
    donors: Sequence[Episode] = (),
    dataset: str = "",
    predictions: str = "",
    read_frames: FrameReader = clips.pictures,
) -> GapReport:
    """Compare a model with held-out episodes.

    Args:
        model: anything that fulfils the protocol.
        episodes: held out from its training; all of one origin.
        config: how windows are cut.
        progress: called after each episode.
        donors: episodes that lend their actions to the control; by default the others among ``episodes``.
        dataset: digest of the dataset the episodes come from.
        predictions: digest of the manifest, where the model is a folder of predictions.
        read_frames: how frames of a camera are read and resized.

    Raises:
        UsageError: no episode, or a model that predicts neither states nor frames.
        DataRefused: episodes of several origins, or that do not fit the model's rate, widths, units or channel names.
    """
    config = config or GapConfig()
    spec = model.spec
    _refuse(spec, episodes, config)
    steps = max(1, round(config.horizon_s * spec.rate_hz))
    signals = _signals(spec, episodes, config)
    lent: list[Tracks] = []
    if config.control and spec.action is not None:
        lent = [read_tracks(e, _actions_only(spec), read_frames) for e in donors or episodes]
    rows: list[EpisodeGap] = []
    for number, episode in enumerate(episodes):
        others = [t for t in lent if t.episode.id != episode.id]
        control = _Control.among(others or lent, steps) if lent else None
        tracks = read_tracks(episode, spec, read_frames)
        rows.append(_judge(model, tracks, signals, config, steps, control))
        if progress is not None:
            progress(number + 1, len(episodes))
    return GapReport(
        subject=spec.digest,
        spec=spec,
        origin=episodes[0].origin,
        dataset=dataset or spec.dataset,
        predictions=predictions,
        rate_hz=spec.rate_hz,
        steps=steps,
        config=config,
        signals=signals,
        episodes=tuple(rows),
    )


def _refuse(spec: ModelSpec, episodes: Sequence[Episode], config: GapConfig) -> None:
    if not episodes:
        raise UsageError("a gap needs held-out episodes", got=0, hint="worldgate snapshot with a test split")
    if not spec.states and not spec.cameras:
        raise UsageError("this model predicts neither states nor frames", got=spec.family)
    origins = {e.origin for e in episodes}
    if len(origins) > 1:
        raise DataRefused("real, simulated and imagined episodes never mix", got=", ".join(sorted(origins)))
    if len({e.id for e in episodes}) < len(episodes):
        raise DataRefused("an episode given twice", got=len(episodes), hint="it would count as two")
    if config.windows < 1 or config.samples < 1 or not config.horizon_s > 0:
        raise UsageError("a gap needs a horizon, windows and samples above 0", got=config)


def _actions_only(spec: ModelSpec) -> ModelSpec:
    return ModelSpec(
        family=spec.family,
        digest=spec.digest,
        normaliser=spec.normaliser,
        rate_hz=spec.rate_hz,
        context=spec.context,
        action=spec.action,
    )


def _signals(spec: ModelSpec, episodes: Sequence[Episode], config: GapConfig) -> tuple[SignalInfo, ...]:
    out: list[SignalInfo] = []
    for state in spec.states:
        values = [e.array(state.name).reshape(len(e), -1) for e in episodes if state.name in e.streams]
        if not values:
            continue  # read_tracks names the stream that is missing
        width = values[0].shape[1]
        unit = state.unit or episodes[0].streams[state.name].info.unit
        units = [u.strip() for u in unit.split(",")] if "," in unit else [unit] * width
        if len(units) != width:
            raise DataRefused("as many units as channels are needed", got=f"{len(units)} for {width}", where=state.name)
        for each in dict.fromkeys(units):
            channels = tuple(c for c in range(width) if units[c] == each)
            name = state.name if len(set(units)) == 1 else f"{state.name}[{each or '1'}]"
            turning = circular([v[:, channels] for v in values if v.shape[1] == width], each)
            out.append(
                SignalInfo(
                    name=name,
                    stream=state.name,
                    metric="state_rms",
                    unit=each,
                    better="lower",
                    channels=channels,
                    circular=turning,
                    epsilon=config.epsilon.get(name),
                )
            )
    for camera in spec.cameras:
        for metric in _METRICS.get(camera.kind, config.video_metrics):
            module = seams.load("metrics", metric)
            if not hasattr(module, "measure"):
                raise UsageError("this metric needs more than one window", got=metric, hint="worldgate world evaluate")
            name = f"{camera.name}/{metric}"
            out.append(
                SignalInfo(
                    name=name,
                    stream=camera.name,
                    metric=metric,
                    unit=module.UNIT,
                    better=module.BETTER,
                    epsilon=config.epsilon.get(name),
                )
            )
    unknown = sorted(set(config.epsilon) - {s.name for s in out})
    if unknown:
        raise UsageError("epsilon for a signal that is not judged", got=unknown[0], hint=", ".join(s.name for s in out))
    return tuple(out)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Control:
    """Foreign actions: stretches of other episodes, or of the same one where there is no other."""

    places: Sequence[tuple[Tracks, int]]
    steps: int

    @classmethod
    def among(cls, pool: Sequence[Tracks], steps: int) -> _Control:
        """Every good stretch of the pool."""
        found: list[tuple[Tracks, int]] = []
        for tracks in pool:
            bad = np.concatenate([[0], np.cumsum(~tracks.good)])
            if len(bad) > steps:
                found += [(tracks, int(t)) for t in np.flatnonzero(bad[steps:] == bad[:-steps])]
        return cls(places=found, steps=steps)

    def actions(self, own: tuple[str, int], seed: int) -> FloatArray | None:
        """(K, A) of a random stretch that does not overlap the window's own; ``None`` where 64 draws find none."""
        for pick in draws(seed, 64, len(self.places)) if self.places else ():
            tracks, t = self.places[pick]
            if tracks.episode.id != own[0] or abs(t - own[1]) >= self.steps:
                assert tracks.actions is not None
                actions: FloatArray = tracks.actions[t : t + self.steps]
                return actions
        return None


@dataclass(slots=True)
class _Tally:
    """Errors of one signal while windows of an episode come in."""

    info: SignalInfo
    steps: int
    pooled: dict[str, Measured] = field(default_factory=dict)
    measured: FloatArray = field(default_factory=lambda: np.zeros(0))
    within: FloatArray = field(default_factory=lambda: np.zeros(0))
    nonfinite: int = 0
    broken: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.measured, self.within = np.zeros(self.steps), np.zeros(self.steps)

    def add(self, contender: str, measured: Measured) -> None:
        """Pool one window."""
        finite = bool(np.isfinite(measured.error[measured.weight > 0]).all())
        if contender == "model":
            self._count(measured, finite)
        if not finite:
            self.broken.add(contender)
        elif contender in self.pooled:
            self.pooled[contender] = self.pooled[contender].pooled_with(measured)
        else:
            self.pooled[contender] = measured

    def _count(self, measured: Measured, finite: bool) -> None:
        there = measured.weight > 0
        self.measured += there
        self.nonfinite += not finite
        if self.info.epsilon is not None:
            bad = there & ~(measured.error <= self.info.epsilon)  # a NaN is never within
            self.within += there & ~np.logical_or.accumulate(bad)

    def errors(self, *, control: bool) -> Errors:
        """The row of the table."""
        has_velocity = "velocity" in self.pooled
        return Errors(
            model=self._curve("model"),
            hold=self._curve("hold"),
            velocity=self._curve("velocity") if has_velocity else (),
            shuffled=self._curve("shuffled") if control else (),
            measured=tuple(int(v) for v in self.measured),
            within=tuple(int(v) for v in self.within) if self.info.epsilon is not None else (),
            nonfinite=self.nonfinite,
        )

    def _curve(self, contender: str) -> Curve:
        pooled = self.pooled.get(contender)
        if pooled is None or contender in self.broken:
            return (None,) * self.steps
        return tuple(float(e) if w > 0 else None for e, w in zip(pooled.error, pooled.weight, strict=True))


def _judge(
    model: WorldModel,
    tracks: Tracks,
    signals: Sequence[SignalInfo],
    config: GapConfig,
    steps: int,
    control: _Control | None,
) -> EpisodeGap:
    spec, episode = model.spec, tracks.episode
    starts, skipped = tracks.starts(spec, steps, config.windows)
    tallies = [_Tally(info, steps) for info in signals]
    controlled = control is not None and tracks.actions is not None
    for t in starts:
        prompt = tracks.prompt(spec, t)
        actions = np.zeros((steps, 0), np.float32) if tracks.actions is None else tracks.actions[t : t + steps]
        seed = config.seed + t
        views = {"model": rollout(model, prompt, actions, samples=config.samples, seed=seed)}
        foreign = control.actions((episode.id, t), seed) if control is not None and controlled else None
        if foreign is not None:
            views["shuffled"] = rollout(model, prompt, foreign, samples=config.samples, seed=seed)
        elif controlled:
            controlled = False  # one window without a control leaves the others incomparable
        for tally in tallies:
            _compare(tally, tracks, t, views)
    facts = episode.facts
    return EpisodeGap(
        episode=episode.id,
        log=episode.log,
        name=episode.name,
        site=str(facts.get("site") or config.site),
        model=spec.digest,
        windows=len(starts),
        skipped=skipped,
        signals={tally.info.name: tally.errors(control=controlled) for tally in tallies},
    )


def _compare(tally: _Tally, tracks: Tracks, t: int, views: Mapping[str, Rollout]) -> None:
    """Add one window of one signal: the model, its control and the baselines.

    Raises:
        DataRefused: the model predicted nothing for it.
    """
    info = tally.info
    for view in views.values():
        if info.stream not in view.frame.frames and info.stream not in view.frame.states:
            raise DataRefused("the model predicted nothing for this stream", got=info.stream, where=tracks.episode.name)
    if info.stream in tracks.frames:
        _compare_frames(tally, tracks.frames[info.stream][t : t + 1 + tally.steps], views)
    else:
        _compare_states(tally, tracks.states[info.stream], t, views)


def _compare_frames(tally: _Tally, video_KHWC: Array, views: Mapping[str, Rollout]) -> None:
    """One window of a camera; the first frame is the last known one."""
    real, last = video_KHWC[1:], video_KHWC[0]
    measure = seams.load("metrics", tally.info.metric).measure
    for name, view in views.items():
        tally.add(name, measure(_mean_frames(view.frame.frames[tally.info.stream], real), real, last))
    tally.add("hold", measure(hold_last(last, tally.steps), real, last))


def _compare_states(tally: _Tally, values_TD: FloatArray, t: int, views: Mapping[str, Rollout]) -> None:
    """One window of the channels that share a unit."""
    info, steps = tally.info, tally.steps
    channels, turning = list(info.channels), np.asarray(info.circular)
    values = values_TD[:, channels].astype(np.float64)
    real, last = values[t + 1 : t + 1 + steps], values[t]

    def score(predicted_KD: FloatArray) -> Measured:
        return state_rms.measure(wrap(predicted_KD - real, turning), np.zeros_like(real), last)

    for name, view in views.items():
        said = np.asarray(view.frame.states[info.stream], np.float64)
        _same_shape(said[0], values_TD[t + 1 : t + 1 + steps], info.stream)
        samples = said[:, :, channels]
        centred = wrap(samples - real, turning).mean(axis=0)
        tally.add(name, state_rms.measure(centred, np.zeros_like(real), last))
    tally.add("hold", score(hold_last(last, steps)))
    tally.add("velocity", score(constant_velocity(values[t - 1], last, steps, turning)))


def _mean_frames(frames_BKHWC: Array, real_KHWC: Array) -> Array:
    """What is judged of several futures: the mean of colour; no mix of surfaces or classes, so their median or mode."""
    _same_shape(frames_BKHWC[0], real_KHWC, "frames")
    if len(frames_BKHWC) == 1:
        return np.asarray(frames_BKHWC[0])
    if frames_BKHWC.ndim == 5:
        return np.asarray(np.rint(frames_BKHWC.mean(axis=0)).astype(np.uint8))
    if frames_BKHWC.dtype.kind == "f":
        return np.asarray(np.quantile(frames_BKHWC, 0.5, axis=0, method="lower"))
    ids = np.unique(frames_BKHWC)
    return np.asarray(ids[np.argmax([(frames_BKHWC == one).sum(axis=0) for one in ids], axis=0)])


def _same_shape(predicted: Array, real: Array, where: str) -> None:
    if predicted.shape != real.shape:
        raise DataRefused("a prediction of another shape", got=f"{predicted.shape}, real {real.shape}", where=where)

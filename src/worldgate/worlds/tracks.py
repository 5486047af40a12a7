"""Episodes as models see them: one float32 state vector, one action vector and small frames a row.

A :class:`Layout` says which streams go in, in which order and unit; every episode must agree with it. Rows that
alignment marked as gaps, or that hold NaN, are kept in place but never fall inside a training window.

Shape legend: T rows, D state channels (all state streams joined), A action channels, S pixels a side.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from worldgate.core.episodes import Episode
from worldgate.core.errors import CapabilityMissing, DataRefused, NotFound
from worldgate.core.normalisers import Normaliser, Statistics, fit
from worldgate.core.streams import NUMERIC, Array, BoolArray, FloatArray, IntArray, Kind
from worldgate.core.times import SECOND
from worldgate.core.worlds import CONTACT, Signal
from worldgate.data import clips
from worldgate.evidence.prompts import text_of

_PICTURES: Mapping[Kind, tuple[str, tuple[int, ...]]] = {
    Kind.IMAGE: ("1", (3,)),
    Kind.DEPTH: ("m", ()),
    Kind.SEGMENTATION: ("", ()),
}
"""Unit, and what follows height and width in the shape."""
_ON_TIME = 0.01
"""Part of a period that does not count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Which streams a model is fed; the same for every episode."""

    states: tuple[str, ...] = ("observation.state",)
    action: str = "action"
    """Empty: none, for what learns from pictures alone."""
    cameras: tuple[str, ...] = ()
    """Streams of colour, depth or segmentation."""
    size: int = 64
    """Pixels a side that frames are resized to."""
    optional: tuple[str, ...] = ()
    """Those of these streams that an episode may lack, the action among them, for families that learn from the rest."""
    text: tuple[str, ...] = ()
    """Facts of an episode that make its text, such as ``task``."""
    read: tuple[str, ...] = ()
    """Streams of numbers or poses that are read out, and that no prompt must hold; any episode may lack them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The resolved inputs: names, widths and units as found in the training episodes."""

    rate_hz: float
    states: tuple[Signal, ...]
    action: Signal
    cameras: tuple[Signal, ...] = ()
    groups: tuple[str, ...] = ()
    """Places whose cameras stand still (site/robot/arm), in the order of the stored backgrounds."""
    optional: tuple[str, ...] = ()
    """As in :class:`Inputs`."""
    text: tuple[str, ...] = ()
    """As in :class:`Inputs`."""
    reads: tuple[Signal, ...] = ()
    """What is read out."""

    @property
    def force(self) -> str:
        """The force among what is read out, which tells contact; empty where there is none."""
        return next((s.name for s in self.reads if s.unit == "N" and s.shape == (3,)), "")

    @property
    def told(self) -> tuple[Signal, ...]:
        """What is read out, contact included."""
        contact = Signal(name=CONTACT, unit="1", names=(CONTACT,), shape=(1,))
        return (*self.reads, *([contact] if self.force else []))

    @property
    def state_width(self) -> int:
        """D."""
        return sum(signal.shape[0] for signal in self.states)

    @property
    def action_width(self) -> int:
        """A."""
        return self.action.shape[0]

    def split(self, states: FloatArray) -> dict[str, FloatArray]:
        """Cut a (..., D) array into one array a stream."""
        out, start = {}, 0
        for signal in self.states:
            out[signal.name] = states[..., start : start + signal.shape[0]]
            start += signal.shape[0]
        return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """When the numbers of a track were measured, for models that learn from rows with gaps, too."""

    known_TD: BoolArray
    """Which numbers were measured since the row before."""
    age_TD: FloatArray
    """How long before its row each of them was measured, in periods, float32; where alignment interpolates between
    messages, the age of the earlier one."""
    pace_T: FloatArray
    """Time since the row before, in periods, float32; 1 on an even grid."""
    driven_T: BoolArray
    """Whether an action stands there; all rows where the model takes none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One episode as a model sees it."""

    id: str
    group: str
    states_TD: FloatArray
    actions_TA: FloatArray
    valid_T: BoolArray
    frames: Mapping[str, Array] = field(default_factory=dict)
    """camera -> (T, S, S, 3) uint8 colour, (T, S, S) float32 metres or (T, S, S) class ids; read when asked for."""
    lacks: frozenset[str] = frozenset()
    """Optional streams that its episode has not; their numbers are zero and their frames absent."""
    text: str = ""
    reads: Mapping[str, FloatArray] = field(default_factory=dict)
    """stream -> (T, D) of what is read out and its episode has; NaN where it is not known."""
    episode: Episode | None = None
    """Where it comes from, for what reads clips of it by itself."""
    timing: Timing | None = None
    """None: every number of a valid row was measured at that row, on an even grid."""

    def __len__(self) -> int:
        return len(self.valid_T)

    def starts(self, context: int, horizon: int) -> IntArray:
        """Rows ``now`` with ``context`` valid rows up to now and ``horizon`` valid rows after it."""
        length = context + horizon
        if len(self) < length:
            return np.zeros(0, np.int64)
        bad = np.concatenate([[0], np.cumsum(~self.valid_T)])
        first = np.arange(len(self) - length + 1)
        now: IntArray = first[bad[first + length] == bad[first]] + context - 1
        return now


def resolve_layout(episodes: Sequence[Episode], inputs: Inputs) -> Layout:
    """Find names, widths and units of the streams a model will be fed.

    Raises:
        NotFound: an episode lacks one of the streams that are not optional, or all lack one that is.
        DataRefused: episodes disagree on rate, width or unit.
    """
    if not episodes:
        raise DataRefused("no episode to train on", hint="worldgate check shows why episodes were refused")
    wanted = (*inputs.states, *([inputs.action] if inputs.action else ()))
    signals: dict[str, Signal] = {}
    for episode in episodes:
        if not np.isclose(episode.rate_hz, episodes[0].rate_hz, rtol=1e-3):
            raise DataRefused("episodes differ in rate", got=f"{episode.rate_hz} Hz", where=episode.name)
    for name in (*wanted, *inputs.cameras):
        having = [e for e in episodes if name in e.streams or name not in inputs.optional]
        if not having:
            raise NotFound("no episode has this optional stream", got=name, hint=f"{episodes[0].name} has others")
        for episode in having:
            _require(episode, name)
            if name in inputs.cameras:
                continue
            signal = _signal(episode, name)
            first = signals.setdefault(name, signal)
            if (signal.shape, signal.unit) != (first.shape, first.unit):
                got = f"{name} {signal.shape} [{signal.unit}] beside {first.shape} [{first.unit}]"
                raise DataRefused("episodes disagree on a stream", got=got, where=episode.name)
    return Layout(
        reads=tuple(_read_out(episodes, name) for name in inputs.read),
        rate_hz=float(episodes[0].rate_hz),
        states=tuple(signals[name] for name in inputs.states),
        action=signals[inputs.action] if inputs.action else Signal(name="", shape=(0,)),
        cameras=tuple(_camera(episodes, camera, inputs.size) for camera in inputs.cameras),
        optional=inputs.optional,
        text=inputs.text,
        groups=tuple(sorted({_group(episode) for episode in episodes})),
    )


def _read_out(episodes: Sequence[Episode], name: str) -> Signal:
    having = [e for e in episodes if name in e.streams]
    if not having:
        hint = f"it has {', '.join(sorted(episodes[0].streams))}"
        raise NotFound("no episode has this stream to read out", got=name, where=episodes[0].name, hint=hint)
    found = [_signal(e, name, poses=True) for e in having]
    for signal, episode in zip(found, having, strict=True):
        if (signal.shape, signal.unit, signal.kind) != (found[0].shape, found[0].unit, found[0].kind):
            got = f"{name} {signal.shape} [{signal.unit}] beside {found[0].shape} [{found[0].unit}]"
            raise DataRefused("episodes disagree on a stream", got=got, where=episode.name)
    return found[0]


def _group(episode: Episode) -> str:
    """Where its cameras stand: two arms of one site differ by millimetres, which is pixels."""
    return "/".join(str(episode.facts[key]) for key in ("site", "robot", "arm") if episode.facts.get(key))


def _require(episode: Episode, name: str) -> None:
    if name not in episode.streams:
        hint = f"it has {', '.join(sorted(episode.streams))}"
        raise NotFound("an episode lacks a stream that the model needs", got=name, where=episode.name, hint=hint)


def _signal(episode: Episode, name: str, *, poses: bool = False) -> Signal:
    _require(episode, name)
    info = episode.streams[name].info
    if info.kind not in NUMERIC or (info.kind == Kind.POSE and not poses):
        raise DataRefused("a model's state and action streams are vectors", got=info.kind.value, where=name)
    width = episode.array(name)[0].size
    kind = Kind.POSE if info.kind == Kind.POSE else Kind.VECTOR
    return Signal(name=name, unit=info.unit, names=info.names, shape=(int(width),), kind=kind)


def _camera(episodes: Sequence[Episode], name: str, size: int) -> Signal:
    kinds = {episode.streams[name].info.kind for episode in episodes if name in episode.streams}
    kind = kinds.pop()
    if kinds or kind not in _PICTURES:
        got = ", ".join(sorted({kind.value, *(k.value for k in kinds)}))
        raise DataRefused("a model's cameras are colour, depth or segmentation in all episodes", got=got, where=name)
    unit, last = _PICTURES[kind]
    return Signal(name=name, unit=unit, shape=(size, size, *last), kind=kind)


def make_tracks(episodes: Sequence[Episode], layout: Layout) -> list[Track]:
    """Gather each episode's streams into dense float32 arrays and small frames."""
    return [_track(episode, layout) for episode in episodes]


def _track(episode: Episode, layout: Layout) -> Track:
    lacks = frozenset(name for name in layout.optional if name not in episode.streams)
    none = np.empty((len(episode), 0))
    states = np.concatenate([none, *(_matrix(episode, signal, lacks) for signal in layout.states)], axis=1)
    actions = _matrix(episode, layout.action, lacks) if layout.action.name else none
    valid = np.isfinite(states).all(axis=1) & np.isfinite(actions).all(axis=1)
    frames = _Frames(episode, [camera for camera in layout.cameras if camera.name not in lacks])
    for name in {*(s.name for s in layout.states), layout.action.name, *frames} - {"", *lacks}:
        valid &= ~episode.streams[name].gap
    return Track(
        id=episode.id,
        group=_group(episode),
        states_TD=np.nan_to_num(states).astype(np.float32),
        actions_TA=np.nan_to_num(actions).astype(np.float32),
        valid_T=valid,
        frames=frames,
        lacks=lacks,
        text=text_of(episode.facts, layout.text),
        reads={s.name: _known(episode, s) for s in layout.reads if s.name in episode.streams},
        episode=episode,
        timing=_timing(episode, layout, lacks, states, actions),
    )


def _timing(
    episode: Episode, layout: Layout, lacks: frozenset[str], states_TD: FloatArray, actions_TA: FloatArray
) -> Timing:
    """What alignment says of each row: a number counts once, at the row that its message came before."""
    known, age = np.isfinite(states_TD), np.zeros(states_TD.shape, np.float32)
    period_ns = SECOND / layout.rate_hz
    for name, part in _parts(layout).items():
        if name in lacks:
            continue
        rows, values = episode.streams[name], states_TD[:, part]
        fresh = np.ones(len(episode), bool)
        fresh[1:] = (np.diff(rows.index) != 0) | (values[1:] != values[:-1]).any(axis=1)
        known[:, part] &= (fresh & ~rows.gap)[:, None]
        age[:, part] = np.clip(-rows.skew_ns / period_ns, 0, 1)[:, None]
    pace = np.diff(episode.times_ns, prepend=episode.times_ns[:1] - round(period_ns)) / period_ns
    driven: BoolArray = np.asarray(np.isfinite(actions_TA).all(axis=1))
    if layout.action.name and layout.action.name not in lacks:
        driven &= ~episode.streams[layout.action.name].gap
    return Timing(
        known_TD=known,
        age_TD=np.where(age < _ON_TIME, 0, age).astype(np.float32) * known,
        pace_T=np.where(np.abs(pace - 1) < _ON_TIME, 1, pace).astype(np.float32),
        driven_T=driven,
    )


def _parts(layout: Layout) -> dict[str, slice]:
    """State stream -> its channels among all of them."""
    ends = np.cumsum([0, *(signal.shape[0] for signal in layout.states)])
    return {s.name: slice(int(a), int(b)) for s, a, b in zip(layout.states, ends, ends[1:], strict=False)}


class _Frames(Mapping[str, Array]):
    """An episode's cameras at a model's size, each read when it is first asked for."""

    def __init__(self, episode: Episode, cameras: Sequence[Signal]) -> None:
        self._episode, self._cameras = episode, {camera.name: camera for camera in cameras}
        self._held: dict[str, Array] = {}

    def __getitem__(self, name: str) -> Array:
        if name not in self._held:
            camera = self._cameras[name]
            look = clips.frames if camera.kind is Kind.IMAGE else clips.geometry
            self._held[name] = look(self._episode, name, camera.shape[0])
        return self._held[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._cameras)

    def __len__(self) -> int:
        return len(self._cameras)


def _matrix(episode: Episode, signal: Signal, lacks: frozenset[str]) -> FloatArray:
    if signal.name in lacks:
        return np.zeros((len(episode), *signal.shape))
    values = np.asarray(episode.array(signal.name), np.float64)
    return values.reshape(len(episode), -1)


def _known(episode: Episode, signal: Signal) -> FloatArray:
    values = _matrix(episode, signal, frozenset())
    known = np.isfinite(values).all(axis=1) & ~episode.streams[signal.name].gap
    return np.where(known[:, None], values, np.nan).astype(np.float32)


def runs(valid_T: BoolArray) -> list[tuple[int, int]]:
    """First row and the row after the last of every run of valid rows."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], valid_T, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def whole(tracks: Sequence[Track]) -> Sequence[Track]:
    """The tracks, for a model that needs every stream of each, and reads nothing out.

    Raises:
        CapabilityMissing: something is to be read out.
        DataRefused: an episode lacks an optional stream.
    """
    for track in tracks:
        if track.reads:
            got, hint = sorted(track.reads)[0], "the families flow and masked do; or put it among inputs.states"
            raise CapabilityMissing("this model reads nothing out", got=got, hint=hint)
    return complete(tracks)


def complete(tracks: Sequence[Track]) -> Sequence[Track]:
    """The tracks, for a model that needs every stream of each but those that are read out.

    Raises:
        DataRefused: an episode lacks an optional stream.
    """
    for track in tracks:
        if track.lacks:
            got, hint = sorted(track.lacks)[0], "the families flow and masked learn from what is there"
            raise DataRefused("this model needs every stream in every episode", got=got, where=track.id, hint=hint)
    return tracks


def fit_normaliser(tracks: Sequence[Track], layout: Layout) -> Normaliser:
    """Statistics of every state stream and the action, over valid rows of these tracks.

    What was measured in a row that lacks something else counts as well.
    """
    held = [(t.lacks, layout.split(np.where(_there(t), t.states_TD, np.nan))) for t in tracks]
    streams: dict[str, Statistics] = {}
    for signal in layout.states:
        arrays = [states[signal.name] for lacks, states in held if signal.name not in lacks]
        streams[signal.name] = fit(arrays, unit=signal.unit)
    for signal in layout.reads:
        if signal.name not in streams:
            arrays = [t.reads[signal.name] for t in tracks if signal.name in t.reads]
            streams[signal.name] = fit(arrays, unit=signal.unit)
    if layout.action.name:
        acting = [t for t in tracks if layout.action.name not in t.lacks]
        actions = [np.where(t.valid_T[:, None], t.actions_TA, np.nan) for t in acting]
        streams[layout.action.name] = fit(actions, unit=layout.action.unit)
    return Normaliser(streams=streams)


def _there(track: Track) -> BoolArray:
    """(T, D) which numbers stand for something."""
    valid_T1: BoolArray = track.valid_T[:, None]
    return valid_T1 if track.timing is None else valid_T1 | track.timing.known_TD


def shuffle_actions(tracks: Sequence[Track], seed: int) -> list[Track]:
    """The deliberately broken control: actions drawn from random rows of all tracks, so that they carry nothing."""
    rng = np.random.default_rng(seed)
    pool = np.concatenate([t.actions_TA for t in tracks])
    return [dataclasses.replace(t, actions_TA=pool[rng.integers(len(pool), size=len(t))]) for t in tracks]

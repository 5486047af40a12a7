"""What a measure is: the protocol behind the ``metrics`` seam, and what it is given.

A measure watches windows. A window is rolled out in chunks; with each chunk the watcher sees what really happened and
what each contender said, and answers with readings: sums of a figure at a step. Readings of an episode are added up
(:mod:`worldgate.evidence.evaluation.sums`).

Contenders: ``model`` under the recorded actions; ``point``, what it says when asked for one future, with the
deviation it claims; ``other``, the model from the same prompt under the actions of a training stretch that began
alike; ``hold``, the last row or frame repeated (copy-last); ``velocity``, the last change continued (states only);
``real``, what happened, which gives the floor or ceiling of fitted read-outs.

Shape legend: B samples, K steps of a chunk, T rows, D state channels, A action channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

import numpy as np

from worldgate.core.episodes import Rows
from worldgate.core.errors import UsageError
from worldgate.core.streams import Array, BoolArray, FloatArray
from worldgate.core.worlds import Capability, Frame, ModelSpec, WorldModel, rollout
from worldgate.evidence.evaluation.references import References, Scale
from worldgate.evidence.evaluation.truth import Truth
from worldgate.evidence.windows import Tracks

WHOLE = 0
"""The step of a reading that is about a whole window."""
Direction: TypeAlias = Literal["lower", "higher", "target"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateConfig:
    """How a world model is evaluated."""

    horizons: tuple[int, ...] = ()
    """Steps ahead at which figures are given; empty: 1 step, 0.5 s, 1 s and 2 s, as far as episodes reach."""
    windows: int = 8
    """Most windows cut from one episode, evenly spread."""
    samples: int = 8
    """Futures a window; a model whose futures do not differ is asked for one."""
    seed: int = 0
    """Of the rollouts, the resamples and every random choice."""
    level: float = 0.05
    """One-sided level of each bound."""
    resamples: int = 1000
    """Of episodes, for intervals; and relabellings, for permutation tests."""
    chunk: int = 32
    """Most steps that are held in memory at once."""
    references: int = 24
    """Most training episodes that read-outs are fitted on."""
    other_actions: bool = True
    """Whether each window is also imagined under other actions; without, nothing is said of counterfactuals."""
    measures: tuple[str, ...] = ()
    """Entries of the seam ``metrics``; empty: all but those that need weights."""
    situation_windows: int = 2
    """Most windows more that are cut from an episode for each special situation; they count for it alone."""
    contact_n: float = 0.3
    """Force from which the tool counts as touching, N."""
    contact_pause_s: float = 0.2
    """Pauses up to this are part of a contact."""
    contact_tolerance_s: float = 0.15
    """Largest distance of two onsets that are taken for the same."""
    force_limit_n: float = 0.0
    """Largest force that the site allows, N; 0: no limit is judged."""
    clearance_limit_m: float = 0.0
    """Least distance to a person that the site allows, m; 0: no limit is judged."""
    layout: str = ""
    """A layout of the site, a JSON file that ``worldgate.evidence.layout`` reads; empty: none is judged."""
    weights: str = ""
    """A safetensors file with the weights that ``video_lpips`` needs."""

    def __post_init__(self) -> None:
        counts = (self.windows, self.samples, self.resamples, self.chunk, self.references, *self.horizons)
        if min(counts) < 1 or not 0 < self.level < 0.5:
            raise UsageError("horizons, windows, samples, resamples and chunk are 1 or more, level below 0.5", got=self)


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureInfo:
    """One figure that a measure gives."""

    name: str
    """``observation.state/energy``."""
    unit: str
    better: Direction
    reduction: str = "mean"
    """Of :data:`worldgate.evidence.evaluation.sums.REDUCTIONS`."""
    target: float | None = None
    """What a good model gives, where neither less nor more is better."""
    stream: str = ""
    note: str = ""
    """What must be known to read it."""
    detail: bool = False
    """Left out of the table for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A window's contribution to one figure."""

    figure: str
    contender: str
    sums: tuple[float, ...]
    step: int = WHOLE


class NotMeasured(Exception):
    """A measure cannot be taken here; the text says why. It ends in the report, not on the terminal."""


class FeatureExtractor(Protocol):
    """Anyone's features of pictures, for distances between distributions; numbers in, numbers out."""

    name: str
    """Stands in the report, because a distance means nothing without it."""

    def __call__(self, frames_NHWC: Array) -> FloatArray:
        """(N, F) features."""
        ...


class ClipExtractor(Protocol):
    """Anyone's features of clips, for the Frechet distance of videos."""

    name: str
    frames: int
    """Frames of a clip."""

    def __call__(self, clips_NKHWC: Array) -> FloatArray:
        """(N, F) features."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a measure may be built from."""

    spec: ModelSpec
    """The model's, with what it reads out and the episodes hold among its states."""
    capabilities: frozenset[Capability]
    config: EvaluateConfig
    horizons: tuple[int, ...]
    """Steps, rising."""
    samples: int
    """Futures a window."""
    references: References
    """Real episodes from the model's training split: read-outs and scales are fitted on them."""
    features: FeatureExtractor
    scales: Mapping[str, Scale]
    """State stream -> what brings its channels to comparable size."""
    circular: Mapping[str, BoolArray]
    """State stream -> (D,) which channels turn around."""
    clip_features: ClipExtractor | None = None
    """Of clips, where somebody brought them."""
    fitted: bool = True
    """Whether the references are training episodes; without any, read-outs are not fitted."""
    read_out: frozenset[str] = frozenset()
    """State streams that the model tells without being shown them; baselines know them at the last known row."""
    poses: tuple[str, ...] = ()
    """Streams of poses that the model tells and every episode holds; those that it reads out are not in ``spec``."""
    streams: Mapping[str, Rows] = field(default_factory=dict)
    """Of the first held-out episode."""

    def need_references(self) -> None:
        """For measures that fit a read-out.

        Raises:
            NotMeasured: there are no training episodes.
        """
        if not self.fitted:
            raise NotMeasured("needs training episodes to fit a read-out on: the dataset has no split train")

    @property
    def rate_hz(self) -> float:
        return self.spec.rate_hz


@dataclass(frozen=True, slots=True, kw_only=True)
class Donor:
    """A stretch of a training episode that began like a window and went on under other actions."""

    states: Mapping[str, FloatArray]
    """stream -> (K + 1, D), from its own last known row on."""
    actions: FloatArray
    """(K, A)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One window of a held-out episode."""

    model: WorldModel
    tracks: Tracks
    truth: Truth
    start: int
    """Row t, the last one known."""
    steps: int
    seed: int
    episode: int
    """Number of its episode."""
    circular: Mapping[str, BoolArray]
    """stream -> (D,) which channels turn around."""
    scales: Mapping[str, Scale]
    donor: Donor | None = None

    def known(self, stream: str, rows: int = 2) -> FloatArray:
        """(rows, D) the last known rows of a state stream."""
        return np.asarray(self.tracks.states[stream][self.start - rows + 1 : self.start + 1], np.float64)

    def known_frames(self, camera: str, rows: int = 2) -> Array:
        """(rows, H, W, ...) the last known frames of a camera."""
        return self.tracks.frames[camera][self.start - rows + 1 : self.start + 1]

    def roll(self, steps: int, *, samples: int, seed: int, actions: FloatArray | None = None) -> Frame:
        """Roll the model out once more, under the recorded actions or under (K, A) others."""
        recorded = self.tracks.actions
        if actions is not None:
            driven = np.asarray(actions, np.float32)
        elif recorded is None:
            driven = np.zeros((steps, 0), np.float32)
        else:
            driven = recorded[self.start : self.start + steps]
        return rollout(
            self.model, self.tracks.prompt(self.model.spec, self.start), driven, samples=samples, seed=seed
        ).frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Some steps of a window, of every contender."""

    first: int
    """Steps before this chunk; its steps are first + 1 to first + K."""
    actions: FloatArray
    """(K, A)"""
    views: Mapping[str, Frame]
    """Contender -> what it says; (B, K, ...) each, B = 1 for all but the model."""

    @property
    def steps(self) -> int:
        """K."""
        return len(self.actions)

    def at(self, horizons: Sequence[int]) -> list[tuple[int, int]]:
        """(step, index in this chunk) of the horizons that fall into it."""
        return [(h, h - self.first - 1) for h in horizons if self.first < h <= self.first + self.steps]


class Watcher(Protocol):
    """A measure at one window."""

    def see(self, chunk: Chunk) -> list[Reading]:
        """The next chunk."""
        ...

    def close(self) -> list[Reading]:
        """After the last one."""
        ...


class Measure(Protocol):
    """One entry of the seam at work. A module makes it by ``build(setup)``, which may raise :class:`NotMeasured`."""

    @property
    def figures(self) -> tuple[FigureInfo, ...]: ...

    def watch(self, window: Window) -> Watcher:
        """Begin a window."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a test over all windows says of one figure at one step, for one contender."""

    figure: str
    step: int
    contender: str
    value: float
    p: float | None = None
    """Of no difference."""
    episodes: int = 0


class Concluding(Protocol):
    """A measure that says something over all windows at once, in addition."""

    def conclude(self) -> list[Verdict]:
        """After the last window."""
        ...


@dataclass(slots=True)
class PerStep:
    """A watcher that looks at each horizon by itself."""

    horizons: tuple[int, ...]
    read: Reader

    def see(self, chunk: Chunk) -> list[Reading]:
        return [reading for step, k in chunk.at(self.horizons) for reading in self.read(step, k, chunk)]

    def close(self) -> list[Reading]:
        return []


class Reader(Protocol):
    """How :class:`PerStep` reads one step."""

    def __call__(self, step: int, k: int, chunk: Chunk) -> list[Reading]: ...

"""The gap as a table: one row an episode, so that every bound can be computed again from it.

The document is plain JSON (schema ``worldgate/gap/1``), put into the store and named by its digest. Lists run over
steps 1 to K. A value that is not finite, or that nothing was measured for, is null; a gate never passes on one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from worldgate.core.config import decode
from worldgate.core.digest import to_json
from worldgate.core.errors import DataRefused, UsageError
from worldgate.core.streams import Origin
from worldgate.core.worlds import ModelSpec

SCHEMA = "worldgate/gap/1"
Curve: TypeAlias = tuple[float | None, ...]

CONTENDERS = ("model", "hold", "velocity", "shuffled")
"""The model; the last row or frame held; constant velocity (states only); the model under another window's actions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GapConfig:
    """How windows are cut from held-out episodes."""

    horizon_s: float = 1.0
    """How far ahead predictions are compared, in seconds."""
    windows: int = 12
    """Most windows cut from one episode, evenly spread."""
    samples: int = 1
    """Imagined futures a window; their mean is judged, of depth and classes the median or most frequent."""
    seed: int = 0
    """Of the rollouts and of the choice of foreign actions."""
    control: bool = True
    """Whether each window is also imagined under the actions of another window."""
    video_metrics: tuple[str, ...] = ("video_moving", "video_mse")
    """Entries of the seam ``metrics`` computed for every colour camera; depth has AbsRel, classes 1 - mIoU."""
    epsilon: Mapping[str, float] = field(default_factory=dict)
    """Signal -> largest tolerable error, in the signal's unit; from the site's contract."""
    site: str = ""
    """Site of episodes whose log names none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalInfo:
    """One quantity that is judged: the channels of a stream that share a unit, or one metric of a camera."""

    name: str
    """``observation.state``, ``observation.state[rad]``, ``observation.images.front/video_moving``."""
    stream: str
    metric: str
    unit: str
    better: Literal["lower", "higher"]
    channels: tuple[int, ...] = ()
    circular: tuple[bool, ...] = ()
    """Which of the channels turn around at +-pi."""
    epsilon: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Errors of one signal in one episode, pooled over its windows: one number a step."""

    model: Curve
    hold: Curve
    velocity: Curve
    """Empty for cameras."""
    shuffled: Curve
    """Empty where there was no control."""
    measured: tuple[int, ...]
    """Windows with something to measure at this step."""
    within: tuple[int, ...]
    """Of those, windows whose error stayed within epsilon at every step so far; empty without an epsilon."""
    nonfinite: int
    """Windows in which the model gave NaN or infinity."""

    def curve(self, contender: str) -> Curve:
        """By the names in :data:`CONTENDERS`."""
        out: Curve = getattr(self, contender)
        return out


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeGap:
    """What one held-out episode says."""

    episode: str
    log: str
    name: str
    site: str
    model: str
    """Digest of the model that predicted it; several in a merged report."""
    windows: int
    skipped: int
    """Windows left out because alignment marked a gap or a value is not finite."""
    signals: Mapping[str, Errors]


@dataclass(frozen=True, slots=True, kw_only=True)
class GapReport:
    """Imagined against held-out real telemetry."""

    schema: str = SCHEMA
    subject: str
    """Digest of the world model that is judged."""
    spec: ModelSpec
    origin: Origin
    """Of the episodes: only real ones are evidence about the field."""
    dataset: str
    """Digest of the dataset the episodes come from, where known."""
    cross_validated: bool = False
    """Each episode was predicted by a model trained without it, not by the subject itself."""
    predictions: str = ""
    """Digest of the rollouts manifest, where predictions came as files."""
    rate_hz: float
    steps: int
    config: GapConfig
    signals: tuple[SignalInfo, ...]
    episodes: tuple[EpisodeGap, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        tree = to_json(self)
        assert isinstance(tree, dict)
        return tree

    @classmethod
    def from_json(cls, tree: Mapping[str, Any], *, where: str = "gap report") -> GapReport:
        """Read back :meth:`to_json`.

        Raises:
            DataRefused: another schema, or curves whose lengths disagree.
            ConfigError: unknown or missing fields.
        """
        if tree.get("schema") != SCHEMA:
            raise DataRefused("not a gap report this version reads", got=tree.get("schema"), where=where)
        report = decode(cls, tree, where=where)
        for row in report.episodes:
            for errors in row.signals.values():
                full = (errors.model, errors.hold, errors.measured)
                optional = (errors.velocity, errors.shuffled, errors.within)
                if any(len(c) != report.steps for c in full) or any(len(c) not in {0, report.steps} for c in optional):
                    raise DataRefused("a curve of the wrong length", got=row.name, where=where)
        return report

    def signal(self, name: str) -> SignalInfo:
        """One signal.

        Raises:
            UsageError: the report has no such signal.
        """
        for info in self.signals:
            if info.name == name:
                return info
        raise UsageError("no such signal in this report", got=name, hint=", ".join(s.name for s in self.signals))

    def step_of(self, seconds: float) -> int:
        """The step (from 1) at a horizon in seconds, rounded to the nearest."""
        return max(1, round(seconds * self.rate_hz))

    def at_sites(self, sites: Sequence[str]) -> GapReport:
        """Only the episodes recorded at these sites."""
        return dataclasses.replace(self, episodes=tuple(e for e in self.episodes if e.site in sites))


def merge(reports: Sequence[GapReport], *, subject: ModelSpec) -> GapReport:
    """Join leave-one-out reports into one about ``subject``, the model trained by the same recipe on all episodes.

    Raises:
        UsageError: nothing to merge, or reports that differ in signals, rate, horizon or origin.
        DataRefused: one episode in two reports.
    """
    if not reports:
        raise UsageError("nothing to merge", got=0)
    first = reports[0]

    def shape(r: GapReport) -> tuple[object, ...]:
        return (tuple((s.name, s.unit, s.metric, s.epsilon) for s in r.signals), r.rate_hz, r.steps, r.origin)

    if any(shape(r) != shape(first) for r in reports):
        raise UsageError("these reports do not measure the same", hint="one configuration and one dataset for all")
    episodes = tuple(e for r in reports for e in r.episodes)
    if len({e.episode for e in episodes}) != len(episodes):
        raise DataRefused("an episode counted twice", got=len(episodes), hint="each episode is held out once")
    return dataclasses.replace(
        first, subject=subject.digest, spec=subject, cross_validated=True, episodes=episodes, signals=_joined(reports)
    )


def _joined(reports: Sequence[GapReport]) -> tuple[SignalInfo, ...]:
    """Signals of the first report; a channel turns around if any report saw it do so."""
    out = []
    for group in zip(*(r.signals for r in reports), strict=True):
        turns = zip(*(s.circular for s in group), strict=True)
        out.append(dataclasses.replace(group[0], circular=tuple(any(t) for t in turns)))
    return tuple(out)

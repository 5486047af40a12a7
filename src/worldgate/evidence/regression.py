"""Recorded episodes again, open loop: what a release would have done there, and what a world model would have seen.

At every row the release is shown what was recorded, and its action is compared with the recorded one and with the old
release's; what it commands is never carried out. A world model is given the recorded actions, and its predictions are
compared with what happened. So differences are found, ranked by episode and by moment, before anything moves. What this
cannot show is success: a policy close to every recording may drift off in closed loop, and one that differs may do
better.

An error is the root mean square over channels, each in units of its own recorded spread (standard deviation over all
episodes), so that metres and radians can be joined; a channel that never moved counts in its own unit. The unit of
every bound is the episode.

Sources: Codevilla et al., ECCV 2018 (open-loop error hardly predicts driving success); Ross et al., AISTATS 2011.

Shape legend: T rows, A action channels, D state channels, K steps ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from worldgate.core.episodes import Episode
from worldgate.core.errors import DataRefused, UsageError
from worldgate.core.streams import Array, BoolArray, FloatArray, Kind, Origin
from worldgate.core.worlds import Policy, Signal, WorldModel
from worldgate.data import clips
from worldgate.evidence.baselines import wrap
from worldgate.evidence.regression_table import Regression, RegressionConfig, Replayed, trace
from worldgate.evidence.regression_world import Forecast
from worldgate.evidence.windows import FrameReader, circular

Progress: TypeAlias = Callable[[int, int], None]
"""(episodes done, episodes in all)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """A release, as far as it is needed to act on recorded rows."""

    digest: str
    policy: Policy
    observation: tuple[Signal, ...]
    action: Signal
    rate_hz: float


def regress(
    episodes: Sequence[Episode],
    new: Actor,
    old: Actor | None = None,
    world: WorldModel | None = None,
    config: RegressionConfig | None = None,
    progress: Progress | None = None,
    *,
    dataset: str = "",
    read_frames: FrameReader = clips.pictures,
) -> Regression:
    """Go through recorded episodes open loop.

    Args:
        episodes: all of one origin.
        new: the release that is judged.
        old: the release it is compared with.
        world: a world model that predicts under the recorded actions.
        config: how.
        progress: called after each episode.
        dataset: digest of the dataset the episodes come from.
        read_frames: how frames of a camera are read and resized.

    Raises:
        UsageError: no episode, or a release compared with itself.
        DataRefused: episodes of several origins or an imagined one, or that do not fit the releases' rate, widths,
            units or names.
    """
    config = config or RegressionConfig()
    _refuse(episodes, new, old, config)
    recorded = [_numbers(e, new.action) for e in episodes]
    scale = _Scale.of([values[good_rows(e, (new.action,))] for e, values in zip(episodes, recorded, strict=True)], new)
    told = []
    forecast = Forecast(world, episodes, config, read_frames) if world is not None else None
    for number, (episode, actions) in enumerate(zip(episodes, recorded, strict=True), 1):
        told.append(_one(episode, actions, new, old, scale, config, read_frames, forecast))
        if progress is not None:
            progress(number, len(episodes))
    return Regression(
        subject=new.digest,
        baseline=old.digest if old else "",
        world_model=world.spec.digest if world is not None else "",
        dataset=dataset,
        origin=episodes[0].origin,
        rate_hz=new.rate_hz,
        action=new.action,
        spread=tuple(float(s) for s in scale.spread),
        config=config,
        episodes=tuple(told),
    )


def _refuse(episodes: Sequence[Episode], new: Actor, old: Actor | None, config: RegressionConfig) -> None:
    if not episodes:
        raise UsageError("no recorded episode to go through", hint="worldgate snapshot")
    origins = {e.origin for e in episodes}
    if len(origins) > 1 or Origin.IMAGINED in origins:
        raise DataRefused("episodes of one origin, and none imagined", got=", ".join(sorted(origins)))
    if len({e.id for e in episodes}) < len(episodes):
        raise DataRefused("an episode given twice", got=len(episodes), hint="it would count as two")
    if old is not None and old.digest == new.digest:
        raise UsageError("a release compared with itself", got=new.digest[:12])
    if not config.moment_s > 0 or not config.horizon_s > 0 or config.windows < 1:
        raise UsageError("moments, horizon and windows above 0 are needed", got=config)
    for actor in filter(None, (new, old)):
        if actor.action != new.action:
            raise DataRefused("the releases command different things", got=actor.action.name, where=new.action.name)
        for episode in episodes:
            fits(episode, actor)


def fits(episode: Episode, actor: Actor) -> None:
    """Refuse a recording that a release cannot be shown.

    Raises:
        DataRefused: another rate, a stream missing, or another unit, shape or channels.
    """
    if abs(actor.rate_hz - episode.rate_hz) > 1e-6 * episode.rate_hz:
        raise DataRefused("the release runs at another rate", got=f"{actor.rate_hz:g} Hz", where=episode.name)
    for signal in (*actor.observation, actor.action):
        if signal.name not in episode.streams:
            raise DataRefused("the recording lacks a stream of the release", got=signal.name, where=episode.name)
        info = episode.streams[signal.name].info
        for what in ("unit", "names", *(() if info.kind is Kind.IMAGE else ("shape",))):
            got, wanted = getattr(info, what), getattr(signal, what)
            if wanted and got != wanted:
                raise DataRefused(f"the recording has another {what}", got=got, where=signal.name, hint=f"{wanted}")


@dataclass(frozen=True, slots=True)
class _Scale:
    """How far apart two actions are."""

    spread: FloatArray
    turning: BoolArray

    @classmethod
    def of(cls, recorded: Sequence[FloatArray], actor: Actor) -> _Scale:
        rows = np.concatenate(recorded)
        spread = rows.std(axis=0) if len(rows) else np.zeros(rows.shape[1])
        return cls(spread, np.asarray(circular(recorded, actor.action.unit), dtype=np.bool_))

    def apart(self, a_TA: FloatArray, b_TA: FloatArray) -> FloatArray:
        """(T,) distance, in spreads."""
        unit = np.where(self.spread > 0, self.spread, 1.0)
        return np.asarray(np.sqrt((np.square(wrap(a_TA - b_TA, self.turning) / unit)).mean(axis=1)))


def _one(
    episode: Episode,
    recorded_TA: FloatArray,
    new: Actor,
    old: Actor | None,
    scale: _Scale,
    config: RegressionConfig,
    read_frames: FrameReader,
    forecast: Forecast | None,
) -> Replayed:
    signals = (*new.observation, *(old.observation if old else ()), new.action)
    good = good_rows(episode, signals)
    block = max(1, round(config.moment_s * episode.rate_hz))
    acted = {"new": _acted(episode, new, good, config, read_frames)}
    acted |= {"old": _acted(episode, old, good, config, read_frames)} if old else {}
    traces = {name: trace(scale.apart(actions, recorded_TA), good, block) for name, actions in acted.items()}
    if old is not None:
        traces["apart"] = trace(scale.apart(acted["new"], acted["old"]), good, block)
    world, hold = forecast.of(episode) if forecast is not None else ({}, {})
    return Replayed(
        episode=episode.id,
        log=episode.log,
        name=episode.name,
        site=str(episode.facts.get("site") or config.site),
        rows=int(good.sum()),
        skipped=int((~good).sum()),
        new=traces["new"],
        old=traces.get("old"),
        apart=traces.get("apart"),
        world=world,
        hold=hold,
    )


def _acted(
    episode: Episode, actor: Actor, good: BoolArray, config: RegressionConfig, read_frames: FrameReader
) -> FloatArray:
    """(T, A) what a release commands when it is shown the recorded rows that count, in order; else NaN."""
    seen = {signal.name: _shown(episode, signal, read_frames) for signal in actor.observation}
    out = np.full((len(episode), _width(actor.action, episode)), np.nan)
    actor.policy.reset(seed=config.seed)
    for t in np.flatnonzero(good):
        action_A = np.asarray(actor.policy.act({name: rows[t] for name, rows in seen.items()}), dtype=np.float64)
        if action_A.shape != out.shape[1:]:
            raise DataRefused("an action of another width", got=action_A.shape, where=f"{out.shape[1]} recorded")
        out[t] = action_A
    return out


def _shown(episode: Episode, signal: Signal, read_frames: FrameReader) -> Array:
    if episode.streams[signal.name].info.kind is Kind.IMAGE and len(signal.shape) == 3:
        return read_frames(episode, signal.name, (signal.shape[0], signal.shape[1]))
    return episode.array(signal.name)


def _numbers(episode: Episode, signal: Signal) -> FloatArray:
    return np.asarray(episode.array(signal.name), dtype=np.float64).reshape(len(episode), -1)


def _width(signal: Signal, episode: Episode) -> int:
    return int(_numbers(episode, signal).shape[1])


def good_rows(episode: Episode, signals: Sequence[Signal]) -> BoolArray:
    """(T,) rows without a gap, and finite in every stream of numbers."""
    good = np.ones(len(episode), dtype=np.bool_)
    for signal in signals:
        good &= ~episode.streams[signal.name].gap
        if episode.streams[signal.name].info.kind is not Kind.IMAGE:
            good &= np.isfinite(_numbers(episode, signal)).all(axis=1)
    return good

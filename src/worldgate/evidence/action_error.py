"""How far a policy's actions lie from those that were recorded, by channel and by how far ahead they were predicted.

At rows of recorded episodes the policy is shown what was recorded, aimed at a later row of the same episode if it takes
goals, and asked for the actions of the next K control periods; one that predicts no chunk is asked for the next alone.
Beside it stand two guesses that need no policy: the action before, held, and the mean of the judged episodes' own
actions, which no deployed guess could know. Errors are mean absolute values in the channel's unit; the unit of every
bound is the episode.

What this cannot show is success (Codevilla et al., ECCV 2018; Ross et al., AISTATS 2011): an expert's actions can be
matched closely by a policy that drifts off in closed loop, and a policy that acts otherwise may do better.

Shape legend: T rows, K periods ahead, A action channels, E episodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from worldgate.core.episodes import Episode
from worldgate.core.errors import DataRefused, UsageError
from worldgate.core.streams import Array, BoolArray, FloatArray, Kind, Origin
from worldgate.core.tasks import GoalPolicy, InstructedPolicy
from worldgate.core.worlds import Observation, Signal
from worldgate.data import clips
from worldgate.evidence.baselines import wrap
from worldgate.evidence.bootstrap import Interval, ratio_interval
from worldgate.evidence.regression import Actor, Progress, fits, good_rows
from worldgate.evidence.windows import FrameReader, circular

CAVEAT = "an error of actions on recorded rows is not success: nothing was executed, and errors do not add up here"


@runtime_checkable
class Planning(Protocol):
    """A policy that predicts chunks may also offer this: the whole of one."""

    def plan(self, observation: Observation) -> FloatArray:
        """(K, A), in the action's unit."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionErrorConfig:
    """Which rows are asked about."""

    rows: int = 20
    """Of each episode at most, evenly spread."""
    horizon: int = 16
    """Periods ahead at most; the policy's chunk may be shorter."""
    goal_steps: int = 16
    """How many periods ahead lies the row that a policy with goals is aimed at."""
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelError:
    """Errors of one action channel at one time ahead, in the channel's unit."""

    channel: str
    unit: str
    step: int
    """Control periods after the row: 0 is the action that the row itself asks for."""
    policy: float
    copy_last: float
    mean_action: float
    ratio: Interval | None
    """Policy over the better of the two guesses, over episodes; None for fewer than two of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionErrors:
    """What a policy's actions are beside recorded ones."""

    subject: str
    origin: Origin
    rate_hz: float
    episodes: int
    rows: int
    chunk: int
    """Periods ahead that were judged."""
    channels: tuple[ChannelError, ...]
    caveat: str = CAVEAT


def action_errors(
    episodes: Sequence[Episode],
    actor: Actor,
    goals: Sequence[str] = (),
    config: ActionErrorConfig | None = None,
    progress: Progress | None = None,
    *,
    told: bool = False,
    read_frames: FrameReader = clips.pictures,
) -> ActionErrors:
    """Ask a policy at recorded rows.

    Args:
        episodes: all of one origin.
        actor: the policy.
        goals: streams that it must be shown as they are at a goal; empty: it takes none.
        config: which rows.
        progress: called after each episode.
        told: whether it is told each episode's instruction, its fact ``task``.
        read_frames: how frames of a camera are read and resized.

    Raises:
        UsageError: no episode.
        DataRefused: episodes that do not fit the policy's rate, widths, units or names, or too short.
    """
    config = config or ActionErrorConfig()
    origins = {e.origin for e in episodes}
    if len(origins) != 1:
        raise UsageError("episodes of one origin are needed", got=", ".join(sorted(origins)) or "no episode")
    recorded = []
    for episode in episodes:
        fits(episode, actor)
        recorded.append(np.asarray(episode.array(actor.action.name), np.float64).reshape(len(episode), -1))
    mean_A = np.nanmean(np.concatenate(recorded), axis=0)
    units = _units(actor.action, len(mean_A))
    turning = np.array([circular([a[:, [k]] for a in recorded], unit)[0] for k, unit in enumerate(units)])
    sums: list[FloatArray] = []
    rows = 0
    for number, (episode, actions) in enumerate(zip(episodes, recorded, strict=True), 1):
        text = str(episode.facts.get("task", "")) if told else None
        found = _one(episode, actions, actor, goals, text, mean_A, turning, config, read_frames)
        if found is not None:
            sums.append(found[0])
            rows += found[1]
        if progress is not None:
            progress(number, len(episodes))
    if not sums:
        hint = "shorter --set horizon and goal_steps"
        raise DataRefused("no episode is long enough for the rows that were asked for", got=config.horizon, hint=hint)
    depth = min(len(one[0]) for one in sums)
    return ActionErrors(
        subject=actor.digest,
        origin=episodes[0].origin,
        rate_hz=actor.rate_hz,
        episodes=len(sums),
        rows=rows,
        chunk=depth,
        channels=tuple(_channels(actor.action, np.stack([one[:, :depth] for one in sums]))),
    )


def _channels(action: Signal, errors_E3KA: FloatArray) -> list[ChannelError]:
    """Figures at the first, the middle and the last period."""
    count, _, depth, width = errors_E3KA.shape
    units = _units(action, width)
    found = []
    for step in sorted({0, depth // 2, depth - 1}):
        for channel in range(width):
            policy, copied, mean = (errors_E3KA[:, guess, step, channel] for guess in range(3))
            better = copied if copied.mean() <= mean.mean() else mean
            known = count > 1 and better.sum() > 0
            found.append(
                ChannelError(
                    channel=action.names[channel] if action.names else str(channel),
                    unit=units[channel],
                    step=step,
                    policy=float(policy.mean()),
                    copy_last=float(copied.mean()),
                    mean_action=float(mean.mean()),
                    ratio=ratio_interval(policy.tolist(), better.tolist()) if known else None,
                )
            )
    return found


def _units(action: Signal, width: int) -> list[str]:
    """Of each channel: a stream may state one unit for all, or one for each with commas between them."""
    told = action.unit.split(",")
    return told if len(told) == width else [action.unit] * width


def _one(
    episode: Episode,
    recorded_TA: FloatArray,
    actor: Actor,
    goals: Sequence[str],
    text: str | None,
    mean_A: FloatArray,
    turning: BoolArray,
    config: ActionErrorConfig,
    read_frames: FrameReader,
) -> tuple[FloatArray, int] | None:
    """(3, K, A) mean errors of policy, copied and mean action, and the rows behind them; None where none counts."""
    seen = {signal.name: _shown(episode, signal, read_frames) for signal in actor.observation}
    good = good_rows(episode, (*actor.observation, actor.action))
    ahead = max(config.horizon, config.goal_steps + 1 if goals else 0)
    starts = np.arange(1, len(episode) - ahead + 1)
    starts = np.array([t for t in starts if good[t - 1 : t + ahead].all()], np.int64)
    if not len(starts):
        return None
    picked = np.unique(starts[(np.linspace(0, 1, min(config.rows, len(starts))) * (len(starts) - 1)).astype(np.int64)])
    errors = []
    for t in picked.tolist():
        actor.policy.reset(seed=config.seed)
        if goals:
            goal: GoalPolicy = actor.policy  # type: ignore[assignment]  # a release that takes goals
            goal.aim({name: seen[name][t + config.goal_steps] for name in goals}, steps=config.goal_steps)
        if text is not None:
            following: InstructedPolicy = actor.policy  # type: ignore[assignment]  # a release that follows words
            following.tell(text)
        shown = {name: rows[t] for name, rows in seen.items()}
        plan_KA = actor.policy.plan(shown) if isinstance(actor.policy, Planning) else actor.policy.act(shown)[None]
        plan_KA = np.asarray(plan_KA, np.float64)[: config.horizon]
        if plan_KA.shape[1:] != recorded_TA.shape[1:] or not np.isfinite(plan_KA).all():
            raise DataRefused("actions of another width, or not finite", got=plan_KA.shape, where=episode.name)
        truth_KA = recorded_TA[t : t + len(plan_KA)]
        guesses = (
            plan_KA,
            np.broadcast_to(recorded_TA[t - 1], truth_KA.shape),
            np.broadcast_to(mean_A, truth_KA.shape),
        )
        errors.append(np.stack([np.abs(wrap(guess - truth_KA, turning)) for guess in guesses]))
    return np.mean(errors, axis=0), len(errors)


def _shown(episode: Episode, signal: Signal, read_frames: FrameReader) -> Array:
    if episode.streams[signal.name].info.kind is Kind.IMAGE:
        return read_frames(episode, signal.name, (signal.shape[0], signal.shape[1]))
    return episode.array(signal.name)

"""How long after a command each channel of the state answers, estimated from data.

For every lag the next change of a channel is regressed on its own state and last changes and on the command of so many
rows ago; the lag under which left-out blocks of time are predicted best is the estimate, its interval that over
bootstrap resamples of those blocks. Only one-step changes are looked at, so a command that the state follows slowly
still shows when it began to. A channel that no lag predicts better than its own past alone answers to nothing here.

Shape legend: R rows, L lags, B blocks, D state channels, A action channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from worldgate.core.normalisers import wrap
from worldgate.core.streams import BoolArray, FloatArray, IntArray
from worldgate.worlds.tracks import Track
from worldgate.worlds.uneven import evenly, timing_of

_PAST = 3
"""Own changes that are known."""
_BLOCKS = 10
_FOLDS = 5
_RESAMPLES = 400
_PENALTY = 1e-3
_LEAST_GAIN = 0.02
"""Part of the error that the best lag must take away for a channel to count as driven."""
_SURE = 0.995
"""The best of many lags helps a little by chance: it must do so in nearly all resamples."""
_MOST_ROWS = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """When a channel answers to commands."""

    rows: int
    """Rows from a command to the first change that it makes; 0: in the very next row."""
    seconds: float
    low_s: float
    high_s: float
    """Interval of 90 % over blocks of time."""
    gain: float
    """Part of the one-step error that commands of this lag take away."""
    sure: float
    """Share of the resamples in which they take some away."""

    @property
    def found(self) -> bool:
        """Whether commands say anything of this channel."""
        return self.gain >= _LEAST_GAIN and self.sure >= _SURE


def estimate(
    tracks: Sequence[Track], circular: BoolArray, scale: FloatArray, rate_hz: float, longest_s: float
) -> list[Lag]:
    """The lag of every state channel; none where the model takes no action.

    Args:
        tracks: what to learn from.
        circular: (D,) angles that wrap.
        scale: (D,) usual change between rows.
        rate_hz: of the rows.
        longest_s: greatest lag that is tried.
    """
    if not tracks or not tracks[0].actions_TA.shape[1]:
        return []
    most = max(1, round(longest_s * rate_hz))
    even = [evenly(track) for track in tracks]
    rows = _rows(even, most)
    if rows is None:
        return []
    own, after, commands, block_R = _gather(even, rows, circular, scale, most)
    errors_BL1 = np.stack([_errors(own, after, commands, lag, block_R) for lag in range(-1, most + 1)], axis=1)
    return [_lag(errors_BL1[:, :, d], rate_hz) for d in range(after.shape[1])]


def _rows(tracks: Sequence[Track], most: int) -> list[IntArray] | None:
    """Rows of each track whose last states, next state and commands of all lags stand there."""
    found = []
    for track in tracks:
        timing = timing_of(track)
        good = timing.known_TD.all(axis=1)
        wanted = np.ones(len(track), bool)
        for back in range(-1, _PAST + 1):
            wanted &= np.roll(good, back)
        for back in range(most + 1):
            wanted &= np.roll(timing.driven_T & np.isfinite(track.actions_TA).all(axis=1), back)
        wanted[: max(most, _PAST)] = False
        wanted[-1:] = False
        found.append(np.flatnonzero(wanted))
    count = sum(map(len, found))
    if count < 50:
        return None
    stride = -(-count // _MOST_ROWS)
    return [rows[::stride] for rows in found]


def _gather(
    tracks: Sequence[Track], rows: Sequence[IntArray], circular: BoolArray, scale: FloatArray, most: int
) -> tuple[FloatArray, FloatArray, FloatArray, IntArray]:
    """Own past (R, D, 1 + past), next change (R, D), commands (R, L, A), and the block of each row."""
    own, after, commands, lengths = [], [], [], []
    for track, now in zip(tracks, rows, strict=True):
        states, actions = track.states_TD.astype(np.float64), track.actions_TA.astype(np.float64)
        moves = np.diff(states, axis=0, prepend=states[:1])
        moves = np.where(circular, wrap(moves), moves) / scale
        past = np.stack([moves[now - back] for back in range(_PAST)], axis=2)
        places = np.where(circular, np.sin(states[now]), states[now])
        own.append(np.concatenate([past, places[:, :, None]], axis=2))
        after.append(np.clip(moves[now + 1], -20, 20))
        commands.append(np.stack([actions[now - lag] for lag in range(most + 1)], axis=1))
        lengths.append(len(now))
    total = sum(lengths)
    block = np.minimum(np.arange(total) * 2 * _BLOCKS // max(total, 1), 2 * _BLOCKS - 1)
    return np.concatenate(own), np.concatenate(after), np.concatenate(commands), block


def _errors(own: FloatArray, after: FloatArray, commands: FloatArray, lag: int, block_R: IntArray) -> FloatArray:
    """(B, D) squared error on each block by regressions on the others; a lag of -1 leaves commands out."""
    out = np.zeros((2 * _BLOCKS, after.shape[1]))
    driven = commands[:, lag] if lag >= 0 else commands[:, 0, :0]
    for channel in range(after.shape[1]):
        x = np.concatenate([own[:, channel], driven], axis=1)
        x = (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-9)
        x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
        y = after[:, channel]
        for fold in range(_FOLDS):
            out_of = block_R % _FOLDS == fold
            gram = x[~out_of].T @ x[~out_of] + _PENALTY * (~out_of).sum() * np.eye(x.shape[1])
            left = y[out_of] - x[out_of] @ np.linalg.solve(gram, x[~out_of].T @ y[~out_of])
            np.add.at(out[:, channel], block_R[out_of], left**2)
    return out


def _lag(errors_BL: FloatArray, rate_hz: float) -> Lag:
    """Of one channel; the first column is that without commands."""
    rng = np.random.default_rng(0)
    total = errors_BL.sum(axis=0)
    best = int(total[1:].argmin())
    picked = rng.integers(len(errors_BL), size=(_RESAMPLES, len(errors_BL)))
    resampled = errors_BL[picked].sum(axis=1)
    drawn = np.sort(resampled[:, 1:].argmin(axis=1))
    low, high = (int(drawn[int(q * (_RESAMPLES - 1))]) for q in (0.05, 0.95))
    gain = 1 - total[1 + best] / max(total[0], 1e-12)
    seconds = (best / rate_hz, low / rate_hz, high / rate_hz)
    sure = float((resampled[:, 1 + best] < resampled[:, 0]).mean())
    return Lag(rows=best, seconds=seconds[0], low_s=seconds[1], high_s=seconds[2], gain=float(gain), sure=sure)

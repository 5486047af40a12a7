"""A world model through recorded episodes: the recorded actions in, its predictions beside what happened.

A window stands at a row; its error is the mean over the steps ahead. States in units of their recorded spread, pictures
as mean absolute difference of the pixels, in parts of the whole range. Beside the model stands the last known row held.

Shape legend: K steps ahead, D state channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from worldgate.core.episodes import Episode
from worldgate.core.errors import DataRefused, UsageError
from worldgate.core.streams import Array, BoolArray, FloatArray, Kind
from worldgate.core.worlds import WorldModel, rollout
from worldgate.evidence.baselines import wrap
from worldgate.evidence.regression_table import RegressionConfig, Trace, trace
from worldgate.evidence.windows import FrameReader, Tracks, circular, read_tracks

_MEASURED = frozenset({Kind.DEPTH, Kind.SEGMENTATION})
"""Pictures that are not colour are not judged here; see ``worldgate gap``."""


class Forecast:
    """A world model on recorded episodes.

    Args:
        world: the model; it must take actions.
        episodes: whose spread errors are told in.
        config: horizon, windows, moments and seed.
        read_frames: how frames of a camera are read.

    Raises:
        UsageError: a model without actions.
    """

    def __init__(
        self, world: WorldModel, episodes: Sequence[Episode], config: RegressionConfig, read_frames: FrameReader
    ) -> None:
        if world.spec.action is None:
            raise UsageError("a world model without actions cannot be shown the recorded ones", got=world.spec.family)
        self.world, self.config, self._read = world, config, read_frames
        self.steps = max(1, round(config.horizon_s * world.spec.rate_hz))
        self._spread: dict[str, FloatArray] = {}
        self._turning: dict[str, BoolArray] = {}
        for state in world.spec.states:
            rows = [np.asarray(e.array(state.name), np.float64).reshape(len(e), -1) for e in episodes]
            rows = [values[np.isfinite(values).all(axis=1)] for values in rows]
            spread = np.concatenate(rows).std(axis=0)
            self._spread[state.name] = np.where(spread > 0, spread, 1.0)
            self._turning[state.name] = np.asarray(circular(rows, state.unit), dtype=np.bool_)

    def of(self, episode: Episode) -> tuple[dict[str, Trace], dict[str, Trace]]:
        """Stream -> trace of the model, and of the last row held."""
        spec = self.world.spec
        tracks = read_tracks(episode, spec, self._read)
        starts, _ = tracks.starts(spec, self.steps, self.config.windows)
        streams = [s.name for s in spec.states] + [c.name for c in spec.cameras if c.kind not in _MEASURED]
        model = {name: np.full(len(episode), np.nan) for name in streams}
        hold = {name: np.full(len(episode), np.nan) for name in streams}
        there = np.zeros(len(episode), dtype=np.bool_)
        for t in starts:
            there[t] = True
            assert tracks.actions is not None
            made = rollout(
                self.world, tracks.prompt(spec, t), tracks.actions[t : t + self.steps], seed=self.config.seed + t
            )
            predicted = {**made.frame.states, **made.frame.frames}
            for name in streams:
                if name not in predicted:
                    raise DataRefused("the model predicted nothing for this stream", got=name, where=episode.name)
                model[name][t], hold[name][t] = self._errors(tracks, name, t, predicted[name][0])
        block = max(1, round(self.config.moment_s * episode.rate_hz))
        told, held = ({name: trace(each[name], there, block) for name in streams} for each in (model, hold))
        return told, held

    def _errors(self, tracks: Tracks, name: str, t: int, predicted: Array) -> tuple[float, float]:
        """Of one window: the model's and that of the last row held."""
        if name in tracks.frames:
            video = tracks.frames[name][t : t + 1 + self.steps].astype(np.float64) / 255
            return (
                float(np.abs(predicted.astype(np.float64) / 255 - video[1:]).mean()),
                float(np.abs(video[:1] - video[1:]).mean()),
            )
        values = tracks.states[name][t : t + 1 + self.steps].astype(np.float64)
        return self._distance(name, predicted - values[1:]), self._distance(name, values[:1] - values[1:])

    def _distance(self, name: str, off_KD: FloatArray) -> float:
        scaled = wrap(off_KD, self._turning[name]) / self._spread[name]
        return float(np.sqrt(np.square(scaled).mean(axis=1)).mean())

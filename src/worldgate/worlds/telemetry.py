"""Training and judging the telemetry ensemble: shared by every family that predicts robot states.

Shape legend: M members, N windows, C context rows, K steps, D state channels, A action channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from worldgate.core.errors import DataRefused
from worldgate.worlds import latency
from worldgate.worlds.batches import Batch
from worldgate.worlds.nn.calibration import calibrate
from worldgate.worlds.nn.ensemble import Ensemble
from worldgate.worlds.nn.starting import fit_ridge
from worldgate.worlds.nn.window import Window
from worldgate.worlds.telemetry_figures import HORIZONS_S, figures
from worldgate.worlds.tracks import Layout, Track
from worldgate.worlds.train.config import PhaseConfig
from worldgate.worlds.uneven import Looks

_BETA = 0.5
_FEW = 3
"""Tracks below which they are cut into pieces of time, so that members have something to leave out."""
_LONGEST_LAG_S = 1.0


class TelemetryPhase:
    """Fits an ensemble: ridge start, open-loop likelihood over half a second, then calibration over one second."""

    name = "telemetry"

    def __init__(
        self, ensemble: Ensemble, config: PhaseConfig, layout: Layout, train: Sequence[Track], held_out: Sequence[Track]
    ) -> None:
        self.ensemble, self.config, self.layout = ensemble, config, layout
        self.rate_hz = layout.rate_hz
        self.unroll = int(min(12, max(5, round(0.5 * layout.rate_hz))))
        self.train = pieces(_fitting(train, layout), 4 * (ensemble.context + self.unroll), 2 * ensemble.members)
        self.held_out = _fitting(held_out, layout)
        self.looks = Looks(self.train, ensemble.state_circular_D)
        folds = ensemble.folds(len(self.train))
        self.rows = [self.looks.rows(ensemble.context, self.unroll, seen) for seen in folds]
        if not all(len(rows) for rows in self.rows):
            got = f"{len(train)} episodes without {ensemble.context + self.unroll} rows that follow each other"
            raise DataRefused("episodes are too short to train on", got=got, hint="align at a lower rate")
        self.lags: list[latency.Lag] = []

    def parameters(self) -> list[nn.Parameter]:
        """The members' corrections; the ridge start stays as it is."""
        return list(self.ensemble.parameters())

    def prepare(self) -> None:
        """Find out how late commands act, and fit the ridge start."""
        circular, scale = self.ensemble.state_circular_D.numpy() > 0, self.ensemble.state_step_D.double().numpy()
        self.lags = latency.estimate(self.train, circular, scale, self.rate_hz, _LONGEST_LAG_S)
        fit_ridge(self.ensemble, self.looks, max(1, round(self.rate_hz / 2)), self.lags)

    def draw(self, rng: np.random.Generator) -> Batch:
        """Windows at random, of its own episodes for each member."""
        ensemble = self.ensemble
        rows = [pool[rng.integers(len(pool), size=self.config.batch)] for pool in self.rows]
        look = self.looks.take(np.concatenate(rows), ensemble.context, self.unroll)
        window = look.window
        parts = {
            "states_MNCD": window.states_XCD,
            "span_MNCD": window.span_XCD,
            "age_MND": window.age_XD,
            "drift_MND": window.drift_XD,
            "actions_MNTA": look.actions_NTA,
            "future_MNKD": look.future_NKD,
            "known_MNKD": look.known_NKD,
            "pace_MNK": look.pace_NK,
        }
        return Batch(tensors={name: torch.unflatten(part, 0, (ensemble.members, -1)) for name, part in parts.items()})

    def loss(self, batch: Batch) -> Tensor:
        """Beta-NLL (beta 0.5) of open-loop paths, errors in units of each channel's usual step."""
        ensemble = self.ensemble
        window = Window(batch["states_MNCD"], batch["span_MNCD"], batch["age_MND"], batch["drift_MND"])
        path, variance = ensemble.unroll(window, batch["actions_MNTA"], batch["pace_MNK"])
        error = (ensemble.difference(path, batch["future_MNKD"]) / ensemble.state_step_D).clamp(-100, 100)
        nll = 0.5 * (error.square() / variance + variance.log())
        steps_K1 = torch.arange(1, self.unroll + 1, device=path.device).unsqueeze(-1)
        weight = batch["known_MNKD"] * (1 - ensemble.state_constant_D) / steps_K1
        return (nll * variance.detach() ** _BETA * weight).mean()

    def evaluate(self) -> dict[str, float]:
        """Figures on held-out episodes, as the model would be if it were calibrated now, and the lags that were found.

        Without held-out episodes each training episode, or piece of time, is judged by the member that never saw it.
        """
        ensemble = self.ensemble
        before = {name: held.clone() for name, held in ensemble.named_buffers()}
        self.finish()
        looks = Looks(self.held_out, ensemble.state_circular_D) if self.held_out else self.looks
        out = figures(ensemble, looks, self.rate_hz, HORIZONS_S, blind=not self.held_out)
        for name, held in ensemble.named_buffers():
            held.copy_(before[name])
        return out | self._latencies()

    def _latencies(self) -> dict[str, float]:
        names = [
            f"{signal.name}/{signal.names[i] if i < len(signal.names) else i}"
            for signal in self.layout.states
            for i in range(signal.shape[0])
        ]
        still = self.ensemble.state_constant_D.tolist()
        found = {n: lag for n, lag, same in zip(names, self.lags, still, strict=False) if lag.found and not same}
        if not found:
            return {}
        out = {f"action_latency_s/{name}": lag.seconds for name, lag in found.items()}
        return out | {"looks_back_on_actions_s": (self.ensemble.past - 1) / self.rate_hz}

    def finish(self) -> None:
        """Calibrate gains and noise out of fold, over one second."""
        calibrate(self.ensemble, self.looks, max(1, round(self.rate_hz)))


def pieces(tracks: Sequence[Track], least: int, wanted: int) -> list[Track]:
    """Fewer than three tracks cut into pieces of time, where they are long enough; others as they are.

    Args:
        tracks: what to cut.
        least: rows that a piece holds at least.
        wanted: how many pieces there should be in all.
    """
    total = sum(map(len, tracks))
    if len(tracks) >= _FEW or not tracks or total < _FEW * least:
        return list(tracks)
    length = max(least, -(-total // wanted))
    return [
        between(track, int(part[0]), int(part[-1]) + 1)
        for track in tracks
        for part in np.array_split(np.arange(len(track)), max(1, len(track) // length))
        if len(part)
    ]


def between(track: Track, first: int, last: int) -> Track:
    """The rows from ``first`` up to before ``last``, without their frames."""
    timing = track.timing
    if timing is not None:
        timing = replace(
            timing,
            known_TD=timing.known_TD[first:last],
            age_TD=timing.age_TD[first:last],
            pace_T=timing.pace_T[first:last],
            driven_T=timing.driven_T[first:last],
        )
    return replace(
        track,
        states_TD=track.states_TD[first:last],
        actions_TA=track.actions_TA[first:last],
        valid_T=track.valid_T[first:last],
        frames={},
        timing=timing,
    )


def _fitting(tracks: Sequence[Track], layout: Layout) -> list[Track]:
    """Tracks with their states; one that lacks its optional action has NaN for it: no command.

    Raises:
        DataRefused: an episode lacks a state stream.
    """
    out = []
    for track in tracks:
        lacking = sorted(track.lacks & {signal.name for signal in layout.states})
        if lacking:
            what, hint = (
                "this model needs every state in every episode",
                "the families flow and masked take what is there",
            )
            raise DataRefused(what, got=lacking[0], where=track.id, hint=hint)
        quiet = layout.action.name in track.lacks
        out.append(replace(track, actions_TA=np.full_like(track.actions_TA, np.nan)) if quiet else track)
    return out

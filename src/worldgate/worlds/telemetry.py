"""Training and judging the telemetry ensemble: shared by every family that predicts robot states.

Shape legend: M members, N windows, C context rows, K steps, D state channels, A action channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from worldgate.core.errors import DataRefused
from worldgate.worlds.batches import Batch
from worldgate.worlds.nn.ensemble import Ensemble
from worldgate.worlds.tracks import Layout, Track
from worldgate.worlds.train.config import PhaseConfig
from worldgate.worlds.windows import Bank

_BETA = 0.5
_MOST_WINDOWS = 512


class TelemetryPhase:
    """Fits an ensemble: ridge start, open-loop likelihood over half a second, then calibration over one second."""

    name = "telemetry"

    def __init__(
        self, ensemble: Ensemble, config: PhaseConfig, layout: Layout, train: Sequence[Track], held_out: Sequence[Track]
    ) -> None:
        self.ensemble, self.config, self.train, self.held_out = ensemble, config, train, held_out
        self.rate_hz = layout.rate_hz
        self.unroll = int(min(12, max(5, round(0.5 * layout.rate_hz))))
        self.bank = Bank(train)
        folds = ensemble.folds(len(train))
        self.rows = [self.bank.rows(ensemble.context, self.unroll, seen) for seen in folds]
        if not all(len(rows) for rows in self.rows):
            got = f"{len(train)} episodes without {ensemble.context + self.unroll} rows free of gaps"
            raise DataRefused("episodes are too short to train on", got=got, hint="align at a lower rate")

    def parameters(self) -> list[nn.Parameter]:
        """The members' corrections; the ridge start stays as it is."""
        return list(self.ensemble.parameters())

    def prepare(self) -> None:
        """Fit the ridge start."""
        self.ensemble.fit_ridge(self.train, max(1, round(self.rate_hz / 2)))

    def draw(self, rng: np.random.Generator) -> Batch:
        """Windows at random, of its own episodes for each member."""
        ensemble = self.ensemble
        rows = [pool[rng.integers(len(pool), size=self.config.batch)] for pool in self.rows]
        parts = self.bank.take(np.concatenate(rows), ensemble.context, self.unroll)
        names = ("states_MNCD", "actions_MNTA", "future_MNKD")
        by_member = (torch.unflatten(part, 0, (ensemble.members, -1)) for part in parts)
        return Batch(tensors=dict(zip(names, by_member, strict=True)))

    def loss(self, batch: Batch) -> Tensor:
        """Beta-NLL (beta 0.5) of open-loop paths, errors in units of each channel's usual step."""
        ensemble = self.ensemble
        path, variance = ensemble.unroll(batch["states_MNCD"], batch["actions_MNTA"])
        error = (ensemble.difference(path, batch["future_MNKD"]) / ensemble.state_step_D).clamp(-100, 100)
        nll = 0.5 * (error.square() / variance + variance.log())
        steps_K1 = torch.arange(1, self.unroll + 1, device=path.device).unsqueeze(-1)
        return (nll * variance.detach() ** _BETA / steps_K1 * (1 - ensemble.state_constant_D)).mean()

    def evaluate(self) -> dict[str, float]:
        """Skill over hold-last and constant velocity at 0.5 s and 1 s, and action sensitivity, held out."""
        out: dict[str, float] = {}
        for seconds in (0.5, 1.0):
            out |= telemetry_skill(self.ensemble, self.held_out, self.rate_hz, seconds)
        return out

    def finish(self) -> None:
        """Calibrate gains and noise out of fold, over one second."""
        self.ensemble.calibrate(self.train, max(1, round(self.rate_hz)))


@torch.no_grad()
def telemetry_skill(ensemble: Ensemble, tracks: Sequence[Track], rate_hz: float, seconds: float) -> dict[str, float]:
    """One minus the squared error over that of each baseline, in channel spreads, and the ratio with wrong actions.

    Wrong actions are those of another window of the held-out episodes. Empty without a window that long.
    """
    horizon = max(1, round(seconds * rate_hz))
    bank = Bank(tracks) if tracks else None
    rows = bank.rows(ensemble.context, horizon) if bank is not None else np.zeros(0, np.int64)
    if bank is None or not len(rows):
        return {}
    rows = rows[:: -(-len(rows) // _MOST_WINDOWS)]
    states_NCD, actions_NTA, future_NKD = bank.take(rows, ensemble.context, horizon)
    now_ND, target_ND = states_NCD[:, -1], future_NKD[:, -1]
    velocity_ND = ensemble.difference(now_ND, states_NCD[:, -2])
    wrong_NTA = actions_NTA.roll(max(1, len(rows) // 2), dims=0)

    def error(path_ND: Tensor) -> float:
        scaled_ND = ensemble.difference(path_ND, target_ND) / ensemble.state_std_D
        return float((scaled_ND.square() * (1 - ensemble.state_constant_D)).mean()) + 1e-12

    ours = error(ensemble.forecast(states_NCD, actions_NTA))
    tag = f"{seconds:g}s"
    return {
        f"skill_over_hold_last_{tag}": 1 - ours / error(now_ND),
        f"skill_over_constant_velocity_{tag}": 1 - ours / error(now_ND + horizon * velocity_ND),
        f"action_sensitivity_{tag}": error(ensemble.forecast(states_NCD, wrong_NTA)) / ours,
    }

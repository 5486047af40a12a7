"""What a telemetry ensemble learns of its own errors: from each track's prediction by the member that never saw it.

Gain and noise are set for every step ahead, for errors of robots grow faster than noise adds up; neighbouring steps
lend each other their windows, and a gain is lowered by what few windows leave in doubt of it. How slowly errors change
along a path is measured as well, for paths that are drawn.

Shape legend: M members, N windows, K steps, D state channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldgate.core.streams import IntArray
from worldgate.worlds.nn.ensemble import Ensemble
from worldgate.worlds.uneven import Looks

_TRUST = 0.98
"""A correction is kept for a channel where it lowers the error of left-out episodes to this part or below."""
_WINDOWS = 192
"""Most windows a member is judged on."""
_NEAR = 1.5
"""Steps of up to so many times each other lend each other their windows."""
_SPREAD = (0.05, 30.0)
_WHOLE = 2 / 3
"""Part of the tracks that must be long enough for a horizon."""


@dataclass(frozen=True, slots=True)
class _Blind:
    """Displacements since now, of windows that the predicting member never saw."""

    predicted_NKD: Tensor
    actual_NKD: Tensor
    sigma_NKD: Tensor
    known_NKD: Tensor
    rows: int
    """Of the tracks that they come from."""

    def mean(self, values_NKD: Tensor) -> Tensor:
        """(D,) over windows and steps that were measured."""
        return (values_NKD * self.known_NKD).sum((0, 1)) / self.known_NKD.sum((0, 1)).clamp(min=1)

    def near(self, values_NKD: Tensor) -> Tensor:
        """(K, D) mean over windows of each step and those near it."""
        total_KD, count_KD = (values_NKD * self.known_NKD).sum(0), self.known_NKD.sum(0)
        step_K = torch.arange(1, len(total_KD) + 1)
        ratio_KK = step_K[:, None] / step_K[None, :]
        weight_KK = ((ratio_KK <= _NEAR) & (ratio_KK >= 1 / _NEAR)).float()
        return (weight_KK @ total_KD) / (weight_KK @ count_KD).clamp(min=1)

    def independent(self) -> Tensor:
        """(K, 1) how many windows of each length fit side by side into what was looked at."""
        return (self.rows / torch.arange(1, self.known_NKD.shape[1] + 1)).clamp(min=1).unsqueeze(1)


@torch.no_grad()
def calibrate(ensemble: Ensemble, looks: Looks, horizon: int) -> None:
    """Set trust over ``horizon`` steps, then gain and noise for every step as far as the tracks allow."""
    ensemble.gain_SD.fill_(1.0)
    ensemble.spread_SD.fill_(1.0)
    ensemble.tie_D.zero_()
    ensemble.trust_D.fill_(0.0)
    plain = _out_of_fold(ensemble, looks, horizon)
    ensemble.trust_D.fill_(1.0)
    full = _out_of_fold(ensemble, looks, horizon)
    if plain is None or full is None:
        return
    errors_D = [said.mean((said.predicted_NKD - said.actual_NKD).square()) for said in (plain, full)]
    ensemble.trust_D.copy_((errors_D[1] <= _TRUST * errors_D[0]).float())
    said = _out_of_fold(ensemble, looks, _reachable(ensemble, looks, horizon))
    if said is not None:
        _settle(ensemble, said)


def _settle(ensemble: Ensemble, said: _Blind) -> None:
    gain_KD = said.near(said.predicted_NKD * said.actual_NKD) / said.near(said.predicted_NKD.square()).clamp(min=1e-12)
    left_KD = said.near((said.actual_NKD - gain_KD * said.predicted_NKD).square())
    doubt_KD = left_KD / said.near(said.predicted_NKD.square()).clamp(min=1e-12) / said.independent()
    gain_KD = (gain_KD - doubt_KD / gain_KD.clamp(min=1e-6)).clamp(0, 1)
    error_NKD = (said.actual_NKD - gain_KD * said.predicted_NKD) / said.sigma_NKD.clamp(min=1e-9)
    spread_KD = said.near(error_NKD.square()).sqrt().clamp(*_SPREAD)
    unit_NKD = error_NKD / spread_KD * said.known_NKD
    both_NKD = said.known_NKD[:, 1:] * said.known_NKD[:, :-1]
    tie_D = (unit_NKD[:, 1:] * unit_NKD[:, :-1]).sum((0, 1)) / both_NKD.sum((0, 1)).clamp(min=1)
    ensemble.gain_SD.copy_(_whole(gain_KD, ensemble.calibrated))
    ensemble.spread_SD.copy_(_whole(spread_KD, ensemble.calibrated))
    ensemble.tie_D.copy_(tie_D.clamp(0, 0.999))


def _whole(table_KD: Tensor, steps: int) -> Tensor:
    """The table for all steps; its last entry for those beyond it."""
    return table_KD[torch.arange(steps).clamp(max=len(table_KD) - 1)]


def _reachable(ensemble: Ensemble, looks: Looks, least: int) -> int:
    """Steps ahead, up to those that are calibrated, for which most tracks have a window."""
    for steps in sorted({ensemble.calibrated, (ensemble.calibrated + least) // 2, least}, reverse=True):
        long = [len(looks.rows(ensemble.context, steps, [track])) > 0 for track in range(len(looks.tracks))]
        if sum(long) >= _WHOLE * len(long):
            return steps
    return least


def blind_member(ensemble: Ensemble, count: int) -> list[int]:
    """For each of so many tracks a member that never saw it; 0 where all have."""
    seen = ensemble.folds(count)
    return [next((m for m in range(ensemble.members) if track not in seen[m]), 0) for track in range(count)]


def _out_of_fold(ensemble: Ensemble, looks: Looks, horizon: int) -> _Blind | None:
    """Each member's paths over the windows of the tracks that are its own to judge."""
    blind = blind_member(ensemble, len(looks.tracks))
    pools = [
        _spread([looks.rows(ensemble.context, horizon, [t]) for t, by in enumerate(blind) if by == m])
        for m in range(ensemble.members)
    ]
    most = max(map(len, pools))
    if not most:
        return None
    filler = next(pool for pool in pools if len(pool))
    now = np.stack([np.resize(pool if len(pool) else filler, most) for pool in pools])
    real_MN = torch.as_tensor(np.arange(most) < np.array([len(pool) for pool in pools])[:, None])
    look = looks.take(now.reshape(-1), ensemble.context, horizon)
    window = look.window.folded(ensemble.members)
    actions, pace = (torch.unflatten(x, 0, (ensemble.members, -1)) for x in (look.actions_NTA, look.pace_NK))
    path, variance = ensemble.unroll(window, actions, pace)
    start_N1D = look.window.now_XD.unsqueeze(1)
    keep_N = real_MN.flatten()
    return _Blind(
        ensemble.difference(path.flatten(0, 1), start_N1D)[keep_N],
        ensemble.difference(look.future_NKD, start_N1D)[keep_N],
        (variance.flatten(0, 1).sqrt() * ensemble.state_step_D)[keep_N],
        look.known_NKD[keep_N],
        len(looks.states_RD),
    )


def _spread(rows: Sequence[IntArray]) -> IntArray:
    """At most ``_WINDOWS`` rows, evenly over all tracks."""
    joined = np.concatenate([np.zeros(0, np.int64), *rows])
    return joined[:: max(1, -(-len(joined) // _WINDOWS))]

"""How good a telemetry ensemble is, by horizon: skill over two baselines with intervals, CRPS, coverage, sensitivity.

Baselines know the true times: hold-last is the newest number of each channel, constant velocity carries its last speed
on over its age and the horizon. Skill is one minus the squared error over that of a baseline, in channel spreads; the
unit of the interval is the episode, or a block of time where there are few episodes.

Shape legend: M members, N windows, C context rows, K steps, D state channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldgate.core.streams import FloatArray, IntArray
from worldgate.evidence.bootstrap import ratio_interval
from worldgate.evidence.metrics.crps import of_normal
from worldgate.worlds.nn.calibration import blind_member
from worldgate.worlds.nn.ensemble import Ensemble
from worldgate.worlds.uneven import Look, Looks

HORIZONS_S = (0.5, 1.0)
_MOST_WINDOWS = 512
_FEW = 6
"""Episodes below which blocks of time are the unit of intervals."""
_BLOCK_S = 2.0
_NINETY = 1.6448536


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """One horizon: squared errors in channel spreads, by window, and what the model claims. NaN where not measured."""

    unit_N: IntArray
    """Episode or block of time of each window."""
    model_ND: FloatArray
    hold_ND: FloatArray
    velocity_ND: FloatArray
    wrong_ND: FloatArray
    """Of the model under the actions of another window."""
    crps_ND: FloatArray
    """Of the claimed normal, in channel spreads."""
    inside_ND: FloatArray
    """1 where the truth lies within the claimed central 90 %, else 0."""

    def skill(self, over: str) -> dict[str, float]:
        """``skill`` over ``hold`` or ``velocity``, with ``low`` and ``high``, 5 % on each side; NaN for few units."""
        mine, theirs = (by_unit(values, self.unit_N) for values in (self.model_ND, getattr(self, f"{over}_ND")))
        skill = 1 - (mine.sum() + 1e-12) / (theirs.sum() + 1e-12)
        if len(mine) < 2:
            return {"skill": float(skill), "low": float("nan"), "high": float("nan")}
        found = ratio_interval(mine.tolist(), theirs.tolist())
        return {"skill": float(skill), "low": 1 - float(found.upper), "high": 1 - float(found.lower)}


def figures(
    ensemble: Ensemble, looks: Looks, rate_hz: float, horizons_s: Sequence[float], *, blind: bool = False
) -> dict[str, float]:
    """The figures that stand beside the loss; empty without a window as long as the shortest horizon.

    Args:
        ensemble: calibrated.
        looks: what it is judged on.
        rate_hz: of the rows.
        horizons_s: seconds ahead.
        blind: judge each track by the member that never saw it.
    """
    out: dict[str, float] = {}
    for seconds in horizons_s:
        found = errors(ensemble, looks, rate_hz, seconds, blind=blind)
        if found is None:
            continue
        tag = f"{seconds:g}s"
        for over, name in (("hold", "hold_last"), ("velocity", "constant_velocity")):
            skill = found.skill(over)
            out[f"skill_over_{name}_{tag}"] = skill["skill"]
            out[f"skill_over_{name}_{tag}_low"] = skill["low"]
        if looks.actions_RA.shape[1]:
            sensitivity = (np.nansum(found.wrong_ND) + 1e-12) / (np.nansum(found.model_ND) + 1e-12)
            out[f"action_sensitivity_{tag}"] = float(sensitivity)
        out[f"coverage_90_{tag}"] = float(np.nanmean(found.inside_ND))
    return out


@torch.no_grad()
def errors(
    ensemble: Ensemble,
    looks: Looks,
    rate_hz: float,
    seconds: float,
    *,
    blind: bool = False,
    most: int = _MOST_WINDOWS,
    context: int = 0,
) -> Errors | None:
    """Errors at one horizon, over at most so many evenly spread windows; None without one that long.

    ``context`` is how many rows they leave before now at least, to compare models that look back on more or less.
    """
    horizon = max(1, round(seconds * rate_hz))
    now = looks.rows(max(ensemble.context, context), horizon)
    if not len(now):
        return None
    now = now[:: -(-len(now) // most)]
    look = looks.take(now, ensemble.context, horizon)
    member = None
    if blind:
        member = torch.as_tensor(np.asarray(blind_member(ensemble, len(looks.tracks)))[looks.track_of(now)])
    mean_ND, sigma_ND = forecast(ensemble, look, member)
    wrong_NTA = look.actions_NTA.roll(max(1, len(now) // 2), dims=0)
    other_ND = forecast(ensemble, look, member, wrong_NTA)[0] if wrong_NTA.shape[-1] else mean_ND
    held_ND, true_ND = look.window.now_XD, look.future_NKD[:, -1]
    scale_D = ensemble.state_std_D
    seen_ND = torch.where(look.known_NKD[:, -1] * (1 - ensemble.state_constant_D) > 0, 1.0, torch.nan)

    def error(path_ND: Tensor) -> FloatArray:
        out: FloatArray = (seen_ND * ensemble.difference(path_ND, true_ND) / scale_D).double().numpy()
        return out

    ours = error(mean_ND)
    sigma = (sigma_ND / scale_D).double().numpy()
    return Errors(
        unit_N=units(looks, now, rate_hz, horizon),
        model_ND=ours**2,
        hold_ND=error(held_ND) ** 2,
        velocity_ND=error(coasting(ensemble, look)) ** 2,
        wrong_ND=error(other_ND) ** 2,
        crps_ND=of_normal(ours, sigma),
        inside_ND=np.where(np.isnan(ours), np.nan, np.abs(ours) <= _NINETY * np.maximum(sigma, 1e-12)),
    )


def forecast(
    ensemble: Ensemble, look: Look, member_N: Tensor | None = None, actions_NTA: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Anchored mean and claimed deviation after all steps, (N, D): of all members, or of the one named for each."""
    actions = look.actions_NTA if actions_NTA is None else actions_NTA
    path, variance = ensemble.unroll(
        look.window.expand(ensemble.members), ensemble.every(actions), ensemble.every(look.pace_NK)
    )
    steps = look.future_NKD.shape[1]
    last_MND = ensemble.anchored(look.window.now_XD, path[:, :, -1], steps)
    noise_MND = ensemble.noise(variance[:, :, -1], steps)
    if member_N is not None:
        each = (member_N, torch.arange(len(member_N)))
        return last_MND[each], noise_MND[each].sqrt()
    apart = ensemble.difference(last_MND, last_MND[:1]).var(dim=0, unbiased=False)
    return ensemble.mean(last_MND), torch.maximum(apart, noise_MND.mean(dim=0)).sqrt()


def coasting(ensemble: Ensemble, look: Look) -> Tensor:
    """(N, D) where the last speed leads in the true time."""
    window = look.window
    speed = ensemble.difference(window.states_XCD[:, -1], window.states_XCD[:, -2]) / window.span_XCD[:, -1]
    speed = torch.where(window.age_XD > 0, window.drift_XD / window.age_XD.clamp(min=1e-6), speed)
    ahead_N1 = look.pace_NK.sum(dim=1, keepdim=True)
    return ensemble.shift(window.now_XD, speed * (ahead_N1 + window.age_XD))


def units(looks: Looks, now: IntArray, rate_hz: float, horizon: int) -> IntArray:
    """(N,) what windows are grouped by: their episode, or where these are few a block of time of two horizons."""
    track = looks.track_of(now)
    names = [t.id for t in looks.tracks]
    episode = np.asarray([names.index(names[t]) for t in track])
    if len(np.unique(episode)) >= _FEW:
        return episode
    block = (now - looks.offsets[track]) // max(2 * horizon, round(_BLOCK_S * rate_hz))
    return np.unique(np.stack([track, block]), axis=1, return_inverse=True)[1].reshape(-1)


def by_unit(values_ND: FloatArray, unit_N: IntArray) -> FloatArray:
    """(U,) sums over the numbers of each unit."""
    return np.asarray(np.bincount(unit_N, weights=np.nansum(values_ND, axis=1), minlength=int(unit_N.max()) + 1))


def summary(found: Errors) -> Mapping[str, float]:
    """Of one horizon, for tables."""
    hold, velocity = found.skill("hold"), found.skill("velocity")
    return {
        "skill": hold["skill"],
        "skill_low": hold["low"],
        "skill_high": hold["high"],
        "over_velocity": velocity["skill"],
        "over_velocity_low": velocity["low"],
        "over_velocity_high": velocity["high"],
        "crps": float(np.nanmean(found.crps_ND)),
        "coverage_90": float(np.nanmean(found.inside_ND)),
        "units": float(len(np.unique(found.unit_N))),
    }

"""The linear start of a telemetry ensemble: ridge regressions in closed form, chosen by leaving episodes out.

Each channel's feature groups and penalty are those under which left-out episodes are predicted best, open loop; among
them is "nothing", which is hold-last. So few episodes suffice, and no evidence means that nothing moves. Before that,
each channel's command is found by distance and its lag by :mod:`worldgate.worlds.latency`. Rows count for the channels
that were measured after them.

Shape legend: M members, N sequences, C context rows, K steps, D state channels, A action channels, F features, Q
candidates, G groups of channels that were measured together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from worldgate.core.normalisers import wrap
from worldgate.core.streams import FloatArray, IntArray
from worldgate.worlds import latency
from worldgate.worlds.nn.ensemble import Ensemble
from worldgate.worlds.uneven import Look, Looks

_PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)
_JUDGED = 96
"""Most windows a fold is judged on."""


@torch.no_grad()
def fit_ridge(ensemble: Ensemble, looks: Looks, horizon: int, lags: Sequence[latency.Lag] = ()) -> None:
    """Set each member's linear start.

    Args:
        ensemble: whose buffers are set.
        looks: the training tracks.
        horizon: steps over which left-out episodes are predicted.
        lags: what was found out about each channel's answer to commands.
    """
    command_D, gap_D = commands(ensemble, looks)
    ensemble.command_D.copy_(torch.as_tensor(command_D))
    ensemble.gap_scale_D.copy_(torch.as_tensor(gap_D))
    for channel, lag in enumerate(lags):
        ensemble.lag_D[channel] = min(lag.rows, ensemble.past - 1) if lag.found else 0
    systems = [_System(ensemble, looks, track) for track in range(len(looks.tracks))]
    masks = _masks(ensemble.sizes)
    choice_D = _choose(ensemble, looks, systems, masks, horizon)
    used_FD = np.stack([masks[c // len(_PENALTIES)][:-1] for c in choice_D], axis=1)
    ensemble.used_FD.copy_(torch.as_tensor(used_FD))
    for member, seen in enumerate(ensemble.folds(len(looks.tracks))):
        solved = _solutions([systems[i] for i in seen], masks)
        weights = np.stack([solved[c][:, d] for d, c in enumerate(choice_D)], axis=1)
        ensemble.ridge_MFD[member] = torch.as_tensor(weights, dtype=torch.float32)


def commands(ensemble: Ensemble, looks: Looks) -> tuple[IntArray, FloatArray]:
    """For each state channel the action channel that is its set point, or -1, and the usual gap between them."""
    circular, scale = ensemble.state_circular_D.numpy() > 0, ensemble.state_std_D.numpy().astype(np.float64)
    width = looks.actions_RA.shape[1]
    if not width:
        return np.full(len(scale), -1), np.ones(len(scale))
    keep = looks.known_RD.all(dim=1) if bool(looks.known_RD.all(dim=1).any()) else looks.known_RD.any(dim=1)
    keep = keep & torch.isfinite(looks.actions_RA).all(dim=1)
    for end in looks.offsets[1:]:
        keep[int(end) - 1] = False
    now = torch.nonzero(keep).squeeze(1)
    states = looks.states_RD[(now + 1).clamp(max=len(keep) - 1)].double().numpy()
    actions = looks.actions_RA[now].double().numpy()
    gap_RDA = actions[:, None, :] - states[:, :, None]
    gap_RDA = np.where(circular[None, :, None], wrap(gap_RDA), gap_RDA)
    distance_DA = np.sqrt((gap_RDA**2).mean(axis=0))
    nearest = distance_DA.min(axis=1)
    return np.where(nearest < 0.5 * scale, distance_DA.argmin(axis=1), -1), np.maximum(nearest, 1e-6)


class _System:
    """Normal equations of one track, for each group of channels that were measured at the same rows."""

    def __init__(self, ensemble: Ensemble, looks: Looks, track: int) -> None:
        now = looks.rows(ensemble.context, 1, [track])
        look = looks.take(now, ensemble.context, 1)
        past = look.actions_NTA[:, ensemble.context - ensemble.past : ensemble.context]
        x_NF = ensemble.features(look.window.last(ensemble.reach), past).double().numpy()
        change = ensemble.difference(look.future_NKD[:, 0], look.window.now_XD) / ensemble.state_step_D
        y_ND = (change / look.pace_NK[:, :1]).clamp(-20, 20).double().numpy()
        x_NF = np.concatenate([x_NF, np.ones((len(now), 1))], axis=1)
        known_ND = look.known_NKD[:, 0].numpy() > 0
        patterns, group_D = np.unique(known_ND, axis=1, return_inverse=True) if len(now) else (None, None)
        if patterns is None or group_D is None:
            patterns, group_D = np.zeros((0, 1), bool), np.zeros(known_ND.shape[1], np.int64)
        self.group_D = group_D.reshape(-1)
        kept = [x_NF * pattern[:, None] for pattern in patterns.T]
        self.grams = [x.T @ x for x in kept]
        self.rows = [int(pattern.sum()) for pattern in patterns.T]
        self.cross = x_NF.T @ (y_ND * known_ND)


def _solutions(systems: Sequence[_System], masks: Sequence[FloatArray]) -> list[FloatArray]:
    """(F + 1, D) coefficients of every candidate: each mask under each penalty."""
    together, group_D = np.unique(np.stack([s.group_D for s in systems]), axis=1, return_inverse=True)
    cross = np.sum([s.cross for s in systems], axis=0)
    out = [np.zeros_like(cross) for _ in range(len(masks) * len(_PENALTIES))]
    for group, own in enumerate(together.T):
        channels = np.flatnonzero(group_D.reshape(-1) == group)
        gram = np.sum([s.grams[g] for s, g in zip(systems, own, strict=True)], axis=0)
        rows = sum(s.rows[g] for s, g in zip(systems, own, strict=True))
        for index, mask in enumerate(masks):
            keep = np.flatnonzero(mask)
            if not len(keep):
                continue
            penalised = np.append(np.ones(len(mask) - 1), 1e-6)[keep]
            for step, penalty in enumerate(_PENALTIES):
                left = gram[np.ix_(keep, keep)] + penalty * max(rows, 1) * np.diag(penalised)
                found = np.linalg.solve(left, cross[np.ix_(keep, channels)])
                out[index * len(_PENALTIES) + step][np.ix_(keep, channels)] = found
    return out


def _masks(sizes: Sequence[int]) -> list[FloatArray]:
    """(F + 1,) which features a candidate uses: none, then one group more each; the constant with the commands.

    The last group, older commands, is tried with and without.
    """
    ends = [0, *np.cumsum(sizes)]
    masks = [np.concatenate([np.arange(ends[-1]) < end, [0.0]]) for end in ends[:-1]]
    for mask in masks[3:]:
        mask[-1] = 1.0
    if not sizes[-1]:
        return masks
    late = np.concatenate([np.arange(ends[-1]) >= ends[-2], [0.0]])
    return [*masks, *(np.maximum(mask, late) for mask in masks[1:])]


def _choose(
    ensemble: Ensemble, looks: Looks, systems: Sequence[_System], masks: Sequence[FloatArray], horizon: int
) -> IntArray:
    """(D,) index of each channel's best candidate by error on left-out episodes."""
    count = len(looks.tracks)
    total = np.zeros((len(masks) * len(_PENALTIES), len(ensemble.command_D)))
    for seen in ensemble.folds(count)[: min(count, ensemble.members)]:
        left = [i for i in range(count) if i not in seen] or list(seen)
        now = looks.rows(ensemble.context, horizon, left)
        if not len(now):
            continue
        look = looks.take(now[:: -(-len(now) // _JUDGED)], ensemble.context, horizon)
        weights = np.stack(_solutions([systems[i] for i in seen], masks))
        total += _open_loop(ensemble, torch.as_tensor(weights, dtype=torch.float32), look)
    best: IntArray = total.argmin(axis=0)
    return best


def _open_loop(ensemble: Ensemble, ridge_QFD: Tensor, look: Look) -> FloatArray:
    """(Q, D) squared error of each candidate's path, each rolled forward for all channels, in steps."""
    window = look.window.last(ensemble.reach).expand(len(ridge_QFD))
    error_QD = torch.zeros(len(ridge_QFD), look.future_NKD.shape[-1])
    for k in range(look.future_NKD.shape[1]):
        end = ensemble.context + k
        drive = look.actions_NTA[:, end - ensemble.past : end].expand(len(ridge_QFD), -1, -1, -1)
        x = ensemble.features(window, drive)
        change = torch.baddbmm(ridge_QFD[:, -1:], x, ridge_QFD[:, :-1]) * (1 - ensemble.state_constant_D)
        ahead = ensemble.advance(window.now_XD, change, look.pace_NK[:, k])
        window = window.push(ahead, look.pace_NK[:, k])
        apart = ensemble.difference(ahead, look.future_NKD[:, k]) / ensemble.state_step_D
        error_QD += (apart.square() * look.known_NKD[:, k]).mean(dim=1)
    return error_QD.double().numpy()

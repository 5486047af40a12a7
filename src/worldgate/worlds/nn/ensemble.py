"""Telemetry dynamics shared by the families: an ensemble of linear-plus-MLP members, unrolled open loop.

Source: probabilistic ensembles (PETS, arXiv 1805.12114) trained on multi-step predictions. Notable choices: each member
starts at a ridge regression of the next change on states, past changes, actions and the gap to the command, whose
penalty is chosen by leaving episodes out, so few episodes suffice and no evidence means "hold the last value"; the MLP
corrects it. Member m never sees the episodes of fold m, so each episode has one member that is honest about it; these
out-of-fold predictions set a gain per channel (0 is hold-last, 1 the model as it is) and the scale of the noise.

Shape legend: M members, N sequences, C context rows, K steps, D state channels, A action channels, F features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from worldgate.core.normalisers import Normaliser, wrap
from worldgate.core.streams import FloatArray
from worldgate.worlds.tracks import Layout, Track
from worldgate.worlds.windows import Bank

_PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)
_LOG_STD = (-5.0, 2.0)
_TRUST = 0.98
"""A correction is kept for a channel where it lowers the error of left-out episodes to this part or below."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsembleConfig:
    """Size and context of the telemetry ensemble."""

    members: int = 5
    width: int = 96
    """Hidden units of each member's two layers."""
    context: int = 0
    """Rows it looks back on, now included; 0: 0.2 s worth, between 3 and 8."""

    def rows(self, rate_hz: float) -> int:
        """C for a grid of this rate."""
        return self.context or int(min(8, max(3, round(0.2 * rate_hz) + 1)))


class EnsembleLinear(nn.Module):
    """One linear layer a member: (M, N, I) to (M, N, O)."""

    def __init__(self, members: int, inputs: int, outputs: int, *, gain: float = 1.0) -> None:
        super().__init__()
        self.weight_MIO = nn.Parameter(torch.randn(members, inputs, outputs) * gain / math.sqrt(inputs))
        self.bias_M1O = nn.Parameter(torch.zeros(members, 1, outputs))

    def forward(self, x_MNI: Tensor) -> Tensor:
        """Apply each member's layer to its own rows."""
        return torch.baddbmm(self.bias_M1O, x_MNI, self.weight_MIO)


class Ensemble(nn.Module):
    """Predicts the next change of every channel, in units of that channel's usual step."""

    def __init__(self, config: EnsembleConfig, layout: Layout, normaliser: Normaliser) -> None:
        super().__init__()
        self.context = config.rows(layout.rate_hz)
        self.members = config.members
        state = _joined(normaliser, [signal.name for signal in layout.states])
        action = _joined(normaliser, [layout.action.name])
        for name, values in state.items():
            self.register_buffer(f"state_{name}_D", values, persistent=False)
        for name in ("mean", "std", "step", "circular", "constant"):
            self.register_buffer(f"action_{name}_A", action[name], persistent=False)
        width_d, width_a = layout.state_width, layout.action_width
        self.sizes = [(self.context - 1) * (width_d + width_a), width_d, width_a, 2 * width_d]
        features = sum(self.sizes)
        self.register_buffer("command_D", torch.full((width_d,), -1, dtype=torch.int64))
        self.register_buffer("gap_scale_D", torch.ones(width_d))
        self.register_buffer("ridge_MFD", torch.zeros(config.members, features + 1, width_d))
        self.register_buffer("used_FD", torch.ones(features, width_d))
        self.register_buffer("trust_D", torch.ones(width_d))
        self.register_buffer("gain_D", torch.ones(width_d))
        self.register_buffer("spread_D", torch.ones(width_d))
        self.skip_MFD = nn.Parameter(torch.zeros(config.members, features, width_d))
        self.inner = EnsembleLinear(config.members, features, config.width)
        self.hidden = EnsembleLinear(config.members, config.width, config.width)
        self.outer = EnsembleLinear(config.members, config.width, 2 * width_d, gain=0.01)

    # buffers registered in loops above, named for the type checker
    state_mean_D: Tensor
    state_std_D: Tensor
    state_step_D: Tensor
    state_min_D: Tensor
    state_max_D: Tensor
    state_circular_D: Tensor
    state_constant_D: Tensor
    action_mean_A: Tensor
    action_std_A: Tensor
    action_step_A: Tensor
    action_circular_A: Tensor
    action_constant_A: Tensor
    command_D: Tensor
    gap_scale_D: Tensor
    ridge_MFD: Tensor
    used_FD: Tensor
    trust_D: Tensor
    gain_D: Tensor
    spread_D: Tensor

    def difference(self, a_D: Tensor, b_D: Tensor) -> Tensor:
        """``a - b``, wrapped on circular channels."""
        delta_D = a_D - b_D
        return torch.where(self.state_circular_D > 0, _wrap(delta_D), delta_D)

    def features(self, states_NCD: Tensor, actions_NCA: Tensor) -> Tensor:
        """(..., F) inputs of a step from the last C rows, in four groups from the most to the least transferable.

        Changes of states and commands; gaps between command and state; commands; places. Places an episode was never
        at say little about it, so they are clamped, and the ridge start uses a group only where that predicts better.
        """
        now_ND, command_NA = states_NCD[..., -1, :], actions_NCA[..., -1, :]
        moves = self.difference(states_NCD[..., 1:, :], states_NCD[..., :-1, :]) / self.state_step_D
        turns = actions_NCA[..., 1:, :] - actions_NCA[..., :-1, :]
        turns = torch.where(self.action_circular_A > 0, _wrap(turns), turns) / self.action_step_A
        gap_ND = self.gap(now_ND, command_NA) / self.gap_scale_D * (self.command_D >= 0)
        near = torch.cat([moves.flatten(-2), turns.flatten(-2)], dim=-1).clamp(-20, 20)
        far = torch.cat([self.command(command_NA), self.place(now_ND)], dim=-1)
        return torch.cat([near, gap_ND.clamp(-8, 8), far], dim=-1)

    def command(self, actions_NA: Tensor) -> Tensor:
        """(..., A) actions, centred and scaled, clamped to three spreads."""
        scaled_NA = (actions_NA - self.action_mean_A) / self.action_std_A * (1 - self.action_constant_A)
        return scaled_NA.clamp(-3, 3)

    def place(self, states_ND: Tensor) -> Tensor:
        """(..., 2 D) states, centred and scaled, clamped to three spreads; angles as sine and cosine."""
        circular_D = self.state_circular_D > 0
        place_ND = (states_ND - self.state_mean_D) / self.state_std_D * (1 - self.state_constant_D)
        place_ND = torch.where(circular_D, torch.sin(states_ND), place_ND.clamp(-3, 3))
        cos_ND = torch.where(circular_D, torch.cos(states_ND), torch.zeros_like(states_ND))
        return torch.cat([place_ND, cos_ND], dim=-1)

    def gap(self, now_ND: Tensor, command_NA: Tensor) -> Tensor:
        """How far each channel's command, if it has one, is from its state: (..., D) in the stream's unit."""
        return self.difference(command_NA.index_select(-1, self.command_D.clamp(min=0)), now_ND)

    def linear(self, x_MNF: Tensor) -> Tensor:
        """The ridge start alone: (M, N, D)."""
        return torch.baddbmm(self.ridge_MFD[:, -1:], x_MNF, self.ridge_MFD[:, :-1])

    def change(self, states_MNCD: Tensor, actions_MNCA: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of the next change, both (M, N, D), in units of the usual step."""
        x_MNF = self.features(states_MNCD, actions_MNCA)
        skip_MND = torch.bmm(x_MNF, self.skip_MFD * self.used_FD)
        squashed_MNF = x_MNF.sign() * torch.log1p(x_MNF.abs())
        hidden_MNH = nn.functional.silu(self.hidden(nn.functional.silu(self.inner(squashed_MNF))))
        mean_MND, raw_MND = self.outer(hidden_MNH).chunk(2, dim=-1)
        low, high = _LOG_STD
        log_std_MND = low + (high - low) * torch.sigmoid(raw_MND + 0.8)
        change_MND = self.linear(x_MNF) + self.trust_D * (skip_MND + mean_MND)
        return change_MND * (1 - self.state_constant_D), log_std_MND

    def advance(self, now_MND: Tensor, change_MND: Tensor) -> Tensor:
        """Add a change; angles wrap, others go no further than half the training range beyond it, or back in."""
        next_MND = now_MND + change_MND * self.state_step_D
        margin_D = 0.5 * (self.state_max_D - self.state_min_D)
        high_MND = torch.maximum(self.state_max_D + margin_D, now_MND)
        low_MND = torch.minimum(self.state_min_D - margin_D, now_MND)
        bounded_MND = torch.maximum(torch.minimum(next_MND, high_MND), low_MND)
        bounded_MND = torch.where(self.state_constant_D > 0, now_MND, bounded_MND)
        return torch.where(self.state_circular_D > 0, _wrap(next_MND), bounded_MND)

    def unroll(self, states_MNCD: Tensor, actions_MNTA: Tensor) -> tuple[Tensor, Tensor]:
        """Roll means forward without noise: T = C - 1 + K actions give states and variances, each (M, N, K, D).

        Variances are in squared steps and add up along the way.
        """
        window, context = states_MNCD, self.context
        variance_MND = torch.zeros_like(states_MNCD[..., -1, :])
        states, variances = [], []
        for k in range(actions_MNTA.shape[-2] - context + 1):
            mean_MND, log_std_MND = self.change(window, actions_MNTA[..., k : k + context, :])
            next_MND = self.advance(window[..., -1, :], mean_MND)
            variance_MND = variance_MND + torch.exp(2 * log_std_MND)
            window = torch.cat([window[..., 1:, :], next_MND.unsqueeze(-2)], dim=-2)
            states.append(next_MND)
            variances.append(variance_MND)
        return torch.stack(states, dim=-2), torch.stack(variances, dim=-2)

    def folds(self, tracks: int) -> list[list[int]]:
        """Track indices that each member may see: all but its own fold; with fewer than three tracks, all."""
        if tracks < 3:
            return [list(range(tracks)) for _ in range(self.members)]
        folds = min(tracks, self.members)
        return [[i for i in range(tracks) if i % folds != m % folds] for m in range(self.members)]

    def _commands(self, tracks: Sequence[Track]) -> tuple[FloatArray, FloatArray]:
        """For each state channel the action channel that is its set point, or -1, and the usual gap between them."""
        circular, scale = self.state_circular_D.numpy() > 0, self.state_std_D.numpy().astype(np.float64)
        states = np.concatenate([t.states_TD[1:] for t in tracks])
        actions = np.concatenate([t.actions_TA[:-1] for t in tracks])
        keep = np.concatenate([t.valid_T[1:] & t.valid_T[:-1] for t in tracks])
        gap_TDA = actions[keep][:, None, :] - states[keep][:, :, None]
        gap_TDA = np.where(circular[None, :, None], wrap(gap_TDA), gap_TDA)
        distance_DA = np.sqrt((gap_TDA**2).mean(axis=0))
        nearest = distance_DA.min(axis=1)
        return np.where(nearest < 0.5 * scale, distance_DA.argmin(axis=1), -1), np.maximum(nearest, 1e-6)

    def _regression(self, track: Track) -> tuple[FloatArray, FloatArray]:
        """Features with a trailing 1, and the next change in steps, over every valid row of a track."""
        now = track.starts(self.context, 1)
        states_NCD, actions_NCA, future_N1D = Bank([track]).take(now, self.context, 1)
        x = self.features(states_NCD, actions_NCA).double().numpy()
        y = self.difference(future_N1D[:, 0], states_NCD[:, -1]) / self.state_step_D
        return np.concatenate([x, np.ones((len(now), 1))], axis=1), y.clamp(-20, 20).double().numpy()

    @torch.no_grad()
    def fit_ridge(self, tracks: Sequence[Track], horizon: int) -> None:
        """Set each member's linear start.

        Each channel's feature groups and penalty are those under which left-out episodes are predicted best, open loop
        over ``horizon`` steps; among them is "nothing", which is hold-last.
        """
        command, gap = self._commands(tracks)
        self.command_D.copy_(torch.as_tensor(command))
        self.gap_scale_D.copy_(torch.as_tensor(gap))
        systems = [_System(*self._regression(t)) for t in tracks]
        masks = self._masks()
        choice_D = self._choose(tracks, systems, masks, horizon)
        self.used_FD.copy_(torch.as_tensor(np.stack([masks[c // len(_PENALTIES)][:-1] for c in choice_D], axis=1)))
        for member, seen in enumerate(self.folds(len(tracks))):
            solved = _solutions([systems[i] for i in seen], masks)
            weights = np.stack([solved[c][:, d] for d, c in enumerate(choice_D)], axis=1)
            self.ridge_MFD[member] = torch.as_tensor(weights, dtype=torch.float32)

    def _masks(self) -> list[FloatArray]:
        """(F + 1,) which features a candidate uses: none, then one group more each; the constant with the commands."""
        ends = [0, *np.cumsum(self.sizes)]
        masks = [np.concatenate([np.arange(ends[-1]) < end, [0.0]]) for end in ends]
        for mask in masks[3:]:
            mask[-1] = 1.0
        return masks

    def _choose(
        self, tracks: Sequence[Track], systems: Sequence[_System], masks: Sequence[FloatArray], horizon: int
    ) -> FloatArray:
        """(D,) index of each channel's best candidate by error on left-out episodes."""
        folds = self.folds(len(tracks))[: min(len(tracks), self.members)]
        total = np.zeros((len(masks) * len(_PENALTIES), len(self.command_D)))
        for seen in folds:
            left = [i for i in range(len(tracks)) if i not in seen] or list(seen)
            bank = Bank([tracks[i] for i in left])
            now = bank.rows(self.context, horizon)
            if not len(now):
                continue
            parts = bank.take(now[:: -(-len(now) // 96)], self.context, horizon)
            weights = np.stack(_solutions([systems[i] for i in seen], masks))
            total += self._open_loop(torch.as_tensor(weights, dtype=torch.float32), *parts)
        best: FloatArray = total.argmin(axis=0)
        return best

    def _open_loop(self, ridge_QFD: Tensor, states_NCD: Tensor, actions_NTA: Tensor, future_NKD: Tensor) -> FloatArray:
        """(Q, D) squared error of each candidate's path, each rolled forward for all channels, in steps."""
        window = states_NCD.expand(len(ridge_QFD), *states_NCD.shape)
        error_QD = torch.zeros(len(ridge_QFD), states_NCD.shape[-1])
        for k in range(future_NKD.shape[1]):
            drive = actions_NTA[:, k : k + self.context].expand(len(ridge_QFD), -1, -1, -1)
            x = self.features(window, drive)
            change = torch.baddbmm(ridge_QFD[:, -1:], x, ridge_QFD[:, :-1]) * (1 - self.state_constant_D)
            ahead = self.advance(window[..., -1, :], change)
            window = torch.cat([window[..., 1:, :], ahead.unsqueeze(-2)], dim=-2)
            error_QD += (self.difference(ahead, future_NKD[:, k]) / self.state_step_D).square().mean(dim=1)
        return error_QD.double().numpy()

    @torch.no_grad()
    def calibrate(self, tracks: Sequence[Track], horizon: int) -> None:
        """Set the gain and the noise scale from each episode's prediction by the member that never saw it."""
        self.gain_D.fill_(1.0)
        self.spread_D.fill_(1.0)
        self.trust_D.fill_(0.0)
        plain = self._out_of_fold(tracks, horizon)
        self.trust_D.fill_(1.0)
        full = self._out_of_fold(tracks, horizon)
        if plain is None or full is None:
            return
        errors_D = [(predicted - actual).square().mean(0) for predicted, actual, _ in (plain, full)]
        self.trust_D.copy_((errors_D[1] <= _TRUST * errors_D[0]).float())
        mixed = self._out_of_fold(tracks, horizon)
        assert mixed is not None
        predicted_RD, actual_RD, sigma_RD = mixed
        gain_D = (predicted_RD * actual_RD).sum(0) / predicted_RD.square().sum(0).clamp(min=1e-12)
        self.gain_D.copy_(gain_D.clamp(0, 1))
        error_RD = (actual_RD - self.gain_D * predicted_RD) / sigma_RD.clamp(min=1e-9)
        self.spread_D.copy_(error_RD.square().mean(0).sqrt().clamp(0.1, 10))

    def _out_of_fold(self, tracks: Sequence[Track], horizon: int) -> tuple[Tensor, Tensor, Tensor] | None:
        """Predicted and actual displacement, and predicted deviation: one row a window and step, (R, D)."""
        seen = self.folds(len(tracks))
        parts = []
        for index, track in enumerate(tracks):
            member = next((m for m in range(self.members) if index not in seen[m]), 0)
            now = track.starts(self.context, horizon)[:: max(1, horizon // 4)]
            if not len(now):
                continue
            states_NCD, actions_NTA, future_NKD = Bank([track]).take(now, self.context, horizon)
            path, variance = self.unroll(self._every(states_NCD), self._every(actions_NTA))
            start_N1D = states_NCD[:, -1:]
            predicted = self.difference(path[member], start_N1D).flatten(0, 1)
            actual = self.difference(future_NKD, start_N1D).flatten(0, 1)
            parts.append((predicted, actual, (variance[member].sqrt() * self.state_step_D).flatten(0, 1)))
        if not parts:
            return None
        predicted_RD, actual_RD, sigma_RD = (torch.cat(p) for p in zip(*parts, strict=True))
        return predicted_RD, actual_RD, sigma_RD

    def _every(self, values: Tensor) -> Tensor:
        """The same for every member."""
        return values.expand(self.members, *values.shape)

    def forecast(self, states_NCD: Tensor, actions_NTA: Tensor) -> Tensor:
        """The anchored mean over members after all actions, (N, D)."""
        path, _ = self.unroll(self._every(states_NCD), self._every(actions_NTA))
        return self.anchored(states_NCD[:, -1], self.mean(path[:, :, -1]))

    def mean(self, states_MND: Tensor) -> Tensor:
        """Mean over members, of angles too: (N, D)."""
        return self.shift(states_MND[0], self.difference(states_MND, states_MND[:1]).mean(dim=0))

    def anchored(self, start_D: Tensor, path_D: Tensor) -> Tensor:
        """Pull a predicted state towards where it started, by the calibrated gain of each channel."""
        return self.shift(start_D, self.gain_D * self.difference(path_D, start_D))

    def shift(self, state_D: Tensor, by_D: Tensor) -> Tensor:
        """Add a displacement; angles wrap."""
        moved_D = state_D + by_D
        return torch.where(self.state_circular_D > 0, _wrap(moved_D), moved_D)


def _wrap(angle: Tensor) -> Tensor:
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi


def _joined(normaliser: Normaliser, names: Sequence[str]) -> dict[str, Tensor]:
    fields = ("mean", "std", "step", "min", "max", "circular", "constant")
    return {
        field: torch.tensor([float(v) for n in names for v in getattr(normaliser.streams[n], field)])
        for field in fields
    }


class _System:
    """Normal equations of one track."""

    def __init__(self, x: FloatArray, y: FloatArray) -> None:
        self.gram, self.cross, self.rows = x.T @ x, x.T @ y, len(x)


def _solutions(systems: Sequence[_System], masks: Sequence[FloatArray]) -> list[FloatArray]:
    """(F + 1, D) coefficients of every candidate: each mask under each penalty."""
    gram = np.sum([s.gram for s in systems], axis=0)
    cross = np.sum([s.cross for s in systems], axis=0)
    rows = sum(s.rows for s in systems)
    out = []
    for mask in masks:
        keep = np.flatnonzero(mask)
        penalised = np.append(np.ones(len(mask) - 1), 1e-6)[keep]
        for penalty in _PENALTIES:
            weights = np.zeros_like(cross)
            if len(keep):
                left = gram[np.ix_(keep, keep)] + penalty * max(rows, 1) * np.diag(penalised)
                weights[keep] = np.linalg.solve(left, cross[keep])
            out.append(weights)
    return out

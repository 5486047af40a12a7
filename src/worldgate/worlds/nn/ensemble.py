"""Telemetry dynamics shared by the families: an ensemble of linear-plus-network members, unrolled open loop.

Source: probabilistic ensembles (PETS, arXiv 1805.12114) trained on multi-step predictions. Notable choices: each member
starts at a ridge regression of the next change on states, past changes, actions and the gap to the command
(``starting.py``); a network corrects it, which may remember seconds (``memories.py``). Member m never sees the episodes
of fold m, so each episode has one member that is honest about it; these out-of-fold predictions set a gain per channel
and step ahead (0 is hold-last, 1 the model as it is) and the scale of the noise (``calibration.py``). Rows may be
uneven and numbers missing (``window.py``): a change is predicted for one period and scaled to the time of the step.

Shape legend: M members, N sequences, C context rows, W rows that the start sees, P commands it sees, K steps, S steps
that are calibrated, D state channels, A action channels, F features, I numbers of a token.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor, nn

from worldgate.core.choices import settle
from worldgate.core.errors import ConfigError
from worldgate.core.normalisers import Normaliser
from worldgate.worlds.nn.memories import EnsembleLinear, Held, Memory, make_memory
from worldgate.worlds.nn.window import Window, apart, turned, wrapped
from worldgate.worlds.tracks import Layout

_LOG_STD = (-5.0, 2.0)
_CALIBRATED_S = 2.0
_LONGEST = 64
"""Most rows that a memory is given."""


class Core(StrEnum):
    """What corrects the linear start."""

    MLP = "mlp"
    """A network that sees what the start sees."""
    GRU = "gru"
    """The same, and what a recurrent network remembers of the rows before."""
    TRANSFORMER = "transformer"
    """The same, and what causal attention finds in the rows before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsembleConfig:
    """Size and context of the telemetry ensemble."""

    members: int = 5
    width: int = 96
    """Hidden units of each member's two layers."""
    context: int = 0
    """Rows of states that the linear start looks back on, now included; 0: 0.2 s worth, between 3 and 8."""
    commands_s: float = 0.0
    """Seconds of actions it looks back on, for robots that answer late; 0: as far as the states."""
    core: Core = Core.MLP
    memory_s: float = 2.0
    """Seconds of rows that ``gru`` and ``transformer`` are given, 64 rows at most."""
    memory: int = 48
    """Width of that memory."""

    def __post_init__(self) -> None:
        settle(self)
        if self.context == 1 or min(self.context, self.commands_s, self.memory_s) < 0:
            got = f"context = {self.context}, commands_s = {self.commands_s}, memory_s = {self.memory_s}"
            raise ConfigError(
                "a model looks back on two rows or more, and on no negative time", got=got, where="ensemble"
            )

    def rows(self, rate_hz: float) -> int:
        """W for a grid of this rate."""
        return self.context or int(min(8, max(3, round(0.2 * rate_hz) + 1)))

    def commands(self, rate_hz: float) -> int:
        """P for a grid of this rate."""
        return max(self.rows(rate_hz), round(self.commands_s * rate_hz) + 1)

    def remembered(self, rate_hz: float) -> int:
        """C for a grid of this rate: rows a prompt must hold."""
        least = max(self.rows(rate_hz), self.commands(rate_hz))
        if self.core is Core.MLP:
            return least
        return max(least, min(_LONGEST, round(self.memory_s * rate_hz) + 1))


class Ensemble(nn.Module):
    """Predicts the next change of every channel, in units of that channel's usual step."""

    def __init__(self, config: EnsembleConfig, layout: Layout, normaliser: Normaliser) -> None:
        super().__init__()
        rate = layout.rate_hz
        self.members, self.reach, self.past = config.members, config.rows(rate), config.commands(rate)
        self.context = config.remembered(rate)
        state = _joined(normaliser, [signal.name for signal in layout.states])
        action = _joined(normaliser, [layout.action.name] if layout.action.name else [])
        for name, values in state.items():
            self.register_buffer(f"state_{name}_D", values, persistent=False)
        for name in ("mean", "std", "step", "circular", "constant"):
            self.register_buffer(f"action_{name}_A", action[name], persistent=False)
        width_d, width_a = layout.state_width, layout.action_width
        moves, older = self.reach - 1, self.past - self.reach
        self.sizes = [moves * (width_d + width_a) + 2 * width_d, width_d, width_a, 2 * width_d, older * width_a]
        features = sum(self.sizes)
        self.register_buffer("command_D", torch.full((width_d,), -1, dtype=torch.int64))
        self.register_buffer("lag_D", torch.zeros(width_d, dtype=torch.int64))
        self.register_buffer("gap_scale_D", torch.ones(width_d))
        self.register_buffer("ridge_MFD", torch.zeros(config.members, features + 1, width_d))
        self.register_buffer("used_FD", torch.ones(features, width_d))
        self.register_buffer("trust_D", torch.ones(width_d))
        self.calibrated = max(1, round(_CALIBRATED_S * rate))
        self.register_buffer("gain_SD", torch.ones(self.calibrated, width_d))
        self.register_buffer("spread_SD", torch.ones(self.calibrated, width_d))
        self.register_buffer("tie_D", torch.zeros(width_d))
        self.skip_MFD = nn.Parameter(torch.zeros(config.members, features, width_d))
        self.inner = EnsembleLinear(config.members, features, config.width)
        self.hidden = EnsembleLinear(config.members, config.width, config.width)
        self.outer = EnsembleLinear(config.members, config.width, 2 * width_d, gain=0.01)
        self.memory: Memory | None = None
        if config.core is not Core.MLP:
            token = 4 * width_d + 2 * width_a
            self.memory = make_memory(config.core.value, config.members, token, config.memory, self.context)
            self.recall = EnsembleLinear(config.members, config.memory, config.width, gain=0.1)

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
    lag_D: Tensor
    gap_scale_D: Tensor
    ridge_MFD: Tensor
    used_FD: Tensor
    trust_D: Tensor
    gain_SD: Tensor
    spread_SD: Tensor
    tie_D: Tensor

    def difference(self, a_D: Tensor, b_D: Tensor) -> Tensor:
        """``a - b``, wrapped on circular channels."""
        return apart(a_D, b_D, self.state_circular_D)

    def features(self, window: Window, actions_NPA: Tensor) -> Tensor:
        """(..., F) inputs of a step from the last W rows and P commands, from the most to the least transferable.

        Changes of states and commands, with the age of what was held; gaps between command and state; commands;
        places; changes of older commands. Places an episode was never at say little about it, so they are clamped, and
        the ridge start uses a group only where that predicts better.
        """
        moves = self.difference(window.states_XCD[..., 1:, :], window.states_XCD[..., :-1, :])
        moves = moves / window.span_XCD / self.state_step_D
        turns = self.turns(actions_NPA)
        older, newer = turns[..., : self.past - self.reach, :], turns[..., self.past - self.reach :, :]
        held = torch.cat([window.age_XD, window.drift_XD / self.state_step_D], dim=-1)
        near = torch.cat([moves.flatten(-2), newer.flatten(-2), held], dim=-1).clamp(-20, 20)
        gap = self.gap(window.now_XD, self.commanded(actions_NPA)) / self.gap_scale_D * (self.command_D >= 0)
        far = [self.command(actions_NPA[..., -1, :]), self.place(window.now_XD)]
        return torch.cat([near, gap.clamp(-8, 8), *far, older.flatten(-2).clamp(-20, 20)], dim=-1)

    def turns(self, actions_NTA: Tensor) -> Tensor:
        """(..., T - 1, A) changes of commands, in their usual step; none where there is no command."""
        turns = apart(actions_NTA[..., 1:, :], actions_NTA[..., :-1, :], self.action_circular_A)
        return (turns / self.action_step_A).nan_to_num(0.0)

    def commanded(self, actions_NPA: Tensor) -> Tensor:
        """(..., D) the command that each channel obeys now, given its lag; NaN for channels without one."""
        if not actions_NPA.shape[-1]:
            return actions_NPA.new_full((*actions_NPA.shape[:-2], len(self.lag_D)), math.nan)
        rows_D = actions_NPA.shape[-2] - 1 - self.lag_D
        place_D = rows_D.clamp(min=0) * actions_NPA.shape[-1] + self.command_D.clamp(min=0)
        return actions_NPA.flatten(-2).index_select(-1, place_D)

    def command(self, actions_NA: Tensor) -> Tensor:
        """(..., A) actions, centred and scaled, clamped to three spreads; 0 where there is none."""
        scaled_NA = (actions_NA - self.action_mean_A) / self.action_std_A * (1 - self.action_constant_A)
        return scaled_NA.clamp(-3, 3).nan_to_num(0.0)

    def place(self, states_ND: Tensor) -> Tensor:
        """(..., 2 D) states, centred and scaled, clamped to three spreads; angles as sine and cosine."""
        circular_D = self.state_circular_D > 0
        place_ND = (states_ND - self.state_mean_D) / self.state_std_D * (1 - self.state_constant_D)
        place_ND = torch.where(circular_D, torch.sin(states_ND), place_ND.clamp(-3, 3))
        cos_ND = torch.where(circular_D, torch.cos(states_ND), torch.zeros_like(states_ND))
        return torch.cat([place_ND, cos_ND], dim=-1)

    def gap(self, now_ND: Tensor, command_ND: Tensor) -> Tensor:
        """How far each channel's command is from its state: (..., D) in the stream's unit; 0 without a command."""
        return self.difference(command_ND, now_ND).nan_to_num(0.0)

    def linear(self, x_MNF: Tensor) -> Tensor:
        """The ridge start alone: (M, N, D)."""
        return torch.baddbmm(self.ridge_MFD[:, -1:], x_MNF, self.ridge_MFD[:, :-1])

    def tokens(self, window: Window, actions_NCA: Tensor) -> Tensor:
        """(..., C - 1, I) every row but the first, for a memory: how it came there, where it is, what it is told."""
        moves = self.difference(window.states_XCD[..., 1:, :], window.states_XCD[..., :-1, :])
        moves = (moves / window.span_XCD / self.state_step_D).clamp(-20, 20)
        turns = self.turns(actions_NCA).clamp(-20, 20)
        age = torch.zeros_like(moves)
        age[..., -1, :] = window.age_XD
        places = self.place(window.states_XCD[..., 1:, :])
        tokens = torch.cat([moves, turns, age, places, self.command(actions_NCA[..., 1:, :])], dim=-1)
        return tokens.sign() * torch.log1p(tokens.abs())

    def begin(self, window: Window, actions_MNTA: Tensor) -> Held:
        """What a memory holds of the rows before now; ``actions`` are those in force from each of them on."""
        if self.memory is None:
            return None
        before = Window.even(window.states_XCD[..., :-1, :])
        before = Window(before.states_XCD, window.span_XCD[..., :-1, :], before.age_XD, before.drift_XD)
        return self.memory.begin(self.tokens(before, actions_MNTA))

    def change(self, window: Window, actions_MNPA: Tensor, held: Held = None) -> tuple[Tensor, Tensor, Held]:
        """Mean and log standard deviation of the next change, both (M, N, D), in units of the usual step a period.

        Args:
            window: (M, N) of at least the last W rows.
            actions_MNPA: the last P commands; the last one is in force from now on.
            held: what :meth:`begin` or the step before gave; it comes back with this row in it.
        """
        window = window.last(self.reach)
        x_MNF = self.features(window, actions_MNPA)
        skip_MND = torch.bmm(x_MNF, self.skip_MFD * self.used_FD)
        first = self.inner(x_MNF.sign() * torch.log1p(x_MNF.abs()))
        if self.memory is not None:
            token = self.tokens(window.last(2), actions_MNPA[..., -2:, :]).squeeze(-2)
            remembered, held = self.memory.step(token, held)
            first = first + self.recall(remembered)
        hidden_MNH = nn.functional.silu(self.hidden(nn.functional.silu(first)))
        mean_MND, raw_MND = self.outer(hidden_MNH).chunk(2, dim=-1)
        low, high = _LOG_STD
        log_std_MND = low + (high - low) * torch.sigmoid(raw_MND + 0.8)
        change_MND = self.linear(x_MNF) + self.trust_D * (skip_MND + mean_MND)
        return change_MND * (1 - self.state_constant_D), log_std_MND, held

    def advance(self, now_MND: Tensor, change_MND: Tensor, pace_N: Tensor | None = None) -> Tensor:
        """Add a change; angles wrap, others go no further than half the training range beyond it, or back in."""
        step = self.state_step_D if pace_N is None else self.state_step_D * pace_N.unsqueeze(-1)
        next_MND = now_MND + change_MND * step
        margin_D = 0.5 * (self.state_max_D - self.state_min_D)
        high_MND = torch.maximum(self.state_max_D + margin_D, now_MND)
        low_MND = torch.minimum(self.state_min_D - margin_D, now_MND)
        bounded_MND = torch.maximum(torch.minimum(next_MND, high_MND), low_MND)
        bounded_MND = torch.where(self.state_constant_D > 0, now_MND, bounded_MND)
        return torch.where(self.state_circular_D > 0, wrapped(next_MND), bounded_MND)

    def unroll(self, window: Window, actions_MNTA: Tensor, pace_MNK: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Roll means forward without noise: T = C - 1 + K actions give states and variances, each (M, N, K, D).

        Variances are in squared steps and add up along the way.
        """
        context = window.states_XCD.shape[-2]
        held = self.begin(window, actions_MNTA[..., : context - 1, :])
        window = window.last(self.reach)
        variance_MND = torch.zeros_like(window.now_XD)
        states, variances = [], []
        for k in range(actions_MNTA.shape[-2] - context + 1):
            drive = actions_MNTA[..., context + k - self.past : context + k, :]
            mean_MND, log_std_MND, held = self.change(window, drive, held)
            pace = None if pace_MNK is None else pace_MNK[..., k]
            next_MND = self.advance(window.now_XD, mean_MND, pace)
            variance_MND = variance_MND + torch.exp(2 * log_std_MND)
            window = window.push(next_MND, pace)
            states.append(next_MND)
            variances.append(variance_MND)
        return torch.stack(states, dim=-2), torch.stack(variances, dim=-2)

    def folds(self, tracks: int) -> list[list[int]]:
        """Track indices that each member may see: all but its own fold; with fewer than three tracks, all."""
        if tracks < 3:
            return [list(range(tracks)) for _ in range(self.members)]
        folds = min(tracks, self.members)
        return [[i for i in range(tracks) if i % folds != m % folds] for m in range(self.members)]

    def every(self, values: Tensor) -> Tensor:
        """The same for every member."""
        return values.expand(self.members, *values.shape)

    def mean(self, states_MND: Tensor) -> Tensor:
        """Mean over members, of angles too: (N, D)."""
        return self.shift(states_MND[0], self.difference(states_MND, states_MND[:1]).mean(dim=0))

    def anchored(self, start_D: Tensor, path_D: Tensor, step: int) -> Tensor:
        """Pull a state predicted so many steps ahead, from 1, towards where it started, by the channels' gains."""
        return self.shift(start_D, self.ahead(self.gain_SD, step) * self.difference(path_D, start_D))

    def noise(self, variance_D: Tensor, step: int) -> Tensor:
        """Added-up variances in squared steps as the calibrated variance of a state, in its unit."""
        return variance_D * (self.state_step_D * self.ahead(self.spread_SD, step)) ** 2

    def ahead(self, table_SD: Tensor, step: int) -> Tensor:
        """(D,) entry of a calibrated table for a step, from 1; the last one for all beyond it."""
        return table_SD[min(step, self.calibrated) - 1]

    def shift(self, state_D: Tensor, by_D: Tensor) -> Tensor:
        """Add a displacement; angles wrap."""
        return turned(state_D + by_D, self.state_circular_D)


def _joined(normaliser: Normaliser, names: Sequence[str]) -> dict[str, Tensor]:
    fields = ("mean", "std", "step", "min", "max", "circular", "constant")
    return {
        field: torch.tensor([float(v) for n in names for v in getattr(normaliser.streams[n], field)])
        for field in fields
    }

"""State: telemetry dynamics without pictures, a probabilistic ensemble trained on open-loop predictions.

Source: PETS (arXiv 1805.12114) with multi-step likelihood and beta-NLL (arXiv 2203.09168). Notable choices: see
``nn/ensemble.py``: a ridge-regression start, folds that keep each member honest, gains that fall back to hold-last.
One sample is the ensemble's mean path; several samples each follow one member, with noise. Uncertainty is the standard
deviation over members and accumulated noise, in the stream's unit.

Shape legend: M members, B samples, N windows, C context rows, K steps, D state channels, A action channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from worldgate.core.streams import FloatArray
from worldgate.core.worlds import Capability, Frame, ModelSpec, Prompt
from worldgate.worlds.family import seeded
from worldgate.worlds.nn.ensemble import Ensemble, EnsembleConfig
from worldgate.worlds.normaliser import Normaliser
from worldgate.worlds.prompts import check_actions, check_prompt, joined_states, past_actions
from worldgate.worlds.telemetry import TelemetryPhase
from worldgate.worlds.tracks import Inputs, Layout, Track
from worldgate.worlds.train.config import LoopConfig, PhaseConfig

CARD = {
    "line": "telemetry dynamics: probabilistic ensemble, multi-step likelihood",
    "inputs": "states, actions",
    "needs": "models",
    "source": "PETS, arXiv 1805.12114",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Configuration of the ``state`` family."""

    inputs: Inputs = field(default_factory=Inputs)
    ensemble: EnsembleConfig = field(default_factory=EnsembleConfig)
    phase: PhaseConfig = field(default_factory=lambda: PhaseConfig(steps=300, batch=64, rate=5e-4))
    loop: LoopConfig = field(default_factory=LoopConfig)


def debug() -> Config:
    """Trains in a second."""
    return Config(
        ensemble=EnsembleConfig(members=3, width=16),
        phase=PhaseConfig(steps=30, batch=16, warmup=5),
        loop=LoopConfig(checkpoint_every=10, evaluate_every=15),
    )


def create(config: Config, layout: Layout, normaliser: Normaliser) -> StateFamily:
    """An untrained model."""
    return StateFamily(config, layout, normaliser)


class StateFamily(nn.Module):
    """The ensemble with its configuration."""

    def __init__(self, config: Config, layout: Layout, normaliser: Normaliser) -> None:
        super().__init__()
        self.config, self.layout, self.normaliser = config, layout, normaliser
        self.ensemble = Ensemble(config.ensemble, layout, normaliser)
        self.context = self.ensemble.context

    def phases(self, train: Sequence[Track], held_out: Sequence[Track]) -> list[TelemetryPhase]:
        """One phase: the ensemble."""
        return [TelemetryPhase(self.ensemble, self.config.phase, self.layout, train, held_out)]

    def world(self, spec: ModelSpec) -> StateWorld:
        """Behind the protocol."""
        return StateWorld(self, spec)


class StateWorld:
    """A trained ensemble as the other rooms see it."""

    capabilities = frozenset({Capability.ACTIONS, Capability.STATE, Capability.UNCERTAINTY})

    def __init__(self, family: StateFamily, spec: ModelSpec) -> None:
        self.family, self.spec = family, spec

    def open(self, prompt: Prompt, *, samples: int = 1, seed: int) -> StateUnrolling:
        """Start unrolling from the last rows of a prompt.

        Raises:
            CapabilityMissing: text or frames in the prompt.
            UsageError: streams or shapes that do not fit the model.
        """
        check_prompt(prompt, self.spec, self.capabilities)
        return StateUnrolling(self.family, prompt, samples, seed)


class StateUnrolling:
    """One unrolling: windows of states and actions for each member and sample."""

    def __init__(self, family: StateFamily, prompt: Prompt, samples: int, seed: int) -> None:
        self.ensemble, self.layout, self.samples = family.ensemble, family.layout, samples
        members, context = self.ensemble.members, family.context
        self.rng = seeded(seed)
        order = torch.randperm(members, generator=self.rng)
        self.columns = -(-samples // members)
        self.pick = torch.stack([order[torch.arange(samples) % members], torch.arange(samples) // members])
        states = torch.as_tensor(joined_states(prompt, self.layout, context))
        actions = torch.as_tensor(past_actions(prompt, context))
        self.start_D = states[-1]
        self.window_MNCD = states.expand(members, self.columns, -1, -1)
        self.past_MNTA = actions.expand(members, self.columns, -1, -1)
        self.variance_MND = torch.zeros(members, self.columns, self.layout.state_width)

    @torch.inference_mode()
    def step(self, actions_BKA: FloatArray | None) -> Frame:
        """Advance K steps: states and their standard deviations, (B, K, D) a stream.

        Raises:
            CapabilityMissing: no actions.
            UsageError: actions of another shape.
        """
        actions = check_actions(actions_BKA, self.samples, self.layout.action_width)
        drive_MNKA = self._spread(torch.as_tensor(actions))
        states, sigmas = [], []
        for k in range(drive_MNKA.shape[2]):
            state_BD, sigma_BD = self._advance(drive_MNKA[:, :, k : k + 1])
            states.append(state_BD)
            sigmas.append(sigma_BD)
        path = self.layout.split(torch.stack(states, dim=1).double().numpy())
        sigma = self.layout.split(torch.stack(sigmas, dim=1).double().numpy())
        return Frame(states=path, uncertainty=sigma)

    def _spread(self, actions_BKA: Tensor) -> Tensor:
        """Give each member and column the actions of the sample it carries."""
        members = self.ensemble.members
        out = actions_BKA[:1].expand(members, self.columns, -1, -1).clone()
        if self.samples > 1:
            out[self.pick[0], self.pick[1]] = actions_BKA
        return out

    def _advance(self, action_MN1A: Tensor) -> tuple[Tensor, Tensor]:
        ensemble = self.ensemble
        drive_MNCA = torch.cat([self.past_MNTA, action_MN1A], dim=2)
        mean_MND, log_std_MND = ensemble.change(self.window_MNCD, drive_MNCA)
        if self.samples > 1:
            noise_MND = torch.randn(mean_MND.shape, generator=self.rng)
            mean_MND = mean_MND + noise_MND * torch.exp(log_std_MND) * ensemble.spread_D
        self.variance_MND = self.variance_MND + torch.exp(2 * log_std_MND)
        next_MND = ensemble.advance(self.window_MNCD[:, :, -1], mean_MND)
        self.window_MNCD = torch.cat([self.window_MNCD[:, :, 1:], next_MND.unsqueeze(2)], dim=2)
        self.past_MNTA = drive_MNCA[:, :, 1:]
        return self._collect(ensemble.anchored(self.start_D, next_MND))

    def _collect(self, states_MND: Tensor) -> tuple[Tensor, Tensor]:
        ensemble = self.ensemble
        apart_MND = ensemble.difference(states_MND, states_MND[:1])
        noise_MND = self.variance_MND * (ensemble.state_step_D * ensemble.spread_D) ** 2
        if self.samples == 1:
            mean_ND = ensemble.shift(states_MND[0], apart_MND.mean(dim=0))
            total_ND = apart_MND.var(dim=0, unbiased=False) + noise_MND.mean(dim=0)
            return mean_ND, total_ND.sqrt()
        total_MND = apart_MND.var(dim=0, unbiased=False) + noise_MND
        return states_MND[self.pick[0], self.pick[1]], total_MND[self.pick[0], self.pick[1]].sqrt()

"""State: telemetry dynamics without pictures, a probabilistic ensemble trained on open-loop predictions.

Source: PETS (arXiv 1805.12114) with multi-step likelihood and beta-NLL (arXiv 2203.09168). Notable choices: see
``nn/ensemble.py``: a ridge-regression start, folds that keep each member honest, gains that fall back to hold-last.
A log without actions trains, too (``inputs.action=``): its future is then its own. Numbers of a prompt may be NaN where
nothing was measured; a step takes one period. One sample is the ensemble's mean path; several samples each follow one
member, with noise. Uncertainty is the standard deviation over members and accumulated noise, in the stream's unit.

Shape legend: M members, B samples, N windows, C context rows, K steps, D state channels, A action channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from worldgate.core.normalisers import Normaliser
from worldgate.core.streams import FloatArray
from worldgate.core.worlds import Capability, Frame, ModelSpec, Prompt
from worldgate.worlds.devices import Draws, device_of, home, sent
from worldgate.worlds.family import Phase
from worldgate.worlds.nn.ensemble import Ensemble, EnsembleConfig
from worldgate.worlds.nn.rolling import Rolling
from worldgate.worlds.nn.window import noted
from worldgate.worlds.prompts import check_actions, check_prompt, measured_states, past_actions
from worldgate.worlds.sizes import Size, slower, wider
from worldgate.worlds.telemetry import TelemetryPhase
from worldgate.worlds.tracks import Inputs, Layout, Track
from worldgate.worlds.train.config import LoopConfig, PhaseConfig

CARD = {
    "line": "telemetry dynamics: probabilistic ensemble, multi-step likelihood",
    "inputs": "states; actions where there are any",
    "needs": "models",
    "source": "PETS, arXiv 1805.12114",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Configuration of the ``state`` family."""

    inputs: Inputs = field(default_factory=Inputs)
    ensemble: EnsembleConfig = field(default_factory=EnsembleConfig)
    phase: PhaseConfig = field(default_factory=lambda: PhaseConfig(steps=900, batch=64, rate=2e-3))
    loop: LoopConfig = field(default_factory=LoopConfig)


def debug() -> Config:
    """Trains in a second."""
    return Config(
        ensemble=EnsembleConfig(members=3, width=16),
        phase=PhaseConfig(steps=30, batch=16, warmup=5),
        loop=LoopConfig(checkpoint_every=10, evaluate_every=15),
    )


def sized(size: Size) -> Config:
    """The configuration of a size; a member's hidden layers are as wide as the size says."""
    small = Config()
    ensemble = replace(small.ensemble, width=wider(small.ensemble.width, size))
    return replace(small, ensemble=ensemble, phase=slower(small.phase, size))


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

    def phases(self, train: Sequence[Track], held_out: Sequence[Track]) -> list[Phase]:
        """One phase: the ensemble."""
        return [TelemetryPhase(self.ensemble, self.config.phase, self.layout, train, held_out)]

    def world(self, spec: ModelSpec) -> StateWorld:
        """Behind the protocol."""
        return StateWorld(self, spec)


class StateWorld:
    """A trained ensemble as the other rooms see it."""

    def __init__(self, family: StateFamily, spec: ModelSpec) -> None:
        self.family, self.spec = family, spec
        acting = {Capability.ACTIONS} if spec.action is not None else set()
        self.capabilities = frozenset({Capability.STATE, Capability.UNCERTAINTY, *acting})

    def open(self, prompt: Prompt, *, samples: int = 1, seed: int) -> StateUnrolling:
        """Start unrolling from the last rows of a prompt.

        Raises:
            CapabilityMissing: text or frames in the prompt.
            UsageError: streams or shapes that do not fit the model.
        """
        check_prompt(prompt, self.spec, self.capabilities)
        return StateUnrolling(self.family, prompt, samples, seed)


class StateUnrolling:
    """One unrolling: a mean path for one sample; for several, one member and its noise each."""

    def __init__(self, family: StateFamily, prompt: Prompt, samples: int, seed: int) -> None:
        self.layout, self.samples, self.device = family.layout, samples, device_of(family)
        self.draws = Draws(seed, self.device)
        ensemble = family.ensemble
        states = sent(measured_states(prompt, self.layout, family.context), self.device)
        past = sent(past_actions(prompt, family.context), self.device)
        window = noted(states.expand(samples, -1, -1), ensemble.state_circular_D)
        self.rolling = Rolling(ensemble, window, past.expand(samples, -1, -1))
        self.each = torch.arange(samples, device=self.device)
        self.member = self.draws.order(ensemble.members)[self.each % ensemble.members]
        self.drift_BD = self.draws.normal((samples, self.layout.state_width))

    @torch.inference_mode()
    def step(self, actions_BKA: FloatArray | None) -> Frame:
        """Advance K steps: states and their standard deviations, (B, K, D) a stream.

        A model without actions takes ``None`` for one step, and (B, K, 0) for several.

        Raises:
            CapabilityMissing: no actions for a model that takes some.
            UsageError: actions of another shape.
        """
        if actions_BKA is None and not self.layout.action_width:
            actions_BKA = np.zeros((self.samples, 1, 0), np.float32)
        actions = sent(check_actions(actions_BKA, self.samples, self.layout.action_width), self.device)
        one = self._mean if self.samples == 1 else self._draw
        steps = [one(actions[:, k]) for k in range(actions.shape[1])]
        path, sigma = (home(torch.stack(part, dim=1)).astype(np.float64) for part in zip(*steps, strict=True))
        return Frame(states=self.layout.split(path), uncertainty=self.layout.split(sigma))

    def _mean(self, action_BA: Tensor) -> tuple[Tensor, Tensor]:
        return self.rolling.mean_step(action_BA)

    def _draw(self, action_BA: Tensor) -> tuple[Tensor, Tensor]:
        """Each sample follows a member, off by a deviation that changes as slowly as the member's errors do."""
        rolling, tie_D = self.rolling, self.rolling.ensemble.tie_D
        states_MBD, noise_MBD = rolling.step(action_BA)
        pick = (self.member, self.each)
        off_BD = self.drift_BD * rolling.left(states_MBD, noise_MBD)[pick]
        fresh_BD = self.draws.normal(self.drift_BD.shape)
        self.drift_BD = tie_D * self.drift_BD + (1 - tie_D.square()).sqrt() * fresh_BD
        sigma_BD = torch.maximum(rolling.spread(states_MBD), noise_MBD.mean(dim=0)).sqrt()
        return rolling.ensemble.shift(states_MBD[pick], off_BD), sigma_BD

"""Conv: video by a deterministic residual convolution over continuous tokens, unrolled; the fastest to learn on a CPU.

Source: DESIGN §3 trial; FiLM (arXiv 1709.07871). Notable choices: a telemetry ensemble first predicts the robot's state
under the actions; each step of the convolution is told that state, painted onto the grid, and action and state by FiLM,
so the arm is drawn where it will be and the convolution only has to carry the rest of the world along. Frames are
painted over the site's background. Every sample is the same: the family has no noise.

Shape legend: N windows, B samples, K steps, V cameras, C latent channels of all cameras, L places a side, D state, A
action channels, E condition.
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
from worldgate.worlds.devices import device_of, home, sent
from worldgate.worlds.dynamics import DynamicsPhase
from worldgate.worlds.family import Phase
from worldgate.worlds.nn.blocks import FilmResidual, PlaceMap
from worldgate.worlds.nn.ensemble import Ensemble, EnsembleConfig
from worldgate.worlds.nn.rolling import Rolling
from worldgate.worlds.pictures import Pictures, TokenizerPhase
from worldgate.worlds.pixels import to_bytes, to_signed
from worldgate.worlds.prompts import check_actions, check_prompt, joined_states, past_actions
from worldgate.worlds.sizes import Size, slower, wider
from worldgate.worlds.telemetry import TelemetryPhase
from worldgate.worlds.tokenizers import background
from worldgate.worlds.tokenizers.background import BackgroundTokenizer
from worldgate.worlds.tracks import Inputs, Layout, Track
from worldgate.worlds.train.config import LoopConfig, PhaseConfig

CARD = {
    "line": "video from continuous tokens by an unrolled residual convolution; minutes on a CPU",
    "inputs": "frames, states, actions",
    "needs": "models",
    "source": "DESIGN §3; FiLM, arXiv 1709.07871",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NetConfig:
    """Size of the convolution."""

    width: int = 48
    blocks: int = 2
    painted: int = 16
    """Channels in which the predicted state is painted onto the grid."""
    unroll: int = 6
    """Steps unrolled in training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Configuration of the ``conv`` family."""

    inputs: Inputs = field(default_factory=lambda: Inputs(cameras=("observation.images.front",)))
    ensemble: EnsembleConfig = field(default_factory=lambda: EnsembleConfig(members=3))
    tokenizer: background.Config = field(default_factory=background.Config)
    net: NetConfig = field(default_factory=NetConfig)
    telemetry: PhaseConfig = field(default_factory=lambda: PhaseConfig(steps=200, batch=32, rate=2e-3, share=0.1))
    tokens: PhaseConfig = field(default_factory=lambda: PhaseConfig(steps=800, batch=16, rate=2e-3, share=0.4))
    dynamics: PhaseConfig = field(
        default_factory=lambda: PhaseConfig(steps=400, batch=16, rate=3e-3, ema=0.97, share=0.5)
    )
    loop: LoopConfig = field(default_factory=LoopConfig)


def debug() -> Config:
    """Trains in a few seconds."""
    return Config(
        inputs=Inputs(cameras=("observation.images.front",), size=32),
        ensemble=EnsembleConfig(members=2, width=16),
        tokenizer=background.Config(latent=4, coarse=16, fine=16, crop=16),
        net=NetConfig(width=16, blocks=1, painted=4, unroll=3),
        telemetry=PhaseConfig(steps=4, batch=8),
        tokens=PhaseConfig(steps=20, batch=8, rate=2e-3, warmup=5),
        dynamics=PhaseConfig(steps=20, batch=8, rate=2e-3, warmup=5),
        loop=LoopConfig(checkpoint_every=10, evaluate_every=20),
    )


def sized(size: Size) -> Config:
    """The configuration of a size: channels of the convolution and of the tokenizer, not of its latents."""
    small = Config()
    tokenizer = replace(
        small.tokenizer, coarse=wider(small.tokenizer.coarse, size), fine=wider(small.tokenizer.fine, size)
    )
    return replace(
        small,
        ensemble=replace(small.ensemble, width=wider(small.ensemble.width, size)),
        tokenizer=tokenizer,
        net=replace(small.net, width=wider(small.net.width, size), painted=wider(small.net.painted, size)),
        telemetry=slower(small.telemetry, size),
        tokens=slower(small.tokens, size),
        dynamics=slower(small.dynamics, size),
    )


def create(config: Config, layout: Layout, normaliser: Normaliser) -> ConvFamily:
    """An untrained model."""
    return ConvFamily(config, layout, normaliser)


class Stepper(nn.Module):
    """One step of the world: the change of all cameras' latents under action and states."""

    def __init__(self, config: NetConfig, channels: int, grid: int, states: int, actions: int) -> None:
        super().__init__()
        condition = 2 * states + actions
        self.where_1PLL = nn.Parameter(torch.zeros(1, 4, grid, grid))
        self.paint = PlaceMap(2 * states, config.painted, grid)
        self.enter = nn.Conv2d(2 * channels + config.painted + 4, config.width, 3, padding=1)
        self.blocks = nn.ModuleList(FilmResidual(config.width, condition) for _ in range(config.blocks))
        self.leave = nn.Conv2d(config.width, channels, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        assert self.leave.bias is not None
        nn.init.zeros_(self.leave.bias)

    def forward(self, now_NCLL: Tensor, before_NCLL: Tensor, states_N2D: Tensor, action_NA: Tensor) -> Tensor:
        """Latents after the step, from the last two, the states now and after it, and the action in between."""
        states_NE = states_N2D.flatten(1)
        painted = self.paint(states_NE)
        where = self.where_1PLL.expand(len(now_NCLL), -1, -1, -1)
        hidden = self.enter(torch.cat([now_NCLL, now_NCLL - before_NCLL, painted, where], dim=1))
        condition_NE = torch.cat([states_NE, action_NA], dim=1)
        for block in self.blocks:
            hidden = block(hidden, condition_NE)
        out: Tensor = now_NCLL + self.leave(nn.functional.silu(hidden))
        return out


class ConvFamily(nn.Module):
    """Telemetry ensemble, tokenizer and stepper."""

    def __init__(self, config: Config, layout: Layout, normaliser: Normaliser) -> None:
        super().__init__()
        self.config, self.layout, self.normaliser = config, layout, normaliser
        self.ensemble = Ensemble(config.ensemble, layout, normaliser)
        self.tokenizer = BackgroundTokenizer(config.tokenizer, layout)
        views, size = len(layout.cameras), layout.cameras[0].shape[0]
        channels = views * config.tokenizer.latent
        self.stepper = Stepper(config.net, channels, self.tokenizer.grid, 2 * layout.state_width, layout.action_width)
        self.register_buffer("center_C11", torch.zeros(channels, 1, 1))
        self.register_buffer("scale_C11", torch.ones(channels, 1, 1))
        self.context = max(2, self.ensemble.context)
        self.views, self.size = views, size

    center_C11: Tensor
    scale_C11: Tensor

    def phases(self, train: Sequence[Track], held_out: Sequence[Track]) -> list[Phase]:
        """Telemetry, then the tokenizer, then the convolution on frozen tokens."""
        cameras = [signal.name for signal in self.layout.cameras]
        pictures = Pictures(train, cameras)
        unseen = Pictures(held_out, cameras) if held_out else None
        return [
            TelemetryPhase(self.ensemble, self.config.telemetry, self.layout, train, held_out),
            TokenizerPhase(self.tokenizer, self.config.tokens, pictures, unseen),
            DynamicsPhase(self, self.config.dynamics, self.config.net.unroll, pictures, unseen),
        ]

    def encode(self, frames_NV3SS: Tensor, background_NV3SS: Tensor) -> Tensor:
        """Pictures in [-1, 1] to joined latents of unit spread, (N, C, L, L)."""
        view = torch.arange(self.views, device=frames_NV3SS.device).repeat(len(frames_NV3SS))
        latent = self.tokenizer.encode(frames_NV3SS.flatten(0, 1), background_NV3SS.flatten(0, 1), view)
        joined_NCLL = torch.unflatten(latent, 0, (-1, self.views)).flatten(1, 2)
        return (joined_NCLL - self.center_C11) / self.scale_C11

    def decode(self, latent_NCLL: Tensor, background_NV3SS: Tensor) -> Tensor:
        """Latents to pictures of all cameras, (N, V, 3, S, S)."""
        view = torch.arange(self.views, device=latent_NCLL.device).repeat(len(latent_NCLL))
        raw = torch.unflatten(latent_NCLL * self.scale_C11 + self.center_C11, 1, (self.views, -1)).flatten(0, 1)
        pictures = self.tokenizer.decode(raw, background_NV3SS.flatten(0, 1), view)
        return torch.unflatten(pictures, 0, (-1, self.views))

    def advance(self, now_NCLL: Tensor, before_NCLL: Tensor, pair_N2D: Tensor, action_NA: Tensor) -> Tensor:
        """Latents one step on, given the states now and then and the action in between, in the streams' units."""
        states = self.ensemble.place(pair_N2D)
        out: Tensor = self.stepper(now_NCLL, before_NCLL, states, self.ensemble.command(action_NA))
        return out

    def imagine(self, now_NCLL: Tensor, before_NCLL: Tensor, states_NTD: Tensor, actions_NKA: Tensor) -> Tensor:
        """Latents (N, K, C, L, L) along states (N, K + 1, D) and actions (N, K, A)."""
        out = []
        for k in range(actions_NKA.shape[1]):
            later = self.advance(now_NCLL, before_NCLL, states_NTD[:, k : k + 2], actions_NKA[:, k])
            before_NCLL, now_NCLL = now_NCLL, later
            out.append(later)
        return torch.stack(out, dim=1)

    def world(self, spec: ModelSpec) -> ConvWorld:
        """Behind the protocol."""
        return ConvWorld(self, spec)


class ConvWorld:
    """A trained model as the other rooms see it."""

    capabilities = frozenset({Capability.ACTIONS, Capability.FRAMES, Capability.STATE, Capability.UNCERTAINTY})

    def __init__(self, family: ConvFamily, spec: ModelSpec) -> None:
        self.family, self.spec = family, spec

    def open(self, prompt: Prompt, *, samples: int = 1, seed: int) -> ConvUnrolling:
        """Start unrolling; the seed changes nothing, because the family is deterministic.

        Raises:
            CapabilityMissing: text in the prompt.
            UsageError: streams or shapes that do not fit the model.
        """
        check_prompt(prompt, self.spec, self.capabilities)
        return ConvUnrolling(self.family, prompt, samples)


class ConvUnrolling:
    """One unrolling: latents of the last two frames, the telemetry path and the background painted on."""

    @torch.inference_mode()
    def __init__(self, family: ConvFamily, prompt: Prompt, samples: int) -> None:
        self.family, self.samples, self.device = family, samples, device_of(family)
        states = sent(joined_states(prompt, family.layout, family.context), self.device)
        past = sent(past_actions(prompt, family.context), self.device)
        self.rolling = Rolling(family.ensemble, states.expand(samples, -1, -1), past.expand(samples, -1, -1))
        self.state_BD = states[-1].expand(samples, -1)
        cameras = [signal.name for signal in family.layout.cameras]
        chosen, _ = family.tokenizer.find_background(prompt.frames)
        self.background_1V3SS = to_signed(chosen).unsqueeze(0)
        last = [sent(np.asarray(prompt.frames[c][-2:]), self.device).permute(0, 3, 1, 2) for c in cameras]
        known_2V3SS = to_signed(torch.stack(last, dim=1))
        before, now = torch.split(family.encode(known_2V3SS, self.background_1V3SS.expand_as(known_2V3SS)), 1)
        self.before_BCLL, self.now_BCLL = (z.expand(samples, -1, -1, -1) for z in (before, now))

    @torch.inference_mode()
    def step(self, actions_BKA: FloatArray | None) -> Frame:
        """Advance K steps: pictures (B, K, H, W, 3) a camera, states and their deviations (B, K, D) a stream.

        Raises:
            CapabilityMissing: no actions.
            UsageError: actions of another shape.
        """
        layout = self.family.layout
        actions = sent(check_actions(actions_BKA, self.samples, layout.action_width), self.device)
        steps = [self._one(actions[:, k]) for k in range(actions.shape[1])]
        states, sigmas, pictures = (torch.stack(part, dim=1) for part in zip(*steps, strict=True))
        return Frame(
            states=layout.split(home(states).astype(np.float64)),
            uncertainty=layout.split(home(sigmas).astype(np.float64)),
            frames={signal.name: home(pictures[:, :, v]) for v, signal in enumerate(layout.cameras)},
        )

    def _one(self, action_BA: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        state_BD, sigma_BD = self.rolling.mean_step(action_BA)
        pair_B2D = torch.stack([self.state_BD, state_BD], dim=1)
        later = self.family.advance(self.now_BCLL, self.before_BCLL, pair_B2D, action_BA)
        self.before_BCLL, self.now_BCLL, self.state_BD = self.now_BCLL, later, state_BD
        background = self.background_1V3SS.expand(self.samples, -1, -1, -1, -1)
        pictures = to_bytes(self.family.decode(later, background)).permute(0, 1, 3, 4, 2)
        return state_BD, sigma_BD, pictures.contiguous()

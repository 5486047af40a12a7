"""Rssm: a recurrent state-space model of states, pictures and rewards; what policies learn in by imagination.

Source: DreamerV3 (Hafner et al. 2025, arXiv 2301.04104). Notable choices: a log's ``reward`` stands in the row where
its step begins, and is told with the row that the step leads to, as an expected value over exponential bins;
``success`` and ``terminal``, where a log has them, are told alike, as chances. A prompt's rows are filtered from
nothing known, as the sequences in training are. One sample follows the likeliest class of each variable; several draw
theirs.

Shape legend: B samples, N sequences, C context rows, K steps, D state channels, A action channels, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from worldgate.core.errors import CapabilityMissing
from worldgate.core.normalisers import Normaliser
from worldgate.core.streams import ByteArray, FloatArray
from worldgate.core.worlds import Capability, Frame, ModelSpec, Prompt
from worldgate.worlds.devices import Draws, device_of, home, sent
from worldgate.worlds.family import Phase
from worldgate.worlds.nn.rssm import RssmConfig, State, likeliest
from worldgate.worlds.nn.rssm_net import NetConfig, RssmNet, Sequences, readable
from worldgate.worlds.pixels import to_bytes
from worldgate.worlds.prompts import check_actions, check_prompt, joined_states, past_actions
from worldgate.worlds.recurrent import RecurrentPhase
from worldgate.worlds.sizes import Size, slower, wider
from worldgate.worlds.tracks import Inputs, Layout, Track
from worldgate.worlds.train.config import LoopConfig, PhaseConfig

CARD = {
    "line": "recurrent state-space model of states, pictures and rewards; policies learn in it by imagination",
    "inputs": "states, actions; frames, reward, success and terminal where there are any",
    "needs": "models",
    "source": "DreamerV3, arXiv 2301.04104",
}

REWARD, CHANCES = "reward", ("success", "terminal")
"""Streams of ``inputs.read`` that this family tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Configuration of the ``rssm`` family."""

    inputs: Inputs = field(default_factory=lambda: Inputs(read=(REWARD,)))
    net: NetConfig = field(default_factory=NetConfig)
    context: int = 8
    """Rows that a prompt holds."""
    window: int = 64
    """Rows of a sequence in training; shorter episodes count as they are."""
    phase: PhaseConfig = field(default_factory=lambda: PhaseConfig(steps=1500, batch=16, rate=1e-3))
    loop: LoopConfig = field(default_factory=LoopConfig)


def debug() -> Config:
    """Trains in a few seconds."""
    rssm = RssmConfig(deter=32, hidden=32, variables=8, classes=4, blocks=4)
    return Config(
        inputs=Inputs(),
        net=NetConfig(rssm=rssm, units=32, layers=2, channels=4, bins=63),
        context=4,
        window=16,
        phase=PhaseConfig(steps=200, batch=8, rate=4e-3, warmup=5),
        loop=LoopConfig(checkpoint_every=50, evaluate_every=100),
    )


def sized(size: Size) -> Config:
    """The configuration of a size: deterministic units and those of every layer."""
    small = Config()
    rssm = replace(small.net.rssm, deter=wider(small.net.rssm.deter, size), hidden=wider(small.net.rssm.hidden, size))
    net = replace(small.net, rssm=rssm, units=wider(small.net.units, size), channels=wider(small.net.channels, size))
    return replace(small, net=net, phase=slower(small.phase, size))


def create(config: Config, layout: Layout, normaliser: Normaliser) -> RssmFamily:
    """An untrained model.

    Raises:
        CapabilityMissing: a read-out that is neither a reward nor a chance, no action, or cameras of another kind.
    """
    odd = readable([signal.name for signal in layout.reads], REWARD, CHANCES)
    if odd:
        hint = f"it tells {REWARD}, {', '.join(CHANCES)}; or put it among inputs.states"
        raise CapabilityMissing("an rssm model reads nothing else out", got=odd[0], where="inputs.read", hint=hint)
    if not layout.action.name:
        raise CapabilityMissing("an rssm model needs actions", where="inputs.action", hint="the family state does not")
    return RssmFamily(config, layout, normaliser)


class RssmFamily(nn.Module):
    """The network with its configuration."""

    def __init__(self, config: Config, layout: Layout, normaliser: Normaliser) -> None:
        super().__init__()
        self.config, self.layout, self.normaliser = config, layout, normaliser
        self.net = RssmNet(config.net, layout, normaliser, REWARD)
        self.context = max(2, config.context)

    def phases(self, train: Sequence[Track], held_out: Sequence[Track]) -> list[Phase]:
        """One phase: everything at once."""
        lengths = (self.context, max(self.config.window, self.context + 1))
        return [RecurrentPhase(self.net, self.config.phase, self.layout, lengths, train, held_out)]

    def world(self, spec: ModelSpec) -> RssmWorld:
        """Behind the protocol."""
        return RssmWorld(self, spec)


class RssmWorld:
    """A trained model as the other rooms see it."""

    def __init__(self, family: RssmFamily, spec: ModelSpec) -> None:
        self.family, self.spec = family, spec
        more = {Capability.REWARD} if REWARD in family.net.reads else set()
        more |= {Capability.FRAMES} if spec.cameras else set()
        self.capabilities = frozenset({Capability.ACTIONS, Capability.STATE, *more})

    def open(self, prompt: Prompt, *, samples: int = 1, seed: int) -> RssmUnrolling:
        """Start unrolling from the last rows of a prompt.

        Raises:
            CapabilityMissing: text in the prompt, or frames for a model without cameras.
            UsageError: streams or shapes that do not fit the model.
        """
        check_prompt(prompt, self.spec, self.capabilities)
        return RssmUnrolling(self.family, prompt, samples, seed)


class RssmUnrolling:
    """One unrolling: a recurrent state for each sample."""

    @torch.inference_mode()
    def __init__(self, family: RssmFamily, prompt: Prompt, samples: int, seed: int) -> None:
        self.family, self.samples, self.device = family, samples, device_of(family)
        self.draws = Draws(seed, self.device)
        layout, context = family.layout, family.context
        states = joined_states(prompt, layout, context)[None]
        actions = np.zeros((1, context, layout.action_width), np.float32)
        actions[0, 1:] = past_actions(prompt, context)
        first = np.zeros((1, context), np.float32)
        first[0, 0] = 1
        frames = None
        if layout.cameras:
            views = [np.asarray(prompt.frames[c.name])[-context:] for c in layout.cameras]
            frames = sent(np.stack(views, axis=1), self.device).permute(0, 1, 4, 2, 3)[None]
        known = Sequences(
            states_NTD=sent(states, self.device),
            actions_NTA=sent(actions, self.device),
            first_NT=sent(first, self.device),
            there_NT=sent(np.ones_like(first), self.device),
            reads_NTR=sent(np.zeros((1, context, 0), np.float32), self.device),
            frames_NTV3SS=frames,
        )
        along, _, _ = family.net.follow(known, likeliest)
        self.state = State(*(part[:, -1].expand(samples, -1) for part in along))

    @torch.inference_mode()
    def step(self, actions_BKA: FloatArray | None) -> Frame:
        """Advance K steps: states (B, K, D) and what is read out (B, K, 1) a stream, pictures (B, K, S, S, 3) a camera.

        Raises:
            CapabilityMissing: no actions.
            UsageError: actions of another shape.
        """
        net, layout = self.family.net, self.family.layout
        actions = sent(check_actions(actions_BKA, self.samples, layout.action_width), self.device)
        features = []
        for k in range(actions.shape[1]):
            self.state = net.rssm.imagine(self.state, net.scaling.command(actions[:, k]), self._choose)
            features.append(self.state.features)
        features_BKF = torch.stack(features, dim=1)
        states = layout.split(home(torch.stack([net.states(one) for one in features], dim=1)).astype(np.float64))
        told = {
            name: home(torch.stack([net.read(name, one) for one in features], dim=1))[..., None].astype(np.float64)
            for name in net.reads
        }
        return Frame(states={**states, **told}, frames=self._pictures(features_BKF))

    def _choose(self, chances: Tensor) -> Tensor:
        if self.samples == 1:
            return likeliest(chances)
        drawn = self.draws.one_of(chances.flatten(0, -2))
        return functional.one_hot(drawn[:, 0], chances.shape[-1]).view(chances.shape).to(chances.dtype)

    def _pictures(self, features_BKF: Tensor) -> dict[str, ByteArray]:
        cameras = self.family.layout.cameras
        if not cameras:
            return {}
        steps = [to_bytes(self.family.net.paint(one)).permute(0, 1, 3, 4, 2) for one in features_BKF.unbind(1)]
        painted = home(torch.stack(steps, dim=1).contiguous())
        return {camera.name: painted[:, :, view] for view, camera in enumerate(cameras)}

"""Jepa: predicts what a picture will mean, not its pixels; made to plan in.

Source: LeWM (arXiv 2603.19312): next-latent prediction with gradients through both sides, kept from collapsing by
SIGReg; several steps open loop and action prefixes (RC-aux, Fast-LeWM), inverse dynamics and reachability towards
hindsight goals (GC-IDM, RC-aux). Notable choices: each camera has a latent of its own and the robot's numbers enter as
they are, standardised, so a goal may be given by any of them; the future is predicted row by row, so that plans need
not be whole blocks long; a probe reads numbers out, which is all that other rooms see of it.

Shape legend: N samples, H known rows, L rows ahead, V cameras, S pixels a side, D latent, A action channels, M members.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from worldgate.core.choices import settle
from worldgate.core.errors import CapabilityMissing, UsageError
from worldgate.core.normalisers import Normaliser
from worldgate.core.streams import FloatArray
from worldgate.core.worlds import Capability, Frame, ModelSpec, Observation, Prompt
from worldgate.worlds.devices import device_of, home, sent
from worldgate.worlds.family import Phase
from worldgate.worlds.heads.goals import InverseDynamics, Reach
from worldgate.worlds.heads.probe import Probe
from worldgate.worlds.latent_training import HeadsPhase, LatentPhase
from worldgate.worlds.latents import Aim, LatentConfig
from worldgate.worlds.nn.foresight import Foresight, Path, Reckoning, make_foresight
from worldgate.worlds.nn.standard import Standard
from worldgate.worlds.nn.trunks import Projector, Trunk, make_trunk
from worldgate.worlds.pixels import to_signed
from worldgate.worlds.prompts import check_actions, check_prompt, joined_states
from worldgate.worlds.sizes import Size, slower, wider
from worldgate.worlds.tracks import Inputs, Layout, Track
from worldgate.worlds.train.config import LoopConfig, PhaseConfig

CARD = {
    "line": "latent prediction to plan in: SIGReg, action prefixes, inverse dynamics, reachability; minutes on a CPU",
    "inputs": "frames, states or both; actions",
    "needs": "models",
    "source": "LeWM, arXiv 2603.19312; Fast-LeWM, arXiv 2606.26217; GC-IDM; RC-aux",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NetConfig:
    """Size and parts of the model."""

    trunk: Trunk = Trunk.STRIDED
    width: int = 32
    """Channels of the trunk's first layer."""
    hidden: int = 512
    """Of the projector."""
    latent: int = 64
    """Of each camera."""
    known: int = 2
    """H, rows that a prediction starts from: one alone shows no speed."""
    reckoning: Reckoning = Reckoning.PREFIX
    memory: int = 192
    """Width of what predicts."""
    chunk: int = 5
    """Rows of actions that are taken, and that inverse dynamics gives, at once."""
    members: int = 3
    """M heads that predict; 1: no uncertainty."""
    inverse: bool = True
    """Learn which actions lead towards a goal."""
    reach: bool = True
    """Learn whether a goal is reached in time."""
    probe: bool = True
    """Learn to read states out."""
    heads: int = 256
    """Width of these heads."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Configuration of the ``jepa`` family."""

    inputs: Inputs = field(default_factory=lambda: Inputs(cameras=("observation.images.front",)))
    net: NetConfig = field(default_factory=NetConfig)
    learn: LatentConfig = field(default_factory=LatentConfig)
    phase: PhaseConfig = field(
        default_factory=lambda: PhaseConfig(steps=2000, batch=64, rate=1e-3, warmup=50, ema=0.99, decay=1e-3)
    )
    heads: PhaseConfig = field(
        default_factory=lambda: PhaseConfig(steps=2000, batch=512, rate=1e-3, warmup=50, ema=0.99, decay=1e-3)
    )
    """Afterwards, from latents that stay as they are; no steps leave it out."""
    loop: LoopConfig = field(default_factory=LoopConfig)


def debug() -> Config:
    """Trains in a few seconds."""
    return Config(
        inputs=Inputs(cameras=("observation.images.front",), size=32),
        net=NetConfig(width=8, hidden=32, latent=8, memory=32, members=2, chunk=2, heads=32),
        learn=LatentConfig(steps=2, every=3, span=12, projections=16),
        phase=PhaseConfig(steps=120, batch=32, rate=3e-3, warmup=5),
        heads=PhaseConfig(steps=60, batch=64, rate=3e-3, warmup=5),
        loop=LoopConfig(checkpoint_every=60, evaluate_every=60),
    )


def sized(size: Size) -> Config:
    """The configuration of a size: every width but the latent's."""
    small = Config()
    net = replace(
        small.net,
        width=wider(small.net.width, size),
        hidden=wider(small.net.hidden, size),
        memory=wider(small.net.memory, size),
        heads=wider(small.net.heads, size),
    )
    return replace(small, net=net, phase=slower(small.phase, size), heads=slower(small.heads, size))


def create(config: Config, layout: Layout, normaliser: Normaliser) -> JepaFamily:
    """An untrained model.

    Raises:
        CapabilityMissing: neither a camera nor a state to see, or no action to plan.
    """
    if not layout.cameras and not layout.states:
        raise CapabilityMissing("this family sees pictures, numbers or both", got="neither", hint="inputs.cameras")
    if not layout.action.name:
        raise CapabilityMissing("this family predicts under actions", got="no action stream", hint="inputs.action")
    return JepaFamily(config, layout, normaliser)


class Eye(nn.Module):
    """One camera's pictures to latents."""

    def __init__(self, config: NetConfig, size: int) -> None:
        super().__init__()
        self.trunk, features = make_trunk(config.trunk, size, config.width)
        self.projector = Projector(features, config.hidden, config.latent)

    def forward(self, pictures_N3SS: Tensor) -> Tensor:
        """(N, D) of pictures in [-1, 1]."""
        out: Tensor = self.projector(self.trunk(pictures_N3SS))
        return out


class JepaFamily(nn.Module):
    """Eyes, foresight and heads."""

    def __init__(self, config: Config, layout: Layout, normaliser: Normaliser) -> None:
        super().__init__()
        self.config, self.layout, self.normaliser = config, layout, normaliser
        net, actions = config.net, layout.action_width
        self.eyes = nn.ModuleList(Eye(net, signal.shape[0]) for signal in layout.cameras)
        self.body = Standard([normaliser.statistics(signal.name) for signal in layout.states])
        self.drive = Standard([normaliser.statistics(layout.action.name)])
        self.latent = net.latent * len(self.eyes) + self.body.width
        self.foresight: Foresight = make_foresight(
            net.reckoning,
            latent=self.latent,
            known=net.known,
            actions=self.drive.width,
            block=net.chunk,
            width=net.memory,
            members=net.members,
        )
        span = config.learn.span
        self.inverse = InverseDynamics(self.latent, actions, net.chunk, net.heads, span) if net.inverse else None
        self.reach = Reach(self.latent, net.heads, span) if net.reach else None
        self.probe = Probe(layout, normaliser, self.latent, net.heads) if net.probe else None
        self.context, self.members = net.known, net.members
        self.points, self.reaches, self.tells = net.inverse, net.reach, net.probe

    @property
    def parts(self) -> dict[str, slice]:
        """Which latents tell of which camera; ``states`` of the numbers."""
        width, cameras = self.config.net.latent, self.layout.cameras
        out = {camera.name: slice(i * width, (i + 1) * width) for i, camera in enumerate(cameras)}
        return out | ({"states": slice(width * len(cameras), self.latent)} if self.layout.states else {})

    def phases(self, train: Sequence[Track], held_out: Sequence[Track]) -> list[Phase]:
        """Everything together, the heads from latents that they do not change; then the rest without the eyes."""
        config = self.config
        together = LatentPhase(self, config.learn, config.phase, train, held_out)
        return (
            [together, HeadsPhase(self, config.learn, config.heads, train, held_out)]
            if config.heads.steps
            else [together]
        )

    def see(self, frames: Sequence[Tensor], states_ND: Tensor) -> Tensor:
        """(N, D) latents of pictures of every camera (N, 3, S, S) in [-1, 1] and of numbers in their units."""
        return torch.cat([*(eye(f) for eye, f in zip(self.eyes, frames, strict=True)), self.body(states_ND)], dim=-1)

    def measure(self, pictures: Sequence[Sequence[Tensor]]) -> None:
        """Measure what the projectors normalise by, on batches of pictures of every camera."""
        for v, eye in enumerate(self.eyes):
            held = cast(Eye, eye)
            held.projector.forget()
            held.train()
            with torch.no_grad():
                for batch in pictures:
                    held(batch[v])
            held.eval()

    # ------------------------------------------------ what planners ask, in numbers of the streams; see worlds/latents

    @torch.no_grad()
    def perceive(self, prompt: Prompt) -> Tensor:
        """(H, D) latents of the last rows."""
        device, rows = device_of(self), self.context
        frames = [self._pictures(np.asarray(prompt.frames[c.name])[-rows:]) for c in self.layout.cameras]
        none = np.zeros((rows, 0), np.float32)
        states = joined_states(prompt, self.layout, rows) if self.layout.states else none
        return self.see(frames, sent(states, device))

    def _pictures(self, frames_NHWC: object) -> Tensor:
        return to_signed(sent(np.asarray(frames_NHWC), device_of(self)).permute(0, 3, 1, 2))

    @torch.no_grad()
    def aim(self, goal: Observation) -> Aim:
        """What a goal shows, as latents.

        Raises:
            UsageError: nothing that this model sees, or another size.
        """
        known = [*self.layout.cameras, *self.layout.states]
        for signal in known:
            if signal.name in goal and np.shape(goal[signal.name]) != signal.shape:
                hint = f"the model sees {signal.shape}"
                raise UsageError(
                    "a goal of another size", got=np.shape(goal[signal.name]), where=signal.name, hint=hint
                )
        cameras = [camera for camera in self.layout.cameras if camera.name in goal]
        told = bool(self.layout.states) and all(signal.name in goal for signal in self.layout.states)
        if not cameras and not told:
            hint = f"the model sees {', '.join(signal.name for signal in known)}"
            raise UsageError("a goal that shows nothing this model sees", got=", ".join(goal) or "nothing", hint=hint)
        device = device_of(self)
        latent, weight = torch.zeros(self.latent, device=device), torch.zeros(self.latent, device=device)
        for camera, (name, part) in zip(self.layout.cameras, self.parts.items(), strict=False):
            if camera in cameras:
                eye = self.eyes[list(self.parts).index(name)]
                latent[part] = eye(self._pictures(np.asarray(goal[name])[None]))[0]
                weight[part] = 1.0
        if told:
            states = np.concatenate([np.asarray(goal[s.name], np.float32) for s in self.layout.states])
            latent[self.parts["states"]] = self.body(sent(states, device)[None])[0]
            weight[self.parts["states"]] = 1.0
        return Aim(latent_D=latent, weight_D=weight)

    def foresee(self, known_HD: Tensor, actions_NLA: Tensor, rows: Sequence[int]) -> Tensor:
        """(M, N, K, D) latents after the actions of these rows, in the action's unit."""
        known_NHD = known_HD.expand(len(actions_NLA), -1, -1)
        out: Tensor = self.foresight(known_NHD, self.drive(actions_NLA), rows)
        return out

    def toward(self, now_ND: Tensor, goal_ND: Tensor, left_N: Tensor) -> Tensor:
        """(N, K, A) actions towards goals, in the action's unit.

        Raises:
            CapabilityMissing: trained without.
        """
        if self.inverse is None:
            hint = "train with net.inverse = true, or warm-start from a policy"
            raise CapabilityMissing("this model learned no inverse dynamics", got="net.inverse = false", hint=hint)
        return self.drive.invert(self.inverse(now_ND, goal_ND, left_N))

    def reachable(self, now_ND: Tensor, goal_ND: Tensor, left_N: Tensor) -> Tensor:
        """(N,) probability that a goal is reached within so many rows.

        Raises:
            CapabilityMissing: trained without.
        """
        if self.reach is None:
            hint = "train with net.reach = true"
            raise CapabilityMissing("this model learned no reachability", got="net.reach = false", hint=hint)
        return torch.sigmoid(self.reach(now_ND, goal_ND, left_N))

    def read(self, latents_XD: Tensor) -> dict[str, Tensor]:
        """Stream -> (X, C) numbers that latents tell.

        Raises:
            CapabilityMissing: trained without.
        """
        if self.probe is None:
            hint = "train with net.probe = true"
            raise CapabilityMissing("this model learned to read nothing out", got="net.probe = false", hint=hint)
        return self.probe.read(latents_XD)[0]

    def world(self, spec: ModelSpec) -> JepaWorld:
        """Behind the protocol."""
        return JepaWorld(self, spec)


class JepaWorld:
    """A trained model as the other rooms see it: it takes pictures, and tells numbers."""

    def __init__(self, family: JepaFamily, spec: ModelSpec) -> None:
        self.family, self.spec = family, spec
        net = family.config.net
        given = {Capability.ACTIONS: True, Capability.PREFIX: net.reckoning is Reckoning.PREFIX}
        given |= {Capability.STATE: net.probe, Capability.UNCERTAINTY: net.probe}
        self.capabilities = frozenset(capability for capability, there in given.items() if there)

    @property
    def latent(self) -> JepaFamily:
        """What planners look ahead in."""
        return self.family

    def open(self, prompt: Prompt, *, samples: int = 1, seed: int) -> JepaUnrolling:
        """Start unrolling; the seed picks the members that samples follow, one of them alone follows their mean.

        Raises:
            CapabilityMissing: text in the prompt, or no probe to tell anything by.
            UsageError: streams or shapes that do not fit the model.
        """
        check_prompt(prompt, self.spec, self.capabilities)
        if self.family.probe is None:
            hint = "train with net.probe = true; planners need none"
            raise CapabilityMissing("this model tells no states", got="net.probe = false", hint=hint)
        return JepaUnrolling(self.family, self.family.probe, prompt, samples, seed)


class JepaUnrolling:
    """One unrolling: what foresight carries, read out row by row."""

    @torch.inference_mode()
    def __init__(self, family: JepaFamily, probe: Probe, prompt: Prompt, samples: int, seed: int) -> None:
        self.family, self.probe, self.samples, self.device = family, probe, samples, device_of(family)
        known_HD = family.perceive(prompt)
        self.path = Path(family.foresight, known_HD.expand(samples, -1, -1))
        members = family.foresight.members
        order = torch.randperm(members, generator=torch.Generator().manual_seed(seed))
        self.member = None if samples == 1 else sent(order, self.device)[torch.arange(samples) % members]

    @torch.inference_mode()
    def step(self, actions_BKA: FloatArray | None) -> Frame:
        """Advance K steps: states and their deviations, (B, K, D) a stream.

        Raises:
            CapabilityMissing: no actions.
            UsageError: actions of another shape.
        """
        width = self.family.layout.action_width
        actions = sent(check_actions(actions_BKA, self.samples, width), self.device)
        told = [self._one(action_BA) for action_BA in actions.unbind(dim=1)]
        return Frame(
            states={name: _joined([values[name] for values, _ in told]) for name in told[0][0]},
            uncertainty={name: _joined([spread[name] for _, spread in told]) for name in told[0][1]},
        )

    def _one(self, action_BA: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What a row's latents tell: the deviation that the probe gives, and what members differ by."""
        family = self.family
        latents_MBD = self.path.step(family.drive(action_BA))
        each, _ = self.probe.read(latents_MBD)
        chosen = latents_MBD.mean(dim=0)
        if self.member is not None:
            chosen = latents_MBD[self.member, torch.arange(self.samples)]
        values, deviations = self.probe.read(chosen)
        for target in self.probe.of:
            apart_MBD = target.apart(values[target.name].expand_as(each[target.name]), each[target.name])
            deviations[target.name] = (deviations[target.name].square() + apart_MBD.square().mean(dim=0)).sqrt()
        return values, deviations


def _joined(rows: Sequence[Tensor]) -> FloatArray:
    return home(torch.stack(list(rows), dim=1)).astype(np.float64)

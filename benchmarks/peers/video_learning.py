"""Training by processor seconds, the same for ours and for peers, and what every peer shares.

A training is a list of stages, each with its share of the seconds; only the time of the steps themselves counts, on one
thread. A peer learns by AdamW with warm-up and a cosine, gradients clipped at 1, and is judged on averaged weights; our
families keep their own optimiser, which does the same. At parts of the last stage the model is judged on held-out
clips, which gives the learning curve.

Every peer is told what ours are told: where the robot was and will be, as the product's own telemetry ensemble
predicts it (a tenth of the seconds), and its action.

Shape legend: R rows of all tracks, N clips, T frames, S pixels a side, D state, A action channels, E entries told.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from worldgate.core.normalisers import Normaliser
from worldgate.core.streams import IntArray
from worldgate.core.worlds import Capability, Frame, ModelSpec, Prompt, WorldModel
from worldgate.worlds.family import Fed, Phase
from worldgate.worlds.feed import Share
from worldgate.worlds.nn.ensemble import Ensemble, EnsembleConfig
from worldgate.worlds.nn.rolling import Rolling
from worldgate.worlds.prompts import check_actions, check_prompt, joined_states, past_actions
from worldgate.worlds.telemetry import TelemetryPhase
from worldgate.worlds.tracks import Layout, Track
from worldgate.worlds.train.config import LoopConfig, PhaseConfig
from worldgate.worlds.train.parallel import current
from worldgate.worlds.train.steps import Learner, Steps
from worldgate.worlds.windows import Bank

Configured = TypeVar("Configured")
CONTEXT = 4
"""Frames that every peer looks back on."""
JUDGED = (0.5, 0.75, 1.0)
"""Parts of the last stage after which a model is judged."""
SEGMENTS = 12
"""Points of a stage at which its loss is kept, each the mean since the one before."""


class Stage(Protocol):
    """One optimisation on the way to a model."""

    name: str
    share: float
    frames: int
    """Pictures that a step learns from."""

    def begin(self) -> None:
        """Before its first step."""

    def step(self, place: float) -> float:
        """One update at this part of the stage, 0 to 1; its loss."""

    def averaged(self) -> Any:
        """A context in which the weights are averaged ones."""

    def unseen(self) -> float | None:
        """Its own loss on held-out clips, always the same ones."""

    def end(self) -> None:
        """After its last step: averaged weights stay."""


class Own:
    """A stage of a peer.

    Args:
        name: of the stage.
        net: what learns.
        loss: of a batch drawn from a generator; the flag says whether of training clips.
        rate: peak learning rate.
        frames: pictures of a batch.
        share: of the seconds.
        prepare: called before the first step.
    """

    def __init__(
        self,
        name: str,
        net: nn.Module,
        loss: Callable[[np.random.Generator, bool], Tensor],
        *,
        rate: float,
        frames: int,
        share: float = 1.0,
        prepare: Callable[[], None] | None = None,
        ema: float = 0.98,
    ) -> None:
        self.name, self.net, self.loss, self.rate = name, net, loss, rate
        self.frames, self.share, self.prepare, self.ema = frames, share, prepare, ema

    def begin(self) -> None:
        """Optimiser and averages."""
        if self.prepare is not None:
            self.prepare()
        self.parameters = list(self.net.parameters())
        self.optimiser = torch.optim.AdamW(self.parameters, lr=self.rate, weight_decay=1e-2, fused=True)
        self.average = [p.detach().clone() for p in self.parameters]
        self.rng, self.count = np.random.default_rng(0), 0

    def step(self, place: float) -> float:
        """One update."""
        warm = min(1.0, (self.count + 1) / 20)
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * warm * (0.05 + 0.475 * (1 + math.cos(math.pi * place)))
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.loss(self.rng, True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        self.count += 1
        decay = min(self.ema, self.count / (10 + self.count))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1 - decay)
        return float(loss.detach())

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Averaged weights, for the duration."""
        raw = [p.detach().clone() for p in self.parameters]
        _put(self.parameters, self.average)
        try:
            yield
        finally:
            _put(self.parameters, raw)

    @torch.no_grad()
    def unseen(self) -> float | None:
        """Mean over four batches, with the same draws each time."""
        torch_state = torch.get_rng_state()
        torch.manual_seed(1)
        rng = np.random.default_rng(1)
        out = float(np.mean([float(self.loss(rng, False)) for _ in range(4)]))
        torch.set_rng_state(torch_state)
        return out

    def end(self) -> None:
        """Averaged weights stay."""
        _put(self.parameters, self.average)


class Ours:
    """A phase of a family of ours, with the product's own optimiser."""

    def __init__(self, phase: Phase, model: Any, loop: LoopConfig, frames: int) -> None:
        self.name, self.share, self.frames = phase.name, phase.config.share, frames
        self.phase, self.learner = phase, Learner(model, loop, torch.device("cpu"), current())
        self.rng = np.random.default_rng(loop.seed)

    def begin(self) -> None:
        """Prepare the phase."""
        self.phase.prepare()
        if isinstance(self.phase, Fed):
            self.phase.feed.open(Share(batches=self.phase.config.accumulate))
        self.steps = Steps(self.phase, self.learner)

    def step(self, place: float) -> float:
        """One update of as many batches as its configuration says."""
        return self.steps.step(lambda: self.phase.draw(self.rng), self.phase.config.accumulate, place)[0]

    def averaged(self) -> Any:
        """Averaged weights, for the duration."""
        return self.steps.averaged()

    def unseen(self) -> float | None:
        """Not kept: its phases judge pictures instead."""
        return None

    def end(self) -> None:
        """Averaged weights stay, and the phase finishes."""
        self.steps.average()
        if isinstance(self.phase, Fed):
            self.phase.feed.close()
        self.phase.finish()
        self.learner.release()


def _put(parameters: Sequence[nn.Parameter], values: Sequence[Tensor]) -> None:
    with torch.no_grad():
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(value)


def learn(
    stages: Sequence[Stage],
    seconds: float,
    judge: Callable[[], dict[str, float]],
    parts: Sequence[float] = JUDGED,
    *,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, Any]:
    """Train for so many processor seconds.

    Args:
        stages: in their order.
        seconds: of the processor, for all of them together.
        judge: what the model is worth, on averaged weights.
        parts: of the last stage, after which it is judged.
        clock: s.

    Returns:
        ``stages``: of each its steps, seconds, pictures a second and losses; ``curve``: what the model was worth at
        parts of the last one.
    """
    whole = sum(stage.share for stage in stages)
    kept: list[dict[str, Any]] = []
    curve: list[dict[str, Any]] = []
    for number, stage in enumerate(stages):
        stage.begin()
        budget, last = seconds * stage.share / whole, number == len(stages) - 1
        used, count, losses, told = 0.0, 0, list[float](), list[dict[str, float]]()
        due = [part for part in parts if last]
        while used < budget:
            begun = clock()
            losses.append(stage.step(used / budget))
            used += clock() - begun
            count += 1
            if used >= budget * (len(told) + 1) / SEGMENTS:
                told.append({"cpu_s": round(used, 1), "steps": count, "loss": round(float(np.mean(losses)), 6)})
                losses = []
            while due and used >= budget * due[0]:
                with stage.averaged():
                    unseen = stage.unseen()
                    point: dict[str, Any] = {"part": due.pop(0), "cpu_s": round(used, 1), "steps": count}
                    curve.append(point | {"own_loss_held_out": unseen, **judge()})
        stage.end()
        kept.append({
            "stage": stage.name, "steps": count, "cpu_s": round(used, 1), "losses": told,
            "frames_per_cpu_s": round(count * stage.frames / used, 1),
        })  # fmt: skip
    return {"stages": kept, "curve": curve}


# ------------------------------------------------------------------ what peers share


class Clips:
    """Pictures, states and actions of tracks, cut into clips."""

    def __init__(self, tracks: Sequence[Track], camera: str, length: int) -> None:
        self.bank = Bank(tracks)
        self.frames_RSS3 = torch.cat([torch.as_tensor(np.array(t.frames[camera])) for t in tracks])
        self.length = length
        self.rows: IntArray = self.bank.rows(length - 1, 1)

    def draw(self, rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Frames (N, T, 3, S, S) from -1 to 1, states (N, T, D) and actions (N, T - 1, A) of clips at random."""
        now = self.rows[rng.integers(len(self.rows), size=count)]
        rows = now[:, None] + np.arange(2 - self.length, 2)
        frames = self.frames_RSS3[rows].movedim(-1, 2).float() / 127.5 - 1
        return frames, self.bank.states_RD[rows], self.bank.actions_RA[rows[:, :-1]]


class Teller(nn.Module):
    """What is known of the robot in every step: where it was, where it will be, what it was told."""

    def __init__(self, layout: Layout, normaliser: Normaliser) -> None:
        super().__init__()
        self.layout = layout
        self.ensemble = Ensemble(EnsembleConfig(members=3), layout, normaliser)
        self.width = 4 * layout.state_width + layout.action_width

    def forward(self, states_NTD: Tensor, actions_NKA: Tensor) -> Tensor:
        """(N, T - 1, E) of T states and the actions between them."""
        place = self.ensemble.place(states_NTD)
        return torch.cat([place[:, :-1], place[:, 1:], self.ensemble.command(actions_NKA)], dim=-1)

    def stage(self, train: Sequence[Track]) -> Ours:
        """How its ensemble learns: a tenth of the seconds, as in our own families."""
        config = PhaseConfig(steps=200, batch=32, rate=2e-3, share=0.1)
        phase = TelemetryPhase(self.ensemble, config, self.layout, train, [])
        return Ours(phase, self.ensemble, LoopConfig(device="cpu"), 0)


class Taught(Generic[Configured]):
    """What every peer begins with: the teller, and clips of one frame more than are known, seen and unseen ones."""

    def __init__(
        self,
        config: Configured,
        layout: Layout,
        normaliser: Normaliser,
        train: Sequence[Track],
        held_out: Sequence[Track],
    ) -> None:
        self.config, self.train = config, train
        self.teller = Teller(layout, normaliser)
        camera = layout.cameras[0].name
        self.clips = {seen: Clips(tracks, camera, CONTEXT + 1) for seen, tracks in ((True, train), (False, held_out))}


class Painter(Protocol):
    """How a peer makes one more picture."""

    def remember(self, frames_NT3SS: Tensor, told_NKE: Tensor) -> None:
        """Known pictures, and what was known in the steps between them."""

    def next(self, told_NE: Tensor) -> Tensor:
        """The next picture (N, 3, S, S) from -1 to 1."""


class PeerWorld:
    """A peer behind the protocol, so that it goes through the same measures as ours."""

    capabilities = frozenset({Capability.ACTIONS, Capability.FRAMES, Capability.STATE})

    def __init__(self, spec: ModelSpec, teller: Teller, painter: Callable[[int, torch.Generator], Painter]) -> None:
        self.spec, self.teller, self.painter = spec, teller, painter

    def open(self, prompt: Prompt, *, samples: int = 1, seed: int) -> PeerUnrolling:
        """Start unrolling."""
        check_prompt(prompt, self.spec, self.capabilities)
        return PeerUnrolling(self, prompt, samples, seed)


class PeerUnrolling:
    """One unrolling of a peer."""

    @torch.inference_mode()
    def __init__(self, world: PeerWorld, prompt: Prompt, samples: int, seed: int) -> None:
        self.teller, self.samples = world.teller, samples
        layout, back = world.teller.layout, world.teller.ensemble.context
        self.camera = world.spec.cameras[0].name
        states = torch.as_tensor(joined_states(prompt, layout, CONTEXT))
        past = torch.as_tensor(past_actions(prompt, CONTEXT))
        window, drive = states[-back:], past[len(past) - back + 1 :]
        self.rolling = Rolling(self.teller.ensemble, window.expand(samples, -1, -1), drive.expand(samples, -1, -1))
        self.state_ND = states[-1].expand(samples, -1)
        frames = torch.as_tensor(np.array(prompt.frames[self.camera][-CONTEXT:])).movedim(-1, 1).float() / 127.5 - 1
        self.painter = world.painter(samples, torch.Generator().manual_seed(seed))
        told = self.teller(states[None], past[None])
        self.painter.remember(frames.expand(samples, -1, -1, -1, -1), told.expand(samples, -1, -1))

    @torch.inference_mode()
    def step(self, actions_BKA: Any) -> Frame:
        """Advance K steps."""
        layout = self.teller.layout
        actions = torch.tensor(check_actions(actions_BKA, self.samples, layout.action_width))
        states, pictures = [], []
        for k in range(actions.shape[1]):
            after_ND, _ = self.rolling.mean_step(actions[:, k])
            told = self.teller(torch.stack([self.state_ND, after_ND], dim=1), actions[:, k : k + 1])[:, 0]
            shown = self.painter.next(told)
            self.state_ND = after_ND
            states.append(after_ND)
            pictures.append(((shown + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).movedim(1, -1))
        return Frame(
            states=layout.split(torch.stack(states, dim=1).double().numpy()),
            frames={self.camera: torch.stack(pictures, dim=1).numpy()},
        )


class Peer(Protocol):
    """What a peer's file makes: ``create(config, layout, normaliser, train, held_out)``."""

    def modules(self) -> nn.Module:
        """All that a checkpoint of it holds."""

    def stages(self) -> list[Stage]:
        """How it learns."""

    def world(self, spec: ModelSpec) -> WorldModel:
        """Behind the protocol."""

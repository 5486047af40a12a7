"""Cloning action chunks with the one training loop: configuration, windows of episodes, the phase, the release.

A policy file adds a :class:`Head`: its loss on a chunk and how it draws one. Goals are taken in hindsight (arXiv
1707.01495): what a later row of the same recording showed is what its actions led to. Notable choices: actions after a
recording's end, or after the goal was reached, teach nothing; targets may be relative to what is measured now, with
statistics of their own; pictures are shifted by a few pixels (arXiv 2004.13649).

Shape legend: B batch, N windows, T rows, K actions of a chunk, A action channels, D channels of a stream.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from worldgate.control.policies._nets import TINY, NetConfig, Sight
from worldgate.control.policies._nets import sized as net_of
from worldgate.control.policies._release import Fitted, Origin
from worldgate.core.digest import canonical
from worldgate.core.errors import CapabilityMissing, DataRefused, UsageError
from worldgate.core.normalisers import Normaliser, fit
from worldgate.core.streams import FloatArray, IntArray, Kind
from worldgate.fleet.releases import Controller, Setting
from worldgate.worlds.batches import Batch
from worldgate.worlds.family import Phase
from worldgate.worlds.sizes import Size, slower
from worldgate.worlds.tracks import Inputs, Layout, Track, runs, whole
from worldgate.worlds.train.config import LoopConfig, PhaseConfig

_JUDGED = 256
"""Held-out windows behind the figures that stand beside the loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkConfig:
    """What every policy that predicts action chunks is told."""

    inputs: Inputs = field(default_factory=Inputs)
    """What it sees; ``inputs.action`` is what it learns from: the expert's command, where that was kept apart."""
    acts: str = "action"
    """Stream it is asked to give."""
    goal: tuple[str, ...] = ()
    """Those of its inputs that it is also shown as they are at the goal; empty: it takes no goal."""
    relative_to: str = ""
    """State stream whose channels, named as the action's, the output is added to; other channels, and all where it is
    empty, are absolute."""
    convention: str = "joint_position"
    """Controller convention of the action."""
    chunk: int = 16
    """Actions predicted at once."""
    execute: int = 8
    """Of those, how many are executed before the next look."""
    shift: int = 4
    """Pixels by which pictures are shifted at most while it learns."""
    net: NetConfig = field(default_factory=NetConfig)
    phase: PhaseConfig = field(
        default_factory=lambda: PhaseConfig(steps=2000, batch=64, rate=5e-4, decay=1e-3, warmup=100, ema=0.99)
    )
    loop: LoopConfig = field(default_factory=LoopConfig)


C = TypeVar("C", bound=ChunkConfig)


class Head(Protocol):
    """Weights that give chunks, also an ``nn.Module``."""

    def loss(self, chunk_BKA: Tensor, there_BK: Tensor, seen: dict[str, Tensor]) -> Tensor:
        """Of normalised chunks; ``there`` is 0 where a chunk goes beyond what it may learn from."""
        ...

    def sample(self, seen: dict[str, Tensor], random: torch.Generator) -> Tensor:
        """(B, K, A), normalised."""
        ...


def sight_of(config: ChunkConfig, layout: Layout) -> Sight:
    """What a policy of this configuration looks at.

    Raises:
        UsageError: a goal of streams it does not see, or a chunk that cannot be.
        CapabilityMissing: a camera of depth or segmentation.
    """
    seen = (*layout.states, *layout.cameras)
    for camera in layout.cameras:
        if camera.kind is not Kind.IMAGE:
            raise CapabilityMissing("a policy looks at colour pictures", got=camera.kind.value, where=camera.name)
    unknown = set(config.goal) - {s.name for s in seen}
    if unknown:
        got, hint = sorted(unknown)[0], f"some of {', '.join(s.name for s in seen)}"
        raise UsageError("a goal is shown in streams that the policy sees", got=got, where="goal", hint=hint)
    if not 1 <= config.execute <= config.chunk:
        raise UsageError("a chunk that cannot be executed", got=f"{config.execute} of {config.chunk}", where="execute")
    return Sight(seen=seen, goal=config.goal, chunk=config.chunk, action=layout.action_width)


def sized(config: C, size: Size) -> C:
    """A configuration of another size."""
    return replace(config, net=net_of(config.net, size), phase=slower(config.phase, size))


def tiny(config: C) -> C:
    """A configuration that trains in seconds."""
    phase = PhaseConfig(steps=30, batch=16, warmup=5)
    return replace(
        config, net=TINY, phase=phase, chunk=4, execute=2, loop=LoopConfig(checkpoint_every=10, evaluate_every=15)
    )


def masked(error_BKA: Tensor, there_BK: Tensor) -> Tensor:
    """Mean over what is there."""
    total: Tensor = (error_BKA * there_BK[..., None]).sum() / (there_BK.sum() * error_BKA.shape[-1]).clamp_min(1)
    return total


class Cloned(nn.Module):
    """A policy while it learns: what the loop trains and a checkpoint holds.

    Args:
        policy: its entry in this seam.
        config: its configuration.
        layout: the streams, as found in the episodes.
        normaliser: statistics of all of them; the action's are replaced where it is relative.
        head: untrained weights.
        settings: what the head needs to be built again, and what it executes by.
    """

    context = 1

    @property
    def windows(self) -> type[Windows]:
        """What it draws its batches from."""
        return Windows

    def __init__(
        self,
        policy: str,
        config: ChunkConfig,
        layout: Layout,
        normaliser: Normaliser,
        head: nn.Module,
        *,
        about: Mapping[str, Any],
        post: Mapping[str, Setting],
    ) -> None:
        super().__init__()
        self.policy, self.config, self.layout, self.normaliser = policy, config, layout, normaliser
        self.head: Any = head
        self.about, self.post = about, post

    def phases(self, train: Sequence[Track], held_out: Sequence[Track]) -> list[Phase]:
        """One phase."""
        windows = self.windows(whole(train), self)
        if self.config.relative_to:
            streams = {**self.normaliser.streams, self.layout.action.name: fit(windows.targets())}
            self.normaliser = Normaliser(streams=streams)
        return [ClonePhase(self, windows, self.windows(whole(held_out), self))]

    def fitted(self) -> Fitted:
        """Ready to become a release; what only served to learn is left out."""
        statistics = self.normaliser.statistics(self.layout.action.name)
        streams = {s.name: self.normaliser.statistics(s.name) for s in self.layout.states}
        # Recordings of pictures state no unit, so a release asks for none.
        config, seen = self.config, (*self.layout.states, *(replace(c, unit="") for c in self.layout.cameras))
        pre: dict[str, Setting] = {"goal": ",".join(config.goal)} if config.goal else {}
        if self.layout.cameras:
            pre["size"] = float(config.inputs.size)
        return Fitted(
            policy=self.policy,
            tensors={n: t.detach().cpu().numpy() for n, t in self.head.state_dict().items() if "posterior" not in n},
            about={"head": canonical({"net": dataclasses.asdict(config.net), **self.about}).decode()},
            normaliser=Normaliser(streams={**streams, config.acts: statistics}),
            observation=seen,
            action=replace(self.layout.action, name=config.acts),
            controller=Controller(
                convention=config.convention, rate_hz=self.layout.rate_hz, chunk=config.chunk, execute=config.execute
            ),
            pre=pre,
            post={**self.post, **({"relative_to": config.relative_to} if config.relative_to else {})},
            runtime={"torch": ".".join(torch.__version__.split(".")[:2])},
            seed=config.loop.seed,
        )


class Windows:
    """Rows that chunks start at, with what is seen there; normalised when they are drawn.

    Raises:
        DataRefused: a target relative to channels that are not there.
    """

    def __init__(self, tracks: Sequence[Track], model: Cloned) -> None:
        self.tracks, self.model, config = tracks, model, model.config
        post: dict[str, Setting] = {"relative_to": config.relative_to} if config.relative_to else {}
        self.origin = Origin.of(model.layout.states, post, model.layout.action, model.normaliser)
        self.states = [model.layout.split(t.states_TD) for t in tracks]
        self.origins = [
            self.origin.at(s[self.origin.stream]) if self.origin.stream else np.zeros_like(t.actions_TA)
            for s, t in zip(self.states, tracks, strict=True)
        ]
        last = 1 if config.goal else 0  # the last row of a run has no later one to be its goal
        rows = [(i, r, end) for i, t in enumerate(tracks) for a, end in runs(t.valid_T) for r in range(a, end - last)]
        self.rows_N3: IntArray = np.array(rows, np.int64).reshape(-1, 3)

    def targets(self) -> list[FloatArray]:
        """Of every place in a chunk, one (T, A) array a run: what relative statistics are measured on."""
        return [
            self.origin.away(t.actions_TA[first + k : end], self.origins[i][first : end - k])
            for i, t in enumerate(self.tracks)
            for first, end in runs(t.valid_T)
            for k in range(self.model.config.chunk)
            if end - first > k
        ]

    def draw(self, rng: np.random.Generator) -> Batch:
        """A batch for learning."""
        rows_B3 = self.rows_N3[rng.integers(len(self.rows_N3), size=self.model.config.phase.batch)]
        tensors = self.gather(rows_B3, rng)
        most = self.model.config.shift
        for camera in self.model.layout.cameras if most else ():
            # Now and the goal move together: how far one lies from the other is what there is to learn.
            moves_B2 = rng.integers(-most, most + 1, size=(len(rows_B3), 2))
            for key in (camera.name, f"goal/{camera.name}"):
                if key in tensors:
                    tensors[key] = _shifted(tensors[key], moves_B2)
        return Batch(tensors=tensors, seed=int(rng.integers(2**31)))

    def gather(self, rows_N3: IntArray, rng: np.random.Generator) -> dict[str, Tensor]:
        """What is seen at these rows and at goals drawn for them, the chunk, what of it counts, the action before."""
        config, normaliser = self.model.config, self.model.normaliser
        ends_N = rows_N3[:, 2]
        goals_N = rng.integers(rows_N3[:, 1] + 1, ends_N) if config.goal else ends_N
        steps_NK = rows_N3[:, 1:2] + np.arange(config.chunk)
        there_NK = steps_NK < goals_N[:, None]
        steps_NK = np.minimum(steps_NK, ends_N[:, None] - 1)
        each = list(zip(rows_N3[:, 0], rows_N3[:, 1], goals_N, strict=True))
        target = normaliser.statistics(self.model.layout.action.name)
        origin_NA = np.stack([self.origins[i][row] for i, row, _ in each])
        chunk = np.stack([self.tracks[i].actions_TA[k] for (i, _, _), k in zip(each, steps_NK, strict=True)])
        before = np.stack([self.tracks[i].actions_TA[max(row - 1, 0)] for i, row, _ in each])
        arrays: dict[str, Any] = {
            "chunk": target.apply(self.origin.away(chunk, origin_NA[:, None])).astype(np.float32),
            "before": target.apply(self.origin.away(before, origin_NA)).astype(np.float32),
            "there": there_NK.astype(np.float32),
        }
        for signal in self.model.layout.states:
            held, name = normaliser.statistics(signal.name), signal.name
            arrays[name] = held.apply(np.stack([self.states[i][name][row] for i, row, _ in each])).astype(np.float32)
            if name in config.goal:
                goal = np.stack([self.states[i][name][goal] for i, _, goal in each])
                arrays[f"goal/{name}"] = held.apply(goal).astype(np.float32)
        for camera in (c.name for c in self.model.layout.cameras):
            arrays[camera] = np.stack([self.tracks[i].frames[camera][row] for i, row, _ in each])
            if camera in config.goal:
                arrays[f"goal/{camera}"] = np.stack([self.tracks[i].frames[camera][goal] for i, _, goal in each])
        return {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in arrays.items()}


def _shifted(pictures_BSSC: Tensor, moves_B2: IntArray) -> Tensor:
    """Each picture moved by so many pixels down and across, its edge repeated."""
    side = pictures_BSSC.shape[1]
    rows = torch.from_numpy(np.clip(np.arange(side) + moves_B2[:, :1], 0, side - 1))
    columns = torch.from_numpy(np.clip(np.arange(side) + moves_B2[:, 1:], 0, side - 1))
    each = torch.arange(len(pictures_BSSC))[:, None, None]
    return pictures_BSSC[each, rows[:, :, None], columns[:, None, :]]


class ClonePhase:
    """The one optimisation of a policy.

    Raises:
        DataRefused: no row to learn from.
    """

    name = "policy"

    def __init__(self, model: Cloned, windows: Windows, held_out: Windows) -> None:
        if not len(windows.rows_N3):
            raise DataRefused("no row to learn from", hint="worldgate check names gaps and values that are not finite")
        self.model, self.config, self.windows = model, model.config.phase, windows
        self.judged: dict[str, Tensor] = {}
        if len(held_out.rows_N3):
            rng = np.random.default_rng(0)
            chosen = rng.permutation(len(held_out.rows_N3))[:_JUDGED]
            self.judged = held_out.gather(held_out.rows_N3[np.sort(chosen)], rng)

    def parameters(self) -> list[nn.Parameter]:
        return list(self.model.parameters())

    def prepare(self) -> None:
        """Nothing to prepare."""

    def draw(self, rng: np.random.Generator) -> Batch:
        return self.windows.draw(rng)

    def loss(self, batch: Batch) -> Tensor:
        loss: Tensor = self.model.head.loss(batch["chunk"], batch["there"], dict(batch.tensors))
        return loss

    def evaluate(self) -> dict[str, float]:
        """Root mean square errors over a chunk, in standard deviations of the target, on held-out rows."""
        if not self.judged:
            return {key: float("nan") for key in ("action_error", "copy_last_error", "mean_action_error")}
        chunk, there, before = (self.judged[key] for key in ("chunk", "there", "before"))
        told = self.model.head.sample(self.judged, torch.Generator().manual_seed(0))
        guesses = {"action_error": told, "copy_last_error": before[:, None], "mean_action_error": torch.zeros(())}
        return {key: float(masked((guess - chunk).square(), there).sqrt()) for key, guess in guesses.items()}

    def finish(self) -> None:
        """Nothing is left to do."""

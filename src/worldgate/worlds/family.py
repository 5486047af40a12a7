"""What a model family offers to training, checkpoints and imagination; each file in ``models`` fulfils it.

A family module holds ``CARD``, ``Config`` (a frozen dataclass with ``inputs`` and ``loop``), ``debug()`` (a config that
trains in seconds), ``create(config, layout, normaliser)``, which returns an untrained :class:`Family`, and, where it
comes in sizes, ``sized(size)`` (:mod:`worldgate.worlds.sizes`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
from torch import Tensor, nn

from worldgate.core import seams
from worldgate.core.errors import CapabilityMissing
from worldgate.core.normalisers import Normaliser
from worldgate.core.worlds import ModelSpec, WorldModel
from worldgate.worlds.batches import Batch
from worldgate.worlds.feed import ClipFeed
from worldgate.worlds.tracks import Inputs, Layout, Track
from worldgate.worlds.train.config import LoopConfig, PhaseConfig


class FamilyConfig(Protocol):
    """A family's configuration: everything that shapes the weights."""

    @property
    def inputs(self) -> Inputs: ...
    @property
    def loop(self) -> LoopConfig: ...


class Phase(Protocol):
    """One optimisation on the way to a model, such as fitting a tokenizer."""

    name: str
    config: PhaseConfig

    def parameters(self) -> list[nn.Parameter]:
        """What it optimises."""
        ...

    def prepare(self) -> None:
        """Run before its first step and again on resume, so it must be deterministic."""
        ...

    def draw(self, rng: np.random.Generator) -> Batch:
        """The next batch: data alone, on the CPU, by this generator and nothing else."""
        ...

    def loss(self, batch: Batch) -> Tensor:
        """Of a batch, on the device of the weights; the same for the same batch, weights and torch seed."""
        ...

    def evaluate(self) -> dict[str, float]:
        """Figures on held-out episodes, baselines beside them; NaN where there is nothing to measure."""
        ...

    def finish(self) -> None:
        """Run once after its last step, on the averaged weights."""
        ...


@runtime_checkable
class Fed(Protocol):
    """A phase that may also offer this: its batches come from a clip loader. The loop opens and closes it."""

    feed: ClipFeed


@runtime_checkable
class Anywhere(Protocol):
    """A phase that may also offer this: all of it works on the device of the weights.

    For all others the weights come back to the CPU for ``prepare``, ``evaluate``, ``sample`` and ``finish``.
    """

    anywhere: bool


@runtime_checkable
class Tasting(Protocol):
    """A phase that may also offer this: a preparation on a part, so that a rehearsal need not do all of its work."""

    def taste(self) -> float:
        """As ``prepare``, on as little as its steps and figures need; the share of the work that this was."""
        ...


@runtime_checkable
class Telling(Protocol):
    """A phase that may also offer this: what the model makes of held-out data, watched for collapse."""

    def latents(self) -> Tensor | None:
        """(N, D) vectors, on averaged weights; None where there is nothing to look at."""
        ...


@runtime_checkable
class Sampling(Protocol):
    """A phase that may also offer this: pictures on the way."""

    def sample(self, folder: Path) -> None:
        """Write a few files, on averaged weights, into a folder that exists."""
        ...


@runtime_checkable
class Stacked(Protocol):
    """A model that may also offer this: its repeated layers, called as modules.

    They are what is compiled, recomputed on the way back, and shared out among processes. Such a model writes no
    parameter in ``prepare`` or ``finish``.
    """

    def blocks(self) -> list[nn.Module]:
        """In any order; none lies within another."""
        ...


@runtime_checkable
class Borrowing(Protocol):
    """A model that may also offer this: it rests on something that others made and its weights do not hold."""

    def borrowed(self) -> dict[str, str]:
        """What names it, down to a digest; empty: nothing. A checkpoint holds it and loads beside nothing else."""
        ...


class Trainable(Protocol):
    """What the loop trains and a checkpoint holds; also an ``nn.Module`` whose ``state_dict`` is the weights."""

    layout: Layout
    normaliser: Normaliser
    context: int
    """Rows a prompt must hold."""

    def state_dict(self) -> dict[str, Tensor]: ...
    def load_state_dict(self, state_dict: dict[str, Tensor], strict: bool = True) -> Any: ...
    def train(self, mode: bool = True) -> Any: ...

    def phases(self, train: Sequence[Track], held_out: Sequence[Track]) -> list[Phase]:
        """The optimisations, in order."""
        ...


class Family(Trainable, Protocol):
    """An untrained or trained world model as torch sees it."""

    def world(self, spec: ModelSpec) -> WorldModel:
        """The trained model behind the protocol that other rooms see."""
        ...


class TrainableModule(Protocol):
    """What a file in ``models`` or ``tokenizers`` holds."""

    Config: type[FamilyConfig]

    def debug(self) -> FamilyConfig: ...
    def create(self, config: FamilyConfig, layout: Layout, normaliser: Normaliser) -> Trainable: ...


class FamilyModule(TrainableModule, Protocol):
    """What a file in ``models`` holds."""

    def create(self, config: FamilyConfig, layout: Layout, normaliser: Normaliser) -> Family: ...


def load_family(name: str) -> FamilyModule:
    """Import a family by the name users type.

    Raises:
        NotFound: no such family.
        MissingExtra: torch is not installed.
    """
    return cast(FamilyModule, seams.load("models", name))


def load_trainable(name: str) -> TrainableModule:
    """Import a family or a tokenizer by the name users type; ``seam/name`` is an entry of any other seam.

    Raises:
        NotFound: nothing is called so.
        CapabilityMissing: a tokenizer that is trained within a family.
        MissingExtra: torch is not installed.
    """
    seam, _, entry = name.rpartition("/")
    if seam:
        return cast(TrainableModule, seams.load(seam, entry))
    if not is_tokenizer(name):
        return load_family(name)
    module = seams.load("tokenizers", name)
    if not hasattr(module, "create"):
        raise CapabilityMissing("this tokenizer is trained within a family", got=name, hint="worldgate list models")
    return cast(TrainableModule, module)


def is_tokenizer(name: str) -> bool:
    """Whether a name that can be trained is a tokenizer's."""
    return name in seams.cards("tokenizers")

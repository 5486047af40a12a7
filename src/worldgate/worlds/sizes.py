"""One dial of sizes for every family: ``debug nano small base large``.

``small`` is a family's default, made for a CPU; each size up doubles the width. Learning rates go as one over the width
between sizes, as the maximal update parametrisation has it for matrices under Adam (arXiv 2203.03466), so that a rate
that was found at one size serves at the next. Depth, batch and length of training are the family's to choose.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Protocol, runtime_checkable

from worldgate.core.errors import CapabilityMissing
from worldgate.worlds.family import FamilyConfig, TrainableModule
from worldgate.worlds.train.config import PhaseConfig


class Size(StrEnum):
    """How large a model is made."""

    DEBUG = "debug"
    """Trains in seconds; for tests."""
    NANO = "nano"
    SMALL = "small"
    """The default."""
    BASE = "base"
    LARGE = "large"


_WIDER: Mapping[Size, float] = {Size.NANO: 0.5, Size.SMALL: 1.0, Size.BASE: 2.0, Size.LARGE: 4.0}


@runtime_checkable
class Sized(Protocol):
    """What a family module offers to come in several sizes."""

    def sized(self, size: Size) -> FamilyConfig:
        """The configuration of a size other than ``debug``; ``small`` is ``Config()``."""
        ...


def wider(width: int, size: Size) -> int:
    """A width of ``small`` at another size; a multiple of 8 stays one, where it is at least 16."""
    return round(width * _WIDER[size])


def slower(phase: PhaseConfig, size: Size) -> PhaseConfig:
    """A phase of ``small`` at another size: its learning rate goes as one over the width."""
    return replace(phase, rate=phase.rate / _WIDER[size])


def config_of(name: str, module: TrainableModule, size: Size) -> FamilyConfig:
    """A family's configuration at a size.

    Raises:
        CapabilityMissing: a family that comes in one size.
    """
    if size is Size.DEBUG:
        return module.debug()
    if isinstance(module, Sized):
        return module.sized(size)
    if size is Size.SMALL:
        return module.Config()
    hint = "--size debug, --size small, or --set for its widths"
    raise CapabilityMissing("this family comes in one size", got=f"{name} {size}", hint=hint)

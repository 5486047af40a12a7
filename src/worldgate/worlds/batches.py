"""What one step of training learns from: tensors by name, and where they came from.

A batch is data alone: it holds no graph, so it can be drawn by another process, moved to a device and split over ranks
before any model sees it. What decides which way a loss takes stays out of the tensors: to read it from a device would
mean to wait for all that the device has still to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Drawn by a phase, learned from by its loss."""

    tensors: Mapping[str, Tensor]
    """By the names that the phase gives them."""
    numbers: Mapping[str, int] = field(default_factory=dict)
    """What the loss does with them, by the names that the phase gives; these stay on the CPU."""
    seed: int | None = None
    """Torch's generators are set to it before the loss, which may then draw noise or hidden patches of its own."""

    def __getitem__(self, name: str) -> Tensor:
        """One tensor.

        Raises:
            KeyError: the phase drew none of that name.
        """
        return self.tensors[name]

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        moved = {name: held.to(device, non_blocking=True) for name, held in self.tensors.items()}
        return replace(self, tensors=moved)

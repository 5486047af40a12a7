"""Where a model computes, and how numbers get there and back.

One convention for all that imagines: a model works where its weights lie. What enters it (prompts, actions, recorded
frames) is sent there at the door, what leaves it comes home to the CPU at the door, and in between every new tensor is
made beside one that is there already. Chance is drawn on the CPU, by a generator of its own, and then sent: generators
of different devices give different numbers for one seed, and a seed should mean the same future on each of them, up to
the rounding of its arithmetic. What is drawn for a frame is little beside what the frame costs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from worldgate.core.streams import Array


def device_of(model: nn.Module) -> torch.device:
    """Where a model's weights lie; the CPU for one without any."""
    held = next(model.parameters(), next(model.buffers(), None))
    return torch.device("cpu") if held is None else held.device


def sent(held: Array | Tensor, device: torch.device) -> Tensor:
    """Numbers on a device, in memory of their own where they come from an array; nobody waits for the copy."""
    tensor = held if isinstance(held, Tensor) else torch.tensor(np.asarray(held))
    return tensor.to(device, non_blocking=True)


def home(held: Tensor) -> Array:
    """A tensor as an array, wherever it lies."""
    out: Array = held.cpu().numpy()
    return out


class Draws:
    """Chance by a seed: drawn on the CPU, and sent to where it is needed.

    Args:
        seed: of all draws, one after the other.
        device: where they go.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self.device, self._rng = device, torch.Generator().manual_seed(seed)

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Standard normal."""
        return sent(torch.randn(tuple(shape), generator=self._rng), self.device)

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """From 0 up to 1."""
        return sent(torch.rand(tuple(shape), generator=self._rng), self.device)

    def one_of(self, chances_NV: Tensor) -> Tensor:
        """(N, 1) number of one entry of each row, drawn by these chances, which need not add up to 1.

        The fastest of exponential clocks, as ``torch.multinomial`` draws one, which takes no generator of another
        device.
        """
        clocks = torch.empty(chances_NV.shape, dtype=chances_NV.dtype).exponential_(generator=self._rng)
        return (chances_NV / sent(clocks, self.device)).argmax(dim=-1, keepdim=True)

    def order(self, count: int) -> Tensor:
        """(count,) the numbers below it in a random order."""
        return sent(torch.randperm(count, generator=self._rng), self.device)

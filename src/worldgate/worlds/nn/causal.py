"""Causal compression in time: the first frame stands alone, every later latent holds a few frames.

Source: the 1 + k r layout of causal video autoencoders (arXiv 2310.05737, 2501.03575). A latent depends on no later
frame, so one image is a video of one frame, and a stream can be encoded as it arrives.

Shape legend: N clips, T = 1 + k r frames, Z = 1 + k latents, P places, C channels, r frames a latent.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from worldgate.core.errors import UsageError


def latents_of(frames: int, ratio: int) -> int:
    """Latents of so many frames.

    Raises:
        UsageError: a number of frames that is not one and a multiple of ``ratio``.
    """
    if frames < 1 or (frames - 1) % ratio:
        hint = f"1, {1 + ratio}, {1 + 2 * ratio} ... frames"
        raise UsageError("a clip that does not divide into latents", got=f"{frames} frames", hint=hint)
    return 1 + (frames - 1) // ratio


class Mix(nn.Module):
    """Adds to every frame what the two before it say; starts as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enter = nn.Linear(3 * channels, channels)
        self.leave = nn.Linear(channels, channels)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, x_NTPC: Tensor) -> Tensor:
        """(N, T, P, C) to the same."""
        frames = x_NTPC.shape[1]
        padded = functional.pad(x_NTPC, (0, 0, 0, 0, 2, 0))
        three = torch.cat([padded[:, i : i + frames] for i in range(3)], dim=-1)
        out: Tensor = x_NTPC + self.leave(functional.silu(self.enter(three)))
        return out


class Shrink(nn.Module):
    """Frames to latents."""

    def __init__(self, channels: int, ratio: int) -> None:
        super().__init__()
        self.ratio, self.mix = ratio, Mix(channels)
        self.join = nn.Linear(ratio * channels, channels)

    def forward(self, x_NTPC: Tensor) -> Tensor:
        """(N, T, P, C) to (N, Z, P, C).

        Raises:
            UsageError: a number of frames that does not divide.
        """
        latents = latents_of(x_NTPC.shape[1], self.ratio)
        mixed = self.mix(x_NTPC)
        if self.ratio == 1:
            return self.join(mixed)  # type: ignore[no-any-return]  # torch leaves it untyped
        alone = mixed[:, :1].repeat(1, 1, 1, self.ratio)
        groups = torch.unflatten(mixed[:, 1:], 1, (latents - 1, self.ratio))
        return self.join(torch.cat([alone, groups.transpose(2, 3).flatten(3)], dim=1))  # type: ignore[no-any-return]


class Stretch(nn.Module):
    """Latents to frames."""

    def __init__(self, channels: int, ratio: int) -> None:
        super().__init__()
        self.ratio, self.mix = ratio, Mix(channels)
        self.part = nn.Linear(channels, ratio * channels)

    def forward(self, x_NZPC: Tensor) -> Tensor:
        """(N, Z, P, C) to (N, T, P, C)."""
        apart = torch.unflatten(self.part(x_NZPC), -1, (self.ratio, -1)).transpose(2, 3)
        frames = torch.cat([apart[:, 0, -1:], apart[:, 1:].flatten(1, 2)], dim=1)
        out: Tensor = self.mix(frames)
        return out

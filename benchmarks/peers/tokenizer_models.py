"""Learned peers of our tokenizers, written from their papers: a plain VQ-VAE, and a space-time transformer with FSQ.

VQ-VAE: arXiv 1711.00937, with the codebook as running averages of its appendix. Transformer: of the size of TinyWorlds'
video tokenizer (128 wide, 4 + 4 layers of space attention and causal attention over time), patches of 8 pixels so that
it spends as many bits as everybody here. Both see colour pictures alone, without a context.

Shape legend: N clips, T frames, P places, S pixels a side, D width, K codes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

PATCH = 8


def signed(frames: Tensor) -> Tensor:
    """(N, T, S, S, 3) uint8 to (N, T, 3, S, S) from -1 to 1."""
    return frames.float().movedim(-1, 2) / 127.5 - 1


def as_bytes(frames: Tensor) -> Tensor:
    """The way back."""
    return ((frames.movedim(2, -1) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


class Unit(nn.Module):
    """A residual unit of the paper."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Shape kept."""
        return x + self.two(functional.relu(self.one(functional.relu(x))))


class VqVae(nn.Module):
    """Strided convolutions, two residual units a side, one codebook."""

    def __init__(self, width: int, codes: int = 512, channels: int = 64) -> None:
        super().__init__()
        half = width // 2
        self.down = nn.Sequential(
            nn.Conv2d(3, half, 4, 2, 1), nn.ReLU(), nn.Conv2d(half, width, 4, 2, 1), nn.ReLU(),
            nn.Conv2d(width, width, 4, 2, 1), Unit(width), Unit(width), nn.ReLU(), nn.Conv2d(width, channels, 1),
        )  # fmt: skip
        self.up = nn.Sequential(
            nn.Conv2d(channels, width, 3, 1, 1), Unit(width), Unit(width), nn.ReLU(),
            nn.ConvTranspose2d(width, width, 4, 2, 1), nn.ReLU(),
            nn.ConvTranspose2d(width, half, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(half, 3, 4, 2, 1),
        )  # fmt: skip
        self.size = codes
        self.register_buffer("book", torch.randn(codes, channels) * 0.1)
        self.register_buffer("counts", torch.zeros(codes))
        self.register_buffer("totals", torch.zeros(codes, channels))

    def codes(self, frames: Tensor) -> Tensor:
        """(N, T, S, S, 3) to (N, T, P)."""
        count, length = frames.shape[:2]
        return self._nearest(self._encode(signed(frames).flatten(0, 1))).reshape(count, length, -1)

    def decode(self, codes: Tensor, side: int) -> Tensor:
        """(N, T, P) to frames."""
        places = side // PATCH
        grid = self.book[codes.flatten(0, 1)].reshape(-1, places, places, self.book.shape[1]).movedim(-1, 1)
        return as_bytes(self.up(grid).reshape(*codes.shape[:2], 3, side, side))

    def loss(self, frames: Tensor) -> Tensor:
        """Reconstruction and commitment; the codebook follows by running averages."""
        x = signed(frames).flatten(0, 1)
        held = self._encode(x)
        found = self._nearest(held)
        if self.training:
            self._follow(held.detach().flatten(0, 1), found.flatten())
        taken = self.book[found]
        passed = held + (taken - held).detach()
        side = x.shape[-1] // PATCH
        back = self.up(passed.movedim(-1, 1).reshape(len(x), -1, side, side))
        return functional.mse_loss(back, x) + 0.25 * functional.mse_loss(held, taken.detach())

    def _encode(self, x: Tensor) -> Tensor:
        return self.down(x).flatten(2).movedim(1, -1)

    def _nearest(self, held: Tensor) -> Tensor:
        return torch.cdist(held, self.book.expand(len(held), -1, -1)).argmin(dim=-1)

    @torch.no_grad()
    def _follow(self, held: Tensor, found: Tensor) -> None:
        hot = functional.one_hot(found, self.size).float()
        self.counts.lerp_(hot.sum(0), 0.05)
        self.totals.lerp_(hot.T @ held, 0.05)
        self.book.copy_(self.totals / self.counts.clamp(min=1e-3).unsqueeze(1))
        dead = self.counts < 0.01  # codes that nobody takes start again at places of this batch
        if dead.any():
            fresh = held[torch.randint(len(held), (int(dead.sum()),))]
            self.book[dead], self.counts[dead], self.totals[dead] = fresh, 1.0, fresh


class Layer(nn.Module):
    """Space attention, causal time attention, a gated feed-forward."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.mixes = nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(2))
        self.outs = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.gate, self.leave = nn.Linear(width, 4 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, P, D) to the same."""
        x = x + self._attend(self.norms[0](x), 0, causal=False)
        if x.shape[1] > 1:
            x = x + self._attend(self.norms[1](x).transpose(1, 2), 1, causal=True).transpose(1, 2)
        a, b = self.gate(self.norms[2](x)).chunk(2, dim=-1)
        return x + self.leave(functional.silu(a) * b)

    def _attend(self, x: Tensor, which: int, *, causal: bool) -> Tensor:
        parts = self.mixes[which](x).unflatten(-1, (3, self.heads, -1)).movedim(-3, 0).transpose(-2, -3)
        out = functional.scaled_dot_product_attention(*parts, is_causal=causal)
        return self.outs[which](out.transpose(-2, -3).flatten(-2))


class SpaceTimeFsq(nn.Module):
    """Patches through layers to three digits of eight levels, and back."""

    size = 512

    def __init__(self, width: int, depth: int, side: int, heads: int = 8) -> None:
        super().__init__()
        places = (side // PATCH) ** 2
        self.enter, self.leave = nn.Linear(3 * PATCH**2, width), nn.Linear(width, 3 * PATCH**2)
        self.where = nn.ParameterList(nn.Parameter(0.02 * torch.randn(places, width)) for _ in range(2))
        self.when = nn.ParameterList(nn.Parameter(0.02 * torch.randn(64, 1, width)) for _ in range(2))
        self.encoder = nn.Sequential(*(Layer(width, heads) for _ in range(depth)))
        self.decoder = nn.Sequential(*(Layer(width, heads) for _ in range(depth)))
        self.inner, self.outer = nn.Linear(width, 3), nn.Linear(3, width)

    def _digits(self, frames: Tensor) -> Tensor:
        x = signed(frames)
        patches = functional.pixel_unshuffle(x.flatten(0, 1), PATCH).flatten(2).movedim(1, -1)
        hidden = self.enter(patches).unflatten(0, x.shape[:2]) + self.where[0] + self.when[0][: x.shape[1]]
        half = 3.5 * (1 + 1e-3)
        shift = math.atanh(0.5 / half)
        return torch.tanh(self.inner(self.encoder(hidden)) + shift) * half - 0.5

    def _back(self, digits: Tensor, side: int) -> Tensor:
        hidden = self.outer(digits / 4) + self.where[1] + self.when[1][: digits.shape[1]]
        patches = self.leave(self.decoder(hidden)).flatten(0, 1).movedim(-1, 1)
        grid = patches.unflatten(2, (side // PATCH, side // PATCH))
        return functional.pixel_shuffle(grid, PATCH).unflatten(0, digits.shape[:2])

    def codes(self, frames: Tensor) -> Tensor:
        """(N, T, S, S, 3) to (N, T, P)."""
        digits = self._digits(frames).round().long() + 4
        return (digits * torch.tensor([1, 8, 64])).sum(-1)

    def decode(self, codes: Tensor, side: int) -> Tensor:
        """(N, T, P) to frames."""
        digits = codes.unsqueeze(-1) // torch.tensor([1, 8, 64]) % 8 - 4
        return as_bytes(self._back(digits.float(), side))

    def loss(self, frames: Tensor) -> Tensor:
        """Squared error."""
        digits = self._digits(frames)
        rounded = digits + (digits.round() - digits).detach()
        return functional.mse_loss(self._back(rounded, frames.shape[-2]), signed(frames))

"""The transformer layers that tokenizers and video families share: attention over places, causal attention over time.

Source: RMSNorm arXiv 1910.07467, RoPE arXiv 2104.09864, query-key norm arXiv 2302.05442, SwiGLU arXiv 2002.05202,
adaptive norm with one shared projection arXiv 2310.00426. Notable choices: attention over places sees one frame alone
and attention over time one place alone, so that a cache of past frames holds keys and values of the latter only; rotary
positions over time depend on distances, so a rolling cache may run far beyond the length of training.

Shape legend: N sequences, T frames, P places of a frame, D width, H heads, E width of a head, A axes of a position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

_BASE = 10_000.0
_MODULATED = 3


def rotations(positions_PA: Tensor, width: int) -> Tensor:
    """Cosines and sines of rotary positions, (2, P, width / 2); each axis turns its own share of the pairs."""
    axes = positions_PA.shape[1]
    shares = [(width // 2) // axes + (a < (width // 2) % axes) for a in range(axes)]
    angles = [
        positions_PA[:, a : a + 1].float() * _BASE ** -(torch.arange(share, device=positions_PA.device) / max(share, 1))
        for a, share in enumerate(shares)
    ]
    angle = torch.cat(angles, dim=1)
    return torch.stack([angle.cos(), angle.sin()])


def grid_positions(height: int, width: int) -> Tensor:
    """(height * width, 2) rows and columns, row by row."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([rows.flatten(), columns.flatten()], dim=1)


class Norm(nn.RMSNorm):
    """RMSNorm whose weights take the type of what comes in.

    Under autocast that is bfloat16 beside float32 weights, which torch's own layer warns of and computes step by step
    instead of in one go.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to the same."""
        weight = None if self.weight is None else self.weight.to(x.dtype)
        return functional.rms_norm(x, self.normalized_shape, weight, self.eps)


def rotate(heads_NHPE: Tensor, rotation_2PF: Tensor) -> Tensor:
    """Turn queries or keys by their positions."""
    even, odd = heads_NHPE[..., 0::2], heads_NHPE[..., 1::2]
    cosine, sine = (part.to(heads_NHPE.dtype) for part in rotation_2PF)
    return torch.stack([even * cosine - odd * sine, even * sine + odd * cosine], dim=-1).flatten(-2)


class Attention(nn.Module):
    """Multi-head attention with normalised queries and keys, whose result starts at zero."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        assert width % heads == 0 and (width // heads) % 2 == 0, (width, heads)
        self.heads = heads
        self.enter = nn.Linear(width, 3 * width, bias=False)
        self.query_norm = Norm(width // heads)
        self.key_norm = Norm(width // heads)
        self.leave = nn.Linear(width, width, bias=False)
        nn.init.zeros_(self.leave.weight)

    def forward(
        self, x_NPD: Tensor, rotation_2PF: Tensor | None = None, *, causal: bool = False, past: Past | None = None
    ) -> Tensor:
        """(N, P, D) to the same.

        Args:
            x_NPD: what attends to itself.
            rotation_2PF: of its positions; None: they carry none.
            causal: an entry sees those before it and itself.
            past: keys and values of entries before these, which are seen too; ``x_NPD`` joins them.
        """
        split = torch.unflatten(self.enter(x_NPD), -1, (3, self.heads, -1))
        query, key, value = split.permute(2, 0, 3, 1, 4)
        query, key = self.query_norm(query), self.key_norm(key)
        if rotation_2PF is not None:
            query, key = rotate(query, rotation_2PF), rotate(key, rotation_2PF)
        if past is not None:
            key, value = past.join(key, value)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=_mask(query, key, causal))
        out: Tensor = self.leave(mixed.transpose(1, 2).flatten(-2))
        return out


def _mask(query: Tensor, key: Tensor, causal: bool) -> Tensor | None:
    """Which keys each query sees, the last query being level with the last key; None: all of them."""
    asked, held = query.shape[-2], key.shape[-2]
    if not causal or asked == 1:
        return None
    return torch.ones(asked, held, dtype=torch.bool, device=query.device).tril(held - asked)


@dataclass
class Past:
    """Keys and values of past frames in one layer, (N, H, T, E) each: the pinned ones and the newest ``window``."""

    window: int
    keys: Tensor | None = None
    values: Tensor | None = None
    keep: bool = True
    """Whether what attends stays: false while a frame is still being denoised."""
    pinned: int = 0
    """How many of the first frames are never forgotten."""
    pinning: int | None = None
    """When what comes is, where it is such a frame; known here, so that no device is asked for it."""
    ahead: list[tuple[int, Tensor]] = field(default_factory=list)
    """When each of them is, and its tokens (N, 1, P, D) as they entered; in the first layer alone."""

    def join(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Past and present; the past grows by the present and forgets its oldest."""
        if self.keys is not None and self.values is not None:
            key, value = torch.cat([self.keys, key], dim=2), torch.cat([self.values, value], dim=2)
        if self.keep:
            self.keys, self.values = self._newest(key), self._newest(value)
        return key, value

    def _newest(self, held: Tensor) -> Tensor:
        if held.shape[2] <= self.pinned + self.window:
            return held
        return torch.cat([held[:, :, : self.pinned], held[:, :, held.shape[2] - self.window :]], dim=2)


class Gated(nn.Module):
    """The SwiGLU feed-forward layer, which starts at zero."""

    def __init__(self, width: int, ratio: float = 8 / 3) -> None:
        super().__init__()
        inner = 8 * round(width * ratio / 8)
        self.enter = nn.Linear(width, 2 * inner, bias=False)
        self.leave = nn.Linear(inner, width, bias=False)
        nn.init.zeros_(self.leave.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to the same."""
        gate, value = self.enter(x).chunk(2, dim=-1)
        out: Tensor = self.leave(functional.silu(gate) * value)
        return out


class Block(nn.Module):
    """Attention over the places of a frame, in some layers causal attention over time, and a feed-forward layer."""

    def __init__(self, width: int, heads: int, *, time: bool, conditioned: bool = False) -> None:
        super().__init__()
        parts: list[nn.Module] = [Attention(width, heads), Gated(width)]
        if time:
            parts.insert(1, Attention(width, heads))
        self.time = time
        self.parts = nn.ModuleList(parts)
        self.norms = nn.ModuleList(Norm(width, elementwise_affine=not conditioned) for _ in parts)
        self.shift_M3D = nn.Parameter(torch.zeros(len(parts), _MODULATED, width)) if conditioned else None

    def forward(
        self,
        x_NTPD: Tensor,
        rotation_2PF: Tensor | None,
        time_rotation_2TF: Tensor | None,
        condition_NT3D: Tensor | None = None,
        past: Past | None = None,
    ) -> Tensor:
        """(N, T, P, D) to the same.

        Args:
            x_NTPD: tokens.
            rotation_2PF: of places.
            time_rotation_2TF: of frames.
            condition_NT3D: what every layer's norm is shifted, scaled and gated by, before its own offset.
            past: of this layer, where it attends over time.
        """
        frames, places = x_NTPD.shape[1:3]
        for index, (norm, part) in enumerate(zip(self.norms, self.parts, strict=True)):
            hidden = norm(x_NTPD)
            gate: Tensor | float = 1.0
            if condition_NT3D is not None and self.shift_M3D is not None:
                scale, shift, gate = (condition_NT3D + self.shift_M3D[index]).unsqueeze(-2).unbind(dim=2)
                hidden, gate = hidden * (1 + scale) + shift, 1 + gate
            if self.time and index == 1:
                turned = hidden.transpose(1, 2).flatten(0, 1)
                turned = part(turned, time_rotation_2TF, causal=True, past=past)
                hidden = torch.unflatten(turned, 0, (-1, places)).transpose(1, 2)
            elif index == 0:
                hidden = torch.unflatten(part(hidden.flatten(0, 1), rotation_2PF), 0, (-1, frames))
            else:
                hidden = part(hidden)
            x_NTPD = x_NTPD + gate * hidden
        return x_NTPD


class SpaceTime(nn.Module):
    """A stack of blocks; every ``time_every``-th attends over time, the last one always."""

    def __init__(self, width: int, depth: int, heads: int, *, time_every: int = 2, conditioned: bool = False) -> None:
        super().__init__()
        self.width, self.head = width, width // heads
        at = [bool(time_every) and (depth - 1 - i) % time_every == 0 for i in range(depth)]
        self.blocks = nn.ModuleList(Block(width, heads, time=t, conditioned=conditioned) for t in at)
        self.norm = Norm(width)

    def forward(
        self,
        x_NTPD: Tensor,
        positions_PA: Tensor,
        *,
        condition_NT3D: Tensor | None = None,
        times_T: Tensor | None = None,
        past: Sequence[Past] | None = None,
    ) -> Tensor:
        """(N, T, P, D) tokens at these places to the same, normalised.

        Args:
            x_NTPD: tokens.
            positions_PA: where each place is, along A axes; on the tokens' device, as ``times_T``.
            condition_NT3D: (N, T, 3, D) shift, scale and gate of every layer.
            times_T: when each frame is, in frames; None: one after the other from 0. A frame sees those that stand
                before it, whenever they are.
            past: one a layer that attends over time, from :meth:`pasts`.
        """
        places = rotations(positions_PA, self.head)
        when_T = torch.arange(x_NTPD.shape[1], device=x_NTPD.device) if times_T is None else times_T
        frames = rotations(when_T[:, None], self.head)
        left = iter(past or ())
        for block in self.blocks:
            x_NTPD = block(x_NTPD, places, frames, condition_NT3D, next(left, None) if block.time else None)
        out: Tensor = self.norm(x_NTPD)
        return out

    def pasts(self, window: int) -> list[Past]:
        """Empty caches of at most ``window`` frames, one for every layer that attends over time."""
        return [Past(window) for block in self.blocks if block.time]

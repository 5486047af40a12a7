"""Several streams as the tokens of one sequence: cameras, depth and states of a frame attend to each other.

Source: block-causal space-time transformers as in Genie (arXiv 2402.15391) and Dreamer 4 (arXiv 2509.24527). Notable
choices: a camera's neighbouring places join one token, which is what makes a CPU's minutes enough; actions and text
reach every layer through its norm and every token by addition, and each has a learned stand-in where there is none.

Shape legend: N sequences, T frames, S streams, P places of a stream, G tokens of a stream, C channels of a place, D
width, A action channels, E text channels, W words.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from worldgate.worlds.nn.attention import Past, SpaceTime, grid_positions

_WORDS = 4096
"""Buckets that words are hashed to; two words of one bucket are one word to the model."""
_LONGEST = 32
"""Words of a text that are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamShape:
    """One stream as the sequence holds it."""

    name: str
    side: int
    """Places a side; 1 for numbers."""
    patch: int = 1
    """Places a side that join one token."""

    @property
    def tokens(self) -> int:
        """G."""
        return (self.side // self.patch) ** 2


@dataclass(frozen=True, slots=True, kw_only=True)
class NetConfig:
    """Size of the transformer."""

    width: int = 64
    depth: int = 2
    heads: int = 4
    time_every: int = 2
    """Every how many layers attention looks along time; the last one always does."""
    patch: int = 2
    """Places a side that join one token."""
    near: int = 48
    """Channels of the convolutions around the transformer."""


def patched(values_NTPC: Tensor, shape: StreamShape) -> Tensor:
    """(N, T, P, C) to (N, T, G, patch * patch * C)."""
    grid = torch.unflatten(values_NTPC, 2, (shape.side // shape.patch, shape.patch, -1, shape.patch))
    return grid.transpose(3, 4).flatten(4).flatten(2, 3)


def unpatched(tokens_NTGX: Tensor, shape: StreamShape) -> Tensor:
    """The inverse of :func:`patched`."""
    many = shape.side // shape.patch
    grid = torch.unflatten(torch.unflatten(tokens_NTGX, 2, (many, many)), 4, (shape.patch, shape.patch, -1))
    return grid.transpose(3, 4).flatten(2, 5)


class Words(nn.Module):
    """A small text encoder that learns with the model: hashed words, one attention layer, their mean."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(_WORDS, width)
        self.mix = SpaceTime(width, 1, 2, time_every=0)

    @staticmethod
    def inputs(texts: Sequence[str]) -> Tensor:
        """(N, W) numbers of the words of N texts, 0 where there is none."""
        ids_NW = torch.zeros(len(texts), _LONGEST, dtype=torch.long)
        for n, text in enumerate(texts):
            words = re.findall(r"\w+", text.lower())[:_LONGEST]
            ids_NW[n, : len(words)] = torch.tensor([1 + zlib.crc32(w.encode()) % (_WORDS - 1) for w in words])
        return ids_NW

    def forward(self, ids_NW: Tensor) -> Tensor:
        """(N, E); zero of a text without words."""
        said_NW1 = (ids_NW > 0).unsqueeze(-1)
        embedded_NWE = self.embed(ids_NW) * said_NW1
        places_W1 = torch.arange(_LONGEST, device=ids_NW.device)[:, None]
        mixed_NWE = self.mix(embedded_NWE.unsqueeze(1), places_W1).squeeze(1)
        out: Tensor = (mixed_NWE * said_NW1).sum(dim=1) / said_NW1.sum(dim=1).clamp(min=1)
        return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Guidance:
    """What a sequence is told besides its frames."""

    actions_NTA: Tensor
    """In force just before each frame, normalised."""
    acted_NT: Tensor
    """Where there is one."""
    text_NE: Tensor
    """E is 0 for a model that reads none, A for one without actions."""
    told_N: Tensor
    """Where there is one."""

    def expand(self, samples: int) -> Guidance:
        """The same for several samples of one sequence."""
        parts = (self.actions_NTA, self.acted_NT, self.text_NE, self.told_N)
        actions, acted, text, told = (part.expand(samples, *part.shape[1:]) for part in parts)
        return Guidance(actions_NTA=actions, acted_NT=acted, text_NE=text, told_N=told)


class Backbone(nn.Module):
    """The transformer over all tokens of all streams; who calls it makes the tokens and reads the results."""

    def __init__(self, config: NetConfig, shapes: Sequence[StreamShape], actions: int, text: int) -> None:
        super().__init__()
        width = config.width
        self.shapes = tuple(shapes)
        self.stack = SpaceTime(width, config.depth, config.heads, time_every=config.time_every, conditioned=True)
        self.place_SD = nn.Parameter(torch.randn(len(shapes), width) * 0.02)
        act = nn.Sequential(nn.Linear(actions, width), nn.SiLU(), nn.Linear(width, width)) if actions else None
        self.act = act
        self.read = nn.Linear(text, width) if text else None
        self.no_action_D = nn.Parameter(torch.zeros(width))
        self.no_text_D = nn.Parameter(torch.zeros(width))
        self.modulate = nn.Linear(width, 3 * width)
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)
        self.later = nn.Linear(width, 2 * width)
        nn.init.zeros_(self.later.weight)
        nn.init.zeros_(self.later.bias)
        where = [grid_positions(s.side // s.patch, s.side // s.patch) * s.patch for s in shapes]
        self.register_buffer("positions_PA", torch.cat(where), persistent=False)

    positions_PA: Tensor

    def told(self, guidance: Guidance) -> Tensor:
        """What actions and text say of each frame, (N, T, D)."""
        acted_NT1, told_N1 = guidance.acted_NT.unsqueeze(-1), guidance.told_N.unsqueeze(-1)
        action_NTD = self.no_action_D.expand(*guidance.acted_NT.shape, -1)
        if self.act is not None:
            action_NTD = torch.where(acted_NT1, self.act(guidance.actions_NTA), action_NTD)
        text_ND = self.no_text_D.expand(len(told_N1), -1)
        if self.read is not None:
            text_ND = torch.where(told_N1, self.read(guidance.text_NE), text_ND)
        return action_NTD + text_ND.unsqueeze(1)

    def forward(
        self,
        tokens: Sequence[Tensor],
        told_NTD: Tensor,
        *,
        norms_NTD: Tensor | None = None,
        times_T: Tensor | None = None,
        past: Sequence[Past] | None = None,
    ) -> list[Tensor]:
        """Tokens (N, T, G, D) of every stream to the same.

        Args:
            tokens: one tensor a stream.
            told_NTD: of :meth:`told`; every token and every layer's norm knows it.
            norms_NTD: what else the norms know of each frame.
            times_T: when each frame is; see :meth:`SpaceTime.forward`.
            past: of :meth:`pasts`.
        """
        norms = told_NTD if norms_NTD is None else told_NTD + norms_NTD
        condition_NT3D = torch.unflatten(self.modulate(functional.silu(norms)), -1, (3, -1))
        joined = torch.cat([t + self.place_SD[s] for s, t in enumerate(tokens)], dim=2) + told_NTD.unsqueeze(2)
        joined = joined + self._ahead(joined, times_T, past)
        out = self.stack(joined, self.positions_PA, condition_NT3D=condition_NT3D, times_T=times_T, past=past)
        return list(torch.split(out, [shape.tokens for shape in self.shapes], dim=2))

    def _ahead(self, joined_NTPD: Tensor, times_T: Tensor | None, past: Sequence[Past] | None) -> Tensor:
        """What the next frame that is known ahead says to each place, the more the nearer it is; 0 without one.

        Attention along time would have to learn to look there, which takes it more steps than a CPU has minutes.
        """
        out = torch.zeros_like(joined_NTPD)
        if times_T is None:
            return out
        held: Sequence[tuple[int | Tensor, Tensor]] = [(times_T[0], joined_NTPD[:, :1])]
        if past is not None:
            if past[0].pinning is not None:
                past[0].ahead.append((past[0].pinning, joined_NTPD))
                return out
            held = sorted(past[0].ahead, key=lambda one: -one[0])
        for time, tokens_N1PD in held:
            left_T = (time - times_T)[:, None, None]
            always, near = self.later(tokens_N1PD).chunk(2, dim=-1)
            out = torch.where(left_T > 0, always + near / left_T.clamp(min=1), out)
        return out

    def pasts(self, window: int) -> list[Past]:
        """Empty caches of at most ``window`` frames."""
        return self.stack.pasts(window)
